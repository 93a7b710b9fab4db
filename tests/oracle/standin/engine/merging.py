"""Compile MERGE."""

from __future__ import annotations

from oracle.standin.backend import OraError
from oracle.standin.engine.changes import Writer
from oracle.standin.engine.changing import Assignment, Changing, DmlPlan, Outcome
from oracle.standin.engine.compiler import Compiler
from oracle.standin.engine.evaluation import Cond, Env
from oracle.standin.engine.joining import Joins, parts
from oracle.standin.engine.preparing import Preparer
from oracle.standin.engine.rules import Rules
from oracle.standin.engine.scopes import Scope
from oracle.standin.engine.storage import Row
from oracle.standin.engine.tree import Expr, Joined, Merge, Name


class Merging(Changing):
    def __init__(self, preparer: Preparer, statement: Merge) -> None:
        super().__init__(preparer, statement, _privileges(statement))
        scope = Scope(preparer.root)
        preparer.add_source(scope, statement.source, preparer.root)
        scope.add(self.alias, self.relation, self.table.owner)
        compiler = Compiler(preparer, scope)
        sources = [
            Joined(statement.source),
            Joined(statement.table, outer=True, on=statement.on),
        ]
        self.joins = Joins(compiler, sources, None)
        self.sets = self.assignments(compiler, statement.sets or ())
        self._not_in_on(scope, statement)
        self.set_where = _condition(compiler, statement.set_where)
        self.delete_where = _condition(compiler, statement.delete_where)
        self.insert_where = _condition(compiler, statement.insert_where)
        self.given = None if statement.columns is None else self._given(compiler, statement)
        self.statement = statement

    def _not_in_on(self, scope: Scope, statement: Merge) -> None:
        columns = {name.path[-1] for name, _ in statement.sets or ()}
        for node in parts(statement.on):
            if isinstance(node, Name) and node.path[-1] in columns:
                found = scope.find(node.path, node.at)
                if found is not None and found.source == 1:
                    raise OraError(
                        38104,
                        f'Columns referenced in the ON Clause cannot be updated: "{self.alias}"'
                        f'."{node.path[-1]}"',
                    )

    def _given(self, compiler: Compiler, statement: Merge) -> list[Assignment]:
        columns, values = statement.columns or (), statement.values or ()
        if len(columns) != len(values):
            few = len(values) < len(columns)
            raise OraError(947 if few else 913, "not enough values" if few else "too many values")
        given: list[Assignment] = []
        for name, expr in zip(columns, values, strict=True):
            place = self.position(name)
            column = self.table.columns[place]
            if column.virtual is not None:
                raise OraError(54013, "INSERT operation disallowed on virtual columns")
            if expr is not None and column.identity == "ALWAYS":
                raise OraError(32795, "cannot insert into a generated always identity column")
            given.append((place, None if expr is None else compiler.to(expr, column.type)))
        return given

    def plan(self) -> DmlPlan:
        events = _privileges(self.statement)
        return DmlPlan(self.table, events, self._run)

    def _run(self, writer: Writer, env: Env) -> Outcome:
        outcome, rules = Outcome(0, []), self.rules()
        found = [list(one.rows) for one in self.joins.envs(Env(env.host, env.binds, env))]
        done: set[Row] = set()
        for rows in found:
            own = Env(env.host, env.binds, env)
            own.rows = rows
            if rows[1][self.relation.rowid_at] is None:
                self._insert(writer, own, rules, outcome)
            elif self.statement.sets is not None:
                self._update(writer, own, rules, outcome, done)
        return outcome

    def _insert(self, writer: Writer, env: Env, rules: Rules, outcome: Outcome) -> None:
        if self.given is None or (self.insert_where and not self.insert_where(env)):
            return
        writer.insert(self.table, self.fresh(env, rules, self.given))
        outcome.count += 1

    def _update(
        self, writer: Writer, env: Env, rules: Rules, outcome: Outcome, done: set[Row]
    ) -> None:
        row = self.row_of(env, 1)
        writer.claim(row)
        if self.set_where and not self.set_where(env):
            return
        if row in done:
            raise OraError(30926, "unable to get a stable set of rows in the source tables")
        done.add(row)
        writer.update(self.table, row, self.updated(env, rules, row, self.sets))
        outcome.count += 1
        if self.delete_where:
            assert row.current is not None
            env.rows = [env.rows[0], self.relation._row(row, row.current)]
            if self.delete_where(env):
                writer.delete(self.table, row)


def _privileges(statement: Merge) -> tuple[str, ...]:
    inserts = ("INSERT",) if statement.columns is not None else ()
    updates = ("UPDATE",) if statement.sets is not None else ()
    deletes = ("DELETE",) if statement.delete_where is not None else ()
    return (*inserts, *updates, *deletes)


def _condition(compiler: Compiler, expr: Expr | None) -> Cond | None:
    return None if expr is None else compiler.condition(expr)
