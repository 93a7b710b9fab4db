"""Conversions between types, as Oracle makes them by itself and by CAST, and keys to compare values by."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from decimal import Decimal
from typing import TypeAlias

from oracle.standin.backend import Kind, Moment, Months, OraError, Span, Value
from oracle.standin.engine import masks
from oracle.standin.engine.datatypes import (
    BINARY,
    LOBS,
    NUMBERS,
    STAMPS,
    TEMPORAL,
    TEXTS,
    WIDE,
    ZONED,
    DataType,
    number,
)
from oracle.standin.engine.evaluation import Key, Nls
from oracle.standin.engine.temporals import (
    at_offset,
    instant,
    moment_of,
    months_text,
    naive,
    read_months,
    read_span,
    shifted,
    span_text,
    wall,
)

Conversion: TypeAlias = Callable[[Value, Nls, Moment], Value]


def number_text(value: Decimal, most: int = 40, point: str = ".") -> str:
    """As TO_CHAR and TM9 write it: no zero before the point; an exponent where it would be longer than `most`."""
    if not value:
        return "0"
    digits = value.normalize(WIDE)
    text = format(digits, "f").replace("0.", ".", 1) if abs(digits) < 1 else format(digits, "f")
    if len(text.lstrip("-").replace(".", "")) <= most:
        return text.replace(".", point)
    sign = "-" if digits < 0 else ""
    mantissa = "".join(map(str, digits.as_tuple().digits))
    return f"{sign}{mantissa[0]}{point}{mantissa[1:] or '0'}E{digits.adjusted():+03d}"


def float_text(value: float, digits: int = 17) -> str:
    if math.isnan(value):
        return "Nan"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.{digits - 1}E}".partition("E")
    head, _, tail = mantissa.partition(".")
    return f"{head}.{tail.rstrip('0') or '0'}E{int(exponent):+04d}"


def read_number(text: str, nls: Nls) -> Decimal:
    """ORA-01722 for what is no number."""
    text = text.strip().replace(nls.numeric[0], ".")
    try:
        found = WIDE.create_decimal(text) if "_" not in text else Decimal("nan")
    except decimal.InvalidOperation:
        found = Decimal("nan")
    if not found.is_finite():
        raise OraError(1722, "invalid number")
    return number(found)


def read_float(text: str, nls: Nls) -> float:
    special = {"NAN": math.nan, "INF": math.inf, "-INF": -math.inf, "+INF": math.inf}
    found = special.get(text.strip().upper())
    return float(read_number(text, nls)) if found is None else found


def text_of(value: Value, kind: DataType, nls: Nls) -> str | None:
    """What a value is when it must be text."""
    match value:
        case None | str():
            return value
        case Decimal():
            return number_text(value, point=nls.numeric[0])
        case float():
            return float_text(value, 9 if kind.kind is Kind.BINARY_FLOAT else 17)
        case bytes():
            return value.hex().upper()
        case Months():
            return months_text(value, kind.precision or 2)
        case Span():
            return span_text(value, kind.precision or 2, 6 if kind.scale is None else kind.scale)
        case Moment():
            return moment_text(value, kind, nls, None)


def moment_text(value: Moment, kind: DataType, nls: Nls, mask: str | None) -> str:
    digits = 6 if kind.scale is None else kind.scale
    if kind.kind is Kind.TIMESTAMP_LTZ:
        value = at_offset(value, nls.offset)
    if mask is None:
        by_kind = {Kind.DATE: nls.date, Kind.TIMESTAMP_TZ: nls.timestamp_tz}
        mask = by_kind.get(kind.kind, nls.timestamp)
    return masks.write(value, mask, digits)


def _text_to(to: Kind) -> Conversion:
    match to:
        case Kind.NUMBER:
            return lambda v, nls, now: read_number(str(v), nls)
        case Kind.BINARY_FLOAT | Kind.BINARY_DOUBLE:
            return lambda v, nls, now: narrow(read_float(str(v), nls), to)
        case Kind.DATE:
            return lambda v, nls, now: masks.read(str(v), nls.date, now)
        case Kind.TIMESTAMP:
            return lambda v, nls, now: naive(masks.read(str(v), nls.timestamp, now))
        case Kind.TIMESTAMP_TZ:
            return lambda v, nls, now: _zoned(masks.read(str(v), nls.timestamp_tz, now), nls)
        case Kind.TIMESTAMP_LTZ:
            return lambda v, nls, now: _utc(_zoned(masks.read(str(v), nls.timestamp, now), nls))
        case Kind.RAW | Kind.LONG_RAW | Kind.BLOB:
            return lambda v, nls, now: hex_bytes(str(v))
        case Kind.INTERVAL_DS:
            return lambda v, nls, now: read_span(str(v))
        case Kind.INTERVAL_YM:
            return lambda v, nls, now: read_months(str(v))
        case _:
            return lambda v, nls, now: v


def narrow(value: float, to: Kind) -> float:
    """Round to single precision for BINARY_FLOAT."""
    if to is Kind.BINARY_FLOAT and math.isfinite(value):
        import struct

        try:
            found: float = struct.unpack(">f", struct.pack(">f", value))[0]
        except OverflowError:
            return math.copysign(math.inf, value)
        return found
    return value


def hex_bytes(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text if len(text) % 2 == 0 else "0" + text) or None
    except ValueError:
        raise OraError(1465, "invalid hex number") from None


def _zoned(moment: Moment, nls: Nls) -> Moment:
    """Give a wall clock of the session its offset."""
    if moment.offset is not None:
        return moment
    return moment_of(wall(moment), nls.offset)


def _utc(moment: Moment) -> Moment:
    return moment_of(instant(moment))


def _without_fraction(moment: Moment) -> Moment:
    return moment if not moment.nanos else moment_of(wall(moment) - moment.nanos)


def _moment_to(source: Kind, to: Kind) -> Conversion:
    def convert(value: Value, nls: Nls, now: Moment) -> Value:
        assert isinstance(value, Moment)
        if source is Kind.TIMESTAMP_LTZ:
            value = at_offset(value, nls.offset)
        if to is Kind.TIMESTAMP_TZ:
            return _zoned(value, nls)
        if to is Kind.TIMESTAMP_LTZ:
            return _utc(_zoned(value, nls))
        return _without_fraction(naive(value)) if to is Kind.DATE else naive(value)

    return convert


def conversion(source: DataType, to: DataType) -> Conversion | None:
    """How to convert; None where nothing is to be done. ORA-00932 where Oracle doesn't by itself."""
    a, b = source.kind, to.kind
    if a is b or (a in TEXTS and b in TEXTS) or (a in BINARY and b in BINARY):
        if a is Kind.CLOB and b is not Kind.CLOB:
            return lambda v, nls, now: v or None
        return (lambda v, nls, now: v or None) if a is Kind.BLOB and b is not a else None
    if a in TEXTS:
        return _text_to(b)
    if b in TEXTS and (a not in BINARY or b is not Kind.CLOB):
        return lambda v, nls, now: text_of(v, source, nls)
    if a in NUMBERS and b in NUMBERS:
        if b is Kind.NUMBER:
            return _float_to_number
        return lambda v, nls, now: narrow(float(v), b)  # type: ignore[arg-type]
    if a in TEMPORAL and b in TEMPORAL:
        return _moment_to(a, b)
    raise OraError(932, f"inconsistent datatypes: expected {to.kind.name} got {source.kind.name}")


