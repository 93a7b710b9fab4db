"""Compile queries: blocks, set operations, grouping, sorting, limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from oracle.standin.backend import OraError, Value
from oracle.standin.engine.aggregates import AGGREGATES, Aggregate
from oracle.standin.engine.casting import converted
from oracle.standin.engine.compiler import Compiler
from oracle.standin.engine.conversion import key_of
from oracle.standin.engine.datatypes import NUMBER, DataType
from oracle.standin.engine.evaluation import Compiled, Env, Run
from oracle.standin.engine.joining import Joins, parts
from oracle.standin.engine.ordering import sorted_by
from oracle.standin.engine.reading import unimplemented
from oracle.standin.engine.relations import Dual, TableRelation
from oracle.standin.engine.scopes import Scope
from oracle.standin.engine.tree import (
    Block,
    Body,
    Call,
    Compound,
    Expr,
    Item,
    Literal,
    Locking,
    Name,
    OrderItem,
    Select,
)

if TYPE_CHECKING:
    from oracle.standin.engine.preparing import Preparer

Rows: TypeAlias = Iterator[Sequence[Value]]


class BlockPlan:
    """SELECT ... FROM ... WHERE ... GROUP BY ... HAVING."""

    def __init__(
        self, preparer: Preparer, block: Block, parent: Scope | None, order: Sequence[OrderItem]
    ) -> None:
        self.scope = Scope(parent)
        for joined in block.sources:
            preparer.add_source(self.scope, joined.source, parent)
        compiler = Compiler(preparer, self.scope)
        self.joins = Joins(compiler, block.sources, block.where)
        self.level = None if block.level is None else compiler.condition(block.level)
        if block.level is not None and not isinstance(self.scope.sources[0][1], Dual):
            raise unimplemented("CONNECT BY of other than DUAL")
        self.aggregates: list[Aggregate] = []
        self.grouped = bool(block.group) or _aggregates(block, order)
        self.group = [compiler.value(expr) for expr in block.group]
        if self.grouped:
            compiler = Compiler(preparer, self.scope, aggregates=self.aggregates, group=block.group)
        self.having = None if block.having is None else compiler.condition(block.having)
        self.items: list[Compiled] = []
        self.columns: list[tuple[str, DataType]] = []
        for item in block.items:
            self._add(compiler, item)
        self.distinct = block.distinct
        self.order = [self._order(compiler, one, block.items) for one in order]
        self.lazy = any(getattr(relation, "lazy", False) for _, relation, _ in self.scope.sources)

    def _add(self, compiler: Compiler, item: Item) -> None:
        if item.expr is not None:
            found = compiler.value(item.expr)
            self.items.append(found)
            self.columns.append((item.alias, found.type))
            return
        known = [one for one in self.scope.sources if item.source in (None, one[0])]
        if not known:
            raise OraError(904, f'"{item.source}": invalid identifier')
        for alias, relation, _ in known:
            for name, kind in relation.columns[: relation.visible]:
                self.items.append(compiler.value(Name((alias, name), 0)))
                self.columns.append((name, kind))

    def _order(
        self, compiler: Compiler, item: OrderItem, items: Sequence[Item]
    ) -> tuple[Compiled, OrderItem]:
        expr = item.expr
        if isinstance(expr, Literal) and isinstance(expr.value, Decimal):
            return self.items[position(expr.value, len(self.items)) - 1], item
        if isinstance(expr, Name) and len(expr.path) == 1:
            for (name, _), compiled in zip(self.columns, self.items, strict=True):
                if name == expr.path[0]:
                    return compiled, item
        return compiler.value(expr), item

    @property
    def correlated(self) -> bool:
        return self.scope.correlated

    def envs(self, host_env: Env) -> Iterable[Env]:
        """The environments of the result's rows, in order."""
        envs: Iterable[Env] = self._leveled(host_env) if self.level else self.joins.envs(host_env)
        if self.grouped:
            envs = self._groups(envs, host_env)
        if self.distinct:
            envs = self._distinct(envs)
        if self.order:
            found = [_kept(env) for env in envs]
            for compiled, item in reversed(self.order):
                found = sorted_by(found, compiled.type, compiled.run, item)
            return found
        return envs

    def rows(self, outer: Env) -> Rows:
        runs = [item.run for item in self.items]
        for env in self.envs(Env(outer.host, outer.binds, outer)):
            yield tuple([run(env) for run in runs])

    def kept_envs(self, outer: Env) -> Iterator[Env]:
        """Environments that keep their rows."""
        for env in self.envs(Env(outer.host, outer.binds, outer)):
            yield _kept(env)

    def _leveled(self, env: Env) -> Iterator[Env]:
        """CONNECT BY LEVEL <= n: the row of DUAL again and again."""
        assert self.level is not None
        for found in self.joins.envs(env):
            found.level = 1
            yield found
            while True:
                found.level += 1
                found.rownum += 1
                if not self.level(found):
                    return
                yield found

    def _groups(self, envs: Iterable[Env], around: Env) -> Iterator[Env]:
        keys = [(value.run, key_of(value.type)) for value in self.group]
        groups: dict[tuple[Any, ...], list[Env]] = {}
        for env in envs:
            key = tuple(key(run(env)) for run, key in keys)
            groups.setdefault(key, []).append(_kept(env))
        if not groups and not self.group:
            groups[()] = []
        for members in groups.values():
            values = [aggregate.over(members) for aggregate in self.aggregates]
            found = _kept(members[0] if members else around)
            found.aggregates = values
            if self.having is None or self.having(found):
                yield found

    def _distinct(self, envs: Iterable[Env]) -> Iterator[Env]:
        keys = [(value.run, key_of(value.type)) for value in self.items]
        seen: set[tuple[Any, ...]] = set()
        for env in envs:
            key = tuple(key(run(env)) for run, key in keys)
            if key not in seen:
                seen.add(key)
                yield env

    def locked(self) -> list[tuple[int, TableRelation]]:
        """The tables whose rows FOR UPDATE locks."""
        if self.grouped or self.distinct:
            raise OraError(2014, "cannot select FOR UPDATE from view with DISTINCT, GROUP BY, etc.")
        return [
            (place, relation)
            for place, (_, relation, _) in enumerate(self.scope.sources)
            if isinstance(relation, TableRelation)
        ]


