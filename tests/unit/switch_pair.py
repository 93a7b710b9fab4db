"""Two databases in memory, streams between them that move whenever somebody looks, and faults at any transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

from bowline_worker import takeover
from bowline_worker.bookkeeping import Backend, LaneRow, StreamId, SwitchRow
from bowline_worker.contract import (
    BowlineError,
    Config,
    Connection,
    Engine,
    Role,
    Side,
    SwitchReport,
    TryAgain,
)
from bowline_worker.endpoints import base
from bowline_worker.model import Change, Op, SignalKind
from bowline_worker.reporter import Reporter
from bowline_worker.roles import Context, abort, cutover
from endpoints.memory import MemoryEndpoint
from endpoints.memory_database import MemoryDatabase
from unit.items import COLUMNS, ITEM

NOBODY = Backend(pid=1, started="never")


class Killed(BaseException):
    """The process ends here: nothing of it runs on."""


#: Called at the entry of a transaction (False) and after its commit (True).
Fault = Callable[[int, bool], None]


def no_fault(number: int, committed: bool) -> None:
    """Nothing happens."""


class Station(MemoryEndpoint):
    """One side; each of its transactions is numbered, and may meet a fault."""

    pair: Pair

    @contextmanager
    def books(self) -> Iterator[base.Books]:
        self.pair.pump()
        with self.pair.point(self.side), super().books() as books:
            yield books

    def arm(self, stream: StreamId) -> None:
        with self.pair.point(self.side):
            super().arm(stream)

    def disarm(self, below: int) -> None:
        with self.pair.point(self.side):
            super().disarm(below)


@dataclass
class Pair:
    """The world around the roles: applications, capture and apply of both directions."""

    lanes: int = 2
    fallback: bool = True
    budget: timedelta = timedelta(seconds=20)
    fault: Fault = no_fault
    down: set[Side] = field(default_factory=set)
    points: int = 0
    sent: dict[StreamId, int] = field(default_factory=dict)
    applied: list[tuple[Side, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.stations = {}
        for side in Side:
            database = MemoryDatabase({ITEM.name: ITEM}, switch=SwitchRow())
            self.stations[side] = Station(database, side)
            self.stations[side].pair = self
        source, target = (self.stations[side].db for side in Side)
        source.slots[0] = 0
        target.switch = SwitchRow(fenced=True)
        target.lanes[Side.SOURCE] = tuple(
            LaneRow(lane=i, number=0, generation=0, passed=True) for i in range(self.lanes)
        )

    @contextmanager
    def point(self, side: Side) -> Iterator[None]:
        self.points += 1
        number, fault = self.points, self.fault
        if side in self.down:
            raise TryAgain(f"the {side} is away", reason="Unreachable")
        fault(number, False)
        yield
        fault(number, True)

    def pump(self) -> None:
        """Let capture and apply of both directions do all that they can."""
        with self.lock:
            for origin in Side:
                if not self.down:
                    self._flow(origin)

    def _flow(self, origin: Side) -> None:
        here, there = self.stations[origin].db, self.stations[origin.other].db
        rows = there.lanes.get(origin, ())
        if not rows or rows[0].number not in here.slots:
            return
        stream = StreamId(origin, rows[0].number)
        if not all(row.generation > 0 for row in rows):
            try:
                own, other = self.switch(origin.other), self.switch(origin)
                takeover.check(stream, rows, own, lambda: other)
            except BowlineError:
                return
            there.lanes[origin] = takeover.next_rows(rows, [NOBODY] * len(rows), len(rows))
        at = self.sent.setdefault(stream, here.slots[stream.number])
        for sent in here.log[at:]:
            with there.transaction() as done:
                for signal in sent.signals:
                    there.lanes[origin] = tuple(
                        seen(row, signal.kind, signal.attempt) for row in there.lanes[origin]
                    )
                for change in sent.changes if there.lanes[origin][0].passed else ():
                    there.change(change)
                    done.changes.append(change)
                    assert change.after is not None
                    self.applied.append((origin.other, repr(change.after[0])))
        self.sent[stream] = len(here.log)

    # --- what people do --------------------------------------------------------------------------

    def write(self, side: Side, key: bytes) -> None:
        """What an application does: Refused where the fence is up."""
        row = Change(Op.INSERT, ITEM.name, COLUMNS, after=(key, b"x", None))
        self.stations[side].db.write([row])

    def keys(self, side: Side) -> list[str]:
        return sorted(repr(row[0]) for row in self.stations[side].db.rows[ITEM.name].elements())

    def switch(self, side: Side) -> SwitchRow:
        return self.stations[side].db.switch or SwitchRow()

    def open_sides(self) -> list[Side]:
        return [side for side in Side if not self.switch(side).fenced]

    def context(self, role: Role, attempt: int, loser: Side) -> Context:
        nowhere = Connection(engine=Engine.POSTGRESQL, host="", port=1, database="", credentials="")
        config = Config(
            migration="default.shop", job="job", job_uid="1", role=role, source=nowhere, target=nowhere,
            attempt=attempt, loser=loser, fallback=self.fallback, lanes=self.lanes, budget=self.budget,
        )  # fmt: skip
        context = Context(config=config, report=Reporter(config))
        # cached_property keeps what it made here: these are the sides instead.
        context.__dict__.update({str(side): self.stations[side] for side in Side})
        return context

    def run_cutover(self, attempt: int, loser: Side) -> SwitchReport:
        context = self.context(Role.CUTOVER, attempt, loser)
        cutover.run(context)
        return switch_of(context)

    def run_abort(self, attempt: int, loser: Side) -> SwitchReport:
        context = self.context(Role.ABORT, attempt, loser)
        abort.run(context)
        return switch_of(context)


def switch_of(context: Context) -> SwitchReport:
    switch = context.report.now().switch
    assert switch is not None
    return switch


def seen(row: LaneRow, kind: SignalKind, attempt: int) -> LaneRow:
    match kind:
        case SignalKind.BARRIER:
            return replace(row, barrier=max(row.barrier, attempt))
        case SignalKind.PROBE:
            return replace(row, probe=max(row.probe, attempt))
        case SignalKind.CANARY:
            return replace(row, canary=max(row.canary, attempt))
        case SignalKind.MARKER:
            return replace(row, passed=row.passed or row.number == attempt)
        case SignalKind.HEARTBEAT:
            return row
