"""The CRD on a real API server: what it takes, what it refuses and how it says so, and that it loses nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bowline_operator import crd
from bowline_operator.api import DatabaseMigration
from bowline_operator.status import Status
from kube.control_plane import ControlPlane

EXAMPLE = Path(__file__).parents[2] / "examples" / "postgres.yaml"


def example() -> dict[str, Any]:
    found: dict[str, Any] = next(
        iter(YAML(typ="safe").load_all(EXAMPLE.read_text(encoding="utf-8")))
    )
    return found


def changed(path: str, value: object) -> dict[str, Any]:
    """The example with one field put to a value; None: taken out."""
    *above, last = path.split(".")
    whole = node = copy.deepcopy(example())
    for name in above:
        node = node.setdefault(name, {})
    if value is None:
        del node[last]
    else:
        node[last] = value
    return whole


def test_what_was_left_out_has_the_operators_own_defaults(
    cluster: ControlPlane, namespace: str
) -> None:
    done = cluster.kubectl("apply", "-n", namespace, "-f", str(EXAMPLE))
    assert done.returncode == 0, done.stderr

    stored = cluster.get("dbm", "shop", "-n", namespace)

    assert stored["spec"]["cutover"]["budget"] == "60s"
    assert stored["spec"]["stream"] == {"lanes": 2}
    assert (
        DatabaseMigration.model_validate(stored).spec
        == DatabaseMigration.model_validate(example()).spec
    )


REFUSED = {
    "an unknown phase": ("spec.phase", "Cutoevr", "Unsupported value"),
    "no database": ("spec.source.database", None, "database is required"),
    "a SID for PostgreSQL": ("spec.target.sid", "X", "only for engine Oracle, use database"),
    "Oracle with a database": (
        "spec.source.engine", "Oracle", "needs exactly one of serviceName, sid and tnsAlias",
    ),
    "a number for a duration": ("spec.cutover.budget", 60, "must be of type string"),
    "a duration without a unit": ("spec.cutover.budget", "60", "should match"),
    "a port out of range": ("spec.source.port", 70000, "less than or equal to 65535"),
    "a name that no Job can have": ("metadata.name", "a.b", "at most 52 lower-case letters"),
    "a name that is too long": ("metadata.name", "a" * 60, "at most 52 lower-case letters"),
    "no lanes": ("spec.stream.lanes", 0, "greater than or equal to 1"),
    "an unknown field": ("spec.cutover.fallbak", True, 'unknown field "spec.cutover.fallbak"'),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_wrong_manifest_is_refused_with_its_reason(
    cluster: ControlPlane, namespace: str, what: str
) -> None:
    path, value, reason = REFUSED[what]

    done = cluster.kubectl("create", "-n", namespace, "-f", "-", given=changed(path, value))

    assert done.returncode != 0
    assert reason in done.stderr


@pytest.mark.parametrize("phase", ["MigratingSchema", "Snapshotting", "Completed"])
@pytest.mark.parametrize(
    ("field", "value"),
    [("source.host", "elsewhere"), ("target.database", "other"), ("tables.include", ["shop.*"])],
)
def test_what_is_migrated_can_not_change_once_replication_began(
    cluster: ControlPlane, namespace: str, phase: str, field: str, value: object
) -> None:
    assert cluster.kubectl("create", "-n", namespace, "-f", "-", given=example()).returncode == 0
    report(cluster, namespace, {"phase": phase})

    done = cluster.kubectl(
        "apply", "-n", namespace, "-f", "-", given=changed(f"spec.{field}", value)
    )

    if phase == "MigratingSchema":
        assert done.returncode == 0, done.stderr
    else:
        block = field.partition(".")[0]
        assert f"spec.{block} can't change once replication began" in done.stderr
    done = cluster.kubectl(
        "patch",
        "dbm",
        "shop",
        "-n",
        namespace,
        "--type=merge",
        "-p",
        '{"spec": {"phase": "Cutover"}}',
    )
    assert done.returncode == 0, done.stderr


def report(cluster: ControlPlane, namespace: str, status: Mapping[str, Any]) -> None:
    done = cluster.kubectl(
        "patch", "dbm", "shop", "-n", namespace, "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": status}),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def filled(node: Mapping[str, Any]) -> Any:
    """A value in which every field of a schema is there."""
    match node.get("type"):
        case "object":
            more = node.get("additionalProperties")
            found = {name: filled(each) for name, each in node.get("properties", {}).items()}
            return {**found, "source": filled(more)} if isinstance(more, Mapping) else found
        case "array":
            return [filled(node["items"])]
        case "string" if "enum" in node:
            return node["enum"][-1]
        case "string":
            return "2030-01-31T22:00:00Z" if node.get("format") == "date-time" else "text"
        case "boolean":
            return True
        case "integer":
            return 3
        case "number":
            return 0.5
    raise AssertionError(node)


def test_a_status_is_stored_as_it_is_written(cluster: ControlPlane, namespace: str) -> None:
    """What `bowline status -o json` shows and what `kubectl get -o json` shows have one schema."""
    status = filled(crd.schema()["properties"]["status"])
    written = json.loads(
        Status.model_validate(status).model_dump_json(by_alias=True, exclude_none=True)
    )
    assert written == status
    assert cluster.kubectl("create", "-n", namespace, "-f", "-", given=example()).returncode == 0

    report(cluster, namespace, written)

    assert cluster.get("dbm", "shop", "-n", namespace)["status"] == written


def test_people_see_where_it_stands(cluster: ControlPlane, namespace: str) -> None:
    assert cluster.kubectl("create", "-n", namespace, "-f", "-", given=example()).returncode == 0
    report(
        cluster,
        namespace,
        {
            "phase": "Streaming",
            "primary": "Source",
            "epoch": 1,
            "conditions": [{"type": "Ready", "status": "True"}],
            "streams": [
                {"origin": "Source", "number": 0, "active": True, "lag": {"current": 0.25}}
            ],
        },
    )

    lines = cluster.kubectl("get", "dbm", "-n", namespace).stdout.splitlines()
    wide = cluster.kubectl("get", "dbm", "-n", namespace, "-o", "wide").stdout.splitlines()

    assert lines[0].split() == ["NAME", "PHASE", "PRIMARY", "LAG", "READY", "AGE"]
    assert lines[1].split()[:5] == ["shop", "Streaming", "Source", "0.25", "True"]
    assert wide[0].split()[6:] == ["SOURCE", "TARGET", "EPOCH", "MESSAGE"]


def test_kubectl_explains_the_fields(cluster: ControlPlane) -> None:
    told = cluster.kubectl("explain", "dbm.spec.cutover").stdout

    assert "How the primary is switched." in told
    assert "Longest time from the fence to the commit point" in told
