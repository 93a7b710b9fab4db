"""The session's formats for dates and numbers, which LogMiner's literals follow (1.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from oracle.standin.backend import Moment, OraError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_ELEMENT = re.compile(
    r"SYYYY|YYYY|RRRR|RR|YY|MONTH|MON|MM|DD|HH24|HH12|HH|MI|SS|FF[1-9]?|TZH|TZM|TZR|AM|PM|X"
    r'|"[^"]*"|[-/,.;:\s]',
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nls:
    """What ALTER SESSION has set; the defaults are a new session's, which lose the time of day."""

    date_format: str = "DD-MON-RR"
    timestamp_format: str = "DD-MON-RR HH.MI.SSXFF AM"
    timestamp_tz_format: str = "DD-MON-RR HH.MI.SSXFF AM TZR"
    numeric_characters: str = ".,"
    zone_minutes: int = 0  #: TIME_ZONE, east of UTC


#: What a careful reader sets.
EXACT = Nls(
    date_format="YYYY-MM-DD HH24:MI:SS",
    timestamp_format="YYYY-MM-DD HH24:MI:SS.FF9",
    timestamp_tz_format="YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM",
)


def format_moment(at: Moment, mask: str, scale: int, nls: Nls) -> str:
    """Print a moment by a mask; a type without fraction digits (scale 0) has none even for FF9 (sample 19)."""
    done, position = [], 0
    while position < len(mask):
        found = _ELEMENT.match(mask, position)
        if found is None:
            raise OraError(1821, f"date format not recognized: {mask[position:]}")
        done.append(_element(found.group().upper(), at, scale, nls))
        position = found.end()
    return "".join(done)


def _element(name: str, at: Moment, scale: int, nls: Nls) -> str:
    if name.startswith("FF"):
        digits = int(name[2:] or scale) if scale else 0
        return f"{at.nanos:09d}"[:digits]
    if name in ("TZH", "TZM", "TZR"):
        return _zone(name, at.offset or 0)
    year = at.year if at.year > 0 else 1 - at.year  # no year 0: astronomical 0 is 1 BC
    match name:
        case "SYYYY":
            return f"{'-' if at.year <= 0 else ' '}{year:04d}"
        case "YYYY" | "RRRR":
            return f"{year:04d}"
        case "RR" | "YY":
            return f"{year % 100:02d}"
        case "MON" | "MONTH":
            return _MONTHS[at.month - 1]
        case "HH12" | "HH":
            return f"{(at.hour + 11) % 12 + 1:02d}"
        case "AM" | "PM":
            return "AM" if at.hour < 12 else "PM"
        case "X":
            return nls.numeric_characters[0]
        case "MM" | "DD" | "HH24" | "MI" | "SS":
            return f"{_PART[name](at):02d}"
    return name.strip('"')


_PART = {
    "MM": lambda at: at.month,
    "DD": lambda at: at.day,
    "HH24": lambda at: at.hour,
    "MI": lambda at: at.minute,
    "SS": lambda at: at.second,
}


def _zone(name: str, offset: int) -> str:
    hours, minutes = divmod(abs(offset), 60)
    sign = "-" if offset < 0 else "+"
    if name == "TZH":
        return f"{sign}{hours:02d}"
    return f"{minutes:02d}" if name == "TZM" else f"{sign}{hours:02d}:{minutes:02d}"


def shifted(at: Moment, minutes: int) -> Moment:
    """Move a moment by minutes, for years that datetime knows."""
    if not minutes:
        return at
    moved = datetime(at.year, at.month, at.day, at.hour, at.minute, at.second)  # noqa: DTZ001
    moved += timedelta(minutes=minutes)
    return Moment(
        moved.year, moved.month, moved.day, moved.hour, moved.minute, moved.second, at.nanos
    )
