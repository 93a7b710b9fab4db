"""Read SQL_REDO, the statements in which LogMiner tells what happened to a row.

    insert into "S"."T"("ID","V") values ('7',UNISTR('\00e9'));
    update "S"."T" set "V" = NULL where "ID" = '7' and ROWID = 'AAAR3sAAEAAAACXAAA';
    delete from "S"."T" where "ID" = '7' and "V" IS NULL;

redo_grammar.py says what is read and what is refused. A statement's shape, all of it that is not within quotes, is
read once: a table's statements have few of them, and what differs between two of one shape is what `split` finds
between their quotes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bowline_worker.endpoints.oracle.redo_grammar import Reader
from bowline_worker.endpoints.oracle.redo_shape import CONSTANTS, Operation, Part, Shape
from bowline_worker.endpoints.oracle.redo_values import (
    Hex,
    IntervalDs,
    IntervalYm,
    Mark,
    RedoError,
    RedoValue,
    Timestamp,
    TimestampLtz,
    TimestampTz,
    to_rowid,
)

__all__ = [
    "Hex",
    "IntervalDs",
    "IntervalYm",
    "Mark",
    "Operation",
    "Redo",
    "RedoError",
    "RedoValue",
    "Timestamp",
    "TimestampLtz",
    "TimestampTz",
    "parse",
]

#: A table has one shape for each set of columns that are NULL, or that are updated. When there are more, all are
#: dropped: the next of each is read once again.
SHAPES_KEPT = 4096
#: Stands for a doubled quote while a statement is split at the single ones.
_DOUBLED = "\0"

_shapes: dict[tuple[str, ...], Shape] = {}


class Redo(NamedTuple):
    """One row's change, as far as the statement tells: a column that is in neither part is not known."""

    operation: Operation
    owner: str
    table: str
    set: dict[str, RedoValue]  #: INSERT: the row; UPDATE: what is new; DELETE: nothing
    where: dict[str, RedoValue]  #: what is known of the row before; nothing in an undo
    rowid: str | None  #: of a predicate ROWID = '...'


class _Refused(Exception):
    """A literal is not what its function takes."""

    def __init__(self, message: str, literal: int) -> None:
        super().__init__(message)
        self.literal = literal


def parse(sql: str, *, relaxed_quotes: bool = False) -> Redo:
    """Read one whole statement, with or without its semicolon; RedoError if it is anything but a change of a row.

    Whole: rows with CSF = 1 are joined before. One that was cut within a doubled quote may look like another one.
    `relaxed_quotes` is for databases with MAX_STRING_SIZE = EXTENDED, see redo_quotes.py. What the strict reading
    accepts means the same with it.
    """
    try:
        return _strictly(sql)
    except RedoError:
        if not relaxed_quotes:
            raise
    return _read(sql, Reader(sql, relaxed_quotes=True))


def _strictly(sql: str) -> Redo:
    key, literals = _split(sql)
    shape = _shapes.get(key)
    if shape is None:
        return _read(sql, Reader(sql), key)
    try:
        return _filled(shape, literals)
    except _Refused:
        return _read(sql, Reader(sql), key)  # it knows where that literal is


def _split(sql: str) -> tuple[tuple[str, ...], list[str]]:
    """Split a statement at its quotes: the text outside of them, and the literals.

    The literals are those that Reader finds if the text outside is what Reader left outside of literals, in this or
    any other statement. A quote in an identifier changes that text; a quote that a literal begins with is taken for
    the end of a doubled one, whose sign is then outside, and no statement that is kept has that sign.
    """
    if "''" not in sql:
        parts = sql.split("'")
        return tuple(parts[::2]), parts[1::2]
    if _DOUBLED in sql:
        return (), []
    parts = sql.replace("''", _DOUBLED).split("'")
    return tuple(parts[::2]), [each.replace(_DOUBLED, "'") for each in parts[1::2]]


def _read(sql: str, reader: Reader, key: tuple[str, ...] = ()) -> Redo:
    shape = reader.shape()
    if key == reader.outside() and _DOUBLED not in sql:
        if len(_shapes) >= SHAPES_KEPT:
            _shapes.clear()
        _shapes[key] = shape
    try:
        return _filled(shape, reader.literals)
    except _Refused as refused:
        raise RedoError(str(refused), reader.starts[refused.literal]) from None


def _filled(shape: Shape, literals: Sequence[str]) -> Redo:
    """Give a shape the literals of a statement."""
    operation, owner, table, new, known, rowid = shape
    items = [*literals, *CONSTANTS]
    return Redo(
        operation,
        owner,
        table,
        _values(new, items) if new.names else {},
        _values(known, items) if known.names else {},
        None if rowid is None else _rowid(literals, rowid),
    )


def _values(part: Part, items: Sequence[RedoValue]) -> dict[str, RedoValue]:
    values = dict(zip(part.names, part.pick(items), strict=True))
    for name, first, end, function in part.made:
        try:
            values[name] = function(*items[first:end])
        except ValueError as error:
            raise _Refused(str(error), first) from None
    return values


def _rowid(literals: Sequence[str], at: int) -> str:
    try:
        return to_rowid(literals[at])
    except ValueError as error:
        raise _Refused(str(error), at) from None
