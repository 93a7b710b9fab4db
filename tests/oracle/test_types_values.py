"""A stored value has one text, whether the snapshot or the stream brings it, and goes back as it came."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bowline_worker.endpoints.oracle.redo import (
    Hex,
    IntervalDs,
    IntervalYm,
    Mark,
    Timestamp,
    TimestampLtz,
    TimestampTz,
)
from bowline_worker.endpoints.oracle.types import RESELECT, OracleColumn, ValueRefused
from oracle.type_cases import (
    CASES,
    DAY,
    INTERVALS,
    LOBS,
    NUMBERS,
    TEXTS,
    TIMES,
    Case,
    Stamp,
    Stored,
    column,
    number,
    stamps,
    supported,
    text,
)

EXACT = (*NUMBERS, *TIMES, *INTERVALS, *TEXTS)


def each(cases: Iterable[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=str)


@each(EXACT)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_snapshot_and_stream_give_one_text(case: Case, data: st.DataObject) -> None:
    """Otherwise every row that is changed once would look different to the verification."""
    kind, value = supported(case.column), data.draw(case.stored)
    from_redo = kind.from_redo(case.redo(value))

    assert not kind.needs_reselect
    if from_redo is RESELECT:
        assert case in NUMBERS
        assert len(str(case.redo(value))) >= 36
    else:
        assert from_redo == kind.from_driver(case.driver(value))
        assert from_redo is not None


@each([case for case in CASES if supported(case.column).needs_reselect])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_the_redo_can_t_tell_is_never_guessed(case: Case, data: st.DataObject) -> None:
    kind = supported(case.column)

    assert kind.from_redo(case.redo(data.draw(case.stored))) is RESELECT
    assert kind.from_redo(Mark.UNSUPPORTED) is RESELECT
    assert kind.from_redo(None) is None
    assert not kind.can_be_key


def kept(case: Case, value: Stored) -> Stored:
    """What is left of a stored value after its way: microseconds, and the instant of a zoned time."""
    if isinstance(value, Stamp):
        return Stamp(
            value.year,
            value.month,
            value.day,
            value.second,
            value.nanos // 1000 * 1000,
        )
    if "SECOND" in case.column.data_type:
        return abs(value) // 1000 * 1000 * (-1 if value < 0 else 1)
    return value


@each([case for case in CASES if "WITH TIME ZONE" not in case.column.data_type])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_came_from_oracle_goes_back_as_it_was(case: Case, data: st.DataObject) -> None:
    kind, value = supported(case.column), data.draw(case.stored)
    bound = kind.to_oracle(kind.from_driver(case.driver(value)))
    if case.column.data_type in ("CHAR", "NCHAR"):
        value = value.rstrip(" ") or " "

    if case in LOBS and not value:
        assert bound in (Mark.EMPTY_CLOB, Mark.EMPTY_BLOB)
    else:
        expected = case.driver(kept(case, value))
        assert bound == expected or (bound != bound and expected != expected)  # NaN
        assert type(bound) is type(expected)


@settings(max_examples=200, deadline=None)
@given(stamps(6, offsets=True, last_year=9998).filter(lambda stamp: stamp.year > 1))
def test_an_instant_is_kept_and_its_offset_is_not(value: Stamp) -> None:
    there = datetime(
        value.year,
        value.month,
        value.day,
        microsecond=value.nanos // 1000,
        tzinfo=timezone(timedelta(minutes=value.offset)),
    ) + timedelta(seconds=value.second)
    utc = there.astimezone(UTC)
    expected = f"{utc.replace(tzinfo=None):%H:%M:%S.%f}".rstrip("0").rstrip(".")
    kind = supported(column("TIMESTAMP(6) WITH TIME ZONE"))
    shown = kind.from_driver(value.masked(zone=f" {value.zone}"))

    assert shown == f"{utc.date().isoformat()} {expected}+00".encode()
    if (utc.year, utc.month) != (1582, 10):
        assert kind.to_oracle(shown) == f" {utc.date().isoformat()} {utc:%H:%M:%S.%f}000 +00:00"


@pytest.mark.parametrize(
    ("of", "redo", "driver", "shown"),
    [
        (number(9, 0), "7", Decimal(7), "7"),
        (number(9, 0), "-7", -7, "-7"),
        (number(12, 2), "1234.5", Decimal("1234.5"), "1234.50"),
        (number(12, 2), "-.5", Decimal("-0.5"), "-0.50"),
        (number(12, 2), "0", Decimal(0), "0.00"),
        (number(12, 2), "-0", Decimal("-0"), "0.00"),
        (number(5, -2), "1200", Decimal("1.2E+3"), "1200"),
        (number(5, 7), ".0012345", Decimal("0.0012345"), "0.0012345"),
        (number(None, None), "1.5E+10", Decimal("1.5E+10"), "15000000000"),
        (number(None, None), "1E-3", Decimal("0.001"), "0.001"),
        (number(None, None), "-.50", Decimal("-0.50"), "-0.5"),
        (number(None, None), "1" + "0" * 39, Decimal("1E+39"), "1" + "0" * 39),
        (column("FLOAT", data_precision=126), "3.25", Decimal("3.25"), "3.25"),
        (
            column("DATE"),
            Timestamp("2024-02-29T23:59:58"),
            " 2024-02-29 23:59:58",
            "2024-02-29 23:59:58",
        ),
        (
            column("DATE"),
            Timestamp("-0044-03-15T00:00:00"),
            "-0044-03-15 00:00:00",
            "0044-03-15 00:00:00 BC",
        ),
        (
            column("TIMESTAMP(0)"),
            Timestamp("2024-02-29T23:59:58"),
            " 2024-02-29 23:59:58.000000000",
            "2024-02-29 23:59:58",
        ),
        (
            column("TIMESTAMP(9)"),
            Timestamp("1999-12-31T23:59:59.999999999"),
            " 1999-12-31 23:59:59.999999999",
            "1999-12-31 23:59:59.999999",
        ),
        (
            column("TIMESTAMP(6) WITH TIME ZONE"),
            TimestampTz("2024-02-29T23:59:58.120000000-03:30"),
            " 2024-02-29 23:59:58.120000000 -03:30",
            "2024-03-01 03:29:58.12+00",
        ),
        (
            column("TIMESTAMP(6) WITH TIME ZONE"),
            TimestampTz("-0001-12-31T23:30:00.000000000-01:00"),
            "-0001-12-31 23:30:00.000000000 -01:00",
            "0001-01-01 00:30:00+00",
        ),
        (
            column("TIMESTAMP(6) WITH TIME ZONE"),
            TimestampTz("9999-12-31T23:30:00.000000000-01:00"),
            " 9999-12-31 23:30:00.000000000 -01:00",
            "10000-01-01 00:30:00+00",
        ),
        (
            column("TIMESTAMP(6) WITH LOCAL TIME ZONE"),
            TimestampLtz("2024-02-29T21:59:58.000000000"),
            " 2024-02-29 23:59:58.000000000 +02:00",
            "2024-02-29 21:59:58+00",
        ),
        (
            column("INTERVAL YEAR(2) TO MONTH"),
            IntervalYm("+0012-03"),
            "+12-03",
            "12 years 3 mons",
        ),
        (column("INTERVAL YEAR(2) TO MONTH"), IntervalYm("-0001-01"), "-01-01", "-1 years -1 mons"),
        (column("INTERVAL YEAR(2) TO MONTH"), IntervalYm("+0000-00"), "+00-00", "00:00:00"),
        (
            column("INTERVAL DAY(2) TO SECOND(6)"),
            IntervalDs("+00005 04:03:02.123456"),
            "+05 04:03:02.123456",
            "5 days 04:03:02.123456",
        ),
        (
            column("INTERVAL DAY(2) TO SECOND(6)"),
            IntervalDs("-001 02:03:04.5"),
            "-01 02:03:04.500000",
            "-1 days -02:03:04.5",
        ),
        (
            column("INTERVAL DAY(2) TO SECOND(9)"),
            IntervalDs("-00000 00:00:00.000000900"),
            "-00 00:00:00.000000900",
            "00:00:00",
        ),
        (text("VARCHAR2", 5), "it's", "it's", "it's"),
        (text("CHAR", 4), "ab  ", "ab  ", "ab  "),
        (text("CHAR", 4, "B"), "é  ", "é  ", "é   "),
        (column("RAW", data_length=4), Hex(b"\0\xff"), b"\0\xff", "\\x00ff"),
    ],
)
def test_a_stored_value_is_shown_as_postgresql_prints_it(
    of: OracleColumn, redo: object, driver: object, shown: str
) -> None:
    kind = supported(of)

    assert kind.from_redo(redo) == shown.encode()
    assert kind.from_driver(driver) == shown.encode()


@pytest.mark.parametrize("value", ["", Mark.EMPTY_STRING])
@pytest.mark.parametrize(
    "of", [text("VARCHAR2", 5), text("NVARCHAR2", 5), text("CHAR", 5)], ids=str
)
def test_an_empty_string_never_comes_out_of_oracle(of: OracleColumn, value: object) -> None:
    assert supported(of).from_redo(value) is None


def test_empty_lobs_are_not_null() -> None:
    assert supported(column("CLOB")).from_driver("") == b""
    assert supported(column("BLOB")).from_driver(b"") == b"\\x"
    clob = supported(column("CLOB"))
    assert clob.bind(":1", clob.to_oracle(b"")) == "EMPTY_CLOB()"
    assert clob.bind(":1", clob.to_oracle(b"x")) == ":1"


@pytest.mark.parametrize(
    "redo",
    [
        "1.2345678901234567890123456789012346E-50",
        "-.333333333333333333333333333333333333333",
        "1.0000000000000000000000000000000000E+40",
    ],
)
def test_a_number_that_may_have_been_rounded_is_read_again(redo: str) -> None:
    assert supported(number(None, None)).from_redo(redo) is RESELECT


WRONG: list[tuple[OracleColumn, Any, str]] = [
    (number(4, 0), "12345", "does not fit"),
    (number(4, 0), "1.5", "does not fit"),
    (number(5, -2), "1234", "does not fit"),
    (number(5, 7), ".1", "does not fit"),
    (number(4, 0), "1_0", "known form"),
    (number(4, 0), " 1", "known form"),
    (number(4, 0), ".", "known form"),
    (number(4, 0), "", "known form"),
    (number(4, 0), "\u0661", "known form"),
    (number(None, None), "NaN", "known form"),
    (number(4, 0), Hex(b"\xc1\x02"), "known form"),
    (number(4, 0), Mark.UNSUPPORTED, "UNSUPPORTED is not a NUMBER"),
    (column("DATE"), "2024-02-29", "known form"),
    (column("DATE"), Timestamp("2023-02-29T00:00:00"), "calendar"),
    (column("DATE"), Timestamp("1500-02-29T00:00:00"), "calendar"),
    (column("DATE"), Timestamp("0000-01-02T00:00:00"), "calendar"),
    (column("DATE"), Timestamp("2024-01-01T24:00:00"), "calendar"),
    (column("DATE"), Timestamp("2024-01-01T00:00:00.1"), "more than the 0 digits"),
    (column("DATE"), TimestampTz("2024-01-01T00:00:00+01:00"), "known form"),
    (column("TIMESTAMP(3)"), Timestamp("2024-01-01T00:00:00.123400000"), "3 digits"),
    (column("TIMESTAMP(6) WITH TIME ZONE"), TimestampTz("2024-01-01T00:00:00"), "zone"),
    (column("TIMESTAMP(6) WITH TIME ZONE"), TimestampLtz("2024-01-01T00:00:00"), "known form"),
    (
        column("TIMESTAMP(6) WITH LOCAL TIME ZONE"),
        TimestampLtz("2024-01-01T00:00:00+01:00"),
        "zone",
    ),
    (column("INTERVAL YEAR(2) TO MONTH"), IntervalYm("+01-12"), "known form"),
    (column("INTERVAL YEAR(9) TO MONTH"), IntervalYm("+178956970-08"), "more months"),
    (column("INTERVAL YEAR(2) TO MONTH"), IntervalDs("+01 00:00:00"), "known form"),
    (column("INTERVAL DAY(2) TO SECOND(6)"), IntervalDs("+01 24:00:00"), "known form"),
    (column("INTERVAL DAY(2) TO SECOND(3)"), IntervalDs("+01 00:00:00.1234"), "3 digits"),
    (text("VARCHAR2", 3), "abcd", "longer than the 3 characters"),
    (text("VARCHAR2", 3), "\ud83d", "surrogate"),
    (text("VARCHAR2", 3), Hex(b"a"), "known form"),
    (text("VARCHAR2", 3), Mark.UNSUPPORTED, "UNSUPPORTED"),
    (text("CHAR", 3), "abc ", "longer than the 3 characters"),
    (column("RAW", data_length=1), Hex(b"ab"), "longer than the 1 bytes"),
    (column("RAW", data_length=1), "ab", "known form"),
    (column("ROWID"), "AAAR3s", "known form"),
]


@pytest.mark.parametrize(("of", "value", "why"), WRONG)
def test_what_the_redo_should_not_say_is_an_error_that_names_the_column(
    of: OracleColumn, value: object, why: str
) -> None:
    with pytest.raises(ValueRefused, match=rf"^SHOP\.ITEM\.C: .*{why}") as refused:
        supported(of).from_redo(value)

    assert refused.value.column == of


@pytest.mark.parametrize(
    ("of", "value", "why"),
    [
        (number(4, 0), 1.5, "fetched as a float"),
        (number(4, 0), True, "known form"),
        (number(None, None), Decimal("NaN"), "known form"),
        (number(None, None), Decimal("1E126"), "does not fit NUMBER"),
        (column("BINARY_FLOAT"), 0.1, "more digits than a BINARY_FLOAT"),
        (column("BINARY_FLOAT"), 1e39, "more digits than a BINARY_FLOAT"),
        (column("BINARY_DOUBLE"), "0.1", "known form"),
        (column("DATE"), datetime(2024, 1, 1, tzinfo=UTC), "not fetched as text"),
        (column("TIMESTAMP(6) WITH TIME ZONE"), " 2024-01-01 00:00:00.000000000", "zone"),
        (column("INTERVAL DAY(2) TO SECOND(6)"), timedelta(1), "not fetched as text"),
        (column("CLOB"), object(), "not fetched as text"),
        (column("BLOB"), "00ff", "not fetched as bytes"),
    ],
)
def test_what_was_fetched_in_another_form_is_an_error(
    of: OracleColumn, value: object, why: str
) -> None:
    with pytest.raises(ValueRefused, match=why):
        supported(of).from_driver(value)


def test_an_error_shows_the_form_of_a_value_and_not_the_value() -> None:
    """Messages reach status and logs, which more people read than may read the rows."""
    with pytest.raises(ValueRefused) as refused:
        supported(text("VARCHAR2", 50)).from_redo("Anna Müller, 4711 " * 5)

    assert str(refused.value).startswith(
        "SHOP.ITEM.C: 'Aaaa Aaaaaa, 9999 Aaaa Aaaaaa, 9999 Aaaa...'"
    )
    assert refused.value.value == "Anna Müller, 4711 " * 5


@settings(deadline=None)
@given(st.integers(-(10**40), 10**40), st.integers(-170, 130))
def test_a_number_is_refused_before_oracle_would_round_it(digits: int, exponent: int) -> None:
    """Oracle keeps twenty pairs of digits, and pairs start at the point."""
    shown = format(Decimal((digits < 0, tuple(map(int, str(abs(digits)))), exponent)), "f")
    whole, _, fraction = shown.lstrip("-").partition(".")
    aligned = whole.rjust(400, "0") + fraction.ljust(400, "0")
    pairs = [aligned[at : at + 2] != "00" for at in range(0, 800, 2)]
    used = len(pairs) - pairs[::-1].index(True) - pairs.index(True) if any(pairs) else 0
    fits = (
        used <= 20
        and Decimal(shown).copy_abs() < Decimal("1E126")
        and len(fraction.rstrip("0")) <= 130
    )
    kind = supported(number(None, None))

    if fits:
        assert kind.to_oracle(shown.encode()) == Decimal(shown)
    else:
        with pytest.raises(ValueRefused, match="refuse or round"):
            kind.to_oracle(shown.encode())


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_converted_or_refused_and_nothing_else(value: str) -> None:
    for case in (*NUMBERS, *TIMES, *INTERVALS):
        kind = supported(case.column)
        for convert in (kind.from_redo, kind.from_driver):
            try:
                convert(value)
            except ValueRefused:
                continue


def test_the_longest_interval_is_in_its_range() -> None:
    kind = supported(column("INTERVAL DAY(9) TO SECOND(6)"))
    longest = "+999999999 23:59:59.999999"

    assert kind.from_driver(longest) == b"999999999 days 23:59:59.999999"
    assert kind.to_oracle(b"999999999 days 23:59:59.999999") == longest
    assert DAY == 24 * 3600 * 10**9
