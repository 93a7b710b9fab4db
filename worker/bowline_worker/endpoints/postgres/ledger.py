"""The snapshot's ledger in the receiver: which chunks there are, and which are done, with their rows.

Locks: `copy` holds its chunk's row (for update) and its table's row (for key share), `plan` its table's row (for
update), so a table is never emptied under a worker that fills it. A table is found to be finished in a transaction of
its own, afterwards: two workers that end its last two chunks at once don't see each other's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import psycopg
from psycopg import errors

from bowline_worker.conflicts import again, through_conflicts
from bowline_worker.contract import (
    SnapshotReport,
    TableProgress,
    TryAgain,
    Unsafe,
    Unsupported,
)
from bowline_worker.endpoints import origins
from bowline_worker.endpoints.base import Chunk, Reader
from bowline_worker.endpoints.postgres.catalog import records
from bowline_worker.endpoints.postgres.connection import (
    CONFLICTS,
    connect,
    copy_target,
    one_line,
    quote,
    translated,
)
from bowline_worker.endpoints.postgres.copying import copy_in
from bowline_worker.endpoints.postgres.enums import missing_value
from bowline_worker.endpoints.postgres.relay import Relaying
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Position, Table, TableName

#: `finish` commits synchronously, which flushes all WAL before it: until then, a chunk that a crash of the server takes
#: back is taken back with its mark, and copied again.
SETTINGS = """
set session_replication_role = replica;
set synchronous_commit = off;
set row_security = off"""

ENTER = """
insert into bowline.copied (migration, table_schema, table_name, position, rows_estimated, bytes_estimated)
values (%(migration)s, %(schema)s, %(name)s, %(position)s, %(rows)s, %(bytes)s)
on conflict do nothing returning true"""
ENTERED = """
select position, finished,
       not exists (select from bowline.chunk c where c.migration = t.migration
                   and c.table_schema = t.table_schema and c.table_name = t.table_name
                   and not c.done) as is_done
from bowline.copied t
where migration = %(migration)s and table_schema = %(schema)s and table_name = %(name)s"""
ENTER_AGAIN = """
update bowline.copied
set position = %(position)s, rows_estimated = %(rows)s, bytes_estimated = %(bytes)s, finished = false
where migration = %(migration)s and table_schema = %(schema)s and table_name = %(name)s"""
FORGET_CHUNKS = """
delete from bowline.chunk
where migration = %(migration)s and table_schema = %(schema)s and table_name = %(name)s"""
ADD_CHUNKS = """
insert into bowline.chunk (migration, table_schema, table_name, ordinal, range)
select %(migration)s, %(schema)s, %(name)s, c.ordinal, c.range
from unnest(%(chunks)s::text[]) with ordinality c (range, ordinal)"""

TAKE = """
select c.table_schema as schema, c.table_name as name, c.ordinal, c.range
from bowline.chunk c
join bowline.copied t on t.migration = c.migration and t.table_schema = c.table_schema
    and t.table_name = c.table_name
where c.migration = %s and not c.done and not t.finished and t.position = %s
order by t.bytes_estimated desc, c.table_schema, c.table_name, c.ordinal
limit 1
for update of c skip locked for key share of t skip locked"""
DONE = """
update bowline.chunk set done = true, rows = %s, bytes = %s, done_at = clock_timestamp()
where migration = %s and table_schema = %s and table_name = %s and ordinal = %s and not done"""

LOOKS_DONE = """
select t.table_schema as schema, t.table_name as name from bowline.copied t
where t.migration = %s and not t.finished
  and not exists (select from bowline.chunk c where c.migration = t.migration
                  and c.table_schema = t.table_schema and c.table_name = t.table_name and not c.done)
for no key update skip locked"""
FINISH_TABLE = """
update bowline.copied t set finished = true
where t.migration = %(migration)s and t.table_schema = %(schema)s and t.table_name = %(name)s
  and not exists (select from bowline.chunk c where c.migration = t.migration
                  and c.table_schema = t.table_schema and c.table_name = t.table_name and not c.done)"""

UNFINISHED = """
select table_schema as schema, table_name as name from bowline.copied
where migration = %s and not finished order by 1, 2"""
POSITIONS = """
select table_schema as schema, table_name as name, position from bowline.copied where migration = %s"""
MARK = """
insert into bowline.mark (migration, mark) values (%s, %s) on conflict do nothing"""
MARKS = """
select mark from bowline.mark where migration = %s"""
PROGRESS = """
select t.table_schema || '.' || t.table_name as name, t.finished, t.rows_estimated, t.bytes_estimated,
       count(c)::int8 as chunks, count(c) filter (where c.done)::int8 as chunks_done,
       coalesce(sum(c.rows) filter (where c.done), 0)::int8 as rows,
       coalesce(sum(c.bytes) filter (where c.done), 0)::int8 as bytes
