"""The texts that real servers have written for values (samples of section 2), against ours."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.standin.backend import Kind, Moment, Months, OraError, Span, Value
from oracle.standin.events import ColumnShape
from oracle.standin.redolog.internal import internal_bytes, number_bytes
from oracle.standin.redolog.literals import Style, binary_text, literal, number_text, survives
from oracle.standin.redolog.nls import EXACT, Nls

LEAP = Moment(2024, 2, 29, 23, 59, 58)
DAY = 86400 * 10**9
SPAN = Span(5 * DAY + (4 * 3600 + 3 * 60 + 2) * 10**9 + 123456000)


def column(kind: Kind, length: int = 0, **more: object) -> ColumnShape:
    return ColumnShape("C", kind, length, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (column(Kind.VARCHAR2, 9), None, "NULL"),
        (column(Kind.CHAR, 10), "ab", "'ab        '"),
        (column(Kind.CHAR, 10), "ab        ", "'ab        '"),
        (column(Kind.CHAR, 4, byte_semantics=True), "é", "'é  '"),
        (column(Kind.CHAR, 10, national=True), "é", r"UNISTR('\00E9         ')"),
        (column(Kind.VARCHAR2, 9), "it's", "'it''s'"),
        (column(Kind.VARCHAR2, 9), "'", "''''"),
        (column(Kind.VARCHAR2, 9), "'a'", "'''a'''"),
        (column(Kind.VARCHAR2, 9), "a||b", "'a||b'"),
        (column(Kind.VARCHAR2, 9), "x) values (", "'x) values ('"),
        (column(Kind.VARCHAR2, 9, national=True), "a\\b", r"UNISTR('a\\b')"),
        (column(Kind.VARCHAR2, 9, national=True), "\U0001f600", r"UNISTR('\D83D\DE00')"),
        (column(Kind.VARCHAR2, 9, national=True), "(т)||", r"UNISTR('(\0442)||')"),
        (
            column(Kind.VARCHAR2, 99, national=True),
            "üni\u0063ode ☃ text",
            r"UNISTR('\00FCnicode \2603 text')",
        ),
        (column(Kind.NUMBER), Decimal("1234.5"), "'1234.5'"),
        (column(Kind.NUMBER), Decimal("-0.5"), "'-.5'"),
        (column(Kind.NUMBER), Decimal(0), "'0'"),
        (column(Kind.NUMBER), Decimal("-42.50"), "'-42.5'"),
        (column(Kind.NUMBER), Decimal("1234567890.123456789"), "'1234567890.123456789'"),
        (column(Kind.NUMBER), Decimal("9" * 38), "'" + "9" * 38 + "'"),
        (column(Kind.NUMBER), Decimal("3.25"), "'3.25'"),
        (column(Kind.BINARY_FLOAT), 1.5e10, "'1.50000005E+010'"),
        (column(Kind.BINARY_DOUBLE), 2.5, "'2.5E+000'"),
        (column(Kind.BINARY_DOUBLE), -2.5e-300, "'0'"),
        (column(Kind.BINARY_DOUBLE), float("nan"), "'Nan'"),
        (column(Kind.BINARY_DOUBLE), float("-inf"), "'-Inf'"),
        (column(Kind.DATE), LEAP, "TO_DATE('2024-02-29 23:59:58', 'YYYY-MM-DD HH24:MI:SS')"),
        (column(Kind.TIMESTAMP, scale=0), LEAP, "TO_TIMESTAMP('2024-02-29 23:59:58.')"),
        (
            column(Kind.TIMESTAMP, scale=3),
            Moment(2024, 2, 29, 23, 59, 58, 120000000),
            "TO_TIMESTAMP('2024-02-29 23:59:58.120000000')",
        ),
        (
            column(Kind.TIMESTAMP_TZ, scale=6),
            Moment(2024, 2, 29, 23, 59, 58, offset=-210),
            "TO_TIMESTAMP_TZ('2024-02-29 23:59:58.000000000 -03:30')",
        ),
        (
            column(Kind.TIMESTAMP_LTZ, scale=6),
            LEAP,
            "TO_TIMESTAMP_TZ('2024-02-29 23:59:58.000000000')",
        ),
        (column(Kind.INTERVAL_YM, precision=4), Months(147), "TO_YMINTERVAL('+0012-03')"),
        (column(Kind.INTERVAL_YM), Months(-42), "TO_YMINTERVAL('-03-06')"),
        (
            column(Kind.INTERVAL_DS, precision=5, scale=6),
            SPAN,
            "TO_DSINTERVAL('+00005 04:03:02.123456')",
        ),
        (
            column(Kind.INTERVAL_DS, precision=3, scale=1),
            Span(-DAY - (2 * 3600 + 3 * 60 + 4) * 10**9 - 5 * 10**8),
            "TO_DSINTERVAL('-001 02:03:04.5')",
        ),
        (column(Kind.RAW, 9), b"\x00\xff", "HEXTORAW('00ff')"),
        (column(Kind.VARCHAR2, 32767, extended=True), "it's raw", "'it's raw'"),
    ],
)
def test_a_value_is_written_as_a_real_server_wrote_it(
    kind: ColumnShape, value: Value, text: str
) -> None:
    assert literal(value, kind, Style()) == text


def test_national_text_may_come_in_pieces() -> None:
    text = literal("АБ", column(Kind.VARCHAR2, 9, national=True), Style(joined=True))

    assert text == r"UNISTR('\0410') || UNISTR('\0411')"


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (column(Kind.DATE), LEAP, "TO_DATE('29-FEB-24', 'DD-MON-RR')"),
        (
            column(Kind.TIMESTAMP, scale=6),
            LEAP,
            "TO_TIMESTAMP('29-FEB-24 11.59.58.000000 PM')",
        ),
        (
            column(Kind.TIMESTAMP_TZ, scale=6),
            Moment(2024, 2, 29, offset=330),
            "TO_TIMESTAMP_TZ('29-FEB-24 12.00.00.000000 AM +05:30')",
        ),
    ],
)
def test_a_new_sessions_formats_lose_the_time_of_day_and_the_century(
    kind: ColumnShape, value: Value, text: str
) -> None:
    assert literal(value, kind, Style(Nls())) == text


@pytest.mark.parametrize(
    ("year", "mask", "text"),
    [
        (2024, "SYYYY", " 2024"),
        (0, "SYYYY", "-0001"),
        (-43, "SYYYY", "-0044"),
        (-43, "YYYY", "0044"),
    ],
)
def test_years_before_christ_need_a_sign_in_the_mask(year: int, mask: str, text: str) -> None:
    shown = literal(Moment(year), column(Kind.DATE), Style(Nls(date_format=mask)))

    assert shown == f"TO_DATE('{text}', '{mask}')"


def test_a_local_timestamp_follows_the_sessions_zone() -> None:
    nls = Nls(timestamp_format=EXACT.timestamp_format, zone_minutes=120)
    text = literal(LEAP, column(Kind.TIMESTAMP_LTZ, scale=6), Style(nls))

    assert text == "TO_TIMESTAMP_TZ('2024-03-01 01:59:58.000000000')"


def test_numbers_follow_the_sessions_decimal_character() -> None:
    assert number_text(Decimal("-1.5"), ",.") == "-1,5"


def test_an_unknown_mask_is_an_error_and_no_guess() -> None:
    with pytest.raises(OraError, match="ORA-01821: date format not recognized: QQ"):
        literal(LEAP, column(Kind.DATE), Style(Nls(date_format="YYYY QQ")))


NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(
    lambda d: -120 < d.adjusted() < 120 and len(d.normalize().as_tuple().digits) <= 38
)


@given(NUMBERS)
def test_a_number_can_be_read_back_from_its_text(value: Decimal) -> None:
    text = number_text(value)

    assert Decimal(text) == value
    assert not text.startswith(("0.", "-0"))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_can_be_read_back_only_where_it_is_not_lossy(value: float) -> None:
    exact = Style(lossy=False)

    assert survives(value, Kind.BINARY_DOUBLE, exact)
    assert float(binary_text(value, Kind.BINARY_DOUBLE, exact)) == value


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_can_be_read_back_where_it_is_not_lossy(value: float) -> None:
    assert survives(value, Kind.BINARY_FLOAT, Style(lossy=False))


@pytest.mark.parametrize("value", [1 / 3, 1e-200, 123456789.12345678])
def test_a_double_of_many_digits_is_lost_in_its_text(value: float) -> None:
    assert not survives(value, Kind.BINARY_DOUBLE, Style())


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        (column(Kind.NUMBER), Decimal(1), "c102"),
        (column(Kind.NUMBER), Decimal(0), "80"),
        (column(Kind.NUMBER), Decimal("-1.5"), "3e643366"),
        (column(Kind.NUMBER), Decimal("0.05"), "c006"),
        (column(Kind.DATE), LEAP, "787c021d183c3b"),
        (column(Kind.TIMESTAMP, scale=6), LEAP, "787c021d183c3b"),
        (
            column(Kind.TIMESTAMP_TZ),
            Moment(2024, 2, 29, 1, offset=60),
            "787c021d01010100000000153c",
        ),
        (column(Kind.VARCHAR2, 9, national=True), "é", "00e9"),
        (column(Kind.INTERVAL_YM), Months(-13), "7fffffff3b"),
        (column(Kind.BINARY_DOUBLE), 1.0, "bff0000000000000"),
    ],
)
def test_unnamed_columns_show_the_bytes_of_a_block(
    kind: ColumnShape, value: Value, data: str
) -> None:
    shown = internal_bytes(value, kind)

    assert shown is not None
    assert shown.hex() == data


@given(NUMBERS, NUMBERS)
def test_the_bytes_of_numbers_sort_as_the_numbers_do(one: Decimal, other: Decimal) -> None:
    assert (number_bytes(one) < number_bytes(other)) == (one < other)
