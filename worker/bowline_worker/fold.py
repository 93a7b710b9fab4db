"""Fold a lane's changes to the last state of each key, so that they can be applied as sets.

Correct for any history that a database can have: keys that are deleted and come back, chains and swaps of keys,
values that the origin did not log. What can't be folded (TRUNCATE, tables without a key, an incomplete image that
moves to another key) is handed back as it came, to be applied one by one in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bowline_worker.contract import Unsupported
from bowline_worker.endpoints.base import TableBatch
from bowline_worker.model import UNCHANGED, Change, Op, Row, Table, TableName

Key: TypeAlias = Row


class Shape:
    """How the rows in changes of one table map to the receiver's columns and key."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.names = tuple(column.name for column in table.written)
        missing = [name for name in table.key if name not in self.names]
        if missing:
            raise Unsupported(f"table {table.name}: key column {missing[0]} is not written by rows")
        self.key_at = tuple(self.names.index(name) for name in table.key)
        self._seen: Sequence[str] | None = None
        self._order: tuple[int, ...] | None = None  # None: as the receiver has them

    def arrange(self, change: Change, row: Row) -> Row:
        """Put a row's values in the order of the receiver's written columns; refuse any other set of columns."""
        if change.columns is not self._seen:
            self._look(change.columns)
        if self._order is None:
            return row
        return tuple(row[at] for at in self._order)

    def _look(self, columns: Sequence[str]) -> None:
        if sorted(columns) != sorted(self.names):
            differ = sorted(set(columns) ^ set(self.names))
            raise Unsupported(
                f"table {self.table.name}: columns differ between the stream and the receiver: "
                f"{', '.join(differ)}",
                reason="SchemaChanged",
                hint="make the table equal on both sides, then start the stream again",
            )
        names = tuple(columns)
        same = names == self.names
        self._order = None if same else tuple(names.index(name) for name in self.names)
        self._seen = columns

    def keys(self, change: Change) -> tuple[Key | None, Key | None]:
        """The key that the row has before the change, and the one after it; None where there is no row.

        Found by column name in the rows: the origin's key may list its columns in another order.
        """
        old = new = None
        if change.before is not None:
            old = self._key(change, change.before)
        elif change.op is Op.DELETE:
            old = change.key
        if change.after is not None:
            after = self.arrange(change, change.after)
            new = tuple(after[at] for at in self.key_at)
            if old is not None and UNCHANGED in new:
                new = tuple(o if n is UNCHANGED else n for o, n in zip(old, new, strict=True))
            self._check(new)
            if change.op is Op.UPDATE and old is None:
                self._agree(change, new)
                old = new
        return old, new

    def _key(self, change: Change, row: Row) -> Key:
        row = self.arrange(change, row)
        key = tuple(row[at] for at in self.key_at)
        self._check(key)
        return key

    def _check(self, key: Key) -> None:
        for value, name in zip(key, self.table.key, strict=True):
            if not isinstance(value, bytes):
                raise Unsupported(
                    f"table {self.table.name}: a change came without its key column {name}",
                    hint="the replica identity at the origin must hold the receiver's key",
                )

    def _agree(self, change: Change, key: Key) -> None:
        # An origin that identifies rows by other columns would not tell when ours change.
        if change.key and change.key != key and set(change.key) != set(key):
            raise Unsupported(
                f"table {self.table.name}: the origin identifies its rows by other columns than "
                f"{', '.join(self.table.key)}",
                hint="make the primary key the replica identity at the origin",
            )


@dataclass(slots=True)
class Folded:
    """What to do: sets first, then what must go one by one. They never share a table."""

    batches: list[TableBatch] = field(default_factory=list)
    ordered: list[Change] = field(default_factory=list)


class _NotFoldableError(Exception):
    """This table's history needs the form that goes row by row."""


