"""From the SQL of the redo to the neutral model's changes: exact, by column name, or refused. No I/O.

What a change carries, beyond what model.Change says:

- An UPDATE's new row has the key and what the statement sets; all else is UNCHANGED. Its WHERE has the other old values
  too, and they are not used: what was not set need not be written, whatever LogMiner prints for it.
- A value that the redo does not tell exactly is left to be read again at the commit (reselect.py). An UPDATE that
  changes the key has *all* such values of its row read: then a row that could not be found under its old key any more
  is whole under its new one.
- An UPDATE that in the end sets nothing is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, NoReturn

from bowline_worker.contract import Unsafe, Unsupported
from bowline_worker.endpoints.oracle import naming, redo
from bowline_worker.endpoints.oracle.catalog import OracleTable
from bowline_worker.endpoints.oracle.kinds import RESELECT, FromRedo, OracleType, ValueRefused
from bowline_worker.endpoints.oracle.logrow import Code
from bowline_worker.endpoints.oracle.redo import Mark, Operation, Redo, RedoError
from bowline_worker.endpoints.oracle.rowchange import RowChange
from bowline_worker.model import (
    UNCHANGED,
    Change,
    Op,
    Row,
    TableName,
    Value,
)

_OPERATIONS: Final[Mapping[int, Operation]] = {
    Code.INSERT: Operation.INSERT,
    Code.UPDATE: Operation.UPDATE,
    Code.DELETE: Operation.DELETE,
}
#: Columns that Oracle makes for itself, and that no row carries.
_ORACLES_OWN: Final = re.compile(r"SYS_NC\d{5}\$")
_MISSING: Final = object()
_Values = Mapping[str, object]


class At(NamedTuple):
    """Where a change is, as an error names it."""

    relation: object
    change: RowChange

    def __str__(self) -> str:
        return f"{self.relation} at SCN {self.change.scn}, RS_ID {self.change.address}"


@dataclass(slots=True)
class Draft:
    """A change, some of whose values may still have to be read."""

    relation: Relation
    op: Op
    scn: int
    where: At
    before: Row | None = None
    after: list[Value] | None = None
    key: Row = ()  #: before the change
    name: Row = ()  #: the key that the row has behind it
    lacks: tuple[int, ...] = ()  #: places in `after` that are to be read again
    instead: Mapping[int, Value] | None = (
        None  #: for an INSERT, where its row is not there at the commit
    )
    is_touch: bool = False
    is_undone: bool = False  #: a touch that was taken back

    @property
    def sets(self) -> frozenset[int]:
        """The places that an UPDATE writes, beside those of its key."""
        key, after = self.relation.key, self.after or ()
        known = (at for at, value in enumerate(after) if value is not UNCHANGED and at not in key)
        return frozenset((*known, *self.lacks))

    @property
    def lacks_large(self) -> bool:
        """Tell whether a value that is to be read may be of any size."""
        return any(place in self.relation.large for place in self.lacks)

    def finished(self, found: Mapping[int, Value] | None) -> Change | None:
        """The change with the values that were read; None: the row is not there at the commit.

        Gives none where nothing is left of it.
        """
        relation, after = self.relation, self.after
        if after is not None:
            for place in self.lacks:
                if found is not None:
                    after[place] = found[place]
                elif self.instead is not None:
                    after[place] = self.instead[place]
            if self.op is Op.UPDATE and self.before is None and relation.sets_nothing(after):
                return None
        return Change(
            self.op,
            relation.table.table.name,
            relation.columns,
            () if self.op in (Op.INSERT, Op.TRUNCATE) else self.key,
            self.before,
            None if after is None else tuple(after),
        )


class Relation:
    """One table as the stream carries it: which columns, and how their redo is read."""

    def __init__(self, number: int, table: OracleTable) -> None:
        """Unsupported where its changes can't be carried: nothing of it may be streamed then."""
        self.number, self.table = number, table
        refuse(table)
        written = [column.name for column in table.table.written]
        self.columns = tuple(written)
        self.kinds: tuple[OracleType, ...] = tuple(table.kinds[name] for name in written)
        self.names = tuple(kind.column.name for kind in self.kinds)  #: in Oracle's spelling
        self.key = tuple(written.index(name) for name in table.table.key)
        #: How a statement begins what it says of each column of the key.
        self.key_texts = tuple(f'"{self.names[place]}" = ' for place in self.key)
        self.lossy = tuple(place for place, kind in enumerate(self.kinds) if kind.needs_reselect)
        self.large = frozenset(
            place for place in self.lossy if not self.kinds[place].postgres.name.startswith("float")
        )
        self._places = {name: place for place, name in enumerate(self.names)}
        self._known = frozenset(kind.column.name for kind in table.kinds.values())
        self._others = [place for place in range(len(written)) if place not in self.key]
        if self.lossy and not self.key:
            raise Unsupported(
                f"table {table.owner}.{table.name} has no key by which a row's {self.names[self.lossy[0]]} could be"
                " read again: the redo does not tell it exactly",
                reason="ReselectWithoutKey",
                hint="give the table a primary key, or leave it out of the migration",
            )
        relaxed = any(place in self.lossy and _is_text(self.kinds[place]) for place in self.lossy)
        self.parse: Callable[[str], Redo] = (
            partial(redo.parse, relaxed_quotes=True) if relaxed else redo.parse
        )

    def __str__(self) -> str:
        return f"{self.table.owner}.{self.table.name}"

    def sets_nothing(self, after: Sequence[Value]) -> bool:
        """Tell whether a new row says nothing beside its key."""
        return all(after[place] is UNCHANGED for place in self._others)

    def read(self, change: RowChange) -> Draft:
        """Make a change of a row of redo. Unsafe where its statement is not what the table's must be."""
        where = At(self, change)
        if change.is_truncate:
            return Draft(self, Op.TRUNCATE, change.scn, where)
        found = self._statement(change, where)
        try:
            if change.is_touch:
                return self._touch(change, found, where)
            match found.operation:
                case Operation.INSERT:
                    return self._insert(change, found, where)
                case Operation.UPDATE:
                    return self._update(change, found, where)
                case Operation.DELETE:
                    before = self._old(found.where, where)
                    key = self._key(before, where)
                    return Draft(self, Op.DELETE, change.scn, where, before=before, key=key)
        except ValueRefused as refused:
            raise Unsupported(
                f"{refused} (in {where})", reason=refused.reason, hint=refused.hint
            ) from refused

    def move(self, change: RowChange) -> tuple[Row, Row | None]:
        """The key that an UPDATE's or a DELETE's row has before, and behind it; None: it has no row then."""
        where = At(self, change)
        found = self._statement(change, where)
        key = self._key_of(found.where, where)
        if found.operation is Operation.DELETE:
            return key, None
        return key, self._moved(key, found.set, where)

    def keys(self, change: RowChange) -> tuple[Row | None, Row | None]:
        """The key of a change's row before it, and behind it; None where there is no row."""
        if change.code != Code.INSERT:
            return self.move(change)
        where = At(self, change)
        return None, self._key_of(self._statement(change, where).set, where)

    def _statement(self, change: RowChange, where: At) -> Redo:
        try:
            found = self.parse(change.sql)
        except RedoError as error:
            raise Unsafe(
                f"the statement of a row of {where} can't be read: {error}",
                reason="RedoUnreadable",
                hint="report it, with the table's definition",
            ) from error
        expected = Operation.UPDATE if change.is_touch else _OPERATIONS.get(change.code)
        if found.operation is not expected:
            unreadable(where, f"operation {change.code} has the statement of an {found.operation}")
        for part in (found.set, found.where):
            if not part.keys() <= self._known:
                self._refuse_unknown(part, where)
        return found

    def _insert(self, change: RowChange, found: Redo, where: At) -> Draft:
        values = found.set
        after: list[Value] = []
        lacks: list[int] = []
        text: FromRedo
        for place, (name, kind) in enumerate(zip(self.names, self.kinds, strict=True)):
            value = values.get(name, _MISSING)
            if value is _MISSING:
                if not kind.needs_reselect:
                    self._lost(name, where)
                text = RESELECT
            else:
                text = kind.from_redo(value)
            if text is RESELECT:
                lacks.append(place)
                after.append(UNCHANGED)
            else:
                after.append(text)
        draft = Draft(self, Op.INSERT, change.scn, where, after=after, lacks=tuple(lacks))
        if lacks:
            draft.instead = {
                place: _approximate(self.kinds[place], values.get(self.names[place], _MISSING))
                for place in lacks
            }
        draft.key = draft.name = self._key(after, where)
        return draft

    def _update(self, change: RowChange, found: Redo, where: At) -> Draft:
        if not self.key:
            return self._update_all(change, found, where)
        key = self._key_of(found.where, where)
        after: list[Value] = [UNCHANGED] * len(self.columns)
        for place, value in zip(self.key, key, strict=True):
            after[place] = value
        lacks: list[int] = []
        for name, given in found.set.items():
            place = self._places.get(name, -1)
            if place < 0:
                continue
            text = self.kinds[place].from_redo(given)
            if text is RESELECT:
                lacks.append(place)
            else:
                after[place] = text
        draft = Draft(self, Op.UPDATE, change.scn, where, after=after, key=key)
        draft.name = self._key(after, where)
        if draft.name != key:
            draft.before = self._row_of(key)
            lacks = sorted({*lacks, *self.lossy})
        draft.lacks = tuple(lacks)
        for place in lacks:
            after[place] = UNCHANGED
        return draft

    def _update_all(self, change: RowChange, found: Redo, where: At) -> Draft:
        before = self._old(found.where, where)
        after = list(before)
        for name, value in found.set.items():
            if (place := self._places.get(name, -1)) >= 0:
                after[place] = self._exact(place, value, where)
        return Draft(self, Op.UPDATE, change.scn, where, before=before, after=after)

    def _touch(self, change: RowChange, found: Redo, where: At) -> Draft:
        """Some columns of a row were written in pieces."""
        key = self._key_of(found.where, where)
        after: list[Value] = [UNCHANGED] * len(self.columns)
        for place, value in zip(self.key, key, strict=True):
            after[place] = value
        lacks = tuple(self._places[name] for name in change.reselect if name in self._places)
        return Draft(
            self, Op.UPDATE, change.scn, where,
            after=after, key=key, name=key, lacks=lacks, is_touch=True, is_undone=change.is_undone,
        )  # fmt: skip

    def _old(self, values: _Values, where: At) -> Row:
        """The row before: of a table with a key, its key."""
        if self.key:
            return self._row_of(self._key_of(values, where))
        row: list[Value] = []
        for place, name in enumerate(self.names):
            if name not in values:
                self._lost(name, where)
            row.append(self._exact(place, values[name], where))
        return tuple(row)

    def _key_of(self, values: _Values, where: At) -> Row:
        key: list[Value] = []
        for place in self.key:
            if (name := self.names[place]) not in values:
                self._lost(name, where)
            key.append(self._key_value(place, values[name], where))
        return tuple(key)

    def _moved(self, key: Row, new: _Values, where: At) -> Row:
        return tuple(
            self._key_value(place, new[name], where) if (name := self.names[place]) in new else old
            for place, old in zip(self.key, key, strict=True)
        )

    def _key_value(self, place: int, value: object, where: At) -> Value:
        found = self._exact(place, value, where)
        if found is None:
            unreadable(where, f"the key column {self.names[place]} is NULL")
        return found

    def _exact(self, place: int, value: object, where: At) -> Value:
        found = self.kinds[place].from_redo(value)
        if found is RESELECT:
            unreadable(where, f"the redo does not tell {self.names[place]} exactly")
        return found

    def _key(self, row: Sequence[Value], where: At) -> Row:
        key = tuple(row[place] for place in self.key)
        if None in key:
            unreadable(where, f"the key column {self.names[self.key[key.index(None)]]} is NULL")
        return key

    def _row_of(self, key: Row) -> Row:
        row: list[Value] = [None] * len(self.columns)
        for place, value in zip(self.key, key, strict=True):
            row[place] = value
        return tuple(row)

    def _refuse_unknown(self, values: _Values, where: At) -> None:
        for name in sorted(values.keys() - self._known):
            if not naming.is_unused(name) and not _ORACLES_OWN.fullmatch(name):
                raise Unsafe(
                    f"a row of {where} has the column {name}, which the table did not have",
                    reason="SchemaChanged",
                    hint="put no DDL on migrated tables: ask for Complete and migrate anew",
                )

    def _lost(self, name: str, where: At) -> NoReturn:
        raise Unsafe(
            f"a row of {where} came without its column {name}: supplemental logging was not on when it was written",
            reason="SupplementalLoggingLost",
            hint=f"what was written without it can't be carried: alter table {self.table.quoted} add supplemental log"
            " data (all) columns, and start the migration anew",
        )


def refuse(table: OracleTable) -> None:
    """Unsupported where a column of the table can't be carried."""
    if table.refusals:
        first = table.refusals[0]
        raise Unsupported(first.message, reason=first.reason, hint=first.remedy)


def relations(tables: Iterable[OracleTable]) -> dict[TableName, Relation]:
    """All tables of a stream, numbered. Unsupported where one can't be carried."""
    return {
        table.table.name: Relation(number, table) for number, table in enumerate(tables, start=1)
    }


def _is_text(kind: OracleType) -> bool:
    return kind.column.data_type in ("VARCHAR2", "NVARCHAR2")


def _approximate(kind: OracleType, value: object) -> Value:
    """What stands for a value of a row that its own transaction deletes again: nobody will see it."""
    if kind.postgres.name == "bytea":
        return b"\\x"
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace")
    if isinstance(value, Mark) or not kind.column.nullable:
        return b"0" if kind.postgres.name.startswith("float") else b""
    return None


def unreadable(where: At, what: str) -> NoReturn:
    """Refuse a row by its place: a guess could lose it."""
    raise Unsafe(
        f"a row of {where} can't be carried: {what}",
        reason="RowUnreadable",
        hint="report it, with the table's definition",
    )
