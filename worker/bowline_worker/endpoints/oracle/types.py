"""The table of types between Oracle and PostgreSQL: snapshot, stream, apply and verification all use this one.

`kind_of` gives a column's type, or says why it has none. docs/oracle-types.md shows the table to people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bowline_worker.endpoints.oracle import characters, floats, intervals, numbers, temporals
from bowline_worker.endpoints.oracle.kinds import (
    RESELECT,
    Bind,
    OracleColumn,
    OracleType,
    Refusal,
    ValueRefused,
    oracle_type_name,
)
from bowline_worker.endpoints.oracle.policy import Answer, Policy, Strange, Tally, Terms
from bowline_worker.endpoints.oracle.refusals import refusal_of

__all__ = [
    "RESELECT",
    "Answer",
    "Bind",
    "OracleColumn",
    "OracleType",
    "Policy",
    "Refusal",
    "Strange",
    "Tally",
    "Terms",
    "ValueRefused",
    "kind_of",
]


def kind_of(
    column: OracleColumn, terms: Terms | None = None, *, as_boolean: bool = False
) -> OracleType | Refusal:
    """The column's type; `as_boolean` where the other side's column is one, which a NUMBER(1) can be."""
    refused = refusal_of(column)
    if refused is not None:
        return refused
    name, lengths = oracle_type_name(column.data_type)
    make = TYPES.get(name)
    if make is None:
        return Refusal(
            column=column,
            reason="UnknownType",
            message=f"{column} has the type {column.data_type}, which is not known",
            remedy="exclude the table, or keep the value in a column of a supported type",
        )
    if not as_boolean:
        return make(column, terms or Terms(), lengths)
    if name == "NUMBER" and column.data_precision == 1 and not column.data_scale:
        return numbers.truth(column, terms or Terms())
    return Refusal(
        column=column,
        reason="NoBoolean",
        message=f"{column} is a boolean on the other side, and {column.data_type} here",
        remedy="make it NUMBER(1) here, or a number there",
    )


#: By the name in ALL_TAB_COLS.DATA_TYPE, without its numbers.
TYPES: Mapping[str, Callable[[OracleColumn, Terms, list[int]], OracleType]] = {
    "NUMBER": numbers.number,
    "FLOAT": numbers.decimal_float,
    "BINARY_FLOAT": floats.binary_number,
    "BINARY_DOUBLE": floats.binary_number,
    "DATE": temporals.date,
    "TIMESTAMP": temporals.timestamp,
    "TIMESTAMP WITH TIME ZONE": temporals.timestamp,
    "TIMESTAMP WITH LOCAL TIME ZONE": temporals.timestamp,
    "INTERVAL YEAR TO MONTH": intervals.year_to_month,
    "INTERVAL DAY TO SECOND": intervals.day_to_second,
    "VARCHAR2": characters.varchar,
    "NVARCHAR2": characters.varchar,
    "CHAR": characters.char,
    "NCHAR": characters.char,
    "LONG": characters.long,
    "CLOB": characters.clob,
    "NCLOB": characters.clob,
    "RAW": characters.raw,
    "BLOB": characters.raw,
    "ROWID": characters.rowid,
}
