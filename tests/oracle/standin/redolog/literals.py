"""One value as LogMiner writes it into SQL_REDO: section 2 of the facts, by its numbers of samples."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from decimal import Decimal
from math import isinf, isnan

from oracle.standin.backend import Kind, Moment, Months, Span, Value
from oracle.standin.events import ColumnShape
from oracle.standin.redolog.nls import EXACT, Nls, format_moment, shifted

LOBS = frozenset({Kind.CLOB, Kind.BLOB})
LONGS = frozenset({Kind.LONG, Kind.LONG_RAW})


@dataclass(frozen=True, slots=True)
class Style:
    """How literals come out: by the mining session's formats, and by what was drawn for their record."""

    nls: Nls = EXACT
    lossy: bool = True  #: 15: binary floats are not what they say
    joined: bool = False  #: 10: national text in two pieces


def quoted(text: str) -> str:
    """Quote a string, with its quotes doubled (5, 6)."""
    return "'" + text.replace("'", "''") + "'"


def hex_text(data: bytes) -> str:
    """Write bytes (26), in lower case."""
    return f"HEXTORAW('{data.hex()}')"


def literal(value: Value, column: ColumnShape, style: Style) -> str:
    """Write the value of a column; a LOB's is its text as if it were short."""
    match value:
        case None:
            return "NULL"
        case str():
            return text_literal(value, column, style)
        case bytes():
            return hex_text(value)
        case Decimal():
            return f"'{number_text(value, style.nls.numeric_characters)}'"
        case float():
            return f"'{binary_text(value, column.kind, style)}'"
        case Moment():
            return moment_literal(value, column, style.nls)
        case Months():
            return f"TO_YMINTERVAL('{months_text(value, column.precision)}')"
        case Span():
            return f"TO_DSINTERVAL('{span_text(value, column.precision, column.scale)}')"


def text_literal(value: str, column: ColumnShape, style: Style) -> str:
    """Write text: CHAR blank padded (3), national text by UNISTR (4, 8), extended without doubling (41)."""
    if column.kind is Kind.CHAR:
        width = len(value.encode()) if column.byte_semantics else len(value)
        value += " " * (column.length - width)
    if column.national and column.kind not in LOBS:
        half = len(value) // 2
        if style.joined and half:
            return f"{_unistr(value[:half])} || {_unistr(value[half:])}"
        return _unistr(value)
    if column.extended:
        return f"'{value}'"
    return quoted(value)


def _unistr(text: str) -> str:
    done = []
    for character in text:
        if character == "\\":
            done.append("\\\\")
        elif character.isascii():
            done.append(character)
        else:
            units = character.encode("utf-16-be", "surrogatepass").hex().upper()
            done += ["\\" + units[at : at + 4] for at in range(0, len(units), 4)]
    return f"UNISTR({quoted(''.join(done))})"


def number_text(value: Decimal, characters: str = ".,") -> str:
    """Print a NUMBER as TO_CHAR does (12): no 0 before the point; with an exponent beyond 40 digits."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int), f"{value} is no NUMBER"
    text = "".join(map(str, digits)).lstrip("0")
    exponent += len(text) - len(text.rstrip("0"))
    text = text.rstrip("0")
    if not text:
        return "0"
    point, minus = characters[0], "-" if sign else ""
    magnitude = len(text) + exponent
    if magnitude > 40 or magnitude < -38:
        fraction = point + text[1:] if len(text) > 1 else ""
        return f"{minus}{text[0]}{fraction}E{magnitude - 1:+d}"
    if exponent >= 0:
        return minus + text + "0" * exponent
    if magnitude > 0:
        return minus + text[:magnitude] + point + text[magnitude:]
    return minus + point + "0" * -magnitude + text


#: The least that a NUMBER can hold: what is nearer to 0 was printed as 0.
_TINY = 1e-130
#: Recorded for 1.5E10 as BINARY_FLOAT: '1.50000005E+010'. For which other values is not known.
_FLOAT_ERROR = 3.3e-8


def binary_text(value: float, kind: Kind, style: Style) -> str:
    """Print a binary float (15): a sum of errors in the forms that were recorded, for a reader to mistrust."""
    if isnan(value):
        return "Nan"
    if isinf(value):
        return "-Inf" if value < 0 else "Inf"
    if style.lossy and abs(value) < _TINY:
        return "0"
    digits = 9 if kind is Kind.BINARY_FLOAT else 15
    if not style.lossy:
        digits = 9 if kind is Kind.BINARY_FLOAT else 17
    elif kind is Kind.BINARY_FLOAT and abs(value) >= 10:
        value *= 1 + _FLOAT_ERROR
    if not value:
        return "0"
    mantissa, _, exponent = f"{value:.{digits - 1}E}".partition("E")
    mantissa = mantissa.rstrip("0")
    mantissa += "0" if mantissa.endswith(".") else ""
    number = int(exponent)
    return f"{mantissa}E{'-' if number < 0 else '+'}{abs(number):03d}"


def survives(value: Value, kind: Kind, style: Style) -> bool:
    """Tell whether a binary float can be read back from its text."""
    if not isinstance(value, float) or isnan(value):
        return True
    read = float(binary_text(value, kind, style))
    if kind is Kind.BINARY_FLOAT:
        try:
            read = struct.unpack(">f", struct.pack(">f", read))[0]
        except OverflowError:  # the text of the largest ones may be beyond them
            return False
    return read == value


def moment_literal(value: Moment, column: ColumnShape, nls: Nls) -> str:
    """Write a DATE (16) or one of the TIMESTAMPs (19 to 22)."""
    scale = 6 if column.scale is None else column.scale
    match column.kind:
        case Kind.DATE:
            text = format_moment(value, nls.date_format, 0, nls)
            return f"TO_DATE('{text}', '{nls.date_format}')"
        case Kind.TIMESTAMP_TZ:
            return f"TO_TIMESTAMP_TZ('{format_moment(value, nls.timestamp_tz_format, scale, nls)}')"
        case Kind.TIMESTAMP_LTZ:
            local = shifted(value, nls.zone_minutes)
            return f"TO_TIMESTAMP_TZ('{format_moment(local, nls.timestamp_format, scale, nls)}')"
    return f"TO_TIMESTAMP('{format_moment(value, nls.timestamp_format, scale, nls)}')"


def months_text(value: Months, precision: int | None) -> str:
    """Print an INTERVAL YEAR TO MONTH (24): as many digits of years as its type has."""
    years, months = divmod(abs(value.months), 12)
    width = 2 if precision is None else precision
    return f"{'-' if value.months < 0 else '+'}{years:0{width}d}-{months:02d}"


def span_text(value: Span, precision: int | None, scale: int | None) -> str:
    """Print an INTERVAL DAY TO SECOND (25): as many digits of days, and of the fraction, as its type has."""
    seconds, nanos = divmod(abs(value.nanos), 10**9)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    width = 2 if precision is None else precision
    digits = f"{nanos:09d}"[: 6 if scale is None else scale]
    sign = "-" if value.nanos < 0 else "+"
    fraction = f".{digits}" if digits else ""
    return f"{sign}{days:0{width}d} {hour:02d}:{minute:02d}:{second:02d}{fraction}"
