"""The neutral model of tables and changes that every engine's endpoint speaks.

A value is the UTF-8 text form that PostgreSQL prints under fixed session settings (DateStyle ISO, IntervalStyle
postgres, extra_float_digits 3, bytea_output hex, TimeZone UTC, lc_monetary C, search_path pg_catalog), or None for
NULL, or UNCHANGED where the origin did not log it.
Another engine's endpoint turns its literals into that form and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import total_ordering
from typing import Final, Literal, TypeAlias


class _Unchanged(Enum):
    UNCHANGED = "UNCHANGED"


UNCHANGED: Final = _Unchanged.UNCHANGED
Value: TypeAlias = bytes | None | Literal[_Unchanged.UNCHANGED]
Row: TypeAlias = tuple[Value, ...]


@total_ordering
@dataclass(frozen=True, slots=True)
class Position:
    """A place in one origin's change stream: opaque and ordered within its engine.

    `order` sorts; `text` is what people read (an LSN, an SCN). Only the endpoint that made it looks inside.
    """

    order: int
    text: str

    def __lt__(self, other: Position) -> bool:
        return self.order < other.order

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class TableName:
    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    name: str
    type_schema: str
    type_name: str  #: the type's own name, without modifier: `numeric`, `_int4`, `shop_status`
    type_text: str  #: as people write it, with modifier: `numeric(12,2)`
    made_of: str = ""  #: what a type of the database's own consists of, where that can differ: `(a integer, b text)`
    not_null: bool = False
    generated: bool = False  #: computed by the database: never written
    identity_always: bool = False
    #: The engine stores NULL for an empty text or no bytes.
    empty_is_null: bool = field(default=False, compare=False)
    #: The engine's own, which no other column of the table ever had: another on the other side.
    number: int = field(default=0, compare=False)

    @property
    def whole_type(self) -> str:
        """All of its type that must be the same on both sides."""
        return f"{self.type_text} {self.made_of}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A leaf that holds rows: an ordinary table or a partition. Partitioned parents hold none and are not listed."""

    name: TableName
    columns: tuple[Column, ...]  #: in the order of the table, dropped ones left out
    key: tuple[
        str, ...
    ]  #: columns that identify a row in the stream; empty: a multiset, identified by all columns
    one_lane: bool  #: its changes can't be spread over lanes: no key, a further unique index, or equal keys that differ
    estimated_rows: int = 0
    estimated_bytes: int = 0
    parent: TableName | None = None  #: of a partition
    #: The engine's own, which no other table ever had: another on the other side.
    identity: str = field(default="", compare=False)
    persistent: bool = True  #: False: unlogged, so nothing of it is in the redo

    @property
    def written(self) -> tuple[Column, ...]:
        """The columns that rows carry: all but the generated ones."""
        return tuple(column for column in self.columns if not column.generated)


class Op(StrEnum):
    INSERT = "I"
    UPDATE = "U"
    DELETE = "D"
    TRUNCATE = "T"


@dataclass(slots=True)
class Change:
    """One change of one row, or a TRUNCATE of one table.

    `columns` names what `after` (and `before`) hold, in order. INSERT: after. UPDATE: after, with UNCHANGED where
    the origin did not log a value. DELETE: before. `before` of an UPDATE is there when the key changed, or for a
    table without a key; where only the key is logged its other values are None. `key` holds the key columns'
    values that find the row *before* the change (empty for a table without a key: `before` finds it).
    """

    op: Op
    table: TableName
    columns: Sequence[str]
    key: Row = ()
    before: Row | None = None
    after: Row | None = None


class SignalKind(StrEnum):
    """Bowline's own rows in a stream. They pass lanes that still wait for their marker; table rows don't."""

    BARRIER = "barrier"  #: written behind the fence: whoever applied it has everything
    MARKER = "marker"  #: written with the retirement of the other stream: table rows before it are Bowline's own
    PROBE = "probe"  #: a canary before the fence: the way back works
    CANARY = "canary"  #: written after the marker: the way back works, and is open
    HEARTBEAT = "heartbeat"  #: its attempt is its own number; gives lag and lets idle slots advance


@dataclass(frozen=True, slots=True)
class Signal:
    kind: SignalKind
    attempt: int
    migration: str


@dataclass(slots=True, kw_only=True)
class Transaction:
    """What one origin transaction did, or a part of it where a huge one spans blocks."""

    position: Position  #: of the commit
    committed_at: float  #: seconds since the epoch, by the origin's clock
    changes: list[Change] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    starts: bool = True
    ends: bool = True
