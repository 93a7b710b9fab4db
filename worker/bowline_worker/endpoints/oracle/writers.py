"""Keeping writers out: wait for the transactions that hold selected tables, then end them, until all are locked.

The gate is taken first, so that no writer comes after those who are there; each of their tables is then asked for
again and again, and kept. Two more sessions are at work: one that alters triggers, and one that looks who is in the
way. The locks are the caller's transaction's.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import oracledb

from bowline_worker.contract import BowlineError, TryAgain, Unsupported
from bowline_worker.endpoints.oracle import sessions
from bowline_worker.endpoints.oracle.altering import BUSY
from bowline_worker.endpoints.oracle.connection import (
    code_of,
    connect,
    translate,
    translated,
)
from bowline_worker.endpoints.oracle.dictionary import records
from bowline_worker.endpoints.oracle.tables import missing
from bowline_worker.endpoints.site import Site

POLL_SECONDS: Final = 0.1
#: From the end of the grace: sessions that we end need a moment to roll back.
ENDING_SECONDS: Final = 20.0

#: Modes of table locks: row share 2, row exclusive 3 (every writer), share 4, share row exclusive 5, exclusive 6.
AGAINST_SHARE: Final = frozenset((3, 5, 6))
AGAINST_EXCLUSIVE: Final = frozenset((2, 3, 4, 5, 6))

#: ALTER TABLE ... DISABLE TABLE LOCK
_NO_TABLE_LOCKS: Final = "ORA-00069"
_NOT_THERE: Final = "ORA-00942"

#: With no session: a distributed transaction that waits for its coordinator, or one that the server is rolling back.
HOLDERS: Final = """
select l.object_id, l.locked_mode, l.inst_id as instance, l.session_id as sid, s.serial# as serial, s.type,
       s.blocking_session, s.blocking_instance
from gv$locked_object l
left join gv$session s on s.inst_id = l.inst_id and s.sid = l.session_id
where l.locked_mode > 1"""
IN_DOUBT: Final = """
select count(*) as found from dba_2pc_pending p where lower(p.state) = 'prepared'"""
GATE: Final = """
select o.object_id from user_objects o where o.object_type = 'TABLE' and o.object_name = 'BOWLINE_GATE'"""

log = logging.getLogger("bowline")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock that is in our way."""

    instance: int
    sid: int
    serial: int | None  #: None: there is no session
    is_application: bool  #: not one of the server's own
    waits_for: tuple[int, int] | None  #: instance and SID


def refuse_in_doubt(site: Site, connection: oracledb.Connection) -> None:
    """Refuse where prepared distributed transactions are: they hold their locks without a session to end."""
    with translated(site, "could not look for distributed transactions"):
        (row,) = records(connection, IN_DOUBT)
    if row["FOUND"]:
        raise Unsupported(
            f"the {site.side} has {row['FOUND']} distributed transactions in doubt: a fence can't end them",
            reason="FenceImpossible",
            hint="commit force or rollback force what dba_2pc_pending shows",
        )


