"""The server that BOWLINE_ORACLE_DSN names, in the place of the stand-in's engine.

What the tests of the engine state of Oracle they state of this server then, through the driver, with users of their own
that go with the test. What looks inside the engine is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

import oracledb
import pytest

from oracle import server
from oracle.engine_values import (
    KINDS,
    TYPES,
    as_given,
    as_text,
    fetched_as,
    from_text,
    is_temporal,
    value_of,
)
from oracle.server import MET, Real
from oracle.standin.backend import Bind, Column, Kind, OraError, Result, SessionDead, Value

#: What a client that waits for nothing gives a statement: longer than any needs that does not wait for a lock.
IMPATIENT_MS: Final = 2000
WAITING_SECONDS: Final = 10
#: So that a test fails where a server waits on, and the stand-in does not.
LONGEST_MS: Final = 60_000

_TIMEOUT, _CANCELLED = "DPY-4024", 1013
_CHANGED = 1466
_GONE = ("DPY-4011", "DPY-1001")

_SID = "select to_number(sys_context('USERENV', 'SID')) from dual"
_SERIAL = "select serial# from v$session where sid = :sid"
_BLOCKED = """select count(*) from v$session
    where sid = :sid and serial# = :serial and blocking_session_status = 'VALID'"""

#: Opened since the test began.
OPEN: Final[list[ServerDatabase]] = []


class ServerSession:
    """A session of the engine, as its tests use it: the driver's connection."""

    def __init__(
        self, database: ServerDatabase, user: str, connection: oracledb.Connection
    ) -> None:
        self.database = database
        self.user = user
        self.connection = connection
        with connection.cursor() as cursor:
            (sid,) = next(iter(cursor.execute(_SID) or ()))
        ((serial,),) = database.ask(_SERIAL, sid=sid)
        self.sid, self.serial = int(sid), int(serial)
        connection.call_timeout = LONGEST_MS

    def __getattr__(self, name: str) -> NoReturn:
        pytest.skip(f"looks inside a session of the stand-in ({name})")

    @property
    def in_transaction(self) -> bool:
        return bool(self.connection.transaction_in_progress)

    def impatient(self) -> None:
        """From now on a statement that waits is cancelled."""
        self.connection.call_timeout = IMPATIENT_MS

    def describe(self, sql: str) -> Sequence[Column]:
        with self.connection.cursor() as cursor:
            _asked(lambda: cursor.parse(sql))
            return [_column(each) for each in cursor.description or ()]

    def execute(self, sql: str, binds: Sequence[Bind], values: Sequence[Value]) -> Result:
        with self.connection.cursor() as cursor:
            cursor.outputtypehandler = fetched_as
            given = _Given(cursor, sql, binds, values)
            result: Result = _asked(lambda: self._execute(cursor, sql, given))
            return result

    def _execute(self, cursor: oracledb.Cursor, sql: str, given: _Given) -> Result:
        temporal: dict[int, Kind] = {}
        if sql.lstrip().lower().startswith(("select", "with")):
            cursor.parse(sql)
            described = [_column(each) for each in cursor.description or ()]
            temporal = {
                at: each.kind for at, each in enumerate(described) if is_temporal(each.kind)
            }
            if temporal:  # the driver has no nanoseconds, and no years before Christ
                sql = as_text(sql, [each.kind for each in described])
        given.execute(sql)
        if cursor.description is None:
            return Result(rowcount=cursor.rowcount, returned=given.returned(), out=given.out())
        columns = [_column(each) for each in cursor.description]
        rows = [
            tuple(
                from_text(each, temporal[at]) if at in temporal else value_of(each)
                for at, each in enumerate(row)
            )
            for row in cursor.fetchall()
        ]
        return Result(columns=columns, rows=rows)

    def commit(self) -> None:
        _asked(self.connection.commit)

    def rollback(self) -> None:
        _asked(self.connection.rollback)

    def close(self) -> None:
        with suppress(oracledb.Error):
            self.connection.close()

    def release(self) -> int:
        return int(self.connection.version.split(".")[0])

    def wait_until_settled(self, table: str) -> None:
        until = time.monotonic() + WAITING_SECONDS
        while True:
            try:
                scn = self.database.current_scn()
                self.execute(f"select count(*) from {table} as of scn {scn}", (), ())
            except OraError as error:
                if error.code != _CHANGED or time.monotonic() > until:
                    raise
                time.sleep(0.1)  # the server tells nobody when it will
            else:
                return

    def is_blocked(self) -> bool:
        """Tell whether it waits for another session."""
        return bool(self.database.ask(_BLOCKED, sid=self.sid, serial=self.serial) == [(1,)])

    def wait_until_blocked(self) -> None:
        until = time.monotonic() + WAITING_SECONDS
        while not self.is_blocked():
            assert time.monotonic() < until, "nothing blocks the statement"
            time.sleep(0.02)  # the server tells nobody that a session waits


