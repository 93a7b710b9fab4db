"""A real server for tests that else use the stand-in: the one that BOWLINE_ORACLE_DSN names, if any.

`oracle://SYS:password@host:1521/FREEPDB1`: SYS logs on as SYSDBA. Of a container database the pluggable one is named;
its migration's user is then a common one, C##BOWLINE, unless `?bowline=NAME` says otherwise. A second server, for tests
that need two databases, is named by BOWLINE_ORACLE_SECOND_DSN.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

import oracledb
import pytest

from bowline_operator.oracle_grants import oracle_grants_sql
from bowline_worker.contract import Side
from oracle.sqlplus import PASSWORD, statements

VARIABLES: Final = ("BOWLINE_ORACLE_DSN", "BOWLINE_ORACLE_SECOND_DSN")
SCHEME: Final = "oracle"
SHOP: Final = ("SHOP", "shop")
#: Tests that met a real server, by where they kept their files.
MET: Final[list[str]] = []
#: Tests drop what has these names. Where this user is there, they made it.
MARK: Final = "BOWLINE_TESTS"
GONE_SECONDS: Final = 60
_MARKED: Final = f'create user {MARK} identified by "{MARK}" account lock'

_IS_CDB: Final = "select cdb, sys_context('USERENV', 'CON_NAME') from v$database"
_ALL_COLUMNS: Final = "select supplemental_log_data_all from v$database"
_NAME: Final = "select name from v$database"
_LOG: Final = "select log_mode from v$database"
_USERS: Final = "select username from all_users where username in (:shop, :bowline, :mark)"
_SESSIONS: Final = "select sid, serial# from v$session where username in (:shop, :bowline)"
_USER: Final = "select username from all_users where username = :name"
_SESSIONS_OF: Final = "select sid, serial# from v$session where username = :name"
_SECRET: Final = "bowline_tests"
_CONNECTED: Final = "ORA-01940"


class Unusable(Exception):
    """The server can't be tested with; the message says what to do."""


@dataclass(frozen=True)
class Real:
    """One server, by its URL."""

    host: str
    port: int
    service: str
    user: str
    password: str
    bowline: tuple[str, str]

    @classmethod
    def parse(cls, url: str) -> Real:
        found = urlsplit(url)
        service = found.path.strip("/")
        if found.scheme != SCHEME or not (found.hostname and service and found.password):
            raise Unusable(f"{VARIABLES[0]} is not like oracle://SYS:password@host:1521/SERVICE")
        options = parse_qs(found.query)
        bowline = options.get("bowline", ["C##BOWLINE"])[0].upper()
        user = unquote(found.username or "SYS")
        return cls(
            found.hostname,
            found.port or 1521,
            service,
            user,
            unquote(found.password),
            (bowline, "bowline"),
        )

    @property
    def dsn(self) -> str:
        return f"{self.host}:{self.port}/{self.service}"

    @contextmanager
    def users(self) -> Iterator[None]:
        """Make the application's user, who may do everything, and the migration's, as `bowline grants` says."""
        with closing(self._connect()) as sys:
            self._check(sys)
            _run(sys, *([] if self._has(sys, MARK) else [_MARKED]))
            self._drop(sys)
            logged = _rows(sys, _ALL_COLUMNS)
            try:
                self._make(sys)
                yield
            finally:
                self._drop(sys)
                if _rows(sys, _ALL_COLUMNS) != logged:  # some tests turn it on
                    _run(sys, "alter database drop supplemental log data (all) columns")
                _run(sys, f"drop user {MARK}")

    @contextmanager
    def some_users(self) -> Iterator[Users]:
        """Users of a test's own, who are dropped with all that is theirs."""
        with closing(self._connect()) as sys:
            is_first = not _OPEN
            if is_first and not self._has(sys, MARK):
                made = Users(self, sys, is_marked=False)
                _run(sys, _MARKED)
            else:
                made = Users(self, sys, is_marked=True)
            _OPEN.append(made)
            try:
                yield made
            finally:
                _OPEN.remove(made)
                made.drop()
                _run(sys, *([] if _OPEN else [f"drop user {MARK}"]))

    def as_sys(self, *script: str) -> None:
        with closing(self._connect()) as sys:
            _run(sys, *script)

    def is_stand_in(self) -> bool:
        """Tell whether the stand-in plays the server."""
        with closing(self._connect()) as sys:
            return _rows(sys, _NAME) == [("STANDIN",)]

    def _connect(self) -> oracledb.Connection:
        mode = oracledb.AUTH_MODE_SYSDBA
        return oracledb.connect(user=self.user, password=self.password, dsn=self.dsn, mode=mode)

    def _check(self, sys: oracledb.Connection) -> None:
        if _rows(sys, _LOG) != [("ARCHIVELOG",)]:
            raise Unusable(
                f"{self.dsn} does not archive its logs: docs/oracle.md tells how to prepare it"
            )
        there = [name for name in (SHOP[0], self.bowline[0]) if self._has(sys, name)]
        if there and not self._has(sys, MARK):
            raise Unusable(
                f"{self.dsn} has users {', '.join(there)} that tests did not make, and would drop"
            )

    def _has(self, sys: oracledb.Connection, name: str) -> bool:
        found = _rows(sys, _USERS, shop=SHOP[0], bowline=self.bowline[0], mark=MARK)
        return (name,) in found

    def _make(self, sys: oracledb.Connection) -> None:
        ((is_cdb, container),) = _rows(sys, _IS_CDB)
        name, password = SHOP
        _run(
            sys,
            f'create user {name} identified by "{password}"',
            f"grant dba, unlimited tablespace to {name}",
        )
        script = oracle_grants_sql(Side.SOURCE, user=self.bowline[0], database=str(container))
        _run(sys, *(each.replace(PASSWORD, self.bowline[1]) for each in statements(script)))
        if is_cdb == "YES":
            _run(sys, f'alter session set container = "{container}"')

    def _drop(self, sys: oracledb.Connection) -> None:
        for sid, serial in _rows(sys, _SESSIONS, shop=SHOP[0], bowline=self.bowline[0]):
            with suppress(oracledb.DatabaseError):  # gone meanwhile
                _run(sys, f"alter system kill session '{sid},{serial}' immediate")
        container = str(_rows(sys, _IS_CDB)[0][1])
        for name in (SHOP[0], self.bowline[0]):
            if self._has(sys, name):
                is_common = name.startswith("C##")
                _run(sys, *(["alter session set container = CDB$ROOT"] if is_common else []))
                _drop_user(sys, name)
                _run(sys, *([f'alter session set container = "{container}"'] if is_common else []))