class Writers:
    """Locks gate and tables in the caller's transaction while its block lasts; ends who is in the way after the grace.

    A session that holds a table and waits for us is ended at once: neither of us could ever go on.
    """

    def __init__(
        self,
        site: Site,
        connection: oracledb.Connection,
        altering: oracledb.Connection,
        grace: float,
    ) -> None:
        self._site, self._connection, self._grace = site, connection, grace
        self._error: BowlineError | None = None
        self._done = threading.Event()
        #: What we want, by OBJECT_ID, with the modes that are in the way; only ever replaced as a whole.
        self._wanted: Mapping[int, frozenset[int]] = {}
        self._in_the_way: list[int] = []
        self._ended: set[tuple[int, int, int]] = set()
        self._own = {_place(connection), _place(altering)}
        self._place = _place(connection)
        self._deadline = time.monotonic() + grace
        self._watch = connect(site)  # before anything is locked: later it could be refused
        self._thread = threading.Thread(target=self._run, name="fence-watcher", daemon=True)

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline + ENDING_SECONDS - time.monotonic())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        with suppress(oracledb.Error):
            self._watch.close()

    def raise_error(self) -> None:
        """Raise what the watcher has met, for without it a wait could last for ever."""
        if self._error:
            raise self._error

    def shut_gate(self) -> None:
        """Have the gate for ourselves: whoever writes from now on waits, unless no trigger of theirs is enabled."""
        found = records(self._connection, GATE)
        if not found:
            raise missing(self._site)
        self._lock(
            found[0]["OBJECT_ID"],
            AGAINST_EXCLUSIVE,
            # In the queue, not NOWAIT: where writers come and go, it is never empty.
            "lock table bowline_gate in exclusive mode wait 1",
            "the gate of the fence",
        )

    def lock(self, tables: Mapping[int, str]) -> None:
        """Lock tables against writers, given by OBJECT_ID; one that was dropped meanwhile is none."""
        self.expect(tables)
        for number, table in tables.items():
            self._lock(
                number, AGAINST_SHARE, f"lock table {table} in share mode nowait", f"table {table}"
            )

    def expect(self, tables: Mapping[int, str]) -> None:
        """Look for who is in the way of these tables too, though they are not asked for yet."""
        self._wanted = {**self._wanted, **dict.fromkeys(tables, AGAINST_SHARE)}

    def _lock(self, number: int, against: frozenset[int], statement: str, what: str) -> None:
        self._wanted = {**self._wanted, number: against}
        while (error := self._locked(statement)) is not None:
            self.raise_error()
            code = code_of(error)
            if code == _NOT_THERE and not _exists(self._connection, number):
                return
            if code == _NO_TABLE_LOCKS:
                raise Unsupported(
                    f"{what} on the {self._site.side} has its table locks disabled: a fence needs them",
                    reason="FenceImpossible",
                    hint="alter table ... enable table lock",
                ) from error
            if code not in BUSY:
                raise translate(self._site, error, f"could not lock {what}") from error
            if not self.seconds_left:
                raise self._blocked(what) from error
            self._done.wait(POLL_SECONDS / 2)

    def _locked(self, statement: str) -> oracledb.DatabaseError | None:
        """Lock, or tell why not."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement)
        except oracledb.DatabaseError as error:
            return error
        return None

    def _blocked(self, what: str) -> TryAgain:
        sids = ", ".join(map(str, self._in_the_way)) or "that are not seen"
        return TryAgain(
            f"{self._site.side}: sessions {sids} still hold {what} after {self._grace:g} s"
            f" and {ENDING_SECONDS:g} s to end them",
            reason="FenceBlocked",
            hint="end those sessions",
        )

    def _run(self) -> None:
        try:
            with translated(self._site, "could not end the writers that hold up the fence"):
                while not self._done.is_set():
                    self._look(end=time.monotonic() >= self._deadline)
                    self._done.wait(POLL_SECONDS)
        except BowlineError as error:
            self._error = error

    def _look(self, *, end: bool) -> None:
        wanted = self._wanted
        holders = {
            _holder(row)
            for row in records(self._watch, HOLDERS)
            if row["LOCKED_MODE"] in wanted.get(row["OBJECT_ID"], ())
            and (row["INSTANCE"], row["SID"]) not in self._own
        }
        self._in_the_way = sorted(holder.sid for holder in holders)
        for holder in holders:
            if holder.serial is None:
                if end:
                    refuse_in_doubt(self._site, self._watch)
            elif holder.is_application and (end or holder.waits_for == self._place):
                self._end(holder.sid, holder.serial, holder.instance)

    def _end(self, sid: int, serial: int, instance: int) -> None:
        if (sid, serial, instance) in self._ended:
            return
        sessions.kill(self._watch, sid, serial, instance)
        self._ended.add((sid, serial, instance))
        fields = {"sid": sid, "serial": serial, "instance": instance}
        log.info("ended a writer", extra={"fields": fields})


def _holder(row: Mapping[str, int | str | None]) -> Holder:
    number = {name: _whole(row[name]) for name in ("INSTANCE", "SID", "SERIAL", "BLOCKING_SESSION")}
    blocking = number["BLOCKING_SESSION"]
    waits_for = None
    if blocking is not None:
        waits_for = (_whole(row["BLOCKING_INSTANCE"]) or number["INSTANCE"] or 1, blocking)
    return Holder(
        instance=number["INSTANCE"] or 0,
        sid=number["SID"] or 0,
        serial=number["SERIAL"],
        is_application=row["TYPE"] != "BACKGROUND",
        waits_for=waits_for,
    )


def _whole(value: int | str | None) -> int | None:
    return None if value is None else int(value)


def _place(connection: oracledb.Connection) -> tuple[int, int]:
    """Instance and SID of a session."""
    backend = sessions.own_backend(connection)
    return int(backend.started.split(",")[1]), backend.pid


def _exists(connection: oracledb.Connection, object_id: int) -> bool:
    found = records(
        connection,
        "select 1 as found from all_objects o where o.object_id = to_number(:id)",
        {"id": str(object_id)},
    )
    return bool(found)
