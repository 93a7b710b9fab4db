"""Which change a ROLLBACK=1 row takes back: rollbacks to savepoints, and statements that failed.

Undo rows come newest change first. Their own redo address is new, so ROW_ID is what joins them: an undo takes back the
newest standing change of its transaction, table and ROW_ID. But row pieces of statements with LOBs have a placeholder
for ROW_ID, while their undo names the real one: if the newest standing change has the placeholder, and the undo is its
reverse, it is meant.

Nor is there one undo for each row: an insert with a LOB can be an insert and an update, and an update of a LOB nothing
but pieces.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from bowline_worker.endpoints.oracle.logrow import PLACEHOLDER_ROW_ID, Code
from bowline_worker.endpoints.oracle.rowchange import Parse, RowChange
from bowline_worker.endpoints.oracle.touches import is_touch_of
from bowline_worker.model import TableName

_REVERSE: Final = {
    Code.INSERT: Code.DELETE,
    Code.DELETE: Code.INSERT,
    Code.UPDATE: Code.UPDATE,
}


def undone_by(
    changes: Sequence[RowChange], code: int, table: TableName, row_id: str
) -> slice | None:
    """Give the changes that an undo row takes back; None: they are not among these.

    `changes` are the standing ones of its transaction, oldest first, or the newest of them. Touches stand for pieces
    of a row that have no undo of their own.
    """
    is_newest = True
    for index in range(len(changes) - 1, -1, -1):
        change = changes[index]
        if change.is_touch:
            continue
        if change.table == table:
            is_reverse = _REVERSE.get(Code(code)) == change.code
            if change.has_placeholder:
                if is_newest and is_reverse:
                    return slice(index, index + 1)
            elif change.row_id == row_id and row_id != PLACEHOLDER_ROW_ID:
                if is_reverse:
                    return slice(index, index + 1)
                return _whole_insert(changes, index, code)
        is_newest = False
    return None


def with_touches(changes: Sequence[RowChange], insert: slice, parse: Parse) -> slice:
    """Add the touches behind an insert that is taken back, as far as they are of its row: there is none to read."""
    row, end = changes[insert.start], insert.stop
    while end < len(changes) and changes[end].is_touch and is_touch_of(changes[end], row, parse):
        end += 1
    return slice(insert.start, end)


def undone_touches(
    changes: Sequence[RowChange], table: TableName, columns: Collection[str]
) -> range | None:
    """Give the touches at the end that an undo of only these columns takes back; None: it takes back no touch.

    An update of nothing but a large value is written in pieces alone, and yet undone as an update of that column.
    """
    end = len(changes)
    while end and changes[end - 1].is_touch and changes[end - 1].is_undone:
        end -= 1
    begin = end
    while begin and _is_of_one_row(changes[begin - 1], changes[end - 1], table):
        begin -= 1
    touched = {column for change in changes[begin:end] for column in change.reselect}
    return range(begin, end) if columns and touched.issuperset(columns) else None


def is_emptied_before(
    change: RowChange, touch: RowChange, columns: Collection[str], parse: Parse
) -> bool:
    """Tell whether the change before the pieces of a value only made room for it: their undo is its undo as well."""
    if change.code != Code.UPDATE or change.is_touch or not change.has_placeholder:
        return False
    emptied = parse(change.sql)
    return (
        change.table == touch.table
        and emptied.set.keys() == set(columns)
        and emptied.where == parse(touch.sql).where
    )


def _is_of_one_row(touch: RowChange, last: RowChange, table: TableName) -> bool:
    where = " where "
    return (
        touch.is_touch
        and not touch.is_undone
        and touch.table == table
        and touch.sql.partition(where)[2] == last.sql.partition(where)[2]
    )


def _whole_insert(changes: Sequence[RowChange], newest: int, code: int) -> slice | None:
    """Give an insert with a placeholder and the updates right behind it that gave its LOBs their values.

    One statement wrote them, so one undo may take them back. Anything else that is no reverse of the row's newest
    change means that rows are missing in between.
    """
    if code != Code.DELETE:
        return None
    row_id = changes[newest].row_id
    for index in range(newest, -1, -1):
        change = changes[index]
        if change.is_touch:
            continue
        if change.code == Code.INSERT and change.has_placeholder:
            return slice(index, newest + 1) if change.table == changes[newest].table else None
        if change.code != Code.UPDATE or change.row_id != row_id:
            return None
    return None
