"""The bookkeeping tables of PostgreSQL and YugabyteDB, and the transaction in which a step of a switch runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from psycopg import IsolationLevel, errors

from bowline_worker.bookkeeping import Backend, LaneRow, MadeObject, SwitchRow
from bowline_worker.contract import Role, Side, Unsafe, Unsupported, Verdict
from bowline_worker.endpoints.base import SequenceState
from bowline_worker.endpoints.postgres import fence, sequences
from bowline_worker.endpoints.postgres import made as notes
from bowline_worker.endpoints.postgres.book_tables import TABLES
from bowline_worker.endpoints.postgres.catalog import Db, Records, records
from bowline_worker.endpoints.postgres.connection import application_name, connect, translated
from bowline_worker.endpoints.postgres.flavour import flavour_of
from bowline_worker.endpoints.postgres.nodes import nodes
from bowline_worker.endpoints.postgres.sessions import end_backends, end_sessions, own_backend
from bowline_worker.endpoints.site import Site
from bowline_worker.model import SignalKind, TableName

SCHEMA = "bowline"

#: A stopped process keeps its locks, and a stream would wait for them though its switch was aborted long ago: nobody
#: who aborts needs this side. Between two statements of a transaction here there is never more than a moment.
IDLE_SECONDS = 5
#: A role or a database may have synchronous_commit off: what was decided here must not be lost by a crash.
DURABLY = """
select set_config('idle_in_transaction_session_timeout', %s, true),
       case current_setting('synchronous_commit')
            when 'off' then set_config('synchronous_commit', 'on', true) end"""

#: Held by whoever makes or drops the schema. The number is any that no application is likely to use.
LOCK = b"select pg_advisory_xact_lock(780964015, hashtext('bowline'))"
IS_TAKEN = b"""
select exists (select from pg_class where relnamespace = to_regnamespace('bowline'))
       and to_regclass('bowline.made') is null"""

READ_SWITCH = """
select attempt, verdict, aborted, opened, fenced, fenced_at, committed_at, opened_at, reason,
       cutover_pid, cutover_started
from bowline.switch where migration = %(migration)s"""
PUT_SWITCH = """
insert into bowline.switch (migration, attempt, verdict, aborted, opened, fenced, fenced_at,
                            committed_at, opened_at, reason, cutover_pid, cutover_started)
values (%(migration)s, %(attempt)s, %(verdict)s, %(aborted)s::int[], %(opened)s, %(fenced)s,
        %(fenced_at)s, %(committed_at)s, %(opened_at)s, %(reason)s, %(pid)s, %(started)s)
on conflict (migration) do update set
    (attempt, verdict, aborted, opened, fenced, fenced_at, committed_at, opened_at, reason,
     cutover_pid, cutover_started)
  = (excluded.attempt, excluded.verdict, excluded.aborted, excluded.opened, excluded.fenced,
     excluded.fenced_at, excluded.committed_at, excluded.opened_at, excluded.reason,
     excluded.cutover_pid, excluded.cutover_started)"""

#: A generation above 0 is live; an ended one is kept below 0, so that the next is higher; 0 never ran.
LANE_COLUMNS = (
    "lane", "number", "generation", "block", "passed", "retired", "barrier", "probe", "canary",
    "beat", "events", "discarded", "position",
)  # fmt: skip
_LANE = ", ".join((*LANE_COLUMNS, "backend_pid", "backend_started"))
READ_LANES = f"""
select {_LANE} from bowline.lane
where migration = %(migration)s and origin = %(origin)s order by lane"""
DELETE_LANES = """
delete from bowline.lane
where migration = %(migration)s and origin = %(origin)s and lane <> all (%(lanes)s::int[])"""
PUT_LANE = f"""
insert into bowline.lane (migration, origin, {_LANE})
values (%(migration)s, %(origin)s, {", ".join(f"%({name})s" for name in _LANE.split(", "))})
on conflict (migration, origin, lane) do update set
    ({_LANE}) = ({", ".join(f"excluded.{name}" for name in _LANE.split(", "))})"""


class PostgresBooks:
    """One transaction in one database, as base.Books describes it."""

    def __init__(self, site: Site, connection: Db) -> None:
        self._site = site
        self._db = connection
        self.take_back: list[Callable[[], None]] = []  #: what did not wait for the commit

    def switch(self, *, lock: bool = True) -> SwitchRow:
        rows = self._read(READ_SWITCH + (" for update" if lock else ""))
        if not rows:
            raise missing(self._site)
        return SwitchRow(
            attempt=rows[0]["attempt"],
            verdict=Verdict(rows[0]["verdict"]),
            aborted=frozenset(rows[0]["aborted"]),
            opened=rows[0]["opened"],
            fenced=rows[0]["fenced"],
            fenced_at=rows[0]["fenced_at"],
            committed_at=rows[0]["committed_at"],
            opened_at=rows[0]["opened_at"],
            reason=rows[0]["reason"],
            cutover=_backend(rows[0]["cutover_pid"], rows[0]["cutover_started"]),
        )

    def put_switch(self, row: SwitchRow) -> None:
        self._db.execute(
            PUT_SWITCH.encode(),
            {
                "migration": self._site.migration,
                "attempt": row.attempt,
                "verdict": str(row.verdict),
                "aborted": sorted(row.aborted),
                "opened": row.opened,
                "fenced": row.fenced,
                "fenced_at": row.fenced_at,
                "committed_at": row.committed_at,
                "opened_at": row.opened_at,
                "reason": row.reason,
                "pid": row.cutover.pid if row.cutover else None,
                "started": row.cutover.started if row.cutover else None,
            },
        )

    def lanes(self, origin: Side, *, lock: bool = True) -> tuple[LaneRow, ...]:
        query = READ_LANES + (" for update" if lock else "")
        found = self._lanes(query, origin)
        # Whoever waited for a row's lock misses rows that the lock's holder added: look again
        # until nothing new is there.
        while lock and (again := self._lanes(query, origin)) != found:
            found = again
        return found

    def _lanes(self, query: str, origin: Side) -> tuple[LaneRow, ...]:
        rows = []
        for row in self._read(query, origin=str(origin)):
            backend = _backend(row.pop("backend_pid"), row.pop("backend_started"))
            rows.append(LaneRow(**row, backend=backend))
        return tuple(rows)

    def put_lanes(self, origin: Side, rows: Sequence[LaneRow]) -> None:
        # Rows that stay are updated in place: a session that waits for one sees its new state,
        # and not that it is gone.
        stream = {"migration": self._site.migration, "origin": str(origin)}
        self._db.execute(DELETE_LANES.encode(), {**stream, "lanes": [row.lane for row in rows]})
        for row in sorted(rows, key=lambda row: row.lane):
            values = {name: getattr(row, name) for name in LANE_COLUMNS}
            self._db.execute(
                PUT_LANE.encode(),
                {
                    **stream,
                    **values,
                    "backend_pid": row.backend.pid if row.backend else None,
                    "backend_started": row.backend.started if row.backend else None,
                },
            )

    def signal(self, kind: SignalKind, attempt: int) -> None:
        self._db.execute(
            b"insert into bowline.signal (migration, kind, attempt) values (%s, %s, %s)"
            b" on conflict do nothing",
            (self._site.migration, str(kind), attempt),
        )

    def own_backend(self) -> Backend:
        return own_backend(self._db)

    def end_backends(self, backends: Iterable[Backend], timeout: float = 5.0) -> None:
        wanted = list(backends)
        with nodes(self._site, self._db) as there:
            for node in there:
                end_backends(node.db, wanted, timeout)

    def end_sessions(self, role: Role, timeout: float = 5.0) -> None:
        name, own = application_name(self._site, role), self.own_backend()
        with nodes(self._site, self._db) as there:
            for node in there:
                end_sessions(node.db, name, timeout, but=own)

    def raise_fence(self, grace: float) -> None:
        self.take_back += fence.raise_fence(self._site, self._db, grace)

    def lower_fence(self) -> None:
        fence.lower_fence(self._site, self._db)

    def fence_gaps(self) -> list[str]:
        return fence.gaps(self._site, self._db)

    def sequences(self) -> Mapping[TableName, SequenceState]:
        return sequences.read(self._site, self._db)

    def raise_sequences(self, states: Mapping[TableName, SequenceState]) -> None:
        sequences.raise_to(self._db, states)

    def restore(self) -> None:
        """Do nothing: lanes work in replica role, so nothing of the application's was disabled."""

    def _read(self, query: str, **more: object) -> Records:
        try:
            return records(self._db, query, {"migration": self._site.migration, **more})
        except (errors.UndefinedTable, errors.InvalidSchemaName):
            raise missing(self._site) from None


