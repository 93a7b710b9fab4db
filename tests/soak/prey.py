"""Finds the processes of one `bowline run` in its state directory, and ends, stops and continues them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.control import BOWLINE

RUNNER = "runner"


@dataclass(frozen=True, slots=True)
class Life:
    """A worker that is alive."""

    role: str
    name: str
    pid: int
    place: Path

    @property
    def address(self) -> str:
        """Where it listens; empty until it has said so."""
        try:
            return (self.place / "address").read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    def step(self) -> str:
        """The step of a switch that it is at, asked of itself."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/status", timeout=0.5) as answer:
                return str((json.load(answer).get("switch") or {}).get("step", ""))
        except (OSError, ValueError):
            return ""


def lives(state: Path) -> list[Life]:
    """Every worker that is alive now."""
    found = []
    for place in sorted(state.glob("jobs/*")):
        if (place / "exit").exists():
            continue
        with contextlib.suppress(OSError, ValueError):
            record = json.loads((place / "job.json").read_text(encoding="utf-8"))
            pid = int((place / "pid").read_text(encoding="utf-8"))
            if is_alive(pid) and str(place / "config.json") in _arguments(pid):
                found.append(Life(record["role"], record["name"], pid, place))
    return found


def is_alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def _arguments(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Blow:
    """What was done to whom, and when."""

    at: float  #: seconds since the seed began
    what: str
    phase: str
    role: str
    name: str
    pid: int

    def __str__(self) -> str:
        return f"{self.at:6.1f}s {self.what:8} {self.phase:18} {self.role:9} {self.name} pid {self.pid}"


class Prey:
    """One migration's processes: the runner, which we start, and the workers, which it starts."""

    def __init__(self, manifest: Path, state: Path, log: Path, tell: Callable[[str], None]) -> None:
        self.state, self._manifest, self._log, self._tell = state, manifest, log, tell
        self.began = time.monotonic()
        self.blows: list[Blow] = []
        self.runner: subprocess.Popen[bytes] | None = None
        self._stopped: dict[int, float] = {}
        self._status: tuple[int, dict[str, Any]] = (0, {})

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.runner = subprocess.Popen(
                [BOWLINE, "run", str(self._manifest), "--state-dir", str(self.state)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def exit_code(self) -> int | None:
        """How the runner ended; None: it is running, or was killed by us."""
        code = None if self.runner is None else self.runner.poll()
        return None if code in (None, -signal.SIGKILL) else code

    def runner_is_dead(self) -> bool:
        """It has to be started: it was killed by us, or never was there. One that ended has no more to do."""
        return self.runner is None or self.runner.poll() == -signal.SIGKILL

    def status(self) -> dict[str, Any]:
        path = self.state / "status.json"
        try:
            written = path.stat().st_mtime_ns
            if written != self._status[0]:
                self._status = written, json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return self._status[1]

    def phase(self, phase: str) -> None:
        done = subprocess.run(
            [BOWLINE, "phase", str(self._manifest), phase],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"bowline phase {phase}: {done.stderr.strip()}")
        self.say(f"asked for {phase}")

    def say(self, text: str) -> None:
        self._tell(f"{time.monotonic() - self.began:6.1f}s {text}")

    def alive(self, role: str) -> list[Life]:
        return [life for life in lives(self.state) if life.role == role]

    @property
    def kills(self) -> int:
        return sum(blow.what == "kill -9" for blow in self.blows)

    def kill_runner(self) -> None:
        if self.runner is None or self.runner.poll() is not None:
            return
        self._note("kill -9", RUNNER, RUNNER, self.runner.pid)
        self.runner.kill()
        self.runner.wait()

    def kill(self, life: Life) -> bool:
        return self._strike("kill -9", life, signal.SIGKILL)

    def freeze(self, life: Life, seconds: float) -> bool:
        if not self._strike("stop", life, signal.SIGSTOP):
            return False
        self._stopped[life.pid] = time.monotonic() + seconds
        return True

    def thaw(self, *, all_of_them: bool = False) -> None:
        """Let go on whoever was stopped for long enough."""
        for pid, until in [*self._stopped.items()]:
            if all_of_them or time.monotonic() >= until:
                del self._stopped[pid]
                if is_alive(pid):
                    os.kill(pid, signal.SIGCONT)
                    self.say(f"continue pid {pid}")

    def end(self) -> None:
        """Stop whatever still runs, in order; the runner ends its workers."""
        self.thaw(all_of_them=True)
        if self.runner is not None and self.runner.poll() is None:
            self.runner.terminate()
            try:
                self.runner.wait(40)
            except subprocess.TimeoutExpired:
                self.runner.kill()
                self.runner.wait()

    def _strike(self, what: str, life: Life, number: signal.Signals) -> bool:
        # The worker may have ended since it was found: its number is not another's so soon.
        try:
            os.kill(life.pid, number)
        except ProcessLookupError:
            return False
        self._note(what, life.role, life.name, life.pid)
        return True

    def _note(self, what: str, role: str, name: str, pid: int) -> None:
        status = self.status()
        step = (status.get("cutover") or {}).get("step", "")
        phase = str(status.get("phase", "-")) + (f"/{step}" if step else "")
        blow = Blow(time.monotonic() - self.began, what, phase, role, name, pid)
        self.blows.append(blow)
        self._tell(str(blow))
