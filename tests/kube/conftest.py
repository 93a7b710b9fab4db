"""One control plane for the session, with the CRD in it; a namespace for each test. For some, one with a real node."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kube import image
from kube.control_plane import CRDS, ControlPlane
from kube.leftovers import leftovers
from kube.node import Node
from kube.operator_rig import Migration, Operator
from kube.process_node import ProcessNode

SCRIPTED_WORKER = Path(__file__).parents[1] / "operator" / "scripted_worker.py"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server that knows our resource. Pods stay where they are put."""
    cluster = ControlPlane(tmp_path_factory.mktemp("kube"))
    try:
        cluster.start()
        install(cluster)
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def controllers(cluster: ControlPlane) -> ControlPlane:
    """The same one with the controllers: Jobs make pods, what lost its owner goes, accounts have tokens."""
    # After the CRD: the garbage collector looks for new kinds only every 30 seconds.
    cluster.start_controllers()
    return cluster


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A cluster of its own with a real node, our resource and our image."""
    node = Node()
    try:
        node.start()
        install(node.cluster)
        node.import_image(image.archive())
        yield node
    finally:
        node.stop()
    assert leftovers() == []


def install(cluster: ControlPlane) -> None:
    cluster.do("apply", "--server-side", "-f", str(CRDS))
    cluster.do("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))


@pytest.fixture
def namespace(cluster: ControlPlane) -> str:
    name = f"test-{secrets.token_hex(4)}"
    cluster.do("create", "namespace", name)
    return name


@pytest.fixture(scope="module")
def scripted_node(
    controllers: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProcessNode]:
    """A node without containers, whose workers do what a script says."""
    command = [sys.executable, str(SCRIPTED_WORKER)]
    node = ProcessNode(controllers.config, tmp_path_factory.mktemp("node"), command).start()
    yield node
    node.stop()


@pytest.fixture
def operator(controllers: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    """The operator, watching the test's namespace."""
    operator = Operator(controllers, namespace, tmp_path).start()
    yield operator
    operator.kill()
    # What it made would go on working, beside the tests to come.
    controllers.do("delete", "jobs", "--all", "-n", namespace, "--wait=false")
    print(operator.log)


@pytest.fixture
def migration(controllers: ControlPlane, namespace: str) -> Migration:
    return Migration(controllers, namespace)
