"""Oracle's format masks for moments: read and written, what is known of them; else ORA-01821."""

from __future__ import annotations

import re
from functools import lru_cache

from oracle.standin.backend import Moment, OraError
from oracle.standin.engine.temporals import checked, days_of

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("THU", "FRI", "SAT", "SUN", "MON", "TUE", "WED")  # 1970-01-01 was a Thursday

_ELEMENT = re.compile(
    r"(?P<element>SYYYY|YYYY|RRRR|RR|YY|MON|MM|DDD|DD|DY|D|HH24|HH12|HH|MI|SSSSS|SS|FF[1-9]?|TZH|TZM|TZR"
    r'|AM|PM|X|J)|"(?P<quoted>[^"]*)"|(?P<mark>[-/,.;: ]|T(?=HH))|(?P<modifier>FM|FX)',
    re.IGNORECASE,
)
#: How many digits an element reads at most.
_DIGITS = {
    "SYYYY": 4,
    "YYYY": 4,
    "RRRR": 4,
    "RR": 4,
    "YY": 2,
    "MM": 2,
    "DD": 2,
    "HH24": 2,
    "HH12": 2,
    "HH": 2,
    "MI": 2,
    "SS": 2,
}


@lru_cache(maxsize=256)
def elements(mask: str) -> tuple[tuple[str, str], ...]:
    """The mask in pieces: an element's name or `mark`, and its text. ORA-01821 where there is none such."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(mask):
        match = _ELEMENT.match(mask, at)
        if match is None:
            raise OraError(1821, "date format not recognized")
        if match["element"]:
            found.append((match["element"].upper(), ""))
        elif match["modifier"]:
            found.append(("FM" if match["modifier"].upper() == "FM" else "FX", ""))
        else:
            found.append(("mark", match["mark"] or match["quoted"] or ""))
        at = match.end()
    return tuple(found)


def write(moment: Moment, mask: str, digits: int = 0) -> str:
    """Write a moment; `digits` are those of FF without a number."""
    fill = True
    out: list[str] = []
    for name, text in elements(mask):
        if name in ("FM", "FX"):
            fill = fill and name != "FM"
            continue
        piece = text if name == "mark" else _piece(moment, name, digits)
        if not fill and name in _DIGITS:
            piece = piece.lstrip("0") or "0"
        out.append(piece)
    return "".join(out)


def _piece(moment: Moment, name: str, digits: int) -> str:
    year = abs(moment.year) if moment.year > 0 else 1 - moment.year
    if name.startswith("FF"):
        return f"{moment.nanos:09d}"[: int(name[2:]) if name[2:] else digits]
    offset = moment.offset or 0
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}"
    days = days_of(moment.year, moment.month, moment.day)
    pieces = {
        "SYYYY": f"{'-' if moment.year <= 0 else ' '}{year:04d}",
        "YYYY": f"{year:04d}",
        "RRRR": f"{year:04d}",
        "RR": f"{year % 100:02d}",
        "YY": f"{year % 100:02d}",
        "MM": f"{moment.month:02d}",
        "MON": MONTHS[moment.month - 1],
        "DD": f"{moment.day:02d}",
        "DDD": f"{days - days_of(moment.year, 1, 1) + 1:03d}",
        "DY": WEEKDAYS[days % 7],
        "D": str((days + 4) % 7 + 1),
        "HH24": f"{moment.hour:02d}",
        "HH12": f"{(moment.hour + 11) % 12 + 1:02d}",
        "HH": f"{(moment.hour + 11) % 12 + 1:02d}",
        "MI": f"{moment.minute:02d}",
        "SS": f"{moment.second:02d}",
        "SSSSS": f"{moment.hour * 3600 + moment.minute * 60 + moment.second:05d}",
        "AM": "AM" if moment.hour < 12 else "PM",
        "PM": "AM" if moment.hour < 12 else "PM",
        "X": ".",
        "J": str(days + 2440588),
        "TZH": zone,
        "TZM": f"{abs(offset) % 60:02d}",
        "TZR": f"{zone}:{abs(offset) % 60:02d}",
    }
    return pieces[name]


class _Reading:
    """Takes a text apart by a mask; what the text ends before keeps its default."""

    def __init__(self, text: str, today: Moment) -> None:
        self.text = text
        self.at = 0
        self.parts: dict[str, int] = {"year": today.year, "month": today.month, "day": 1}
        self.negative_zone = False
        self.zoned = False
        self.afternoon: bool | None = None
        self.twelve = False

    @property
    def over(self) -> bool:
        return self.at >= len(self.text)

    def take(self, pattern: str) -> str:
        match = re.compile(pattern, re.IGNORECASE).match(self.text, self.at)
        if match is None:
            raise OraError(1861, "literal does not match format string")
        self.at = match.end()
        return match[0]

    def element(self, name: str, today: Moment) -> None:
        match name:
            case "SYYYY" | "YYYY" | "RRRR" | "RR" | "YY":
                self.parts["year"] = self._year(name, today)
            case "MON":
                self.parts["month"] = self._month()
            case "AM" | "PM":
                self.afternoon = self.take("[AP]M").upper() == "PM"
            case "X":
                self.take(r"\.")
            case "TZH":
                text = self.take(r"[+-]?\d{1,2}")
                self.zoned, self.negative_zone = True, text.startswith("-")
                self.parts["zone"] = abs(int(text)) * 60
            case "TZM":
                self.parts["zone"] = self.parts.get("zone", 0) + int(self.take(r"\d{2}"))
            case "TZR":
                self._region()
            case _ if name.startswith("FF"):
                most = int(name[2:]) if name[2:] else 9
                self.parts["nanos"] = int(self.take(rf"\d{{0,{most}}}").ljust(9, "0"))
            case "MM" | "DD" | "HH24" | "HH12" | "HH" | "MI" | "SS":
                self.twelve = self.twelve or name in ("HH", "HH12")
                self.parts[_PART[name]] = int(self.take(r"\d{1,2}"))
            case _:
                raise OraError(1820, "format code cannot appear in date input format")

    def _year(self, name: str, today: Moment) -> int:
        sign = self.take("[-+ ]?") if name == "SYYYY" else ""
        text = self.take(rf"\d{{1,{_DIGITS[name]}}}")
        year = int(text)
        if name in ("YYYY", "SYYYY"):
            if year == 0:
                raise OraError(1841, "(full) year must be between -4713 and +9999, and not be 0")
            return 1 - year if sign == "-" else year
        if name == "YY":
            return today.year // 100 * 100 + year
        if len(text) > 2:
            return year
        century = today.year // 100 + (year >= 50 > today.year % 100 and -1)
        century += year < 50 <= today.year % 100
        return century * 100 + year

    def _month(self) -> int:
        text = self.take("[A-Z]{3}").upper()
        if text not in MONTHS:
            raise OraError(1843, "not a valid month")
        return MONTHS.index(text) + 1

    def _region(self) -> None:
        text = self.take(r"[+-]?\d{1,2}:\d{2}|UTC|GMT")
        self.zoned = True
        if text[0] not in "UuGg":
            hours, minutes = text.lstrip("+-").split(":")
            self.negative_zone = text.startswith("-")
            self.parts["zone"] = int(hours) * 60 + int(minutes)

    def moment(self) -> Moment:
        parts = self.parts
        hour = parts.get("hour", 0)
        if self.twelve:
            if not 1 <= hour <= 12 and "hour" in parts:
                raise OraError(1849, "hour must be between 1 and 12")
            hour = hour % 12 + (12 if self.afternoon else 0)
        zone = parts.get("zone", 0)
        offset = (-zone if self.negative_zone else zone) if self.zoned else None
        return checked(
            Moment(
                parts["year"],
                parts["month"],
                parts["day"],
                hour,
                parts.get("minute", 0),
                parts.get("second", 0),
                parts.get("nanos", 0),
                offset,
            )
        )


_PART = {
    "MM": "month",
    "DD": "day",
    "HH24": "hour",
    "HH12": "hour",
    "HH": "hour",
    "MI": "minute",
    "SS": "second",
}


_DATE_PARTS = frozenset({"SYYYY", "YYYY", "RRRR", "RR", "YY", "MM", "MON", "DD"})


def read(text: str, mask: str, today: Moment) -> Moment:
    """Read a moment; as Oracle lets it, a text may end before its mask comes to the time of day."""
    reading = _Reading(text.strip(), today)
    for name, mark in elements(mask):
        if name in ("FM", "FX"):
            continue
        if reading.over:
            if name in _DATE_PARTS:
                raise OraError(1840, "input value not long enough for date format")
        elif name == "mark":
            reading.take(_mark(mark))
        else:
            reading.element(name, today)
    if not reading.over:
        raise OraError(1830, "date format picture ends before converting entire input string")
    return reading.moment()


def _mark(mark: str) -> str:
    if mark == " ":
        return r"\s*"
    # Any punctuation stands for any other.
    return r"[^\w\s]" if len(mark) == 1 and not mark.isalnum() else re.escape(mark)
