"""Functions whose type, or whose way of evaluation, follows from the types of their arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from oracle.standin.backend import Kind, Moment, Months, OraError, Span, Value
from oracle.standin.engine import masks
from oracle.standin.engine.conversion import (
    key_of,
    moment_text,
    number_text,
    read_float,
    read_number,
    text_of,
)
from oracle.standin.engine.datatypes import (
    DATE,
    DAYS,
    DOUBLE,
    NUMBER,
    NUMBERS,
    STAMP,
    STAMP_TZ,
    TEMPORAL,
    VARCHAR,
    YEARS,
    DataType,
)
from oracle.standin.engine.evaluation import Compiled, Env, Nls
from oracle.standin.engine.functions import FUNCTIONS
from oracle.standin.engine.reading import unimplemented
from oracle.standin.engine.temporals import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    moment_of,
    naive,
    read_months,
    read_span,
    wall,
)
from oracle.standin.engine.tree import Binary, Call, Case, Expr, IsNull, Literal

if TYPE_CHECKING:
    from oracle.standin.engine.compiler import Compiler


def _arguments(found: Call, least: int, most: int) -> None:
    if len(found.args) < least:
        raise OraError(938, "not enough arguments for function", found.at)
    if len(found.args) > most:
        raise OraError(939, f"too many arguments for function {found.name}", found.at)


def _coalesce(compiler: Compiler, found: Call) -> Compiled:
    _arguments(found, 2, 2 if found.name == "NVL" else 99)
    kind, runs = compiler.unified(found.args)

    def run(env: Env) -> Value:
        return next((value for one in runs if (value := one(env)) is not None), None)

    return Compiled(kind, run)


def _nvl2(compiler: Compiler, found: Call) -> Compiled:
    _arguments(found, 3, 3)
    test, filled, empty = found.args
    return compiler.value(Case(None, ((IsNull(test), empty),), filled))


def _nullif(compiler: Compiler, found: Call) -> Compiled:
    _arguments(found, 2, 2)
    left, right = found.args
    return compiler.value(Case(None, ((Binary("=", left, right), _NULL),), left))


_NULL = Literal(None, VARCHAR)


def _decode(compiler: Compiler, found: Call) -> Compiled:
    """DECODE: NULL equals NULL."""
    _arguments(found, 3, 255)
    operand, *rest = found.args
    otherwise = rest.pop() if len(rest) % 2 else None
    whens: list[tuple[Expr, Expr]] = []
    for search, result in zip(rest[::2], rest[1::2], strict=True):
        both_null = Binary("AND", IsNull(operand), IsNull(search))
        whens.append((Binary("OR", Binary("=", operand, search), both_null), result))
    return compiler.value(Case(None, tuple(whens), otherwise))


def _extreme(pick: Callable[..., Any]) -> Callable[[Compiler, Call], Compiled]:
    def special(compiler: Compiler, found: Call) -> Compiled:
        _arguments(found, 1, 255)
        kind, runs = compiler.unified(found.args)
        key = key_of(kind)

        def run(env: Env) -> Value:
            values = [one(env) for one in runs]
            chosen: Value = None if None in values else pick(values, key=key)
            return chosen

        return Compiled(kind, run)

    return special


def _to_char(compiler: Compiler, found: Call) -> Compiled:
    _arguments(found, 1, 3)
    source = compiler.value(found.args[0])
    mask = compiler.to(found.args[1], VARCHAR) if len(found.args) > 1 else None
    settings = compiler.to(found.args[2], VARCHAR) if len(found.args) > 2 else None
    kind = source.type

    def run(env: Env) -> Value:
        value = source.run(env)
        if value is None:
            return None
        form = None if mask is None else mask(env)
        if form is None:
            return text_of(value, kind, env.host.nls)
        nls = _with(env.host.nls, None if settings is None else settings(env))
        return _formatted(value, kind, nls, str(form))

    return Compiled(VARCHAR, run)


def _with(nls: Nls, settings: Value) -> Nls:
    """The formats with what the third argument says."""
    if settings is None:
        return nls
    match = re.fullmatch(r"\s*NLS_NUMERIC_CHARACTERS\s*=\s*'?(..)'?\s*", str(settings), re.I)
    if match is None:
        raise unimplemented(f"the setting {settings!r} of TO_CHAR or TO_NUMBER")
    return Nls(nls.date, nls.timestamp, nls.timestamp_tz, match[1], nls.offset)


def _formatted(value: Value, kind: DataType, nls: Nls, mask: str) -> str | None:
    if isinstance(value, Moment):
        return moment_text(value, kind, nls, mask)
    if isinstance(value, str):
        value = read_number(value, nls)
    if mask.upper() in ("TM", "TM9"):
        if isinstance(value, Decimal):
            return number_text(value, 64, nls.numeric[0])
        return text_of(value, kind, nls)
    if isinstance(value, Decimal):
        return _numeric(value, mask.upper(), nls)
    raise unimplemented(f"TO_CHAR of {kind.kind.name} with the mask {mask}")


def _numeric(value: Decimal, mask: str, nls: Nls) -> str:
    """Masks of 0, 9 and one point."""
    body = mask.removeprefix("FM")
    match = re.fullmatch(r"([09]*)(?:[.D]([09]*))?", body)
    if match is None:
        raise unimplemented(f"the numeric mask {mask}")
    whole, fraction = match[1], match[2] or ""
    value = value.quantize(Decimal((0, (1,), -len(fraction))), ROUND_HALF_UP)
    digits, _, tail = f"{abs(value):f}".partition(".")
    digits = digits.lstrip("0") if fraction or digits != "0" else digits
    if len(digits) > len(whole):
        return "#" * (len(body) + 1)
    least = len(whole) - whole.index("0") if "0" in whole else 0
    digits = digits.rjust(least, "0")
    text = ("-" if value < 0 else "") + digits + (nls.numeric[0] + tail if fraction else "")
    return text if mask != body else text.rjust(len(body) + 1)


def _reading(kind: DataType, default: Callable[[Nls], str]) -> Callable[[Compiler, Call], Compiled]:
    """TO_DATE and its like: text and a mask."""

    def special(compiler: Compiler, found: Call) -> Compiled:
        _arguments(found, 1, 2)
        source = compiler.value(found.args[0])
        if source.type.kind in TEMPORAL and len(found.args) == 1:
            return Compiled(kind, compiler.to(found.args[0], kind))
        text = compiler.to(found.args[0], VARCHAR)
        mask = compiler.to(found.args[1], VARCHAR) if len(found.args) > 1 else None

        def run(env: Env) -> Value:
            value, nls = text(env), env.host.nls
            form = default(nls) if mask is None else mask(env)
            if value is None or form is None:
                return None
            moment = masks.read(str(value), str(form), env.host.now)
            if kind.kind is Kind.TIMESTAMP_TZ:
                return moment if moment.offset is not None else moment_of(wall(moment), nls.offset)
            moment = naive(moment)
            return moment_of(wall(moment) - moment.nanos) if kind.kind is Kind.DATE else moment

        return Compiled(kind, run)

    return special


def _to_number(compiler: Compiler, found: Call) -> Compiled:
    _arguments(found, 1, 3)
    source = compiler.value(found.args[0])
    if source.type.kind in NUMBERS:
        return Compiled(NUMBER, compiler.to(found.args[0], NUMBER))
    text = compiler.to(found.args[0], VARCHAR)
    settings = compiler.to(found.args[2], VARCHAR) if len(found.args) > 2 else None

    def run(env: Env) -> Value:
        value = text(env)
        nls = _with(env.host.nls, None if settings is None else settings(env))
        return None if value is None else read_number(str(value), nls)

    return Compiled(NUMBER, run)


def _of_text(kind: DataType, read: Callable[[str, Nls], Value]) -> Callable[..., Compiled]:
    def special(compiler: Compiler, found: Call) -> Compiled:
        _arguments(found, 1, 1)
        if compiler.value(found.args[0]).type.kind in NUMBERS:
            return Compiled(kind, compiler.to(found.args[0], kind))
        text = compiler.to(found.args[0], VARCHAR)

        def run(env: Env) -> Value:
            value = text(env)
            return None if value is None else read(str(value), env.host.nls)

        return Compiled(kind, run)

    return special


def _trunc(compiler: Compiler, found: Call) -> Compiled:
    """TRUNC of a number, or of a moment to its day."""
    _arguments(found, 1, 2)
    source = compiler.value(found.args[0])
    if source.type.kind not in TEMPORAL:
        args = [compiler.to(arg, NUMBER) for arg in found.args]
        plain = FUNCTIONS["TRUNC"].run

        def number(env: Env) -> Value:
            values = [arg(env) for arg in args]
            return None if None in values else plain(env, *values)

        return Compiled(NUMBER, number)
    if len(found.args) > 1:
        raise unimplemented("TRUNC of a date with a mask", found.at)
    run = compiler.to(found.args[0], DATE)

    def day(env: Env) -> Value:
        value = run(env)
        return None if not isinstance(value, Moment) else moment_of(wall(value) // DAY * DAY)

    return Compiled(DATE, day)


def extract(unit: str, source: Compiled) -> Compiled:
    """EXTRACT(unit FROM a moment or an interval)."""

    def run(env: Env) -> Value:
        value = source.run(env)
        if value is None:
            return None
        found = _parts(value).get(unit)
        if found is None:
            raise OraError(30076, "invalid extract field for extract source")
        return found

    return Compiled(NUMBER, run)


def _parts(value: Value) -> dict[str, Decimal]:
    match value:
        case Moment():
            seconds = Decimal(value.second) + Decimal(value.nanos).scaleb(-9)
            names = ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE")
            whole = (value.year, value.month, value.day, value.hour, value.minute)
            parts = dict(zip(names, map(Decimal, whole), strict=True)) | {"SECOND": seconds}
            if value.offset is not None:
                hours = abs(value.offset) // 60 * (-1 if value.offset < 0 else 1)
                minutes = abs(value.offset) % 60 * (-1 if value.offset < 0 else 1)
                parts |= {
                    "TIMEZONE_HOUR": Decimal(hours),
                    "TIMEZONE_MINUTE": Decimal(minutes),
                }
            return parts
        case Months():
            sign, total = (-1 if value.months < 0 else 1), abs(value.months)
            return {"YEAR": Decimal(sign * (total // 12)), "MONTH": Decimal(sign * (total % 12))}
        case Span():
            sign, total = (-1 if value.nanos < 0 else 1), abs(value.nanos)
            return {
                "DAY": Decimal(sign * (total // DAY)),
                "HOUR": Decimal(sign * (total % DAY // HOUR)),
                "MINUTE": Decimal(sign * (total % HOUR // MINUTE)),
                "SECOND": sign * (Decimal(total % MINUTE) / SECOND),
            }
        case _:
            return {}


SPECIAL: dict[str, Callable[[Compiler, Call], Compiled]] = {
    "NVL": _coalesce,
    "COALESCE": _coalesce,
    "NVL2": _nvl2,
    "NULLIF": _nullif,
    "DECODE": _decode,
    "GREATEST": _extreme(max),
    "LEAST": _extreme(min),
    "TO_CHAR": _to_char,
    "TO_DATE": _reading(DATE, lambda nls: nls.date),
    "TO_TIMESTAMP": _reading(STAMP, lambda nls: nls.timestamp),
    "TO_TIMESTAMP_TZ": _reading(STAMP_TZ, lambda nls: nls.timestamp_tz),
    "TO_NUMBER": _to_number,
    "TO_BINARY_DOUBLE": _of_text(DOUBLE, read_float),
    "TO_BINARY_FLOAT": _of_text(DataType(Kind.BINARY_FLOAT), read_float),
    "TO_DSINTERVAL": _of_text(DAYS, lambda text, nls: read_span(text)),
    "TO_YMINTERVAL": _of_text(YEARS, lambda text, nls: read_months(text)),
    "TRUNC": _trunc,
}