class Users:
    """Users that a test makes as it goes, each with the rights of a DBA at first, in the database that is named."""

    def __init__(self, server: Real, sys: oracledb.Connection, *, is_marked: bool) -> None:
        """`is_marked`: whoever is there already was made by tests."""
        self.sys = sys
        self._server = server
        self._is_marked = is_marked
        self._made: list[str] = []

    def make(self, name: str) -> None:
        if name in self._made:
            return
        assert not any(name in other._made for other in _OPEN), f"{name} is another test's too"
        if _rows(self.sys, _USER, name=name):
            if not self._is_marked:
                raise Unusable(
                    f"{self._server.dsn} has a user {name} that tests did not make, and would drop"
                )
            self._drop(name)
        self._made.append(name)
        _run(
            self.sys,
            f'create user {name} identified by "{_SECRET}"',
            f"grant dba, unlimited tablespace to {name}",
        )

    def only(self, name: str, privileges: Sequence[str]) -> None:
        """Give a user these privileges, in the place of those that it was made with."""
        self.make(name)
        _run(
            self.sys,
            f"revoke dba, unlimited tablespace from {name}",
            *(f"grant {each} to {name}" for each in privileges),
        )

    def connect(self, name: str) -> oracledb.Connection:
        return oracledb.connect(user=name, password=_SECRET, dsn=self._server.dsn)

    def kill(self, sid: int, serial: int) -> None:
        with suppress(oracledb.DatabaseError):  # gone already
            _run(self.sys, f"alter system kill session '{sid},{serial}' immediate")

    def drop(self) -> None:
        while self._made:
            self._drop(self._made.pop())

    def _drop(self, name: str) -> None:
        for sid, serial in _rows(self.sys, _SESSIONS_OF, name=name):
            self.kill(sid, serial)
        _drop_user(self.sys, name)


#: Those whose users are there now.
_OPEN: Final[list[Users]] = []


def named() -> str:
    """The variable that names a real server; empty where none does."""
    return VARIABLES[0] if os.environ.get(VARIABLES[0]) else ""


def real(number: int = 0) -> Real | None:
    """The server that the environment names, if it does: the second one for who has the first already."""
    if not named():
        return None
    url = os.environ.get(VARIABLES[number]) if number < len(VARIABLES) else None
    if not url:
        pytest.skip(f"needs {number + 1} servers: set {VARIABLES[1]}")
    return Real.parse(url)


def only_as(name: str) -> None:
    """For a test that spells the name of the migration's user."""
    found = real()
    if found is not None and found.bowline[0] != name:
        pytest.skip(f"needs ?bowline={name} in {VARIABLES[0]}")


class Inside:
    """In the place of the stand-in where there is none: whatever looks inside it can't run."""

    def __getattr__(self, name: str) -> NoReturn:
        pytest.skip(f"looks inside the stand-in ({name})")


def _drop_user(sys: oracledb.Connection, name: str) -> None:
    """Drop it once its sessions are gone: to be killed takes them a moment."""
    until = time.monotonic() + GONE_SECONDS
    while True:
        try:
            _run(sys, f'drop user "{name}" cascade')
        except oracledb.DatabaseError as error:
            if error.args[0].full_code != _CONNECTED or time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def _run(connection: oracledb.Connection, *script: str) -> None:
    with connection.cursor() as cursor:
        for statement in script:
            cursor.execute(statement)


def _rows(connection: oracledb.Connection, query: str, **binds: str) -> Sequence[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        return list(cursor.execute(query, binds) or ())
