"""Join the sources of a block: one after the other, through an index or a hash where an equality allows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from oracle.standin.backend import Value
from oracle.standin.engine.compiler import Compiler
from oracle.standin.engine.conversion import common, rowid_key
from oracle.standin.engine.datatypes import ROWID, VARCHAR, DataType
from oracle.standin.engine.evaluation import Cond, Env, KeyRun, Relation, Run
from oracle.standin.engine.relations import Derived, TableRelation
from oracle.standin.engine.scopes import Scope
from oracle.standin.engine.tree import Binary, Expr, Joined, Name, Select


def conjuncts(expr: Expr | None) -> list[Expr]:
    """The parts of a condition that AND joins."""
    if expr is None:
        return []
    if isinstance(expr, Binary) and expr.op == "AND":
        return [*conjuncts(expr.left), *conjuncts(expr.right)]
    return [expr]


def parts(node: object) -> Iterator[object]:
    """A tree's node and all below it, but nothing inside of subqueries."""
    yield node
    if isinstance(node, tuple):
        for one in node:
            yield from parts(one)
    elif dataclasses.is_dataclass(node) and not isinstance(node, Select | DataType | type):
        for field in dataclasses.fields(node):
            yield from parts(getattr(node, field.name))


def last_source(expr: Expr, scope: Scope) -> int:
    """The last source that an expression needs; with a subquery in it, the last of all."""
    last = -1
    for node in parts(expr):
        if isinstance(node, Select):
            return len(scope.sources) - 1
        if isinstance(node, Name):
            found = scope._here(node.path, node.at)
            last = max(last, -1 if found is None else found.source)
    return last


def mentions(expr: Expr, word: str) -> bool:
    return any(isinstance(node, Name) and node.path == (word,) for node in parts(expr))


class Step:
    """One source: how to come to its rows, and which conditions can be tested then."""

    def __init__(self, place: int, relation: Relation, *, outer: bool) -> None:
        self.place = place
        self.relation = relation
        self.outer = outer
        self.on: list[Cond] = []
        self.filters: list[Cond] = []
        self.candidates: Callable[[Env], Iterator[Sequence[Value]]] = relation.rows
        self.nulls: Sequence[Value] = (None,) * len(relation.columns)

    def passes(self, env: Env) -> bool:
        return all(test(env) for test in self.filters)

    def choose(self, compiler: Compiler, tests: Sequence[Expr]) -> None:
        """Take the best way to the rows that equalities among the conditions allow."""
        equal: dict[int, tuple[Expr, Expr]] = {}
        for test in tests:
            if isinstance(test, Binary) and test.op == "=":
                for mine, other in ((test.left, test.right), (test.right, test.left)):
                    column = self._own_column(compiler.scope, mine)
                    if column is not None and last_source(other, compiler.scope) < self.place:
                        equal.setdefault(column, (mine, other))
        if isinstance(self.relation, TableRelation):
            if self._through_index(self.relation, compiler, equal):
                return
        elif isinstance(self.relation, Derived) and self.relation.plan.correlated:
            return
        if self.place and equal:
            self._through_hash(compiler, list(equal.values()))

    def _own_column(self, scope: Scope, expr: Expr) -> int | None:
        if not isinstance(expr, Name):
            return None
        found = scope._here(expr.path, expr.at)
        return found.column if found is not None and found.source == self.place else None

    def _through_index(
        self, relation: TableRelation, compiler: Compiler, equal: dict[int, tuple[Expr, Expr]]
    ) -> bool:
        if relation.rowid_at in equal:
            return self._through_rowid(relation, compiler, equal[relation.rowid_at][1])
        exact: dict[int, KeyRun] = {}
        for column, (mine, other) in equal.items():
            position = relation.position(column)
            if position is None or not _same_kind(compiler, mine, other):
                continue
            exact[position] = compiler.keys(mine, other)[1]
        usable = [one for one in relation.table.indexes if exact.keys() >= set(one.columns)]
        if not usable:
            return False
        index = max(usable, key=lambda one: (one.unique, len(one.columns)))
        runs = [exact[column] for column in index.columns]

        def find(env: Env) -> Iterator[Sequence[Value]]:
            key = tuple(run(env) for run in runs)
            return iter(()) if None in key else relation.found(env, index, key)

        self.candidates = find
        return True

    def _through_rowid(self, relation: TableRelation, compiler: Compiler, other: Expr) -> bool:
        source = compiler.value(other)
        if common(source.type, ROWID) != ROWID:
            return False
        run: Run = compiler.to(other, VARCHAR)

        def find(env: Env) -> Iterator[Sequence[Value]]:
            rowid = run(env)
            if rowid is None:
                return iter(())
            rowid_key(str(rowid))
            return relation.by_rowid(env, str(rowid))

        self.candidates = find
        return True

    def _through_hash(self, compiler: Compiler, pairs: list[tuple[Expr, Expr]]) -> None:
        keys = [compiler.keys(mine, other) for mine, other in pairs]

        def table(env: Env) -> dict[tuple[Any, ...], list[Sequence[Value]]]:
            found: dict[tuple[Any, ...], list[Sequence[Value]]] = {}
            for row in self.relation.rows(env):
                env.rows[self.place] = row
                found.setdefault(tuple(mine(env) for mine, _ in keys), []).append(row)
            return found

        def find(env: Env) -> Iterator[Sequence[Value]]:
            if self not in env.cache:
                env.cache[self] = table(env)
            return iter(env.cache[self].get(tuple(other(env) for _, other in keys), ()))

        self.candidates = find