class _Given:
    """The binds of one statement: by their names, or by their places where a name stands twice."""

    def __init__(
        self, cursor: oracledb.Cursor, sql: str, binds: Sequence[Bind], values: Sequence[Value]
    ) -> None:
        self._cursor = cursor
        self._binds = list(binds)
        self._is_block = sql.lstrip().lower().startswith(("begin", "declare"))
        rest = iter(values)
        given = [None if bind.returned else next(rest) for bind in binds]
        self._given = [as_given(value) for value in given]
        self._vars: list[oracledb.Var] = []

    def execute(self, sql: str) -> None:
        self._vars = [
            self._var(bind, value) for bind, value in zip(self._binds, self._given, strict=True)
        ]
        names = [bind.name for bind in self._binds]
        if not names:
            self._cursor.execute(sql)
        elif len(set(names)) < len(names):
            self._cursor.execute(sql, self._vars)
        else:
            self._cursor.execute(sql, dict(zip(names, self._vars, strict=True)))

    def _var(self, bind: Bind, value: Any) -> oracledb.Var:
        size = 4000 if bind.kind in (Kind.VARCHAR2, Kind.CHAR, Kind.RAW) else 0
        var = self._cursor.var(TYPES[bind.kind], size=size)
        if not bind.returned:
            var.setvalue(0, value)
        return var

    def returned(self) -> list[tuple[Value, ...]]:
        found = [
            [value_of(each) for each in var.getvalue() or ()]
            for bind, var in zip(self._binds, self._vars, strict=True)
            if bind.returned
        ]
        return list(zip(*found, strict=True))

    def out(self) -> Mapping[str, Value]:
        if not self._is_block:
            return {}
        return {
            bind.name: value_of(var.getvalue())
            for bind, var in zip(self._binds, self._vars, strict=True)
        }


class ServerDatabase:
    """The engine, as its tests use it. Users are made as they come, with the rights of a DBA."""

    def __init__(self, found: Real) -> None:
        self._real = found
        self._sessions: list[ServerSession] = []
        self._users = found.some_users()
        self._make = self._users.__enter__()
        OPEN.append(self)
        MET.append("engine")

    def __getattr__(self, name: str) -> NoReturn:
        pytest.skip(f"looks inside the stand-in's engine ({name})")

    def ask(self, query: str, **binds: object) -> list[tuple[Any, ...]]:
        with self._make.sys.cursor() as cursor:
            return list(cursor.execute(query, binds) or ())

    def session(self, user: str, service: str | None = None, *, thread: int = 1) -> ServerSession:
        if service is not None or thread != 1:
            pytest.skip("needs containers or instances of its own")
        self._make.make(user.upper())
        connection = self._make.connect(user.upper())
        session = ServerSession(self, user.upper(), connection)
        self._sessions.append(session)
        return session

    def may(self, user: str, privileges: Sequence[str]) -> None:
        self._make.only(user.upper(), privileges)

    def current_scn(self) -> int:
        ((scn,),) = self.ask("select current_scn from v$database")
        return int(scn)

    def kill_all(self) -> None:
        """End its sessions, also those that wait."""
        for session in self._sessions:
            self._make.kill(session.sid, session.serial)

    def close(self) -> None:
        self.kill_all()
        for session in self._sessions:
            session.close()
        self._users.__exit__(None, None, None)


def close_since(before: int) -> None:
    """Drop the users of databases that were opened since."""
    while len(OPEN) > before:
        OPEN.pop().close()


def on_server(**options: object) -> ServerDatabase | None:
    """The named server, if there is one and it can be as the test wants it."""
    found = server.real()
    if found is None:
        return None
    if options.keys() - {"triggers_wait"}:
        pytest.skip("needs a database of a shape of its own")
    return ServerDatabase(found)


def _asked(ask: Callable[[], Any]) -> Any:
    """Ask the server, with its errors as the engine's."""
    try:
        return ask()
    except oracledb.Error as error:
        raise _as_the_engines(error) from error


def _as_the_engines(error: oracledb.Error) -> Exception:
    told = error.args[0]
    text = str(told.message).split("\nHelp: ")[0]
    if told.full_code == _TIMEOUT:
        return OraError(_CANCELLED, "user requested cancel of current operation")
    at = text.find(f"ORA-{told.code:05d}: ")
    if told.code and at >= 0:
        return OraError(told.code, text[at + len("ORA-00000: ") :], told.offset)
    if told.full_code in _GONE:
        return SessionDead(text)
    return error


def _column(found: oracledb.FetchInfo) -> Column:
    kind = KINDS[found.type_code]
    scale = found.scale if found.scale is not None else -127
    return Column(
        found.name,
        kind,
        precision=found.precision or 0,
        scale=scale,
        size=found.internal_size or 0,
        nullable=bool(found.null_ok),
    )