from bowline.copied t
left join bowline.chunk c on c.migration = t.migration and c.table_schema = t.table_schema
    and c.table_name = t.table_name
where t.migration = %s
group by t.migration, t.table_schema, t.table_name order by 1"""

SNAPSHOT_MARK = "snapshot"
POST_DATA_MARK = "post-data"


def positions(site: Site) -> Mapping[TableName, Position]:
    """Per table, the position that its copied rows show."""
    with translated(site, "could not read the ledger"), connect(site) as connection:
        return {
            TableName(row["schema"], row["name"]): _position(site, row["position"])
            for row in records(connection, POSITIONS, (site.migration,))
        }


def progress(site: Site) -> SnapshotReport:
    """What the ledger says is done; rates are the role's to know."""
    with translated(site, "could not read the ledger"), connect(site) as connection:
        tables = [
            TableProgress(done=row.pop("finished"), **row)
            for row in records(connection, PROGRESS, (site.migration,))
        ]
        marks = {row["mark"] for row in records(connection, MARKS, (site.migration,))}
    return SnapshotReport(
        tables=tables, complete=SNAPSHOT_MARK in marks, post_data=POST_DATA_MARK in marks
    )


class PostgresLedger:
    """See base.Ledger. One thread."""

    def __init__(self, site: Site) -> None:
        self._site = site
        with translated(site, "could not open the ledger"):
            self._connection = connect(site)
            try:
                self._connection.execute(SETTINGS.encode())
            except BaseException:
                self._connection.close()
                raise

    @again
    def plan(self, table: Table, position: Position, chunks: Sequence[str]) -> bool:
        """Enter a table's chunks; a table that stands unfinished at an older position is emptied. See base.Ledger."""
        values = {
            **self._name(table.name),
            "position": position.text,
            "rows": table.estimated_rows,
            "bytes": table.estimated_bytes,
            "chunks": list(chunks),
        }
        with (
            translated(self._site, f"could not plan {table.name}"),
            self._connection.transaction(),
        ):
            if self._connection.execute(ENTER.encode(), values).fetchone():
                self._require_empty(table.name)
            else:
                # Two statements: what is seen beside the row must be from after its lock.
                self._connection.execute(f"{ENTERED} for update".encode(), values)
                (entered,) = records(self._connection, ENTERED, values)
                if entered["finished"] or position <= _position(self._site, entered["position"]):
                    return False
                if entered["is_done"]:
                    self._connection.execute(FINISH_TABLE.encode(), values)
                    return False
                self._empty(table.name)
                self._connection.execute(FORGET_CHUNKS.encode(), values)
                self._connection.execute(ENTER_AGAIN.encode(), values)
            self._connection.execute(ADD_CHUNKS.encode(), values)
            return True

    def copy(
        self, reader: Reader, tables: Mapping[TableName, Table], *, binary: frozenset[TableName]
    ) -> Chunk | None:
        """Copy one chunk; its rows and its mark commit together. See base.Ledger."""
        chunk = through_conflicts(lambda: self._copy_once(reader, tables, binary))
        if chunk is not None:
            through_conflicts(self._settle)
        return chunk

    def _copy_once(
        self, reader: Reader, tables: Mapping[TableName, Table], binary: frozenset[TableName]
    ) -> Chunk | None:
        with (
            translated(self._site, "could not copy a chunk"),
            self._connection.transaction(),
        ):
            taken = records(self._connection, TAKE, (self._site.migration, reader.position.text))
            if not taken:
                return None
            (row,) = taken
            name = TableName(row["schema"], row["name"])
            chunk = Chunk(table=name, ordinal=row["ordinal"], text=row["range"])
            if name not in tables:
                raise Unsafe(
                    f"{name} is in the snapshot and not among the selected tables any more",
                    reason="SchemaChanged",
                )
            rows, size = self._relay(reader, tables[name], chunk, binary=name in binary)
            self._connection.execute(
                DONE.encode(),
                (rows, size, self._site.migration, name.schema, name.name, chunk.ordinal),
            )
        return chunk

    def _relay(
        self, reader: Reader, table: Table, chunk: Chunk, *, binary: bool
    ) -> tuple[int, int]:
        form = "binary" if binary else "text"
        statement = f"copy {copy_target(table)} from stdin (format {form})"
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for buffer in buffers:
                size += len(buffer)
                yield buffer

        read = reader.relay if isinstance(reader, Relaying) else reader.read
        buffers = read(table, chunk.text, binary=binary)
        try:
            rows = copy_in(self._connection, statement, counted())
        except psycopg.Error as error:
            if isinstance(error, CONFLICTS):
                # A reader that is left in the middle of a chunk loses its view, and the chunk will be read again.
                for _ in buffers:
                    pass
            where = f"{table.name}, chunk {chunk.text}"
            refused = missing_value(self._site, where, error) or _refused(where, error)
            if refused is not None:
                raise refused from error
            with translated(self._site, f"could not copy {where}"):
                raise
        if rows != reader.rows:
            raise Unsafe(
                f"{table.name}, chunk {chunk.text}: {reader.rows} rows were sent and {rows} were taken",
                reason="RowsDiffer",
                hint="look for triggers that are enabled ALWAYS or REPLICA on the target's table",
            )
        return rows, size

    @again
    def unfinished(self) -> list[TableName]:
        """Tables that were entered and have chunks that are not done."""
        with translated(self._site, "could not read the ledger"):
            self._settle()
            found = records(self._connection, UNFINISHED, (self._site.migration,))
            return [TableName(row["schema"], row["name"]) for row in found]

    def finish(self) -> None:
        """Record that the snapshot is complete, durably: this flushes what the chunks committed."""
        if missing := self.unfinished():
            raise TryAgain(f"the snapshot of {missing[0]} and {len(missing) - 1} more is not done")
        self._mark(SNAPSHOT_MARK)

    def finish_post_data(self) -> None:
        """Record that indexes, constraints and triggers are there."""
        self._mark(POST_DATA_MARK)

    def close(self) -> None:
        """End the session; a chunk that was under way is as if it had not begun."""
        self._connection.close()

    @again
    def _mark(self, mark: str) -> None:
        with (
            translated(self._site, "could not record the snapshot's end"),
            self._connection.transaction(),
        ):
            self._connection.execute(b"set local synchronous_commit = on")
            self._connection.execute(MARK.encode(), (self._site.migration, mark))

    def _settle(self) -> None:
        """Mark the tables whose chunks are all done. A table that another session looks at is left to that one."""
        with (
            translated(self._site, "could not mark a table as copied"),
            self._connection.transaction(),
        ):
            for row in records(self._connection, LOOKS_DONE, (self._site.migration,)):
                self._connection.execute(
                    FINISH_TABLE.encode(), self._name(TableName(row["schema"], row["name"]))
                )

    def _require_empty(self, name: TableName) -> None:
        table = quote(name.schema, name.name)
        query = f"select exists (select from only {table})"
        if self._connection.execute(query.encode()).fetchone() == (True,):
            raise Unsupported(
                f"{name} has rows on the {self._site.side} before the snapshot",
                reason="TargetNotEmpty",
                hint=f"empty it if they are not needed: truncate {table}",
            )

    def _empty(self, name: TableName) -> None:
        table = quote(name.schema, name.name)
        try:
            with self._connection.transaction():
                self._connection.execute(f"truncate only {table}".encode())
        except errors.FeatureNotSupported:
            # A foreign key of an existing schema refers to it; they don't fire in this session.
            self._connection.execute(f"delete from only {table}".encode())

    def _name(self, name: TableName) -> dict[str, object]:
        return {"migration": self._site.migration, "schema": name.schema, "name": name.name}


def _position(site: Site, text: str) -> Position:
    """A snapshot is always of the source."""
    return origins.position(site.config.source.engine, text)


def _refused(where: str, error: psycopg.Error) -> Unsupported | None:
    """Name a row's or a shape's refusal without the row's values, which messages of class 22 hold."""
    state = error.sqlstate or ""
    if state.startswith("22"):
        found = re.search(r", column ([^:]+):", error.diag.context or "")
        column = f" in column {found[1]}" if found else ""
        return Unsupported(
            f"{where}: the target refuses a value{column}: {type(error).__name__} ({state})",
            reason="RowRefused",
        )
    if state.startswith("23"):
        return Unsupported(f"{where}: {one_line(error)} ({state})", reason="RowRefused")
    if state.startswith("42") and state != errors.InsufficientPrivilege.sqlstate:
        return Unsupported(f"{where}: {one_line(error)} ({state})", reason="SchemaDiffers")
    return None
