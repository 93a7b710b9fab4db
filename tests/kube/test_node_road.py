"""The whole road with real pods: one worker killed in each phase, the kubelet restarted, the operator upgraded."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from demo.road import Options
from demo.servers import Server
from demo.view import Scene

from bowline_operator.kube import objects
from kube.cluster_road import ClusterRoad, Installation, provide_journal, server
from kube.node import Node

pytestmark = pytest.mark.node

OPTIONS = Options(scale=0.02, seconds=4.0, writers=2, rate=150.0, least_rate=10.0)
#: Roles that every road runs for long enough to be met.
STREAMS = frozenset({"capture-source-0", "apply-source-0", "capture-target-1", "apply-target-1"})


@dataclass
class Killer:
    """Kills the first worker of each family that it meets, from outside its container, as the kernel does."""

    installation: Installation
    killed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.wait(0.3):
            for pod in self.pods():
                family = pod["metadata"]["labels"][objects.FAMILY]
                if family not in self.killed and kill(pod["metadata"]["uid"]):
                    self.killed.append(family)

    def pods(self) -> list[dict[str, Any]]:
        done = self.installation.cluster.kubectl(
            "get", "pods", "-n", self.installation.namespace, "-l", f"{objects.FAMILY}",
            "--field-selector=status.phase=Running", "-o", "json",
        )  # fmt: skip
        return list(json.loads(done.stdout)["items"]) if done.returncode == 0 else []


def kill(pod_uid: str) -> bool:
    """Kill the worker of a pod: the process of its cgroup that runs our program."""
    wanted = pod_uid.replace("-", "_"), pod_uid
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            group = (process / "cgroup").read_text()
            if any(uid in group for uid in wanted):
                command = (process / "cmdline").read_bytes()
                if b"bowline-worker" in command:
                    os.kill(int(process.name), signal.SIGKILL)
                    return True
    return False


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    source, target = server(), server()
    yield source, target
    source.destroy()
    target.destroy()


@pytest.fixture
def installation(node: Node) -> Installation:
    provide_journal(node)
    values = {"crds": {"enabled": False}}  # the bed has it
    return Installation(node.cluster, f"road-{secrets.token_hex(3)}", values=values).install()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("pods", [1, 4])
def test_every_row_arrives_there_and_back(
    node: Node,
    installation: Installation,
    servers: tuple[Server, Server],
    tmp_path: Path,
    pods: int,
) -> None:
    killer = Killer(installation)

    def blow(phase: str) -> None:
        if phase == "Streaming":
            installation.upgrade(log={"level": "DEBUG"})
        elif phase == "FallbackStreaming":
            node.restart_kubelet()

    road = ClusterRoad(
        OPTIONS, tmp_path, *servers, Scene(),
        host="10.244.78.1", driver=installation.control, pods=pods, blow=blow,
    )  # fmt: skip
    if pods == 1:
        threading.Thread(target=killer.run, daemon=True).start()
    try:
        road.go()
    finally:
        killer.stop.set()
        road.stop_writers()
        if road.control is not None:
            road.control.stop()
        print(installation.log())
        print("killed:", killer.killed)

    assert [verdict for verdict in road.report.verdicts if not verdict.held] == []
    assert road.report.held
    snapshot = node.cluster.get("job", "shop-snapshot-1", "-n", installation.namespace)
    assert snapshot["spec"]["completions"] == pods
    if pods == 1:
        assert set(killer.killed) >= STREAMS
    else:
        assert snapshot["status"]["succeeded"] == pods
