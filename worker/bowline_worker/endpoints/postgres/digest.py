"""Digests of rows, made by the database itself: one scan a table, and only numbers travel.

A row's text is that of a record of its written columns, in the order of their names: the same on both sides whatever
order their tables have, with NULL unlike an empty text, and without any collation. Sums make the order of rows not
matter and count duplicates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bowline_worker.endpoints.base import BucketDigest
from bowline_worker.endpoints.postgres.connection import connect, quote, translated
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Table

#: Another seed than the buckets': rows of one bucket would have alike digests otherwise.
ROW_SEED = 0
KEY_SEED = 7


def digests(site: Site, table: Table, buckets: int) -> Mapping[int, BucketDigest]:
    """Digest all rows, split by a hash of their key; a bucket without rows is left out."""
    query = (
        f"select {_bucket(table, buckets)}, count(*), sum({_hash(_row(table), ROW_SEED)})::text"
        f" from only {quote(table.name.schema, table.name.name)} group by 1"
    )
    rows = _fetch(site, table, query)
    return {bucket: BucketDigest(rows=count, digest=total) for bucket, count, total in rows}


def bucket_rows(site: Site, table: Table, buckets: int, bucket: int) -> Mapping[str, Sequence[str]]:
    """Per key, digests of the rows that have it. Without a key, a row's digest is its key: no value is told."""
    digest = f"{_hash(_row(table), ROW_SEED)}::text"
    key = f"{_record(table.key)}::text" if table.key else digest
    query = (
        f"select {key}, {digest} from only {quote(table.name.schema, table.name.name)}"
        f" where {_bucket(table, buckets)} = {int(bucket)}"
    )
    found: dict[str, list[str]] = {}
    for name, value in _fetch(site, table, query):
        found.setdefault(name, []).append(value)
    return {name: sorted(values) for name, values in found.items()}


def _fetch(site: Site, table: Table, query: str) -> list[tuple[Any, ...]]:
    with connect(site) as connection, translated(site, f"digest of {table.name}"):
        # Policies must not hide rows from the comparison: an error is better.
        connection.execute("set row_security = off")
        # Compiling costs more than a scan of a million rows gains, and the fence waits for it.
        connection.execute("set jit = off")
        return connection.execute(query.encode()).fetchall()


def _row(table: Table) -> str:
    return f"{_record(sorted(column.name for column in table.written))}::text"


def _record(columns: Sequence[str]) -> str:
    return f"row({', '.join(quote(column) for column in columns)})"


def _hash(text: str, seed: int) -> str:
    return f'hashtextextended({text} collate "C", {seed})'


def _bucket(table: Table, buckets: int) -> str:
    text = f"{_record(table.key)}::text" if table.key else _row(table)
    return f"(({_hash(text, KEY_SEED)} & 2147483647) % {int(buckets)})::int"
