"""Values of all kinds, to the engine and back, as the real driver sends and fetches them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import oracledb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.standin.backend import Column, Kind, Moment, Months, Result, Span, Value
from oracle.wire_rig import ECHO, Request, Rig, affecting, running, table

ROWID = "AAAR3sAAEAAAACXAAB"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running() as rig:
        yield rig


@pytest.fixture(scope="module")
def connection(rig: Rig) -> Iterator[oracledb.Connection]:
    with rig.connected() as connection:
        yield connection


def clock(*parts: int) -> datetime:
    """Make what the driver binds and fetches: its clocks have no zones."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


def sent(rig: Rig, connection: oracledb.Connection, value: Any, kind: Any = None) -> Any:
    """Bind a value; give what the engine got: how it was described, and the value."""
    got: list[Any] = []

    def keep(request: Request) -> Result:
        (bind,), (value,) = request.binds, request.values
        got.extend([bind.kind, bind.national, value])
        return Result()

    rig.script["insert into t values (:1)"] = keep
    with connection.cursor() as cursor:
        if kind is not None:
            cursor.setinputsizes(kind)
        cursor.execute("insert into t values (:1)", [value])
    connection.rollback()
    return tuple(got)


def fetched(rig: Rig, connection: oracledb.Connection, column: Column, value: Value) -> Any:
    """Give what a client fetches when the engine's only row holds a value."""
    # A new text each time, so that the driver does not know the statement from before.
    text = f"select c from t{len(rig.script)}"
    rig.script[text] = table([column], [[value]])
    with connection.cursor() as cursor:
        cursor.execute(text, fetch_decimals=True, fetch_lobs=False)
        (row,) = cursor.fetchall()
        return row[0]


def echoed(connection: oracledb.Connection, value: Any, kind: Any = None) -> Any:
    with connection.cursor() as cursor:
        if kind is not None:
            cursor.setinputsizes(kind)
        cursor.execute(ECHO, [value], fetch_decimals=True)
        (row,) = cursor.fetchall()
        return row[0]


@pytest.mark.parametrize(
    ("value", "kind", "got"),
    [
        (12, None, (Kind.NUMBER, False, Decimal(12))),
        (True, None, (Kind.NUMBER, False, Decimal(1))),
        (Decimal("-0.001"), None, (Kind.NUMBER, False, Decimal("-0.001"))),
        (0.1, None, (Kind.NUMBER, False, Decimal("0.1"))),
        (5, oracledb.DB_TYPE_BINARY_INTEGER, (Kind.NUMBER, False, Decimal(5))),
        (0.5, oracledb.DB_TYPE_BINARY_FLOAT, (Kind.BINARY_FLOAT, False, 0.5)),
        (0.1, oracledb.DB_TYPE_BINARY_DOUBLE, (Kind.BINARY_DOUBLE, False, 0.1)),
        ("grüße 😀", None, (Kind.VARCHAR2, False, "grüße 😀")),
        ("c  ", oracledb.DB_TYPE_CHAR, (Kind.CHAR, False, "c  ")),
        ("grüße 😀", oracledb.DB_TYPE_NVARCHAR, (Kind.VARCHAR2, True, "grüße 😀")),
        ("n", oracledb.DB_TYPE_NCHAR, (Kind.CHAR, True, "n")),
        ("é" * 4001, None, (Kind.LONG, False, "é" * 4001)),
        ("é" * 40_000, oracledb.DB_TYPE_LONG, (Kind.LONG, False, "é" * 40_000)),
        ("n" * 5000, oracledb.DB_TYPE_LONG_NVARCHAR, (Kind.LONG, True, "n" * 5000)),
        (b"\0\xff", None, (Kind.RAW, False, b"\0\xff")),
        (b"r" * 70_000, None, (Kind.LONG_RAW, False, b"r" * 70_000)),
        (date(2024, 2, 29), None, (Kind.DATE, False, Moment(2024, 2, 29))),
        (clock(1, 1, 1, 2, 3, 4), None, (Kind.DATE, False, Moment(1, 1, 1, 2, 3, 4))),
        (
            clock(2024, 1, 2, 3, 4, 5, 6),
            oracledb.DB_TYPE_TIMESTAMP,
            (Kind.TIMESTAMP, False, Moment(2024, 1, 2, 3, 4, 5, 6000)),
        ),
        (
            clock(2024, 1, 2, 3, 4, 5, 6),
            oracledb.DB_TYPE_TIMESTAMP_TZ,
            (Kind.TIMESTAMP_TZ, False, Moment(2024, 1, 2, 3, 4, 5, 6000, 0)),
        ),
        (
            clock(2024, 1, 2, 3, 4, 5, 6),
            oracledb.DB_TYPE_TIMESTAMP_LTZ,
            (Kind.TIMESTAMP_LTZ, False, Moment(2024, 1, 2, 3, 4, 5, 6000)),
        ),
        (
            timedelta(days=-1, microseconds=1),
            None,
            (Kind.INTERVAL_DS, False, Span(-86399999999000)),
        ),
        (oracledb.IntervalYM(-1, -2), None, (Kind.INTERVAL_YM, False, Months(-14))),
        # The driver sends ROWIDs as text.
        (ROWID, oracledb.DB_TYPE_ROWID, (Kind.VARCHAR2, False, ROWID)),
        ("", None, (Kind.VARCHAR2, False, None)),
        (b"", None, (Kind.RAW, False, None)),
        (None, None, (Kind.VARCHAR2, False, None)),
        (None, oracledb.DB_TYPE_CLOB, (Kind.CLOB, False, None)),
        (None, oracledb.DB_TYPE_BLOB, (Kind.BLOB, False, None)),
        (None, oracledb.DB_TYPE_NUMBER, (Kind.NUMBER, False, None)),
        (None, oracledb.DB_TYPE_TIMESTAMP_TZ, (Kind.TIMESTAMP_TZ, False, None)),
        (None, oracledb.DB_TYPE_INTERVAL_DS, (Kind.INTERVAL_DS, False, None)),
        (None, oracledb.DB_TYPE_BINARY_DOUBLE, (Kind.BINARY_DOUBLE, False, None)),
    ],
)
def test_the_engine_gets_what_the_client_binds(
    rig: Rig, connection: oracledb.Connection, value: Any, kind: Any, got: Any
) -> None:
    assert sent(rig, connection, value, kind) == got


