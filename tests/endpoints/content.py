"""What both sides of a pair hold: in the server's own text form, and by the product's digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from bowline_worker.contract import Side
from bowline_worker.endpoints.postgres import PostgresEndpoint
from bowline_worker.endpoints.postgres.connection import quote
from endpoints.carried import Case
from servers import Database, Pair

#: How both sides are read, and literals: nothing is rounded, nothing depends on what roles and databases prefer.
EXACT = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "lc_monetary": "C",
    "search_path": "pg_catalog",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "xmloption": "content",
    "row_security": "off",
}
#: A longer text is kept by its length and its hash.
LONG = 2000
BUCKETS = 16

Rows = tuple[str, ...]


@dataclass(frozen=True)
class Content:
    """The rows of each of a case's reads."""

    source: Mapping[str, Rows]
    target: Mapping[str, Rows]


def content(pair: Pair, cases: Iterable[Case]) -> Iterator[tuple[Case, Content]]:
    """Read every case at both sides."""
    with exact(pair.source) as source, exact(pair.target) as target:
        for case in cases:
            reads = case.reads or [
                f'select t::text from {table} t order by t::text collate "C"'
                for table in case.tables
            ]
            yield (
                case,
                Content(
                    {query: read(source, query) for query in reads},
                    {query: read(target, query) for query in reads},
                ),
            )


def exact(database: Database) -> psycopg.Connection[tuple[Any, ...]]:
    """A session of the server's superuser, with settings under which a value has one text."""
    options = " ".join(
        f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in EXACT.items()
    )
    return database.connect(options=options, client_encoding="UTF8")


def read(connection: psycopg.Connection[tuple[Any, ...]], query: str) -> Rows:
    """The rows of a query as texts; an error of it is its content: the other side does not have the same."""
    try:
        rows = connection.execute(query.encode()).fetchall()
    except psycopg.Error as error:
        return (f"{connection.info.dbname}: {error}",)
    return tuple(
        short("|".join("NULL" if value is None else str(value) for value in row)) for row in rows
    )


def short(text: str) -> str:
    if len(text) <= LONG:
        return text
    return f"{text[:40]}... {len(text)} {hashlib.sha256(text.encode()).hexdigest()}"


def unequal(pair: Pair, settings: Mapping[str, Any]) -> Sequence[str]:
    """The tables, quoted, that the product's own digests call different."""
    config = pair.config(**settings)
    source, target = (PostgresEndpoint(config, side) for side in Side)
    return [
        quote(table.name.schema, table.name.name)
        for table in source.tables()
        if source.digests(table, BUCKETS) != target.digests(table, BUCKETS)
    ]
