"""A program in the background, with its output in a file: started, waited for, killed, started again."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from kube.binaries import NoControlPlane

READY_SECONDS = 120

#: Runs in the child: asks the kernel for a SIGTERM when the thread that started it ends, becomes the program.
#: So a test session that is killed leaves nothing running. Not a preexec_fn: that forks a process with threads.
LAUNCH = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Daemon:
    """One program with fixed arguments and additions to our environment. It dies with us."""

    def __init__(
        self, directory: Path, program: str | Path, *arguments: str, **environment: str
    ) -> None:
        self.name = Path(program).name
        self.command = [str(program), *arguments]
        self.directory = directory
        self.log = directory / f"{self.name}.log"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, is_ready: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, str(os.getpid()), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, **self._environment},
            )
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise NoControlPlane(f"{self.command[0]} ended by itself:\n{self.last_lines()}")
            if is_ready():
                return
            time.sleep(0.1)
        raise NoControlPlane(
            f"{self.command[0]} is not ready in {seconds:.0f} s:\n{self.last_lines()}"
        )

    def stop(self, grace: float = 10) -> None:
        """End it, politely at first."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it as a lost machine would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def last_lines(self) -> str:
        """What it said last, for an error."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([*lines[-8:], f"(all of it: {self.log})"])


def answers(url: str, token: str = "", authority: Path | None = None) -> bool:
    """Tell whether a GET of this address succeeds; without an authority, whoever it is that answers."""
    request = urllib.request.Request(
        url, headers={"Authorization": f"Bearer {token}"} if token else {}
    )
    context = (
        ssl.create_default_context(cafile=str(authority))
        if authority
        else ssl._create_unverified_context()
    )
    try:
        with urllib.request.urlopen(request, timeout=2, context=context):
            return True
    except OSError:
        return False
