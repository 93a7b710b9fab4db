"""The demo's road in a cluster with a real node: Helm installs the operator, pods do the work, kubectl asks for it.

The databases run on this machine, beside the node; the writers and all checks are the demo's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import helm_python as helm
from demo.kubernetes import ClusterControl
from demo.road import Road
from demo.servers import Server

from kube.image import IMAGE
from kube.kubectl import Kubectl
from kube.node import ADDRESS, PODS, STORAGE_CLASS, Node

CHART = Path(__file__).parents[2] / "charts" / "bowline"
RELEASE = "bowline"
READY_SECONDS = 120

#: Volumes that were made beforehand are the claims' without asking for their class.
DEFAULT_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": STORAGE_CLASS,
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": "kubernetes.io/no-provisioner",
    "volumeBindingMode": "WaitForFirstConsumer",
}


@dataclass
class Installation:
    """The chart in a namespace of a cluster."""

    cluster: Kubectl
    namespace: str
    image: str = IMAGE
    pull_policy: str = "Never"
    values: dict[str, Any] = field(default_factory=dict)

    def install(self) -> Installation:
        """Install the operator, and wait until it is ready."""
        repository, _, tag = self.image.rpartition(":")
        image = {"repository": repository, "tag": tag, "pullPolicy": self.pull_policy}
        self.values = {"image": image, **self.values}
        with self._helm() as cluster, helm.Chart.load(CHART) as chart:
            cluster.install(
                chart, RELEASE, self.values, namespace=self.namespace, create_namespace=True
            )
        self._until_ready()
        return self

    def uninstall(self) -> None:
        """Remove the operator and the namespace; what the cluster knows of the resource stays."""
        self.cluster.kubectl("delete", "dbm", "--all", "-n", self.namespace, "--timeout=60s")
        with self._helm() as cluster:
            cluster.uninstall(RELEASE)
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def upgrade(self, **values: Any) -> None:
        """Roll a change out: one operator ends before the next begins."""
        self.values |= values
        with self._helm() as cluster, helm.Chart.load(CHART) as chart:
            cluster.upgrade(chart, RELEASE, self.values, namespace=self.namespace)
        self._until_ready()

    def control(self, manifest: Path, tell: Callable[[str], None] | None = None) -> ClusterControl:
        return ClusterControl(manifest, self.cluster.command, self.namespace, tell)

    def log(self) -> str:
        done = self.cluster.kubectl(
            "logs", "-n", self.namespace, f"deployment/{RELEASE}", "--tail=100"
        )
        return done.stdout + done.stderr

    @contextmanager
    def _helm(self) -> Iterator[helm.Config]:
        with helm.Config(kubeconfig_path=self.cluster.config, namespace=self.namespace) as config:
            yield config

    def _until_ready(self) -> None:
        done = self.cluster.kubectl(
            "rollout", "status", f"deployment/{RELEASE}", "-n", self.namespace,
            f"--timeout={READY_SECONDS}s",
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stderr}\n{self.log()}"


def provide_journal(node: Node) -> None:
    """Make a volume for one migration's journal: nothing on this node makes any by itself."""
    node.cluster.do("apply", "-f", "-", given=DEFAULT_CLASS)
    node.volume("10Gi")  # as much as a claim asks for by default


def server(**settings: str) -> Server:
    """A server that the node's pods can reach."""
    return Server(address=ADDRESS, network=PODS, settings=settings)


@dataclass
class ClusterRoad(Road):
    """The road, with something done in each streaming phase before its load."""

    pods: int = 1  #: that copy the first rows
    blow: Callable[[str], None] = print

    def drive(self, manifest: Path) -> ClusterControl:
        """Take what was made for the manifest, with as many pods for the snapshot as asked."""
        text = manifest.read_text(encoding="utf-8")
        assert "  fallback: {rearm: true}\n" in text
        snapshot = f"  snapshot: {{pods: {self.pods}, chunkRows: 2000}}\n"
        manifest.write_text(text.replace("  fallback:", f"{snapshot}  fallback:", 1))
        assert self.driver is not None
        control = self.driver(manifest)
        assert isinstance(control, ClusterControl)
        return control

    def load(self, control: Any, name: str, primary: str) -> None:
        self.blow(name)
        super().load(control, name, primary)
