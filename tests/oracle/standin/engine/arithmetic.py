"""Arithmetic of numbers, moments and intervals, and the joining of texts."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from decimal import Decimal

from oracle.standin.backend import Kind, Moment, Months, OraError, Span, Value
from oracle.standin.engine.conversion import conversion, days_later
from oracle.standin.engine.datatypes import (
    CLOB,
    DATE,
    DAYS,
    DOUBLE,
    NUMBER,
    NUMBERS,
    STAMP,
    TEMPORAL,
    TEXTS,
    VARCHAR,
    WIDE,
    YEARS,
    DataType,
    number,
)
from oracle.standin.engine.evaluation import Compiled, Env
from oracle.standin.engine.temporals import DAY, instant, months_later, naive, shifted, wall

_INTERVALS = (Kind.INTERVAL_DS, Kind.INTERVAL_YM)


def arithmetic(op: str, left: Compiled, right: Compiled) -> Compiled:
    """`+ - * /` of what the types make of it. ORA-00932 where they make nothing."""
    a, b = left.type.kind, right.type.kind
    if a in TEMPORAL or b in TEMPORAL:
        return _temporal(op, left, right)
    if a in _INTERVALS or b in _INTERVALS:
        return _interval(op, left, right)
    if Kind.BINARY_DOUBLE in (a, b) or Kind.BINARY_FLOAT in (a, b):
        return _floats(op, left, right)
    return _applied(NUMBER, left, NUMBER, right, NUMBER, _NUMBERS[op])


def _applied(
    result: DataType,
    left: Compiled,
    left_type: DataType,
    right: Compiled,
    right_type: DataType,
    function: Callable[..., Value],
) -> Compiled:
    first, second = left.run, right.run
    to_first, to_second = conversion(left.type, left_type), conversion(right.type, right_type)

    def run(env: Env) -> Value:
        a, b = first(env), second(env)
        if a is None or b is None:
            return None
        host = env.host
        if to_first is not None:
            a = to_first(a, host.nls, host.now)
        if to_second is not None:
            b = to_second(b, host.nls, host.now)
        return function(a, b)

    return Compiled(result, run)


def _divide(a: Decimal, b: Decimal) -> Decimal:
    if not b:
        raise OraError(1476, "divisor is equal to zero")
    return number(WIDE.divide(a, b))


_NUMBERS: dict[str, Callable[..., Value]] = {
    "+": lambda a, b: number(WIDE.add(a, b)),
    "-": lambda a, b: number(WIDE.subtract(a, b)),
    "*": lambda a, b: number(WIDE.multiply(a, b)),
    "/": _divide,
}


def _floats(op: str, left: Compiled, right: Compiled) -> Compiled:
    functions: dict[str, Callable[..., Value]] = {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "/": _float_divide,
    }
    return _applied(DOUBLE, left, DOUBLE, right, DOUBLE, functions[op])


def _float_divide(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if math.isnan(a) or not a else math.copysign(math.inf, a)


def _temporal(op: str, left: Compiled, right: Compiled) -> Compiled:
    a, b = left.type.kind, right.type.kind
    if a not in TEMPORAL:
        if op != "+":
            raise _nonsense(left.type, right.type)
        return _temporal(op, right, left)
    if b in TEMPORAL:
        if op != "-":
            raise OraError(975, "date + date not allowed")
        return _difference(left, right)
    if op not in "+-":
        raise _nonsense(left.type, right.type)
    sign = 1 if op == "+" else -1
    if b is Kind.INTERVAL_DS:
        return _applied(
            left.type, left, left.type, right, right.type, lambda m, s: shifted(m, sign * s.nanos)
        )
    if b is Kind.INTERVAL_YM:
        return _applied(
            left.type,
            left,
            left.type,
            right,
            right.type,
            lambda m, n: months_later(m, sign * n.months, clip=False),
        )
    return _applied(DATE, left, DATE, right, NUMBER, lambda m, n: days_later(m, sign * n))


def _difference(left: Compiled, right: Compiled) -> Compiled:
    if left.type.kind is Kind.DATE and right.type.kind is Kind.DATE:
        return _applied(NUMBER, left, DATE, right, DATE, _days_between)
    zoned = Kind.TIMESTAMP_TZ if Kind.TIMESTAMP_TZ in (left.type.kind, right.type.kind) else None
    both = STAMP if zoned is None else DataType(zoned)
    return _applied(DAYS, left, both, right, both, lambda a, b: Span(instant(a) - instant(b)))


def _days_between(a: Moment, b: Moment) -> Value:
    return number(WIDE.divide(Decimal(wall(naive(a)) - wall(naive(b))), Decimal(DAY)))


def _interval(op: str, left: Compiled, right: Compiled) -> Compiled:
    a, b = left.type.kind, right.type.kind
    if a in _INTERVALS and a is b and op in "+-":
        sign = 1 if op == "+" else -1
        return _applied(
            left.type, left, left.type, right, right.type, lambda x, y: _add(x, y, sign)
        )
    if a not in _INTERVALS and op == "*":
        return _interval(op, right, left)
    if b in NUMBERS | TEXTS and op in "*/":
        kind = YEARS if a is Kind.INTERVAL_YM else DAYS
        scale = _NUMBERS[op]
        return _applied(kind, left, left.type, right, NUMBER, lambda x, n: _scaled(x, n, scale))
    raise _nonsense(left.type, right.type)


def _add(a: Months | Span, b: Months | Span, sign: int) -> Value:
    if isinstance(a, Months) and isinstance(b, Months):
        return Months(a.months + sign * b.months)
    assert isinstance(a, Span)
    assert isinstance(b, Span)
    return Span(a.nanos + sign * b.nanos)


def _scaled(value: Months | Span, by: Decimal, scale: Callable[..., Value]) -> Value:
    if isinstance(value, Months):
        return Months(int(scale(Decimal(value.months), by)))  # type: ignore[arg-type]
    return Span(int(scale(Decimal(value.nanos), by)))  # type: ignore[arg-type]


def _nonsense(left: DataType, right: DataType) -> OraError:
    return OraError(932, f"inconsistent datatypes: expected {left.kind.name} got {right.kind.name}")


def negation(arg: Compiled) -> Compiled:
    if arg.type.kind in _INTERVALS:
        minus = Compiled(NUMBER, lambda env: Decimal(-1))
        return _interval("*", arg, minus)
    zero = Compiled(NUMBER, lambda env: Decimal(0))
    return arithmetic("-", zero, arg)


def concatenation(left: Compiled, right: Compiled) -> Compiled:
    """`||`: NULL is the empty text."""
    kind = CLOB if Kind.CLOB in (left.type.kind, right.type.kind) else VARCHAR
    kind = DataType(kind.kind, national=left.type.national or right.type.national)
    first, second = left.run, right.run
    to_first, to_second = conversion(left.type, kind), conversion(right.type, kind)

    def run(env: Env) -> Value:
        a, b = first(env), second(env)
        nls, now = env.host.nls, env.host.now
        if a is not None and to_first is not None:
            a = to_first(a, nls, now)
        if b is not None and to_second is not None:
            b = to_second(b, nls, now)
        if a is None or b is None:
            return a if b is None else b
        return str(a) + str(b)

    return Compiled(kind, run)
