"""Rows with their versions, and indexes over all versions.

A row's versions are what has been committed, each with its SCN; what a transaction has written and not committed is
`current`, and belongs to `writer` alone. A row whose newest version is None is deleted and kept for flashback.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from oracle.standin.backend import Kind, Value
from oracle.standin.engine.conversion import key_of
from oracle.standin.engine.datatypes import LOBS, DataType
from oracle.standin.engine.evaluation import Key
from oracle.standin.engine.rowids import nth_rowid
from oracle.standin.engine.tree import Expr
from oracle.standin.events import ColumnShape, TableShape

if TYPE_CHECKING:
    from oracle.standin.engine.catalog import Constraint, Counter, Trigger
    from oracle.standin.engine.transactions import Transaction

Values: TypeAlias = tuple[Value, ...]


class Row:
    """One row, through all its versions."""

    __slots__ = ("current", "rowid", "versions", "writer")

    def __init__(self, rowid: str) -> None:
        self.rowid = rowid
        self.versions: list[tuple[int, Values | None]] = []
        self.writer: Transaction | None = None
        self.current: Values | None = None

    @property
    def committed(self) -> Values | None:
        return self.versions[-1][1] if self.versions else None

    @property
    def scn(self) -> int:
        """Of its last committed change: ORA_ROWSCN."""
        return self.versions[-1][0] if self.versions else 0

    def seen(self, reader: Transaction | None, scn: int | None = None) -> Values | None:
        """What a transaction sees: its own writing, else what is committed, now or at an SCN."""
        if reader is not None and self.writer is reader:
            return self.current
        if scn is not None:
            return self.as_of(scn)
        return self.versions[-1][1] if self.versions else None

    def as_of(self, scn: int) -> Values | None:
        """What was committed at this SCN or before."""
        if self.versions and self.versions[-1][0] <= scn:
            return self.versions[-1][1]
        place = bisect_right(self.versions, scn, key=lambda version: version[0])
        return self.versions[place - 1][1] if place else None


@dataclass(slots=True, eq=False)
class Column:
    """A column of a table."""

    name: str
    type: DataType
    default: Expr | None = None
    default_text: str | None = None
    default_on_null: bool = False
    virtual: Expr | None = None
    virtual_text: str | None = None
    identity: str | None = None  #: ALWAYS or BY DEFAULT
    sequence: Counter | None = None
    hidden: bool = False  #: INVISIBLE


@dataclass(slots=True, eq=False)
class Index:
    """Entries for every version of every row: a reader compares what it finds with what it sees."""

    owner: str
    name: str
    columns: tuple[int, ...]
    keys: tuple[Callable[[Value], Key], ...]
    unique: bool = False
    internal: bool = False  #: serves a foreign key; not in the dictionary
    object_id: int = 0
    entries: dict[tuple[Key, ...], dict[Row, None]] = field(default_factory=dict)
    #: Open transactions that gave a key to a row or took it away, and how often: until they end, or take it back,
    #: nobody else can tell whether the key is free.
    claims: dict[tuple[Key, ...], dict[Transaction, int]] = field(default_factory=dict)

    @property
    def guards(self) -> bool:
        """Tell whether a constraint may depend on it."""
        return self.unique or self.internal

    def moved(self, before: Values | None, after: Values | None) -> set[tuple[Key, ...]]:
        """The keys that a change takes away or gives."""
        keys = {self.key(values) for values in (before, after) if values is not None}
        return keys if len(keys) == 2 or before is None or after is None else set()

    def claim(self, key: tuple[Key, ...], by: Transaction) -> None:
        holders = self.claims.setdefault(key, {})
        holders[by] = holders.get(by, 0) + 1

    def release(self, key: tuple[Key, ...], by: Transaction, *, wholly: bool) -> None:
        """Give a claim back, or all of a transaction's."""
        holders = self.claims.get(key, {})
        holders[by] = 0 if wholly else holders.get(by, 0) - 1
        if holders[by] <= 0:
            del holders[by]
        if not holders:
            self.claims.pop(key, None)

    def others(self, key: tuple[Key, ...], than: Transaction) -> list[Transaction]:
        """The other transactions that decide about a key."""
        return [one for one in self.claims.get(key, ()) if one is not than]

    def key(self, values: Sequence[Value]) -> tuple[Key, ...]:
        return tuple(
            key(values[column]) for key, column in zip(self.keys, self.columns, strict=True)
        )

    def add(self, row: Row, values: Values) -> None:
        self.entries.setdefault(self.key(values), {})[row] = None

    def find(self, key: tuple[Key, ...]) -> list[Row]:
        return list(self.entries.get(key, ()))

    def drop(self, row: Row) -> None:
        """Forget a row that has never been."""
        values = [row.current, *(version for _, version in row.versions)]
        for one in values:
            if one is not None and (rows := self.entries.get(self.key(one))):
                rows.pop(row, None)


