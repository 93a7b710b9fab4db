"""Values as SQL_REDO prints them: their types, and the functions that LogMiner puts around literals.

Temporal literals must have the format that our mining session fixes (NLS_DATE_FORMAT and its sisters). Any other one
is lossy (DD-MON-RR has no century and no time) and is refused.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from string import ascii_letters, digits, hexdigits
from typing import NoReturn, TypeAlias

from bowline_worker.contract import Unsafe

#: What a TO_DATE of our session may have as its second operand.
DATE_FORMATS = ("YYYY-MM-DD HH24:MI:SS", "SYYYY-MM-DD HH24:MI:SS")
_FORMATS = {
    "TO_DATE": "YYYY-MM-DD HH24:MI:SS",
    "TO_TIMESTAMP": "YYYY-MM-DD HH24:MI:SS.FF",
    "TO_TIMESTAMP_TZ": "YYYY-MM-DD HH24:MI:SS.FF [TZH:TZM]",
}
_ADVICE = "set the mining session's NLS formats"
_LONGEST_NUMBER = 9  # digits of a fraction or of an interval's days: Oracle has no longer ones
_LARGEST_OFFSET = "15"  # hours
_SECONDS = 19  # characters of a point in time up to its seconds
_SIXTY = frozenset(f"{number:02}" for number in range(60))
_ROWID_LENGTH = 18
_ROWID_CHARACTERS = f"{ascii_letters}{digits}+/"
_SHOWN = 40  # characters of what is not as expected


class RedoError(Unsafe):
    """A statement that is not of the grammar. The message says what was expected, and never a row's value."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message}, at character {offset}", reason="RedoUnreadable")
        self.offset = offset  #: in characters of the statement, from 0


@dataclass(frozen=True, slots=True)
class Hex:
    """The bytes of a RAW, or of any column in a row that LogMiner's dictionary no longer describes ("COL 1")."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A DATE or a TIMESTAMP: ISO 8601 without a zone, all printed digits of the fraction kept.

    The year may be 0000 or have a minus, and a day may exist in Oracle's Julian calendar (before 1582) alone.
    """

    text: str


@dataclass(frozen=True, slots=True)
class TimestampTz:
    """A TIMESTAMP WITH TIME ZONE: ISO 8601 with its offset, `2024-02-29T23:59:58.000000000-03:30`."""

    text: str


@dataclass(frozen=True, slots=True)
class TimestampLtz:
    """A TIMESTAMP WITH LOCAL TIME ZONE: ISO 8601 in the mining session's zone, which we set to UTC."""

    text: str


@dataclass(frozen=True, slots=True)
class IntervalYm:
    """An INTERVAL YEAR TO MONTH as printed: `+0012-03`."""

    text: str


@dataclass(frozen=True, slots=True)
class IntervalDs:
    """An INTERVAL DAY TO SECOND as printed: `-001 02:03:04.5`."""

    text: str


class Mark(Enum):
    """What stands for a value that the statement does not hold."""

    EMPTY_CLOB = "empty_clob"
    EMPTY_BLOB = "empty_blob"
    EMPTY_STRING = "empty_string"  #: LM_EMPTY_STRING: text that is empty and not NULL
    UNSUPPORTED = "unsupported"  #: LogMiner can't print the type (a BFILE's locator counts: its content is elsewhere)
    BIND = "bind"  #: the value comes by other rows: XMLType(:1)


RedoValue: TypeAlias = (
    str | Hex | Timestamp | TimestampTz | TimestampLtz | IntervalYm | IntervalDs | Mark | None
)


def to_hex(text: str) -> Hex:
    """Decode HEXTORAW's operand. Like all functions here, raise ValueError with what was expected."""
    try:
        return Hex(unhexlify(text))
    except ValueError:
        raise ValueError("expected pairs of hexadecimal digits in HEXTORAW") from None


def to_text(text: str) -> str:
    """Decode UNISTR's operand."""
    return joined((True,), text)


def joined(is_unistr: Sequence[bool], *texts: str) -> str:
    """Decode and join the pieces of a text. The halves of a surrogate pair may be in two of them."""
    text = "".join(
        _halves(each) if escaped else each for escaped, each in zip(is_unistr, texts, strict=True)
    )
    if text.isascii():
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise ValueError("expected both halves of a surrogate pair in UNISTR") from None


def _halves(text: str) -> str:
    """Decode the escapes, which are UTF-16 units: a character beyond the first plane is two of them."""
    if "\\" not in text:
        return text
    first, *parts = text.split("\\")
    decoded, pieces = [first], iter(parts)
    for piece in pieces:
        if piece:
            decoded += _character(piece[:4]), piece[4:]
        else:  # a doubled backslash: what follows it is plain
            follows = next(pieces, None)
            if follows is None:
                _bad_escape()
            decoded += "\\", follows
    return "".join(decoded)


def _character(unit: str) -> str:
    if len(unit) != 4 or unit.strip(hexdigits):
        _bad_escape()
    return chr(int(unit, 16))


def _bad_escape() -> NoReturn:
    raise ValueError("expected four hexadecimal digits or a backslash after a backslash in UNISTR")


def to_date(text: str, date_format: str) -> Timestamp:
    if date_format not in DATE_FORMATS:
        shown = date_format[:_SHOWN]
        raise ValueError(
            f"expected TO_DATE in the format {DATE_FORMATS[0]}, found {shown}: {_ADVICE}"
        )
    moment = _moment(text)
    if not moment or "." in text:
        _bad_moment("TO_DATE", text)
    return Timestamp(moment)


