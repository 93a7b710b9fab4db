"""A database server in memory: tables, a redo log, slots and bookkeeping, for the smallest engine."""

from __future__ import annotations

import io
import pickle
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from bowline_worker.bookkeeping import Backend, LaneRow, SwitchRow
from bowline_worker.contract import Role, Side
from bowline_worker.endpoints import base
from bowline_worker.model import (
    UNCHANGED,
    Change,
    Op,
    Position,
    Row,
    Signal,
    SignalKind,
    Table,
    TableName,
    Transaction,
)

Rows = Counter[Row]


class Refused(Exception):
    """An application's write met the fence."""


@dataclass
class MemoryDatabase:
    tables: dict[TableName, Table]
    rows: dict[TableName, Rows] = field(default_factory=dict)
    log: list[Transaction] = field(default_factory=list)
    slots: dict[int, int] = field(default_factory=dict)  #: number: acknowledged order
    switch: SwitchRow | None = None
    lanes: dict[Side, tuple[LaneRow, ...]] = field(default_factory=dict)
    signals: set[tuple[SignalKind, int]] = field(default_factory=set)
    sequences: dict[TableName, int] = field(default_factory=dict)
    views: dict[int, tuple[Position, dict[TableName, Rows]]] = field(default_factory=dict)
    chunks: dict[tuple[TableName, str], bool] = field(default_factory=dict)
    copied: dict[TableName, Position] = field(default_factory=dict)
    statements: list[base.Statement] = field(default_factory=list)
    complete: bool = False
    published: bool = False
    beats: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.rows = {name: Counter() for name in self.tables}

    def state(self) -> dict[str, object]:
        """Copy what a transaction may change, to put it back when it fails."""
        rows = {name: Counter(held) for name, held in self.rows.items()}
        return {
            "rows": rows, "log": list(self.log), "switch": self.switch, "lanes": dict(self.lanes),
            "signals": set(self.signals), "sequences": dict(self.sequences), "chunks": dict(self.chunks),
            "copied": dict(self.copied),
        }  # fmt: skip

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One writer at a time; what was done is logged at the end, and undone on an error."""
        with self.lock:
            before, at = self.state(), Position(len(self.log) + 1, str(len(self.log) + 1))
            done = Transaction(position=at, committed_at=time.time())
            try:
                yield done
            except BaseException:
                self.__dict__.update(before)
                raise
            if done.changes or done.signals:
                self.log.append(done)

    def change(self, change: Change) -> None:
        """Apply one neutral change; RowMissing if it does not find its row."""
        table, rows = self.tables[change.table], self.rows[change.table]
        if change.op is Op.TRUNCATE:
            rows.clear()
            return
        if change.op is not Op.INSERT:
            at = [change.columns.index(name) for name in table.key]
            found = (
                [row for row in rows if tuple(row[i] for i in at) == change.key]
                if table.key
                else [change.before]
            )
            if not found or found[0] is None or not rows[found[0]]:
                raise base.RowMissing(str(change.table))
            old = found[0]
            rows.subtract([old])
            self.rows[change.table] = rows = +rows
        if change.op is not Op.DELETE and change.after is not None:
            after = change.after
            if change.op is Op.UPDATE:
                after = tuple(
                    was if new is UNCHANGED else new for was, new in zip(old, after, strict=True)
                )
            at = [change.columns.index(name) for name in table.key]
            if table.key and any(
                tuple(row[i] for i in at) == tuple(after[i] for i in at) for row in rows
            ):
                raise base.RowConflict(str(change.table))
            rows[after] += 1

    def write(self, changes: Iterable[Change]) -> None:
        """What an application does."""
        if self.switch is not None and self.switch.fenced:
            raise Refused
        with self.transaction() as done:
            for change in changes:
                self.change(change)
                done.changes.append(change)


class MemoryBooks:
    def __init__(self, db: MemoryDatabase, done: Transaction, migration: str) -> None:
        self._db, self._done, self._migration = db, done, migration

    def switch(self, *, lock: bool = True) -> SwitchRow:
        return self._db.switch or SwitchRow()

    def put_switch(self, row: SwitchRow) -> None:
        self._db.switch = replace(row, fenced=self.switch().fenced)

    def lanes(self, origin: Side, *, lock: bool = True) -> tuple[LaneRow, ...]:
        return self._db.lanes.get(origin, ())

    def put_lanes(self, origin: Side, rows: Sequence[LaneRow]) -> None:
        self._db.lanes[origin] = tuple(rows)

    def signal(self, kind: SignalKind, attempt: int) -> None:
        if (kind, attempt) not in self._db.signals:
            self._db.signals.add((kind, attempt))
            self._done.signals.append(Signal(kind, attempt, self._migration))

    def own_backend(self) -> Backend:
        return Backend(pid=1, started="always")

    def end_backends(self, backends: Iterable[Backend], timeout: float = 5.0) -> None:
        """Nothing outlives its call here."""

    def end_sessions(self, role: Role, timeout: float = 5.0) -> None:
        """Nothing outlives its call here."""

    def raise_fence(self, grace: float) -> None:
        self._db.switch = replace(self.switch(), fenced=True)

    def lower_fence(self) -> None:
        self._db.switch = replace(self.switch(), fenced=False)

    def fence_gaps(self) -> list[str]:
        return []

    def sequences(self) -> Mapping[TableName, base.SequenceState]:
        return {name: base.SequenceState(last, 1) for name, last in self._db.sequences.items()}

    def raise_sequences(self, states: Mapping[TableName, base.SequenceState]) -> None:
        for name, state in states.items():
            self._db.sequences[name] = max(self._db.sequences.get(name, 0), state.last)

    def restore(self) -> None:
        """Nothing was disabled."""


class MemoryView:
    """A held view, and a reader of it."""

    def __init__(self, position: Position, rows: dict[TableName, Rows]) -> None:
        self.position, self._rows = position, rows

    rows = 0

    def check(self) -> None: ...
    def close(self) -> None: ...

    def chunks(self, table: Table, rows: int) -> list[str]:
        return [str(at) for at in range(0, max(1, self._rows[table.name].total()), rows)]

    def read(self, table: Table, chunk: str, *, binary: bool, rows: int = 2) -> Iterator[bytes]:
        held = sorted(self._rows[table.name].elements(), key=repr)
        last = max(int(text) for text in self.chunks(table, rows))
        taken = held[int(chunk) : None if int(chunk) == last else int(chunk) + rows]
        self.rows = len(taken)
        yield pickle.dumps(taken)


class MemoryDecoder:
    def decode(self, payload: bytes) -> Iterator[Transaction]:
        stream = io.BytesIO(payload)
        while stream.tell() < len(payload):
            yield from pickle.load(stream)
