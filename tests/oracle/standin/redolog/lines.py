"""What one change of a row comes to in the redo: one line, or several where a LOB is touched (1.8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from oracle.standin.backend import Value
from oracle.standin.events import Action, ColumnShape, TableShape, Written
from oracle.standin.redolog.literals import LOBS, LONGS

PLACEHOLDER = "A" * 18  #: the ROW_ID of a line that names no row

NOT_REEXECUTABLE = "LOB sql_redo not re-executable"
TEMPORARY = "/* No SQL_REDO for temporary tables */"


class Op(IntEnum):
    """OPERATION_CODE."""

    INTERNAL = 0
    INSERT = 1
    DELETE = 2
    UPDATE = 3
    DDL = 5
    START = 6
    COMMIT = 7
    LOCATOR = 9  #: SELECT_LOB_LOCATOR, which 23ai calls INTERNAL and leaves without text
    LOB_WRITE = 10
    LOB_TRIM = 11
    ROLLBACK = 36
    UNSUPPORTED = 255

    @property
    def label(self) -> str:
        """OPERATION."""
        return "INTERNAL" if self is Op.LOCATOR else self.name


#: Places of columns, with their values.
Cells: TypeAlias = tuple[tuple[int, Value], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LobCall:
    """A call of dbms_lob: a write of a piece (from 1), or a trim to a length; in characters, or bytes of a BLOB."""

    column: int
    piece: str | bytes | None = None
    offset: int = 1
    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of V$LOGMNR_CONTENTS, but for what depends on who mines it."""

    op: Op
    table: TableShape | None = None
    rowid: str = PLACEHOLDER
    undo: bool = False
    cells: Cells = ()  #: VALUES or SET
    where: Cells | None = None
    by_rowid: bool = False  #: undo: the row is named by its ROWID alone
    lob: LobCall | None = None
    text: str | None = None  #: of a line that renders nothing
    status: int = 0
    info: str | None = None


_OPS = {Action.INSERT: Op.INSERT, Action.UPDATE: Op.UPDATE, Action.DELETE: Op.DELETE}


@dataclass(frozen=True, slots=True, kw_only=True)
class LobLimits:
    """From which size LOBs leave the row, and how much one LOB_WRITE has."""

    inline_bytes: int = 3964
    piece: int = 1000

    def is_small(self, value: Value, column: ColumnShape) -> bool:
        """Tell whether the value lies in the row; a LOB's text is kept as UTF-16 there."""
        if column.kind not in LOBS or not isinstance(value, str | bytes):
            return True
        size = 2 * len(value) if isinstance(value, str) else len(value)
        return size <= self.inline_bytes


def lines_of(change: Written, limits: LobLimits) -> list[Line]:
    """Tell the lines of a change that is no undo, in redo order."""
    match change.action:
        case Action.INSERT:
            return list(_insert(change, _row(change.after), limits))
        case Action.UPDATE:
            return list(_update(change, _row(change.before), _row(change.after), limits))
        case Action.DELETE:
            where = _logged(change.table, _row(change.before), _places(change.table))
            return [Line(op=Op.DELETE, table=change.table, rowid=change.rowid, where=where)]


def opaque_line(change: Written, *, temporary: bool, undo: bool) -> Line:
    """Tell of a change in a table whose rows LogMiner does not render: a temporary one, or of unknown types (1.8)."""
    if temporary:
        op, text, status, info = _OPS[change.action], TEMPORARY, 0, None
    else:
        op, text, status, info = (
            Op.UNSUPPORTED,
            "Unsupported",
            2,
            "Object or Data type Unsupported",
        )
    return Line(
        op=op,
        table=change.table,
        rowid=change.rowid,
        undo=undo,
        text=text,
        status=status,
        info=info,
    )


def undo_line(change: Written, limits: LobLimits) -> Line:
    """Tell how a change is taken back: one line, with the real ROWID even where the change's had none (1.6)."""
    table, rowid = change.table, change.rowid
    if change.action is Action.INSERT:
        return Line(op=Op.DELETE, table=table, rowid=rowid, undo=True, by_rowid=True)
    before = _row(change.before)
    if change.action is Action.DELETE:
        cells = tuple((place, _emptied(table, place, before)) for place in _places(table))
        return Line(op=Op.INSERT, table=table, rowid=rowid, undo=True, cells=cells)
    old = tuple(
        (
            place,
            before[place]
            if limits.is_small(before[place], table.columns[place])
            else _empty(before[place]),
        )
        for place in _changed(table, before, _row(change.after))
    )
    return Line(op=Op.UPDATE, table=table, rowid=rowid, undo=True, cells=old)


