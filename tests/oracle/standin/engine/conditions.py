"""Compile conditions into functions that are true, false or unknown."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from oracle.standin.backend import OraError
from oracle.standin.engine.casting import converted, keyed, subquery_rows, value_keyed
from oracle.standin.engine.conversion import common, key_of
from oracle.standin.engine.datatypes import VARCHAR, DataType
from oracle.standin.engine.evaluation import Compiled, Cond, Env, KeyRun, Run
from oracle.standin.engine.scopes import Planner, Scope
from oracle.standin.engine.tree import (
    Binary,
    Call,
    Exists,
    Expr,
    InList,
    InQuery,
    IsNull,
    Like,
    Name,
    RowOf,
    Select,
    Unary,
)

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Conditions:
    """The compiler's half that knows conditions; the other half knows values."""

    planner: Planner
    scope: Scope

    def value(self, expr: Expr) -> Compiled:
        raise NotImplementedError

    def to(self, expr: Expr, kind: DataType) -> Run:
        raise NotImplementedError

    def program(self, expr: Name | Call) -> Compiled | None:
        raise NotImplementedError

    def condition(self, expr: Expr) -> Cond:
        match expr:
            case Binary("AND", left, right):
                return _both(self.condition(left), self.condition(right))
            case Binary("OR", left, right):
                return _either(self.condition(left), self.condition(right))
            case Unary("NOT", arg):
                return _not(self.condition(arg))
            case Binary(op, left, right) if op in COMPARE:
                return self._comparison(op, left, right)
            case Name(path) if self.scope.variable(".".join(path)) is not None:
                return lambda env: bool(env.variables[".".join(path)])
            case Name() | Call() if (found := self.program(expr)) is not None:
                truth = found.run
                return lambda env: None if (value := truth(env)) is None else bool(value)
            case IsNull(arg):
                run = self.value(arg).run
                return lambda env: run(env) is None
            case Like():
                return self._like(expr)
            case InList(arg, items):
                tests = [self._comparison("=", arg, item) for item in items]
                return _any_of(tests)
            case InQuery(arg, query):
                return self._in_query(arg, query)
            case Exists(query):
                plan = self.planner.subquery(query, self.scope)
                return lambda env: bool(subquery_rows(plan, env))
            case _:
                raise OraError(920, "invalid relational operator")

    def keys(self, left: Expr, right: Expr) -> tuple[KeyRun, KeyRun]:
        """Both sides of a comparison as keys: None, or equal where the values are."""
        a, b = self.value(left), self.value(right)
        kind = common(a.type, b.type)
        key = key_of(kind)
        return keyed(converted(a, kind), key), keyed(converted(b, kind), key)

    def _comparison(self, op: str, left: Expr, right: Expr) -> Cond:
        if isinstance(left, RowOf) and isinstance(right, RowOf):
            if len(left.items) != len(right.items):
                raise OraError(913, "too many values")
            pairs = [
                self._comparison("=", a, b) for a, b in zip(left.items, right.items, strict=True)
            ]
            test = _all_of(pairs)
            return test if op == "=" else _not(test)
        a, b = self.keys(left, right)
        compare = COMPARE[op]

        def run(env: Env) -> bool | None:
            x = a(env)
            if x is None:
                return None
            y = b(env)
            return None if y is None else compare(x, y)

        return run

    def _like(self, like: Like) -> Cond:
        arg, pattern = self.to(like.arg, VARCHAR), self.to(like.pattern, VARCHAR)
        escape = None if like.escape is None else self.to(like.escape, VARCHAR)

        def run(env: Env) -> bool | None:
            text, mask = arg(env), pattern(env)
            if text is None or mask is None:
                return None
            mark = None if escape is None else escape(env)
            return like_pattern(str(mask), str(mark or "")).fullmatch(str(text)) is not None

        return run

    def _in_query(self, arg: Expr, query: Select) -> Cond:
        plan = self.planner.subquery(query, self.scope)
        items = arg.items if isinstance(arg, RowOf) else (arg,)
        if len(items) != len(plan.columns):
            raise OraError(947 if len(items) > len(plan.columns) else 913, "too many values")
        left: list[KeyRun] = []
        right: list[Callable[[Env, Any], Any]] = []
        for item, (_, kind) in zip(items, plan.columns, strict=True):
            mine = self.value(item)
            both = common(mine.type, kind)
            left.append(keyed(converted(mine, both), key_of(both)))
            right.append(value_keyed(kind, both))

        def keys(env: Env) -> set[tuple[Any, ...]]:
            return {
                tuple(key(env, value) for key, value in zip(right, row, strict=True))
                for row in subquery_rows(plan, env)
            }

        def run(env: Env) -> bool | None:
            wanted = tuple(key(env) for key in left)
            if plan.correlated:
                found = keys(env)
            else:
                if run not in env.cache:
                    env.cache[run] = keys(env)
                found = env.cache[run]
            if None not in wanted and wanted in found:
                return True
            maybe = bool(found) if None in wanted else any(None in row for row in found)
            return None if maybe else False

        return run


def like_pattern(mask: str, escape: str) -> re.Pattern[str]:
    parts: list[str] = []
    at = 0
    while at < len(mask):
        char = mask[at]
        if escape and char == escape:
            at += 1
            if at >= len(mask) or mask[at] not in ("%", "_", escape):
                raise OraError(1424, "missing or illegal character following the escape character")
            parts.append(re.escape(mask[at]))
        else:
            parts.append({"%": ".*", "_": "."}.get(char) or re.escape(char))
        at += 1
    return re.compile("".join(parts), re.DOTALL)


def _both(left: Cond, right: Cond) -> Cond:
    def run(env: Env) -> bool | None:
        a = left(env)
        if a is False:
            return False
        b = right(env)
        return b if a or b is False else None

    return run


def _either(left: Cond, right: Cond) -> Cond:
    def run(env: Env) -> bool | None:
        a = left(env)
        if a:
            return True
        b = right(env)
        return b if a is False or b else None

    return run


def _not(arg: Cond) -> Cond:
    def run(env: Env) -> bool | None:
        found = arg(env)
        return None if found is None else not found

    return run


def _all_of(tests: list[Cond]) -> Cond:
    found = tests[0]
    for test in tests[1:]:
        found = _both(found, test)
    return found


def _any_of(tests: list[Cond]) -> Cond:
    found = tests[0]
    for test in tests[1:]:
        found = _either(found, test)
    return found
