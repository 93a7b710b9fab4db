"""An engine in memory that passes the conformance suite: the seam for engines, at its smallest."""

# ruff: noqa: I001  packed imports: this file shows how small an engine can be
from __future__ import annotations

import hashlib
import itertools
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from bowline_worker.bookkeeping import Backend, LaneRow, MadeObject, StreamId, SwitchRow
from bowline_worker.contract import (
    FencedOut, Finding, FoundSide, Side, SnapshotReport, TableProgress, TryAgain, Unsafe,
)  # fmt: skip
from bowline_worker.endpoints import base
from bowline_worker.model import (
    UNCHANGED, Change, Column, Op, Position, Signal, SignalKind, Table, TableName,
)  # fmt: skip
from endpoints.memory_database import MemoryBooks, MemoryDatabase, MemoryDecoder, MemoryView


class MemoryCapture:
    def __init__(self, db: MemoryDatabase, number: int, after: int) -> None:
        self._db, self._number, self._sent = db, number, after
        self.lineage = base.Lineage(log="memory")

    def read(self, timeout: float) -> list[base.Piece]:
        with self._db.lock:
            sent, self._sent = self._sent, len(self._db.log)
            return [
                base.Piece(payload=pickle.dumps([each]), position=each.position, changes=len(each.changes),
                           committed_at=each.committed_at, relations=frozenset({1}))
                for each in self._db.log[sent:]
            ]  # fmt: skip

    def describe(self, relations: Iterable[int]) -> bytes:
        return b""

    def acknowledge(self, position: Position) -> None:
        self._db.slots[self._number] = max(self._db.slots[self._number], position.order)

    def close(self) -> None: ...


class MemoryLane:
    backend = Backend(pid=1, started="always")
    changed = base.ChangedCounts()

    def __init__(self, db: MemoryDatabase) -> None:
        self._db = db

    def begin(self) -> None:
        self._open = self._db.transaction()
        self._done = self._open.__enter__()

    def _do(self, change: Change) -> None:
        self._db.change(change)
        self._done.changes.append(change)

    def write(self, batch: base.TableBatch) -> None:
        table = batch.table
        names = tuple(column.name for column in table.written)
        for key in batch.deletes:
            before = tuple(dict(zip(table.key, key, strict=True)).get(name) for name in names)
            self._do(Change(Op.DELETE, table.name, names, key, before=before))
        for columns, rows in batch.updates.items():
            for row in rows:
                known = dict(zip((*table.key, *columns), row, strict=True))
                after = tuple(known.get(name, UNCHANGED) for name in names)
                self._do(Change(Op.UPDATE, table.name, names, row[: len(table.key)], after=after))
        for row in batch.inserts:
            self._do(Change(Op.INSERT, table.name, names, after=row))

    replace = write

    def one(self, change: Change, table: Table) -> None:
        self._do(change)

    def advance(self, origin: Side, row: LaneRow, *, since: int) -> None:
        held = {each.lane: each for each in self._db.lanes[origin]}
        was = held[row.lane]
        if (was.number, was.generation, was.block) != (row.number, row.generation, since):
            raise FencedOut(f"lane {row.lane} is at generation {was.generation}, block {was.block}")
        held[row.lane] = row
        self._db.lanes[origin] = tuple(held.values())

    def commit(self) -> None:
        self._open.__exit__(None, None, None)

    def rollback(self) -> None:
        with suppress(RuntimeError):
            self._open.__exit__(RuntimeError, RuntimeError("rolled back"), None)

    def close(self) -> None: ...


class MemoryLedger:
    def __init__(self, db: MemoryDatabase) -> None:
        self._db = db

    def plan(self, table: Table, position: Position, chunks: Sequence[str]) -> bool:
        with self._db.transaction():
            if self._db.copied.get(table.name) == position or table.name not in self.unfinished():
                return False
            self._db.rows[table.name].clear()
            kept = {key: done for key, done in self._db.chunks.items() if key[0] != table.name}
            self._db.chunks = kept | {(table.name, chunk): False for chunk in chunks}
            self._db.copied[table.name] = position
            return True

    def copy(
        self,
        reader: base.Reader,
        tables: Mapping[TableName, Table],
        *,
        binary: frozenset[TableName],
    ) -> base.Chunk | None:
        with self._db.transaction():
            for at, ((name, text), done) in enumerate(self._db.chunks.items()):
                if not done and self._db.copied[name] == reader.position:
                    for buffer in reader.read(tables[name], text, binary=name in binary):
                        self._db.rows[name].update(pickle.loads(buffer))
                    self._db.chunks[name, text] = True
                    return base.Chunk(table=name, ordinal=at, text=text)
            return None

    def unfinished(self) -> list[TableName]:
        todo = {name for (name, _), done in self._db.chunks.items() if not done}
        return [name for name in self._db.tables if name in todo or name not in self._db.copied]

    def finish(self) -> None:
        self._db.complete = True

    def finish_post_data(self) -> None: ...

    def close(self) -> None: ...


