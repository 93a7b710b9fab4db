"""Oracle's types as columns and expressions have them, and how a value is fitted into a column."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from oracle.standin.backend import Column, Kind, Moment, Months, OraError, Span, Value
from oracle.standin.engine.temporals import rounded, rounded_span

# Enough for any product of two NUMBERs; each result is then cut to what a NUMBER holds.
WIDE = decimal.Context(prec=100, rounding=ROUND_HALF_UP, Emin=-9999, Emax=9999)

TEXTS = frozenset({Kind.VARCHAR2, Kind.CHAR, Kind.LONG, Kind.CLOB})
NUMBERS = frozenset({Kind.NUMBER, Kind.BINARY_FLOAT, Kind.BINARY_DOUBLE})
BINARY = frozenset({Kind.RAW, Kind.LONG_RAW, Kind.BLOB})
LOBS = frozenset({Kind.CLOB, Kind.BLOB})
ZONED = frozenset({Kind.TIMESTAMP_TZ, Kind.TIMESTAMP_LTZ})
STAMPS = frozenset({Kind.TIMESTAMP, Kind.TIMESTAMP_TZ, Kind.TIMESTAMP_LTZ})
TEMPORAL = STAMPS | {Kind.DATE}


@dataclass(frozen=True, slots=True)
class DataType:
    """A type with its sizes. Of an expression all of them may be missing."""

    kind: Kind
    length: int = 0  #: as declared: characters, or bytes with `byte_semantics` and of RAW
    precision: int | None = None  #: of NUMBER; binary digits of FLOAT; leading digits of intervals
    scale: int | None = None  #: of NUMBER; fraction digits of timestamps and intervals
    national: bool = False
    byte_semantics: bool = False
    is_float: bool = False  #: FLOAT(b), a NUMBER with a binary precision

    @property
    def name(self) -> str:
        """The name as DATA_TYPE of the dictionary has it."""
        return _NAMES[self.kind](self)

    @property
    def bytes(self) -> int:
        """The most bytes that a value takes: DATA_LENGTH."""
        match self.kind:
            case Kind.VARCHAR2 | Kind.CHAR:
                factor = 2 if self.national else 1 if self.byte_semantics else 4
                return min(self.length * factor, 32767 if self.length > 4000 else 4000)
            case Kind.RAW:
                return self.length
            case kind:
                return _BYTES.get(kind, 0)

    def column(self, name: str, *, nullable: bool = True) -> Column:
        """A result's column of this type."""
        size = self.length if self.national else self.bytes
        size = size or (4000 if self.kind in TEXTS else 2000 if self.kind is Kind.RAW else 0)
        precision, scale = self.precision or 0, -127 if self.scale is None else self.scale
        if self.kind in STAMPS or self.kind in (Kind.INTERVAL_DS, Kind.INTERVAL_YM):
            scale = 6 if self.scale is None else self.scale
        return Column(name, self.kind, precision, scale, size, self.national, nullable)


_NAMES: dict[Kind, Callable[[DataType], str]] = {
    Kind.VARCHAR2: lambda t: "NVARCHAR2" if t.national else "VARCHAR2",
    Kind.CHAR: lambda t: "NCHAR" if t.national else "CHAR",
    Kind.CLOB: lambda t: "NCLOB" if t.national else "CLOB",
    Kind.NUMBER: lambda t: "FLOAT" if t.is_float else "NUMBER",
    Kind.LONG_RAW: lambda t: "LONG RAW",
    Kind.TIMESTAMP: lambda t: f"TIMESTAMP({t.scale})",
    Kind.TIMESTAMP_TZ: lambda t: f"TIMESTAMP({t.scale}) WITH TIME ZONE",
    Kind.TIMESTAMP_LTZ: lambda t: f"TIMESTAMP({t.scale}) WITH LOCAL TIME ZONE",
    Kind.INTERVAL_YM: lambda t: f"INTERVAL YEAR({t.precision}) TO MONTH",
    Kind.INTERVAL_DS: lambda t: f"INTERVAL DAY({t.precision}) TO SECOND({t.scale})",
    **{
        kind: (lambda t: t.kind.name)
        for kind in (Kind.LONG, Kind.ROWID, Kind.DATE, Kind.RAW, Kind.BLOB)
    },
    Kind.BINARY_FLOAT: lambda t: "BINARY_FLOAT",
    Kind.BINARY_DOUBLE: lambda t: "BINARY_DOUBLE",
}
_BYTES = {
    Kind.NUMBER: 22,
    Kind.DATE: 7,
    Kind.TIMESTAMP: 11,
    Kind.TIMESTAMP_TZ: 13,
    Kind.TIMESTAMP_LTZ: 11,
    Kind.INTERVAL_YM: 5,
    Kind.INTERVAL_DS: 11,
    Kind.BINARY_FLOAT: 4,
    Kind.BINARY_DOUBLE: 8,
    Kind.CLOB: 4000,
    Kind.BLOB: 4000,
    Kind.ROWID: 10,
}

