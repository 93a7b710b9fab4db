"""The SQL by which lanes apply changes to one table of Oracle, and the rows as they are bound to it.

A statement's text depends on its columns, and on which of them are empty LOBs: those can't be bound. Text and
types stay the same from one call to the next, so that the server parses a statement once. Columns that are bound as
LONG come last wherever there is a choice, for a long value must not stand before shorter ones (ORA-24816).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import oracledb

from bowline_worker.contract import Unsupported
from bowline_worker.endpoints.base import RowConflict
from bowline_worker.endpoints.oracle.catalog import OracleTable
from bowline_worker.endpoints.oracle.conflicts import changed
from bowline_worker.endpoints.oracle.connection import quote
from bowline_worker.endpoints.oracle.kinds import Bind, OracleType
from bowline_worker.endpoints.oracle.redo import Mark
from bowline_worker.endpoints.oracle.snapshot import EMPTY_LOBS, IS_THERE, LONG_TYPES
from bowline_worker.model import UNCHANGED, Row, Table, Value

Bound = tuple[Bind, ...]

#: What one round trip may carry: the driver has all of it in memory twice.
ROWS_AT_ONCE: Final = 5_000
BYTES_AT_ONCE: Final = 8 << 20
#: What a value of any length costs beside its text.
VALUE_BYTES: Final = 20
#: Statements of one table that are kept: one for each set of columns, and of empty LOBs in them.
KEPT: Final = 200

#: The driver takes a character for four bytes, and more than 4000 (of RAW 2000) may become a LONG: then nothing that
#: is no LONG may come behind it.
TEXT_CHARACTERS: Final = 1_000
RAW_BYTES: Final = 2_000
#: Times, intervals and ROWIDs are bound as text.
MASKED_CHARACTERS: Final = 64

_TEXTS: Final = frozenset(("DB_TYPE_VARCHAR", "DB_TYPE_NVARCHAR", "DB_TYPE_CHAR", "DB_TYPE_NCHAR"))
_MARKS: Final[Mapping[str, Mark]] = {
    "CLOB": Mark.EMPTY_CLOB,
    "NCLOB": Mark.EMPTY_CLOB,
    "BLOB": Mark.EMPTY_BLOB,
}


@dataclass(frozen=True, slots=True)
class Statement:
    """A text whose binds are values of a row: `takes` are their places there, in the order of the binds."""

    text: str
    takes: tuple[int, ...]
    types: tuple[
        tuple[Any, int], ...
    ]  #: the driver's constants, and how much room text and bytes have at first

    def declare(self, cursor: oracledb.Cursor) -> None:
        """Tell the driver the binds' types, which NULL alone would not, for the next execution."""
        if self.types:
            cursor.setinputsizes(
                *(cursor.var(kind, size) if size else kind for kind, size in self.types)
            )


