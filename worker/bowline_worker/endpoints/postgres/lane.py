"""One lane's session in a PostgreSQL receiver: application triggers, foreign keys and rules don't fire in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import errors, pq

from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.conflicts import through_conflicts
from bowline_worker.contract import Conflict, FencedOut, Side, TryAgain, Unsupported
from bowline_worker.endpoints.base import ChangedCounts, RowConflict, RowMissing, TableBatch
from bowline_worker.endpoints.postgres.connection import connect, one_line, translated
from bowline_worker.endpoints.postgres.enums import missing_value
from bowline_worker.endpoints.postgres.flavour import flavour_of
from bowline_worker.endpoints.postgres.sessions import own_backend
from bowline_worker.endpoints.postgres.statements import (
    REFERENCED,
    TYPES,
    BaseType,
    Statements,
    arrays,
    copy_lines,
)
from bowline_worker.endpoints.site import Site
from bowline_worker.fold import Shape
from bowline_worker.model import UNCHANGED, Change, Op, Row, Table, TableName, Value

#: Plans are made once, for any number of rows, when tables may still be empty: they must use the key's index.
#: A forbidden plan's cost would start the JIT. `row_security` off: rows that a policy hides are an error.
SETTINGS = """
set session_replication_role = replica;
set plan_cache_mode = force_generic_plan;
set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off;
set row_security = off;
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'"""

BEGIN = b"begin isolation level read committed read write"

#: The effect's place is in the effect's transaction, and only of this generation: else no row.
ADVANCE = """
update bowline.lane set block = $1, passed = $2, barrier = $3, probe = $4, canary = $5, events = $6,
    discarded = $7, position = $8, beat = $15
where migration = $9 and origin = $10 and lane = $11 and number = $12 and generation = $13 and block = $14"""

STANDS = """
select from bowline.lane
where migration = $1 and origin = $2 and lane = $3 and number = $4 and generation = $5 and block = $6"""

#: From this many rows on, COPY is faster than arrays.
COPY_ROWS = 200
#: Statements kept prepared in one session; a server keeps tens of kilobytes for each.
PREPARED = 500

#: SQLSTATE classes of values and rows that the receiver refuses: data, integrity, limits (an index entry's size).
REFUSED = ("22", "23", "54")


