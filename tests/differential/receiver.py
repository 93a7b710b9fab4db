"""A target in memory: applies decoded changes as they are meant, and strictly. It shares no code with the product."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from bowline_worker.model import UNCHANGED, Change, Op, Transaction, Value

Values = tuple[bytes | None, ...]


class Wrong(AssertionError):
    """A change that does not fit what is there."""


class Receiver:
    """Rows by table, each as its values by column; rows of a table without a key are counted."""

    def __init__(self) -> None:
        self.rows: defaultdict[str, dict[Values, dict[str, bytes | None]]] = defaultdict(dict)
        self.counted: defaultdict[str, Counter[tuple[tuple[str, bytes | None], ...]]] = defaultdict(
            Counter
        )
        self.transactions = 0

    def take(self, transaction: Transaction) -> None:
        self.transactions += transaction.ends
        for change in transaction.changes:
            if change.op is Op.TRUNCATE:
                self.rows[change.table.name].clear()
                self.counted[change.table.name].clear()
            elif change.table.name == "event":
                self._count(change)
            else:
                self._keyed(change)

    def _keyed(self, change: Change) -> None:
        table = self.rows[change.table.name]
        after = _cells(change.columns, change.after)
        old: dict[str, bytes | None] = {}
        if change.op is not Op.INSERT:
            key = _known(change.key)
            if key not in table:
                raise Wrong(f"{change.op} of {change.table} {key}, which is not there")
            old = table.pop(key)
        if change.op is Op.DELETE:
            return
        row = {name: old[name] if value is UNCHANGED else value for name, value in after.items()}
        new = (row["id"],)
        if new in table:
            raise Wrong(f"{change.op} of {change.table} {new}, which is there")
        table[new] = row

    def _count(self, change: Change) -> None:
        rows = self.counted[change.table.name]
        if change.op is not Op.INSERT:
            old = _counted(change.columns, change.before)
            if not rows[old]:
                raise Wrong(f"{change.op} of {change.table} {old}, which is not there")
            rows[old] -= 1
        if change.op is not Op.DELETE:
            rows[_counted(change.columns, change.after)] += 1


def _cells(columns: Sequence[str], row: Sequence[Value] | None) -> dict[str, Value]:
    return dict(zip(columns, row, strict=True)) if row is not None else {}


def _known(values: Sequence[Value]) -> Values:
    found = []
    for value in values:
        if value is UNCHANGED:
            raise Wrong("a key with a value that was not logged")
        found.append(value)
    return tuple(found)


def _counted(
    columns: Sequence[str], row: Sequence[Value] | None
) -> tuple[tuple[str, bytes | None], ...]:
    if row is None:
        raise Wrong("a change of a table without a key came without its row")
    return tuple(sorted(zip(columns, _known(row), strict=True)))
