"""Oracle's decimals: NUMBER and FLOAT, of up to 40 digits."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

from bowline_worker.endpoints.oracle.kinds import (
    RESELECT,
    Bind,
    FromRedo,
    OracleColumn,
    OracleType,
    PostgresType,
)
from bowline_worker.endpoints.oracle.policy import Strange, Terms

#: TO_CHAR without a mask rounds what is wider than 40 characters, integers excepted: 10**40 is a 1, a point, 34 zeros
#: and E+40. SQL_REDO prints numbers alike. Four less, in case it counts a sign or an exponent otherwise.
MAYBE_ROUNDED_FROM_CHARACTERS = 36
#: A NUMBER has twenty digits to the base of 100 (Oracle's SQL reference: 40 digits at most), and is below 1e126.
BASE_100_DIGITS = 20
WHOLE_DIGITS = 126
LAST_DECIMAL = 130
#: NUMBER(*, s) keeps so many digits (Oracle's SQL reference).
NUMBER_PRECISION = 38
#: A binary digit of FLOAT(b) is so many decimal ones (Oracle's SQL reference).
DECIMAL_DIGITS_PER_BIT = 0.30103
FLOAT_BITS = 126
#: Digits of which all numbers fit: eighteen nines are below 2**63, nineteen are not.
SMALLINT_DIGITS, INTEGER_DIGITS, BIGINT_DIGITS = 4, 9, 18

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,3}))?")


@dataclass(frozen=True, slots=True)
class Digits:
    """A decimal taken apart: digits before the point without leading zeros, and behind it without trailing ones."""

    negative: bool
    whole: str
    fraction: str

    def unscaled(self, scale: int) -> str | None:
        """The digits of the number times 10**scale; None: that is not whole."""
        if len(self.fraction) > max(scale, 0):
            return None
        if scale >= 0:
            return (self.whole + self.fraction.ljust(scale, "0")).lstrip("0")
        kept, cut = self.whole[:scale], self.whole[scale:]
        return None if cut.strip("0") else kept

    @property
    def significant(self) -> int:
        return len((self.whole + self.fraction).strip("0"))

    @property
    def fits_number(self) -> bool:
        """Oracle's NUMBER holds it exactly."""
        if len(self.whole) > WHOLE_DIGITS or len(self.fraction) > LAST_DECIMAL:
            return False
        padded = "0" * (len(self.whole) % 2) + self.whole + self.fraction
        pairs = [padded[at : at + 2] for at in range(0, len(padded), 2)]
        filled = [at for at, pair in enumerate(pairs) if pair != "00"]
        return not filled or filled[-1] - filled[0] < BASE_100_DIGITS

    def text(self, scale: int | None) -> str:
        """As PostgreSQL's numeric prints it: all decimals of its scale, or those it has."""
        fraction = self.fraction if scale is None else self.fraction.ljust(scale, "0")
        sign = "-" if self.negative and (self.whole or self.fraction) else ""
        return f"{sign}{self.whole or '0'}{'.' if fraction else ''}{fraction}"


def read_digits(text: str) -> Digits | None:
    """Take a decimal number apart, in plain or scientific notation; None: it is not one."""
    found = _NUMBER.fullmatch(text)
    if found is None or not (found[2] or found[3]):
        return None
    whole, fraction = found[2], found[3] or ""
    if found[4]:
        whole, fraction = _shift(whole, fraction, int(found[4]))
    return Digits(found[1] == "-", whole.lstrip("0"), fraction.rstrip("0"))


