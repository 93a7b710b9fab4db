"""The encodings of the wire by themselves: known bytes, and what holds for all values."""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.standin.backend import Kind, Moment, Months, OraError, Span
from oracle.standin.wire.buffers import Reader, Writer
from oracle.standin.wire.faults import Call, Faults, When
from oracle.standin.wire.numbers import (
    decode_binary,
    decode_number,
    encode_double,
    encode_float,
    encode_number,
)
from oracle.standin.wire.rowids import rowid_parts
from oracle.standin.wire.statements import Sort, read_statement
from oracle.standin.wire.temporals import (
    decode_moment,
    decode_months,
    decode_span,
    encode_date,
    encode_months,
    encode_span,
    encode_timestamp,
    encode_timestamp_tz,
)

# With 39 digits there are always at most 20 pairs; the range is 1e-130 to 1e126.
numbers = st.builds(
    lambda sign, digits, point: Decimal((sign, tuple(map(int, digits)), point - len(digits))),
    st.integers(0, 1),
    st.from_regex(r"[1-9][0-9]{0,38}", fullmatch=True),
    st.integers(-129, 126),
)

moments = st.builds(
    Moment,
    year=st.integers(-4710, 9998),
    month=st.integers(1, 12),
    day=st.integers(1, 28),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    second=st.integers(0, 59),
    nanos=st.integers(0, 999_999_999),
)
zoned = st.builds(
    lambda moment, offset: Moment(
        moment.year,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
        moment.nanos,
        offset,
    ),
    moments,
    st.integers(-15 * 60 - 59, 15 * 60 + 59),
)


@pytest.mark.parametrize(
    ("text", "dumped"),  # as DUMP shows them
    [
        ("0", [128]),
        ("1", [193, 2]),
        ("10", [193, 11]),
        ("100", [194, 2]),
        ("123", [194, 2, 24]),
        ("-123", [61, 100, 78, 102]),
        ("123.45", [194, 2, 24, 46]),
        ("0.01", [192, 2]),
        ("0.1", [192, 11]),
        ("-0", [128]),
        ("1E+125", [255, 11]),
        ("1E-130", [128, 2]),
    ],
)
def test_a_number_has_the_bytes_that_oracle_stores(text: str, dumped: list[int]) -> None:
    assert list(encode_number(Decimal(text))) == dumped
    assert decode_number(bytes(dumped)) == Decimal(text)


@given(numbers)
def test_every_number_comes_back_exactly(number: Decimal) -> None:
    assert decode_number(encode_number(number)) == number


@given(numbers, numbers)
def test_the_bytes_of_numbers_sort_as_they_do(one: Decimal, other: Decimal) -> None:
    assert (encode_number(one) < encode_number(other)) == (one < other)


def test_forty_digits_are_exact() -> None:
    number = Decimal("-1234567890123456789012345678901234567890")

    assert decode_number(encode_number(number)) == number
    assert len(encode_number(number)) == 21


@pytest.mark.parametrize("text", ["1E+126", "-1E+126", "1E-131", "1" * 41, "Infinity", "NaN"])
def test_what_is_no_number_of_oracle_is_an_error_and_never_rounded(text: str) -> None:
    with pytest.raises(OraError):
        encode_number(Decimal(text))


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_doubles_come_back_and_sort_by_their_bytes(one: float, other: float) -> None:
    assert decode_binary(encode_double(one)) == one
    if one != other:  # -0.0 has bytes of its own
        assert (encode_double(one) < encode_double(other)) == (one < other)


@given(st.floats(width=32, allow_nan=False))
def test_floats_come_back(value: float) -> None:
    assert decode_binary(encode_float(value)) == value


def test_no_number_stays_no_number_and_too_much_is_infinite() -> None:
    assert math.isnan(decode_binary(encode_double(math.nan)))
    assert math.isnan(decode_binary(encode_float(math.nan)))
    assert decode_binary(encode_float(-1e300)) == -math.inf


@pytest.mark.parametrize(
    ("moment", "dumped"),
    [
        (Moment(2003, 11, 15, 23, 59, 58), [120, 103, 11, 15, 24, 60, 59]),
        (Moment(1), [100, 101, 1, 1, 1, 1, 1]),
        (Moment(9999, 12, 31), [199, 199, 12, 31, 1, 1, 1]),
        (Moment(0, 2, 29), [100, 99, 2, 29, 1, 1, 1]),  # 1 BC, which Oracle calls -1
        (Moment(-4711), [53, 88, 1, 1, 1, 1, 1]),  # 4712 BC, the first
    ],
)
def test_a_date_has_the_bytes_that_oracle_stores(moment: Moment, dumped: list[int]) -> None:
    assert list(encode_date(moment)) == dumped
    assert decode_moment(bytes(dumped), Kind.DATE) == moment


@given(moments)
def test_every_timestamp_comes_back(moment: Moment) -> None:
    assert decode_moment(encode_timestamp(moment), Kind.TIMESTAMP) == moment
    assert len(encode_timestamp(moment)) == (11 if moment.nanos else 7)


@given(moments, moments)
def test_the_bytes_of_timestamps_sort_as_they_do(one: Moment, other: Moment) -> None:
    if one.year < 1 or other.year < 1:
        return  # Oracle's own bytes do not, before Christ
    assert (encode_timestamp(one) < encode_timestamp(other)) == (one < other)


@given(zoned)
def test_every_timestamp_with_a_zone_comes_back_by_its_own_clock(moment: Moment) -> None:
    assert decode_moment(encode_timestamp_tz(moment), Kind.TIMESTAMP_TZ) == moment


