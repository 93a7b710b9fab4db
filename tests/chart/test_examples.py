"""Every example is read, valid, and says what it is about; the GitOps layout gives what its overlay asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from bowline_operator import cli, crd
from bowline_operator.api import Request
from bowline_operator.edit import set_phase
from bowline_operator.manifest import read_manifest
from bowline_operator.validation import read_resource
from bowline_worker.contract import Engine, TlsMode
from chart.rendering import ROOT, Object, merged, problem

EXAMPLES = ROOT / "examples"
OVERLAY = EXAMPLES / "gitops" / "overlays" / "production"
#: What `bowline validate` says that this version can't do; the example's comment says so too.
NOT_YET: dict[str, list[str]] = {}
FILES = sorted(path.name for path in EXAMPLES.glob("*.yaml"))


def documents(path: Path) -> list[Object]:
    return [each for each in YAML(typ="safe").load_all(path.read_text(encoding="utf-8")) if each]


def refused_by_the_crd(resource: Object) -> Sequence[str]:
    """What the schema says; its CEL rules have twins in api.py, which read_resource asks."""
    found = jsonschema.Draft202012Validator(crd.schema()).iter_errors(resource)
    return [f"{error.json_path}: {error.message}" for error in found]


def test_there_is_an_example_of_each() -> None:
    assert FILES == ["oracle.yaml", "postgres.yaml", "tls.yaml", "yugabytedb.yaml"]


@pytest.mark.parametrize("name", FILES)
def test_an_example_is_accepted_as_it_is(name: str) -> None:
    for each in documents(EXAMPLES / name):
        if each["kind"] == "DatabaseMigration":
            assert refused_by_the_crd(each) == []
        else:
            assert problem(each) == ""
    manifest = read_manifest([EXAMPLES / name])
    for keys in manifest.credentials().values():
        assert {"username", "password"} <= set(keys)


@pytest.mark.parametrize("name", FILES)
def test_what_can_not_run_yet_says_so(name: str) -> None:
    done = CliRunner().invoke(cli.main, ["validate", str(EXAMPLES / name)])
    comment = " ".join((EXAMPLES / name).read_text("utf-8").partition("apiVersion")[0].split())
    refused = NOT_YET.get(name, [])

    for each in refused:
        assert f"{each}: not supported by this version" in done.output
    assert (done.exit_code == 0) == (refused == []), done.output
    assert ("Not supported by this version" in comment) == (refused != [])


def test_the_schema_refuses_what_it_should() -> None:
    """Else the test of the examples would pass whatever they said."""
    whole = documents(EXAMPLES / "postgres.yaml")[0]
    whole["spec"]["phase"] = "Cutoevr"

    assert any("$.spec.phase" in each for each in refused_by_the_crd(whole))


def test_yugabytedb_is_called_untested() -> None:
    text = (EXAMPLES / "yugabytedb.yaml").read_text(encoding="utf-8")
    spec = read_manifest([EXAMPLES / "yugabytedb.yaml"]).resource.spec

    assert "Untested in this version" in text
    assert (spec.target.engine, spec.target.resolved_port) == (Engine.YUGABYTEDB, 5433)


def test_tls_proves_who_the_servers_are() -> None:
    manifest = read_manifest([EXAMPLES / "tls.yaml"])
    spec = manifest.resource.spec

    for side in (spec.source, spec.target):
        assert side.tls.mode is TlsMode.VERIFY_FULL
        assert b"BEGIN CERTIFICATE" in manifest.secrets[side.credentials_secret_ref.name]["ca.crt"]


# --- GitOps --------------------------------------------------------------------------------------


def built(overlay: Path) -> Object:
    """What Kustomize makes of these files, which use no more of it than this: base, patches, namespace."""
    kustomization = documents(overlay / "kustomization.yaml")[0]
    assert set(kustomization) <= {"apiVersion", "kind", "namespace", "resources", "patches"}
    whole: Object = {}
    for name in kustomization["resources"]:
        path = overlay / name
        whole = built(path) if path.is_dir() else documents(path)[0]
    for patch in kustomization.get("patches", []):
        whole = merged(whole, documents(overlay / patch["path"])[0])
    if "namespace" in kustomization:
        whole = merged(whole, {"metadata": {"namespace": kustomization["namespace"]}})
    return whole


def test_an_overlay_is_a_whole_migration() -> None:
    whole = built(OVERLAY)
    resource, errors = read_resource(whole)

    assert (errors, refused_by_the_crd(whole)) == ((), [])
    assert resource is not None
    assert resource.key == "shop.shop"
    assert resource.spec.phase is Request.REPLICATE
    assert resource.spec.snapshot.parallelism == 8
    assert resource.spec.source.host == "old.example.internal"


def test_what_is_migrated_is_said_in_one_place() -> None:
    """Immutable once replication began: an overlay that patched it would be refused in the middle of the way."""
    base = documents(EXAMPLES / "gitops" / "base" / "migration.yaml")[0]
    patch = documents(OVERLAY / "phase.yaml")[0]

    assert not {"source", "target", "tables"} & set(patch["spec"])
    assert "phase" not in base["spec"]


def test_a_moved_file_does_not_end_a_migration() -> None:
    notes = built(OVERLAY)["metadata"]["annotations"]

    assert notes == {
        "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
    }


def test_no_password_is_in_git() -> None:
    for path in (EXAMPLES / "gitops").rglob("*.yaml"):
        assert all(each["kind"] != "Secret" for each in documents(path))


def test_a_cutover_is_one_word_of_one_file(tmp_path: Path) -> None:
    before = (OVERLAY / "phase.yaml").read_text(encoding="utf-8")
    path = tmp_path / "phase.yaml"
    path.write_text(before, encoding="utf-8")

    set_phase([path], Request.CUTOVER)

    after = path.read_text(encoding="utf-8")
    assert after == before.replace("phase: Replicate", "phase: Cutover")
    assert documents(path)[0]["spec"]["phase"] == "Cutover"


# --- docs/gitops.md ------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "gitops.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[Any]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_points_at_what_is_there() -> None:
    links = [each for each in re.findall(r"\]\(([^)]+)\)", PAGE) if "://" not in each]

    assert len(links) >= 3
    for link in links:
        assert (ROOT / "docs" / link).exists(), link
    for path in re.findall(r"(?:\./)?((?:docs|examples|charts)/[\w./-]+)", " ".join(blocks("sh"))):
        assert (ROOT / path).exists(), path


def test_the_pages_yaml_is_what_the_example_does() -> None:
    annotations, flux = (YAML(typ="safe").load(each) for each in blocks("yaml"))

    assert annotations == built(OVERLAY)["metadata"]["annotations"]
    assert (ROOT / flux["spec"]["path"]) == OVERLAY
    assert "wait" not in flux["spec"]
