"""Drives a migration in a cluster as a user would: with kubectl, nothing imported."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from demo.control import Control, RoadBlocked

NAME = "shop"


class ClusterControl(Control):
    """One DatabaseMigration in a namespace, and what its status says all the time."""

    def __init__(
        self,
        manifest: Path,
        kubectl: Sequence[str],
        namespace: str,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """`tell` gets each line of `kubectl get dbm --watch`."""
        super().__init__(manifest, manifest.parent, manifest.parent / "kubectl.log")
        self._kubectl = [*kubectl, "-n", namespace]
        self._tell = tell

    def start(self) -> None:
        """Apply the manifest, and watch what becomes of it."""
        self._ask("apply", "-f", str(self._manifest))
        self._run = self._follow("get", "dbm", NAME, "--watch")
        self._spawn(self._listen, self._run)
        self._watch = self._follow("get", "dbm", NAME, "--watch", "-o", "json")
        self._spawn(self._look, self._watch)

    def phase(self, phase: str) -> None:
        """Ask for a phase: a patch of the resource."""
        self._ask(
            "patch", "dbm", NAME, "--type=merge", "-p", json.dumps({"spec": {"phase": phase}})
        )

    def wait(self, what: str, seconds: int) -> None:
        kind, _, value = what.partition("=")
        until = time.monotonic() + seconds
        self._until_taken_over(until)
        wanted = f"jsonpath={{.status.phase}}={value}" if kind == "phase" else what
        left = max(1, int(until - time.monotonic()))
        try:
            self._ask("wait", "dbm", NAME, f"--for={wanted}", f"--timeout={left}s")
        except RoadBlocked as error:
            raise RoadBlocked(f"{error}; {self.now().get('message', '')}") from None

    def now(self) -> dict[str, Any]:
        return dict(self._resource().get("status", {}))

    def end(self, *, seconds: float = 90) -> int | None:
        """Wait until it is Completed: nothing ends by itself in a cluster."""
        self.wait("phase=Completed", int(seconds))
        return 0

    def _listen(self, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                self.said.append(line.rstrip())
                if self._tell is not None:
                    self._tell(line.rstrip())

    def _until_taken_over(self, until: float) -> None:
        """Wait until the status is about the newest spec."""
        while time.monotonic() < until:
            found = self._resource()
            if found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]:
                return
            time.sleep(0.1)
        raise RoadBlocked("the operator has not taken the newest spec over")

    def _resource(self) -> dict[str, Any]:
        return dict(json.loads(self._ask("get", "dbm", NAME, "-o", "json")))

    def _ask(self, *words: str) -> str:
        done = subprocess.run(
            [*self._kubectl, *words],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RoadBlocked(f"kubectl {words[0]}: {done.stderr.strip()}")
        return done.stdout

    def _follow(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._kubectl, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
