"""Sessions of the stand-in's engine for tests, without a wire, and a redo log that remembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from oracle.standin.backend import (
    Bind,
    Kind,
    Moment,
    Months,
    OraError,
    Result,
    Span,
    Value,
)
from oracle.standin.engine.database import Database
from oracle.standin.engine.session import Session
from oracle.standin.events import Action, TableShape, Written, Xid

NOON = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)
_KINDS = {
    Decimal: Kind.NUMBER,
    str: Kind.VARCHAR2,
    bytes: Kind.RAW,
    float: Kind.BINARY_DOUBLE,
    Moment: Kind.TIMESTAMP,
    Months: Kind.INTERVAL_YM,
    Span: Kind.INTERVAL_DS,
}


class Clock:
    """Goes on by a second with each look."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass
class Remembered:
    """A redo log that keeps all it is told, and can play it again."""

    begun_of: dict[Xid, tuple[str, str | None, int, str]] = field(default_factory=dict)
    open: dict[Xid, list[Written]] = field(default_factory=dict)
    all_written: list[Written] = field(default_factory=list)
    ended: list[tuple[Xid, bool]] = field(default_factory=list)
    ddl: list[tuple[str, TableShape | None, str]] = field(default_factory=list)
    rows: dict[tuple[int, str], Sequence[Value]] = field(default_factory=dict)
    last_scn: int = 0

    def _advance(self, scn: int) -> None:
        assert scn > self.last_scn
        self.last_scn = scn

    def begun(
        self,
        xid: Xid,
        scn: int,
        at: datetime,
        *,
        user: str,
        client: str | None,
        thread: int,
        container: str,
    ) -> None:
        self._advance(scn)
        assert xid not in self.open
        assert xid not in self.begun_of
        self.begun_of[xid] = (user, client, thread, container)
        self.open[xid] = []

    def written(self, change: Written) -> None:
        self._advance(change.scn)
        self.all_written.append(change)
        standing = self.open[change.xid]
        if not change.undo:
            standing.append(change)
            return
        # Newest first: what is undone is the last that stands, of all rows.
        done = standing.pop()
        seen = (done.table.object_id, done.rowid, done.action, done.before, done.after)
        assert seen == (
            change.table.object_id,
            change.rowid,
            change.action,
            change.before,
            change.after,
        )

    def committed(self, xid: Xid, scn: int, at: datetime) -> None:
        self._advance(scn)
        for change in self.open.pop(xid):
            row = (change.table.object_id, change.rowid)
            assert self.rows.get(row) == change.before
            if change.after is None:
                del self.rows[row]
            else:
                self.rows[row] = change.after
        self.ended.append((xid, True))

    def rolled_back(self, xid: Xid, scn: int, at: datetime) -> None:
        self._advance(scn)
        assert self.open.pop(xid) == []
        self.ended.append((xid, False))

    def defined(
        self, scn: int, at: datetime, *, user: str, table: TableShape | None, owner: str, sql: str
    ) -> None:
        self._advance(scn)
        self.ddl.append((sql, table, owner))

    def actions(self) -> list[tuple[Action, bool]]:
        return [(change.action, change.undo) for change in self.all_written]


class Cancelled:
    """A client that has cancelled whatever it waits for: a statement that would wait is ORA-01013."""

    def is_set(self) -> bool:
        return True


def impatient(session: Session) -> Session:
    session.interrupted = Cancelled()
    return session


def new_database(**options: object) -> Database:
    return Database(Remembered(), clock=Clock(), **options)  # type: ignore[arg-type]


def log_of(database: Database) -> Remembered:
    assert isinstance(database.log, Remembered)
    return database.log


def run(session: Session, sql: str, *values: Value, kind: Kind | None = None) -> Result:
    """Execute with values for :1, :2, ..."""
    binds = [
        Bind(str(place), kind or _KINDS.get(type(value), Kind.VARCHAR2))
        for place, value in enumerate(values, 1)
    ]
    return session.execute(sql, binds, values)


def rows(session: Session, sql: str, *values: Value) -> list[tuple[Value, ...]]:
    return [tuple(row) for row in run(session, sql, *values).rows]


def value(session: Session, sql: str, *values: Value) -> Value:
    ((found,),) = rows(session, sql, *values)
    return found


def number(session: Session, sql: str, *values: Value) -> int:
    found = value(session, sql, *values)
    assert isinstance(found, Decimal)
    return int(found)


def code(session: Session, sql: str, *values: Value) -> int:
    """The number of the error that a statement fails with."""
    with pytest.raises(OraError) as caught:
        rows(session, sql, *values)
    return caught.value.code


def message(session: Session, sql: str, *values: Value) -> str:
    with pytest.raises(OraError) as caught:
        rows(session, sql, *values)
    return str(caught.value)
