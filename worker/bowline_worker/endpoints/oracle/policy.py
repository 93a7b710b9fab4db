"""What becomes of values that the other engine can't hold: an error unless the policy says otherwise, and counted.

Oracle can't hold '' in VARCHAR2, CHAR, RAW and LONG (it stores NULL), NaN and infinities in NUMBER, times after 9999 or
before 4712 BC; PostgreSQL can't hold U+0000.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from bowline_worker.contract import BadConfig, Unsupported, ValueAnswer, Values
from bowline_worker.model import TableName


class Strange(StrEnum):
    """Kinds of values that one engine holds and the other doesn't."""

    EMPTY = "empty"
    TOO_LONG = "too-long"
    NUL = "nul"
    NOT_A_NUMBER = "not-a-number"
    INFINITE_NUMBER = "infinite-number"
    INFINITE_TIME = "infinite-time"
    TOO_LATE = "too-late"
    TOO_EARLY = "too-early"


class Answer(StrEnum):
    """What to do with such a value. A column that is NOT NULL takes no NULL for an answer: that is an error."""

    ERROR = "error"
    NULL = "null"
    REPLACEMENT = "replacement"


#: Written for an empty bytea into RAW, whose shortest value it is.
EMPTY_RAW = b"\0"

#: How an error tells it.
TOLD: Mapping[Strange, str] = {
    Strange.EMPTY: "is empty, which oracle stores as NULL",
    Strange.TOO_LONG: "is longer than the column",
    Strange.NUL: "holds U+0000, which postgresql can't store",
    Strange.NOT_A_NUMBER: "is NaN, which oracle's NUMBER can't hold",
    Strange.INFINITE_NUMBER: "is infinite, which oracle's NUMBER can't hold",
    Strange.INFINITE_TIME: "is infinite, which oracle's dates can't be",
    Strange.TOO_LATE: "is after the year 9999, where oracle's calendar ends",
    Strange.TOO_EARLY: "is before 4712 BC, where oracle's calendar begins",
}


#: The fields of the spec that set an answer; a kind without one is always an error.
FIELDS: Mapping[Strange, str] = {
    Strange.EMPTY: "emptyText",
    Strange.NOT_A_NUMBER: "notANumber",
    Strange.INFINITE_NUMBER: "infiniteNumber",
    Strange.INFINITE_TIME: "infiniteTime",
    Strange.TOO_LATE: "outsideCalendar",
    Strange.TOO_EARLY: "outsideCalendar",
}
_ANSWERS: Mapping[str, Answer] = {
    ValueAnswer.ERROR: Answer.ERROR,
    ValueAnswer.NULL: Answer.NULL,
    ValueAnswer.REPLACEMENT: Answer.REPLACEMENT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Answers by kind; a kind that is not named is an error.

    The replacement of a value that is too long is as much of it as fits; of an infinite number the largest that the
    column holds, with its sign; of a time that is infinite or outside of the calendar, the calendar's near end.
    """

    answers: Mapping[Strange, Answer] = field(default_factory=dict)
    empty_text: str = " "  #: written for '' into VARCHAR2, NVARCHAR2 and LONG
    nul_text: str = ""  #: written for each U+0000; empty: they are left out
    not_a_number: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if not self.empty_text or "\0" in self.nul_text:
            raise BadConfig(
                "a replacement must not be what it replaces: '' for '', or U+0000 for U+0000"
            )

    @classmethod
    def of(cls, values: Values) -> Policy:
        """The policy that the spec asks for."""
        said = values.model_dump(by_alias=True)
        return cls(
            answers={kind: _ANSWERS[said[field]] for kind, field in FIELDS.items()},
            empty_text=values.empty_text_replacement,
        )

    def answer(self, kind: Strange) -> Answer:
        return self.answers.get(kind, Answer.ERROR)


#: How many values the policy changed, by table, column and kind. Not safe for threads: one for each.
Tally: TypeAlias = Counter[tuple[TableName, str, Strange]]


def _utf8(text: str) -> int:
    return len(text.encode())


def _cesu8(text: str) -> int:
    """Oracle's UTF8 holds a supplementary character as two surrogates of three bytes."""
    return len(text.encode()) + 2 * sum(char > "\uffff" for char in text)


def _codec(name: str) -> Callable[[str], int]:
    return lambda text: len(text.encode(name))


#: Sizes in bytes, by NLS_CHARACTERSET. Of the others Python's codecs are not known to agree with Oracle's.
CHARSETS: Mapping[str, Callable[[str], int]] = {
    "AL32UTF8": _utf8,
    "UTF8": _cesu8,
    "US7ASCII": _codec("ascii"),
    "WE8ISO8859P1": _codec("latin-1"),
    "WE8ISO8859P9": _codec("iso8859-9"),
    "WE8ISO8859P15": _codec("iso8859-15"),
    "WE8MSWIN1252": _codec("cp1252"),
    "EE8ISO8859P2": _codec("iso8859-2"),
    "EE8MSWIN1250": _codec("cp1250"),
    "CL8ISO8859P5": _codec("iso8859-5"),
    "CL8MSWIN1251": _codec("cp1251"),
    "EL8MSWIN1253": _codec("cp1253"),
    "TR8MSWIN1254": _codec("cp1254"),
    "BLT8MSWIN1257": _codec("cp1257"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under what values are converted: the policy, what it did, and the Oracle database's character set."""

    policy: Policy = field(default_factory=Policy)
    tally: Tally = field(default_factory=Counter)
    charset: str = "AL32UTF8"  #: NLS_CHARACTERSET of NLS_DATABASE_PARAMETERS
    in_key: bool = False  #: of a column that tells rows apart: no policy holds

    def __post_init__(self) -> None:
        if self.charset not in CHARSETS:
            raise Unsupported(
                f"oracle's character set {self.charset} is not supported",
                reason="UnsupportedCharacterSet",
                hint="one of " + ", ".join(CHARSETS),
            )

    def of_key(self) -> Terms:
        """For a column that tells rows apart: no value is changed there, for two rows could become one."""
        return Terms(charset=self.charset, in_key=True)

    def hint(self, kind: Strange) -> str:
        """What to do about a value that is refused."""
        if self.in_key:
            return "no policy changes a value by which rows are told apart: change it where it was written"
        if kind not in FIELDS:
            return "change the value where it was written"
        return f"change the value where it was written, or set spec.values.{FIELDS[kind]}"

    def bytes_of(self, text: str) -> int:
        """How many bytes the database needs for a text; UnicodeEncodeError: it lacks a character."""
        return CHARSETS[self.charset](text)
