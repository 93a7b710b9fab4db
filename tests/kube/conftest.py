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
    cluster = ControlPlane(tmp_path_factory.mktemp("kube"))
    try:
        cluster.start()
        for words in (
            ("apply", "--server-side", "-f", str(CRDS)),
            ("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS)),
        ):
            done = cluster.kubectl(*words)
            assert done.returncode == 0, done.stderr
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def namespace(cluster: ControlPlane) -> str:
    name = f"test-{secrets.token_hex(4)}"
    assert cluster.kubectl("create", "namespace", name).returncode == 0
    return name
