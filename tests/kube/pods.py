"""The kubelet's part where there is none: a test says what a pod did, and the API server and the controllers see it.

What is written is what a kubelet writes: the pod is bound to a node first, so that its deletion is graceful and it
stays, terminating, until `reap` plays its end; container states carry exit codes and termination messages.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from kube.control_plane import ControlPlane

NODE = "paper"  #: nobody is there; pods only need a node's name
SIGTERM_EXIT = 143


def pod_of(cluster: ControlPlane, namespace: str, job: str) -> str:
    """The name of a Job's newest pod; waits until there is one."""
    wanted = f"batch.kubernetes.io/job-name={job}"
    cluster.do(
        "wait", "pod", "-n", namespace, "-l", wanted, "--for=create", "--timeout=60s",
    )  # fmt: skip
    pods = cluster.get("pods", "-n", namespace, "-l", wanted)["items"]
    newest = max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    return str(newest["metadata"]["name"])


def run(cluster: ControlPlane, namespace: str, pod: str, ip: str = "127.0.0.1") -> None:
    """It runs, and can be reached at this address."""
    _bind(cluster, namespace, pod)
    state = {"running": {"startedAt": _now()}}
    _report(cluster, namespace, pod, "Running", state, ready=True, ip=ip)


def finish(
    cluster: ControlPlane, namespace: str, pod: str, exit_code: int = 0, message: str = ""
) -> None:
    """All its containers ended, with this exit code and this termination message."""
    _bind(cluster, namespace, pod)
    phase, reason = ("Failed", "Error") if exit_code else ("Succeeded", "Completed")
    ended = {"exitCode": exit_code, "reason": reason, "startedAt": _now(), "finishedAt": _now()}
    if message:
        ended["message"] = message
    _report(cluster, namespace, pod, phase, {"terminated": ended})


def reap(cluster: ControlPlane, namespace: str, exit_code: int = SIGTERM_EXIT) -> list[str]:
    """End all pods that are to be deleted, as a SIGTERM would; their names."""
    reaped = []
    for pod in cluster.get("pods", "-n", namespace)["items"]:
        name = str(pod["metadata"]["name"])
        if "deletionTimestamp" not in pod["metadata"]:
            continue
        if pod["status"]["phase"] not in ("Succeeded", "Failed"):
            finish(cluster, namespace, name, exit_code)
        cluster.do(
            "delete", "pod", name, "-n", namespace, "--grace-period=0", "--force", "--ignore-not-found",
        )  # fmt: skip
        reaped.append(name)
    return reaped


def _bind(cluster: ControlPlane, namespace: str, pod: str) -> None:
    """What the scheduler does."""
    if cluster.get("pod", pod, "-n", namespace)["spec"].get("nodeName"):
        return
    cluster.do(
        "create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}/binding", "-f", "-",
        given={
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
        },
    )  # fmt: skip


def _report(
    cluster: ControlPlane,
    namespace: str,
    pod: str,
    phase: str,
    state: dict[str, Any],
    *,
    ready: bool = False,
    ip: str = "",
) -> None:
    found = cluster.get("pod", pod, "-n", namespace)
    containers = [
        {
            "name": each["name"],
            "image": each["image"],
            "imageID": each["image"],
            "ready": ready,
            "started": ready,
            "restartCount": 0,
            "state": state,
        }
        for each in found["spec"]["containers"]
    ]
    status: dict[str, Any] = {
        "phase": phase,
        "startTime": found["status"].get("startTime", _now()),
        "containerStatuses": containers,
        "conditions": [
            {"type": kind, "status": str(ready), "lastTransitionTime": _now()}
            for kind in ("Ready", "ContainersReady")
        ],
    }
    if ip:
        status |= {"podIP": ip, "podIPs": [{"ip": ip}], "hostIP": ip, "hostIPs": [{"ip": ip}]}
    cluster.do(
        "patch", "pod", pod, "-n", namespace, "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": status}),
    )  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
