"""Values that Oracle or PostgreSQL can't hold: an error by default, else what the policy says, and counted."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bowline_worker.contract import BadConfig, Unsupported
from bowline_worker.endpoints.oracle.policy import FIELDS
from bowline_worker.endpoints.oracle.types import (
    Answer,
    OracleColumn,
    Policy,
    Strange,
    Terms,
    ValueRefused,
)
from oracle.type_cases import TABLE, column, number, supported, text, utf8, utf16

ZONED = column("TIMESTAMP(6) WITH TIME ZONE")
FLOAT10 = column("FLOAT", data_precision=10)
STRANGE: list[tuple[OracleColumn, bytes, Strange, Any]] = [
    (text("VARCHAR2", 5), b"", Strange.EMPTY, " "),
    (text("NVARCHAR2", 5), b"", Strange.EMPTY, " "),
    (text("CHAR", 5), b"", Strange.EMPTY, " "),
    (column("LONG"), b"", Strange.EMPTY, " "),
    (column("RAW", data_length=4), b"\\x", Strange.EMPTY, b"\0"),
    (text("VARCHAR2", 5), b"sixsix", Strange.TOO_LONG, "sixsi"),
    (text("VARCHAR2", 5, "B"), "éééé".encode(), Strange.TOO_LONG, "éé"),
    (text("VARCHAR2", 5, per_character=1), "ééé".encode(), Strange.TOO_LONG, "éé"),
    (text("NVARCHAR2", 3, per_character=2), "a😀😀".encode(), Strange.TOO_LONG, "a😀"),
    (text("CHAR", 3), b"four", Strange.TOO_LONG, "fou"),
    (column("RAW", data_length=2), b"\\x010203", Strange.TOO_LONG, b"\1\2"),
    (number(4, 0), b"NaN", Strange.NOT_A_NUMBER, Decimal(0)),
    (number(4, 0), b"Infinity", Strange.INFINITE_NUMBER, Decimal(9999)),
    (number(4, 2), b"-Infinity", Strange.INFINITE_NUMBER, Decimal("-99.99")),
    (number(4, -2), b"Infinity", Strange.INFINITE_NUMBER, Decimal(999900)),
    (number(None, None), b"Infinity", Strange.INFINITE_NUMBER, Decimal("9" * 40 + "E86")),
    (FLOAT10, b"-Infinity", Strange.INFINITE_NUMBER, Decimal("-9999E122")),
    (column("DATE"), b"infinity", Strange.INFINITE_TIME, " 9999-12-31 23:59:59"),
    (column("DATE"), b"-infinity", Strange.INFINITE_TIME, "-4712-01-01 00:00:00"),
    (column("DATE"), b"10000-01-01 00:00:00", Strange.TOO_LATE, " 9999-12-31 23:59:59"),
    (column("DATE"), b"294276-12-31 23:59:59", Strange.TOO_LATE, " 9999-12-31 23:59:59"),
    (column("DATE"), b"4713-12-31 00:00:00 BC", Strange.TOO_EARLY, "-4712-01-01 00:00:00"),
    (ZONED, b"10000-01-01 00:00:00+00", Strange.TOO_LATE, " 9999-12-31 23:59:59.000000000 +00:00"),
]


def told(answers: dict[Strange, Answer] | None = None, **policy: Any) -> Terms:
    return Terms(policy=Policy(answers=answers or {}, **policy))


@pytest.mark.parametrize(("of", "value", "kind", "_replacement"), STRANGE)
def test_without_a_policy_it_is_an_error_that_says_what_to_set(
    of: OracleColumn, value: bytes, kind: Strange, _replacement: object
) -> None:
    terms = told()
    with pytest.raises(ValueRefused, match=r"^SHOP\.ITEM\.C: ") as refused:
        supported(of, terms).to_oracle(value)

    said = "change the value where it was written"
    assert refused.value.hint == said + (
        f", or set spec.values.{FIELDS[kind]}" if kind in FIELDS else ""
    )
    assert not terms.tally


@pytest.mark.parametrize(("of", "value", "kind", "replacement"), STRANGE)
def test_the_policy_changes_the_value_and_counts_it(
    of: OracleColumn, value: bytes, kind: Strange, replacement: object
) -> None:
    for answer, expected in ((Answer.NULL, None), (Answer.REPLACEMENT, replacement)):
        terms = told({kind: answer})
        found = [supported(of, terms).to_oracle(value) for _ in range(2)]

        assert found == [expected, expected]
        assert terms.tally == {(TABLE, "C", kind): 2}


@pytest.mark.parametrize(("of", "value", "kind", "replacement"), STRANGE)
def test_a_column_that_is_not_null_takes_a_replacement_and_no_null(
    of: OracleColumn, value: bytes, kind: Strange, replacement: object
) -> None:
    strict = replace(of, nullable=False)
    terms = told({kind: Answer.NULL})
    with pytest.raises(ValueRefused, match="takes no NULL"):
        supported(strict, terms).to_oracle(value)

    assert not terms.tally
    assert supported(strict, told({kind: Answer.REPLACEMENT})).to_oracle(value) == replacement


def test_the_replacements_are_the_policy_s() -> None:
    answers = dict.fromkeys((Strange.EMPTY, Strange.NOT_A_NUMBER), Answer.REPLACEMENT)
    terms = told(answers, empty_text="(empty)", not_a_number=Decimal("-1"))

    assert supported(text("VARCHAR2", 9), terms).to_oracle(b"") == "(empty)"
    assert supported(number(4, 0), terms).to_oracle(b"NaN") == Decimal(-1)


def test_a_replacement_that_the_column_can_t_hold_is_an_error() -> None:
    answers = dict.fromkeys(Strange, Answer.REPLACEMENT)
    terms = told(answers, not_a_number=Decimal("-99999"), empty_text="(empty)")

    with pytest.raises(ValueRefused, match=r"does not fit NUMBER\(4,0\)"):
        supported(number(4, 0), terms).to_oracle(b"NaN")
    with pytest.raises(ValueRefused, match="stands for '' by the policy"):
        supported(text("VARCHAR2", 5), terms).to_oracle(b"")
    with pytest.raises(ValueRefused, match="can't even take its beginning"):
        supported(text("VARCHAR2", 1, "B"), terms).to_oracle("é".encode())


@pytest.mark.parametrize("policy", [{"empty_text": ""}, {"nul_text": "\0"}])
def test_a_replacement_that_changes_nothing_is_refused_at_once(policy: dict[str, str]) -> None:
    with pytest.raises(BadConfig, match="must not be what it replaces"):
        told({}, **policy)


@pytest.mark.parametrize(
    ("of", "shown"),
    [
        (text("VARCHAR2", 5), b"ab"),
        (text("CHAR", 5), b"ab   "),
        (column("CLOB"), b"ab"),
        (column("LONG"), b"ab"),
    ],
)
def test_nul_in_oracle_s_text_is_an_error_or_goes_by_the_policy(
    of: OracleColumn, shown: bytes
) -> None:
    with pytest.raises(ValueRefused, match=r"holds U\+0000"):
        supported(of).from_driver("a\0b")

    terms = told({Strange.NUL: Answer.REPLACEMENT})
    kind = supported(of, terms)
    assert kind.from_driver("a\0b") == shown
    if not kind.needs_reselect:
        assert kind.from_redo("a\0b") == shown
    assert terms.tally[TABLE, "C", Strange.NUL] == 2 - kind.needs_reselect
    assert supported(of, told({Strange.NUL: Answer.NULL})).from_driver("a\0b") is None


def test_what_stands_for_nul_counts_as_length() -> None:
    terms = told({Strange.NUL: Answer.REPLACEMENT}, nul_text="\\0")

    with pytest.raises(ValueRefused, match="longer than the 3 characters"):
        supported(text("VARCHAR2", 3), terms).from_driver("a\0b")


BACK: list[tuple[OracleColumn, bytes, object]] = [
    (number(4, 0), b"9999", Decimal(9999)),
    (number(12, 2), b"-0.50", Decimal("-0.5")),
    (number(5, -2), b"1200", Decimal(1200)),
    (number(None, None), b"1.10", Decimal("1.1")),
    (column("BINARY_FLOAT"), b"1.1", 1.100000023841858),
    (column("BINARY_DOUBLE"), b"-Infinity", float("-inf")),
    (column("BINARY_DOUBLE"), b"1e-05", 1e-05),
    (column("DATE"), b"2024-02-29 23:59:58", " 2024-02-29 23:59:58"),
    (column("DATE"), b"0044-03-15 00:00:00 BC", "-0044-03-15 00:00:00"),
    (column("TIMESTAMP(6)"), b"2024-02-29 23:59:58.12", " 2024-02-29 23:59:58.120000000"),
    (ZONED, b"2024-02-29 23:59:58.12+00", " 2024-02-29 23:59:58.120000000 +00:00"),
    (column("INTERVAL YEAR(4) TO MONTH"), b"12 years 3 mons", "+0012-03"),
    (column("INTERVAL YEAR(2) TO MONTH"), b"-1 years -1 mons", "-01-01"),
    (column("INTERVAL YEAR(2) TO MONTH"), b"00:00:00", "+00-00"),
    (column("INTERVAL DAY(2) TO SECOND(6)"), b"30:00:00", "+01 06:00:00.000000"),
    (column("INTERVAL DAY(2) TO SECOND(6)"), b"1 day -02:00:00", "+00 22:00:00.000000"),
    (column("INTERVAL DAY(2) TO SECOND(6)"), b"-1 days +02:00:00", "-00 22:00:00.000000"),
    (column("INTERVAL DAY(3) TO SECOND(0)"), b"-00:00:01", "-000 00:00:01"),
    (text("VARCHAR2", 5), "éé".encode(), "éé"),
    (text("CHAR", 5), b"ab   ", "ab"),
    (text("CHAR", 5), b"     ", " "),
    (text("CHAR", 3, "B"), "é  ".encode(), "é"),
    (column("CLOB"), b"x" * 40_000, "x" * 40_000),
    (column("RAW", data_length=2), b"\\x00ff", b"\0\xff"),
    (column("BLOB"), b"\\x00", b"\0"),
    (column("ROWID"), b"AAAR3sAAEAAAACXAAA", "AAAR3sAAEAAAACXAAA"),
]


@pytest.mark.parametrize(("of", "value", "bound"), BACK)
def test_text_becomes_what_the_driver_binds(of: OracleColumn, value: bytes, bound: object) -> None:
    kind = supported(of)

    assert kind.to_oracle(value) == bound
    assert type(kind.to_oracle(value)) is type(bound)
    assert kind.to_oracle(None) is None


@pytest.mark.parametrize(
    ("of", "value", "why"),
    [
        (number(4, 0), b"12345", r"does not fit NUMBER\(4,0\): oracle would refuse or round it"),
        (number(4, 2), b"1.234", r"does not fit NUMBER\(4,2\)"),
        (number(4, 0), b"t", "known form"),
        (number(None, None), b"0." + b"1" * 41, "does not fit NUMBER"),
        (number(None, None), b"1" + b"0" * 126, "does not fit NUMBER"),
        (FLOAT10, b"1.2345", r"does not fit FLOAT\(10\)"),
        (column("BINARY_FLOAT"), b"1e+39", "beyond what a BINARY_FLOAT holds"),
        (column("BINARY_DOUBLE"), b"1e999", "beyond what a BINARY_DOUBLE holds"),
        (column("BINARY_DOUBLE"), b"0x10", "known form"),
        (column("DATE"), b"2024-02-29 23:59:58.5", "more than the 0 digits"),
        (column("DATE"), b"2024-02-29 23:59:58+00", "known form"),
        (column("DATE"), b"2023-02-29 00:00:00", "known form"),
        (column("DATE"), b"1582-10-10 00:00:00", "ten days of 1582"),
        (ZONED, b"2024-02-29 23:59:58", "known form"),
        (ZONED, b"2024-02-29 23:59:58+01", "known form"),
        (column("TIMESTAMP(3)"), b"2024-01-01 00:00:00.1234", "more than the 3 digits"),
        (column("INTERVAL YEAR(2) TO MONTH"), b"1 year 2 days", "has days or hours"),
        (column("INTERVAL YEAR(2) TO MONTH"), b"1 mon 00:00:01", "has days or hours"),
        (column("INTERVAL YEAR(2) TO MONTH"), b"100 years", "2 digits of its column's years"),
        (column("INTERVAL DAY(2) TO SECOND(6)"), b"1 mon 1 day", "has months"),
        (column("INTERVAL DAY(2) TO SECOND(6)"), b"100 days", "2 digits of its column's days"),
        (column("INTERVAL DAY(2) TO SECOND(6)"), b"infinity", "no finite interval"),
        (column("INTERVAL DAY(2) TO SECOND(6)"), b"", "no finite interval"),
        (column("INTERVAL DAY(2) TO SECOND(3)"), b"00:00:00.1234", "more than the 3 digits"),
        (column("RAW", data_length=2), b"00ff", "known form"),
        (column("RAW", data_length=2), b"\\x0", "known form"),
        (column("ROWID"), b"4711", "known form"),
    ],
)
def test_what_oracle_would_refuse_round_or_misread_is_an_error(
    of: OracleColumn, value: bytes, why: str
) -> None:
    everything = dict.fromkeys(Strange, Answer.REPLACEMENT)
    with pytest.raises(ValueRefused, match=rf"^SHOP\.ITEM\.C: .*{why}"):
        supported(of, told(everything)).to_oracle(value)


@pytest.mark.parametrize("data_type", ["BINARY_FLOAT", "BINARY_DOUBLE"])
def test_oracle_is_given_no_negative_zero(data_type: str) -> None:
    assert repr(supported(column(data_type)).to_oracle(b"-0")) == "0.0"


@pytest.mark.parametrize(("day", "exists"), [(4, True), (5, False), (14, False), (15, True)])
def test_the_days_that_oracle_takes_for_another_are_refused(day: int, exists: bool) -> None:
    kind, shown = supported(column("DATE")), f"1582-10-{day:02d} 12:00:00"

    if exists:
        assert kind.to_oracle(shown.encode()) == f" {shown}"
    else:
        with pytest.raises(ValueRefused, match="ten days of 1582"):
            kind.to_oracle(shown.encode())


@pytest.mark.parametrize(
    ("charset", "value", "fits"),
    [
        ("AL32UTF8", "éé€", False),
        ("WE8MSWIN1252", "éé€", True),
        ("AL32UTF8", "😀", True),
        ("UTF8", "😀", False),
    ],
)
def test_bytes_are_counted_in_the_database_s_character_set(
    charset: str, value: str, fits: bool
) -> None:
    kind = supported(text("VARCHAR2", 5, "B"), Terms(charset=charset))

    if fits:
        assert kind.to_oracle(value.encode()) == value
    else:
        with pytest.raises(ValueRefused, match="longer than the column"):
            kind.to_oracle(value.encode())


@pytest.mark.parametrize("of", [text("VARCHAR2", 5), text("CHAR", 5), column("CLOB")], ids=str)
def test_a_character_that_the_database_lacks_is_no_question_mark(of: OracleColumn) -> None:
    kind = supported(of, Terms(charset="WE8ISO8859P1"))

    with pytest.raises(ValueRefused, match="character set WE8ISO8859P1 lacks"):
        kind.to_oracle("€".encode())


def test_national_text_does_not_depend_on_the_database_s_character_set() -> None:
    terms = Terms(charset="US7ASCII")

    assert supported(text("NVARCHAR2", 5), terms).to_oracle("€".encode()) == "€"
    assert supported(column("NCLOB"), terms).to_oracle("€".encode()) == "€"


def test_a_character_set_that_we_can_t_measure_is_refused() -> None:
    with pytest.raises(Unsupported, match="JA16SJIS is not supported"):
        Terms(charset="JA16SJIS")


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(4, 12))
def test_as_much_of_a_long_text_as_fits_is_kept(value: str, length: int) -> None:
    terms = told({Strange.TOO_LONG: Answer.REPLACEMENT})
    for of, measure in (
        (text("VARCHAR2", length), len),
        (text("VARCHAR2", length, "B"), utf8),
        (text("NVARCHAR2", length, per_character=2), utf16),
    ):
        found = supported(of, terms).to_oracle(value.encode())

        assert isinstance(found, str)
        assert value.startswith(found)
        assert measure(found) <= length
        assert found == value or measure(value[: len(found) + 1]) > length
