"""Sessions of the stand-in's engine for tests, without a wire, and a redo log that remembers.

Where BOWLINE_ORACLE_DSN names a server they are sessions of that one (engine_server.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

import pytest

from oracle.engine_server import ServerDatabase, ServerSession, close_since, on_server
from oracle.server import named
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
from oracle.standin.engine.rights import User
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
    if isinstance(session, ServerSession):
        session.impatient()
    else:
        session.interrupted = Cancelled()
    return session


def new_database(**options: object) -> Database:
    found = on_server(**options)
    if found is not None:
        return cast(Database, found)
    return Database(Remembered(), clock=Clock(), **options)  # type: ignore[arg-type]


def drop_others() -> None:
    """For a test that needs one database after the other: the users of those before go."""
    close_since(0)


def log_of(database: Database) -> Remembered:
    if isinstance(database, ServerDatabase):
        pytest.skip("looks into the stand-in's redo log")
    assert isinstance(database.log, Remembered)
    return database.log


def is_standin(database: Database) -> bool:
    """Tell whether one can look inside."""
    return not isinstance(database, ServerDatabase)


def not_there(reason: str) -> pytest.MarkDecorator:
    """What a named server is not asked."""
    return pytest.mark.skipif(bool(named()), reason=reason)


#: Statements that the stand-in does not know, and says so: ORA-03001.
LACKS = not_there("Oracle can do it, or refuses it in other words than the stand-in, which can't")
CLIENT = not_there("the driver refuses it")


def before_23(session: Session) -> None:
    """For what Oracle 23ai accepts, or refuses by another error, and 19c refuses."""
    if isinstance(session, ServerSession) and session.release() >= 23:
        pytest.skip("23ai takes it, or has another error for it")


def settled(session: Session, table: str) -> None:
    """Wait until a table that is new, or changed, can be read as of now: for a moment it is ORA-01466."""
    if isinstance(session, ServerSession):
        session.wait_until_settled(table)


def may(database: Database, user: str, *privileges: str) -> None:
    """Give a user these privileges alone; it is made if it is not there."""
    if isinstance(database, ServerDatabase):
        database.may(user, privileges)
    else:
        database.users[user] = User(user, set(privileges))


def kill_all(database: Database) -> None:
    """End all sessions, whatever they wait for."""
    if isinstance(database, ServerDatabase):
        database.kill_all()
        return
    for session in list(database.sessions.values()):
        database.kill(session)


def waiting(session: Session, pool: ThreadPoolExecutor, sql: str) -> Future[Result]:
    """Start a statement in another thread, and come back when it waits for a lock."""
    if isinstance(session, ServerSession):
        future = pool.submit(run, session, sql)
        session.wait_until_blocked()
        return future
    database = session.database
    waits = threading.Event()
    wait = database.freed.wait

    def told(timeout: float | None = None) -> bool:
        waits.set()
        return wait(timeout)

    database.freed.wait = told  # type: ignore[method-assign]
    future = pool.submit(run, session, sql)
    assert waits.wait(10)
    database.freed.wait = wait  # type: ignore[method-assign]
    return future


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
