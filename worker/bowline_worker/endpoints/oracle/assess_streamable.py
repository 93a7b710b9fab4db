"""Checks of the selected tables for what LogMiner, or a reader as of an SCN, would not tell whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bowline_worker.contract import Finding
from bowline_worker.endpoints.oracle import naming
from bowline_worker.endpoints.oracle.characters import INLINE_RAW_BYTES, INLINE_TEXT_BYTES
from bowline_worker.endpoints.oracle.kinds import OracleType
from bowline_worker.endpoints.oracle.looking import Look, listed
from bowline_worker.endpoints.oracle.refusals import LONGEST_NAME_BYTES
from bowline_worker.endpoints.oracle.snapshot import LONG_TYPES

CLUSTERED: Final = """
select t.owner, t.table_name, t.cluster_name from all_tables t
where t.cluster_name is not null and t.owner in ({owners})"""
#: A period of temporal validity is a hidden number that is computed from its two ends; so may be an invisible column.
PERIODS: Final = """
select c.owner, c.table_name, c.column_name from all_tab_cols c
where c.hidden_column = 'YES' and c.virtual_column = 'YES' and c.data_type = 'NUMBER'
  and c.column_name not like 'SYS\\_%' escape '\\' and c.owner in ({owners})"""
ARCHIVAL: Final = """
select c.owner, c.table_name from all_tab_cols c
where c.column_name = 'ORA_ARCHIVE_STATE' and c.owner in ({owners})"""
POLICIES: Final = """
select p.object_owner as owner, p.object_name as table_name, p.policy_name from all_policies p
where p.enable = 'YES' and p.object_owner in ({owners})"""
REDACTED: Final = """
select r.object_owner as owner, r.object_name as table_name, r.policy_name from redaction_policies r
where r.enable like 'YES%' and r.object_owner in ({owners})"""
UNLOGGED: Final = (
    "select t.owner, t.table_name from all_tables t where t.logging = 'NO' and t.owner in ({owners})",
    "select p.table_owner as owner, p.table_name from all_tab_partitions p"
    " where p.logging = 'NO' and p.table_owner in ({owners})",
    "select l.owner, l.table_name from all_lobs l where l.logging = 'NO' and l.owner in ({owners})",
)


def refused_columns(look: Look) -> Iterator[Finding]:
    """What the table of types refuses, once for each column; a table's own name once for the table."""
    for table in look.tables:
        told: set[str] = set()
        for refusal in table.refusals:
            # The name of a schema or a table is refused with each of its columns.
            whole = (
                refusal.reason == "NameTooLong"
                and len(refusal.column.name.encode()) <= LONGEST_NAME_BYTES
            )
            name = str(table.table.name)
            about = name if whole else f"{name}.{naming.neutral(refusal.column.name)}"
            if about not in told:
                told.add(about)
                yield look.error(refusal.reason, refusal.message, refusal.remedy, about=about)


def losses(look: Look) -> Iterator[Finding]:
    for table in look.tables:
        for name, kind in table.kinds.items():
            if kind.loss:
                column = f"{table.table.name}.{name}"
                yield look.warning(
                    "ValueLoss",
                    f"{column} ({kind.column.data_type}): {kind.loss}",
                    "see docs/oracle-types.md",
                    about=column,
                )


def keyless(look: Look) -> Iterator[Finding]:
    for table in look.tables:
        if table.table.key:
            continue
        name = str(table.table.name)
        again = [column for column, kind in table.kinds.items() if kind.needs_reselect]
        if again:
            yield look.error(
                "ReselectWithoutKey",
                f"{name} has no usable key, and the redo does not tell {', '.join(again)} exactly: its rows can't be"
                " found to be read again",
                "add a primary key, or exclude the table",
                about=name,
            )
        else:
            yield look.note(
                "NoKey",
                f"{name} has no usable primary key: all its columns identify a row, which is slow",
                "add a primary key that is not deferrable",
                about=name,
            )