@dataclass(slots=True)
class Batch:
    """Rows for one statement, and their places in the set that they came in."""

    statement: Statement
    rows: list[list[Bind]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def pieces(self) -> Iterator[tuple[list[list[Bind]], list[int]]]:
        """Split in what goes in one round trip each."""
        start = size = 0
        for at, row in enumerate(self.rows):
            weight = sum(_weight(value) for value in row)
            if at > start and (at - start >= ROWS_AT_ONCE or size + weight > BYTES_AT_ONCE):
                yield self.rows[start:at], self.places[start:at]
                start, size = at, 0
            size += weight
        if self.rows:
            yield self.rows[start:], self.places[start:]


class Statements:
    """One table's. Rows are those of `table`, in its order of columns and key; names and types are Oracle's."""

    def __init__(self, of: OracleTable, table: Table) -> None:
        self.table = table
        self.name = of.quoted
        self.names = tuple(column.name for column in table.written)
        # Without a key all columns tell rows apart.
        told_by = table.key or self.names
        self._kinds = {
            name: replace(kind, terms=kind.terms.of_key()) if name in told_by else kind
            for name, kind in of.kinds.items()
        }
        self._made: dict[Hashable, Statement] = {}
        here = {column.name for column in of.table.written}
        if differ := sorted(here ^ set(self.names)):
            raise changed(table, f"columns {', '.join(differ)} are not on both sides")
        if absent := sorted(set(table.key) - here):
            raise changed(table, f"key column {absent[0]} is not there any more")

    # --- rows ---

    def values(self, names: Sequence[str], row: Row) -> Bound:
        """What is bound for values of those columns.

        ValueRefused where one has no exact counterpart; RowConflict for NULL in a column that takes none: where it
        has a DEFAULT ON NULL, Oracle would store that instead.
        """
        return tuple(self._value(name, value) for name, value in zip(names, row, strict=True))

    def _value(self, name: str, value: Value) -> Bind:
        kind = self._kinds[name]
        found = kind.to_oracle(known(value))
        if found is None and not kind.column.nullable:
            raise RowConflict(f"{self.table.name}: column {name} takes no NULL")
        return found

    def before(self, row: Row) -> Bound:
        """What is bound for a row that is looked for: NULL may be in any of its columns."""
        return tuple(
            self._kinds[name].to_oracle(known(value))
            for name, value in zip(self.names, row, strict=True)
        )

    def kept(self, names: Sequence[str], row: Sequence[Any]) -> Bound:
        """What is bound for values that `fetch` brought: text of the model may be less exact than they are."""
        lobs = self._lobs(names)
        found = list(row[: len(names)])
        for at, is_there in zip(lobs, row[len(names) :], strict=True):
            if is_there and not found[at]:
                found[at] = _MARKS[self._kinds[names[at]].column.data_type]
        return tuple(found)

    def batches(
        self, rows: Sequence[Bound], make: Callable[[frozenset[int]], Statement]
    ) -> list[Batch]:
        """Group rows by which of their values are empty LOBs; `make` gives the statement for such places."""
        found: dict[frozenset[int], Batch] = {}
        for place, row in enumerate(rows):
            empty = frozenset(at for at, value in enumerate(row) if isinstance(value, Mark))
            batch = found.get(empty)
            if batch is None:
                batch = found[empty] = Batch(make(empty))
            batch.rows.append([row[at] for at in batch.statement.takes])
            batch.places.append(place)
        return list(found.values())

    # --- sets: a row is the key's values first ---

    def delete(self, _: frozenset[int] = frozenset()) -> Statement:
        def make() -> Statement:
            binds = _Binds(self._kinds)
            return binds.statement(f"delete from {self.name} where {self._found(binds)}")

        return self._once("delete", make)

    def update(self, columns: Sequence[str], empty: frozenset[int]) -> Statement:
        """Without columns: lock the row that is there, and count it, as an update would."""

        def make() -> Statement:
            binds = _Binds(self._kinds, empty)
            count = len(self.table.key)
            sets = [
                f"{self._quoted(columns[at - count])} = {binds.add(columns[at - count], at)}"
                for at in self._ordered(columns, count)
            ]
            first = self._quoted(self.table.key[0])
            text = ", ".join(sets) or f"{first} = {first}"
            return binds.statement(f"update {self.name} set {text} where {self._found(binds)}")

        return self._once(("update", tuple(columns), empty), make)

    def insert(self, empty: frozenset[int]) -> Statement:
        """A row is complete, in the order of `names`."""

        def make() -> Statement:
            binds = _Binds(self._kinds, empty)
            order = self._ordered(self.names, 0)
            columns = ", ".join(self._quoted(self.names[at]) for at in order)
            values = ", ".join(binds.add(self.names[at], at) for at in order)
            return binds.statement(f"insert into {self.name} ({columns}) values ({values})")

        return self._once(("insert", empty), make)

    def fetch(self, names: Sequence[str]) -> Statement:
        """Select those columns of the row with a key, as their types want them; then whether each LOB is there."""
        binds = _Binds(self._kinds)
        columns = [self._kinds[name].select(self._quoted(name)) for name in names]
        there = [IS_THERE.format(self._quoted(names[at])) for at in self._lobs(names)]
        listed = ", ".join(columns + there)
        return binds.statement(f"select {listed} from {self.name} where {self._found(binds)}")

    def delete_all(self) -> str:
        """TRUNCATE as a part of the transaction: Oracle's own would commit."""
        return f"delete from {self.name}"

    # --- one row without a key ---

    def delete_one(self, before: Bound) -> tuple[Statement, list[Bind]]:
        """Delete one of the rows that equal `before` in every column."""
        binds = _Binds(self._kinds)
        text = f"delete from {self.name} where rowid = {self._equal(binds, before)}"
        return binds.statement(text), [before[at] for at in binds.takes]

    def update_one(self, before: Bound, after: Row) -> tuple[Statement, list[Bind]]:
        """Set what the change says in one of the rows that equal `before` in every column."""
        columns = [
            name for name, value in zip(self.names, after, strict=True) if value is not UNCHANGED
        ]
        wanted = [value for value in after if value is not UNCHANGED]
        row = before + self.values(columns, tuple(wanted))
        count = len(before)
        empty = frozenset(at for at, value in enumerate(row) if isinstance(value, Mark))
        binds = _Binds(self._kinds, empty)
        sets = [
            f"{self._quoted(columns[at - count])} = {binds.add(columns[at - count], at)}"
            for at in self._ordered(columns, count)
        ]
        first = self._quoted(self.names[0])
        text = ", ".join(sets) or f"{first} = {first}"
        found = self._equal(binds, before)
        statement = binds.statement(f"update {self.name} set {text} where rowid = {found}")
        return statement, [row[at] for at in binds.takes]

    def _equal(self, binds: _Binds, before: Bound) -> str:
        tests = []
        for at, name in enumerate(self.names):
            column = f"f.{self._quoted(name)}"
            if self._kinds[name].column.data_type in LONG_TYPES:
                raise Unsupported(
                    f"table {self.table.name} has no key, and its column {name} is a large object: the row that a"
                    " change is about can't be told",
                    reason="KeylessLob",
                    hint="give the table a primary key on both sides",
                )
            tests.append(
                f"{column} is null" if before[at] is None else f"{column} = {binds.add(name, at)}"
            )
        return f"(select min(f.rowid) from {self.name} f where {' and '.join(tests)})"

    # --- parts ---

    def _found(self, binds: _Binds) -> str:
        return " and ".join(
            f"{self._quoted(name)} = {binds.add(name, at)}"
            for at, name in enumerate(self.table.key)
        )

    def _quoted(self, name: str) -> str:
        return quote(self._kinds[name].column.name)

    def _ordered(self, names: Sequence[str], start: int) -> list[int]:
        """The places of those columns in a row, where they begin at `start`: what is bound as LONG comes last."""
        return sorted(
            range(start, start + len(names)),
            key=lambda at: "LONG" in self._kinds[names[at - start]].bind_type,
        )

    def _lobs(self, names: Sequence[str]) -> list[int]:
        return [
            at for at, name in enumerate(names) if self._kinds[name].column.data_type in EMPTY_LOBS
        ]

    def _once(self, what: Hashable, make: Callable[[], Statement]) -> Statement:
        found = self._made.get(what)
        if found is None:
            if len(self._made) >= KEPT:
                self._made.clear()
            found = self._made[what] = make()
        return found


class _Binds:
    """The binds of a statement in the making."""

    def __init__(
        self, kinds: Mapping[str, OracleType], empty: frozenset[int] = frozenset()
    ) -> None:
        self._kinds, self._empty = kinds, empty
        self.takes: list[int] = []
        self._types: list[tuple[Any, int]] = []

    def add(self, name: str, at: int) -> str:
        """What stands in the text for the value at that place of a row, which is one of that column."""
        kind = self._kinds[name]
        if at in self._empty:
            return kind.bind("", _MARKS[kind.column.data_type])
        self.takes.append(at)
        self._types.append((getattr(oracledb, kind.bind_type), _room(kind)))
        return kind.bind(f":{len(self.takes)}")

    def statement(self, text: str) -> Statement:
        return Statement(text, tuple(self.takes), tuple(self._types))


def known(value: Value) -> bytes | None:
    """A value that must be there: whoever passes another one has a bug, and must not write anything."""
    if value is UNCHANGED:
        raise TypeError("an unlogged value reached a statement")
    return value


def _room(kind: OracleType) -> int:
    """How long values are declared, so that none looks like a LONG; the driver declares more where one is longer."""
    if kind.bind_type == "DB_TYPE_RAW":
        return min(kind.column.data_length, RAW_BYTES)
    if kind.bind_type in _TEXTS:
        return min(kind.column.char_length or MASKED_CHARACTERS, TEXT_CHARACTERS)
    return 0


def _weight(value: Bind) -> int:
    return VALUE_BYTES + (4 * len(value) if isinstance(value, str | bytes) else 0)
