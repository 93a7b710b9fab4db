"""Digests of rows as `digests` defines them: Oracle's rows are fetched, and put into PostgreSQL's texts here.

One digest is one statement, so all its rows are of one instant: Oracle shows a statement what was committed when it
began, however long it is fetched. Flashback as of the current SCN would show no more, needs a privilege on the target,
and fails for some seconds after DDL (ORA-01466), of which there is some around a switch: triggers and foreign keys.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Final

import oracledb

from bowline_worker.contract import TryAgain, Unsupported
from bowline_worker.endpoints.base import BucketDigest
from bowline_worker.endpoints.digests import Values, record_columns, rows_of_bucket, summed
from bowline_worker.endpoints.oracle import catalog, naming
from bowline_worker.endpoints.oracle.connection import connect, one_line, quote, translated
from bowline_worker.endpoints.oracle.dictionary import Place, records
from bowline_worker.endpoints.oracle.snapshot import (
    LONG_ROWS_AT_ONCE,
    ROWS_AT_ONCE,
    TOO_OLD,
    FlashbackTable,
    selected,
    with_empty_lobs,
)
from bowline_worker.endpoints.oracle.types import OracleColumn, OracleType, Refusal, Terms, kind_of
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Column, Table

#: Of one table, so that a schema of thousands is not read for each of them. A name has one or two spellings.
COLUMNS: Final = """
select c.owner, c.table_name, c.column_name, c.data_type, c.data_type_owner, c.data_type_mod, c.data_length,
       c.data_precision, c.data_scale, c.char_length, c.char_used, c.nullable, c.virtual_column, c.hidden_column,
       c.user_generated
from all_tab_cols c
where c.owner in (:owner, :upper_owner) and c.table_name in (:name, :upper_name)"""


def digests(
    site: Site, table: Table, buckets: int, *, terms: Terms | None = None
) -> Mapping[int, BucketDigest]:
    """Digest all rows, split by a hash of their key; a bucket without rows is left out."""
    with closing(_rows(site, table, terms or Terms())) as rows:
        return summed(rows, _key_places(table), buckets)


def bucket_rows(
    site: Site, table: Table, buckets: int, bucket: int, *, terms: Terms | None = None
) -> Mapping[str, Sequence[str]]:
    """Per key, digests of the rows that have it. Without a key, a row's digest is its key: no value is told."""
    with closing(_rows(site, table, terms or Terms())) as rows:
        return rows_of_bucket(rows, _key_places(table), buckets, bucket)


def _key_places(table: Table) -> list[int]:
    columns = record_columns(table)
    return [columns.index(name) for name in table.key]


def _rows(site: Site, table: Table, terms: Terms) -> Generator[Values]:
    """All rows in the texts of their record's columns. `table` may be the other side's description.

    TryAgain where the undo is gone before the end. ValueRefused for a value that has no exact counterpart.
    """
    with _translated(site, table), closing(connect(site)) as connection:
        found = _described(connection, site, table, terms)
        convert, lobs = [kind.from_driver for kind in found.types], found.lobs
        with connection.cursor() as cursor:
            size = LONG_ROWS_AT_ONCE if found.has_long_values else ROWS_AT_ONCE
            cursor.arraysize = cursor.prefetchrows = size
            cursor.execute(f"select {selected(found)} from {quote(found.owner, found.name)}")
            while batch := cursor.fetchmany():
                for row in batch:
                    values = with_empty_lobs(row, lobs) if lobs else row
                    yield tuple([of(value) for of, value in zip(convert, values, strict=True)])


def _described(
    connection: oracledb.Connection, site: Site, table: Table, terms: Terms
) -> FlashbackTable:
    """The table with the columns of its record, in that order."""
    schema, name = table.name.schema, table.name.name
    binds = {"owner": schema, "upper_owner": schema.upper()}
    binds |= {"name": name, "upper_name": name.upper()}
    columns: dict[Place, dict[str, OracleColumn]] = {}
    for row in records(connection, COLUMNS, binds):
        place = (row["OWNER"], row["TABLE_NAME"])
        if naming.neutral_table(*place) == table.name:
            column = OracleColumn.of(row)
            columns.setdefault(place, {})[naming.neutral(column.name)] = column
    places = catalog.selected(columns, site.config.include, site.config.exclude)
    if len(places) != 1:
        raise _differs(site, f"{len(places)} tables that {table.name} stands for, not one")
    (place,) = places
    wanted = {column.name: column for column in table.written}
    kinds = [_kind(site, wanted[of], columns[place], table, terms) for of in record_columns(table)]
    if not kinds:
        raise _differs(site, f"no column of {table.name} that rows carry")
    return FlashbackTable(owner=place[0], name=place[1], types=tuple(kinds))


def _kind(
    site: Site, wanted: Column, columns: Mapping[str, OracleColumn], table: Table, terms: Terms
) -> OracleType:
    if wanted.name not in columns:
        raise _differs(site, f"no column {wanted.name} of {table.name}")
    found = kind_of(columns[wanted.name], terms, as_boolean=wanted.type_name == "bool")
    if isinstance(found, Refusal):
        raise Unsupported(found.message, reason=found.reason, hint=found.remedy)
    return found


def _differs(site: Site, what: str) -> Unsupported:
    return Unsupported(
        f"{site.side} at {site.place} has {what}",
        reason="SchemaDiffers",
        hint="DDL has changed it, or the user lost SELECT on it",
    )


@contextmanager
def _translated(site: Site, table: Table) -> Iterator[None]:
    what = f"digest of {table.name}"
    with translated(site, what):
        try:
            yield
        except oracledb.Error as error:
            # A parallel query tells its own code (ORA-12801) first, and below it what a server of it met.
            if not any(code in str(error) for code in TOO_OLD):
                raise
            raise TryAgain(
                f"{site.side} at {site.place}: {what}: {one_line(error)}",
                reason="SnapshotTooOld",
                hint="raise undo_retention above the time that reading the whole table takes, with an undo tablespace"
                " that holds as much (of LOBs: their RETENTION)",
            ) from error