class CompoundPlan:
    """UNION [ALL], MINUS, INTERSECT."""

    def __init__(self, left: AnyPlan, op: str, right: AnyPlan, order: Sequence[OrderItem]) -> None:
        if len(left.columns) != len(right.columns):
            raise OraError(1789, "query block has incorrect number of result columns")
        self.left, self.op, self.right = left, op, right
        self.columns: Sequence[tuple[str, DataType]] = left.columns
        self.lazy: bool = left.lazy or right.lazy
        self.correlated: bool = left.correlated or right.correlated
        self.order = [(self._column(one.expr), one) for one in order]
        self.adapt = [
            converted(Compiled(theirs, _pick(place)), mine)
            for place, ((_, mine), (_, theirs)) in enumerate(
                zip(left.columns, right.columns, strict=True)
            )
        ]

    def _column(self, expr: Expr) -> int:
        if isinstance(expr, Literal) and isinstance(expr.value, Decimal):
            return position(expr.value, len(self.columns)) - 1
        if isinstance(expr, Name):
            for place, (name, _) in enumerate(self.columns):
                if name == expr.path[-1]:
                    return place
        raise OraError(1785, "ORDER BY item must be the number of a SELECT-list expression")

    def rows(self, outer: Env) -> Rows:
        rows = self._combined(outer)
        if not self.order:
            return rows
        found = list(rows)
        for place, item in reversed(self.order):
            found = sorted_by(found, self.columns[place][1], _getter(place), item)
        return iter(found)

    def _combined(self, outer: Env) -> Rows:
        right = self._right(outer)
        if self.op == "UNION ALL":
            yield from self.left.rows(outer)
            yield from right
            return
        keys = [key_of(kind) for _, kind in self.columns]

        def keyed(rows: Rows) -> dict[tuple[Any, ...], Sequence[Value]]:
            found: dict[tuple[Any, ...], Sequence[Value]] = {}
            for row in rows:
                found.setdefault(tuple(k(v) for k, v in zip(keys, row, strict=True)), row)
            return found

        mine, theirs = keyed(self.left.rows(outer)), keyed(right)
        if self.op == "UNION":
            yield from (theirs | mine).values()
        else:
            wanted = self.op == "INTERSECT"
            yield from (row for key, row in mine.items() if (key in theirs) is wanted)

    def _right(self, outer: Env) -> Rows:
        env = Env(outer.host, outer.binds, outer)
        for row in self.right.rows(outer):
            env.rows = [row]
            yield tuple(run(env) for run in self.adapt)


