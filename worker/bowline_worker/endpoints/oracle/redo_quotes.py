"""Where a literal of SQL_REDO ends: at the first quote that is not doubled, unless LogMiner forgot to double them.

It does, for texts of more than 4,000 bytes (MAX_STRING_SIZE = EXTENDED): quotes in them are printed as they are. The
relaxed reading then takes the first quote with something behind it that may follow a value. A text that holds just
that is cut too soon. Among the values of an INSERT this can't stay hidden: every true end is one of the ends found, so
the values are as many as the columns only if no other was found. In an UPDATE or a DELETE nothing tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from bowline_worker.endpoints.oracle.redo_values import FUNCTIONS, JSON, MARKS, NUMBER, WORDS

#: Tells whether at that place of the statement stands what may follow a value.
IsBehind: TypeAlias = Callable[[str, int], bool]

BLANKS = (" ", "\n", "\r", "\t")
#: How values begin.
_VALUE = (
    *("'", ":", "XMLType(", JSON, *NUMBER),
    *(word for word, _ in (*WORDS, *MARKS)),
    *(f"{name}(" for name in FUNCTIONS),
)
#: What follows `column = value`, if anything does.
_NEXT_PAIR = (
    *(', "', ', a."'),
    *(f" {joint} {column}" for joint in ("where", "and") for column in ('"', 'a."', "ROWID = '")),
)


def gap(sql: str, at: int) -> int:
    """Pass over blanks."""
    while sql.startswith(BLANKS, at):
        at += 1
    return at


def is_end(sql: str, at: int) -> bool:
    """Tell whether nothing follows but a semicolon, perhaps."""
    at = gap(sql, at)
    if sql.startswith(";", at):
        at = gap(sql, at + 1)
    return at == len(sql)


def strict_text(sql: str, at: int) -> tuple[str, int]:
    """Read the literal whose opening quote is there: its text, and the place behind it; 0 if it has no end."""
    end = sql.find("'", at + 1)
    while sql.startswith("'", end + 1) and end > 0:
        end = sql.find("'", end + 2)
    return sql[at + 1 : end].replace("''", "'"), end + 1


def relaxed_text(sql: str, at: int, is_behind: IsBehind) -> tuple[str, int]:
    """Read a literal whose quotes may not be doubled; else as strict_text."""
    end = sql.find("'", at + 1)
    while end > 0 and not is_behind(sql, end + 1):
        end = sql.find("'", end + 1)
    text = sql[at + 1 : end]
    # Only long texts are printed raw. Where all quotes are doubled, this is one of the others.
    is_doubled = "'" not in text.replace("''", "")
    return text.replace("''", "'") if is_doubled else text, end + 1


def is_behind_listed(sql: str, at: int) -> bool:
    """Tell whether a value in the list of an INSERT may end here."""
    if sql.startswith(",", at):
        return sql.startswith(_VALUE, gap(sql, at + 1))
    return sql.startswith(")", at) and is_end(sql, at + 1)


def is_behind_paired(sql: str, at: int) -> bool:
    """Tell whether the value of a column in SET or WHERE may end here."""
    return sql.startswith(_NEXT_PAIR, at) or is_end(sql, at)
