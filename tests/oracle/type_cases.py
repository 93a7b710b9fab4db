"""Oracle's values as they are stored, and how redo and driver show them: written from the facts, not from our code."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Any, TypeAlias

from hypothesis import strategies as st

from bowline_worker.endpoints.oracle.redo import (
    Hex,
    IntervalDs,
    IntervalYm,
    Timestamp,
    TimestampLtz,
    TimestampTz,
)
from bowline_worker.endpoints.oracle.types import OracleColumn, OracleType, Terms, kind_of
from bowline_worker.model import TableName

Stored: TypeAlias = Any
TABLE = TableName("SHOP", "ITEM")
SECOND = 10**9  # in nanoseconds
DAY = 86_400 * SECOND
#: Python's own context would round to 28 digits.
WIDE = Context(prec=200)


def column(data_type: str, **change: Any) -> OracleColumn:
    """A column as the dictionary describes it; lengths of text in bytes and characters as Oracle has them."""
    row = OracleColumn(table=TABLE, name="C", data_type=data_type)
    return replace(row, **change)


def number(precision: int | None, scale: int | None) -> OracleColumn:
    return column("NUMBER", data_length=22, data_precision=precision, data_scale=scale)


def text(data_type: str, length: int, used: str = "C", per_character: int = 4) -> OracleColumn:
    size = length if used == "B" else length * per_character
    return column(data_type, data_length=size, char_length=length, char_used=used)


def supported(of: OracleColumn, terms: Terms | None = None, **options: bool) -> OracleType:
    found = kind_of(of, terms, **options)
    assert isinstance(found, OracleType), found
    return found


@dataclass(frozen=True, slots=True)
class Case:
    """A column, what may be stored in it, and how that is shown."""

    column: OracleColumn
    stored: st.SearchStrategy[Stored]
    redo: Callable[[Stored], object]
    driver: Callable[[Stored], object]

    def __str__(self) -> str:
        row = self.column
        numbers = [n for n in (row.data_precision, row.data_scale) if n is not None]
        return (
            row.data_type
            + (f"({row.char_length} {row.char_used})" if row.char_length else "")
            + (f"{numbers}" if numbers else "")
        )


# --- numbers --------------------------------------------------------------------------------------


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    top = 10**precision - 1
    return st.integers(-top, top).map(lambda n: Decimal(n).scaleb(-scale, WIDE))


def _wide_numbers(digits: int) -> st.SearchStrategy[Decimal]:
    """Any exponent; where a pair of digits starts is even or odd, so one digit less than forty always fits."""
    return st.builds(
        lambda n, exponent: Decimal(n).scaleb(exponent, WIDE),
        st.integers(-(10**digits) + 1, 10**digits - 1),
        st.one_of(st.integers(-6, 6), st.integers(-129, 126 - digits)),
    )


def printed(value: Decimal) -> str:
    """As TO_CHAR without a mask: no zero before the point; what is wider than 40 characters is rounded."""
    plain = format(value, "f")
    sign, plain = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
    whole, _, fraction = plain.partition(".")
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if not whole and not fraction:
        return "0"
    shown = f"{sign}{whole}{'.' if fraction else ''}{fraction}"
    if len(shown) <= 40:
        return shown
    exponent = f"E{value.adjusted():+03d}"  # 9.99... may become 10: no matter, it is rounded
    mantissa, _ = f"{value:.{38 - len(sign) - len(exponent)}E}".split("E")
    return mantissa + exponent


def _number_case(of: OracleColumn, stored: st.SearchStrategy[Decimal]) -> Case:
    return Case(of, stored, printed, lambda value: value)


def _declared(precision: int, scale: int) -> Case:
    return _number_case(number(precision, scale), decimals(precision, scale))


def _single(value: float) -> float:
    (found,) = struct.unpack("<f", struct.pack("<f", value))
    return float(found)


#: Oracle makes -0 a 0, and knows one NaN.
FLOATS = st.floats(allow_nan=True, allow_infinity=True).map(lambda value: value + 0.0)
SINGLES = st.floats(width=32).map(lambda value: value + 0.0)
NUMBERS = (
    *(_declared(p, s) for p, s in ((1, 0), (4, 0), (5, 0), (9, 0), (10, 0), (18, 0), (19, 0))),
    *(_declared(p, s) for p, s in ((38, 0), (5, 2), (38, 38), (12, 2), (5, 7), (5, -2), (3, 127))),
    _number_case(number(None, 0), decimals(38, 0)),
    _number_case(number(None, 3), decimals(38, 3)),
    _number_case(number(None, None), _wide_numbers(39)),
    _number_case(column("FLOAT", data_precision=126), _wide_numbers(38)),
    _number_case(column("FLOAT", data_precision=10), _wide_numbers(4)),
)
BINARIES = (
    Case(column("BINARY_FLOAT"), SINGLES, lambda value: f"{value:.8E}", lambda value: value),
    Case(column("BINARY_DOUBLE"), FLOATS, lambda value: f"{value:.8E}", lambda value: value),
)

# --- times ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stamp:
    """Years as astronomers count them; the offset is in minutes."""

    year: int
    month: int
    day: int
    second: int
    nanos: int
    offset: int = 0

    @property
    def date(self) -> str:
        return f"{abs(self.year - (self.year < 1)):04d}-{self.month:02d}-{self.day:02d}"

    @property
    def sign(self) -> str:
        return "-" if self.year < 1 else ""

    @property
    def clock(self) -> str:
        minutes, seconds = divmod(self.second, 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"

    @property
    def zone(self) -> str:
        hours, minutes = divmod(abs(self.offset), 60)
        return f"{'-' if self.offset < 0 else '+'}{hours:02d}:{minutes:02d}"

    def masked(self, *, fraction: bool = True, zone: str = "") -> str:
        """As TO_CHAR with SYYYY-MM-DD HH24:MI:SS[.FF9] [TZH:TZM]."""
        digits = f".{self.nanos:09d}" if fraction else ""
        return f"{self.sign or ' '}{self.date} {self.clock}{digits}{zone}"

    def iso(self, *, fraction: bool = True, zone: str = "") -> str:
        digits = f".{self.nanos:09d}" if fraction else ""
        return f"{self.sign}{self.date}T{self.clock}{digits}{zone}"


def stamps(
    digits: int, *, offsets: bool = False, last_year: int = 9999
) -> st.SearchStrategy[Stamp]:
    """From 4712 BC on; never a day that one of the calendars lacks."""
    step = 10 ** (9 - digits)
    return st.builds(
        Stamp,
        st.one_of(st.integers(-4710, last_year), st.integers(1990, 2040)),
        st.integers(1, 12),
        st.integers(1, 28),
        st.integers(0, 86_399),
        st.integers(0, 10**digits - 1).map(lambda n: n * step),
        st.integers(-12 * 60, 14 * 60) if offsets else st.just(0),
    ).filter(lambda s: not (s.year == 1582 and s.month == 10))


def _timestamp(digits: int) -> Case:
    return Case(
        column(f"TIMESTAMP({digits})", data_scale=digits),
        stamps(digits),
        lambda value: Timestamp(value.iso()),
        lambda value: value.masked(),
    )


def _zoned(digits: int) -> Case:
    return Case(
        column(f"TIMESTAMP({digits}) WITH TIME ZONE", data_scale=digits),
        stamps(digits, offsets=True, last_year=9998),
        lambda value: TimestampTz(value.iso(zone=value.zone)),
        lambda value: value.masked(zone=f" {value.zone}"),
    )


TIMES = (
    Case(
        column("DATE", data_length=7),
        stamps(0),
        lambda value: Timestamp(value.iso(fraction=False)),
        lambda value: value.masked(fraction=False),
    ),
    *map(_timestamp, (0, 3, 6, 9)),
    *map(_zoned, (0, 6, 9)),
    Case(
        column("TIMESTAMP(6) WITH LOCAL TIME ZONE", data_scale=6),
        stamps(6),
        lambda value: TimestampLtz(value.iso()),
        lambda value: value.masked(zone=" +00:00"),
    ),
)

# --- intervals ------------------------------------------------------------------------------------


def months_text(months: int, precision: int) -> str:
    years, rest = divmod(abs(months), 12)
    return f"{'-' if months < 0 else '+'}{years:0{precision}d}-{rest:02d}"


def nanos_text(nanos: int, precision: int, digits: int) -> str:
    days, rest = divmod(abs(nanos), DAY)
    seconds, fraction = divmod(rest, SECOND)
    minutes, seconds = divmod(seconds, 60)
    shown = f".{fraction:09d}"[: digits + 1] if digits else ""
    sign = "-" if nanos < 0 else "+"
    return f"{sign}{days:0{precision}d} {minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}{shown}"


def _year_to_month(precision: int) -> Case:
    top = 12 * 10**precision - 1
    return Case(
        column(f"INTERVAL YEAR({precision}) TO MONTH", data_precision=precision, data_scale=0),
        st.one_of(st.integers(-top, top), st.integers(-13, 13)),
        lambda value: IntervalYm(months_text(value, 4)),
        lambda value: months_text(value, precision),
    )


def _day_to_second(precision: int, digits: int) -> Case:
    top, step = 10**precision * DAY - 1, 10 ** (9 - digits)
    near = st.integers(-DAY, DAY)
    return Case(
        column(
            f"INTERVAL DAY({precision}) TO SECOND({digits})",
            data_precision=precision,
            data_scale=digits,
        ),
        st.one_of(st.integers(-top, top), near, near.map(lambda n: n // DAY * DAY)).map(
            lambda n: n // step * step if n >= 0 else -(-n // step * step)
        ),
        lambda value: IntervalDs(nanos_text(value, 5, digits)),
        lambda value: nanos_text(value, precision, digits),
    )


INTERVALS = (
    *map(_year_to_month, (2, 4, 8)),
    *(_day_to_second(p, d) for p, d in ((2, 6), (5, 3), (9, 0), (2, 9))),
)

# --- text and bytes -------------------------------------------------------------------------------

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


def _texts(size: int, measure: Callable[[str], int]) -> st.SearchStrategy[str]:
    ascii_or_any = st.one_of(CHARACTERS, st.characters(min_codepoint=32, max_codepoint=126))
    drawn = st.text(ascii_or_any, min_size=1, max_size=size)
    return drawn.map(lambda value: _first(value, size, measure)).filter(bool)


def _first(value: str, size: int, measure: Callable[[str], int]) -> str:
    while measure(value) > size:
        value = value[:-1]
    return value


def utf8(value: str) -> int:
    return len(value.encode())


def utf16(value: str) -> int:
    return len(value.encode("utf-16-be")) // 2


def _text_case(of: OracleColumn, measure: Callable[[str], int], *, padded: bool = False) -> Case:
    """Blanks fill a CHAR up to its length, in whatever that was declared."""

    def stored(value: str) -> str:
        return value + " " * (of.char_length - measure(value)) if padded else value

    return Case(of, _texts(of.char_length, measure).map(stored), _same, _same)


def _same(value: object) -> object:
    return value


def _lob(data_type: str, stored: st.SearchStrategy[Stored]) -> Case:
    return Case(column(data_type, data_length=4000), stored, _same, _same)


TEXTS = (
    _text_case(text("VARCHAR2", 20), len),
    _text_case(text("VARCHAR2", 20, "B"), utf8),
    _text_case(text("NVARCHAR2", 20, per_character=2), utf16),
    _text_case(text("CHAR", 8), len, padded=True),
    _text_case(text("CHAR", 8, "B"), utf8, padded=True),
    _text_case(text("NCHAR", 8, per_character=2), utf16, padded=True),
    Case(
        column("RAW", data_length=16),
        st.binary(min_size=1, max_size=16),
        Hex,
        _same,
    ),
    Case(
        column("ROWID", data_length=10),
        st.text(st.sampled_from("ABCwxyz0189+/"), min_size=18, max_size=18),
        _same,
        _same,
    ),
)
LOBS = (
    _lob("CLOB", st.text(CHARACTERS)),
    _lob("NCLOB", st.text(CHARACTERS)),
    _lob("LONG", st.text(CHARACTERS, min_size=1)),
    _lob("BLOB", st.binary()),
    _text_case(text("VARCHAR2", 2000), len),
)
CASES = (*NUMBERS, *BINARIES, *TIMES, *INTERVALS, *TEXTS, *LOBS)