class Table:
    """A table of one container."""

    def __init__(self, owner: str, name: str, object_id: int, container: str) -> None:
        self.owner = owner
        self.name = name
        self.object_id = object_id
        self.data_object_id = object_id
        self.container = container
        self.columns: list[Column] = []
        self.constraints: dict[str, Constraint] = {}
        self.indexes: list[Index] = []
        self.triggers: list[Trigger] = []
        self.rows: dict[str, Row] = {}
        self.holders: dict[Transaction, int] = {}
        #: Who waits for a lock, and for which, in the order in which they came.
        self.queue: dict[Transaction, int] = {}
        self.supplemental: dict[str, str] = {}  #: log groups: name and type
        self.defined_scn = 0  #: no flashback before it
        self.version = 1
        self.temporary = False
        self._next_row = 0
        self._shape: TableShape | None = None
        self.shape_revision = 0

    @property
    def named(self) -> tuple[str, str]:
        return self.owner, self.name

    @property
    def place(self) -> str:
        return f'"{self.owner}"."{self.name}"'

    def position(self, name: str) -> int | None:
        """Where a column stands."""
        return next((at for at, column in enumerate(self.columns) if column.name == name), None)

    def next_rowid(self) -> str:
        self._next_row += 1
        return nth_rowid(self.data_object_id, self._next_row - 1)

    @property
    def blocks(self) -> int:
        """How many rows its blocks have had; what DBA_EXTENTS is made of."""
        return self._next_row

    def empty(self, data_object_id: int) -> None:
        """TRUNCATE: a new segment."""
        self.data_object_id = data_object_id
        self.rows = {}
        self._next_row = 0
        for index in self.indexes:
            index.entries = {}

    def trade_segments(self, other: Table) -> None:
        """Take each other's rows, as they are: EXCHANGE PARTITION."""
        self.data_object_id, other.data_object_id = other.data_object_id, self.data_object_id
        self.rows, other.rows = other.rows, self.rows
        self._next_row, other._next_row = other._next_row, self._next_row
        for table in (self, other):
            for index in table.indexes:
                index.entries = {}
                for row in table.rows.values():
                    for _, values in row.versions:
                        if values is not None:
                            index.add(row, values)

    def seen(self, reader: Transaction | None, scn: int | None) -> Iterator[tuple[Row, Values]]:
        """All rows that a transaction sees; all that were committed at an SCN, and its own."""
        for row in list(self.rows.values()):
            values = row.seen(reader, scn)
            if values is not None:
                yield row, values

    @property
    def primary(self) -> Constraint | None:
        return next((one for one in self.constraints.values() if one.type == "P"), None)

    def not_null(self, column: str) -> bool:
        primary = self.primary
        if primary is not None and column in primary.columns and primary.enabled:
            return True
        return any(
            one.not_null and one.enabled and one.columns == (column,)
            for one in self.constraints.values()
        )

    def changed(self, *, columns: bool = False) -> None:
        """Its definition is another now."""
        self.version += columns
        self._shape = None
        self.shape_revision += 1

    def shape(self, *, all_columns: bool) -> TableShape:
        """The table as the redo log is told of it. `all_columns`: the database logs them anyway."""
        if self._shape is None or self._shape.all_columns != self._all(all_columns):
            primary = self.primary
            self._shape = TableShape(
                self.owner,
                self.name,
                self.object_id,
                tuple(self._column_shape(column) for column in self.columns),
                self.version,
                self._all(all_columns),
                primary.columns if primary is not None else (),
                self.container,
            )
        return self._shape

    def _all(self, database: bool) -> bool:
        return database or "ALL COLUMN LOGGING" in self.supplemental.values()

    def _column_shape(self, column: Column) -> ColumnShape:
        kind = column.type
        return ColumnShape(
            column.name,
            kind.kind,
            kind.length,
            kind.precision,
            kind.scale,
            kind.national,
            kind.byte_semantics,
            self.not_null(column.name),
            column.virtual is not None,
            kind.kind in (Kind.VARCHAR2, Kind.RAW) and kind.bytes > 4000,
        )

    def keys(self, columns: Sequence[int]) -> tuple[Callable[[Value], Key], ...]:
        """Key functions of columns. ORA-02327 for a LOB."""
        return tuple(key_of(self.columns[column].type) for column in columns)

    def build(self, index: Index) -> None:
        """Put an index on the rows that are there."""
        self.indexes.append(index)
        for row in self.rows.values():
            for _, values in row.versions:
                if values is not None:
                    index.add(row, values)

    def is_lob(self, column: int) -> bool:
        return self.columns[column].type.kind in LOBS
