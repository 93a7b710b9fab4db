"""Values of a server in the words of the stand-in's engine, without loss: temporals by their text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

import oracledb
import pytest

from oracle.standin.backend import Kind, Moment, Months, Span, Value

TYPES: Final[Mapping[Kind, Any]] = {
    Kind.VARCHAR2: oracledb.DB_TYPE_VARCHAR,
    Kind.NUMBER: oracledb.DB_TYPE_NUMBER,
    Kind.LONG: oracledb.DB_TYPE_LONG,
    Kind.ROWID: oracledb.DB_TYPE_ROWID,
    Kind.DATE: oracledb.DB_TYPE_DATE,
    Kind.RAW: oracledb.DB_TYPE_RAW,
    Kind.LONG_RAW: oracledb.DB_TYPE_LONG_RAW,
    Kind.CHAR: oracledb.DB_TYPE_CHAR,
    Kind.BINARY_FLOAT: oracledb.DB_TYPE_BINARY_FLOAT,
    Kind.BINARY_DOUBLE: oracledb.DB_TYPE_BINARY_DOUBLE,
    Kind.CLOB: oracledb.DB_TYPE_CLOB,
    Kind.BLOB: oracledb.DB_TYPE_BLOB,
    Kind.TIMESTAMP: oracledb.DB_TYPE_TIMESTAMP,
    Kind.TIMESTAMP_TZ: oracledb.DB_TYPE_TIMESTAMP_TZ,
    Kind.INTERVAL_YM: oracledb.DB_TYPE_INTERVAL_YM,
    Kind.INTERVAL_DS: oracledb.DB_TYPE_INTERVAL_DS,
    Kind.TIMESTAMP_LTZ: oracledb.DB_TYPE_TIMESTAMP_LTZ,
}
KINDS: Final[Mapping[Any, Kind]] = {found: kind for kind, found in TYPES.items()} | {
    oracledb.DB_TYPE_NVARCHAR: Kind.VARCHAR2,
    oracledb.DB_TYPE_NCHAR: Kind.CHAR,
    oracledb.DB_TYPE_NCLOB: Kind.CLOB,
}

_CLOCK = "SYYYY-MM-DD HH24:MI:SS"
_SHOWN = {
    Kind.DATE: f"to_char({{}}, '{_CLOCK}')",
    Kind.TIMESTAMP: f"to_char({{}}, '{_CLOCK}.FF9')",
    Kind.TIMESTAMP_TZ: f"to_char({{}}, '{_CLOCK}.FF9 TZH:TZM')",
    Kind.TIMESTAMP_LTZ: f"to_char(sys_extract_utc({{}}), '{_CLOCK}.FF9')",
    Kind.INTERVAL_DS: "to_char({})",
}
_MOMENT = re.compile(
    r"([ -]\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{9}))?(?: ([+-])(\d\d):(\d\d))?"
)
_SPAN = re.compile(r"([+-])(\d+) (\d\d):(\d\d):(\d\d)(?:\.(\d+))?")


def is_temporal(kind: Kind) -> bool:
    return kind in _SHOWN


def as_text(query: str, kinds: Sequence[Kind]) -> str:
    """A query's rows with its temporals as text."""
    names = [f"c{at}" for at in range(len(kinds))]
    shown = (_SHOWN.get(kind, "{}").format(name) for name, kind in zip(names, kinds, strict=True))
    return f"with q ({', '.join(names)}) as ({query}) select {', '.join(shown)} from q"


def from_text(found: Any, kind: Kind) -> Value:
    if found is None:
        return None
    if kind is Kind.INTERVAL_DS:
        return _span(str(found))
    match = _MOMENT.fullmatch(str(found))
    assert match is not None, found
    sign, *digits = match.groups()
    year, month, day, hour, minute, second = (int(each) for each in (sign, *digits[:5]))
    nanos, east, hours, minutes = digits[5:]
    offset = None if east is None else int(f"{east}1") * (int(hours) * 60 + int(minutes))
    # Oracle has no year 0: it writes 1 BC as -1.
    return Moment(year + (year < 0), month, day, hour, minute, second, int(nanos or 0), offset)


def _span(text: str) -> Span:
    match = _SPAN.fullmatch(text)
    assert match is not None, text
    sign, days, hours, minutes, seconds, fraction = match.groups()
    whole = ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)
    nanos = whole * 10**9 + int((fraction or "").ljust(9, "0"))
    return Span(-nanos if sign == "-" else nanos)


def value_of(found: Any) -> Value:
    """What the driver has fetched, but for temporals."""
    match found:
        case None | str() | bytes() | Decimal() | float():
            return found
        case int():
            return Decimal(found)
        case oracledb.LOB():
            empty = b"" if found.type is oracledb.DB_TYPE_BLOB else ""
            read: str | bytes = found.read() if found.size() else empty
            return read
        case oracledb.IntervalYM():
            return Months(found.years * 12 + found.months)
    raise TypeError(f"no value of the engine: {found!r}")


def as_given(value: Value) -> Any:
    """What the driver is given for a value to bind."""
    match value:
        case Moment():
            if value.year < 1 or value.nanos % 1000:
                pytest.skip("the driver binds no nanoseconds, and no years before Christ")
            zone = None if value.offset is None else timezone(timedelta(minutes=value.offset))
            return datetime(
                value.year,
                value.month,
                value.day,
                value.hour,
                value.minute,
                value.second,
                value.nanos // 1000,
                zone,
            )
        case Months():
            return oracledb.IntervalYM(
                int(math.copysign(abs(value.months) // 12, value.months)),
                int(math.fmod(value.months, 12)),
            )
        case Span():
            return timedelta(microseconds=value.nanos // 1000)
    return value


def fetched_as(cursor: oracledb.Cursor, found: oracledb.FetchInfo) -> oracledb.Var | None:
    """All digits of numbers."""
    if found.type_code is oracledb.DB_TYPE_NUMBER:
        return cursor.var(Decimal, arraysize=cursor.arraysize)
    return None