def install(site: Site) -> None:
    """Make the bookkeeping tables and this migration's switch row, in one transaction; change nothing that is there."""
    with translated(site, "could not make the bookkeeping tables"), durably(site) as connection:
        # IF NOT EXISTS alone fails where two sessions make the same table at once: then one of them tries again.
        if flavour_of(connection).has_advisory_locks:
            connection.execute(LOCK)
        (taken,) = connection.execute(IS_TAKEN).fetchone() or (False,)
        if taken:
            raise Unsupported(
                f"the {site.side} has a schema {SCHEMA} that is not this product's",
                reason="SchemaTaken",
                hint="rename or drop that schema",
            )
        if not _exists(connection, SCHEMA):
            connection.execute(b"create schema bowline")
        for statement in TABLES:
            connection.execute(statement.encode())
        notes.record(connection, site, MadeObject(kind="schema", name=SCHEMA))
        connection.execute(
            b"insert into bowline.switch (migration) values (%s) on conflict do nothing",
            (site.migration,),
        )
        # Triggers that are there before this row are a fence that an earlier life left standing.
        connection.execute(
            b"insert into bowline.gate (migration, raised) values (%s, %s) on conflict do nothing",
            (site.migration, bool(fence.of_migration(site, connection))),
        )


@contextmanager
def transaction(site: Site) -> Iterator[PostgresBooks]:
    """Commit when the block ends, roll back on any exception. Nothing is tried twice."""
    books: PostgresBooks | None = None
    try:
        with translated(site), durably(site) as connection:
            books = PostgresBooks(site, connection)
            yield books
    except BaseException:
        for take_back in books.take_back if books else ():
            take_back()
        raise


def made(site: Site) -> list[MadeObject]:
    """What this migration made here, oldest first; [] where nothing is installed."""
    with translated(site, "could not read the bookkeeping"), durably(site) as connection:
        return notes.read(connection, site)


def missing(site: Site) -> Unsafe:
    return Unsafe(
        f"the {site.side} at {site.place} has no bookkeeping of migration {site.migration}",
        reason="BookkeepingMissing",
        hint="was the database replaced, or restored from a backup? start a new migration",
    )


def durably(site: Site) -> Db:
    """Open a connection whose `with` block is one durable transaction that writes."""
    connection = connect(site, autocommit=False)
    connection.isolation_level = IsolationLevel.READ_COMMITTED
    connection.read_only = False
    connection.execute(DURABLY.encode(), (f"{IDLE_SECONDS}s",))
    return connection


def _exists(connection: Db, schema: str) -> bool:
    return connection.execute(b"select to_regnamespace(%s)", (schema,)).fetchone() != (None,)


def _backend(pid: int | None, started: str | None) -> Backend | None:
    return Backend(pid=pid, started=started) if pid is not None and started else None