def _insert(change: Written, row: Sequence[Value], limits: LobLimits) -> Iterator[Line]:
    table = change.table
    places = _places(table)
    cells = tuple((place, _emptied(table, place, row)) for place in places)
    lobs = [place for place in places if table.columns[place].kind in LOBS]
    rowid = PLACEHOLDER if lobs else change.rowid
    yield Line(op=Op.INSERT, table=table, rowid=rowid, cells=cells)
    for place in lobs:
        if not limits.is_small(row[place], table.columns[place]):
            yield from _writes(table, place, row, limits)
    small = [place for place in lobs if limits.is_small(row[place], table.columns[place])]
    if any(not _is_empty(row[place]) for place in small):
        # A NULL LOB is inserted as an empty one, and made NULL here.
        yield _updated(table, change.rowid, small, row, row)


def _update(
    change: Written, before: Sequence[Value], after: Sequence[Value], limits: LobLimits
) -> Iterator[Line]:
    table = change.table
    changed = _changed(table, before, after)
    large = [place for place in changed if not limits.is_small(after[place], table.columns[place])]
    if not large:
        yield _updated(table, change.rowid, changed, before, after)
        return
    # A LOB that was NULL gets a locator in the row first; one that had a value is written over and trimmed.
    apart = [place for place in changed if place not in large or before[place] is None]
    if apart:
        emptied = list(after)
        for place in large:
            emptied[place] = _empty(after[place])
        yield _updated(table, PLACEHOLDER, apart, before, emptied)
    for place in large:
        yield from _writes(table, place, after, limits)
        if before[place] is not None:
            call = LobCall(column=place, length=_length(after[place]))
            yield _lob_line(Op.LOB_TRIM, table, after, call)


def _updated(
    table: TableShape,
    rowid: str,
    places: Sequence[int],
    before: Sequence[Value],
    after: Sequence[Value],
) -> Line:
    named = _places(table) if table.all_columns else [*_key(table), *places]
    where = _logged(table, before, [place for place in _places(table) if place in named])
    has_long = any(table.columns[place].kind in LONGS for place in places)
    return Line(
        op=Op.UPDATE,
        table=table,
        rowid=rowid,
        cells=tuple((place, after[place]) for place in places),
        where=where,
        status=2 if has_long else 0,  # with an empty INFO: usable
    )


def _writes(
    table: TableShape, place: int, row: Sequence[Value], limits: LobLimits
) -> Iterator[Line]:
    yield Line(op=Op.LOCATOR, table=table)
    value = row[place]
    assert isinstance(value, str | bytes)
    for start in range(0, len(value), limits.piece):
        piece = value[start : start + limits.piece]
        call = LobCall(column=place, piece=piece, offset=start + 1)
        yield _lob_line(Op.LOB_WRITE, table, row, call)


def _lob_line(op: Op, table: TableShape, row: Sequence[Value], call: LobCall) -> Line:
    where = _logged(table, row, _places(table) if table.all_columns else _key(table))
    return Line(op=op, table=table, where=where, lob=call, status=2, info=NOT_REEXECUTABLE)


def _places(table: TableShape) -> list[int]:
    return [place for place, column in enumerate(table.columns) if not column.virtual]


def _key(table: TableShape) -> list[int]:
    return [place for place, column in enumerate(table.columns) if column.name in table.key]


def _logged(table: TableShape, row: Sequence[Value], places: Iterable[int]) -> Cells:
    """Keep what supplemental logging knows: never LOBs, LONGs and extended columns (1.1)."""
    return tuple((place, row[place]) for place in places if is_logged(table.columns[place]))


def is_logged(column: ColumnShape) -> bool:
    """Tell whether old values of a column can be in the redo."""
    return not (column.virtual or column.extended or column.kind in LOBS | LONGS)


def _changed(table: TableShape, before: Sequence[Value], after: Sequence[Value]) -> list[int]:
    places = _places(table)
    changed = [place for place in places if before[place] != after[place]]
    return changed or [place for place in places if is_logged(table.columns[place])][:1]


def _emptied(table: TableShape, place: int, row: Sequence[Value]) -> Value:
    column = table.columns[place]
    if column.kind not in LOBS:
        return row[place]
    return b"" if column.kind.name == "BLOB" else ""


def _empty(value: Value) -> Value:
    return b"" if isinstance(value, bytes) else ""


def _is_empty(value: Value) -> bool:
    return value in ("", b"")


def _length(value: Value) -> int:
    return len(value) if isinstance(value, str | bytes) else 0


def _row(row: Sequence[Value] | None) -> Sequence[Value]:
    if row is None:
        raise ValueError("a change came without the image of its row")
    return row
