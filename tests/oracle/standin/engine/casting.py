"""Values converted and made comparable, and the rows of subqueries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from oracle.standin.backend import Value
from oracle.standin.engine.conversion import conversion, key_of
from oracle.standin.engine.datatypes import DataType
from oracle.standin.engine.evaluation import Compiled, Env, KeyRun, Run
from oracle.standin.engine.scopes import Plan


def converted(source: Compiled, to: DataType) -> Run:
    """A value of another type."""
    convert = conversion(source.type, to)
    run = source.run
    if convert is None:
        return run

    def converting(env: Env) -> Value:
        value = run(env)
        return None if value is None else convert(value, env.host.nls, env.host.now)

    return converting


def subquery_rows(plan: Plan, env: Env) -> list[Sequence[Value]]:
    """A subquery's rows, read once per execution where they depend on nothing outside."""
    if plan.correlated:
        return list(plan.rows(env))
    if plan not in env.cache:
        env.cache[plan] = list(plan.rows(env))
    rows: list[Sequence[Value]] = env.cache[plan]
    return rows


def keyed(run: Run, key: Callable[[Value], Any]) -> KeyRun:
    return lambda env: key(run(env))


def value_keyed(source: DataType, to: DataType) -> Callable[[Env, Any], Any]:
    convert, key = conversion(source, to), key_of(to)

    def run(env: Env, value: Any) -> Any:
        if convert is not None and value is not None:
            value = convert(value, env.host.nls, env.host.now)
        return key(value)

    return run
