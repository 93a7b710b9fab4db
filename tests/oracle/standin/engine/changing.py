"""What all statements of DML share: the table, its columns, new rows and RETURNING."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from oracle.standin.backend import OraError, Value
from oracle.standin.engine.changes import Writer
from oracle.standin.engine.compiler import Compiler
from oracle.standin.engine.evaluation import Env, Run
from oracle.standin.engine.preparing import Preparer
from oracle.standin.engine.relations import TableRelation
from oracle.standin.engine.rules import Rules
from oracle.standin.engine.scopes import Scope
from oracle.standin.engine.storage import Row, Table
from oracle.standin.engine.tree import Dml, Expr, Name, Returning

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session

Assignment: TypeAlias = tuple[int, "Run | None"]  #: a column and its value; None: the default


@dataclass(slots=True)
class Outcome:
    """How many rows, and what RETURNING gave for each."""

    count: int
    returned: list[Sequence[Value]]


@dataclass(frozen=True, slots=True)
class DmlPlan:
    """A compiled statement: the table that it changes, as what its triggers know it, and how it runs."""

    table: Table
    events: tuple[str, ...]
    run: Callable[[Writer, Env], Outcome]


class Changing:
    """What all four share: the table, its scope, and RETURNING."""

    def __init__(self, preparer: Preparer, statement: Dml, privileges: Sequence[str]) -> None:
        self.preparer = preparer
        self.session: Session = preparer.session
        ref = statement.table
        found = self.session.find_table(ref.schema, ref.name)
        if found is None:
            raise OraError(942, "table or view does not exist", ref.at)
        self.table = found
        for privilege in privileges:
            self.session.require(privilege, found, ref.at)
        self.relation = TableRelation(found, self.session)
        self.alias = ref.alias

    def own_scope(self) -> Scope:
        scope = Scope(self.preparer.root)
        scope.add(self.alias, self.relation, self.table.owner)
        return scope

    def returning(self, returning: Returning | None) -> list[Run]:
        if returning is None:
            return []
        compiler = Compiler(self.preparer, self.own_scope())
        return [compiler.value(expr).run for expr in returning.exprs]

    def position(self, name: Name) -> int:
        place = self.table.position(name.path[-1])
        if place is None or (len(name.path) > 1 and name.path[-2] != self.alias):
            raise OraError(904, f'"{name.path[-1]}": invalid identifier', name.at)
        return place

    def assignment(self, compiler: Compiler, place: int, expr: Expr | None) -> Assignment:
        column = self.table.columns[place]
        if expr is None:
            return place, None
        if column.virtual is not None:
            raise OraError(54017, "UPDATE operation disallowed on virtual columns")
        if column.identity == "ALWAYS":
            raise OraError(32796, "cannot update a generated always identity column")
        return place, compiler.to(expr, column.type)

    def assignments(
        self, compiler: Compiler, sets: Sequence[tuple[Name, Expr | None]]
    ) -> list[Assignment]:
        found = [self.assignment(compiler, self.position(name), expr) for name, expr in sets]
        if len({place for place, _ in found}) < len(found):
            raise OraError(957, "duplicate column name")
        return found

    def rules(self) -> Rules:
        return self.session.database.rules(self.table, self.session)

    def row_of(self, env: Env, source: int) -> Row:
        return self.table.rows[str(env.rows[source][self.relation.rowid_at])]

    def give(self, outcome: Outcome, runs: Sequence[Run], env: Env, row: Row) -> None:
        """Count a row, and evaluate RETURNING for it."""
        outcome.count += 1
        if runs:
            values = row.current
            if values is not None:
                env.rows = [self.relation._row(row, values)]
            outcome.returned.append(tuple(run(env) for run in runs))

    def fresh(self, env: Env, rules: Rules, given: Sequence[Assignment]) -> tuple[Value, ...]:
        """A new row from what is given for its columns, and defaults."""
        values: list[Value] = [None] * len(self.table.columns)
        known: set[int] = set()
        for place, run in given:
            if run is None:
                continue
            value = run(env)
            column = self.table.columns[place]
            if value is None and column.default_on_null:
                continue
            values[place] = rules.fitted(place, value)
            known.add(place)
        for place, column in enumerate(self.table.columns):
            if place not in known:
                default = rules.defaults[place]
                if column.sequence is not None:
                    values[place] = rules.fitted(place, env.host.next_value(column.sequence))
                elif default is not None:
                    values[place] = rules.fitted(place, default(env))
        computed = Env(env.host, env.binds)
        rules.compute(computed, values)
        return tuple(values)

    def updated(
        self, env: Env, rules: Rules, row: Row, sets: Sequence[Assignment]
    ) -> tuple[Value, ...]:
        old = row.seen(self.session.transaction)
        assert old is not None
        values = list(old)
        for place, run in sets:
            default = rules.defaults[place] if run is None else run
            values[place] = None if default is None else rules.fitted(place, default(env))
        rules.compute(Env(env.host, env.binds), values)
        return tuple(values)
