"""Spread the changes of a span over lanes, so that no two lanes ever need the same row, or wait for each other.

The same span, tables and number of lanes give the same lanes, in every process: a lane that lags behind after a crash
applies exactly the part that it had not.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bowline_worker.fold import Shape
from bowline_worker.model import UNCHANGED, Change, Column, Op, Row, Table, TableName

#: Names the rules of this module: whoever changes an assignment changes this, see `Spread`.
RULES = 1

#: Equal keys of these types have equal text. Others (citext, numeric without a scale, floats) may write one key in
#: two ways, which must not land in two lanes.
ONE_TEXT = frozenset(
    (
        *("bool", "bytea", "char", "date", "int2", "int4", "int8", "name", "oid", "text"),
        *("time", "timestamp", "timestamptz", "uuid", "varchar"),
    )
)


@dataclass(frozen=True, slots=True)
class Spread:
    """All that an assignment depends on beside the changes. Kept until no lane lags: see the role."""

    lanes: int
    whole: frozenset[TableName]  #: tables that are one lane's each
    rules: int = RULES


def spread(tables: Iterable[Table], lanes: int) -> Spread:
    """Decide which tables can't be spread by key."""
    whole = {table.name for table in tables if table.one_lane or not _spreads_by_key(table)}
    return Spread(lanes, frozenset(whole))


def _spreads_by_key(table: Table) -> bool:
    key = [column for column in table.columns if column.name in table.key]
    return bool(key) and all(_has_one_text(column) for column in key)


def _has_one_text(column: Column) -> bool:
    if column.type_schema != "pg_catalog":
        return False
    return column.type_name in ONE_TEXT or (
        column.type_name == "numeric" and "," in column.type_text
    )


def assign(
    changes: Sequence[Change], shapes: Mapping[TableName, Shape], spread: Spread
) -> list[int]:
    """Give each change its lane."""
    if spread.lanes == 1 or any(change.op is Op.TRUNCATE for change in changes):
        # The order of a TRUNCATE matters to every row of its table, in any lane.
        return [0] * len(changes)
    joined = _Joined()
    marks: list[bytes] = []
    for change in changes:
        name = change.table
        if name in spread.whole:
            marks.append(key_mark(name, ()))
            continue
        old, new = shapes[name].keys(change)
        key = new if old is None else old
        mark = key_mark(name, key or ())
        if old is not None and new is not None and old != new:
            joined.join(mark, key_mark(name, new))
        marks.append(mark)
    return [zlib.crc32(joined.root(mark)) % spread.lanes for mark in marks]


def key_mark(name: TableName, key: Row) -> bytes:
    """Write a table's name and a key so that no two of them look alike."""
    parts: Collection[bytes] = (
        name.schema.encode(),
        name.name.encode(),
        *(value for value in key if value is not None and value is not UNCHANGED),
    )
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


class _Joined:
    """Keys that a change of key joins: they share a lane through the whole span."""

    def __init__(self) -> None:
        self._parent: dict[bytes, bytes] = {}

    def root(self, mark: bytes) -> bytes:
        parent = self._parent
        if not parent:
            return mark
        while (above := parent.get(mark, mark)) != mark:
            parent[mark] = parent.get(above, above)
            mark = above
        return mark

    def join(self, one: bytes, other: bytes) -> None:
        # The smaller one leads, so that the group's lane does not depend on the order of its moves.
        low, high = sorted((self.root(one), self.root(other)))
        if low != high:
            self._parent[high] = low