class MemoryEndpoint:
    description = "memory"

    def __init__(self, db: MemoryDatabase, side: Side, migration: str = "default.shop") -> None:
        self.db, self.side, self.migration = db, side, migration

    def close(self) -> None: ...

    def assess(self, *, other: base.Endpoint | None) -> list[Finding]:
        return []

    def found(self) -> FoundSide:
        row = self.db.switch or SwitchRow()
        return FoundSide(installed=self.db.switch is not None, attempt=row.attempt, verdict=row.verdict,
                         opened=row.opened, fenced=row.fenced,
            snapshot_complete=self.db.complete, slots=self.slots())  # fmt: skip

    def tables(self) -> tuple[Table, ...]:
        return tuple(sorted(self.db.tables.values(), key=lambda table: str(table.name)))

    def fingerprint(self, *, own: bool = False) -> str:
        return hashlib.sha256(repr(self.shapes()).encode()).hexdigest()

    def unstreamed(self) -> list[str]:
        return []

    def shapes(self) -> Mapping[TableName, Sequence[Column]]:
        return {table.name: table.columns for table in self.tables()}

    def install(self) -> None:
        self.db.switch = self.db.switch or SwitchRow()

    @contextmanager
    def books(self) -> Iterator[base.Books]:
        with self.db.transaction() as done:
            yield MemoryBooks(self.db, done, self.migration)

    def made(self) -> list[MadeObject]:
        slots = [MadeObject(kind="slot", name=str(number)) for number in self.slots()]
        return slots + [MadeObject(kind="publication", name="all")] * self.db.published

    def prepare_origin(self) -> None:
        self.install()
        self.db.published = True

    def prepare_receiver(self, *, fenced: bool) -> None:
        self.db.switch = replace(self.db.switch or SwitchRow(), fenced=fenced)

    def empty(self) -> list[str]:
        full = [str(name) for name, rows in self.db.rows.items() if rows]
        for rows in self.db.rows.values():
            rows.clear()
        return sorted(full)

    def cleanup(self, *, keep_fence: bool) -> list[str]:
        fenced = keep_fence and self.db.switch is not None and self.db.switch.fenced
        self.db.switch = SwitchRow(fenced=True) if fenced else None
        self.db.slots, self.db.lanes, self.db.signals, self.db.published = {}, {}, set(), False
        return ["the fence"] if fenced else []

    def arm(self, stream: StreamId) -> None:
        self.disarm(stream.number)
        self.db.slots.setdefault(stream.number, len(self.db.log))

    def disarm(self, below: int) -> None:
        self.db.slots = {number: at for number, at in self.db.slots.items() if number >= below}

    def slots(self) -> list[int]:
        return sorted(self.db.slots)

    def hold(self, stream: StreamId) -> base.Hold:
        with self.db.lock:
            if stream.number not in self.db.views:
                self.arm(stream)
                at = len(self.db.log) + 1
                rows = {name: Counter(held) for name, held in self.db.rows.items()}
                self.db.views[stream.number] = Position(at, str(at)), rows
            return MemoryView(*self.db.views[stream.number])

    def reader(self, stream: StreamId) -> base.Reader:
        if stream.number not in self.db.views:
            raise TryAgain("no view is held")
        return MemoryView(*self.db.views[stream.number])

    def capture(
        self, stream: StreamId, after: Position | None, seen: base.Lineage | None = None
    ) -> base.Capture:
        if stream.number not in self.db.slots:
            raise Unsafe(f"slot {stream.number} is gone", reason="SlotLost")
        start = self.db.slots[stream.number]
        if after is not None and after.order < start:
            raise Unsafe(
                f"the slot is at {start}, the journal ends at {after}", reason="JournalBehindSlot"
            )
        return MemoryCapture(self.db, stream.number, max(start, after.order if after else 0))

    def retention(self, stream: StreamId) -> base.Retention:
        at = self.db.slots[stream.number]
        return base.Retention(
            retained_bytes=len(self.db.log) - at, acknowledged=Position(at, str(at))
        )

    def beat(self) -> int:
        with self.db.transaction() as done:
            self.db.beats += 1
            done.signals.append(Signal(SignalKind.HEARTBEAT, self.db.beats, self.migration))
            return self.db.beats

    def decoder(self) -> base.Decoder:
        return MemoryDecoder()

    def lane(self, stream: StreamId) -> base.LaneSession:
        return MemoryLane(self.db)

    def ledger(self) -> base.Ledger:
        return MemoryLedger(self.db)

    def snapshot_positions(self) -> Mapping[TableName, Position]:
        return dict(self.db.copied)

    def snapshot_progress(self) -> SnapshotReport:
        done = [
            TableProgress(name=str(name), rows=rows.total()) for name, rows in self.db.rows.items()
        ]
        return SnapshotReport(tables=done, complete=self.db.complete, post_data=self.db.complete)

    def export_schema(self, work_dir: str) -> list[base.Statement]:
        return [
            base.Statement(
                section="pre-data", ordinal=at, kind="TABLE", name=str(table.name), sql=""
            )
            for at, table in enumerate(self.tables())
        ]

    def store_schema(self, statements: Sequence[base.Statement]) -> None:
        self.db.statements = self.db.statements or list(statements)

    def run_schema(self, section: str, parallelism: int) -> None: ...

    def digests(self, table: Table, buckets: int) -> Mapping[int, base.BucketDigest]:
        split = itertools.groupby(sorted(self._hashed(table, buckets)), key=lambda each: each[0])
        found = {bucket: [digest for _, _, digest in rows] for bucket, rows in split}
        return {
            bucket: base.BucketDigest(
                rows=len(rows), digest=hashlib.md5("".join(sorted(rows)).encode()).hexdigest()
            )
            for bucket, rows in found.items()
        }

    def bucket_rows(self, table: Table, buckets: int, bucket: int) -> Mapping[str, Sequence[str]]:
        rows: dict[str, list[str]] = {}
        for at, key, digest in self._hashed(table, buckets):
            if at == bucket:
                rows.setdefault(key, []).append(digest)
        return rows

    def _hashed(self, table: Table, buckets: int) -> Iterator[tuple[int, str, str]]:
        at = [
            index
            for index, column in enumerate(table.written)
            if column.name in table.key or not table.key
        ]
        for row in self.db.rows[table.name].elements():
            key = repr(tuple(row[i] for i in at))
            bucket = int(hashlib.md5(key.encode()).hexdigest(), 16) % buckets
            yield bucket, key, hashlib.md5(repr(row).encode()).hexdigest()
