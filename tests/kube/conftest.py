"""One control plane for the session, with the CRD in it; a namespace for each test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from kube.control_plane import ControlPlane

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server that knows our resource. Pods stay where they are put."""
    cluster = ControlPlane(tmp_path_factory.mktemp("kube"))
    try:
        cluster.start()
        cluster.do("apply", "--server-side", "-f", str(CRDS))
        cluster.do("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def controllers(cluster: ControlPlane) -> ControlPlane:
    """The same one with the controllers: Jobs make pods, what lost its owner goes, accounts have tokens."""
    # After the CRD: the garbage collector looks for new kinds only every 30 seconds.
    cluster.start_controllers()
    return cluster


@pytest.fixture
def namespace(cluster: ControlPlane) -> str:
    name = f"test-{secrets.token_hex(4)}"
    cluster.do("create", "namespace", name)
    return name
