"""What two engines have in common: the one place that says in which form rows travel between them."""

from __future__ import annotations

from collections.abc import Iterable

from bowline_worker.contract import Engine
from bowline_worker.model import Column, Table, TableName

#: Types whose binary form is the same on every PostgreSQL since 10 and stands for the same value in every database.
#: Not among them: reg* (an oid there is a name here), money (its fraction is the locale's), what extensions bring,
#: tsquery (the server refuses its own binary form of an empty one).
BINARY_TYPES = frozenset(
    [
        "bit",
        "bool",
        "box",
        "bpchar",
        "bytea",
        "char",
        "cidr",
        "circle",
        "date",
        "datemultirange",
        "daterange",
        "float4",
        "float8",
        "inet",
        "int2",
        "int4",
        "int4multirange",
        "int4range",
        "int8",
        "int8multirange",
        "int8range",
        "interval",
        "json",
        "jsonb",
        "line",
        "lseg",
        "macaddr",
        "macaddr8",
        "name",
        "numeric",
        "nummultirange",
        "numrange",
        "oid",
        "path",
        "pg_lsn",
        "point",
        "polygon",
        "text",
        "time",
        "timestamp",
        "timestamptz",
        "timetz",
        "tsmultirange",
        "tsrange",
        "tstzmultirange",
        "tstzrange",
        "tsvector",
        "uuid",
        "varbit",
        "varchar",
    ]
)


def binary_tables(
    engines: Iterable[Engine], origin: Iterable[Table], receiver: Iterable[Table]
) -> frozenset[TableName]:
    """The tables whose rows can be relayed in the engine's binary form; the others travel as text."""
    if set(engines) != {Engine.POSTGRESQL}:
        return frozenset()
    there = {table.name: table for table in receiver}
    return frozenset(
        table.name
        for table in origin
        if table.name in there and _are_binary(table.written, there[table.name].columns)
    )


def _are_binary(written: Iterable[Column], there: Iterable[Column]) -> bool:
    types = {column.name: column.type_text for column in there}
    return all(
        column.type_schema == "pg_catalog"
        and column.type_name.removeprefix("_") in BINARY_TYPES
        and types.get(column.name) == column.type_text
        for column in written
    )
