"""One lane's session in an Oracle receiver: rows go in as arrays, with their counts, and in one transaction each span.

Oracle has no session in which an application's triggers and foreign keys don't fire. They are disabled for all, before
the first row of a table is written here (disabling.py). No statement here is DDL, which would commit: a TRUNCATE is a
DELETE of all rows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

import oracledb

from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.contract import FencedOut, Side, Unsupported
from bowline_worker.endpoints.base import ChangedCounts, RowConflict, RowMissing, TableBatch
from bowline_worker.endpoints.oracle import catalog, row_rights
from bowline_worker.endpoints.oracle.catalog import OracleTable
from bowline_worker.endpoints.oracle.conflicts import at_commit, changed, lost, meant
from bowline_worker.endpoints.oracle.connection import translate, translated
from bowline_worker.endpoints.oracle.kinds import Bind
from bowline_worker.endpoints.oracle.made import rows as read_rows
from bowline_worker.endpoints.oracle.sessions import own_backend
from bowline_worker.endpoints.oracle.statements import (
    Batch,
    Bound,
    Statement,
    Statements,
)
from bowline_worker.endpoints.oracle.tables import durably
from bowline_worker.endpoints.oracle.types import Policy, Terms
from bowline_worker.endpoints.site import Site
from bowline_worker.fold import Shape
from bowline_worker.model import UNCHANGED, Change, Op, Row, Table, TableName

#: Statements that the driver keeps open in one session: OPEN_CURSORS may be as low as 50.
PREPARED: Final = 30

#: How often a session looks whether something was enabled since.
LOOK_SECONDS: Final = 5.0

#: A logon trigger may have chosen another level for the session. ORA-01453 where a transaction is open already.
BEGIN: Final = "set transaction isolation level read committed"

CHARSET: Final = """
select p.value from nls_database_parameters p where p.parameter = 'NLS_CHARACTERSET'"""

#: The effect's place is in the effect's transaction, and only of this generation: else no row.
ADVANCE: Final = """
update bowline_lane set block = :block, passed = :passed, barrier = :barrier, probe = :probe, canary = :canary,
    beat = :beat, events = :events, discarded = :discarded, position = :position