def clusters(look: Look) -> Iterator[Finding]:
    for table, row in look.of_selected(CLUSTERED):
        yield look.error(
            "UnsupportedTable",
            f"{table.table.name} is stored in cluster {row['CLUSTER_NAME']}, with other tables' rows",
            "move it to a table of its own, or exclude it",
            about=str(table.table.name),
        )


def temporal_validity(look: Look) -> Iterator[Finding]:
    for table, row in look.of_selected(PERIODS):
        yield look.acceptable(
            "TemporalValidity",
            f"{table.table.name} seems to have the period {row['COLUMN_NAME']}: LogMiner tells nothing of tables with"
            " temporal validity",
            "alter table ... drop (period for ...), or exclude the table; an invisible virtual column of that name is"
            " no harm",
            about=str(table.table.name),
        )


def row_archival(look: Look) -> Iterator[Finding]:
    for table, _ in look.of_selected(ARCHIVAL):
        yield look.error(
            "RowArchival",
            f"{table.table.name} has row archival: archived rows are hidden, and would not be copied",
            "alter table ... no row archival (it makes them visible), or exclude the table",
            about=str(table.table.name),
        )


def hidden_rows(look: Look) -> Iterator[Finding]:
    if "EXEMPT ACCESS POLICY" in look.privileges:
        return
    for table, row in look.of_selected(POLICIES):
        yield look.error(
            "RowSecurity",
            f"policy {row['POLICY_NAME']} of {table.table.name} may hide rows from user {look.user}",
            f"grant exempt access policy to {look.user}",
            about=str(table.table.name),
        )


def hidden_values(look: Look) -> Iterator[Finding]:
    if "EXEMPT REDACTION POLICY" in look.privileges:
        return
    for table, row in look.of_selected(REDACTED):
        yield look.error(
            "Redaction",
            f"policy {row['POLICY_NAME']} of {table.table.name} may show user {look.user} other values than are stored",
            f"grant exempt redaction policy to {look.user}",
            about=str(table.table.name),
        )


def unlogged(look: Look) -> Iterator[Finding]:
    if not look.is_origin or look.database["FORCE_LOGGING"] == "YES":
        return
    found = {str(table.table.name) for query in UNLOGGED for table, _ in look.of_selected(query)}
    for name in sorted(found):
        yield look.warning(
            "Unlogged",
            f"{name}, a partition or a LOB of it is NOLOGGING: what is written to it by direct path is in"
            " no redo, and would be missing on the other side",
            "alter table ... logging, or alter database force logging",
            about=name,
        )


def supplemental(look: Look) -> Iterator[Finding]:
    """Whether it can be added is a matter of privileges, which have a check of their own."""
    missing = [one for one in look.tables if not one.logs_all_columns]
    if look.is_origin and missing:
        yield look.note(
            "SupplementalLoggingAdded",
            f"{len(missing)} tables do not log all columns, and will when the migration is prepared:"
            f" {listed(missing)}",
            "alter table ... add supplemental log data (all) columns, at a time when its lock does no harm",
        )


def extended_strings(look: Look) -> Iterator[Finding]:
    for table in look.tables:
        if wide := [name for name, kind in table.kinds.items() if _is_extended(kind)]:
            yield look.warning(
                "ExtendedStrings",
                f"{table.table.name} has columns of max_string_size = EXTENDED ({', '.join(wide)}): LogMiner prints"
                " quotes in them so that a statement may not be read, which stops the stream",
                "keep such values in a CLOB",
                about=str(table.table.name),
            )


def _is_extended(kind: OracleType) -> bool:
    limit = INLINE_RAW_BYTES if kind.column.data_type == "RAW" else INLINE_TEXT_BYTES
    return kind.column.data_type not in LONG_TYPES and kind.column.data_length > limit


CHECKS = (
    refused_columns,
    losses,
    keyless,
    clusters,
    temporal_validity,
    row_archival,
    hidden_rows,
    hidden_values,
    unlogged,
    supplemental,
    extended_strings,
)