AnyPlan: TypeAlias = BlockPlan | CompoundPlan


class QueryPlan:
    """A whole query with its limits and its lock."""

    def __init__(
        self,
        plan: AnyPlan,
        offset: Run | None,
        fetch: Run | None,
        locking: Locking | None,
    ) -> None:
        self.plan = plan
        self.columns: Sequence[tuple[str, DataType]] = plan.columns
        self.offset, self.fetch, self.locking = offset, fetch, locking
        self.lazy: bool = plan.lazy

    @property
    def correlated(self) -> bool:
        return self.plan.correlated

    def rows(self, outer: Env) -> Rows:
        rows = self.plan.rows(outer)
        if self.offset is None and self.fetch is None:
            return rows
        return self._limited(rows, outer)

    def _limited(self, rows: Rows, outer: Env) -> Rows:
        skip = 0 if self.offset is None else self._count(self.offset, outer)
        most = None if self.fetch is None else self._count(self.fetch, outer)
        for number, row in enumerate(rows):
            if most is not None and number >= skip + most:
                return
            if number >= skip:
                yield row

    def _count(self, run: Run, env: Env) -> int:
        value = run(Env(env.host, env.binds, env))
        return max(int(value), 0) if isinstance(value, Decimal) else 0


def plan_select(preparer: Preparer, select: Select, parent: Scope | None) -> QueryPlan:
    """Compile a query whose outer block, if it has one, is `parent`."""
    with preparer.naming(select.named):
        plan = _plan_body(preparer, select.body, parent, select.order)
    compiler = Compiler(preparer, Scope(parent))
    offset = None if select.offset is None else compiler.to(select.offset, NUMBER)
    fetch = None if select.fetch is None else compiler.to(select.fetch, NUMBER)
    if select.locking is not None and (not isinstance(plan, BlockPlan) or fetch or offset):
        raise OraError(2014, "cannot select FOR UPDATE from view with DISTINCT, GROUP BY, etc.")
    return QueryPlan(plan, offset, fetch, select.locking)


def _plan_body(
    preparer: Preparer, body: Body, parent: Scope | None, order: Sequence[OrderItem]
) -> AnyPlan:
    if isinstance(body, Compound):
        left = _plan_body(preparer, body.left, parent, ())
        return CompoundPlan(left, body.op, _plan_body(preparer, body.right, parent, ()), order)
    return BlockPlan(preparer, body, parent, order)


def position(value: Decimal, count: int) -> int:
    if not 1 <= value <= count:
        raise OraError(1785, "ORDER BY item must be the number of a SELECT-list expression")
    return int(value)


def _aggregates(block: Block, order: Sequence[OrderItem]) -> bool:
    trees: list[object] = [item.expr for item in block.items]
    trees += [block.having, *(one.expr for one in order)]
    return any(
        isinstance(node, Call) and node.name in AGGREGATES for tree in trees for node in parts(tree)
    )


def _kept(env: Env) -> Env:
    """A copy that keeps its rows when the joins go on."""
    copy = Env(env.host, env.binds, env.outer)
    copy.rows = list(env.rows)
    copy.rownum, copy.level = env.rownum, env.level
    copy.aggregates = env.aggregates
    return copy


def _pick(place: int) -> Run:
    return lambda env: env.rows[0][place]


def _getter(place: int) -> Any:
    return lambda row: row[place]