CLOCK = Moment(2024, 2, 29, 23, 59, 58, 123_456_000)


@pytest.mark.parametrize(
    ("kind", "value", "got"),
    [
        (Kind.VARCHAR2, "grüße 😀", "grüße 😀"),
        (Kind.CHAR, "c  ", "c  "),
        (Kind.NUMBER, Decimal("1E-130"), Decimal("1E-130")),
        (Kind.NUMBER, Decimal("9" * 38), Decimal("9" * 38)),
        (Kind.LONG, "l" * 100_000, "l" * 100_000),
        (Kind.RAW, b"\0\xff", b"\0\xff"),
        (Kind.LONG_RAW, b"r" * 100_000, b"r" * 100_000),
        (Kind.ROWID, ROWID, ROWID),
        (Kind.DATE, Moment(2024, 2, 29, 1, 2, 3), clock(2024, 2, 29, 1, 2, 3)),
        (Kind.TIMESTAMP, CLOCK, clock(2024, 2, 29, 23, 59, 58, 123_456)),
        (Kind.TIMESTAMP_LTZ, CLOCK, clock(2024, 2, 29, 23, 59, 58, 123_456)),
        (Kind.INTERVAL_DS, Span(-90_061_000_001_000), -timedelta(1, 3661, 1)),
        (Kind.INTERVAL_YM, Months(-14), oracledb.IntervalYM(-1, -2)),
        (Kind.BINARY_FLOAT, 0.5, 0.5),
        (Kind.BINARY_DOUBLE, -math.inf, -math.inf),
        (Kind.CLOB, "größer 😀" * 9000, "größer 😀" * 9000),
        (Kind.BLOB, b"b" * 100_000, b"b" * 100_000),
    ],
)
def test_the_client_fetches_what_the_engine_has(
    rig: Rig, connection: oracledb.Connection, kind: Kind, value: Value, got: Any
) -> None:
    assert fetched(rig, connection, Column("C", kind), value) == got
    assert fetched(rig, connection, Column("NONE", kind), None) is None


@pytest.mark.parametrize("kind", [Kind.VARCHAR2, Kind.CHAR, Kind.CLOB, Kind.LONG])
def test_national_text_is_fetched(rig: Rig, connection: oracledb.Connection, kind: Kind) -> None:
    column = Column("C", kind, size=100, national=True)

    assert fetched(rig, connection, column, "日本 😀") == "日本 😀"


@pytest.mark.parametrize("offset", [0, 60, -570, 14 * 60])
def test_a_timestamp_with_a_zone_is_fetched_by_its_own_clock(
    rig: Rig, connection: oracledb.Connection, offset: int
) -> None:
    moment = Moment(2024, 2, 29, 23, 30, 0, 5000, offset)

    got = fetched(rig, connection, Column("C", Kind.TIMESTAMP_TZ), moment)

    # The driver drops the offset.
    assert got == clock(2024, 2, 29, 23, 30, 0, 5)


@pytest.mark.parametrize(
    ("zone", "minutes"), [("+02:00", 120), ("-09:30", -570), ("+00:00", 0), ("UTC", 0)]
)
def test_a_local_timestamp_travels_by_the_clock_of_the_session(
    rig: Rig, zone: str, minutes: int
) -> None:
    text = f"alter session set nls_date_format = 'x' time_zone = '{zone}'"
    rig.script[text] = affecting(0)
    value = clock(2024, 2, 29, 23, 30)
    utc = value - timedelta(minutes=minutes)
    with rig.connected() as connection:
        with connection.cursor() as cursor:
            cursor.execute(text)

        (_, _, got) = sent(rig, connection, value, oracledb.DB_TYPE_TIMESTAMP_LTZ)
        assert got == Moment(utc.year, utc.month, utc.day, utc.hour, utc.minute)
        assert fetched(rig, connection, Column("C", Kind.TIMESTAMP_LTZ), got) == value