@pytest.mark.parametrize(
    ("moment", "utc"),
    [
        (Moment(2024, 1, 1, 0, 30, offset=60), Moment(2023, 12, 31, 23, 30)),
        (Moment(2024, 2, 28, 23, 30, offset=-60), Moment(2024, 2, 29, 0, 30)),
        (Moment(1900, 2, 28, 23, 30, offset=-60), Moment(1900, 3, 1, 0, 30)),
        (Moment(1500, 2, 28, 23, 30, offset=-60), Moment(1500, 2, 29, 0, 30)),  # a Julian year
        (Moment(2023, 12, 31, 20, 0, offset=-570), Moment(2024, 1, 1, 5, 30)),
    ],
)
def test_a_timestamp_with_a_zone_travels_in_utc(moment: Moment, utc: Moment) -> None:
    assert encode_timestamp_tz(moment)[:7] == encode_date(utc)


@given(st.integers(-(10**9) * 86_400 * 10**9, 10**9 * 86_400 * 10**9))
def test_every_interval_of_days_comes_back(nanos: int) -> None:
    assert decode_span(encode_span(Span(nanos))) == Span(nanos)


@given(st.integers(-(10**9) * 12, 10**9 * 12))
def test_every_interval_of_months_comes_back(months: int) -> None:
    assert decode_months(encode_months(Months(months))) == Months(months)


def test_a_year_that_oracle_does_not_have_is_an_error() -> None:
    with pytest.raises(OraError, match="ORA-01841"):
        encode_date(Moment(10000))


def test_a_rowid_is_four_numbers() -> None:
    assert rowid_parts("AAAAAAAAAAAAAAAAAA") == (0, 0, 0, 0)
    assert rowid_parts("AAAR3sAAEAAAACXAAB") == (73196, 4, 151, 1)
    with pytest.raises(OraError, match="ORA-01410"):
        rowid_parts("AAAR3sAAEAAAACXAA")


def in_packets(data: bytes, size: int) -> Reader:
    pieces = iter([data[at : at + size] for at in range(0, len(data), size)])
    return Reader(lambda: next(pieces))


@given(st.integers(-(2**63), 2**64 - 1), st.integers(1, 9))
def test_whole_numbers_are_read_over_packets(value: int, size: int) -> None:
    data = bytes(Writer().varint(value).data)

    assert in_packets(data, size).varint() == value


@pytest.mark.parametrize("length", [0, 1, 252, 253, 255, 32767, 32768, 100_000])
@pytest.mark.parametrize("size", [1, 251, 8182])
def test_bytes_of_any_length_are_read_over_packets(length: int, size: int) -> None:
    value = bytes(at % 251 for at in range(length))
    data = bytes(Writer().varbytes(value).sized(value).u8(7).data)
    reader = in_packets(data, size)

    assert (reader.varbytes(), reader.sized(), reader.u8()) == (value or None, value or None, 7)


@pytest.mark.parametrize(
    ("text", "sort", "names"),
    [
        ("select :a, :A from t", Sort.QUERY, ["A", "A"]),
        (" ( select 1 from t where x = :1)", Sort.QUERY, ["1"]),
        ("-- :x\nwith q as (select :y from t) select * from q", Sort.QUERY, ["Y"]),
        ("/* begin :x */ insert into t values (:1, ':2', :3)", Sort.DML, ["1", "3"]),
        ("update t set a = q'[it's :x]', b = nq'!:y!', c = :z", Sort.DML, ["Z"]),
        ('delete from t where ":no" = : "Mixed"', Sort.DML, ["Mixed"]),
        ("begin :x := f(:y, :X); end;", Sort.PLSQL, ["X", "Y"]),
        ("create trigger r before insert on t begin :new.a := 1; end;", Sort.DDL, []),
        ("lock table t in exclusive mode", Sort.OTHER, []),
        ("", Sort.OTHER, []),
    ],
)
def test_a_statement_is_read_as_the_driver_reads_it(
    text: str, sort: Sort, names: list[str]
) -> None:
    statement = read_statement(text)

    assert (statement.sort, list(statement.names)) == (sort, names)


@pytest.mark.parametrize(
    ("text", "returned"),
    [
        ("insert into t values (:1) returning a, b into :2, :3", 2),
        ("update t set a = :1 RETURN a + :2 INTO :3", 1),
        ("insert into t (select 'returning x into' from u where v = :1)", 0),
        ("merge into t using u on (t.a = :1) when matched then update set b = :2", 0),
        ("begin insert into t values (1) returning a into :x; end;", 0),
    ],
)
def test_binds_behind_returning_are_found(text: str, returned: int) -> None:
    assert read_statement(text).returned == returned


def test_a_planned_drop_counts_only_its_own_calls() -> None:
    faults = Faults()
    planned = faults.drop(Call.EXECUTE, When.AFTER, nth=2, containing="LANE")

    calls: list[tuple[Call, str]] = [
        (Call.EXECUTE, "update lane set a = 1"),
        (Call.COMMIT, ""),
        (Call.EXECUTE, "select 1 from dual"),
        (Call.EXECUTE, "update Lane set a = 2"),
        (Call.EXECUTE, "update lane set a = 3"),
    ]
    due: list[Any] = [faults.due(*call) for call in calls]

    assert due == [None, None, None, planned, None]


def test_of_two_drops_at_one_call_the_second_waits_for_the_next_such_call() -> None:
    faults = Faults()
    planned = [faults.drop(Call.COMMIT, When.AFTER) for _ in range(2)]

    due = [faults.due(call, "") for call in (Call.COMMIT, Call.PING, Call.COMMIT, Call.COMMIT)]

    assert due == [planned[0], None, planned[1], None]


def test_a_float_that_is_encoded_is_the_nearest_one() -> None:
    assert decode_binary(encode_float(0.1)) == struct.unpack(">f", struct.pack(">f", 0.1))[0]
