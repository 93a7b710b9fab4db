"""DATE, the TIMESTAMPs and the intervals, as they travel."""

from __future__ import annotations

import struct
from dataclasses import replace

from oracle.standin.backend import Kind, Moment, Months, OraError, Span

_SECOND = 1_000_000_000
_DAY = 24 * 60  # in minutes

# Signed parts are written with a bias, so that bytes sort as the values do.
_WIDE_BIAS = 0x80000000
_NARROW_BIAS = 60
_HOUR_BIAS = 20
_NAMED_ZONE = 0x80

# Oracle's calendar is Julian before October 1582.
_FIRST_GREGORIAN_YEAR = 1582


def encode_date(moment: Moment) -> bytes:
    """Encode to the second, 7 bytes."""
    # Oracle has no year 0, and counts back from -1, which is 1 BC.
    year = moment.year if moment.year > 0 else moment.year - 1
    if not -4712 <= year <= 9999:
        raise OraError(1841, "(full) year must be between -4713 and +9999, and not be 0")
    sign = -1 if year < 0 else 1
    century, rest = divmod(abs(year), 100)
    return bytes(
        [
            100 + sign * century,
            100 + sign * rest,
            moment.month,
            moment.day,
            moment.hour + 1,
            moment.minute + 1,
            moment.second + 1,
        ]
    )


def encode_timestamp(moment: Moment) -> bytes:
    """Encode 7 bytes, and 4 of nanoseconds unless they are 0; of a local time zone too, which is UTC."""
    fraction = struct.pack(">I", moment.nanos) if moment.nanos else b""
    return encode_date(moment) + fraction


def encode_timestamp_tz(moment: Moment) -> bytes:
    """Encode 13 bytes: the clock in UTC, then the offset."""
    offset = moment.offset or 0
    sign = -1 if offset < 0 else 1
    hours, minutes = divmod(abs(offset), 60)
    utc = encode_date(shifted(moment, -offset)) + struct.pack(">I", moment.nanos)
    return utc + bytes([_HOUR_BIAS + sign * hours, _NARROW_BIAS + sign * minutes])


def decode_moment(raw: bytes, kind: Kind) -> Moment:
    """Decode any of them: a DATE without a fraction, a TIMESTAMP WITH TIME ZONE by its own clock."""
    year = (raw[0] - 100) * 100 + raw[1] - 100
    moment = Moment(
        year=year if year > 0 else year + 1,
        month=raw[2],
        day=raw[3],
        hour=raw[4] - 1,
        minute=raw[5] - 1,
        second=raw[6] - 1,
        nanos=int.from_bytes(raw[7:11]) if kind is not Kind.DATE else 0,
    )
    if kind is not Kind.TIMESTAMP_TZ:
        return moment
    if len(raw) < 13 or raw[11] & _NAMED_ZONE:
        raise OraError(1805, "possible error in date/time operation: a named zone")
    offset = (raw[11] - _HOUR_BIAS) * 60 + raw[12] - _NARROW_BIAS
    return replace(shifted(moment, offset), offset=offset)


def encode_span(span: Span) -> bytes:
    """Encode an INTERVAL DAY TO SECOND, 11 bytes; each part has the sign of the whole."""
    sign = -1 if span.nanos < 0 else 1
    seconds, nanos = divmod(abs(span.nanos), _SECOND)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return struct.pack(
        ">IBBBI",
        _WIDE_BIAS + sign * days,
        _NARROW_BIAS + sign * hour,
        _NARROW_BIAS + sign * minute,
        _NARROW_BIAS + sign * second,
        _WIDE_BIAS + sign * nanos,
    )


def decode_span(raw: bytes) -> Span:
    days, hours, minutes, seconds, nanos = struct.unpack(">IBBBI", raw)
    whole = (days - _WIDE_BIAS) * 24 + hours - _NARROW_BIAS
    whole = (whole * 60 + minutes - _NARROW_BIAS) * 60 + seconds - _NARROW_BIAS
    return Span(whole * _SECOND + nanos - _WIDE_BIAS)


def encode_months(interval: Months) -> bytes:
    """Encode an INTERVAL YEAR TO MONTH, 5 bytes."""
    sign = -1 if interval.months < 0 else 1
    years, months = divmod(abs(interval.months), 12)
    return struct.pack(">IB", _WIDE_BIAS + sign * years, _NARROW_BIAS + sign * months)


def decode_months(raw: bytes) -> Months:
    years, months = struct.unpack(">IB", raw)
    return Months((years - _WIDE_BIAS) * 12 + months - _NARROW_BIAS)


def shifted(moment: Moment, minutes: int) -> Moment:
    """Move the clock by less than a day's minutes, in either direction."""
    days, rest = divmod(moment.hour * 60 + moment.minute + minutes, _DAY)
    hour, minute = divmod(rest, 60)
    year, month, day = moment.year, moment.month, moment.day + days
    if day < 1:
        year, month = (year - 1, 12) if month == 1 else (year, month - 1)
        day = _days_of(year, month)
    elif day > _days_of(year, month):
        year, month, day = (year + 1, 1, 1) if month == 12 else (year, month + 1, 1)
    return replace(moment, year=year, month=month, day=day, hour=hour, minute=minute)


def _days_of(year: int, month: int) -> int:
    if month == 2:
        is_leap = year % 4 == 0 and (
            year < _FIRST_GREGORIAN_YEAR or year % 100 != 0 or year % 400 == 0
        )
        return 29 if is_leap else 28
    return 30 if month in (4, 6, 9, 11) else 31
