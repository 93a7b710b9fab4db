"""Group functions: COUNT, SUM, AVG, MIN, MAX, LISTAGG."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from oracle.standin.backend import OraError, Value
from oracle.standin.engine.conversion import key_of
from oracle.standin.engine.datatypes import NUMBER, VARCHAR, WIDE, DataType, number
from oracle.standin.engine.evaluation import Env, Run
from oracle.standin.engine.ordering import ordered
from oracle.standin.engine.tree import Call

if TYPE_CHECKING:
    from oracle.standin.engine.compiler import Compiler


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`over` takes the group's environments one after the other."""

    type: DataType
    over: Callable[[Iterable[Env]], Value]


_Make: TypeAlias = "Callable[[Compiler, Call], Aggregate]"


def _values(compiler: Compiler, found: Call, run: Run, kind: DataType) -> Callable[..., list[Any]]:
    """The values that are not NULL, each once if DISTINCT is said."""
    if not found.distinct:
        return lambda group: [value for env in group if (value := run(env)) is not None]
    key = key_of(kind)
    return lambda group: list(
        {key(value): value for env in group if (value := run(env)) is not None}.values()
    )


def _one(found: Call) -> None:
    if len(found.args) != 1:
        raise OraError(909, "invalid number of arguments", found.at)


def _count(compiler: Compiler, found: Call) -> Aggregate:
    _one(found)
    arg = compiler.value(found.args[0])
    values = _values(compiler, found, arg.run, arg.type)
    return Aggregate(NUMBER, lambda group: Decimal(len(values(group))))


def _sum(compiler: Compiler, found: Call) -> Aggregate:
    _one(found)
    values = _values(compiler, found, compiler.to(found.args[0], NUMBER), NUMBER)

    def over(group: Iterable[Env]) -> Value:
        all_of = values(group)
        return number(_total(all_of)) if all_of else None

    return Aggregate(NUMBER, over)


def _avg(compiler: Compiler, found: Call) -> Aggregate:
    _one(found)
    values = _values(compiler, found, compiler.to(found.args[0], NUMBER), NUMBER)

    def over(group: Iterable[Env]) -> Value:
        all_of = values(group)
        return number(WIDE.divide(_total(all_of), Decimal(len(all_of)))) if all_of else None

    return Aggregate(NUMBER, over)


def _total(values: list[Decimal]) -> Decimal:
    total = Decimal(0)
    for value in values:
        total = WIDE.add(total, value)
    return total


def _extreme(pick: Callable[..., Any]) -> _Make:
    def make(compiler: Compiler, found: Call) -> Aggregate:
        _one(found)
        arg = compiler.value(found.args[0])
        key = key_of(arg.type)
        values = _values(compiler, found, arg.run, arg.type)

        def over(group: Iterable[Env]) -> Value:
            chosen: Value = pick(values(group), key=key, default=None)
            return chosen

        return Aggregate(arg.type, over)

    return make


def _listagg(compiler: Compiler, found: Call) -> Aggregate:
    if not 1 <= len(found.args) <= 2:
        raise OraError(909, "invalid number of arguments", found.at)
    run = compiler.to(found.args[0], VARCHAR)
    between = compiler.to(found.args[1], VARCHAR) if len(found.args) > 1 else None
    sort = ordered(compiler, found.within)

    def over(group: Iterable[Env]) -> Value:
        envs = sort(group)
        texts = [str(value) for env in envs if (value := run(env)) is not None]
        if found.distinct:
            texts = list(dict.fromkeys(texts))
        mark = str(between(envs[0]) or "") if between is not None and envs else ""
        joined = mark.join(texts)
        if len(joined.encode()) > 4000:
            raise OraError(1489, "result of string concatenation is too long")
        return joined or None

    return Aggregate(VARCHAR, over)


AGGREGATES: dict[str, _Make] = {
    "COUNT": _count,
    "SUM": _sum,
    "AVG": _avg,
    "MIN": _extreme(min),
    "MAX": _extreme(max),
    "LISTAGG": _listagg,
}
