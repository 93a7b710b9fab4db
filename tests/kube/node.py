"""A real node on this machine: containerd and a kubelet, with a control plane that its pods can reach. Needs root.

The node's address is on a bridge that leads nowhere; pods are on another one. From a pod, 10.244.78.1 is this machine:
the API server (443, also by the environment that every pod has), the kubelet, and whatever a test listens with. There
is no DNS, no Service beside `kubernetes`, no way out. Images are those that were imported.

There is one bed on a machine: it lives in a fixed place, so that the next one can clear away what a killed one left.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from kube.binaries import NoControlPlane, binaries, distribution
from kube.control_plane import ControlPlane, free_port
from kube.daemon import Daemon, answers
from kube.image import PAUSE, pause_archive
from kube.leftovers import HOME, NODE_BRIDGE, PODS_BRIDGE, clear, end_containers, ip, shims

ADDRESS = "10.244.78.1"
SERVICES = "10.244.78.0/24"  #: its first address is the node's own: the Service `kubernetes` needs no proxy
LOCK = Path("/run/bowline-node.lock")
PODS = "10.244.77.0/24"
NAME = "node1"
STORAGE_CLASS = "local"
WORKER_ID = 10001
POD_END_SECONDS = 20

#: What the node needs of the distribution: program and package.
PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "podman": "podman",
}
PLUGINS = Path("/usr/lib/cni")

CONTAINERD = f"""version = 2
root = "{HOME}/containerd"
state = "{HOME}/state"
[grpc]
  address = "{HOME}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{HOME}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true # no CAP_SYS_RESOURCE in a sandboxed machine
  disable_apparmor = true
  netns_mounts_under_state_dir = true # where we find them
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{HOME}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""

NETWORK = {
    "cniVersion": "0.4.0",
    "name": PODS_BRIDGE,
    "plugins": [
        {
            "type": "bridge",
            "bridge": PODS_BRIDGE,
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": f"{ADDRESS}/32"}],
                "dataDir": f"{HOME}/ipam",
            },
        }
    ],
}

KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "address": ADDRESS,
    "readOnlyPort": 0,
    "containerRuntimeEndpoint": f"unix://{HOME}/containerd.sock",
    "podLogsDir": f"{HOME}/logs",
    "volumePluginDir": f"{HOME}/plugins",
    "resolvConf": "",
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},
    # Both kinds of cgroups, without systemd, without the right to change limits upwards.
    "cgroupDriver": "cgroupfs",
    "failCgroupV1": False,
    "failSwapOn": False,
    "oomScoreAdj": 0,
    "maxOpenFiles": 20000,
    "enforceNodeAllocatable": [],
    # It would leave chains behind; nothing here needs them.
    "makeIPTablesUtilChains": False,
    # A full disk of the machine is not this node's business.
    "evictionHard": {
        "memory.available": "100Mi",
        "nodefs.available": "0%",
        "imagefs.available": "0%",
    },
    "imageGCHighThresholdPercent": 100,
    "imageGCLowThresholdPercent": 99,
    "syncFrequency": "10s",
    "nodeStatusUpdateFrequency": "5s",
}


