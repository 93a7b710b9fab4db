"""The snapshot's side at the origin: a view that all workers share, and reading tables in it.

Who enters a view exports it again and says so in `bowline.held`; it lives while any of them does. A row there counts
only while the transaction that exported it is still open: names of exported snapshots come again after a restart of
the server, and would then show another moment.

Every session in a view has a lock on every table. Older views do not see TRUNCATE, or an ALTER TABLE that rewrites, as
they should: the table looks empty to them. That neither happened between a view's first instant and our lock is told by
the files that the tables are in, which both replace. (Locks taken earlier, by another session, would do as well; but
making a slot waits for open transactions, and one of those might wait for that lock.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from psycopg import errors, pq, sql

from bowline_worker.bookkeeping import StreamId
from bowline_worker.conflicts import through_conflicts
from bowline_worker.contract import TryAgain, Unsafe
from bowline_worker.endpoints.postgres import catalog
from bowline_worker.endpoints.postgres.catalog import Db, records
from bowline_worker.endpoints.postgres.connection import (
    connect,
    connect_replication,
    quote,
    translated,
)
from bowline_worker.endpoints.postgres.copying import copy_out, relay_out
from bowline_worker.endpoints.postgres.flavour import flavour_of, of_pgconn
from bowline_worker.endpoints.postgres.frames import position_from
from bowline_worker.endpoints.postgres.ledger import PostgresLedger, positions, progress
from bowline_worker.endpoints.postgres.libpq import execute
from bowline_worker.endpoints.postgres.slots import (
    find_made,
    note,
    note_start,
    refuse,
    require,
    slot_name,
)
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Position, Table

__all__ = ["PostgresLedger", "hold", "positions", "progress", "reader"]

#: Somebody's DDL that waits for our lock must not make us wait for it: both would stand still.
LOCK_TIMEOUT = "10s"
#: Guessed for a table with pages that was never analysed.
ROWS_PER_PAGE = 64

#: The same transaction of the same session as when the row was written, else the name means nothing.
ALIVE = """
exists (select from pg_stat_activity a where a.pid = h.pid and a.xact_start <= h.at)"""
HELD = f"""
select h.snapshot, h.position from bowline.held h
where h.migration = %s and h.number = %s and {ALIVE}
order by h.position::pg_lsn desc, h.at desc"""
FORGET_DEAD = f"""
delete from bowline.held h where h.migration = %s and h.number = %s and not {ALIVE}"""
FORGET = """
delete from bowline.held where migration = %s and snapshot = %s and pid = %s"""
ANNOUNCE = """
insert into bowline.held (migration, snapshot, number, position, pid) values (%s, %s, %s, %s, %s)
on conflict (migration, snapshot) do update
set number = excluded.number, position = excluded.position, pid = excluded.pid, at = clock_timestamp()"""

FILES = """
select t.name, c.oid::int8, pg_relation_filenode(c.oid)::int8
from unnest(%s::text[]) t (name) left join pg_class c on c.oid = to_regclass(t.name) order by 1"""

#: yb_hash_code() answers with less: https://docs.yugabyte.com/stable/api/ysql/exprs/func_yb_hash_code/
HASHES = 1 << 16

#: What an import says when the view is gone: no such name, or its transaction has ended.
GONE = (
    errors.InvalidParameterValue,
    errors.UndefinedObject,
    errors.ObjectNotInPrerequisiteState,
)


class Tables:
    """The selected tables, and the files they were in before the view that is to be entered was made or found."""

    def __init__(self, site: Site, books: Db) -> None:
        self._site, self._books = site, books
        self._names = [quote(table.name.schema, table.name.name) for table in catalog.tables(site)]
        self._files = self._read_files()

    def enter(self, snapshot: str) -> Db:
        """Open a session in an exported view, with a lock on every table."""
        connection = connect(self._site)
        try:
            # Row security would hide rows without a word.
            connection.execute(b"set row_security = off")
            connection.execute(f"set lock_timeout = '{LOCK_TIMEOUT}'".encode())
            connection.execute(b"begin isolation level repeatable read read only")
            connection.execute(
                f"set transaction snapshot {sql.Literal(snapshot).as_string()}".encode()
            )
            if self._names:
                names = ", ".join(f"only {name}" for name in self._names)
                connection.execute(f"lock table {names} in access share mode".encode())
            self._require_same_files()
        except BaseException:
            connection.close()
            raise
        return connection

    def _require_same_files(self) -> None:
        if self._read_files() != self._files:
            raise TryAgain(
                f"{self._site.side}: a table was truncated or rewritten while the view was made",
                reason="TableRewritten",
            )

    def _read_files(self) -> list[tuple[object, ...]]:
        return self._books.execute(FILES.encode(), (self._names,)).fetchall()


class View:
    """One session inside a view. Others may enter through it."""

    def __init__(self, site: Site, connection: Db, position: Position) -> None:
        self._site = site
        self._snapshot = ""
        self._connection = connection
        self.position = position

    def announce(self, books: Db, number: int) -> None:
        """Export the view, and let others know; they can enter it from here on."""
        with translated(self._site, "could not announce the view"):
            if not self._snapshot:
                row = self._connection.execute(b"select pg_export_snapshot()").fetchone()
                self._snapshot = str(row[0]) if row else ""
            pid = self._connection.info.backend_pid
            values = (self._site.migration, self._snapshot, number, self.position.text, pid)
            books.execute(ANNOUNCE.encode(), values)

    def close(self) -> None:
        """Leave the view. It ends with its last session."""
        pid = self._connection.info.backend_pid if not self._connection.closed else 0
        # A session that is gone already leaves its row to whoever looks next.
        with suppress(psycopg.Error):
            self._connection.execute(b"rollback")
            self._connection.execute(FORGET.encode(), (self._site.migration, self._snapshot, pid))
        self._connection.close()


class PostgresHold(View):
    """See base.Hold."""

    def check(self) -> None:
        """Raise TryAgain when the session is gone, and the view with it as far as we know."""
        with translated(self._site, "the held view is lost"):
            self._connection.execute(b"select")


class PostgresReader(View):
    """See base.Reader. One thread."""

    rows = 0  #: in the chunk that was read to its end last, as the server counted them

    def chunks(self, table: Table, rows: int) -> list[str]:
        """Split in page ranges `from:to`; the last is open, for pages that were added since.

        Without pages, in ranges of the key's hash; a table without a key is one chunk.
        """
        if not flavour_of(self._connection).has_pages:
            return hash_ranges(table, rows)
        with translated(self._site, f"could not read the size of {table.name}"):
            found = self._connection.execute(
                b"select pg_relation_size(%s::regclass) / current_setting('block_size')::int",
                (quote(table.name.schema, table.name.name),),
            ).fetchone()
            version = self._connection.info.server_version
        pages = found[0] if found and isinstance(found[0], int) else 0
        # Older servers read the whole table for each range.
        return page_ranges(pages if version >= 140000 else 0, table.estimated_rows, rows)

    def read(self, table: Table, chunk: str, *, binary: bool) -> Iterator[bytes]:
        """The rows of that page range. Not read to its end, the view is lost with the session."""
        with translated(self._site, f"could not read {table.name}"):
            self.rows = yield from copy_out(
                self._connection, copy_statement(table, chunk, binary=binary)
            )

    def relay(self, table: Table, chunk: str, *, binary: bool) -> Iterator[bytes]:
        """As `read`, in the form that this engine's own ledger takes fastest."""
        with translated(self._site, f"could not read {table.name}"):
            self.rows = yield from relay_out(
                self._connection, copy_statement(table, chunk, binary=binary)
            )