class _Rows:
    """One table's keys: whether each had a row before the first change, and its row now (None: no row).

    UNCHANGED in a row means the value that the row of this key had before the first change.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.rows: dict[Key, tuple[bool, Row | None]] = {}

    def add(self, change: Change) -> None:
        old, new = self.shape.keys(change)
        after = None if change.after is None else self.shape.arrange(change, change.after)
        if change.op is Op.UPDATE and old == new and old is not None and after is not None:
            self._update(old, after)
            return
        if change.op is Op.UPDATE and old is not None and after is not None:
            after = self._moved(old, new, after)
        if old is not None:
            self._delete(old)
        if new is not None and after is not None:
            self._insert(new, after)

    def _update(self, key: Key, after: Row) -> None:
        existed, row = self.rows.get(key, (True, after))
        if row is None:
            raise _NotFoldableError
        if row is not after:
            after = _merge(row, after)
        self.rows[key] = existed, self._with_key(key, after)

    def _moved(self, old: Key, new: Key | None, after: Row) -> Row:
        """The complete image of a row that leaves its key."""
        held = self.rows.get(old)
        if held is not None and held[1] is not None:
            after = _merge(held[1], after)
        if new is not None:
            after = self._with_key(new, after)
        if UNCHANGED in after:
            raise _NotFoldableError
        return after

    def _with_key(self, key: Key, row: Row) -> Row:
        # A long key value may not be logged in the new image: the key says it.
        if UNCHANGED not in row:
            return row
        values = list(row)
        for at, value in zip(self.shape.key_at, key, strict=True):
            values[at] = value
        return tuple(values)

    def _delete(self, key: Key) -> None:
        existed, row = self.rows.get(key, (True, ()))
        if row is None:
            raise _NotFoldableError
        self.rows[key] = existed, None

    def _insert(self, key: Key, row: Row) -> None:
        existed, held = self.rows.get(key, (False, None))
        if held is not None or UNCHANGED in row:
            raise _NotFoldableError
        self.rows[key] = existed, row

    def batch(self) -> TableBatch:
        batch = TableBatch(table=self.shape.table)
        names, key_at = self.shape.names, set(self.shape.key_at)
        others = tuple(at for at in range(len(names)) if at not in key_at)
        all_names = tuple(names[at] for at in others)
        for key, (existed, row) in self.rows.items():
            if row is None:
                if existed:
                    batch.deletes.append(key)
            elif not existed:
                batch.inserts.append(row)
            elif UNCHANGED in row:
                known = [at for at in others if row[at] is not UNCHANGED]
                columns = tuple(names[at] for at in known)
                batch.updates.setdefault(columns, []).append((*key, *(row[at] for at in known)))
            else:
                batch.updates.setdefault(all_names, []).append((*key, *(row[at] for at in others)))
        return batch


def fold(changes: Sequence[Change], shapes: Mapping[TableName, Shape]) -> Folded:
    """Fold the changes of one lane, oldest first."""
    # `ordered` are the tables that can't be folded as a whole: part sets, part single rows would mix their order.
    ordered = {change.table for change in changes if change.op is Op.TRUNCATE}
    for change in changes:
        if change.op is not Op.INSERT and not shapes[change.table].table.key:
            ordered.add(change.table)
    tables: dict[TableName, _Rows] = {}
    keyless: dict[TableName, TableBatch] = {}
    for change in changes:
        name = change.table
        if name in ordered:
            continue
        shape = shapes[name]
        if not shape.table.key:
            batch = keyless.setdefault(name, TableBatch(table=shape.table))
            batch.inserts.append(shape.arrange(change, change.after or ()))
            continue
        if name not in tables:
            tables[name] = _Rows(shape)
        try:
            tables[name].add(change)
        except _NotFoldableError:
            ordered.add(name)
    folded = Folded(batches=list(keyless.values()))
    for name, rows in tables.items():
        if name not in ordered:
            folded.batches.append(rows.batch())
    folded.ordered = [change for change in changes if change.table in ordered]
    return folded


def shapes_of(tables: Iterable[Table]) -> dict[TableName, Shape]:
    return {table.name: Shape(table) for table in tables}


def _merge(row: Row, after: Row) -> Row:
    """The newer image, with what it leaves unchanged taken from the older one."""
    if UNCHANGED not in after:
        return after
    return tuple(old if new is UNCHANGED else new for old, new in zip(row, after, strict=True))