class Node:
    """A cluster of one node: `cluster` is its control plane, with controllers and a scheduler."""

    def __init__(self) -> None:
        if os.geteuid():
            raise NoControlPlane("a node needs root: run `make test-node` as root, or leave it out")
        for program, package in PROGRAMS.items():
            distribution(program, package)
        if not (PLUGINS / "bridge").exists():
            raise NoControlPlane(
                "no CNI plugins: install the package `containernetworking-plugins`"
            )
        programs = binaries("kubelet", "pause", "kube-controller-manager", "kube-scheduler")
        self._pause = programs["pause"]
        self._health_port = free_port()
        self._undo = ExitStack()
        self.cluster = ControlPlane(
            HOME / "control-plane", address=ADDRESS, port=443, services=SERVICES, controllers=True, scheduler=True
        )  # fmt: skip
        self._containerd = Daemon(
            HOME, distribution("containerd", "containerd"), "--config", f"{HOME}/containerd.toml"
        )
        self._kubelet = Daemon(
            HOME, programs["kubelet"], f"--config={HOME}/kubelet.json", f"--kubeconfig={self.cluster.config}",
            f"--root-dir={HOME}/kubelet", f"--cert-dir={HOME}/kubelet/pki",
            f"--hostname-override={NAME}", f"--node-ip={ADDRESS}",
        )  # fmt: skip

    def start(self) -> Node:
        """Start it all; clears away first what an earlier bed left. A start that fails leaves nothing running."""
        with ExitStack() as undo:
            undo.enter_context(_lock())
            clear()
            undo.callback(clear)
            self._make_network()
            undo.callback(self.cluster.stop)
            self.cluster.start()
            undo.callback(self._containerd.stop)
            undo.callback(end_containers)
            self._start_containerd()
            undo.callback(self._kubelet.stop)
            undo.callback(self._end_pods)
            self._start_kubelet()
            self._undo = undo.pop_all()
        return self

    def stop(self) -> None:
        """End all pods, then the node and its control plane; nothing stays mounted or running."""
        self._undo.close()

    def restart_kubelet(self) -> None:
        """Kill the kubelet and start it again; its pods go on meanwhile. It knows them when this returns."""
        known = self._pods_of_kubelet()
        self._kubelet.kill()
        self._kubelet.start(lambda: self._kubelet_is_healthy() and known <= self._pods_of_kubelet())

    def import_image(self, archive: Path) -> None:
        """Make an image usable at once, from what `podman save` or `docker save` wrote."""
        done = self._ctr("images", "import", str(archive))
        assert done.returncode == 0, done.stderr

    def volume(self, size: str = "1Gi") -> str:
        """Make a volume of the class `local` that the workers' user may write to; a claim takes it. Its name."""
        name = f"volume-{secrets.token_hex(4)}"
        path = HOME / "volumes" / name
        path.mkdir(mode=0o770)
        os.chown(path, WORKER_ID, WORKER_ID)
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]}
        spec = {
            "storageClassName": STORAGE_CLASS,
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        }
        self.cluster.do(
            "create", "-f", "-",
            given={"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec},
        )  # fmt: skip
        return name

    def _make_network(self) -> None:
        for directory in ("control-plane", "cni", "volumes"):
            (HOME / directory).mkdir(parents=True)
        (HOME / "cni" / "pods.conflist").write_text(json.dumps(NETWORK))
        ip("link", "add", NODE_BRIDGE, "type", "bridge")
        ip("addr", "add", f"{ADDRESS}/32", "dev", NODE_BRIDGE)
        ip("link", "set", NODE_BRIDGE, "up")

    def _start_containerd(self) -> None:
        (HOME / "containerd.toml").write_text(CONTAINERD)
        self._containerd.start(lambda: not self._ctr("version").returncode)
        pause_archive(self._pause, HOME / "pause.tar")
        self.import_image(HOME / "pause.tar")

    def _ctr(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                distribution("ctr", "containerd"),
                f"--address={HOME}/containerd.sock",
                "--namespace=k8s.io",
                *words,
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    def _start_kubelet(self) -> None:
        (HOME / "kubelet.json").write_text(
            json.dumps({**KUBELET, "healthzPort": self._health_port})
        )
        self._kubelet.start(self._kubelet_is_healthy)
        for state in ("create", "condition=Ready"):
            if self.cluster.kubectl(
                "wait", f"node/{NAME}", f"--for={state}", "--timeout=60s"
            ).returncode:
                raise NoControlPlane(f"the node is not ready:\n{self._kubelet.last_lines()}")

    def _kubelet_is_healthy(self) -> bool:
        return answers(f"http://127.0.0.1:{self._health_port}/healthz")

    def _pods_of_kubelet(self) -> set[str]:
        """The identities of the pods that the kubelet itself says it has."""
        said = self.cluster.kubectl("get", "--raw", f"/api/v1/nodes/{NAME}/proxy/pods")
        pods = json.loads(said.stdout)["items"] or [] if said.returncode == 0 else []
        return {pod["metadata"]["uid"] for pod in pods}

    def _end_pods(self) -> None:
        """As much as a kubelet cleans up itself; what it does not is ended by hand."""
        self.cluster.stop_controllers()  # else they would make new ones
        self.cluster.kubectl(
            "delete", "pods", "--all", "--all-namespaces", "--grace-period=1", "--wait=false"
        )
        until = time.monotonic() + POD_END_SECONDS
        while shims() and time.monotonic() < until:
            time.sleep(0.1)


def _lock() -> IO[str]:
    """Have this machine's bed to ourselves, until the file is closed or we end."""
    lock = LOCK.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise NoControlPlane(
            "another test session has this machine's node: wait for its end"
        ) from None
    return lock
