"""Oracle's DATE and TIMESTAMP types, read and written as text: Python's and the driver's types are too narrow for them.

The driver drops the offset of a TIMESTAMP WITH TIME ZONE, and Python's datetime knows neither nanoseconds nor years
before 1. Oracle's calendar is Julian before 15 October 1582 and PostgreSQL's is Gregorian throughout: a date keeps its
year, month and day, and the few that only one of the calendars has are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from bowline_worker.endpoints.oracle.kinds import Bind, OracleColumn, OracleType, PostgresType
from bowline_worker.endpoints.oracle.policy import Strange, Terms
from bowline_worker.endpoints.oracle.redo import Timestamp, TimestampLtz, TimestampTz

#: The masks of the snapshot, of binds, and of the mining session's NLS_*_FORMAT: one form everywhere. Sessions must
#: set NLS_CALENDAR to GREGORIAN, NLS_NUMERIC_CHARACTERS to '.,' and TIME_ZONE to +00:00.
DATE_MASK = "SYYYY-MM-DD HH24:MI:SS"
TIMESTAMP_MASK = "SYYYY-MM-DD HH24:MI:SS.FF9"
TIMESTAMP_TZ_MASK = "SYYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM"

#: What PostgreSQL keeps of a second.
MICROSECOND_DIGITS = 6

_FROM_ORACLE = re.compile(
    r"([ -]?)([0-9]{4})-([0-9]{2})-([0-9]{2})[ T]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{0,9}))?"
    r"(?: ?([+-])([0-9]{2}):([0-9]{2}))?"
)
#: After Christ and without a zone: nearly all that there is.
_USUAL = re.compile(r" [0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{0,9})?")
_FROM_POSTGRES = re.compile(
    r"([0-9]{4,6})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?(\+00)?( BC)?"
)


class Moment(NamedTuple):
    """A wall clock of the Gregorian calendar, which is the same again every 400 years."""

    year: int  #: as astronomers count: 0 is 1 BC
    within: datetime  #: month to second, in the year from 400 to 799 that has the same days
    fraction: str  #: digits of the second, without trailing zeros
    offset: int | None  #: minutes east of UTC; None: the text names none

    @property
    def is_skipped_by_oracle(self) -> bool:
        """Oracle's calendar goes from 4 to 15 October 1582; it takes the days between for the 15th."""
        return (self.year, self.within.month) == (1582, 10) and 4 < self.within.day < 15

    def at_utc(self) -> Moment:
        """The same instant at offset 0."""
        if not self.offset:
            return self._replace(offset=0)
        within = self.within - timedelta(minutes=self.offset)
        year = self.year + within.year - self.within.year
        return Moment(year, within, self.fraction, 0)


#: The ends of Oracle's calendar: from 4712 BC to 9999.
FIRST = Moment(-4711, datetime(489, 1, 1, tzinfo=UTC), "", None)
LAST = Moment(9999, datetime(799, 12, 31, 23, 59, 59, tzinfo=UTC), "", None)