def test_a_local_timestamp_in_the_zone_of_a_region_is_refused(rig: Rig) -> None:
    text = "alter session set time_zone = 'Europe/Berlin'"
    rig.script[text] = affecting(0)
    with rig.connected() as connection:
        with connection.cursor() as cursor:
            cursor.execute(text)
        with pytest.raises(oracledb.DatabaseError, match="ORA-03001"):
            echoed(connection, clock(2024, 1, 1), oracledb.DB_TYPE_TIMESTAMP_LTZ)
        assert echoed(connection, clock(2024, 1, 1)) == clock(2024, 1, 1)


def test_no_number_is_fetched_as_such(rig: Rig, connection: oracledb.Connection) -> None:
    for kind in (Kind.BINARY_FLOAT, Kind.BINARY_DOUBLE):
        assert math.isnan(fetched(rig, connection, Column("C", kind), math.nan))


# A round trip may have to wait for a busy machine.
over_the_wire = settings(deadline=None)

digits = st.from_regex(r"[1-9][0-9]{0,38}", fullmatch=True)
numbers = st.builds(
    lambda sign, digits, point: Decimal((sign, tuple(map(int, digits)), point - len(digits))),
    st.integers(0, 1),
    digits,
    st.integers(-128, 126),
)


@over_the_wire
@given(numbers)
def test_numbers_go_there_and_back_exactly(
    connection: oracledb.Connection, number: Decimal
) -> None:
    assert echoed(connection, number) == number


@over_the_wire
@given(st.floats(allow_nan=False))
def test_doubles_go_there_and_back(connection: oracledb.Connection, value: float) -> None:
    assert echoed(connection, value, oracledb.DB_TYPE_BINARY_DOUBLE) == value


@over_the_wire
@given(st.datetimes())
def test_timestamps_go_there_and_back(connection: oracledb.Connection, value: datetime) -> None:
    for kind in (
        oracledb.DB_TYPE_TIMESTAMP,
        oracledb.DB_TYPE_TIMESTAMP_TZ,
        oracledb.DB_TYPE_TIMESTAMP_LTZ,
    ):
        assert echoed(connection, value, kind) == value
    assert echoed(connection, value, oracledb.DB_TYPE_DATE) == value.replace(microsecond=0)


@over_the_wire
@given(st.timedeltas(timedelta(days=-999_999_999), timedelta(days=999_999_998)))
def test_intervals_of_days_go_there_and_back(
    connection: oracledb.Connection, value: timedelta
) -> None:
    assert echoed(connection, value) == value


@over_the_wire
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_text_goes_there_and_back(connection: oracledb.Connection, value: str) -> None:
    assert echoed(connection, value) == value
    assert echoed(connection, value, oracledb.DB_TYPE_NVARCHAR) == value


@over_the_wire
@given(st.binary(min_size=1, max_size=9000))
def test_bytes_go_there_and_back(connection: oracledb.Connection, value: bytes) -> None:
    assert echoed(connection, value) == value


def test_before_christ_is_more_than_the_driver_knows_and_not_wrong(
    rig: Rig, connection: oracledb.Connection
) -> None:
    with pytest.raises(ValueError, match="year"):
        fetched(rig, connection, Column("BC", Kind.DATE), Moment(-43, 3, 15))
    connection.ping()


@pytest.mark.parametrize(
    ("column", "described"),
    [
        (Column("A", Kind.NUMBER, 9, 0), (oracledb.DB_TYPE_NUMBER, None, 9, 0)),
        (Column("B", Kind.NUMBER, 12, 2, nullable=False), (oracledb.DB_TYPE_NUMBER, None, 12, 2)),
        (Column("C", Kind.NUMBER), (oracledb.DB_TYPE_NUMBER, None, 0, -127)),
        (Column("Größe", Kind.VARCHAR2, size=30), (oracledb.DB_TYPE_VARCHAR, 30, None, None)),
        (
            Column("N", Kind.VARCHAR2, size=30, national=True),
            (oracledb.DB_TYPE_NVARCHAR, 60, None, None),
        ),
        (Column("R", Kind.RAW, size=16), (oracledb.DB_TYPE_RAW, 16, None, None)),
        (Column("T", Kind.TIMESTAMP, scale=3), (oracledb.DB_TYPE_TIMESTAMP, None, 0, 3)),
    ],
)
def test_a_column_is_described(
    rig: Rig,
    connection: oracledb.Connection,
    column: Column,
    described: tuple[Any, int | None, int | None, int | None],
) -> None:
    text = f"select c from t{len(rig.script)}"
    rig.script[text] = table([column], [])
    with connection.cursor() as cursor:
        cursor.execute(text)
        (got,) = cursor.description

        assert (got.type_code, got.internal_size, got.precision, got.scale) == described
        assert (got.name, got.null_ok) == (column.name, column.nullable)