where migration = :migration and origin = :origin and lane = :lane and number_ = :number_
    and generation = :generation and block = :since"""

log = logging.getLogger("bowline")


class OracleLane:
    """See base.LaneSession. One thread at a time."""

    def __init__(self, site: Site, stream: StreamId) -> None:
        self._site = site
        self._stream = stream
        self._db = durably(site)
        try:
            with translated(site, "could not prepare an apply session"):
                self._db.stmtcachesize = PREPARED
                self.backend = own_backend(self._db)
                ((charset,),) = (row.values() for row in read_rows(self._db, CHARSET))
            self._terms = Terms(policy=Policy.of(site.config.values), charset=charset)
        except BaseException:
            self.close()
            raise
        self.changed = ChangedCounts()
        self._tables: dict[TableName, OracleTable] | None = None
        self._look_due = 0.0
        self._statements: dict[TableName, Statements] = {}
        self._shapes: dict[TableName, Shape] = {}
        self._advanced: tuple[Side, LaneRow, int] | None = None
        self._may_write = False

    def begin(self) -> None:
        """Begin a transaction. NotPermitted, at the first, where rows could not be written that may come later."""
        self._advanced = None
        if not self._db.is_healthy():
            raise lost(self._site)
        with self._told("the start of a transaction"), self._db.cursor() as cursor:
            cursor.execute(BEGIN)
        if not self._may_write:
            with self._told("the privileges on rows"):
                config = self._site.config
                tables = catalog.read_tables(self._db, config.include, config.exclude)
                row_rights.prove(self._site, self._db, tables)
            self._may_write = True
        self._look_again()

    def _look_again(self) -> None:
        """Have disabled anew, before the next row, what somebody made or enabled meanwhile: it would write rows twice.

        Or take rows away: a foreign key with ON DELETE CASCADE.
        """
        now = time.monotonic()
        if self._tables is None or now < self._look_due:
            return
        from bowline_worker.endpoints.oracle import disabling

        self._look_due = now + LOOK_SECONDS
        selected = {(one.owner, one.name) for one in self._tables.values()}
        with self._told("what is enabled"):
            if disabling.is_enabled(self._db, selected):
                self._tables = None
                self._statements.clear()

    def commit(self) -> None:
        """Commit; RowConflict where a deferred constraint refuses. After TryAgain it may have been done, or not."""
        try:
            self._db.commit()
        except oracledb.Error as error:
            found = at_commit(self._site, error)
            raise found from (None if isinstance(found, RowConflict) else error)
        self._tell_tally()

    def rollback(self) -> None:
        """Where the session is dead the server has rolled back, or will have before its locks are free."""
        self._terms.tally.clear()
        if self._db.is_healthy():
            try:
                self._db.rollback()
            except oracledb.Error as error:
                if self._db.is_healthy():
                    raise translate(self._site, error, "could not roll back") from error

    def close(self) -> None:
        with suppress(oracledb.Error):
            if self._db.is_healthy():
                self._db.close()

    def advance(self, origin: Side, row: LaneRow, *, since: int) -> None:
        """See base; it takes the row's lock too, so that no other generation gets in until the end."""
        binds = {
            "migration": self._site.migration,
            "origin": str(origin),
            "lane": row.lane,
            "number_": row.number,
            "generation": row.generation,
            "since": since,
            "block": row.block,
            "passed": int(row.passed),
            "barrier": row.barrier,
            "probe": row.probe,
            "canary": row.canary,
            "beat": row.beat,
            "events": row.events,
            "discarded": row.discarded,
            "position": row.position,
        }
        with self._told(f"lane {row.lane}"), self._db.cursor() as cursor:
            cursor.execute(ADVANCE, binds)
            met = cursor.rowcount
        if met != 1:
            raise FencedOut(
                f"lane {row.lane} of {self._stream} is not at block {since} in generation "
                f"{row.generation} any more",
                hint="another apply process took over: nothing to do here",
            )
        self._advanced = origin, row, since

    # --- sets ---

    def write(self, batch: TableBatch) -> None:
        sql = self._for(batch.table)
        key = batch.table.key
        # All values are converted before the first is sent.
        work = [("delete", sql.batches(_bound(sql, key, batch.deletes), sql.delete))]
        for columns, rows in batch.updates.items():
            bound = _bound(sql, (*key, *columns), rows)

            def update(empty: frozenset[int], columns: Sequence[str] = columns) -> Statement:
                return sql.update(columns, empty)

            work.append(("update", sql.batches(bound, update)))
        work.append(("insert", sql.batches(_bound(sql, sql.names, batch.inserts), sql.insert)))
        for what, batches in work:
            self._send(sql, what, batches)

    def replace(self, batch: TableBatch) -> None:
        sql = self._for(batch.table)
        key = batch.table.key
        inserts = _bound(sql, sql.names, batch.inserts)
        touched = _bound(sql, key, batch.deletes)
        images: list[Bound] = []
        for columns, rows in batch.updates.items():
            bound = _bound(sql, (*key, *columns), rows)
            touched += [row[: len(key)] for row in bound]
            images += self._images(sql, columns, bound)
        self._send(sql, "delete", sql.batches(touched, sql.delete))
        self._send(sql, "insert", sql.batches([*images, *inserts], sql.insert))

    def _images(
        self, sql: Statements, columns: Sequence[str], rows: Sequence[Bound]
    ) -> list[Bound]:
        """Complete rows: what the change did not say is read from the rows that are there."""
        key = sql.table.key
        said = (*key, *columns)
        missing = [name for name in sql.names if name not in said]
        fetch = sql.fetch(missing) if missing else None
        images = []
        for row in rows:
            values = dict(zip(said, row, strict=True))
            if fetch is not None:
                kept = self._kept(sql, missing, fetch, row[: len(key)])
                values.update(zip(missing, kept, strict=True))
            images.append(tuple(values[name] for name in sql.names))
        return images

    def _kept(self, sql: Statements, names: Sequence[str], fetch: Statement, key: Bound) -> Bound:
        with self._told(f"table {sql.table.name}", sql.table), self._db.cursor() as cursor:
            fetch.declare(cursor)
            cursor.execute(fetch.text, list(key))
            found = cursor.fetchmany(2)
        if len(found) != 1:
            raise RowMissing(
                f"{sql.table.name}: {len(found)} rows have the key of one to be replaced"
            )
        return sql.kept(names, found[0])

    def _send(self, sql: Statements, what: str, batches: Sequence[Batch]) -> None:
        """Execute for each row; RowMissing where one did not meet exactly one row."""
        count = sum(len(batch.rows) for batch in batches)
        for batch in batches:
            for rows, places in batch.pieces():
                for place, met in zip(
                    places, self._executed(sql, what, batch, rows, places, count), strict=True
                ):
                    if met != 1:
                        raise RowMissing(f"{_row(sql.table, what, place, count)} met {met} rows")

    def _executed(
        self,
        sql: Statements,
        what: str,
        batch: Batch,
        rows: list[list[Bind]],
        places: list[int],
        count: int,
    ) -> list[int]:
        """Tell how many rows each met; raise the first row's error, whatever became of the others: all roll back."""
        with self._told(f"table {sql.table.name}", sql.table), self._db.cursor() as cursor:
            batch.statement.declare(cursor)
            # Without batcherrors the driver forgets to ask for the counts when it executes a statement again.
            cursor.executemany(
                batch.statement.text,
                rows if batch.statement.types else len(rows),
                batcherrors=True,
                arraydmlrowcounts=True,
            )
            errors = sorted(cursor.getbatcherrors(), key=lambda error: error.offset)
            counts = list(cursor.getarraydmlrowcounts())
        if errors:
            what = _row(sql.table, what, places[errors[0].offset], count)
            self._tell(oracledb.DatabaseError(errors[0]), what, sql.table)
        return counts

    # --- single changes ---

    def one(self, change: Change, table: Table) -> None:
        sql = self._for(table)
        if change.op is Op.TRUNCATE:
            with self._told(f"table {table.name}", table), self._db.cursor() as cursor:
                cursor.execute(sql.delete_all())
        elif change.op is Op.INSERT:
            row = _bound(sql, sql.names, [self._row(change, change.after, table)])
            self._send(sql, "insert", sql.batches(row, sql.insert))
        elif table.key:
            self._one_by_key(change, sql)
        else:
            self._one_without_key(change, sql)

    def _one_by_key(self, change: Change, sql: Statements) -> None:
        table = sql.table
        old, new = self._shape(table).keys(change)
        if old is None:
            raise Unsupported(f"table {table.name}: a change came without a key")
        if change.op is Op.DELETE:
            self._send(sql, "delete", sql.batches(_bound(sql, table.key, [old]), sql.delete))
            return
        after = dict(zip(sql.names, self._row(change, change.after, table), strict=True))
        after.update(zip(table.key, new or old, strict=True))
        columns = tuple(
            name
            for name in sql.names
            if after[name] is not UNCHANGED and (name not in table.key or old != new)
        )
        row = (*old, *(after[name] for name in columns))
        bound = _bound(sql, (*table.key, *columns), [row])
        self._send(sql, "update", sql.batches(bound, lambda empty: sql.update(columns, empty)))

    def _one_without_key(self, change: Change, sql: Statements) -> None:
        table = sql.table
        before = sql.before(self._row(change, change.before, table))
        if change.op is Op.DELETE:
            statement, values = sql.delete_one(before)
        else:
            statement, values = sql.update_one(before, self._row(change, change.after, table))
        batch = Batch(statement, [values], [0])
        self._send(sql, str(change.op.name).lower(), [batch])

    def _row(self, change: Change, row: Row | None, table: Table) -> Row:
        if row is None:
            raise Unsupported(
                f"table {table.name}: a change came without the row that it changes",
                hint="a table without a key needs replica identity full at the origin",
            )
        return self._shape(table).arrange(change, row)

    def _shape(self, table: Table) -> Shape:
        if table.name not in self._shapes:
            self._shapes[table.name] = Shape(table)
        return self._shapes[table.name]

    def _for(self, table: Table) -> Statements:
        found = self._statements.get(table.name)
        if found is not None and (found.table is table or found.table == table):
            return found
        of = self._known_tables().get(table.name)
        if of is None:
            raise changed(table, "it is not among the selected tables any more")
        if of.refusals:
            raise Unsupported(
                f"table {table.name}: {of.refusals[0].message}",
                reason=of.refusals[0].reason,
                hint=of.refusals[0].remedy,
            )
        self._shapes.pop(table.name, None)
        self._statements[table.name] = found = Statements(of, table)
        return found

    def _known_tables(self) -> dict[TableName, OracleTable]:
        """The selected tables, read once. What of the application's would get in the way is disabled before that."""
        if self._tables is None:
            from bowline_worker.endpoints.oracle import disabling

            # That is DDL, and waits for other sessions, which may wait for the lane's row: so it is given up for it.
            # Nothing else was written yet in the first transaction that comes here.
            advanced = self._advanced
            self.rollback()
            disabling.disable(self._site)
            found = catalog.tables(self._site, terms=self._terms)
            self.begin()
            if advanced is not None:
                origin, row, since = advanced
                self.advance(origin, row, since=since)
            self._tables = {one.table.name: one for one in found}
            self._look_due = time.monotonic() + LOOK_SECONDS
        return self._tables

    # --- what is told ---

    def _tell_tally(self) -> None:
        """Say which values the policy changed in what is committed now."""
        for (table, column, kind), count in self._terms.tally.items():
            fields = {"table": str(table), "column": column, "kind": str(kind), "values": count}
            log.warning("values that oracle can't hold were changed", extra={"fields": fields})
        if self._terms.tally:
            # Another one, and not more in the same: the report reads it in another thread.
            counts = {
                (str(table), column, str(kind)): count
                for (table, column, kind), count in self._terms.tally.items()
            }
            self.changed = self.changed + ChangedCounts(counts)
        self._terms.tally.clear()

    @contextmanager
    def _told(self, what: str, table: Table | None = None) -> Iterator[None]:
        try:
            yield
        except oracledb.Error as error:
            self._tell(error, what, table)

    def _tell(self, error: oracledb.Error, what: str, table: Table | None) -> NoReturn:
        found = meant(self._site, error, what, table, is_alive=self._db.is_healthy())
        # A row's values, which a refusal's message may hold, don't come along in its traceback.
        raise found from (None if isinstance(found, RowConflict) else error)


def _bound(sql: Statements, names: Sequence[str], rows: Sequence[Row]) -> list[Bound]:
    return [sql.values(names, row) for row in rows]


def _row(table: Table, what: str, place: int, count: int) -> str:
    """Name a row of a set: by its place and its key's columns, never by its values."""
    known = f"key columns {', '.join(table.key)}" if table.key else "no key"
    return f"{table.name}: {what} of row {place + 1} of {count} ({known})"