def page_ranges(pages: int, estimated_rows: int, rows: int) -> list[str]:
    """Split so many pages in ranges of about `rows` rows; there is always one, and the last has no end."""
    per_page = estimated_rows / pages if pages and estimated_rows else ROWS_PER_PAGE
    step = max(1, math.ceil(rows / per_page))
    starts = list(range(0, pages, step)) or [0]
    ends = [str(start) for start in starts[1:]] + [""]
    return [f"{start}:{end}" for start, end in zip(starts, ends, strict=True)]


def hash_ranges(table: Table, rows: int) -> list[str]:
    """Split the hashes of a key in ranges `hash:from:to` of about `rows` rows; there is always one."""
    if not table.key:
        return ["hash::"]
    count = min(HASHES, max(1, math.ceil(table.estimated_rows / rows)))
    edges = [HASHES * at // count for at in range(count)]
    ends = [str(edge) for edge in edges[1:]] + [""]
    return [f"hash:{edge}:{end}" for edge, end in zip(edges, ends, strict=True)]


def _wanted(table: Table, chunk: str) -> list[str]:
    if chunk.startswith("hash:"):
        _, start, end = chunk.split(":")
        # By default the first column alone decides of a row's tablet: ranges of its hash go where the rows are, and
        # whatever else decides, each row has one hash.
        hashed = f"yb_hash_code({quote(table.key[0])})" if table.key else ""
        wanted = [f"{hashed} >= {int(start)}"] if start and int(start) else []
        return wanted + ([f"{hashed} < {int(end)}"] if end else [])
    start, _, end = chunk.partition(":")
    wanted = [f"ctid >= '({int(start)},0)'"] if int(start) else []
    return wanted + ([f"ctid < '({int(end)},0)'"] if end else [])


def copy_statement(table: Table, chunk: str, *, binary: bool) -> str:
    wanted = _wanted(table, chunk)
    columns = ", ".join(quote(column.name) for column in table.written)
    query = f"select {columns} from only {quote(table.name.schema, table.name.name)}"
    if wanted:
        query += f" where {' and '.join(wanted)}"
    return f"copy ({query}) to stdout (format {'binary' if binary else 'text'})"


def hold(site: Site, stream: StreamId) -> PostgresHold:
    """Make the stream's slot and a view that fits it; where the slot is there, join or renew the view.

    Dying after the slot is made and before the view is announced leaves a slot without a view: the next one makes a
    view of a later position. Nothing is lost by that, since each table's rows have their own position.
    """
    number = stream.number
    with translated(site, "could not hold a view"), connect(site) as books:
        tables = Tables(site, books)
        slot = find_made(books, site, number)
        if slot is None:
            note(books, site, number)
            with _new_view(site, slot_name(site, number), temporary=False) as (snapshot, at):
                _note_start(site, books, number, at)
                view = PostgresHold(site, tables.enter(snapshot), at)
        else:
            slot = require(books, site, number)
            if slot.confirmed is not None:
                note_start(books, site, number, slot.confirmed)
            found = _join(site, books, number, tables)
            if found is not None:
                view = PostgresHold(site, *found)
            elif not flavour_of(books).has_temporary_slots:
                # Positions of two slots can't be compared there: no other view fits this slot's stream.
                raise Unsafe(
                    f"{site.side}: no view is left that fits slot {slot_name(site, number)}",
                    reason="ViewLost",
                    hint="start the migration anew",
                )
            else:
                name = f"{slot_name(site, number)}_view_{books.info.backend_pid}"
                with _new_view(site, name, temporary=True) as (snapshot, at):
                    view = PostgresHold(site, tables.enter(snapshot), at)
        through_conflicts(lambda: view.announce(books, number))
    return view


def reader(site: Site, stream: StreamId) -> PostgresReader:
    """Join the newest view held for the stream. TryAgain while there is none."""
    with translated(site, "could not enter the held view"), connect(site) as books:
        tables = Tables(site, books)
        found = _join(site, books, stream.number, tables)
        if found is None:
            raise TryAgain(
                f"{site.side}: no view is held for stream {stream}",
                reason="NoSnapshot",
                hint="the capture role holds it",
            )
        view = PostgresReader(site, *found)
        through_conflicts(lambda: view.announce(books, stream.number))
    return view


def _note_start(site: Site, books: Db, number: int, start: Position) -> None:
    def once() -> None:
        with translated(site, "could not note where the slot starts"):
            note_start(books, site, number, start)

    # The view is lost with an error here, and the slot stays: not for a conflict.
    through_conflicts(once)


def _join(site: Site, books: Db, number: int, tables: Tables) -> tuple[Db, Position] | None:
    """Enter the newest view that is alive; forget the dead ones."""
    books.execute(FORGET_DEAD.encode(), (site.migration, number))
    for row in records(books, HELD, (site.migration, number)):
        try:
            return tables.enter(row["snapshot"]), position_from(row["position"])
        except GONE:
            continue  # it ended between our look and our knock
    return None


@contextmanager
def _new_view(site: Site, slot: str, *, temporary: bool) -> Iterator[tuple[str, Position]]:
    """Make a slot and the view that fits it; the view is exported until the block ends, as is a temporary slot.

    Waits for the transactions that are open now.
    """
    kind = "temporary logical" if temporary else "logical"
    pgconn = connect_replication(site)
    try:
        # YugabyteDB takes the option from v2025.2.2 on, and from 2.25.1 behind a flag:
        # https://github.com/yugabyte/yugabyte-db/releases/tag/2.25.1.0-b307
        # https://github.com/yugabyte/yugabyte-db/pull/32263
        plugin = of_pgconn(pgconn).plugin
        command = f"CREATE_REPLICATION_SLOT {quote(slot)} {kind.upper()} {plugin} EXPORT_SNAPSHOT"
        try:
            result = execute(pgconn, command, pq.ExecStatus.TUPLES_OK)
        except psycopg.Error as error:
            refuse(site, error)
            raise
        _slot, position, snapshot, _plugin = (
            (result.get_value(0, column) or b"").decode() for column in range(4)
        )
        yield snapshot, position_from(position)
    finally:
        pgconn.finish()


def _literal(text: str) -> str:
    return sql.Literal(text).as_string()