def _float_to_number(value: Value, nls: Nls, now: Moment) -> Value:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise OraError(1426, "numeric overflow")
        return number(Decimal(repr(value)))
    return value


_ROWID_DIGITS = {
    char: number
    for number, char in enumerate(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    )
}


def rowid_key(text: str) -> tuple[int, ...]:
    """Orders rowids by object, file, block and row."""
    try:
        return tuple(_ROWID_DIGITS[char] for char in text)
    except KeyError:
        raise OraError(1410, "invalid ROWID") from None


def float_key(value: float) -> tuple[bool, float]:
    """NaN equals itself and is above all."""
    return (True, 0.0) if math.isnan(value) else (False, value)


def key_of(kind: DataType) -> Callable[[Value], Key]:
    """The key of a value of this type, for grouping, sorting and unique indexes. ORA-00932 for LOBs."""
    match kind.kind:
        case Kind.CLOB | Kind.BLOB | Kind.LONG | Kind.LONG_RAW:
            raise OraError(932, f"inconsistent datatypes: expected - got {kind.kind.name}")
        case Kind.CHAR:
            return lambda v: v.rstrip(" ") if isinstance(v, str) else v
        case Kind.TIMESTAMP_TZ | Kind.TIMESTAMP_LTZ:
            return lambda v: instant(v) if isinstance(v, Moment) else v
        case Kind.DATE | Kind.TIMESTAMP:
            return lambda v: wall(v) if isinstance(v, Moment) else v
        case Kind.BINARY_FLOAT | Kind.BINARY_DOUBLE:
            return lambda v: float_key(v) if isinstance(v, float) else v
        case Kind.ROWID:
            return lambda v: rowid_key(v) if isinstance(v, str) else v
        case _:
            return lambda v: v


def common(left: DataType, right: DataType) -> DataType:
    """The type in which two values are compared. CHAR only where both are: blanks at the end count else."""
    for one in (left, right):
        if one.kind in LOBS:
            raise OraError(932, f"inconsistent datatypes: expected - got {one.kind.name}")
    kinds = (left.kind, right.kind)
    for kind in (Kind.BINARY_DOUBLE, Kind.BINARY_FLOAT, Kind.NUMBER):
        if kind in kinds:
            return DataType(Kind.BINARY_DOUBLE if kind is Kind.BINARY_FLOAT else kind)
    if any(kind in ZONED for kind in kinds):
        return DataType(Kind.TIMESTAMP_TZ)
    if any(kind in STAMPS for kind in kinds):
        return DataType(Kind.TIMESTAMP)
    for kind in (Kind.DATE, Kind.INTERVAL_DS, Kind.INTERVAL_YM, Kind.ROWID):
        if kind in kinds:
            return DataType(kind)
    if any(kind in BINARY for kind in kinds):
        return DataType(Kind.RAW)
    return DataType(Kind.CHAR if kinds == (Kind.CHAR, Kind.CHAR) else Kind.VARCHAR2)


def days_later(moment: Moment, days: Decimal) -> Moment:
    """A DATE some days later, to the second."""
    seconds = WIDE.quantize(WIDE.multiply(days, Decimal(86400)), Decimal(1))
    return shifted(moment, int(seconds) * 1_000_000_000)


def offset_of(text: str) -> int:
    """Read TIME_ZONE's value, in minutes east of UTC."""
    if text.upper() in ("UTC", "GMT", "Z", "LOCAL", "DBTIMEZONE"):
        return 0
    return (masks.read("2000-01-01 " + text, "YYYY-MM-DD TZR", Moment(2000)).offset) or 0
