"""What can stand in FROM: tables as they are or were, views that functions fill, DUAL, subqueries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from oracle.standin.backend import Column, Kind, Value
from oracle.standin.engine.datatypes import NUMBER, ROWID, VARCHAR, DataType
from oracle.standin.engine.evaluation import Env, Key, Run
from oracle.standin.engine.reading import Reading
from oracle.standin.engine.storage import Index, Row, Table, Values

if TYPE_CHECKING:
    from oracle.standin.engine.planning import QueryPlan
    from oracle.standin.engine.session import Session
    from oracle.standin.engine.transactions import Transaction


@dataclass(frozen=True, slots=True)
class View:
    """A view that a function fills. `lazy`: its rows are made while the client fetches them, errors included.

    Rows are made under the engine's lock, of a lazy view one by one.
    """

    columns: Sequence[tuple[str, DataType]]
    fill: Callable[[Session], Iterable[Sequence[Value]]]
    lazy: bool = False

    @classmethod
    def of(
        cls,
        columns: str,
        fill: Callable[[Session], Iterable[Sequence[Value]]],
        *,
        lazy: bool = False,
    ) -> View:
        """With the columns as DDL writes them: `GROUP# number, STATUS varchar2(16)`."""
        reading = Reading(columns, byte_semantics=True, max_string=32767)
        found: list[tuple[str, DataType]] = []
        while not found or reading.sign(","):
            name = reading.identifier()
            found.append((name, reading.data_type()))
        reading.end()
        return cls(tuple(found), fill, lazy)

    @classmethod
    def described(
        cls,
        columns: Sequence[Column],
        fill: Callable[[Session], Iterable[Sequence[Value]]],
        *,
        lazy: bool = False,
    ) -> View:
        """With the columns as a result has them."""
        kinds = tuple(
            (
                column.name,
                DataType(
                    column.kind,
                    column.size if column.kind in _SIZED else 0,
                    national=column.national,
                    byte_semantics=not column.national,
                ),
            )
            for column in columns
        )
        return cls(kinds, fill, lazy)


_SIZED = (Kind.VARCHAR2, Kind.CHAR, Kind.RAW)


class ViewRelation:
    """A view in FROM."""

    def __init__(self, view: View, session: Session) -> None:
        self.view = view
        self.session = session
        self.columns = view.columns
        self.visible = len(view.columns)
        self.lazy = view.lazy

    def rows(self, env: Env) -> Iterator[Sequence[Value]]:
        return iter(self.view.fill(self.session))


class Dual:
    """DUAL: one row."""

    columns: Sequence[tuple[str, DataType]] = (("DUMMY", DataType(VARCHAR.kind, 1)),)
    visible = 1
    lazy = False

    def rows(self, env: Env) -> Iterator[Sequence[Value]]:
        yield ("X",)


class Derived:
    """A subquery in FROM."""

    def __init__(self, plan: QueryPlan) -> None:
        self.plan = plan
        self.columns: Sequence[tuple[str, DataType]] = plan.columns
        self.visible: int = len(self.columns)
        self.lazy: bool = plan.lazy

    def rows(self, env: Env) -> Iterator[Sequence[Value]]:
        assert env.outer is not None
        return self.plan.rows(env.outer)


class TableRelation:
    """A table in FROM: what the session sees, or what was committed at an SCN. ROWID and ORA_ROWSCN come last."""

    lazy = False

    def __init__(self, table: Table, session: Session, scn: Run | None = None) -> None:
        self.table = table
        self.session = session
        self.scn = scn
        shown = [column for column in table.columns if not column.hidden]
        self.visible = len(shown)
        self.order = [*shown, *(column for column in table.columns if column.hidden)]
        self.columns = (
            *((column.name, column.type) for column in self.order),
            ("ROWID", ROWID),
            ("ORA_ROWSCN", NUMBER),
        )
        straight = self.order == table.columns
        self.places = None if straight else [table.columns.index(one) for one in self.order]
        self.rowid_at = len(self.order)

    def _row(self, row: Row, values: Values) -> Sequence[Value]:
        if self.places is not None:
            values = tuple(values[place] for place in self.places)
        return (*values, row.rowid, Decimal(row.scn))

    def position(self, column: int) -> int | None:
        """Where in the table a column of the relation stands; None for a pseudo-column."""
        if column >= self.rowid_at:
            return None
        return column if self.places is None else self.places[column]

    def rows(self, env: Env) -> Iterator[Sequence[Value]]:
        reader, scn = self.at(env)
        poll = env.host.poll
        for count, (row, values) in enumerate(self.table.seen(reader, scn), 1):
            if not count % 1024:
                poll()
            yield self._row(row, values)

    def at(self, env: Env) -> tuple[Transaction | None, int | None]:
        """Whose writing is seen, and the SCN as of which to read, None for now. Checks that it can be read."""
        if self.scn is None:
            return self.session.transaction, self.session.reading_at(self.table)
        return None, self.session.flashback(self.table, self.scn(env))

    def found(self, env: Env, index: Index, key: tuple[Key, ...]) -> Iterator[Sequence[Value]]:
        """The rows with this key."""
        reader, scn = self.at(env)
        for row in index.find(key):
            values = row.seen(reader, scn)
            if values is not None and index.key(values) == key:
                yield self._row(row, values)

    def by_rowid(self, env: Env, rowid: str) -> Iterator[Sequence[Value]]:
        reader, scn = self.at(env)
        row = self.table.rows.get(rowid)
        if row is not None:
            values = row.seen(reader, scn)
            if values is not None:
                yield self._row(row, values)
