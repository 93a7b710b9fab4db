"""Arithmetic of moments and intervals, on the proleptic Gregorian calendar; format masks are in masks.py."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from oracle.standin.backend import Moment, Months, OraError, Span

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def days_of(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01; years are astronomical."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def date_of(days: int) -> tuple[int, int, int]:
    """Year, month and day of a number of days since 1970-01-01."""
    era, of_era = divmod(days + 719468, 146097)
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = (shifted + 2) % 12 + 1
    return (
        year + era * 400 + (month <= 2),
        month,
        of_year - (153 * shifted + 2) // 5 + 1,
    )


def wall(moment: Moment) -> int:
    """Nanoseconds of the wall clock since 1970, whatever its offset."""
    seconds = days_of(moment.year, moment.month, moment.day) * 86400
    seconds += moment.hour * 3600 + moment.minute * 60 + moment.second
    return seconds * SECOND + moment.nanos


def instant(moment: Moment) -> int:
    """Nanoseconds since 1970 in UTC; a moment without an offset counts as UTC."""
    return wall(moment) - (moment.offset or 0) * MINUTE


def moment_of(nanos: int, offset: int | None = None) -> Moment:
    """The moment at `nanos` of its own wall clock."""
    days, rest = divmod(nanos, DAY)
    year, month, day = date_of(days)
    if not -4712 <= year <= 9999:
        raise OraError(1841, "(full) year must be between -4713 and +9999, and not be 0")
    return Moment(
        year,
        month,
        day,
        rest // HOUR,
        rest % HOUR // MINUTE,
        rest % MINUTE // SECOND,
        rest % SECOND,
        offset,
    )


def at_offset(moment: Moment, offset: int) -> Moment:
    """The same instant on the wall clock of another offset."""
    return moment_of(instant(moment) + offset * MINUTE, offset)


def naive(moment: Moment) -> Moment:
    """The wall clock alone."""
    return moment if moment.offset is None else moment_of(wall(moment))


def shifted(moment: Moment, nanos: int) -> Moment:
    return moment_of(wall(moment) + nanos, moment.offset)


def days_in(year: int, month: int) -> int:
    following = (year + 1, 1) if month == 12 else (year, month + 1)
    return days_of(*following, 1) - days_of(year, month, 1)


def months_later(moment: Moment, months: int, *, clip: bool) -> Moment:
    """Add months. `clip`: as ADD_MONTHS, which keeps to the month's end; else ORA-01839 where no such day is."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    month += 1
    last = days_in(year, month)
    day = moment.day
    if clip and (day > last or day == days_in(moment.year, moment.month)):
        day = last
    if day > last:
        raise OraError(1839, "date not valid for month specified")
    moved = days_of(year, month, day) - days_of(moment.year, moment.month, moment.day)
    return shifted(moment, moved * DAY)


def rounded(moment: Moment, digits: int) -> Moment:
    """Round to so many fraction digits; with 0 of them a fraction of a DATE is dropped by its conversion before."""
    unit = 10 ** (9 - digits)
    if not moment.nanos % unit:
        return moment
    return moment_of((wall(moment) + unit // 2) // unit * unit, moment.offset)


def rounded_span(span: Span, digits: int) -> Span:
    unit = 10 ** (9 - digits)
    sign = -1 if span.nanos < 0 else 1
    return Span(sign * ((abs(span.nanos) + unit // 2) // unit * unit))


def checked(moment: Moment) -> Moment:
    """Refuse what no calendar has, with the error that Oracle has for it."""
    if not -4712 <= moment.year <= 9999:
        raise OraError(1841, "(full) year must be between -4713 and +9999, and not be 0")
    if not 1 <= moment.month <= 12:
        raise OraError(1843, "not a valid month")
    if not 1 <= moment.day <= 31:
        raise OraError(1847, "day of month must be between 1 and last day of month")
    if moment.day > days_in(moment.year, moment.month):
        raise OraError(1839, "date not valid for month specified")
    if not 0 <= moment.hour <= 23:
        raise OraError(1850, "hour must be between 0 and 23")
    if not 0 <= moment.minute <= 59:
        raise OraError(1851, "minutes must be between 0 and 59")
    if not 0 <= moment.second <= 59:
        raise OraError(1852, "seconds must be between 0 and 59")
    return moment


def moment_at(at: datetime) -> Moment:
    """The moment of an aware clock, in UTC and without an offset."""
    at = at.astimezone(UTC)
    return Moment(
        at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond * 1000, None
    )


_DAYS = re.compile(r"\s*([+-]?)(\d+)\s+(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{0,9}))?\s*")
_YEARS = re.compile(r"\s*([+-]?)(\d+)-(\d{1,2})\s*")


def read_span(text: str) -> Span:
    """Read `+DDDDD HH:MI:SS.FF`."""
    match = _DAYS.fullmatch(text)
    if match is None:
        raise OraError(1867, "the interval is invalid")
    sign, days, hours, minutes, seconds, fraction = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or int(seconds) > 59:
        raise OraError(1850 if int(hours) > 23 else 1851, "interval field out of range")
    nanos = int(days) * DAY + int(hours) * HOUR + int(minutes) * MINUTE + int(seconds) * SECOND
    nanos += int((fraction or "").ljust(9, "0"))
    return Span(-nanos if sign == "-" else nanos)


def read_months(text: str) -> Months:
    """Read `+YYYY-MM`."""
    match = _YEARS.fullmatch(text)
    if match is None:
        raise OraError(1867, "the interval is invalid")
    sign, years, months = match.groups()
    if int(months) > 11:
        raise OraError(1843, "not a valid month")
    total = int(years) * 12 + int(months)
    return Months(-total if sign == "-" else total)


def span_text(span: Span, precision: int, digits: int) -> str:
    nanos = abs(span.nanos)
    fraction = f".{nanos % SECOND:09d}"[: digits + 1] if digits else ""
    return (
        f"{'-' if span.nanos < 0 else '+'}{nanos // DAY:0{precision}d} {nanos % DAY // HOUR:02d}:"
        f"{nanos % HOUR // MINUTE:02d}:{nanos % MINUTE // SECOND:02d}{fraction}"
    )


def months_text(months: Months, precision: int) -> str:
    sign, total = "-" if months.months < 0 else "+", abs(months.months)
    return f"{sign}{total // 12:0{precision}d}-{total % 12:02d}"


_UNITS = {"DAY": DAY, "HOUR": HOUR, "MINUTE": MINUTE, "SECOND": SECOND}
_ORDER = ("DAY", "HOUR", "MINUTE", "SECOND")


def interval(text: str, first: str, last: str) -> Months | Span:
    """An interval literal: its text, and its first and last unit."""
    if first in ("YEAR", "MONTH"):
        if first != last:
            return read_months(text)
        if not re.fullmatch(r"[+-]?\d+", text):
            raise OraError(1867, "the interval is invalid")
        return Months(int(text) * (12 if first == "YEAR" else 1))
    sign = -1 if text.startswith("-") else 1
    parts = re.split(r"[ :]", text.lstrip("+-"))
    units = _ORDER[_ORDER.index(first) : _ORDER.index(last) + 1]
    if len(parts) != len(units) or not all(re.fullmatch(r"\d+(\.\d*)?", part) for part in parts):
        raise OraError(1867, "the interval is invalid")
    nanos = 0
    for part, unit in zip(parts, units, strict=True):
        whole, _, fraction = part.partition(".")
        nanos += int(whole) * _UNITS[unit] + int(fraction.ljust(9, "0")[:9])
    return Span(sign * nanos)
