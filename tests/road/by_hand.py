"""Drive the worker roles as processes, by hand: for tests that need a fault at an exact place.

The control plane does the same from `plan`; here a test is the control plane.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from bowline_worker.contract import Report, Role, Side, SwitchReport
from servers import Pair

WAIT_SECONDS = 60.0


class Ended(AssertionError):
    """A role ended otherwise than the test expects."""


def wait_until(what: str, claim: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Poll a claim about the world; there is no event to wait for in another process."""
    end = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > end:
            raise Ended(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


class Process(Protocol):
    """What of `subprocess.Popen` is used here."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...


@dataclass
class Worker:
    """One role's process."""

    name: str
    directory: Path
    process: Process

    def report(self) -> Report | None:
        """What it serves now; its last words when it has ended; None before it listens."""
        last = self.directory / "termination.json"
        if self.process.poll() is not None:
            return Report.model_validate_json(last.read_bytes()) if last.exists() else None
        try:
            address = (self.directory / "address").read_text(encoding="utf-8")
            with urllib.request.urlopen(f"http://{address}/status", timeout=1) as answer:
                return Report.model_validate_json(answer.read())
        except OSError:
            return None

    def wait(self, *, code: int | None = 0, seconds: float = WAIT_SECONDS) -> Report | None:
        """Wait for the end; complain when the exit code is another."""
        try:
            ended = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Ended(f"{self.name} is still running:\n{self.log()}") from None
        if code is not None and ended != code:
            raise Ended(f"{self.name} ended with {ended} instead of {code}:\n{self.log()}")
        return self.report()

    def log(self) -> str:
        return (self.directory / "log").read_text(encoding="utf-8")[-4000:]

    def signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait(10)


@dataclass
class Road:
    """All processes of one migration; `close` ends them."""

    pair: Pair
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float = WAIT_SECONDS  #: what each role and each wait has
    workers: list[Worker] = field(default_factory=list)
    count: int = 0

    def start(
        self,
        role: Role,
        *,
        program: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        **config: Any,
    ) -> Worker:
        self.count += 1
        name = f"{role}-{self.count}"
        directory = self.pair.directory / "jobs" / name
        directory.mkdir(parents=True)
        given = self.pair.config(
            role,
            job=name,
            address_file=str(directory / "address"),
            termination_file=str(directory / "termination.json"),
            **{**self.settings, **config},
        )
        (directory / "config.json").write_text(
            given.model_dump_json(by_alias=True), encoding="utf-8"
        )
        process = self.launch(role, directory, program, env or {})
        worker = Worker(name, directory, process)
        self.workers.append(worker)
        return worker

    def launch(
        self, role: Role, directory: Path, program: tuple[str, ...], env: dict[str, str]
    ) -> Process:
        with (directory / "log").open("wb") as log:
            return subprocess.Popen(
                [
                    *(program or (sys.executable, "-m", "bowline_worker")),
                    role,
                    "--config",
                    str(directory / "config.json"),
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, **env},
            )

    def run(self, role: Role, **config: Any) -> Report | None:
        return self.start(role, **config).wait(seconds=self.seconds)

    def stream(self, origin: Side, number: int) -> tuple[Worker, Worker]:
        """Start capture and apply of a stream."""
        return (
            self.start(Role.CAPTURE, origin=origin, number=number),
            self.start(Role.APPLY, origin=origin, number=number),
        )

    def to_streaming(self) -> tuple[Worker, Worker]:
        """Walk from two databases to a live stream."""
        for role in (Role.ASSESS, Role.SCHEMA, Role.PREPARE):
            self.run(role)
        capture = self.start(Role.CAPTURE)
        self.run(Role.SNAPSHOT)
        apply = self.start(Role.APPLY)
        self.caught_up(apply)
        return capture, apply

    def caught_up(self, apply: Worker) -> None:
        """Wait until a heartbeat of now has been applied."""
        began = time.time()

        def fresh() -> bool:
            report = apply.report()
            if apply.process.poll() is not None:
                raise Ended(f"{apply.name} ended:\n{apply.log()}")
            stream = report.stream if report else None
            if stream is None or stream.imported is None or stream.imported.last_at is None:
                return False
            return stream.imported.last_at.timestamp() > began and stream.remaining == 0

        wait_until(f"{apply.name} catches up", fresh, self.seconds)

    def switch(self, attempt: int, loser: Side, **config: Any) -> SwitchReport:
        """Run a whole switch; back's capture and apply are started when its slot is there."""
        cutover = self.start(Role.CUTOVER, attempt=attempt, loser=loser, **config)
        self.started_back(cutover, attempt, loser)
        report = cutover.wait(seconds=2 * self.seconds)
        assert report is not None
        assert report.switch is not None
        return report.switch

    def started_back(
        self, cutover: Worker, attempt: int, loser: Side
    ) -> tuple[Worker, Worker] | None:
        """Wait for ArmReverse, then start the stream back, as the control plane does."""

        def armed() -> bool:
            report = cutover.report()
            return cutover.process.poll() is not None or bool(
                report and report.switch and "ArmReverse" in report.switch.done
            )

        wait_until("the reverse stream is armed", armed, self.seconds)
        return None if cutover.process.poll() is not None else self.stream(loser.other, attempt)

    def close(self) -> None:
        for worker in self.workers:
            worker.signal(signal.SIGCONT)
            worker.signal(signal.SIGKILL)
        for worker in self.workers:
            worker.process.wait(10)


def describe(report: Report | None) -> str:
    return (
        json.dumps(report.model_dump(mode="json", exclude_none=True), indent=1)
        if report
        else "no report"
    )
