"""What a table asks of its rows: defaults, computed columns, NOT NULL and checks, compiled once per definition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from oracle.standin.backend import OraError, Value
from oracle.standin.engine.catalog import Constraint
from oracle.standin.engine.compiler import Compiler
from oracle.standin.engine.datatypes import DataType, fit
from oracle.standin.engine.evaluation import Cond, Env, Run
from oracle.standin.engine.scopes import Scope
from oracle.standin.engine.storage import Table, Values

if TYPE_CHECKING:
    from oracle.standin.engine.preparing import Preparer


class OwnRow:
    """A table's columns in their own order, for expressions that see one row."""

    def __init__(self, table: Table) -> None:
        self.columns: Sequence[tuple[str, DataType]] = tuple(
            (column.name, column.type) for column in table.columns
        )
        self.visible = len(self.columns)

    def rows(self, env: Env) -> Iterator[Sequence[Value]]:
        return iter(())


def column_place(table: Table, column: int) -> str:
    return f'{table.place}."{table.columns[column].name}"'


class Rules:
    """One definition's rules."""

    def __init__(self, table: Table, preparer: Preparer) -> None:
        self.table = table
        self.revision = table.shape_revision
        scope = Scope()
        scope.add(table.name, OwnRow(table), table.owner)
        inside, outside = Compiler(preparer, scope), Compiler(preparer, Scope())
        self.defaults: list[Run | None] = [
            None if column.default is None else outside.to(column.default, column.type)
            for column in table.columns
        ]
        self.virtual: list[tuple[int, Run]] = [
            (place, inside.to(column.virtual, column.type))
            for place, column in enumerate(table.columns)
            if column.virtual is not None
        ]
        self.required = [
            place for place, column in enumerate(table.columns) if table.not_null(column.name)
        ]
        self.checks: list[tuple[Constraint, Cond]] = [
            (one, inside.condition(one.condition))
            for one in table.constraints.values()
            if one.condition is not None and one.enabled and not one.not_null
        ]

    def fitted(self, column: int, value: Value) -> Value:
        """A value as this column stores it."""
        return fit(value, self.table.columns[column].type, column_place(self.table, column))

    def compute(self, env: Env, values: list[Value]) -> None:
        """Fill in the computed columns."""
        env.rows = [values]
        for place, run in self.virtual:
            values[place] = self.fitted(place, run(env))

    def check(self, env: Env, values: Values, *, inserted: bool) -> None:
        """Refuse a NULL where none may be, and what a check finds false."""
        for place in self.required:
            if values[place] is None:
                what, code = ("insert", 1400) if inserted else ("update", 1407)
                to = "into" if inserted else "to"
                verb = "cannot insert NULL into" if what == "insert" else f"cannot {what}"
                shown = column_place(self.table, place)
                tail = f" ({shown})" if inserted else f" ({shown}) {to} NULL"
                raise OraError(code, verb + tail)
        env.rows = [values]
        for constraint, condition in self.checks:
            if condition(env) is False:
                raise OraError(2290, f"check constraint {constraint.shown} violated")
