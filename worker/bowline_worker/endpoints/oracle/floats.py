"""Oracle's binary numbers: BINARY_FLOAT and BINARY_DOUBLE, printed as PostgreSQL prints them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction

from bowline_worker.endpoints.oracle.kinds import (
    RESELECT,
    Bind,
    FromRedo,
    OracleColumn,
    OracleType,
    PostgresType,
)
from bowline_worker.endpoints.oracle.numbers import read_digits
from bowline_worker.endpoints.oracle.policy import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryNumber(OracleType):
    """BINARY_FLOAT and BINARY_DOUBLE: their text in SQL_REDO is rounded, or even 0 for what is tiny."""

    is_single: bool

    def _from_redo(self, value: object) -> FromRedo:
        return RESELECT

    def _from_driver(self, value: object) -> bytes:
        if not isinstance(value, float):
            self.refuse_unknown(value)
        if self.is_single and not _is_single(value):
            self.refuse(value, "has more digits than a BINARY_FLOAT")
        return float_text(value, is_single=self.is_single).encode()

    def _to_oracle(self, text: bytes) -> Bind:
        number = text.decode()
        if number in ("NaN", "Infinity", "-Infinity"):
            return float(number)
        if read_digits(number) is None:
            self.refuse_unknown(number)
        found = float(number)
        if not _is_finite(found, is_single=self.is_single):
            self.refuse(number, f"is beyond what a {self.column.data_type} holds")
        # Oracle has no negative zero.
        return (_nearest_single(found) if self.is_single else found) + 0.0


def _nearest_single(value: float) -> float:
    (nearest,) = struct.unpack("<f", struct.pack("<f", value))
    return float(nearest)


def _is_single(value: float) -> bool:
    return not math.isfinite(value) or (
        _is_finite(value, is_single=True) and _nearest_single(value) == value
    )


def _is_finite(value: float, *, is_single: bool) -> bool:
    """Tell whether the nearest number of that size is one."""
    try:
        return math.isfinite(_nearest_single(value) if is_single else value)
    except OverflowError:
        return False


def float_text(value: float, *, is_single: bool) -> str:
    """As PostgreSQL since 12 prints it: the fewest digits that no other number is nearest to, with ties left out."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    digits, exponent = _shortest(abs(value), is_single=is_single)
    # PostgreSQL's own rule: beyond the digits that the type always keeps, and below 0.0001, scientific.
    if not -4 <= exponent < (6 if is_single else 15):
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{exponent:+03d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole, fraction = digits[: exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1 :]
    return f"{sign}{whole}{'.' if fraction else ''}{fraction}"


def _shortest(value: float, *, is_single: bool) -> tuple[str, int]:
    """The digits of a positive number and the exponent of the first, as PostgreSQL chooses them."""
    if not is_single and value < 2.0**50:
        # Python's own shortest text differs only where a number of few digits lies half-way to the next double. Below
        # 2**50 such a number has too many digits.
        return _take_apart(Decimal(repr(value)))
    low, high = _borders(value, is_single=is_single)
    exact = Decimal(value)
    for digits in range(1, 18):
        inside = [each for each in _rounded(exact, digits) if low < Fraction(each) < high]
        if inside:
            return _take_apart(min(inside, key=lambda each: _distance(each, value)))
    raise AssertionError("seventeen digits tell every double")


def _take_apart(number: Decimal) -> tuple[str, int]:
    digits, _, exponent = f"{number:e}".partition("e")
    return digits.replace(".", "").rstrip("0"), int(exponent)


def _distance(number: Decimal, value: float) -> tuple[Fraction, int]:
    """How far it is; of two that are as far, the one with an even last digit comes first."""
    return abs(Fraction(number) - Fraction(value)), number.as_tuple().digits[-1] % 2


def _rounded(exact: Decimal, digits: int) -> Iterator[Decimal]:
    for rounding in (ROUND_FLOOR, ROUND_CEILING):
        yield Context(prec=digits, rounding=rounding).plus(exact)


def _borders(value: float, *, is_single: bool) -> tuple[Fraction, Fraction]:
    """Half-way to the neighbours below and above, computed exactly."""
    if is_single:
        (bits,) = struct.unpack("<I", struct.pack("<f", value))
        (below,) = struct.unpack("<f", struct.pack("<I", bits - 1))
    else:
        below = math.nextafter(value, 0.0)
    here = Fraction(value)
    step_down = here - Fraction(below)
    step_up = 2 * step_down if _starts_a_binade(value, is_single=is_single) else step_down
    return here - step_down / 2, here + step_up / 2


def _starts_a_binade(value: float, *, is_single: bool) -> bool:
    """Below the number the others stand twice as close; not so where numbers are subnormal."""
    return math.frexp(value)[0] == 0.5 and value > (2.0**-126 if is_single else 2.0**-1022)


def binary_number(column: OracleColumn, terms: Terms, _: list[int]) -> OracleType:
    is_single = column.data_type == "BINARY_FLOAT"
    return BinaryNumber(
        column=column,
        terms=terms,
        postgres=PostgresType("float4", "real")
        if is_single
        else PostgresType("float8", "double precision"),
        bind_type=f"DB_TYPE_{column.data_type}",
        is_single=is_single,
        needs_reselect=True,
        can_be_key=False,
    )