VARCHAR = DataType(Kind.VARCHAR2)
FIXED = DataType(Kind.CHAR)
NUMBER = DataType(Kind.NUMBER)
DATE = DataType(Kind.DATE)
RAW = DataType(Kind.RAW)
ROWID = DataType(Kind.ROWID)
CLOB = DataType(Kind.CLOB)
BLOB = DataType(Kind.BLOB)
DOUBLE = DataType(Kind.BINARY_DOUBLE)
STAMP = DataType(Kind.TIMESTAMP, scale=9)
STAMP_TZ = DataType(Kind.TIMESTAMP_TZ, scale=9)
YEARS = DataType(Kind.INTERVAL_YM, precision=9)
DAYS = DataType(Kind.INTERVAL_DS, precision=9, scale=9)


def number(value: Decimal) -> Decimal:
    """Cut to what a NUMBER holds: 20 pairs of digits, 1e-130 up to 1e126. ORA-01426 beyond."""
    if not value:
        return Decimal(0)
    adjusted = value.adjusted()
    # A mantissa is pairs: where the first holds one digit, 39 are left.
    digits = 40 if adjusted % 2 else 39
    places = digits - 1 - adjusted
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > places:
        value = WIDE.quantize(value, Decimal((0, (1,), -places)))
    if value.adjusted() > 125:
        raise OraError(1426, "numeric overflow")
    return value if value.adjusted() >= -130 else Decimal(0)


def _fit_number(value: Decimal, to: DataType) -> Decimal:
    if to.is_float:
        digits = math.ceil((to.precision or 126) * 0.30103)
        return number(decimal.Context(prec=digits, rounding=ROUND_HALF_UP).plus(value))
    if to.scale is None:
        return number(value)
    if value.adjusted() > 130:
        raise OraError(1426, "numeric overflow")
    value = WIDE.quantize(value, Decimal((0, (1,), -to.scale)))
    precision = 38 if to.precision is None else to.precision
    if value and value.adjusted() >= precision - to.scale:
        raise OraError(1438, "value larger than specified precision allowed for this column")
    return number(value)


def _fit_text(value: str, to: DataType, place: str) -> str:
    actual = len(value.encode()) if to.byte_semantics else _characters(value, to)
    if actual > to.length:
        raise OraError(
            12899, f"value too large for column {place} (actual: {actual}, maximum: {to.length})"
        )
    if not to.byte_semantics and not to.national and len(value.encode()) > to.bytes:
        actual = len(value.encode())
        raise OraError(
            12899, f"value too large for column {place} (actual: {actual}, maximum: {to.bytes})"
        )
    return value + " " * (to.length - actual) if to.kind is Kind.CHAR else value


def _characters(value: str, to: DataType) -> int:
    # National text counts UTF-16 units.
    return len(value.encode("utf-16-be")) // 2 if to.national else len(value)


def fit(value: Value, to: DataType, place: str) -> Value:
    """Fit a value of the column's own kind: rounded, padded, or refused with Oracle's error."""
    match value:
        case None:
            return None
        case Decimal():
            return _fit_number(value, to)
        case str() if to.kind in (Kind.VARCHAR2, Kind.CHAR):
            return _fit_text(value, to, place)
        case bytes() if to.kind is Kind.RAW and len(value) > to.length:
            raise OraError(
                12899,
                f"value too large for column {place} (actual: {len(value)}, maximum: {to.length})",
            )
        case Moment():
            return rounded(value, 0 if to.scale is None else to.scale)
        case Months():
            return _fit_months(value, to)
        case Span():
            return _fit_span(value, to)
        case float() if value == 0:
            return 0.0  # there is no negative zero
        case _:
            return value


def _fit_months(value: Months, to: DataType) -> Months:
    if abs(value.months) // 12 >= 10 ** (2 if to.precision is None else to.precision):
        raise OraError(1873, "the leading precision of the interval is too small")
    return value


def _fit_span(value: Span, to: DataType) -> Span:
    value = rounded_span(value, 6 if to.scale is None else to.scale)
    if abs(value.nanos) // 86_400_000_000_000 >= 10 ** (
        2 if to.precision is None else to.precision
    ):
        raise OraError(1873, "the leading precision of the interval is too small")
    return value