def _same_kind(compiler: Compiler, mine: Expr, other: Expr) -> bool:
    """Tell whether the comparison's keys are those of the column's own index."""
    a, b = compiler.value(mine).type, compiler.value(other).type
    return common(a, b).kind is a.kind


class Joins:
    """All sources of a block. Conditions are tested as soon as their sources have rows."""

    def __init__(
        self,
        compiler: Compiler,
        sources: Sequence[Joined],
        where: Expr | None,
    ) -> None:
        self.scope = compiler.scope
        self.steps = [
            Step(place, relation, outer=sources[place].outer)
            for place, (_, relation, _) in enumerate(self.scope.sources)
        ]
        tests: list[list[Expr]] = [[] for _ in self.steps]
        self.last: list[Cond] = []
        for expr in conjuncts(where):
            place = last_source(expr, self.scope)
            if mentions(expr, "ROWNUM") or not self.steps:
                self.last.append(compiler.condition(expr))
            else:
                self.steps[max(place, 0)].filters.append(compiler.condition(expr))
                tests[max(place, 0)].append(expr)
        for step, joined in zip(self.steps, sources, strict=True):
            on = conjuncts(joined.on)
            step.on = [compiler.condition(expr) for expr in on]
            # Behind an outer join WHERE sees rows that are not there: only ON may choose them.
            step.choose(compiler, on if step.outer else [*on, *tests[step.place]])

    def envs(self, env: Env) -> Iterator[Env]:
        """The same environment, again and again, with the rows that pass."""
        env.rows = [()] * len(self.steps)
        passed = 0
        for found in self._from(0, env):
            found.rownum = passed + 1
            if all(test(found) for test in self.last):
                passed += 1
                yield found

    def _from(self, place: int, env: Env) -> Iterator[Env]:
        if place == len(self.steps):
            yield env
            return
        step = self.steps[place]
        matched = False
        for row in step.candidates(env):
            env.rows[place] = row
            if all(test(env) for test in step.on):
                matched = True
                if step.passes(env):
                    yield from self._from(place + 1, env)
        if step.outer and not matched:
            env.rows[place] = step.nulls
            if step.passes(env):
                yield from self._from(place + 1, env)
