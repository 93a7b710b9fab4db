"""Other sessions of the same database: told apart by SID and start, ended, and waited for.

A session that was ended stays in GV$SESSION as KILLED until its client has heard of it, which a stopped client never
does. What counts is that it holds nothing any more: from then on it can't change a thing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import oracledb

from bowline_worker.bookkeeping import Backend
from bowline_worker.contract import NotPermitted, TryAgain
from bowline_worker.endpoints.oracle.connection import code_of
from bowline_worker.endpoints.oracle.made import rows

_SESSIONS: Final = """
select s.sid, s.serial# as serial, s.inst_id as instance, s.status,
       to_char(s.logon_time, 'YYYY-MM-DD HH24:MI:SS') as logon
from gv$session s where """
OWN: Final = f"""{_SESSIONS}
s.sid = to_number(sys_context('USERENV', 'SID')) and s.inst_id = to_number(sys_context('USERENV', 'INSTANCE'))"""
OF_NUMBER: Final = f"{_SESSIONS} s.sid = :sid and s.inst_id = :instance"
NAMED: Final = f"""{_SESSIONS}
s.client_identifier = :name and s.username = user and s.type = 'USER'
and not (s.sid = to_number(sys_context('USERENV', 'SID'))
         and s.inst_id = to_number(sys_context('USERENV', 'INSTANCE')))"""
#: Rows are locked by a transaction, tables are by it or without one.
LOCKED: Final = """
select l.object_id from gv$locked_object l where l.session_id = :sid and l.inst_id = :instance"""
OPEN: Final = """
select t.xidsqn from gv$session s
join gv$transaction t on t.inst_id = s.inst_id and t.ses_addr = s.saddr
where s.sid = :sid and s.inst_id = :instance"""

#: On RDS nobody has ALTER SYSTEM; its package ends sessions for those who may run it.
RDS_KILL: Final = "begin rdsadmin.rdsadmin_util.kill(:sid, :serial, 'IMMEDIATE'); end;"

NOT_PERMITTED: Final = "ORA-01031"
NO_SUCH_PACKAGE: Final = "ORA-06550"
#: It is gone; it is busy, and will be gone when it has rolled back.
_ENDING: Final = frozenset(("ORA-00030", "ORA-00031"))
_KILLED: Final = "KILLED"

POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as GV$SESSION shows it. Killing it may change its serial number there."""

    sid: int
    serial: int
    instance: int
    logon: str
    status: str

    @property
    def backend(self) -> Backend:
        return Backend(pid=self.sid, started=f"{self.serial},{self.instance},{self.logon}")

    def was(self, backend: Backend) -> bool:
        """Tell whether this is that session, alive or killed."""
        if self.backend == backend:
            return True
        serial, instance, logon = _parts(backend)
        return (
            self.status == _KILLED
            and serial != self.serial
            and (self.sid, self.instance, self.logon) == (backend.pid, instance, logon)
        )


def own_backend(connection: oracledb.Connection) -> Backend:
    """Identify a session so that `end_backends` ends it, and no other that got its SID later."""
    (session,) = _sessions(connection, OWN)
    return session.backend


def end_backends(
    connection: oracledb.Connection, backends: Iterable[Backend], timeout: float = 5.0
) -> None:
    """End those sessions where they are still the same ones; TryAgain if one holds on after `timeout` seconds.

    Only sessions that `connection` can see: in a container those of that container, in CDB$ROOT all.
    """
    wanted = set(backends)
    deadline = time.monotonic() + timeout
    while wanted:
        alive = {}
        for backend in wanted:
            session = _find(connection, backend)
            if session is not None and not _is_harmless(connection, session):
                alive[backend] = session
        if not alive:
            return
        if time.monotonic() >= deadline:
            listed = ", ".join(str(pid) for pid in sorted(backend.pid for backend in alive))
            raise TryAgain(
                f"sessions {listed} do not end within {timeout:g} s", reason="BackendStays"
            )
        for session in alive.values():
            if session.status != _KILLED:
                kill(connection, session.sid, session.serial, session.instance)
        wanted = set(alive)
        time.sleep(POLL_SECONDS)


def end_sessions(
    connection: oracledb.Connection, client_identifier: str, timeout: float = 5.0
) -> None:
    """End this user's other sessions that have that name: a stopped process keeps its locks."""
    found = _sessions(connection, NAMED, name=client_identifier)
    end_backends(connection, [session.backend for session in found], timeout)


def kill(connection: oracledb.Connection, sid: int, serial: int, inst: int) -> None:
    """Ask for the end of a session, and don't wait for it; one that is gone, or ends already, is no error.

    It commits nothing of the session that asks. NotPermitted where the user may not.
    """
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"alter system kill session '{sid:d},{serial:d},@{inst:d}' immediate")
        except oracledb.DatabaseError as error:
            if code_of(error) in _ENDING:
                return
            if code_of(error) != NOT_PERMITTED:
                raise
            _kill_on_rds(cursor, sid, serial)


def _kill_on_rds(cursor: oracledb.Cursor, sid: int, serial: int) -> None:
    try:
        cursor.execute(RDS_KILL, {"sid": sid, "serial": serial})
    except oracledb.DatabaseError as error:
        if code_of(error) in _ENDING:
            return
        if code_of(error) not in (NO_SUCH_PACKAGE, NOT_PERMITTED):
            raise
        raise NotPermitted(
            f"could not end session {sid}, serial number {serial}: the privilege ALTER SYSTEM is missing",
            hint="run the SQL of `bowline grants`",
        ) from error


def _find(connection: oracledb.Connection, backend: Backend) -> Session | None:
    _, instance, _ = _parts(backend)
    found = _sessions(connection, OF_NUMBER, sid=backend.pid, instance=instance)
    return next((session for session in found if session.was(backend)), None)


def _is_harmless(connection: oracledb.Connection, session: Session) -> bool:
    if session.status != _KILLED:
        return False
    place = {"sid": session.sid, "instance": session.instance}
    return not rows(connection, OPEN, **place) and not rows(connection, LOCKED, **place)


def _sessions(connection: oracledb.Connection, query: str, **binds: object) -> list[Session]:
    return [Session(**row) for row in rows(connection, query, **binds)]


def _parts(backend: Backend) -> tuple[int, int, str]:
    """Serial number, instance and logon time."""
    serial, instance, logon = backend.started.split(",", 2)
    return int(serial), int(instance), logon
