"""A node without containers: it runs the pods of Bowline's Jobs as child processes, and tells the API server of them.

It stands where a kubelet does, between a real Job controller and real worker programs: pods are bound, run at an
address of their own (127.x.y.z), end with an exit code and a termination message, and get SIGTERM and then SIGKILL
when they are deleted. ConfigMap, Secrets and volumes become directories; the paths in the configuration follow them.
Security contexts, images and limits mean nothing here: `node.py` is for those.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bowline_operator.kube.objects import JOB_UID_LABEL, MANAGED_BY, MANAGER, STATUS_PORT

NAME = "processes"
LOOK_SECONDS = 0.15
PATIENCE_SECONDS = 60
MESSAGE_BYTES = 4096
ENDS = ("Succeeded", "Failed")
WORKER = [sys.executable, "-c", "from bowline_worker.main import main; main()"]


class Api:
    """Calls to the API server as an administrator."""

    def __init__(self, kubeconfig: Path) -> None:
        raw = json.loads(kubeconfig.read_text())
        cluster = raw["clusters"][0]["cluster"]
        self.server = cluster["server"]
        self._token = raw["users"][0]["user"]["token"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)

    def call(
        self, method: str, path: str, body: object = None, kind: str = "application/json"
    ) -> dict[str, Any]:
        request = urllib.request.Request(
            self.server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": kind},
        )
        with urllib.request.urlopen(request, timeout=10, context=self._tls) as answer:
            return dict(json.load(answer))


@dataclass(slots=True)
class Pod:
    name: str
    namespace: str
    uid: str
    role: str
    job: str
    place: Path
    ip: str
    process: subprocess.Popen[bytes] | None = None
    kill_at: float | None = None
    told: str = ""  #: the phase that the API server knows of

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    @property
    def termination(self) -> Path:
        return self.place / "termination-log"


@dataclass
class ProcessNode:
    """Start it, and what the Job controller makes runs. Workers can be found by role, to be killed."""

    kubeconfig: Path
    directory: Path
    command: Sequence[str] = field(default_factory=lambda: WORKER)
    environment: dict[str, str] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)  #: by uid
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._api = Api(self.kubeconfig)
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="process node", daemon=True)

    def start(self) -> ProcessNode:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        for pod in self.pods.values():
            if pod.process is not None and pod.process.poll() is None:
                os.killpg(pod.process.pid, signal.SIGKILL)
                pod.process.wait()

    def running(self, role: str, namespace: str) -> list[Pod]:
        """The pods of a role that run now."""
        return [
            pod
            for pod in [*self.pods.values()]
            if (pod.role, pod.namespace) == (role, namespace)
            and pod.process is not None
            and pod.process.poll() is None
        ]

    def is_running(self, role: str, namespace: str) -> bool:
        return bool(self.running(role, namespace))

    def release(self, hold: Path, role: str, namespace: str) -> None:
        """Take a scripted worker's hold away, and wait until its role has ended."""
        hold.unlink()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.is_running(role, namespace):
            assert time.monotonic() < deadline, f"{role} does not end"
            time.sleep(LOOK_SECONDS)

    def claims(self, namespace: str) -> Path:
        """The one volume of a namespace."""
        return self.directory / namespace / "state" / "journal"

    def script(self, namespace: str) -> Path:
        """Where scripted workers look for what they shall do."""
        place = self.directory / namespace / "script"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def log(self, namespace: str) -> str:
        """What all workers of a namespace have written, for a test that failed."""
        parts = [
            f"--- {pod.name}\n{(pod.place / 'log').read_text()[-3000:]}"
            for pod in self.pods.values()
            if pod.namespace == namespace and (pod.place / "log").exists()
        ]
        return "\n".join(parts)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self._look()
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.problems.append(f"{type(error).__name__}: {error}")  # the API server is away

    def _look(self) -> None:
        selector = f"labelSelector={MANAGED_BY}%3D{MANAGER}"
        found = self._api.call("GET", f"/api/v1/pods?{selector}")["items"]
        for raw in found:
            uid = raw["metadata"]["uid"]
            if uid not in self.pods and "deletionTimestamp" not in raw["metadata"]:
                self._take(raw)
            pod = self.pods.get(uid)
            if pod is not None:
                try:
                    self._see_to(pod, raw)
                except urllib.error.HTTPError as error:
                    if error.code != 404:  # it went while we looked
                        raise

    def _take(self, raw: dict[str, Any]) -> None:
        """Run a new pod, if what it mounts is there; else it waits as a kubelet has it wait."""
        meta, labels = raw["metadata"], raw["metadata"]["labels"]
        number = next(self._numbers)
        pod = Pod(
            name=meta["name"],
            namespace=meta["namespace"],
            uid=meta["uid"],
            role=labels["app.kubernetes.io/component"],
            job=labels["batch.kubernetes.io/job-name"],
            place=self.directory / meta["namespace"] / meta["name"],
            ip=f"127.{64 + os.getpid() % 64}.{number // 250}.{number % 250 + 1}",
        )
        if not raw["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": NAME}
            body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name}}
            self._api.call("POST", f"{pod.path}/binding", {**body, "target": target})
        try:
            config = self._mount(pod, raw)
        except urllib.error.HTTPError:
            return
        self.pods[pod.uid] = pod
        worker = raw["spec"]["containers"][0]
        with (pod.place / "log").open("ab") as log:
            pod.process = subprocess.Popen(
                [*self.command, *worker["command"][1:3], str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ
                | self.environment
                | {
                    "BOWLINE_LISTEN": f"{pod.ip}:{STATUS_PORT}",
                    "BOWLINE_JOB_UID": labels[JOB_UID_LABEL],
                },
            )

    def _mount(self, pod: Pod, raw: dict[str, Any]) -> Path:
        """Lay out the volumes; return the configuration, with paths that exist here."""
        core = f"/api/v1/namespaces/{pod.namespace}"
        places: dict[str, Path] = {}
        text = ""
        for volume in raw["spec"]["volumes"]:
            name, place = volume["name"], pod.place / volume["name"]
            if "secret" in volume:
                secret = self._api.call("GET", f"{core}/secrets/{volume['secret']['secretName']}")
                place.mkdir(parents=True, exist_ok=True)
                for key, value in secret.get("data", {}).items():
                    (place / key).write_bytes(base64.b64decode(value))
            elif "configMap" in volume:
                found = self._api.call("GET", f"{core}/configmaps/{volume['configMap']['name']}")
                text = found["data"]["config.json"]
            elif "persistentVolumeClaim" in volume:
                place = self.claims(pod.namespace)
            places[name] = place
        for place in places.values():
            place.mkdir(parents=True, exist_ok=True)
        config = json.loads(text)
        config["source"]["credentials"] = str(places["source"])
        config["target"]["credentials"] = str(places["target"])
        config["workDir"] = str(places["work"])
        config["journal"] = str(self.claims(pod.namespace))
        config["terminationFile"] = str(pod.termination)
        path = places["config"] / "config.json"
        path.write_text(json.dumps(config))
        return path

    def _see_to(self, pod: Pod, raw: dict[str, Any]) -> None:
        if pod.process is None:
            return
        code = pod.process.poll()
        leaving = "deletionTimestamp" in raw["metadata"]
        if code is None and leaving:
            self._end(pod, raw["metadata"].get("deletionGracePeriodSeconds", 30))
        if code is None and not pod.told:
            self._tell(pod, raw, "Running", {"running": {"startedAt": _now()}})
        if code is not None and pod.told not in ENDS:
            self._tell_end(pod, raw, code)
        if code is not None and leaving:
            self._api.call("DELETE", pod.path, {"gracePeriodSeconds": 0})
            del self.pods[pod.uid]

    def _end(self, pod: Pod, grace: int) -> None:
        assert pod.process is not None
        if pod.kill_at is None:
            pod.kill_at = time.monotonic() + grace
            pod.process.terminate()
        elif time.monotonic() > pod.kill_at:
            os.killpg(pod.process.pid, signal.SIGKILL)

    def _tell_end(self, pod: Pod, raw: dict[str, Any], code: int) -> None:
        said = ""
        if pod.termination.exists():
            said = pod.termination.read_bytes()[:MESSAGE_BYTES].decode(errors="replace")
        elif code:
            said = (pod.place / "log").read_bytes()[-2048:].decode(errors="replace")
        ended = {
            "exitCode": code if code >= 0 else 128 - code,
            "reason": "Error" if code else "Completed",
            "startedAt": _now(),
            "finishedAt": _now(),
            "message": said,
        }
        self._tell(pod, raw, ENDS[bool(code)], {"terminated": ended})

    def _tell(self, pod: Pod, raw: dict[str, Any], phase: str, state: dict[str, Any]) -> None:
        container = raw["spec"]["containers"][0]
        ready = phase == "Running"
        status = {
            "phase": phase,
            "podIP": pod.ip,
            "podIPs": [{"ip": pod.ip}],
            "startTime": raw["status"].get("startTime", _now()),
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": ready,
                    "restartCount": 0,
                    "state": state,
                }
            ],
            "conditions": [
                {"type": kind, "status": str(ready)} for kind in ("Ready", "ContainersReady")
            ],
        }
        kind = "application/merge-patch+json"
        self._api.call("PATCH", f"{pod.path}/status", {"status": status}, kind)
        pod.told = phase


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
