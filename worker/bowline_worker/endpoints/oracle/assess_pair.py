"""Checks of the selected tables against those of the other side, which were made by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bowline_worker.contract import Finding
from bowline_worker.endpoints.oracle import catalog
from bowline_worker.endpoints.oracle.catalog import OracleTable
from bowline_worker.endpoints.oracle.kinds import OracleType
from bowline_worker.endpoints.oracle.looking import Look
from bowline_worker.model import Column, TableName

_AS_HERE: Final = "make the tables alike (docs/oracle-types.md)"


def shapes(look: Look) -> Iterator[Finding]:
    """Tables, columns and types: rows go from one to the other without a further conversion."""
    if not look.is_source or not look.site.config.existing_schema or look.there is None:
        return
    # What a schema holds is not all that a digest tells: a table may be a partition there.
    findings = list(_differences(look, look.there))
    yield from findings
    if findings or look.other is None:
        return
    if look.other.fingerprint() != catalog.fingerprint(look.tables):
        yield look.error(
            "ShapesDiffer",
            "names, columns and types are equal on both sides, and yet the tables differ:"
            " one may be a partition of another table on the other side",
            "make them tables of their own",
        )


def _differences(look: Look, there: Mapping[TableName, Sequence[Column]]) -> Iterator[Finding]:
    for table in look.tables:
        name = table.table.name
        if name not in there:
            yield look.error(
                "TableMissing",
                f"{name} is not on the other side",
                "make it there, or exclude it",
                about=str(name),
            )
        elif not table.refusals:
            yield from _columns(look, table, there[name])
    for name in sorted(there.keys() - {one.table.name for one in look.tables}, key=str):
        yield look.error(
            "TableMissing",
            f"{name} is on the other side alone",
            "drop it there, or exclude it",
            about=str(name),
        )


def _columns(look: Look, table: OracleTable, there: Sequence[Column]) -> Iterator[Finding]:
    theirs = {column.name: column for column in there}
    for name, kind in table.kinds.items():
        about = f"{table.table.name}.{name}"
        if name not in theirs:
            yield look.error(
                "ColumnMissing", f"{about} is not on the other side", _AS_HERE, about=about
            )
        else:
            yield from _column(look, about, kind, theirs[name])
    for name in sorted(theirs.keys() - table.kinds.keys()):
        about = f"{table.table.name}.{name}"
        yield look.error(
            "ColumnMissing", f"{about} is on the other side alone", _AS_HERE, about=about
        )
    if set(theirs) == set(table.kinds) and list(theirs) != list(table.kinds):
        yield look.error(
            "ColumnsInAnotherOrder",
            f"the columns of {table.table.name} are in another order on the other side:"
            f" here they are {', '.join(table.kinds)}",
            "make the table there with the columns in that order",
            about=str(table.table.name),
        )


def _column(look: Look, about: str, kind: OracleType, there: Column) -> Iterator[Finding]:
    if there.type_text != kind.postgres.text:
        yield look.error(
            "TypeDiffers",
            f"{about} is {there.type_text} on the other side, and must be {kind.postgres.text} for"
            f" {kind.column.data_type}",
            f"alter table ... alter column ... type {kind.postgres.text} there",
            about=about,
        )
    if there.generated != kind.column.virtual:
        yield look.error(
            "ColumnComputed",
            f"{about} is computed on one side alone, and its values would not travel",
            "let it be computed on both sides, or on neither",
            about=about,
        )


CHECKS = (shapes,)
