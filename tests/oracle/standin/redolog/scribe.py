"""Drives a log as the engine does, without any SQL: tables of rows, transactions with savepoints, and what is true.

For tests of the log and of its readers. Rows are locked by who changed them: a change of another's row is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar

from oracle.standin.backend import Value
from oracle.standin.events import Action, Log, TableShape, Written, Xid

EPOCH = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)

T = TypeVar("T")

#: Few enough that they are used again soon.
SLOTS = tuple((usn, slot) for usn in (3, 5) for slot in range(3))


class Committed(NamedTuple):
    """A transaction as it was committed: its standing changes, in order."""

    xid: Xid
    scn: int
    changes: tuple[Written, ...]


class LockedError(Exception):
    """Another transaction has changed this row."""


@dataclass(slots=True)
class Scribe:
    """A database without a language. One SCN per event; its clock moves a second with each."""

    log: Log
    scn: int = 1000
    container: str = "CDB$ROOT"
    committed: list[Committed] = field(default_factory=list)
    rows: dict[tuple[int, str], tuple[Value, ...]] = field(default_factory=dict)
    locks: dict[tuple[int, str], Work] = field(default_factory=dict)
    open: list[Work] = field(default_factory=list)
    sequences: dict[tuple[int, int], int] = field(default_factory=dict)
    made_rows: int = 0
    statements: int = 0

    def tick(self) -> tuple[int, datetime]:
        """Take the next SCN, and its time."""
        self.scn += 1
        return self.scn, EPOCH + timedelta(seconds=self.scn)

    def begin(
        self,
        *,
        thread: int = 1,
        user: str = "APP",
        client: str | None = None,
        container: str | None = None,
    ) -> Work:
        """Begin a transaction in the slot that was free for longest."""
        busy = {(work.xid.usn, work.xid.slot) for work in self.open}
        free = [slot for slot in SLOTS if slot not in busy]
        usn, slot = min(free, key=lambda slot: self.sequences.get(slot, 0))
        self.sequences[usn, slot] = sequence = self.sequences.get((usn, slot), 600) + 1
        xid = Xid(usn, slot, sequence)
        scn, at = self.tick()
        self.log.begun(
            xid,
            scn,
            at,
            user=user,
            client=client,
            thread=thread,
            container=container or self.container,
        )
        work = Work(self, xid)
        self.open.append(work)
        return work

    def define(
        self, sql: str, table: TableShape | None, *, owner: str = "S", user: str = "APP"
    ) -> None:
        """Run a DDL statement."""
        scn, at = self.tick()
        self.log.defined(scn, at, user=user, table=table, owner=owner, sql=sql)

    def rowids(self, table: TableShape, *, unlocked_by_others: Work | None = None) -> list[str]:
        """List the rows of a table, or those that a transaction may change."""
        mine = (None, unlocked_by_others)
        return [
            rowid
            for (number, rowid) in self.rows
            if number == table.object_id
            and (unlocked_by_others is None or self.locks.get((number, rowid)) in mine)
        ]


@dataclass(slots=True, eq=False)
class Work:
    """One open transaction."""

    scribe: Scribe
    xid: Xid
    changes: list[Written] = field(default_factory=list)

    def insert(self, table: TableShape, *rows: Sequence[Value]) -> list[str]:
        """Insert rows by one statement."""
        return [
            self._write(table, Action.INSERT, self._new_rowid(table), None, row)
            for row in self._statement(rows)
        ]

    def update(self, table: TableShape, rowid: str, **values: Value) -> None:
        """Set columns of a row."""
        self.update_columns(table, rowid, values)

    def update_columns(self, table: TableShape, rowid: str, values: Mapping[str, Value]) -> None:
        """Set columns of a row, by any name."""
        self.scribe.statements += 1
        before = self.scribe.rows[table.object_id, rowid]
        names = [column.name for column in table.columns]
        after = tuple(values.get(name, old) for name, old in zip(names, before, strict=True))
        self._write(table, Action.UPDATE, rowid, before, after)

    def delete(self, table: TableShape, *rowids: str) -> None:
        """Delete rows by one statement."""
        for rowid in self._statement(rowids):
            before = self.scribe.rows[table.object_id, rowid]
            self._write(table, Action.DELETE, rowid, before, None)

    def savepoint(self) -> int:
        """Mark a place to come back to."""
        return len(self.changes)

    def rollback_to(self, savepoint: int) -> None:
        """Take back what was done since, newest first."""
        while len(self.changes) > savepoint:
            self._undo(self.changes.pop())

    def commit(self) -> None:
        """End it."""
        scn, at = self.scribe.tick()
        self.scribe.log.committed(self.xid, scn, at)
        self.scribe.committed.append(Committed(self.xid, scn, tuple(self.changes)))
        self._end()

    def rollback(self) -> None:
        """Take back all of it."""
        self.rollback_to(0)
        scn, at = self.scribe.tick()
        self.scribe.log.rolled_back(self.xid, scn, at)
        self._end()

    def _statement(self, rows: Sequence[T]) -> Iterator[T]:
        self.scribe.statements += 1
        yield from rows

    def _new_rowid(self, table: TableShape) -> str:
        self.scribe.made_rows += 1
        return f"AAA{table.object_id:03d}AAEAA{self.scribe.made_rows:07d}"

    def _write(
        self,
        table: TableShape,
        action: Action,
        rowid: str,
        before: Sequence[Value] | None,
        after: Sequence[Value] | None,
    ) -> str:
        row = (table.object_id, rowid)
        if self.scribe.locks.setdefault(row, self) is not self:
            raise LockedError(rowid)
        scn, at = self.scribe.tick()
        change = Written(
            self.xid,
            scn,
            at,
            action,
            table,
            rowid,
            before,
            after,
            statement=self.scribe.statements,
        )
        self.scribe.log.written(change)
        self.changes.append(change)
        self._store(row, after)
        return rowid

    def _undo(self, change: Written) -> None:
        scn, at = self.scribe.tick()
        self.scribe.log.written(replace(change, scn=scn, at=at, undo=True))
        self._store((change.table.object_id, change.rowid), change.before)

    def _store(self, row: tuple[int, str], values: Sequence[Value] | None) -> None:
        if values is None:
            del self.scribe.rows[row]
        else:
            self.scribe.rows[row] = tuple(values)

    def _end(self) -> None:
        self.scribe.open.remove(self)
        for row in [row for row, work in self.scribe.locks.items() if work is self]:
            del self.scribe.locks[row]