def _shift(whole: str, fraction: str, places: int) -> tuple[str, str]:
    if places >= 0:
        fraction = fraction.ljust(places, "0")
        return whole + fraction[:places], fraction[places:]
    whole = whole.rjust(-places, "0")
    return whole[:places], whole[places:] + fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(OracleType):
    """NUMBER(precision, scale), or NUMBER and FLOAT with neither."""

    precision: int | None = None  #: None: as many digits as a NUMBER has
    scale: int | None = None
    shown_scale: int | None = (
        None  #: decimals that the type of PostgreSQL prints; None: those that a value has
    )
    significant: int | None = None  #: digits that a FLOAT keeps

    def _from_redo(self, value: object) -> FromRedo:
        if not isinstance(value, str):
            self.refuse_unknown(value)
        if len(value) >= MAYBE_ROUNDED_FROM_CHARACTERS and not value.lstrip("+-").isdigit():
            return RESELECT
        return self._text(value)

    def _from_driver(self, value: object) -> bytes:
        if isinstance(value, Decimal):
            return self._text(str(value))
        if isinstance(value, float):
            self.refuse(value, "was fetched as a float", "fetch NUMBER as Decimal")
        if isinstance(value, bool) or not isinstance(value, int | str):
            self.refuse_unknown(value)
        return self._text(str(value))

    def _text(self, text: str) -> bytes:
        if (plain := self._plain(text)) is not None:
            return plain
        digits = read_digits(text)
        if digits is None:
            self.refuse_unknown(text)
        if not self._holds(digits):
            self.refuse(text, f"does not fit {self._declared}, which the dictionary says")
        return digits.text(self.shown_scale).encode()

    def _plain(self, text: str) -> bytes | None:
        """The text of an ordinary number that surely fits, in a fourth of the time; None: it has to be taken apart."""
        whole, point, fraction = text.removeprefix("-").partition(".")
        if not (whole.isdigit() and text.isascii()) or whole[0] == "0":
            return None
        precision, scale = self.precision, self.scale
        if precision is None or scale is None:
            is_whole = not point and len(whole) <= NUMBER_PRECISION and self.shown_scale is None
            return text.encode() if is_whole else None
        if scale < 0 or len(whole) + scale > precision or len(fraction) > scale:
            return None
        if point and not fraction.isdigit():
            return None
        shown = text if point or not scale else f"{text}."
        return f"{shown}{'0' * (scale - len(fraction))}".encode()

    def _to_oracle(self, text: bytes) -> Bind:
        number = text.decode()
        if number == "NaN":
            replacement = self.terms.policy.not_a_number
            return self._replaced(self.answer(Strange.NOT_A_NUMBER, number, replacement))
        if number in ("Infinity", "-Infinity"):
            largest = self._largest.copy_sign(-1 if number[0] == "-" else 1)
            return self.answer(Strange.INFINITE_NUMBER, number, largest)
        return self._bound(number)

    def _bound(self, number: str) -> Decimal:
        digits = read_digits(number)
        if digits is None:
            self.refuse_unknown(number)
        too_fine = self.significant is not None and digits.significant > self.significant
        if too_fine or not self._holds(digits):
            self.refuse(number, f"does not fit {self._declared}: oracle would refuse or round it")
        return Decimal(digits.text(None))

    def _replaced(self, number: Decimal | None) -> Decimal | None:
        return None if number is None else self._bound(format(number, "f"))

    def _holds(self, digits: Digits) -> bool:
        if self.precision is None or self.scale is None:
            return digits.fits_number
        unscaled = digits.unscaled(self.scale)
        return unscaled is not None and len(unscaled) <= self.precision

    @property
    def _declared(self) -> str:
        column = self.column
        if column.data_type == "FLOAT":
            return f"FLOAT({column.data_precision})"
        return "NUMBER" if self.precision is None else f"NUMBER({self.precision},{self.scale})"

    @property
    def _largest(self) -> Decimal:
        digits = self.precision or self.significant or 2 * BASE_100_DIGITS
        exponent = WHOLE_DIGITS - digits if self.scale is None else -self.scale
        return Decimal((0, (9,) * digits, exponent))


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth(Number):
    """NUMBER(1) that stands for a boolean, where the other side's column is one: 1 and 0, nothing else."""

    def _text(self, text: str) -> bytes:
        if text not in ("0", "1"):
            self.refuse(text, "is neither 0 nor 1, as a boolean's number must be")
        return b"t" if text == "1" else b"f"

    def _to_oracle(self, text: bytes) -> Bind:
        if text not in (b"t", b"f"):
            self.refuse(text.decode(), "is no boolean")
        return Decimal(text == b"t")


def number(column: OracleColumn, terms: Terms, _: list[int]) -> OracleType:
    precision, scale = column.data_precision, column.data_scale
    if precision is None and scale is not None:
        precision = NUMBER_PRECISION
    if precision is None:
        return Number(
            column=column,
            terms=terms,
            postgres=PostgresType("numeric", "numeric"),
            bind_type="DB_TYPE_NUMBER",
        )
    scale = scale or 0
    postgres = integer_type(precision) if scale == 0 else None
    if postgres is None:
        # NUMBER(2,5) is below 0.001: PostgreSQL before 15 wants a precision that is no less than the scale.
        digits = max(precision - min(scale, 0), scale)
        postgres = PostgresType("numeric", f"numeric({digits},{max(scale, 0)})")
    return Number(
        column=column,
        terms=terms,
        postgres=postgres,
        bind_type="DB_TYPE_NUMBER",
        precision=precision,
        scale=scale,
        shown_scale=max(scale, 0),
    )


def integer_type(digits: int) -> PostgresType | None:
    """The integer that holds all numbers of so many digits; None: there is none."""
    if digits <= SMALLINT_DIGITS:
        return PostgresType("int2", "smallint")
    if digits <= INTEGER_DIGITS:
        return PostgresType("int4", "integer")
    return PostgresType("int8", "bigint") if digits <= BIGINT_DIGITS else None


def decimal_float(column: OracleColumn, terms: Terms, _: list[int]) -> OracleType:
    bits = column.data_precision or FLOAT_BITS
    return Number(
        column=column,
        terms=terms,
        postgres=PostgresType("numeric", "numeric"),
        bind_type="DB_TYPE_NUMBER",
        significant=math.ceil(bits * DECIMAL_DIGITS_PER_BIT),
    )


def truth(column: OracleColumn, terms: Terms) -> OracleType:
    return Truth(
        column=column,
        terms=terms,
        postgres=PostgresType("bool", "boolean"),
        bind_type="DB_TYPE_NUMBER",
        precision=1,
        scale=0,
        shown_scale=0,
    )
