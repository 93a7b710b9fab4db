"""Bowline, as it is: its roles as processes, driven as the control plane drives them."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import peers
from bench.arena import Arena, cpu_seconds, peak_mib, wait_for
from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Role, Side
from bowline_worker.endpoints.postgres import names
from bowline_worker.journal import Reader
from road.by_hand import Road, Worker
from servers import MIGRATOR, Database, Pair

FORWARD = StreamId(Side.SOURCE, 0)
STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a role took while it was watched."""

    cpu: float
    peak_mib: float


@dataclass
class Product:
    """One migration between two databases."""

    source: Database
    target: Database
    directory: Path
    settings: dict[str, Any] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)  #: of the roles that were stopped, by role

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        users = ((MIGRATOR, self.source.server.password), (MIGRATOR, self.target.server.password))
        self.pair = Pair(
            self.source, self.target, f"bench.{self.source.name}", self.directory, users
        )
        self.road = Road(self.pair, settings=self.settings)

    @classmethod
    def between(cls, arena: Arena, source: Database, target: Database, **settings: Any) -> Product:
        return cls(source, target, arena.directory / f"product-{target.name}", settings)

    @property
    def slot(self) -> str:
        return names.slot(self.pair.migration, self.source.name, 0)

    @property
    def publication(self) -> str:
        return names.publication(self.pair.migration)

    @property
    def journal(self) -> Path:
        return self.pair.journal / str(FORWARD)

    def prepare(self) -> None:
        """Walk up to the stream, and stop there: snapshot complete, slot made, nothing running."""
        for role in (Role.ASSESS, Role.SCHEMA, Role.PREPARE):
            self.run(role)
        capture = self.road.start(Role.CAPTURE)
        self.run(Role.SNAPSHOT)
        done = self.journal / "snapshot-complete"
        wait_for("capture knows that the snapshot is complete", done.exists, 60)
        self.stop(capture)

    def run(self, role: Role, seconds: float = 900) -> Cost:
        """Run a role to its end."""
        worker = self.road.start(role)
        cost = Cost(0.0, 0.0)
        end = time.monotonic() + seconds
        while worker.process.poll() is None:
            # Peak and sum of what was seen last: an ended process has neither.
            if (peak := peak_mib(worker.process.pid)) == peak:
                cost = Cost(cpu_seconds(worker.process.pid), peak)
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        worker.wait(seconds=1)
        self.costs[str(role)] = cost
        return cost

    def cost(self, worker: Worker) -> Cost:
        """What a running role has taken until now."""
        pid = worker.process.pid
        cost = Cost(cpu_seconds(pid), peak_mib(pid))
        self.costs[worker.name.rsplit("-", 1)[0]] = cost
        return cost

    def stop(self, worker: Worker) -> Cost:
        """End a running role in order; 75 is what it says then."""
        cost = self.cost(worker)
        worker.signal(signal.SIGTERM)
        worker.wait(code=None, seconds=STOP_SECONDS)
        return cost

    def check(self, worker: Worker) -> None:
        if worker.process.poll() is not None:
            raise AssertionError(f"{worker.name} ended:\n{worker.log()}")

    def journal_end(self) -> tuple[int, int]:
        """Block and position of the newest durable transaction; zeros where there is no journal."""
        reader = Reader(self.journal, migration=self.pair.migration, stream=FORWARD)
        try:
            mark = reader.end()
            return mark.block, mark.position.order if mark.position else 0
        finally:
            reader.close()

    @contextmanager
    def capturing(self) -> Iterator[Worker]:
        worker = self.road.start(Role.CAPTURE)
        try:
            yield worker
        finally:
            self.stop(worker)

    @contextmanager
    def applying(self) -> Iterator[Worker]:
        worker = self.road.start(Role.APPLY)
        try:
            yield worker
        finally:
            self.stop(worker)

    def capture_until(self, position: int, seconds: float = 600) -> None:
        """Capture until the journal reaches beyond that position."""
        with self.capturing() as worker:

            def reached() -> bool:
                self.check(worker)
                return self.journal_end()[1] > position

            wait_for("the journal has the backlog", reached, seconds, pause=0.1)

    def keep_journal(self, name: str) -> Path:
        """Put the journal aside, to begin from it again."""
        kept = self.directory / name
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.pair.journal, kept)
        return kept

    def take_journal(self, kept: Path) -> None:
        shutil.rmtree(self.pair.journal)
        shutil.copytree(kept, self.pair.journal)

    def close(self) -> None:
        self.road.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def forget(self) -> None:
        """Remove what it made at the source: the next round begins from the same state. The target is dropped whole."""
        self.close()
        peers.drop_slot(self.source, self.slot)
        self.source.run(
            f"drop publication if exists {self.publication}",
            "drop schema if exists bowline cascade",
        )
