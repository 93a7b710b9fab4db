"""Values as Oracle keeps them inside a block: what LogMiner shows as HEXTORAW where it can't name the columns."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from decimal import Decimal

from oracle.standin.backend import Kind, Moment, Months, Span, Value
from oracle.standin.events import ColumnShape

_BIAS = 0x80000000


def number_bytes(value: Decimal) -> bytes:
    """Encode a NUMBER: an exponent of base 100, then its digits; negative ones complemented. 1 is c102."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise TypeError(f"{value} is no NUMBER")
    text = "".join(map(str, digits)).lstrip("0")
    exponent += len(text) - len(text.rstrip("0"))
    text = text.rstrip("0")
    if not text:
        return b"\x80"
    if exponent % 2:
        text, exponent = text + "0", exponent - 1
    if len(text) % 2:
        text = "0" + text
    pairs = [int(text[at : at + 2]) for at in range(0, len(text), 2)]
    lead = 192 + len(pairs) + exponent // 2
    if sign:
        tail = b"\x66" if len(pairs) < 20 else b""
        return bytes([lead ^ 0xFF]) + bytes(101 - pair for pair in pairs) + tail
    return bytes([lead]) + bytes(pair + 1 for pair in pairs)


def date_bytes(at: Moment) -> bytes:
    """Encode a DATE: century and year from 100, hour, minute and second from 1. 1 BC is the year -1."""
    year = at.year if at.year > 0 else at.year - 1
    century, short = divmod(abs(year), 100)
    if year < 0:
        century, short = -century, -short
    return bytes(
        [century + 100, short + 100, at.month, at.day, at.hour + 1, at.minute + 1, at.second + 1]
    )


def _timestamp_bytes(at: Moment) -> bytes:
    return date_bytes(at) + (struct.pack(">I", at.nanos) if at.nanos else b"")


def _zoned_bytes(at: Moment) -> bytes:
    offset = at.offset or 0
    hours, minutes = divmod(abs(offset), 60)
    sign = -1 if offset < 0 else 1
    local = datetime(at.year, at.month, at.day, at.hour, at.minute, at.second)  # noqa: DTZ001
    utc = local - timedelta(minutes=offset)
    moment = Moment(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second)
    return (
        date_bytes(moment)
        + struct.pack(">I", at.nanos)
        + bytes([20 + sign * hours, 60 + sign * minutes])
    )


def _months_bytes(value: Months) -> bytes:
    years, months = divmod(abs(value.months), 12)
    sign = -1 if value.months < 0 else 1
    return struct.pack(">IB", _BIAS + sign * years, 60 + sign * months)


def _span_bytes(value: Span) -> bytes:
    sign = -1 if value.nanos < 0 else 1
    seconds, nanos = divmod(abs(value.nanos), 10**9)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    parts = (60 + sign * part for part in (hour, minute, second))
    return struct.pack(">IBBBI", _BIAS + sign * days, *parts, _BIAS + sign * nanos)


def _float_bytes(value: float, kind: Kind) -> bytes:
    raw = struct.pack(">f" if kind is Kind.BINARY_FLOAT else ">d", value)
    if raw[0] & 0x80:
        return bytes(byte ^ 0xFF for byte in raw)
    return bytes([raw[0] | 0x80]) + raw[1:]


def internal_bytes(value: Value, column: ColumnShape) -> bytes | None:
    """Encode a value of a column; None is NULL."""
    match value:
        case None | bytes():
            return value
        case str():
            return value.encode("utf-16-be" if column.national else "utf-8")
        case Decimal():
            return number_bytes(value)
        case float():
            return _float_bytes(value, column.kind)
        case Moment() if column.kind is Kind.DATE:
            return date_bytes(value)
        case Moment() if column.kind is Kind.TIMESTAMP_TZ:
            return _zoned_bytes(value)
        case Moment():
            return _timestamp_bytes(value)
        case Months():
            return _months_bytes(value)
        case Span():
            return _span_bytes(value)
