"""Rows that can't be read: named when their transaction commits, for until then it may come to nothing.

A transaction that rolls back, that the snapshot has, or that was given out before a restart needs none of its rows.
"""

from __future__ import annotations

import re
from typing import Final

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.logrow import XML_CODES, Code, LogRow

STATUS_CORRUPT: Final = 1343
_STATUS_NOT_EXECUTABLE: Final = 2
_STATUS_NOT_GUARANTEED: Final = 3

#: With status 2, yet as good as any other row: nothing of a piece is used but the name of its row.
_PIECES_INFO: Final = "LOB sql_redo not re-executable"
_XML_INFO: Final = ("XML sql_redo not re-executable", "XML sql_redo needs assembly")

_TEMPORARY: Final = "/* No SQL_REDO for temporary tables */"
_UNSUPPORTED: Final = "Unsupported"
#: How columns are called that the dictionary does not know (any more).
_NUMBERED_COLUMN: Final = re.compile(r'"COL \d+"')

_LAYOUT: Final = "the table's layout has changed since: put no DDL on migrated tables, and start the migration anew"


def is_of_temporary_table(row: LogRow) -> bool:
    return row.sql.startswith(_TEMPORARY)


def flaw_of(row: LogRow) -> Unsafe | None:
    """Tell why a row of a captured table can't be read, if it can't."""
    if row.code == Code.UNSUPPORTED or row.sql.strip() == _UNSUPPORTED:
        return Unsafe(
            f"{row.place} was written by an operation, or holds a type, that LogMiner does not support",
            reason="RowUnsupported",
            hint="leave the table out of the migration",
        )
    if row.status == STATUS_CORRUPT:
        return corrupt(row)
    if row.status == _STATUS_NOT_GUARANTEED:
        return Unsafe(
            f"{row.place} has status 3: LogMiner does not vouch for its statement",
            reason="RowUnreadable",
            hint="report it, with the table's definition",
        )
    if row.status == _STATUS_NOT_EXECUTABLE and not _is_usable(row):
        return Unsafe(
            f"{row.place} can't be decoded by the present dictionary (status 2, {row.info or 'no reason given'})",
            reason="SchemaChanged",
            hint=_LAYOUT,
        )
    return None


def corrupt(row: LogRow) -> Unsafe:
    """Make the error for redo that is damaged."""
    return Unsafe(
        f"{row.place} could not be mined: its redo block is corrupt",
        reason="RedoCorrupt",
        hint="bring back a sound copy of the log, or start the migration anew",
    )


def missing(row: LogRow) -> Unsafe:
    """Make the error for redo that LogMiner did not find."""
    return Unsafe(
        f"redo is missing before {row.place}",
        reason="PositionLost",
        hint="bring the missing logs back, or start the migration anew with a longer retention",
    )


def nameless(row: LogRow) -> Unsafe:
    """Make the error for a row of a segment that neither the dictionary nor we have a name for."""
    return Unsafe(
        f"{row.place} is of object {row.object_id}, which the dictionary has no name for",
        reason="SchemaChanged",
        hint="a table or partition was dropped, or added and dropped, while it was captured: start the migration anew",
    )


def undoes_nothing(row: LogRow) -> Unsafe:
    """Make the error for a ROLLBACK=1 row without its original."""
    return Unsafe(
        f"{row.place} takes back a change that was not seen",
        reason="RowUnreadable",
        hint="report it; start the migration anew",
    )


def _is_usable(row: LogRow) -> bool:
    if row.info:
        return row.info == _PIECES_INFO or (row.code in XML_CODES and row.info in _XML_INFO)
    # LONG columns give status 2 without a reason, and a statement that is right.
    return not _NUMBERED_COLUMN.search(row.sql)
