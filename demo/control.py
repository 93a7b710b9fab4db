"""Drives `bowline` as a user would: child processes of the installed command, nothing imported."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

#: As its neighbour in the environment that runs us.
BOWLINE = str(Path(sys.executable).parent / "bowline")
FAREWELL_SECONDS = 40


class RoadBlocked(Exception):
    """The road does not go on; the message says where, and what `bowline` said."""


class Control:
    """One `bowline run`, the commands given to it, and what its status says all the time.

    A migration in a cluster is driven by its subclass, in kubernetes.py.
    """

    def __init__(self, manifest: Path, state: Path, log: Path) -> None:
        self._files = [str(manifest), "--state-dir", str(state)]
        self._manifest = manifest
        self._log = log
        self._run: subprocess.Popen[str] | None = None
        self._watch: subprocess.Popen[str] | None = None
        self._threads: list[threading.Thread] = []
        self.status: dict[str, Any] = {}  #: the newest `status` of the resource
        self.said: deque[str] = deque(maxlen=30)  #: the newest lines of `bowline run`

    def start(self) -> None:
        self._run = subprocess.Popen(
            [BOWLINE, "run", *self._files],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is for us: we end it in order
        )
        self._spawn(self._listen, self._run)
        until = time.monotonic() + 20
        while not self.said and self._run.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        self._watch = subprocess.Popen(
            [BOWLINE, "status", *self._files, "--watch", "-o", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._spawn(self._look, self._watch)

    def phase(self, phase: str) -> None:
        """Ask for a phase: an edit of the manifest."""
        self._command("phase", str(self._manifest), phase)

    def wait(self, what: str, seconds: int) -> None:
        self._command("wait", *self._files, f"--for={what}", f"--timeout={seconds}s")

    def now(self) -> dict[str, Any]:
        """The resource's status at this moment."""
        status: dict[str, Any] = json.loads(
            self._command("status", *self._files, "-o", "json")
        ).get("status", {})
        return status

    def end(self, *, seconds: float = FAREWELL_SECONDS) -> int | None:
        """Wait for the end of `bowline run`, which comes by itself when all is done."""
        if self._run is None:
            return None
        try:
            return self._run.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End whatever still runs."""
        for process in (self._watch, self._run):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(FAREWELL_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for thread in self._threads:
            thread.join(5)

    def grants(self, side: str, *options: str) -> str:
        """The SQL that makes the migration's user on one side."""
        return self._command("grants", "--engine", "postgresql", "--side", side, *options)

    def _command(self, *words: str) -> str:
        done = subprocess.run(
            [BOWLINE, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise RoadBlocked(f"bowline {words[0]}: {said}")
        return done.stdout

    def _spawn(self, target: Any, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        thread = threading.Thread(target=target, args=(process.stdout,), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _listen(self, lines: IO[str]) -> None:
        with self._log.open("a", encoding="utf-8") as log, lines:
            for line in lines:
                log.write(line)
                log.flush()
                self.said.append(line.rstrip())

    def _look(self, lines: IO[str]) -> None:
        with lines:
            for document in documents(lines):
                self.status = document.get("status", {})


def documents(lines: IO[str]) -> Iterator[dict[str, Any]]:
    """Take a stream of indented JSON objects apart: each ends with a brace of its own."""
    gathered: list[str] = []
    for line in lines:
        gathered.append(line)
        if line == "}\n":
            yield json.loads("".join(gathered))
            gathered.clear()
