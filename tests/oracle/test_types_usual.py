"""Ordinary numbers and times take a short way: it gives what the long one gives, or leaves the value to it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bowline_worker.contract import Unsupported
from bowline_worker.endpoints.oracle import temporals
from bowline_worker.endpoints.oracle.kinds import OracleType
from bowline_worker.endpoints.oracle.numbers import Number
from oracle.type_cases import NUMBERS, TIMES, Case, column, number, supported

NUMERALS = st.one_of(
    st.from_regex(r"[-+]?[0-9]{0,24}(\.[0-9]{0,12})?([eE][-+]?[0-9]{1,2})?", fullmatch=True),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.text(st.sampled_from("-+.0159e ٣²½"), max_size=8),
)
CLOCKS = st.one_of(
    st.from_regex(
        r"[ -]?[0-9]{4}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{0,9})?( [-+]0[0-9]:[0-6]0)?",
        fullmatch=True,
    ),
    st.builds(
        " {:04d}-{:02d}-{:02d} 23:59:58{}{}".format,
        st.integers(0, 9999), st.integers(0, 13), st.integers(0, 32),
        st.sampled_from(["", ".", ".5", ".500000000", ".000000001", ".123456789", ".0"]),
        st.sampled_from(["", " +00:00", " -00:00", " +05:30", " +00:00 +00:00"]),
    ),
    st.text(st.sampled_from(" -:.T0129W٣"), max_size=22),
)  # fmt: skip


def told(kind: OracleType, value: object) -> object:
    """The text, or that there is none."""
    try:
        return kind.from_driver(value)
    except Unsupported as error:
        return str(error)


@pytest.mark.parametrize("case", NUMBERS, ids=str)
@settings(max_examples=150, deadline=None)
@given(text=NUMERALS)
@example("-0")
@example("0.0")
@example("12.")
@example("-12")
@example("99.995")
def test_a_number_has_the_text_that_taking_it_apart_gives(case: Case, text: str) -> None:
    kind = supported(case.column)
    found = told(kind, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Number, "_plain", lambda *_: None)
        assert found == told(kind, text)


@pytest.mark.parametrize("case", NUMBERS, ids=str)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_stored_number_has_one_text_however_it_is_written(
    case: Case, data: st.DataObject
) -> None:
    stored = data.draw(case.stored)
    kind = supported(case.column)
    found = told(kind, stored)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Number, "_plain", lambda *_: None)
        assert {told(kind, each) for each in (stored, str(stored), format(stored, "f"))} == {found}


@pytest.mark.parametrize("case", TIMES, ids=str)
@settings(max_examples=200, deadline=None)
@given(text=CLOCKS)
@example(" 1582-10-10 00:00:00")
@example(" 1500-02-29 00:00:00")
@example(" 0000-01-01 00:00:00")
@example(" 2024-W01-1 00:00:00")
def test_a_time_has_the_text_that_reading_it_gives(case: Case, text: str) -> None:
    kind = supported(case.column)
    found = told(kind, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(temporals, "usual_text", lambda *_: None)
        assert found == told(kind, text)


def test_ordinary_values_do_take_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the tests above compare the long way with itself."""
    monkeypatch.setattr("bowline_worker.endpoints.oracle.numbers.read_digits", None)
    monkeypatch.setattr(temporals, "read_oracle", None)

    assert supported(number(9, 0)).from_driver(Decimal(-1234)) == b"-1234"
    assert supported(number(12, 2)).from_driver(Decimal("12.5")) == b"12.50"
    assert supported(number(12, 2)).from_driver(Decimal(12)) == b"12.00"
    assert supported(number(None, None)).from_driver(Decimal(10**20)) == b"1" + b"0" * 20
    zoned = supported(column("TIMESTAMP(6) WITH TIME ZONE"))
    day = " 2024-02-29 23:59:58"
    assert supported(column("DATE")).from_driver(day) == day.strip().encode()
    assert zoned.from_driver(f"{day}.500000000 +00:00") == b"2024-02-29 23:59:58.5+00"
