"""The operator as a process against the test's control plane, and a migration that it watches over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bowline_operator.status import ConditionType, Status
from kube.control_plane import ControlPlane, free_port
from kube.process_node import Api
from plan_world import SIDES

PATIENCE = 120.0  # other work may share the machine
LOOK_SECONDS = 0.1
IMAGE = "localhost/bowline:test"
SPEC = SIDES


@dataclass
class Operator:
    """`bowline-operator` for one namespace."""

    cluster: ControlPlane
    namespace: str
    directory: Path
    kubeconfig: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    health_port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)

    def start(self, *words: str) -> Operator:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "operator.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-W", "ignore", "-m", "bowline_operator.kube.main",
                    "--namespace", self.namespace, "--worker-image", IMAGE, "--address", "127.0.0.1",
                    "--health-port", str(self.health_port), "--metrics-port", str(self.metrics_port),
                    *words,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"KUBECONFIG": str(self.kubeconfig or self.cluster.config)},
            )  # fmt: skip
        return self

    def kill(self) -> None:
        """As a node's failure does it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """As a roll-out does it: SIGTERM."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    @property
    def log(self) -> str:
        return (self.directory / "operator.log").read_text()[-6000:]


@dataclass
class Migration:
    """A DatabaseMigration in the cluster, as its user sees it."""

    cluster: ControlPlane
    namespace: str
    name: str = "shop"

    def __post_init__(self) -> None:
        # What is asked for ten times a second is asked without a process of its own.
        self._api = Api(self.cluster.config)

    def create(self, spec: dict[str, Any], **metadata: Any) -> Migration:
        for side in ("source", "target"):
            user = {"username": "bowline", "password": "secret"}
            self.secret(spec[side]["credentialsSecretRef"]["name"], user)
        body = {
            "apiVersion": "bowline.dev/v1alpha1",
            "kind": "DatabaseMigration",
            "metadata": {"name": self.name, **metadata},
            "spec": spec,
        }
        self.cluster.do("create", "-n", self.namespace, "-f", "-", given=body)
        return self

    def secret(self, name: str, values: dict[str, str]) -> None:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        self.cluster.do(
            "apply", "-n", self.namespace, "-f", "-", given={**body, "stringData": values}
        )

    def patch(self, spec: dict[str, Any]) -> None:
        self.cluster.do(
            "patch", "dbm", self.name, "-n", self.namespace, "--type=merge",
            "-p", json.dumps({"spec": spec}),
        )  # fmt: skip

    def raw(self) -> dict[str, Any]:
        place = f"/apis/bowline.dev/v1alpha1/namespaces/{self.namespace}/databasemigrations"
        return self._api.call("GET", f"{place}/{self.name}")

    @property
    def status(self) -> Status:
        return Status.model_validate(self.raw().get("status", {}))

    def jobs(self) -> dict[str, Any]:
        found = self._api.call("GET", f"/apis/batch/v1/namespaces/{self.namespace}/jobs")["items"]
        return {each["metadata"]["name"]: each for each in found}

    def claims(self) -> list[str]:
        """The claims of volumes that stay.

        One that is being deleted is kept by its protection until no pod names it; ended pods still do.
        """
        found = self.cluster.get("pvc", "-n", self.namespace)["items"]
        return [
            each["metadata"]["name"]
            for each in found
            if "deletionTimestamp" not in each["metadata"]
        ]

    def events(self) -> list[dict[str, Any]]:
        """What people have been told of migrations."""
        found = self.cluster.get("events", "-n", self.namespace)["items"]
        return [each for each in found if each["involvedObject"]["kind"] == "DatabaseMigration"]

    def reasons(self) -> set[str]:
        return {each["reason"] for each in self.events()}

    def until(
        self, holds: Callable[[Status], bool], what: str, seconds: float = PATIENCE
    ) -> Status:
        """Wait until the status says so."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.status
            if holds(status):
                return status
            assert time.monotonic() < deadline, f"never {what}: {status.model_dump_json(indent=1)}"
            time.sleep(LOOK_SECONDS)

    def until_phase(self, phase: str) -> Status:
        return self.until(lambda status: str(status.phase) == phase, phase)

    def until_true(self, kind: ConditionType) -> Status:
        return self.until(lambda status: truth(status, kind) == "True", str(kind))


def truth(status: Status, kind: ConditionType) -> str:
    found = status.condition(kind)
    return "" if found is None else str(found.status)


def eventually(holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(LOOK_SECONDS)