class PostgresLane:
    """See base.LaneSession. One thread at a time."""

    def __init__(self, site: Site, stream: StreamId) -> None:
        self._site = site
        self._stream = stream
        self._connection = connect(site)
        try:
            with translated(site, "could not prepare an apply session"):
                self._connection.execute(SETTINGS.encode())
                self.backend = own_backend(self._connection)
                self.changed = ChangedCounts()
        except BaseException:
            self._connection.close()
            raise
        self._pgconn = self._connection.pgconn
        self._prepared: dict[str, bytes] = {}
        self._statements: dict[TableName, Statements] = {}
        self._shapes: dict[TableName, Shape] = {}
        self._place: list[bytes] = []  #: what `advance` recorded in the open transaction

    def begin(self) -> None:
        self._place = []
        self._simple(BEGIN)

    def commit(self) -> None:
        """Commit; RowConflict where a deferred constraint refuses. After TryAgain it may have been done, or not.

        Not so after a Conflict: the place was read back, and nothing was done.
        """
        try:
            with self._refusals("at commit"):
                result = self._checked(self._pgconn.exec_(b"commit"))
        except Conflict:
            if self._has_committed():
                return
            raise
        if result.command_status != b"COMMIT":
            raise TryAgain(f"{self._site.side}: the transaction was rolled back, not committed")

    def rollback(self) -> None:
        if self._pgconn.status == pq.ConnStatus.OK:
            self._simple(b"rollback")

    def close(self) -> None:
        self._connection.close()

    def _has_committed(self) -> bool:
        """Tell whether the transaction whose commit failed stands all the same: its place tells."""
        self.rollback()
        if not self._place:
            return False
        return through_conflicts(self._stands) == 1

    def _stands(self) -> int:
        with translated(self._site, "could not read a lane's place back"):
            return self._checked(self._pgconn.exec_params(STANDS.encode(), self._place)).ntuples

    def advance(self, origin: Side, row: LaneRow, *, since: int) -> None:
        """See base; it takes the row's lock too, so that no other generation gets in until the end."""
        where = (self._site.migration, origin, row.lane, row.number, row.generation, since)
        values = (row.block, row.passed, row.barrier, row.probe, row.canary, row.events)
        parameters = [
            str(value).encode()
            for value in (*values, row.discarded, row.position, *where, row.beat)
        ]
        with translated(self._site, f"lane {row.lane}"):
            result = self._run(ADVANCE, parameters)
        if result.command_tuples != 1:
            raise FencedOut(
                f"lane {row.lane} of {self._stream} is not at block {since} in generation "
                f"{row.generation} any more",
                hint="another apply process took over: nothing to do here",
            )
        # A row that stands still tells nothing: it is there before the commit, too.
        self._place = [] if row.block == since else [*parameters[8:13], parameters[0]]

    # --- sets ---

    def write(self, batch: TableBatch) -> None:
        with self._refusals(batch.table.name):
            sql = self._for(batch.table)
            if batch.deletes:
                self._set(sql.delete(), batch.deletes, sql, "delete")
            for columns, rows in batch.updates.items():
                if self._has_fixed(batch.table, columns):
                    self.replace(TableBatch(table=batch.table, updates={columns: rows}))
                else:
                    self._set(sql.update(columns), rows, sql, "update")
            self._insert(sql, batch.inserts)

    def replace(self, batch: TableBatch) -> None:
        key = len(batch.table.key)
        with self._refusals(batch.table.name):
            sql = self._for(batch.table)
            images = []
            for columns, rows in batch.updates.items():
                images += self._images(sql, columns, rows)
            keys = [row[:key] for rows in batch.updates.values() for row in rows]
            if touched := [*batch.deletes, *keys]:
                self._set(sql.delete(), touched, sql, "delete")
            self._insert(sql, [*images, *batch.inserts])

    def _images(self, sql: Statements, columns: Sequence[str], rows: Sequence[Row]) -> list[Row]:
        """Complete rows: what the change did not say is read from the rows that are there."""
        key = sql.table.key
        known = (*key, *columns)
        missing = [name for name in sql.names if name not in known]
        kept: list[list[Value]] = [[] for _ in rows]
        if missing:
            result = self._run(sql.fetch(missing), arrays([row[: len(key)] for row in rows]))
            if result.ntuples != len(rows):
                raise RowMissing(f"{sql.table.name}: {result.ntuples} of {len(rows)} rows found")
            kept = [
                [result.get_value(at, column) for column in range(len(missing))]
                for at in range(len(rows))
            ]
        images = []
        for row, rest in zip(rows, kept, strict=True):
            values = dict(zip((*known, *missing), (*row, *rest), strict=True))
            images.append(tuple(values[name] for name in sql.names))
        return images

    def _insert(self, sql: Statements, rows: Sequence[Row]) -> None:
        if len(rows) >= COPY_ROWS:
            with self._connection.cursor() as cursor:
                with cursor.copy(sql.copy().encode()) as copy:
                    copy.write(b"".join(copy_lines(rows)))
                self._expect(cursor.rowcount, rows, sql, "insert")
        elif rows:
            self._set(sql.insert(), rows, sql, "insert")

    def _set(self, text: str, rows: Sequence[Row], sql: Statements, what: str) -> None:
        self._expect(self._run(text, arrays(rows)).command_tuples, rows, sql, what)

    def _expect(
        self, count: int | None, rows: Sequence[object], sql: Statements, what: str
    ) -> None:
        if count != len(rows):
            raise RowMissing(f"{sql.table.name}: {what} met {count} of {len(rows)} rows")

    def _has_fixed(self, table: Table, columns: Sequence[str]) -> bool:
        # UPDATE can't set an identity that is always generated; INSERT can, when it says so.
        return any(column.identity_always and column.name in columns for column in table.columns)

    # --- single changes ---

    def one(self, change: Change, table: Table) -> None:
        with self._refusals(table.name):
            sql = self._for(table)
            if change.op is Op.TRUNCATE:
                name = [table.name.schema.encode(), table.name.name.encode()]
                referenced = self._run(REFERENCED, name).get_value(0, 0) == b"t"
                self._run(sql.truncate(referenced=referenced), [])
            elif change.op is Op.INSERT:
                self._insert(sql, [self._row(change, change.after, table)])
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
            self._set(sql.delete(), [old], sql, "delete")
            return
        after = dict(zip(sql.names, self._row(change, change.after, table), strict=True))
        after.update(zip(table.key, new or old, strict=True))
        columns = tuple(
            name
            for name in sql.names
            if after[name] is not UNCHANGED and (name not in table.key or old != new)
        )
        row = (*old, *(after[name] for name in columns))
        if self._has_fixed(table, columns):
            # Images take the new key from `columns`: the old one only finds the row.
            (image,) = self._images(sql, columns, [row])
            self._set(sql.delete(), [old], sql, "delete")
            self._insert(sql, [image])
        else:
            self._set(sql.update(columns), [row], sql, "update")

    def _one_without_key(self, change: Change, sql: Statements) -> None:
        before = self._row(change, change.before, sql.table)
        if change.op is Op.DELETE:
            text, parameters = sql.delete_found(before)
        else:
            after = self._row(change, change.after, sql.table)
            text, parameters = sql.update_found(before, after)
        values = [value if isinstance(value, bytes) else None for value in parameters]
        # Not prepared: the text differs with every pattern of nulls.
        result = self._checked(self._pgconn.exec_params(text.encode(), values))
        self._expect(result.command_tuples, [change], sql, change.op)

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
        """Look the table's types up once: the model knows their names, not what domains and operators stand for."""
        if table.name not in self._statements:
            result = self._run(TYPES, [table.name.schema.encode(), table.name.name.encode()])
            types = {}
            for at in range(result.ntuples):
                name, *rest = ((result.get_value(at, i) or b"").decode() for i in range(5))
                types[name] = BaseType(*rest)
            self._statements[table.name] = Statements(
                table, types, flavour_of(self._connection).row_place
            )
        return self._statements[table.name]

    # --- the driver ---

    def _run(self, text: str, parameters: Sequence[bytes]) -> pq.abc.PGresult:
        """Run a statement, prepared on first use."""
        name = self._prepared.get(text)
        if name is None:
            if len(self._prepared) >= PREPARED:
                self._simple(b"deallocate all")
                self._prepared.clear()
            name = b"bowline_%d" % len(self._prepared)
            self._checked(self._pgconn.prepare(name, text.encode()))
            self._prepared[text] = name
        kind = pq.Format.BINARY if "::text[]" in text else pq.Format.TEXT
        formats = [kind] * len(parameters)
        return self._checked(self._pgconn.exec_prepared(name, parameters, formats))

    def _simple(self, text: bytes) -> None:
        with translated(self._site):
            self._checked(self._pgconn.exec_(text))

    def _checked(self, result: pq.abc.PGresult) -> pq.abc.PGresult:
        if self._pgconn.status != pq.ConnStatus.OK:
            raise TryAgain(
                f"lost the connection to the {self._site.side} at {self._site.place}",
                reason="ConnectionLost",
            )
        if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            raise errors.error_from_result(result)
        return result

    @contextmanager
    def _refusals(self, what: TableName | str) -> Iterator[None]:
        """Tell what the receiver refuses, never with its message: that may hold the row's values."""
        with translated(self._site, f"table {what}"):
            try:
                yield
            except psycopg.Error as error:
                self._tell(what, error)
                raise

    def _tell(self, what: TableName | str, error: psycopg.Error) -> None:
        if (missing := missing_value(self._site, f"table {what}", error)) is not None:
            raise missing from None
        state = error.sqlstate or ""
        place = error.diag.constraint_name or error.diag.column_name or ""
        if state.startswith(REFUSED):
            kind = type(error).__name__
            raise RowConflict(f"{what}: {kind} {place}".rstrip()) from None
        if state.startswith("42") and not isinstance(error, errors.InsufficientPrivilege):
            raise Unsupported(
                f"{self._site.side}: table {what}: {one_line(error)}",
                reason="SchemaChanged",
                hint="make the table as it was when the migration began, then start the stream again",
            ) from error