def to_timestamp(text: str) -> Timestamp:
    return Timestamp(_moment(text) or _bad_moment("TO_TIMESTAMP", text))


def to_timestamp_tz(text: str) -> TimestampTz | TimestampLtz:
    clock, blank, offset = text[_SECONDS:].partition(" ")
    moment = _moment(text[:_SECONDS] + clock)
    if not moment or (blank and not _is_offset(offset)):
        _bad_moment("TO_TIMESTAMP_TZ", text)
    return TimestampTz(moment + offset) if blank else TimestampLtz(moment)


def _moment(text: str) -> str:
    """Turn `[-]YYYY-MM-DD HH24:MI:SS[.FF]` into ISO 8601; "" if it is anything else."""
    sign = ""
    if text.startswith(("-", " ")):
        sign, text = text[0].strip(), text[1:]
    day = text[:10]
    if text[10:11] == " " and _is_day(day) and _is_clock(text[11:]):
        return f"{sign}{day}T{text[11:].removesuffix('.')}"
    return ""


@lru_cache(maxsize=4096)  # the changes of one hour have one day, or two
def _is_day(text: str) -> bool:
    """Tell whether this is YYYY-MM-DD. Which months have 31 days is left to the target.

    Before 1582 Oracle's calendar is Julian: days exist there that ours does not have.
    """
    return (
        text[4:5] == text[7:8] == "-"
        and _is_number(text[:4] + text[5:7] + text[8:], length=8)
        and "01" <= text[5:7] <= "12"
        and "01" <= text[8:] <= "31"
    )


@lru_cache(maxsize=4096)  # more than a day has minutes
def _is_minute(text: str) -> bool:
    return (
        text[2:3] == ":"
        and _is_number(text[:2] + text[3:], length=4)
        and text[:2] <= "23"
        and text[3:] <= "59"
    )


def _is_clock(text: str) -> bool:
    """Tell whether this is HH24:MI:SS, perhaps with a point and up to nine digits (none for TIMESTAMP(0))."""
    if not (_is_minute(text[:5]) and text[5:6] == ":" and text[6:8] in _SIXTY):
        return False
    fraction = text[9:]
    return len(text) == 8 or (text[8] == "." and (not fraction or _is_number(fraction)))


def _is_offset(text: str) -> bool:
    """Tell whether this is TZH:TZM; a region's name is not: what it stood for may change."""
    return (
        len(text) == 6 and text[0] in "+-" and _is_minute(text[1:]) and text[1:3] <= _LARGEST_OFFSET
    )


def to_interval_ym(text: str) -> IntervalYm:
    years, _, months = _unsigned(text).partition("-")
    if not (_is_number(years) and _is_number(months) and int(months) < 12):
        raise ValueError("expected [+-]years-months in TO_YMINTERVAL")
    return IntervalYm(text)


def to_interval_ds(text: str) -> IntervalDs:
    days, _, clock = _unsigned(text).partition(" ")
    if not (_is_number(days) and _is_clock(clock)):
        raise ValueError("expected [+-]days hours:minutes:seconds in TO_DSINTERVAL")
    return IntervalDs(text)


def _unsigned(text: str) -> str:
    return text[1:] if text.startswith(("+", "-")) else text


def _is_number(text: str, *, length: int | None = None) -> bool:
    """Tell whether these are digits: so many, or one to nine."""
    right = 0 < len(text) <= _LONGEST_NUMBER if length is None else len(text) == length
    return right and text.isascii() and text.isdigit()


def _bad_moment(function: str, text: str) -> NoReturn:
    """Show the form of what was found, and none of its digits and letters: it is a row's value."""
    form = "".join(
        "9" if each.isdigit() else "A" if each.isalpha() else each for each in text[:_SHOWN]
    )
    raise ValueError(f"expected {function} of {_FORMATS[function]}, found {form}: {_ADVICE}")


def to_rowid(text: str) -> str:
    if len(text) != _ROWID_LENGTH or text.strip(_ROWID_CHARACTERS):
        raise ValueError(f"expected a ROWID of {_ROWID_LENGTH} letters, digits, + and /")
    return text


def to_bfile(_directory: str, _file: str) -> Mark:
    return Mark.UNSUPPORTED


#: Each function that LogMiner prints with literals in it: how many, and what makes a value of them.
FUNCTIONS: dict[str, tuple[int, Callable[..., RedoValue]]] = {
    "BFILENAME": (2, to_bfile),
    "HEXTORAW": (1, to_hex),
    "TO_DATE": (2, to_date),
    "TO_DSINTERVAL": (1, to_interval_ds),
    "TO_TIMESTAMP": (1, to_timestamp),
    "TO_TIMESTAMP_TZ": (1, to_timestamp_tz),
    "TO_YMINTERVAL": (1, to_interval_ym),
    "UNISTR": (1, to_text),
}

#: What LogMiner prints instead of a value, without operands. A longer word stands before one that it begins with.
WORDS: tuple[tuple[str, RedoValue], ...] = (
    ("NULL", None),
    ("Unsupported Type", Mark.UNSUPPORTED),
    ("Unsupported", Mark.UNSUPPORTED),
)
#: Likewise, where a function may stand: also behind the comment that tells JSON.
MARKS: tuple[tuple[str, RedoValue], ...] = (
    ("EMPTY_CLOB()", Mark.EMPTY_CLOB),
    ("EMPTY_BLOB()", Mark.EMPTY_BLOB),
    ("LM_EMPTY_STRING", Mark.EMPTY_STRING),
)
JSON = "/* JSON */ "
NUMBER = ("-", "+", ".", *digits)  #: how a number without quotes begins
