"""What a node's bed leaves on a machine, and how all of it is removed, wherever the bed was cut off.

A bed's programs have its fixed directory in their command lines, its mounts are below it, its devices have fixed names.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

from kube.binaries import distribution, succeed

HOME = Path("/var/lib/bowline-node")
NODE_BRIDGE, PODS_BRIDGE = "bowline-node", "bowline-pods"
SHIM = "containerd-shim-runc-v2"
PROGRAMS = frozenset(
    {
        SHIM,
        "containerd",
        "kubelet",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    }
)
END_SECONDS = 10


def clear() -> None:
    """Remove every trace of a bed of this kind, wherever it was cut off."""
    end_containers()
    for pid in processes():
        end(pid)
    for point in mounts():
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
    for device in (PODS_BRIDGE, NODE_BRIDGE):
        if Path("/sys/class/net", device).exists():
            ip("link", "delete", device)
    shutil.rmtree(HOME, ignore_errors=True)
    for link in Path("/var/log/containers").glob("*"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{HOME}/"):
            link.unlink()
    for group in (
        *Path("/sys/fs/cgroup").glob("kubepods"),
        *Path("/sys/fs/cgroup").glob("*/kubepods"),
    ):
        for empty in (*sorted(group.rglob("*/"), reverse=True), group):
            with contextlib.suppress(OSError):  # a file, or a group in use
                empty.rmdir()
    for result in Path("/var/lib/cni/results").glob(f"{PODS_BRIDGE}-*"):
        result.unlink()


def leftovers() -> list[str]:
    """What of a bed is still there."""
    devices = [name for name in (PODS_BRIDGE, NODE_BRIDGE) if Path("/sys/class/net", name).exists()]
    running = [f"process {pid}" for pid in processes()]
    return [*running, *mounts(), *devices, *([str(HOME)] if HOME.exists() else [])]


def end_containers() -> None:
    """Kill the containers with what holds them. A container's first process is a child of its shim."""
    for shim in shims():
        for child in children(shim):
            end(child)
        end(shim)


def shims() -> list[int]:
    return processes(SHIM)


def mounts() -> list[str]:
    """What is mounted below the bed, innermost first."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1] for line in lines]
    return [point for point in reversed(points) if point.startswith(f"{HOME}/")]


def processes(*programs: str) -> list[int]:
    """The bed's processes of these programs, or of all."""
    pids = (int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit())
    return [pid for pid in pids if _is_of_the_bed(pid, programs or PROGRAMS)]


def _is_of_the_bed(pid: int, programs: Collection[str]) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # it has ended
        return False
    return Path(words[0]).name in programs and any(str(HOME) in word for word in words)


def children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            yield from map(int, (thread / "children").read_text().split())


def end(pid: int) -> None:
    """Kill a process and see it go."""
    with contextlib.suppress(ProcessLookupError):
        waiting = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(waiting, signal.SIGKILL)
            select.select([waiting], [], [], END_SECONDS)
        finally:
            os.close(waiting)


def ip(*words: str) -> None:
    succeed(distribution("ip", "iproute2"), *words)
