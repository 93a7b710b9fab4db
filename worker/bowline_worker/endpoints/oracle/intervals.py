"""Oracle's two intervals. PostgreSQL has one, which may mix months, days and hours: such a mixture can't go back."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from bowline_worker.endpoints.oracle.kinds import Bind, OracleColumn, OracleType, PostgresType
from bowline_worker.endpoints.oracle.policy import Terms
from bowline_worker.endpoints.oracle.redo import IntervalDs, IntervalYm
from bowline_worker.endpoints.oracle.temporals import MICROSECOND_DIGITS, finer

#: PostgreSQL counts months in 32 bits.
LAST_MONTH = 2**31 - 1

_YM = re.compile(r"([+-]?)([0-9]{1,9})-([0-9]{1,2})")
_DS = re.compile(r"([+-]?)([0-9]{1,9}) ([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{0,9}))?")
_POSTGRES = re.compile(
    r"(?=.)(?:([+-]?[0-9]+) years? ?)?(?:([+-]?[0-9]+) mons? ?)?(?:([+-]?[0-9]+) days? ?)?"
    r"(?:([+-]?)([0-9]+):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?)?"
)


@dataclass(frozen=True, slots=True)
class Span:
    """What PostgreSQL keeps of an interval; its parts may differ in sign."""

    months: int
    days: int
    microseconds: int


def read_postgres(text: str) -> Span | None:
    """Read what IntervalStyle postgres prints; None: it is no finite interval."""
    found = _POSTGRES.fullmatch(text)
    if found is None:
        return None
    years, months, days, sign, hours, minutes, seconds, fraction = found.groups()
    time = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    microseconds = time * 1_000_000 + int((fraction or "").ljust(MICROSECOND_DIGITS, "0"))
    return Span(
        int(years or 0) * 12 + int(months or 0),
        int(days or 0),
        -microseconds if sign == "-" else microseconds,
    )


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Interval(OracleType):
    """Redo and driver give both kinds as Oracle prints them."""

    redo_kind: ClassVar[type[IntervalYm] | type[IntervalDs]]

    def _from_redo(self, value: object) -> bytes:
        if not isinstance(value, self.redo_kind):
            self.refuse_unknown(value)
        return self._text(value.text)

    def _from_driver(self, value: object) -> bytes:
        return self._text(self.fetched_text(value, "select it by TO_CHAR"))

    @abstractmethod
    def _text(self, text: str) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class YearToMonth(_Interval):
    """INTERVAL YEAR(precision) TO MONTH."""

    redo_kind = IntervalYm
    precision: int

    def _text(self, text: str) -> bytes:
        found = _YM.fullmatch(text)
        if found is None or int(found[3]) > 11:
            self.refuse_unknown(text)
        years, months = int(found[2]), int(found[3])
        if years * 12 + months > LAST_MONTH:
            self.refuse(text, "has more months than postgresql counts")
        sign = -1 if found[1] == "-" else 1
        counts = ((years, "year"), (months, "mon"))
        parts = [_counted(sign * number, unit) for number, unit in counts if number]
        return " ".join(parts or ["00:00:00"]).encode()

    def _to_oracle(self, text: bytes) -> Bind:
        value = text.decode()
        span = read_postgres(value)
        if span is None:
            self.refuse(value, "is no finite interval in a known form")
        if span.days or span.microseconds:
            self.refuse(value, "has days or hours, which an INTERVAL YEAR TO MONTH can't hold")
        years, months = divmod(abs(span.months), 12)
        if years >= 10**self.precision:
            self.refuse(value, f"has more than the {self.precision} digits of its column's years")
        return f"{'-' if span.months < 0 else '+'}{years:0{self.precision}d}-{months:02d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayToSecond(_Interval):
    """INTERVAL DAY(precision) TO SECOND(digits)."""

    redo_kind = IntervalDs
    precision: int
    digits: int

    def _text(self, text: str) -> bytes:
        found = _DS.fullmatch(text)
        if found is None or int(found[3]) > 23 or int(found[4]) > 59 or int(found[5]) > 59:
            self.refuse_unknown(text)
        sign, days, *time = found.groups()[:5]
        fraction = (found[6] or "").rstrip("0")
        if len(fraction) > self.digits:
            self.refuse(text, f"has more than the {self.digits} digits of its column")
        fraction = fraction[:MICROSECOND_DIGITS].rstrip("0")
        sign = "-" if sign == "-" else ""
        parts = [_counted(int(sign + days), "day")] if int(days) else []
        if fraction or any(map(int, time)):
            parts.append(f"{sign}{':'.join(time)}{'.' if fraction else ''}{fraction}")
        return " ".join(parts or ["00:00:00"]).encode()

    def _to_oracle(self, text: bytes) -> Bind:
        value = text.decode()
        span = read_postgres(value)
        if span is None:
            self.refuse(value, "is no finite interval in a known form")
        if span.months:
            self.refuse(value, "has months, which an INTERVAL DAY TO SECOND can't hold")
        total = span.days * 86_400_000_000 + span.microseconds
        seconds, micros = divmod(abs(total), 1_000_000)
        days, seconds = divmod(seconds, 86_400)
        if days >= 10**self.precision:
            self.refuse(value, f"has more than the {self.precision} digits of its column's days")
        fraction = f"{micros:06d}"
        if fraction[self.digits :].strip("0"):
            self.refuse(value, f"has more than the {self.digits} digits of its column")
        fraction = fraction[: self.digits].ljust(self.digits, "0")
        hours, minutes = divmod(seconds // 60, 60)
        return (
            f"{'-' if total < 0 else '+'}{days:0{self.precision}d}"
            f" {hours:02d}:{minutes:02d}:{seconds % 60:02d}{'.' if fraction else ''}{fraction}"
        )


def year_to_month(column: OracleColumn, terms: Terms, numbers: list[int]) -> OracleType:
    (precision,) = numbers or [2]
    return YearToMonth(
        column=column,
        terms=terms,
        postgres=PostgresType("interval", "interval year to month"),
        bind_type="DB_TYPE_VARCHAR",
        select_form="TO_CHAR({})",
        bind_form="TO_YMINTERVAL({})",
        precision=precision,
    )


def day_to_second(column: OracleColumn, terms: Terms, numbers: list[int]) -> OracleType:
    precision, digits = numbers or [2, 6]
    kept = min(digits, MICROSECOND_DIGITS)
    return DayToSecond(
        column=column,
        terms=terms,
        postgres=PostgresType("interval", f"interval day to second({kept})"),
        bind_type="DB_TYPE_VARCHAR",
        select_form="TO_CHAR({})",
        bind_form="TO_DSINTERVAL({})",
        loss=finer(digits) if digits > MICROSECOND_DIGITS else "",
        can_be_key=digits <= MICROSECOND_DIGITS,
        precision=precision,
        digits=digits,
    )