def _moment(
    year: int, numbers: Sequence[str], fraction: str | None, offset: int | None
) -> Moment | None:
    """Put a moment together; None: the calendar lacks the day, or the day the time."""
    month, day, hour, minute, second = map(int, numbers)
    try:
        within = datetime(year % 400 + 400, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return Moment(year, within, (fraction or "").rstrip("0"), offset)


def read_oracle(text: str) -> Moment | None:
    """Read the masks' form, or the ISO form of a redo value; None: it is neither, or no date of PostgreSQL's calendar.

    Oracle's years have no 0 but for a bug of its arithmetic: such a date has no meaning, and is None too.
    """
    found = _FROM_ORACLE.fullmatch(text)
    if found is None:
        return None
    sign, year, *numbers, fraction, east, hours, minutes = found.groups()
    if year == "0000" or (east and int(minutes) > 59):
        return None
    offset = int(f"{east}1") * (int(hours) * 60 + int(minutes)) if east else None
    return _moment(1 - int(year) if sign == "-" else int(year), numbers, fraction, offset)


def usual_text(text: str, digits: int) -> str | None:
    """PostgreSQL's text of an ordinary time of the masks' form, in a fourth of the time; None: it has to be read.

    It is the same text, without blanks and zeros, where both calendars have that day.
    """
    if _USUAL.fullmatch(text) is None:
        return None
    shown, fraction = text[1:20], text[21:].rstrip("0")
    try:
        datetime.fromisoformat(shown)
    except ValueError:
        return None
    if not fraction:
        return shown
    kept = fraction[:MICROSECOND_DIGITS].rstrip("0")
    if len(fraction) > digits:
        return None
    return f"{shown}.{kept}" if kept else shown


def read_postgres(text: str) -> Moment | None:
    """Read what PostgreSQL prints for a finite timestamp or timestamptz; None: it is neither."""
    found = _FROM_POSTGRES.fullmatch(text)
    if found is None:
        return None
    year, *numbers, fraction, zone, bc = found.groups()
    return _moment(1 - int(year) if bc else int(year), numbers, fraction, 0 if zone else None)


def oracle_text(moment: Moment) -> str:
    """As DATE_MASK prints it: a blank or a minus before the year."""
    sign, year = (" ", moment.year) if moment.year > 0 else ("-", 1 - moment.year)
    return f"{sign}{year:04d}{_without_year(moment)}"


def postgres_text(moment: Moment) -> str:
    """As PostgreSQL prints it under DateStyle ISO and TimeZone UTC."""
    year, era = (moment.year, "") if moment.year > 0 else (1 - moment.year, " BC")
    fraction = moment.fraction[:MICROSECOND_DIGITS].rstrip("0")
    zone = "" if moment.offset is None else "+00"
    return f"{year:04d}{_without_year(moment)}{'.' if fraction else ''}{fraction}{zone}{era}"


def _without_year(moment: Moment) -> str:
    """-MM-DD HH:MM:SS."""
    return moment.within.isoformat(" ")[4:19]


@dataclass(frozen=True, slots=True, kw_only=True)
class Temporal(OracleType):
    """DATE, and the TIMESTAMP types."""

    redo_class: type[Timestamp] | type[TimestampTz] | type[TimestampLtz]
    digits: int  #: of the second
    is_instant: bool  #: it becomes a timestamptz
    redo_has_offset: bool = False
    mask: str

    def _from_redo(self, value: object) -> bytes:
        if not isinstance(value, self.redo_class):
            self.refuse_unknown(value)
        moment = self._read(value.text)
        if (moment.offset is not None) is not self.redo_has_offset:
            self.refuse(value, "has a zone where the column has none, or none where it has one")
        if self.is_instant and moment.offset is None:
            moment = moment._replace(offset=0)
        return self._text(moment)

    def _from_driver(self, value: object) -> bytes:
        text = self.fetched_text(value, f"select it by the mask {self.mask}")
        local, zone = (text.removesuffix(" +00:00"), "+00") if self.is_instant else (text, "")
        if local != text or not self.is_instant:
            usual = usual_text(local, self.digits)
            if usual is not None:
                return f"{usual}{zone}".encode()
        moment = self._read(text)
        if (moment.offset is not None) is not self.is_instant:
            self.refuse(value, "has a zone where the column has none, or none where it has one")
        return self._text(moment)

    def _read(self, text: str) -> Moment:
        moment = read_oracle(text)
        if moment is None:
            self.refuse(text, "is no date of postgresql's calendar in a known form")
        if len(moment.fraction) > self.digits:
            self.refuse(text, f"has more than the {self.digits} digits of its column")
        return moment

    def _text(self, moment: Moment) -> bytes:
        return postgres_text(moment.at_utc() if self.is_instant else moment).encode()

    def _to_oracle(self, text: bytes) -> Bind:
        value = text.decode()
        if value in ("infinity", "-infinity"):
            return self._limited(Strange.INFINITE_TIME, value, is_late=value == "infinity")
        moment = read_postgres(value)
        if moment is None or (moment.offset is None) is self.is_instant:
            self.refuse_unknown(value)
        if moment.year > LAST.year:
            return self._limited(Strange.TOO_LATE, value, is_late=True)
        if moment.year < FIRST.year:
            return self._limited(Strange.TOO_EARLY, value, is_late=False)
        if moment.is_skipped_by_oracle:
            self.refuse(value, "is one of the ten days of 1582 that oracle's calendar leaves out")
        if len(moment.fraction) > self.digits:
            self.refuse(value, f"has more than the {self.digits} digits of its column")
        return self._masked(moment)

    def _limited(self, kind: Strange, value: str, *, is_late: bool) -> Bind:
        return self.answer(kind, value, self._masked(LAST if is_late else FIRST))

    def _masked(self, moment: Moment) -> str:
        text = oracle_text(moment)
        if self.mask == DATE_MASK:
            return text
        return f"{text}.{moment.fraction:0<9}{' +00:00' if self.is_instant else ''}"


def date(column: OracleColumn, terms: Terms, _: list[int]) -> OracleType:
    return Temporal(
        column=column,
        terms=terms,
        postgres=PostgresType("timestamp", "timestamp(0) without time zone"),
        bind_type="DB_TYPE_VARCHAR",
        select_form=f"TO_CHAR({{}}, '{DATE_MASK}')",
        bind_form=f"TO_DATE({{}}, '{DATE_MASK}')",
        redo_class=Timestamp,
        digits=0,
        is_instant=False,
        mask=DATE_MASK,
    )


def timestamp(column: OracleColumn, terms: Terms, numbers: list[int]) -> OracleType:
    (digits,) = numbers or [6]
    is_zoned = "ZONE" in column.data_type
    is_local = "LOCAL" in column.data_type
    # With its offset, a local time of any session's TIME_ZONE is read right.
    mask = TIMESTAMP_TZ_MASK if is_zoned else TIMESTAMP_MASK
    kept = min(digits, MICROSECOND_DIGITS)
    zone = "with time zone" if is_zoned else "without time zone"
    lost = [finer(digits)] if digits > MICROSECOND_DIGITS else []
    if is_zoned and not is_local:
        lost.append("the instant is kept, its offset or region's name is not")
    return Temporal(
        column=column,
        terms=terms,
        postgres=PostgresType(
            "timestamptz" if is_zoned else "timestamp", f"timestamp({kept}) {zone}"
        ),
        bind_type="DB_TYPE_VARCHAR",
        select_form=f"TO_CHAR({{}}, '{mask}')",
        bind_form=f"{'TO_TIMESTAMP_TZ' if is_zoned else 'TO_TIMESTAMP'}({{}}, '{mask}')",
        loss="; ".join(lost),
        can_be_key=digits <= MICROSECOND_DIGITS,
        redo_class=TimestampLtz if is_local else TimestampTz if is_zoned else Timestamp,
        digits=digits,
        is_instant=is_zoned,
        redo_has_offset=is_zoned and not is_local,
        mask=mask,
    )


def finer(digits: int) -> str:
    return f"of {digits} digits of the second {MICROSECOND_DIGITS} are kept, the others cut off"
