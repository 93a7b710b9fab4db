"""Columns that are refused by name, each with a reason and a remedy: nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Mapping

from bowline_worker.endpoints.oracle.kinds import OracleColumn, Refusal, oracle_type_name

#: LogMiner gives no SQL where the schema, the table or a column has a longer name (yugabyte/yb-voyager#2023).
LONGEST_NAME_BYTES = 30

_EXCLUDE = "exclude the table"
_AS_CLOB = "store it as CLOB, or exclude the table"

#: By DATA_TYPE: why, and what to do.
REFUSED: Mapping[str, tuple[str, str]] = {
    "BFILE": (
        "it names a file outside of the database",
        "load the files into a BLOB, or exclude the table",
    ),
    "LONG RAW": (
        "oracle has deprecated it for BLOB, and it is not read here",
        "ALTER TABLE ... MODIFY it to BLOB, or exclude the table",
    ),
    "UROWID": ("log miner does not tell its values", "keep its text in VARCHAR2"),
    "JSON": ("log miner can't mine tables that have it", _AS_CLOB),
    "BOOLEAN": (
        "log miner can't mine tables that have it",
        "make it NUMBER(1), or exclude the table",
    ),
    "VECTOR": ("log miner can't mine tables that have it", _AS_CLOB),
    "XMLTYPE": ("its redo holds pieces that can't be put together reliably", _AS_CLOB),
    "SDO_GEOMETRY": (
        "postgresql has no such type without an extension",
        "keep it as well-known text in CLOB, or exclude the table",
    ),
    "ANYDATA": ("each row may have another type", _EXCLUDE),
    "ANYTYPE": ("it describes types of oracle", _EXCLUDE),
    "ANYDATASET": ("each row may have another type", _EXCLUDE),
}


def refusal_of(column: OracleColumn) -> Refusal | None:
    """Say why a column can't be migrated; None: nothing speaks against it but, maybe, an unknown type."""
    for name in (column.table.schema, column.table.name, column.name):
        size = len(name.encode())
        if size > LONGEST_NAME_BYTES:
            return Refusal(
                column=column,
                reason="NameTooLong",
                message=f"{column}: log miner tells no changes where a name is longer than "
                f"{LONGEST_NAME_BYTES} bytes, and {name} has {size}",
                remedy="rename it, or exclude the table",
            )
    if column.data_type_mod == "REF":
        return _refused(column, "it points to a row by an identity that only oracle has", _EXCLUDE)
    name, _ = oracle_type_name(column.data_type)
    if name in REFUSED:
        return _refused(column, *REFUSED[name])
    if column.data_type_owner:
        return _refused(
            column,
            "object types, varrays and nested tables have no counterpart",
            "spread it over columns or a table of its own, or exclude the table",
        )
    return None


def _refused(column: OracleColumn, why: str, remedy: str) -> Refusal:
    owner = f"{column.data_type_owner}." if column.data_type_owner else ""
    shown = f"{'REF ' if column.data_type_mod == 'REF' else ''}{owner}{column.data_type}"
    return Refusal(
        column=column,
        reason="UnsupportedType",
        message=f"{column} has the type {shown}: {why}",
        remedy=remedy,
    )
