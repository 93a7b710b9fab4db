"""The operator on a real API server with a real Job controller; the workers are scripted processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bowline_operator.status import ConditionType
from kube.control_plane import ControlPlane
from kube.operator_rig import Migration, Operator
from kube.process_node import ProcessNode

SCRIPTED = Path(__file__).parents[1] / "operator" / "scripted_worker.py"
SPEC = {
    "source": {
        "engine": "PostgreSQL",
        "host": "old.invalid",
        "database": "shop",
        "credentialsSecretRef": {"name": "shop-source"},
    },
    "target": {
        "engine": "PostgreSQL",
        "host": "new.invalid",
        "database": "shop",
        "credentialsSecretRef": {"name": "shop-target"},
    },
}


@pytest.fixture(scope="module")
def node(
    controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProcessNode]:
    node = ProcessNode(
        controllers.config, tmp_path_factory.mktemp("node"), [sys.executable, str(SCRIPTED)]
    ).start()
    yield node
    node.stop()


@pytest.fixture
def operator(controllers: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(controllers, namespace, tmp_path).start()
    yield operator
    operator.kill()
    print(operator.log)


@pytest.fixture
def migration(controllers: ControlPlane, namespace: str) -> Migration:
    return Migration(controllers, namespace)


def test_the_whole_road_there_and_back(
    node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    migration.until_true(ConditionType.CAUGHT_UP)

    migration.patch({"phase": "Cutover"})
    migration.until_phase("FallbackStreaming")
    migration.until_true(ConditionType.FALLBACK_READY)
    migration.patch({"phase": "Switchover"})
    migration.until_phase("SwitchedBack")
    migration.patch({"phase": "Complete"})
    status = migration.until_phase("Completed")

    assert status.epoch == 3
    assert str(status.primary) == "Source"
    assert node.problems == []
