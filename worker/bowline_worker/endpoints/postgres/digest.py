"""Digests of rows, made by the database itself: one scan a table, and only numbers travel.

A row's text is that of a record of its written columns, in the order of their names: the same on both sides whatever
order their tables have, with NULL unlike an empty text, and without any collation. Sums make the order of rows not
matter and count duplicates. Where the other side is of another engine, texts and hashes are those of `digests`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bowline_worker.contract import Config, Unsupported, Values
from bowline_worker.endpoints.base import BucketDigest
from bowline_worker.endpoints.digests import (
    BUCKET_BITS,
    HASH_BYTES,
    KEY_SEED,
    ROW_SEED,
    crosses_engines,
    record_columns,
)
from bowline_worker.endpoints.postgres.connection import connect, quote, translated
from bowline_worker.endpoints.postgres.replaced import as_in_oracle
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Column, Table

#: sha256() came with version 11.
SHA256_SINCE = 110000


def digests(site: Site, table: Table, buckets: int) -> Mapping[int, BucketDigest]:
    """Digest all rows, split by a hash of their key; a bucket without rows is left out."""
    sql = _Expressions(table, shared=_policy(site.config))
    query = (
        f"select {sql.bucket(buckets)}, count(*), sum({sql.digest})::text"
        f" from only {quote(table.name.schema, table.name.name)} group by 1"
    )
    rows = _fetch(site, table, query)
    return {bucket: BucketDigest(rows=count, digest=total) for bucket, count, total in rows}


def bucket_rows(site: Site, table: Table, buckets: int, bucket: int) -> Mapping[str, Sequence[str]]:
    """Per key, digests of the rows that have it. Without a key, a row's digest is its key: no value is told."""
    sql = _Expressions(table, shared=_policy(site.config))
    digest = f"{sql.digest}::text"
    query = (
        f"select {sql.key if table.key else digest}, {digest}"
        f" from only {quote(table.name.schema, table.name.name)}"
        f" where {sql.bucket(buckets)} = {int(bucket)}"
    )
    found: dict[str, list[str]] = {}
    for name, value in _fetch(site, table, query):
        found.setdefault(name, []).append(value)
    return {name: sorted(values) for name, values in found.items()}


def _fetch(site: Site, table: Table, query: str) -> list[tuple[Any, ...]]:
    with connect(site) as connection, translated(site, f"digest of {table.name}"):
        version = connection.info.server_version
        if crosses_engines(site.config) and version < SHA256_SINCE:
            raise Unsupported(
                f"{site.side}: the server's version is {version}, which has no sha256(): its rows can't be compared"
                " with another engine's",
                reason="ServerTooOld",
                hint="PostgreSQL 11 or newer has it",
            )
        # Policies must not hide rows from the comparison: an error is better.
        connection.execute("set row_security = off")
        # Compiling costs more than a scan of a million rows gains, and the fence waits for it.
        connection.execute("set jit = off")
        return connection.execute(query.encode()).fetchall()


def _policy(config: Config) -> Values | None:
    return config.values if crosses_engines(config) else None


class _Expressions:
    """The SQL of one table's digests; `shared` with another engine: the policy of what that can't hold."""

    def __init__(self, table: Table, *, shared: Values | None) -> None:
        self._shared = shared
        # What tells rows apart is never changed, and without a key that is all.
        self._kept = frozenset(table.key or record_columns(table))
        columns = {column.name: column for column in table.columns}
        row = self._record(columns[name] for name in record_columns(table))
        self.key = self._record(columns[name] for name in table.key) if table.key else row
        self.digest = self._hash(row, ROW_SEED)

    def bucket(self, buckets: int) -> str:
        return f"(({self._hash(self.key, KEY_SEED)} & {BUCKET_BITS}) % {int(buckets)})::int"

    def _record(self, columns: Iterable[Column]) -> str:
        return f"row({', '.join(map(self._value, columns))})::text"

    def _value(self, column: Column) -> str:
        value = quote(column.name)
        if self._shared is None:
            return value
        if column.name not in self._kept:
            value = as_in_oracle(column, value, self._shared)
        return _of_one_form(column, value)

    def _hash(self, text: str, seed: int) -> str:
        if self._shared is None:
            return f'hashtextextended({text} collate "C", {seed})'
        found = f"sha256(convert_to('{seed}' || {text}, 'UTF8'))"
        return f"('x' || encode(substr({found}, 1, {HASH_BYTES}), 'hex'))::bit(64)::bigint"


def _of_one_form(column: Column, value: str) -> str:
    """A value of which Oracle knows one form only: what was written here may show another, and is equal."""
    match column.type_name:
        case "numeric" if "(" not in column.type_text:
            # trim_scale() came with version 13.
            trimmed = f"rtrim(rtrim({value}::text, '0'), '.')"
            return f"case when strpos({value}::text, '.') > 0 then {trimmed} else {value}::text end"
        case "interval":
            return f"justify_hours({value})"
        case "float4" | "float8":
            # Minus zero and zero are zero.
            return f"{value} + '0'::{column.type_name}"
        case _:
            return value
