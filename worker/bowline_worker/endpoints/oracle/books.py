"""The transaction in Oracle in which a step of a switch runs. The tables that it reads are made in tables.py.

No DDL runs in its session: that would commit. What a stopped process holds here is freed by whoever takes over, who
ends the sessions that were recorded, and those that have the role's name (`end_backends`, `end_sessions`). Oracle has
no limit on idle transactions that a session could set for itself: MAX_IDLE_BLOCKER_TIME, of 19c, is the database's.
So nobody waits for a row for ever either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

import oracledb

from bowline_worker.bookkeeping import Backend, LaneRow, SwitchRow
from bowline_worker.contract import BowlineError, Role, Side, TryAgain, Verdict
from bowline_worker.endpoints.base import SequenceState
from bowline_worker.endpoints.oracle import disabling, fence, fence_gaps, sequences
from bowline_worker.endpoints.oracle import made as notes
from bowline_worker.endpoints.oracle.connection import application_name, code_of, translated
from bowline_worker.endpoints.oracle.dictionary import Records
from bowline_worker.endpoints.oracle.sessions import end_backends, end_sessions, own_backend
from bowline_worker.endpoints.oracle.tables import (
    TABLES,
    durably,
    install,
    made,
    missing,
    session,
)
from bowline_worker.endpoints.site import Site
from bowline_worker.model import SignalKind, TableName

__all__ = ["TABLES", "OracleBooks", "durably", "install", "made", "missing", "transaction"]

#: Longer than any step holds a row: raising a fence waits for writers, ends them, and waits for triggers' DDL.
LOCK_SECONDS: Final = 90
_LOCKING: Final = f" for update wait {LOCK_SECONDS}"
_TIMED_OUT: Final = frozenset(("ORA-30006", "ORA-00054"))

_SWITCH_COLUMNS: Final = (
    "attempt", "verdict", "aborted", "opened", "fenced", "fenced_at", "committed_at", "opened_at", "reason",
    "cutover_pid", "cutover_started",
)  # fmt: skip
READ_SWITCH: Final = f"""
select {", ".join(_SWITCH_COLUMNS)} from bowline_switch where migration = :migration"""
UPDATE_SWITCH: Final = f"""
update bowline_switch set {", ".join(f"{name} = :{name}" for name in _SWITCH_COLUMNS)}
where migration = :migration"""
INSERT_SWITCH: Final = f"""
insert into bowline_switch (migration, {", ".join(_SWITCH_COLUMNS)})
values (:migration, {", ".join(f":{name}" for name in _SWITCH_COLUMNS)})"""

#: A generation above 0 is live; an ended one is kept below 0, so that the next is higher; 0 never ran.
_LANE_COLUMNS: Final = (
    "number_", "generation", "block", "passed", "retired", "barrier", "probe", "canary", "beat", "events",
    "discarded", "position", "backend_pid", "backend_started",
)  # fmt: skip
READ_LANES: Final = f"""
select lane, {", ".join(_LANE_COLUMNS)} from bowline_lane
where migration = :migration and origin = :origin order by lane"""
DELETE_LANES: Final = """
delete from bowline_lane where migration = :migration and origin = :origin"""
UPDATE_LANE: Final = f"""
update bowline_lane set {", ".join(f"{name} = :{name}" for name in _LANE_COLUMNS)}
where migration = :migration and origin = :origin and lane = :lane"""
INSERT_LANE: Final = f"""
insert into bowline_lane (migration, origin, lane, {", ".join(_LANE_COLUMNS)})
values (:migration, :origin, :lane, {", ".join(f":{name}" for name in _LANE_COLUMNS)})"""

#: Not by the error alone: an insert that fails is in the redo, and again as it is taken back.
SIGNAL: Final = """
insert into bowline_signal (migration, kind, attempt)
select :migration, :kind, :attempt from dual
where not exists (select 1 from bowline_signal
                  where migration = :migration and kind = :kind and attempt = :attempt)"""

log = logging.getLogger("bowline")


class OracleBooks:
    """One transaction in one database, as base.Books describes it."""

    def __init__(self, site: Site, connection: oracledb.Connection) -> None:
        self._site = site
        self._db = connection
        #: What is to be done once the transaction is committed: DDL that may fail, and that nothing depends on.
        self.after_commit: list[Callable[[], None]] = []

    def switch(self, *, lock: bool = True) -> SwitchRow:
        found = self._read(READ_SWITCH, lock=lock)
        if not found:
            raise missing(self._site)
        (row,) = found
        return SwitchRow(
            attempt=row["attempt"],
            verdict=Verdict(row["verdict"] or ""),
            aborted=frozenset(int(each) for each in (row["aborted"] or "").split(",") if each),
            opened=row["opened"],
            fenced=bool(row["fenced"]),
            fenced_at=_aware(row["fenced_at"]),
            committed_at=_aware(row["committed_at"]),
            opened_at=_aware(row["opened_at"]),
            reason=row["reason"] or "",
            cutover=_backend(row["cutover_pid"], row["cutover_started"]),
        )

    def put_switch(self, row: SwitchRow) -> None:
        binds = {
            "migration": self._site.migration,
            "attempt": row.attempt,
            "verdict": str(row.verdict),
            "aborted": ",".join(map(str, sorted(row.aborted))),
            "opened": row.opened,
            "fenced": int(row.fenced),
            "fenced_at": _naive(row.fenced_at),
            "committed_at": _naive(row.committed_at),
            "opened_at": _naive(row.opened_at),
            "reason": row.reason,
            "cutover_pid": row.cutover.pid if row.cutover else None,
            "cutover_started": row.cutover.started if row.cutover else None,
        }
        with self._db.cursor() as cursor:
            for statement in (UPDATE_SWITCH, INSERT_SWITCH):
                cursor.setinputsizes(
                    fenced_at=oracledb.DB_TYPE_TIMESTAMP,
                    committed_at=oracledb.DB_TYPE_TIMESTAMP,
                    opened_at=oracledb.DB_TYPE_TIMESTAMP,
                )
                cursor.execute(statement, binds)
                if cursor.rowcount:
                    return

    def lanes(self, origin: Side, *, lock: bool = True) -> tuple[LaneRow, ...]:
        found = self._lanes(origin, lock=lock)
        # Whoever waited for a row's lock may miss rows that the lock's holder added: look again
        # until nothing new is there.
        while lock and (again := self._lanes(origin, lock=True)) != found:
            found = again
        return found

    def _lanes(self, origin: Side, *, lock: bool) -> tuple[LaneRow, ...]:
        rows = []
        for row in self._read(READ_LANES, lock=lock, origin=str(origin)):
            backend = _backend(row.pop("backend_pid"), row.pop("backend_started"))
            row |= {
                "number": row.pop("number_"),
                "passed": bool(row["passed"]),
                "position": row["position"] or "",
            }
            rows.append(LaneRow(**row, backend=backend))
        return tuple(rows)

    def put_lanes(self, origin: Side, rows: Sequence[LaneRow]) -> None:
        # Rows that stay are updated in place: a session that waits for one sees its new state,
        # and not that it is gone.
        stream = {"migration": self._site.migration, "origin": str(origin)}
        kept = {f"lane{at}": row.lane for at, row in enumerate(rows)}
        others = f" and lane not in ({', '.join(f':{name}' for name in kept)})" if kept else ""
        with self._db.cursor() as cursor:
            cursor.execute(DELETE_LANES + others, {**stream, **kept})
            for row in sorted(rows, key=lambda row: row.lane):
                binds = {**stream, **_lane_values(row)}
                cursor.execute(UPDATE_LANE, binds)
                if not cursor.rowcount:
                    cursor.execute(INSERT_LANE, binds)

    def signal(self, kind: SignalKind, attempt: int) -> None:
        notes.once(
            self._db, SIGNAL, migration=self._site.migration, kind=str(kind), attempt=attempt
        )

    def own_backend(self) -> Backend:
        return own_backend(self._db)

    def end_backends(self, backends: Iterable[Backend], timeout: float = 5.0) -> None:
        end_backends(self._db, backends, timeout)

    def end_sessions(self, role: Role, timeout: float = 5.0) -> None:
        end_sessions(self._db, application_name(self._site, role), timeout)

    def raise_fence(self, grace: float) -> None:
        fence.raise_fence(self._site, self._db, grace)

    def lower_fence(self) -> None:
        self.after_commit.append(fence.lower_fence(self._site, self._db))

    def fence_gaps(self) -> list[str]:
        return fence_gaps.gaps(self._site, self._db)

    def sequences(self) -> Mapping[TableName, SequenceState]:
        return sequences.read(self._site, self._db)

    def raise_sequences(self, states: Mapping[TableName, SequenceState]) -> None:
        sequences.raise_to(self._site, states)

    def restore(self) -> None:
        disabling.restore(self._site, self._db)

    def _read(self, query: str, *, lock: bool, **binds: object) -> Records:
        query += _LOCKING if lock else ""
        try:
            return notes.rows(self._db, query, migration=self._site.migration, **binds)
        except oracledb.DatabaseError as error:
            if code_of(error) == notes.NO_TABLE:
                raise missing(self._site) from None
            if code_of(error) in _TIMED_OUT:
                raise TryAgain(
                    f"{self._site.side} at {self._site.place}: another session holds the bookkeeping of migration"
                    f" {self._site.migration} for {LOCK_SECONDS} s",
                    reason="BookkeepingLocked",
                ) from error
            raise


@contextmanager
def transaction(site: Site) -> Iterator[OracleBooks]:
    """Commit when the block ends, roll back on any exception. Nothing is tried twice.

    After an error around the commit it may have succeeded: the caller reads back.
    """
    with translated(site), session(site) as connection:
        books = OracleBooks(site, connection)
        try:
            yield books
        except BaseException:
            # Closing rolls back too, but not before it is asked to; a dead session the server itself takes back.
            with suppress(oracledb.Error):
                connection.rollback()
            raise
        connection.commit()
    for then in books.after_commit:
        _do(site, then)


def _do(site: Site, then: Callable[[], None]) -> None:
    try:
        with translated(site):
            then()
    except BowlineError as error:
        # What was decided is committed, and holds without this.
        fields = {"side": str(site.side), "error": str(error)}
        log.warning("what follows a commit was not done", extra={"fields": fields})


def _lane_values(row: LaneRow) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: getattr(row, name)
        for name in ("lane", *_LANE_COLUMNS)
        if name not in ("number_", "backend_pid", "backend_started")
    }
    return values | {
        "number_": row.number,
        "passed": int(row.passed),
        "backend_pid": row.backend.pid if row.backend else None,
        "backend_started": row.backend.started if row.backend else None,
    }


def _backend(pid: int | None, started: str | None) -> Backend | None:
    return Backend(pid=pid, started=started) if pid is not None and started else None


def _naive(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC).replace(tzinfo=None)


def _aware(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)
