"""Large values that are written in pieces: which columns of which row to read again at the commit.

LOB writes, XML documents and strings of more than 4,000 bytes come as PL/SQL blocks, or as pieces of text, that name
the row by its other columns. Their pieces are not put together here: a value is known only where they cover it whole,
and the row can be read AS OF the commit's SCN. All that is read is the name of the row.

    select "C" into loc_c from "S"."T" where "ID" = '7' for update;        (LOB, after declarations)
    XML DOC BEGIN:  select "X" from "S"."T" where "ID" = '7'
    Stmt := 'update "S"."T" a set a."D" = :D where a."ID" = ''7'';';       (a long string, quotes doubled once more)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bowline_worker.endpoints.oracle.logrow import Code
from bowline_worker.endpoints.oracle.rowchange import Parse, RowChange

_SELECT: Final = 'select "'
_STATEMENT: Final = "Stmt := '"
_FOR_UPDATE: Final = " for update"


class TouchError(ValueError):
    """The text does not name a row in a form that is known."""


@dataclass(frozen=True, slots=True)
class Touch:
    """A column of a row that is named by a condition."""

    column: str
    table: str  #: as it is written: quoted, with its alias if it has one
    where: str

    @property
    def sql(self) -> str:
        """The touch as an UPDATE whose value is not known."""
        alias = "a." if self.table.endswith(" a") else ""
        return f'update {self.table} set {alias}"{self.column}" = Unsupported where {self.where}'


def read_touch(code: int, sql: str) -> Touch | None:
    """Read which row a piece belongs to; None: it says nothing of it, being a later piece of the same value."""
    if code == Code.STRING_BEGIN:
        begin = sql.find(_STATEMENT)
        if begin < 0:
            raise TouchError("a long string begins without its statement")
        return _read_update(_literal(sql, begin + len(_STATEMENT)))
    if code in (Code.STRING_WRITE, Code.STRING_END, Code.XML_WRITE, Code.XML_END):
        return None
    begin = sql.find(_SELECT)
    quote = sql.find("'")
    if begin < 0 or 0 <= quote < begin:
        return None
    return _read_select(sql, begin + len(_SELECT) - 1)


def _read_select(sql: str, at: int) -> Touch:
    column, at = _identifier(sql, at)
    found = sql.find(' from "', at)
    between = sql[at:found].strip()
    if found < 0 or (between and not between.startswith("into ")):
        raise TouchError("no table follows the column of a large value")
    table, at = _table(sql, found + len(" from "))
    return Touch(column, table, _condition(sql, at))


def _read_update(sql: str) -> Touch:
    if not sql.startswith('update "'):
        raise TouchError("the statement of a long string is no update")
    table, at = _table(sql, len("update "))
    set_ = " set a." if table.endswith(" a") else " set "
    if not sql.startswith(set_ + '"', at):
        raise TouchError("the statement of a long string sets no column")
    column, at = _identifier(sql, at + len(set_))
    found = sql.find(" where ", at)
    if found < 0 or not sql[at:found].strip().startswith("= :"):
        raise TouchError(
            "the statement of a long string sets more than one column, or names no row"
        )
    return Touch(column, table, _condition(sql, found))


def _identifier(sql: str, at: int) -> tuple[str, int]:
    end = sql.find('"', at + 1)
    if sql[at : at + 1] != '"' or end <= at + 1:
        raise TouchError("a quoted name was expected")
    return sql[at + 1 : end], end + 1


def _table(sql: str, at: int) -> tuple[str, int]:
    _, dot = _identifier(sql, at)
    _, end = _identifier(sql, dot + 1)
    if sql[dot] != ".":
        raise TouchError("a table with its owner was expected")
    if sql.startswith(" a ", end):
        end += 2
    return sql[at:end], end


def _condition(sql: str, at: int) -> str:
    """Read the condition behind ` where `, up to what is no part of it any more."""
    if not sql.startswith(" where ", at):
        raise TouchError("a piece of a large value names no row")
    start = at = at + len(" where ")
    while True:
        quote, end = sql.find("'", at), sql.find(_FOR_UPDATE, at)
        if quote < 0 or 0 <= end < quote:
            text = sql[start : end if end >= 0 else len(sql)]
            return text.rstrip(" ;\n")
        at = quote + 1
        while True:
            at = sql.find("'", at) + 1
            if not at:
                raise TouchError("a value of the row's name does not end")
            if sql[at : at + 1] != "'":
                break
            at += 1


def _literal(sql: str, at: int) -> str:
    """Read a string whose quotes are doubled, from behind its first quote."""
    parts: list[str] = []
    while True:
        end = sql.find("'", at)
        if end < 0:
            raise TouchError("the statement of a long string does not end")
        parts.append(sql[at:end])
        if sql[end + 1 : end + 2] != "'":
            return "'".join(parts)
        at = end + 2


def first_touch_of(insert: RowChange, touches: Sequence[RowChange], parse: Parse) -> int:
    """Give the index of the first touch that belongs to the row which is inserted only now; their number if none.

    The pieces of a LOB that lies outside of its row may come before the row itself.
    """
    for index, touch in enumerate(touches):
        if is_touch_of(touch, insert, parse):
            return index
    return len(touches)


def is_touch_of(touch: RowChange, insert: RowChange, parse: Parse) -> bool:
    """Tell whether a touch names the row that an insert makes."""
    if touch.table != insert.table:
        return False
    where, values = parse(touch.sql).where, parse(insert.sql).set
    return bool(where) and all(
        name in values and values[name] == value for name, value in where.items()
    )
