"""The demo's whole road through the operator: real workers, real databases, and one of each role killed on the way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from demo.kubernetes import ClusterControl
from demo.road import Options, Road
from demo.servers import Server
from demo.view import Scene

from kube.binaries import binaries
from kube.control_plane import ControlPlane
from kube.operator_rig import Operator
from kube.process_node import ProcessNode

#: Little load: the machine runs a cluster beside it.
OPTIONS = Options(scale=0.02, seconds=3.0, writers=2, rate=150.0, least_rate=20.0)


@dataclass
class Killer:
    """Kills the first worker of each role that lives long enough to be met, and the operator with each switch."""

    node: ProcessNode
    operator: Operator
    killed: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._stop.wait(0.1):
            for pod in [*self.node.pods.values()]:
                family = pod.job.removeprefix("shop-").rpartition("-")[0]
                runs = pod.process is not None and pod.process.poll() is None
                if pod.namespace == self.operator.namespace and runs and family not in self.killed:
                    self.killed.append(family)
                    assert pod.process is not None
                    os.killpg(pod.process.pid, signal.SIGKILL)
                    if pod.role == "cutover":
                        self.operator.kill()
                        self.operator.start()

    def stop(self) -> None:
        self._stop.set()


@pytest.fixture
def node(controllers: ControlPlane, tmp_path: Path) -> Iterator[ProcessNode]:
    node = ProcessNode(controllers.config, tmp_path / "node").start()
    yield node
    node.stop()


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    """Two servers that the road starts."""
    source, target = Server(), Server()
    yield source, target
    source.destroy()
    target.destroy()


@pytest.mark.timeout(600)
def test_every_row_arrives_although_everything_is_killed_once(
    node: ProcessNode, operator: Operator, servers: tuple[Server, Server], tmp_path: Path
) -> None:
    kubectl = [str(binaries("kubectl")["kubectl"]), f"--kubeconfig={operator.cluster.config}"]
    killer = Killer(node, operator)
    road = Road(
        OPTIONS, tmp_path, *servers, Scene(),
        driver=lambda manifest: ClusterControl(manifest, kubectl, operator.namespace),
    )  # fmt: skip
    threading.Thread(target=killer.run, daemon=True).start()
    try:
        road.go()
    finally:
        killer.stop()
        road.stop_writers()
        if road.control is not None:
            road.control.stop()
        print(node.log(operator.namespace))

    assert {"assess", "capture-source-0", "snapshot", "cutover-1"} <= set(killer.killed)
    assert [verdict for verdict in road.report.verdicts if not verdict.held] == []
    assert road.report.held
