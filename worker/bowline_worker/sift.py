"""Decide which of a stream's changes reach the receiver's tables, and what its signals say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from bowline_worker.bookkeeping import LaneRow
from bowline_worker.contract import Unsupported
from bowline_worker.fold import Shape
from bowline_worker.model import (
    Change,
    Op,
    Position,
    Row,
    SignalKind,
    TableName,
    Transaction,
)

#: A key in an error is there to find the row by, not to show it.
KEY_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a stream has told up to some block, beside rows."""

    passed: bool
    barrier: int = 0
    probe: int = 0
    canary: int = 0
    beat: int = 0
    position: str = ""

    @classmethod
    def of(cls, row: LaneRow) -> Seen:
        return cls(
            passed=row.passed,
            barrier=row.barrier,
            probe=row.probe,
            canary=row.canary,
            beat=row.beat,
            position=row.position,
        )


@dataclass(slots=True)
class Part:
    """What is left of some transactions: changes to apply, in order, and the position of each one's transaction."""

    changes: list[Change] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    discarded: int = 0  #: before the marker
    commits: list[float] = field(
        default_factory=list
    )  #: commit times at the origin, of what ended here


@dataclass(frozen=True, slots=True, kw_only=True)
class Sieve:
    """The rules of one stream: its marker, its tables, and how far each table's snapshot goes."""

    migration: str
    number: int
    shapes: Mapping[TableName, Shape]
    positions: Mapping[TableName, Position] | None  #: None: this stream follows no snapshot

    def sift(self, transactions: Iterable[Transaction], seen: Seen) -> tuple[Part, Seen]:
        part = Part()
        for transaction in transactions:
            marked = False
            for signal in transaction.signals:
                if signal.migration != self.migration:
                    continue
                match signal.kind:
                    case SignalKind.BARRIER:
                        seen = replace(seen, barrier=max(seen.barrier, signal.attempt))
                    case SignalKind.PROBE:
                        seen = replace(seen, probe=max(seen.probe, signal.attempt))
                    case SignalKind.CANARY:
                        seen = replace(seen, canary=max(seen.canary, signal.attempt))
                    case SignalKind.MARKER:
                        # Another attempt's marker ends nothing: its number is what tells streams apart.
                        marked = signal.attempt == self.number
                    case SignalKind.HEARTBEAT:
                        seen = replace(seen, beat=max(seen.beat, signal.attempt))
            if seen.passed:
                self._keep(part, transaction)
            else:
                part.discarded += len(transaction.changes)
            # Only what follows the marker's transaction was written by applications.
            seen = replace(seen, passed=seen.passed or marked, position=transaction.position.text)
            if transaction.ends:
                part.commits.append(transaction.committed_at)
        return part, seen

    def _keep(self, part: Part, transaction: Transaction) -> None:
        position = transaction.position
        for change in transaction.changes:
            if change.table not in self.shapes:
                raise Unsupported(
                    f"table {change.table} changed at {position}, and the receiver has no such table selected",
                    reason="SchemaChanged",
                    hint="make the tables equal on both sides, then start the stream again",
                )
            if self.positions is not None:
                copied = self.positions.get(change.table)
                if copied is None:
                    raise Unsupported(
                        f"table {change.table} changed at {position}, and the snapshot does not have it",
                        reason="SchemaChanged",
                        hint="tables can't be added to a migration that has begun",
                    )
                if position < copied:
                    continue  # the snapshot of this table shows it already
            part.changes.append(change)
            part.positions.append(position)


def name_change(change: Change, shape: Shape, position: Position) -> str:
    """Name a change for people: table, key and position, and no other value."""
    verb = {Op.INSERT: "INSERT", Op.UPDATE: "UPDATE", Op.DELETE: "DELETE", Op.TRUNCATE: "TRUNCATE"}
    text = f"{verb[change.op]} of {change.table}"
    if change.op is not Op.TRUNCATE:
        old, new = shape.keys(change) if shape.table.key else (None, None)
        keys = [_name_key(key, shape) for key in dict.fromkeys((old, new)) if key]
        text += f", key {' to '.join(keys)}," if keys else ", a table without a key,"
    return f"{text} in the transaction at {position}"


def _name_key(key: Row, shape: Shape) -> str:
    pairs = zip(shape.table.key, key, strict=True)
    text = ", ".join(
        f"{name}={value.decode(errors='replace') if isinstance(value, bytes) else value}"
        for name, value in pairs
    )
    return text if len(text) <= KEY_CHARACTERS else text[: KEY_CHARACTERS - 3] + "..."
