"""The node that runs the tests' pods goes on where the API server does not."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path
from typing import Any

import pytest

from kube.control_plane import ControlPlane
from kube.process_node import Api, ProcessNode


def test_an_answer_that_is_cut_short_does_not_end_the_node(
    cluster: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that waits for a pod would wait in vain: the server was killed in the middle of its answer."""
    node = ProcessNode(cluster.config, tmp_path)
    looks = iter([http.client.IncompleteRead(b"{")])
    looked_again = threading.Event()

    def call(*_: Any) -> dict[str, Any]:
        for error in looks:
            raise error
        looked_again.set()
        return {"items": []}

    monkeypatch.setattr(Api, "call", call)
    node.start()
    try:
        assert looked_again.wait(10)
    finally:
        node.stop()
    assert len(node.problems) == 1
