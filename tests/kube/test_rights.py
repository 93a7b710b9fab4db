"""What the operator may do: exactly what the chart gives it, which is enough for a whole road, and no Secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bowline_operator.status import ConditionType
from chart.rendering import rendered
from kube.control_plane import ControlPlane
from kube.operator_rig import SPEC, Migration, Operator
from kube.process_node import ProcessNode

GOLDEN = Path(__file__).with_name("rights.txt")
RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


@pytest.fixture
def account(controllers: ControlPlane, namespace: str, tmp_path: Path) -> Path:
    """The chart's own ServiceAccount, with its rights: a kubeconfig with its token."""
    made = rendered({"watch": {"namespaces": [namespace]}})
    account = made.one("ServiceAccount")["metadata"]
    controllers.kubectl("create", "namespace", account["namespace"])  # there already: as good
    for each in made.objects:
        if each["kind"] in RIGHTS:
            controllers.do("apply", "-f", "-", given=each)
    token = controllers.do("create", "token", account["name"], "-n", account["namespace"])
    config = json.loads(controllers.config.read_text())
    config["users"][0]["user"] = {"token": token.strip()}
    path = tmp_path / "operator.kubeconfig"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def as_account(controllers: ControlPlane, account: Path, namespace: str) -> Iterator[Operator]:
    operator = Operator(controllers, namespace, account.parent, kubeconfig=account).start()
    yield operator
    operator.kill()
    print(operator.log)


def test_the_rights_are_these(controllers: ControlPlane, account: Path, namespace: str) -> None:
    done = controllers.kubectl(
        "auth", "can-i", "--list", "-n", namespace, f"--kubeconfig={account}", "--no-headers"
    )
    assert done.returncode == 0, done.stderr
    lines = (re.sub(r" {2,}", "  ", line.rstrip()) for line in done.stdout.splitlines())
    # Paths that are no resources are everybody's, and each version's own.
    rows = sorted(line for line in lines if not line.startswith(" "))

    assert rows == GOLDEN.read_text().splitlines()


@pytest.mark.parametrize("verb", ["get", "list", "watch"])
def test_it_may_not_read_secrets(
    controllers: ControlPlane, account: Path, namespace: str, verb: str
) -> None:
    done = controllers.kubectl(
        "auth", "can-i", verb, "secrets", "-n", namespace, f"--kubeconfig={account}"
    )
    assert done.stdout.strip() == "no"

    refused = controllers.kubectl("get", "secrets", "-n", namespace, f"--kubeconfig={account}")
    assert "Forbidden" in refused.stderr


def test_they_are_enough_for_a_whole_road(
    scripted_node: ProcessNode, as_account: Operator, migration: Migration
) -> None:
    migration.create({**SPEC, "deletionPolicy": "Cleanup"})
    migration.until_true(ConditionType.CAUGHT_UP)
    migration.patch({"phase": "Cutover"})
    migration.until_phase("FallbackStreaming")
    migration.patch({"phase": "Complete"})
    migration.until_phase("Completed")
    migration.cluster.do("delete", "dbm", "shop", "-n", migration.namespace, "--timeout=60s")

    assert "forbidden" not in as_account.log.lower()
