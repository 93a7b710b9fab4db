"""SQL_REDO is read to the letter: what LogMiner prints comes out as what it means, all else is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle import redo, redo_grammar
from bowline_worker.endpoints.oracle.redo import (
    Hex,
    IntervalDs,
    IntervalYm,
    Mark,
    Operation,
    Redo,
    RedoError,
    RedoValue,
    Timestamp,
    TimestampLtz,
    TimestampTz,
    parse,
)
from bowline_worker.redo_filter import as_json

#: In the order of LogMiner's samples: a whole statement, or a value which may stand anywhere in one.
SAMPLES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "fixtures" / "redo_samples.json").read_text(encoding="utf-8")
)
ROWID = "AAAR3sAAEAAAACXAAA"
AROUND_VALUES = {
    "alone": ('insert into "S"."T"("V") values (', ");", "set"),
    "listed": ("""insert into "S"."T"("A","V","B") values ('x',""", ",NULL)", "set"),
    "new": ('update "S"."T" set "V" = ', """ where "A" = 'x';""", "set"),
    "known": ("""update "S"."T" set "A" = 'x' where "V" = """, ' and "B" IS NULL;', "where"),
    "last": ("""delete from "S"."T" where "A" = 'x' and "V" = """, "", "where"),
}


def named(sample: dict[str, Any]) -> str:
    return f"{sample['sample']}"


@pytest.fixture(autouse=True)
def _nothing_seen_before() -> None:
    """A test must not stand on shapes that another one has read."""
    redo._shapes.clear()
    redo_grammar._insert_heads.clear()


@pytest.mark.parametrize(
    "sample", [each for each in SAMPLES if {"statement", "is"} <= each.keys()], ids=named
)
def test_a_statement_of_logminer_means_what_it_says(sample: dict[str, Any]) -> None:
    for _ in ("read", "filled"):  # the second time the statement's shape is known
        found = parse(sample["statement"], relaxed_quotes=sample.get("relaxed", False))

        assert as_json(found) == sample["is"]


@pytest.mark.parametrize(
    "sample", [each for each in SAMPLES if {"statement", "refused"} <= each.keys()], ids=named
)
def test_what_is_no_change_of_a_row_is_refused_by_its_name(sample: dict[str, Any]) -> None:
    with pytest.raises(RedoError) as refused:
        parse(sample["statement"])

    assert sample["refused"] in str(refused.value)
    assert refused.value.offset == sample["at"]


@pytest.mark.parametrize("place", AROUND_VALUES)
@pytest.mark.parametrize("relaxed", [False, True], ids=["strict", "relaxed"])
@pytest.mark.parametrize(
    "sample", [each for each in SAMPLES if {"value", "is"} <= each.keys()], ids=named
)
def test_a_value_means_the_same_wherever_it_stands(
    sample: dict[str, Any], relaxed: bool, place: str
) -> None:
    before, behind, part = AROUND_VALUES[place]

    for _ in ("read", "filled"):
        found: dict[str, Any] = as_json(
            parse(f"{before}{sample['value']}{behind}", relaxed_quotes=relaxed)
        )

        assert found[part]["V"] == sample["is"]


@pytest.mark.parametrize("place", AROUND_VALUES)
@pytest.mark.parametrize(
    "sample", [each for each in SAMPLES if {"value", "refused"} <= each.keys()], ids=named
)
def test_a_value_that_lost_digits_is_refused_where_it_stands(
    sample: dict[str, Any], place: str
) -> None:
    before, behind, _ = AROUND_VALUES[place]

    with pytest.raises(RedoError) as refused:
        parse(f"{before}{sample['value']}{behind}")

    assert sample["refused"] in str(refused.value)
    assert refused.value.offset == len(before) + sample["at"]


def test_all_samples_are_here() -> None:
    assert sorted({each["sample"] for each in SAMPLES}) == list(range(1, 54))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("TO_DATE('-4712-01-01 00:00:00', 'SYYYY-MM-DD HH24:MI:SS')", "-4712-01-01T00:00:00"),
        ("TO_DATE(' 2024-02-29 23:59:58', 'SYYYY-MM-DD HH24:MI:SS')", "2024-02-29T23:59:58"),
        ("TO_DATE('1500-02-29 00:00:00','YYYY-MM-DD HH24:MI:SS')", "1500-02-29T00:00:00"),
        ("TO_TIMESTAMP('2024-02-29 23:59:58')", "2024-02-29T23:59:58"),
        ("TO_TIMESTAMP('-0044-03-15 12:00:00.5')", "-0044-03-15T12:00:00.5"),
    ],
)
def test_all_of_oracles_calendar_is_kept(value: str, expected: str) -> None:
    assert inserted(value) == Timestamp(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "TO_TIMESTAMP_TZ('2024-02-29 23:59:58. +00:00')",
            TimestampTz("2024-02-29T23:59:58+00:00"),
        ),
        (
            "TO_TIMESTAMP_TZ('-0044-03-15 12:00:00.5 +14:00')",
            TimestampTz("-0044-03-15T12:00:00.5+14:00"),
        ),
        ("TO_TIMESTAMP_TZ('2024-02-29 23:59:58.')", TimestampLtz("2024-02-29T23:59:58")),
        ("HEXTORAW('')", Hex(b"")),
        ("HEXTORAW('CAFE')", Hex(b"\xca\xfe")),
        ("LM_EMPTY_STRING", Mark.EMPTY_STRING),
        ("''", ""),
        (":1", Mark.BIND),
        (":D", Mark.BIND),
        ("XMLType(:1)", Mark.BIND),
        ("BFILENAME('DIR', 'f.txt')", Mark.UNSUPPORTED),
        ("'a' || UNISTR('\\00e9') || 'it''s'", "aéit's"),
        ("UNISTR('\\D83D')||UNISTR('\\DE00')", "\N{GRINNING FACE}"),
        ("UNISTR('\\0027\\0027')", "''"),
        ("UNISTR('\\\\D83D''')", "\\D83D'"),
        ("TO_DSINTERVAL('0 00:00:00.')", IntervalDs("0 00:00:00.")),
        ("'\0'", "\0"),
        ("'''\0'''", "'\0'"),
        ("1e5", "1e5"),
        ("-.5", "-.5"),
    ],
)
def test_other_values_mean(value: str, expected: RedoValue) -> None:
    assert inserted(value) == expected
    assert inserted(value) == expected


def inserted(value: str) -> RedoValue:
    return parse(f'insert into "S"."T"("V") values ({value});').set["V"]


#: Where the error is, in the statements below.
HERE = "»"


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("»", "insert, update or delete, found nothing"),
        ("»INSERT INTO x", "insert, update or delete, found something else"),
        ("insert into »S.T(A)", "the table's owner in double quotes"),
        ('insert into "T"»("A")', "expected ."),
        ('insert into »""."T"("A")', "the table's owner"),
        ('insert into "S"."T"»', "expected ( before the end"),
        ('insert into "S"."T"(»)', "a column in double quotes"),
        ('insert into "S"."T"("A",»"A") values (NULL,NULL)', "column A once"),
        ('insert into "S"."T"("A" »"B")', "a comma or )"),
        ('insert into "S"."T"("A")»(NULL)', "expected values"),
        ('insert into "S"."T"("A") values (»)', "a value"),
        ('insert into "S"."T"("A") values (NULL»', "a comma or ) before the end"),
        ('insert into "S"."T"("A") values (NULL»S)', "a comma or )"),
        ("""insert into "S"."T"("A") values ('x' »'y')""", "a comma or )"),
        ("""insert into "S"."T"("A") values ('x','y'»)""", "1 values, found 2"),
        ("""insert into "S"."T"("A","B") values ('x'»)""", "2 values, found 1"),
        ("""insert into "S"."T"("A") values ('x',»)""", "a value"),
        ("""insert into "S"."T"("A") values (»'x)""", "a quote that ends the literal"),
        ("""insert into "S"."T"("A") values (»'x'''')""", "a quote that ends the literal"),
        ("""insert into "S"."T"("A") values ('x')»;;""", "to go on or to end"),
        ("""insert into "S"."T"("A") values ('x') »where "A" = 'x'""", "to go on or to end"),
        ("""insert into "S"."T"("A") values ('x' ||»)""", "a value"),
        ("""insert into "S"."T"("A") values ('x' »| 'y')""", "a comma or )"),
        ("""insert into "S"."T"("A") values ('x' || NULL»)""", "text on both sides of ||"),
        ("""insert into "S"."T"("A") values (1 || 'x'»)""", "text on both sides of ||"),
        ("""insert into "S"."T"("A") values (»TO_NUMBER('1'))""", "a value"),
        ("""insert into "S"."T"("A") values (»to_date('1'))""", "a value"),
        ("""insert into "S"."T"("A") values (HEXTORAW(»))""", "a literal"),
        ("""insert into "S"."T"("A") values (HEXTORAW(»'0'))""", "pairs of hexadecimal digits"),
        ("""insert into "S"."T"("A") values (HEXTORAW(»'0 0 '))""", "pairs of hexadecimal digits"),
        ("""insert into "S"."T"("A") values (HEXTORAW('00')»""", "a comma or ) before the end"),
        ("""insert into "S"."T"("A") values (HEXTORAW('00'», '00'))""", "expected )"),
        ("""insert into "S"."T"("A") values (TO_DATE('2024-02-29 23:59:58'»))""", "expected ,"),
        ("""insert into "S"."T"("A") values (»EMPTY_CLOB)""", "a value"),
        ("""insert into "S"."T"("A") values (XMLType(»'x'))""", "a bind variable"),
        ("""insert into "S"."T"("A") values (:»)""", "the name of a bind variable"),
        ("""insert into "S"."T"("A") values (/* JSON */ »'x')""", "a value"),
        ("""insert into "S"."T"("A") values (»1-3)""", "a number"),
        ("""insert into "S"."T"("A") values (UNISTR(»'\\00g9'))""", "four hexadecimal digits"),
        ("""insert into "S"."T"("A") values (UNISTR(»'\\+0e9'))""", "four hexadecimal digits"),
        ("""insert into "S"."T"("A") values (UNISTR(»'\\'))""", "four hexadecimal digits"),
        ("""insert into "S"."T"("A") values (UNISTR(»'\\D83D'))""", "both halves"),
        ("""insert into "S"."T"("A") values (UNISTR(»'\\DE00\\D83D'))""", "both halves"),
        ('update "S"."T" set "A"»', "expected = before the end"),
        ('update "S"."T" set "A" »IS NULL', "expected ="),
        ('update "S"."T" set "A" = »', "a value before the end"),
        ("""update "S"."T" set "A" = 'x',»""", "a column in double quotes"),
        ("""update "S"."T" set "A" = 'x', »"A" = 'y'""", "column A once"),
        ("""update "S"."T" set "A" = 'x' »"B" = 'y'""", "to go on or to end"),
        (f"""update "S"."T" set »ROWID = '{ROWID}'""", "a column in double quotes"),
        ("""update "S"."T" set »b."A" = 'x'""", "a column in double quotes"),
        ('update "S"."T" »b set "A" = NULL', "expected set"),
        ('delete from "S"."T" where »', "a column in double quotes before the end"),
        ('delete from "S"."T" where "A"»', "= or IS NULL"),
        ('delete from "S"."T" where "A" »IS NOT NULL', "= or IS NULL"),
        (
            """delete from "S"."T" where "A" = 'x' and»""",
            "a column in double quotes before the end",
        ),
        ("""delete from "S"."T" where "A" = 'x' »or "B" = 'y'""", "to go on or to end"),
        ("""delete from "S"."T" where "A" = 'x' and »"A" = 'x'""", "column A once"),
        ("""delete from "S"."T" where "A" IS NULL»and "B" = 'x'""", "to go on or to end"),
        ("""delete from "S"."T" where ROWID = »'AAA'""", "a ROWID of 18"),
        (f"""delete from "S"."T" where ROWID = »'{ROWID[:-1]}-'""", "a ROWID of 18"),
        (
            f"""delete from "S"."T" where ROWID = '{ROWID}' and »ROWID = '{ROWID}'""",
            "a column in double quotes",
        ),
        ('delete from "S"."T" where ROWID »IS NULL', "expected ="),
    ],
)
def test_what_is_not_of_the_grammar_is_refused_where_it_is(marked: str, expected: str) -> None:
    with pytest.raises(RedoError) as refused:
        parse(marked.replace(HERE, ""))

    assert expected in str(refused.value)
    assert refused.value.offset == marked.index(HERE)


@pytest.mark.parametrize(
    "value",
    [
        "TO_DATE('2024-02-29', 'YYYY-MM-DD HH24:MI:SS')",
        "TO_DATE('2024-02-29 23:59:58.5', 'YYYY-MM-DD HH24:MI:SS')",
        "TO_DATE('2024-13-01 00:00:00', 'YYYY-MM-DD HH24:MI:SS')",
        "TO_DATE('2024-00-01 00:00:00', 'YYYY-MM-DD HH24:MI:SS')",
        "TO_DATE('2024-01-32 00:00:00', 'YYYY-MM-DD HH24:MI:SS')",
        "TO_DATE('2024-01-01 24:00:00', 'YYYY-MM-DD HH24:MI:SS')",
        "TO_DATE('2024-01-01 00:60:00', 'YYYY-MM-DD HH24:MI:SS')",
        "TO_DATE('2024-01-01 00:00:60', 'YYYY-MM-DD HH24:MI:SS')",
        "TO_DATE('24-01-01 00:00:00', 'YYYY-MM-DD HH24:MI:SS')",
        "TO_DATE('--4712-01-01 00:00:00', 'YYYY-MM-DD HH24:MI:SS')",
        "TO_DATE('', 'YYYY-MM-DD HH24:MI:SS')",
        "TO_DATE('01/02/2024 00:00:00', 'MM/DD/YYYY HH24:MI:SS')",
        "TO_TIMESTAMP('2024-02-29T23:59:58')",
        "TO_TIMESTAMP('2024-02-29 23:59:58.1234567890')",
        "TO_TIMESTAMP('2024-02-29 23:59:58,5')",
        "TO_TIMESTAMP('2024-02-29 23:59:58 +00:00')",
        "TO_TIMESTAMP('\u0662\u0660\u0662\u0664-02-29 23:59:58')",
        "TO_TIMESTAMP_TZ('2024-02-29 23:59:58.5 Europe/Berlin')",
        "TO_TIMESTAMP_TZ('2024-02-29 23:59:58.5 +3:30')",
        "TO_TIMESTAMP_TZ('2024-02-29 23:59:58.5 +16:00')",
        "TO_TIMESTAMP_TZ('2024-02-29 23:59:58.5 ')",
        "TO_YMINTERVAL('12')",
        "TO_YMINTERVAL('+12-12')",
        "TO_DSINTERVAL('+5')",
        "TO_DSINTERVAL('+5 24:00:00')",
        "TO_DSINTERVAL('5 days')",
    ],
)
def test_a_moment_of_another_format_is_refused_and_not_told(value: str) -> None:
    with pytest.raises(RedoError) as refused:
        inserted(value)

    assert refused.value.offset == len('insert into "S"."T"("V") values (') + value.index("'")
    assert value.split("'")[1] not in str(refused.value) or value.split("'")[1] == ""


def test_an_error_that_nobody_handles_stops_the_worker_for_good() -> None:
    assert issubclass(RedoError, Unsafe)


def test_a_word_in_an_identifier_is_no_keyword() -> None:
    sql = (
        """update "S set "."T where " set " = " = 'a', "x) values (" = 'b' where " and " IS NULL"""
    )

    expected = Redo(
        Operation.UPDATE,
        "S set ",
        "T where ",
        {" = ": "a", "x) values (": "b"},
        {" and ": None},
        None,
    )
    assert parse(sql) == expected
    assert parse(sql) == expected


def test_one_shape_serves_many_statements_and_none_that_is_another() -> None:
    """What is kept of a statement is compared as a whole: nothing of its literals is in it."""
    parse("""insert into "S"."T"("A","B") values ('1','x');""")
    parse("""insert into "S"."T"("A","B") values ('2','it''s');""")
    parse("""insert into "S"."T"("A","B") values ('3','');""")

    assert len(redo._shapes) == 1
    assert parse("""insert into "S"."T"("A","B") values ('4','''');""").set == {"A": "4", "B": "'"}
    assert parse("""insert into "S"."T"("B","A") values ('5','y');""").set == {"A": "y", "B": "5"}


def test_a_quote_in_an_identifier_takes_no_other_tables_shape() -> None:
    """A doubled quote is hidden behind a sign while statements are split; names may have both."""
    for name in ("O\0N", "O''N", "O'N", "O'N'", "ON"):
        for value in ("x", "it''s", "''"):
            found = parse(f"""delete from "S"."{name}" where "A" = '{value}';""")

            assert (found.table, found.where) == (name, {"A": value.replace("''", "'")})


@pytest.mark.parametrize("tail", ["", " ", "x", " values", " value (NULL)", "values (NULL)"])
def test_a_head_that_is_known_needs_its_values_all_the_same(tail: str) -> None:
    head = 'insert into "S"."T"("A")'
    parse(f"{head} values (NULL)")

    with pytest.raises(RedoError) as refused:
        parse(head + tail)

    assert refused.value.offset >= len(head)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redo, "SHAPES_KEPT", 10)
    monkeypatch.setattr(redo_grammar, "HEADS_KEPT", 5)
    for number in range(100):
        parse(f'insert into "S"."T{number}"("A") values (NULL)')

        assert len(redo._shapes) <= 10
        assert len(redo_grammar._insert_heads) <= 5


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            """update "S"."T" set "D" = 'it's', "E" = NULL where "A" = '1';""",
            {"D": "it's", "E": None},
        ),
        ("""update "S"."T" set "D" = 'it's' where "A" = '1'""", {"D": "it's"}),
        ("""update "S"."T" set "D" = 'it's'""", {"D": "it's"}),
        ("""update "S"."T" set "D" = 'it's', "E" = 'it''s'; """, {"D": "it's", "E": "it's"}),
        (
            """update "S"."T" a set a."D" = 'it's', a."E" = 'x' where a."A" = '1'""",
            {"D": "it's", "E": "x"},
        ),
        ("""update "S"."T" set "D" = 'a', b', "E" = 'x';""", {"D": "a', b", "E": "x"}),
        ("""insert into "S"."T"("D","E") values ('it's','x')""", {"D": "it's", "E": "x"}),
        (
            """insert into "S"."T"("D","E") values (NULL,'l'eau (d'ici)');""",
            {"D": None, "E": "l'eau (d'ici)"},
        ),
        (
            """insert into "S"."T"("D","E") values ('(l'a') b','x')""",
            {"D": "(l'a') b", "E": "x"},
        ),
        (
            """insert into "S"."T"("D","E") values ('l'a',HEXTORAW('00'));""",
            {"D": "l'a", "E": Hex(b"\0")},
        ),
        ("""insert into "S"."T"("D","E") values ('l'a',1);""", {"D": "l'a", "E": "1"}),
    ],
)
def test_quotes_that_are_not_doubled_are_read_when_asked_for(
    sql: str, expected: dict[str, RedoValue]
) -> None:
    assert parse(sql, relaxed_quotes=True).set == expected
    with pytest.raises(RedoError):
        parse(sql)


def test_relaxed_quotes_still_find_the_row() -> None:
    sql = f"""delete from "S"."T" where "D" = 'it's' and ROWID = '{ROWID}';"""

    assert parse(sql, relaxed_quotes=True) == Redo(
        Operation.DELETE, "S", "T", {}, {"D": "it's"}, ROWID
    )


def test_a_raw_text_that_looks_like_two_values_is_refused() -> None:
    sql = """insert into "S"."T"("D","E") values ('it's','x','y');"""

    with pytest.raises(RedoError, match="2 values, found 3"):
        parse(sql, relaxed_quotes=True)


# Properties. A statement is rendered as LogMiner does it; the spacing is LogMiner's, or another that means the same.

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text(
    "'\\|(),;\" =\0aé", max_size=8
)
identifiers = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters='"'), min_size=1, max_size=8
).filter(lambda name: name != "ORA_ARCHIVE_STATE")
two_digits = st.integers(1, 12).map("{:02}".format)
moments = st.builds(
    "{}{:04}-{}-{} {}:{}:{}{}".format,
    st.sampled_from(["", "-"]),
    st.integers(0, 9999),
    *[two_digits] * 5,
    st.sampled_from(["", ".5", ".123456789"]),
)
values: st.SearchStrategy[RedoValue] = (
    texts
    | st.none()
    | st.sampled_from([mark for mark in Mark if mark is not Mark.BIND])
    | st.binary(max_size=4).map(Hex)
    | moments.map(lambda text: Timestamp(text.replace(" ", "T")))
    | moments.map(lambda text: TimestampTz(text.replace(" ", "T") + "-03:30"))
    | moments.map(lambda text: TimestampLtz(text.replace(" ", "T")))
    | st.builds(
        "{}{}-{}".format, st.sampled_from("+-"), st.integers(0, 99), two_digits.filter("12".__ne__)
    ).map(IntervalYm)
    | st.builds("-{} 0{}:04:05".format, st.integers(0, 999), st.integers(0, 9)).map(IntervalDs)
)
rows = st.dictionaries(identifiers, values, max_size=5)
full_rows = st.dictionaries(identifiers, values, min_size=1, max_size=5)
rowids = st.none() | st.text("AZaz09+/", min_size=18, max_size=18)
statements = st.one_of(
    st.builds(
        Redo, st.just(Operation.INSERT), identifiers, identifiers, full_rows, st.just({}), st.none()
    ),
    st.builds(Redo, st.just(Operation.UPDATE), identifiers, identifiers, full_rows, rows, rowids),
    st.builds(Redo, st.just(Operation.DELETE), identifiers, identifiers, st.just({}), rows, rowids),
)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def unistr(text: str) -> str:
    units = text.encode("utf-16-be")
    escaped = "".join(f"\\{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    return f"UNISTR('{escaped}')"


def printed(value: RedoValue) -> str:
    match value:
        case None:
            return "NULL"
        case str(text):
            return quoted(text)
        case Hex(data):
            return f"HEXTORAW('{data.hex()}')"
        case Timestamp(text):
            return f"TO_TIMESTAMP('{text.replace('T', ' ')}')"
        case TimestampTz(text):
            return f"TO_TIMESTAMP_TZ('{text[:-6].replace('T', ' ')} {text[-6:]}')"
        case TimestampLtz(text):
            return f"TO_TIMESTAMP_TZ('{text.replace('T', ' ')}')"
        case IntervalYm(text):
            return f"TO_YMINTERVAL('{text}')"
        case IntervalDs(text):
            return f"TO_DSINTERVAL('{text}')"
        case Mark.EMPTY_CLOB | Mark.EMPTY_BLOB:
            return f"{value.name}()"
        case Mark.EMPTY_STRING:
            return "LM_EMPTY_STRING"
        case _:
            return "Unsupported Type"


def rendered(statement: Redo) -> str:
    name = f'"{statement.owner}"."{statement.table}"'
    known = [
        f'"{column}" IS NULL' if value is None else f'"{column}" = {printed(value)}'
        for column, value in statement.where.items()
    ]
    if statement.rowid is not None:
        known.append(f"ROWID = '{statement.rowid}'")
    where = " where " + " and ".join(known) if known else ""
    if statement.operation is Operation.INSERT:
        columns = ",".join(f'"{column}"' for column in statement.set)
        return f"insert into {name}({columns}) values ({','.join(map(printed, statement.set.values()))});"
    if statement.operation is Operation.UPDATE:
        new = ", ".join(f'"{column}" = {printed(value)}' for column, value in statement.set.items())
        return f"update {name} set {new}{where};"
    return f"delete from {name}{where};"


@given(statements, statements)
def test_what_is_printed_is_read_back(first: Redo, second: Redo) -> None:
    for statement in (first, second, first):
        assert parse(rendered(statement)) == statement
        assert parse(rendered(statement).removesuffix(";")) == statement


@given(statements)
def test_relaxed_quotes_change_nothing_that_is_well_formed(statement: Redo) -> None:
    assert parse(rendered(statement), relaxed_quotes=True) == statement


@given(full_rows, st.lists(values, min_size=5, max_size=5))
def test_a_shape_that_was_read_once_fits_other_values(
    row: dict[str, RedoValue], others: list[RedoValue]
) -> None:
    """The same columns with values of the same kinds, and with others: never a value of the first statement."""
    second = dict(zip(row, others, strict=False))
    for each in (row, second, row):
        statement = Redo(Operation.INSERT, "S", "T", each, {}, None)

        assert parse(rendered(statement)) == statement


@given(texts, st.integers(0, 12))
def test_a_text_in_pieces_is_one_text(text: str, cut: int) -> None:
    units = text.encode("utf-16-be")
    cut = min(2 * cut, len(units))  # between the halves of a pair, too
    left, right = (units[:cut], units[cut:])
    pieces = [
        "UNISTR('" + "".join(f"\\{part[at : at + 2].hex()}" for at in range(0, len(part), 2)) + "')"
        for part in (left, right)
    ]

    assert inserted(" || ".join(pieces)) == text
    assert inserted(f"{quoted(text)}||{unistr(text)}") == text * 2


@given(statements, st.data())
def test_a_statement_that_was_cut_is_no_statement(statement: Redo, data: st.DataObject) -> None:
    """Only cuts at the end of a clause leave a statement, and then nothing is in it that was not.

    Within a doubled quote nothing would tell: pieces (CSF) are joined before they are read.
    """
    sql = rendered(statement)
    cut = data.draw(st.integers(0, len(sql) - 2))
    assume(sql[max(cut - 1, 0) : cut + 1] != "''")
    parse(sql)

    try:
        found = parse(sql[:cut])
    except RedoError:
        return
    assert statement.operation is not Operation.INSERT
    assert found[:3] == statement[:3]
    assert found.set.items() <= statement.set.items()
    assert found.where.items() <= statement.where.items()
    assert found.rowid in (None, statement.rowid)


@given(statements, st.data())
def test_a_stray_character_gives_no_other_columns(statement: Redo, data: st.DataObject) -> None:
    """Outside of quotes, a character that is no part of the grammar is always found."""
    sql = rendered(statement)
    at = data.draw(st.sampled_from(places_outside(sql)))
    parse(sql)

    with pytest.raises(RedoError):
        parse(sql[:at] + data.draw(st.sampled_from("#%&?[]{}x~é\0")) + sql[at:])


def places_outside(sql: str) -> list[int]:
    """The places of a well-formed statement where a character would be in no literal and no identifier."""
    places, quote = [], ""
    for at, character in enumerate(sql):
        if not quote:
            places.append(at)
        if character in "'\"" and quote in ("", character):
            quote = "" if quote else character
    return places


@given(statements, st.data())
def test_a_stray_character_anywhere_changes_at_most_a_value_or_a_name(
    statement: Redo, data: st.DataObject
) -> None:
    sql = rendered(statement)
    at = data.draw(st.integers(0, len(sql)))
    stray = data.draw(st.sampled_from("x#\0é"))
    parse(sql)
    try:
        found = parse(sql[:at] + stray + sql[at:])
    except RedoError:
        return

    assert found.operation is statement.operation
    assert (len(found.set), len(found.where)) == (len(statement.set), len(statement.where))
    names = [[each.owner, each.table, *each.set, *each.where] for each in (found, statement)]
    assert sum(new != old for new, old in zip(*names, strict=True)) <= 1


words = st.sampled_from(
    [
        *(
            "insert into ",
            "update ",
            "delete from ",
            " values (",
            " set ",
            " where ",
            " and ",
            " a",
        ),
        *(
            '"S"',
            '"T"',
            '"',
            ".",
            "(",
            ")",
            ",",
            ";",
            " = ",
            " IS NULL",
            "'",
            "''",
            "||",
            " ",
            "\0",
        ),
        *("NULL", "HEXTORAW(", "UNISTR(", "TO_DATE(", "TO_TIMESTAMP(", "TO_TIMESTAMP_TZ(", "'x'"),
        *("Unsupported", "/* JSON */ ", "XMLType(:1)", ":", "-", "1", "E", "\\", "\\D83D", "ROWID"),
        *("\ud83d", "'\ud83d'", "é", "ORA_ARCHIVE_STATE", "TO_YMINTERVAL('", "TO_DSINTERVAL('"),
    ]
)


@given(st.lists(words, max_size=25).map("".join) | st.text(), st.booleans())
@example('insert into "S"."T"("A") values (TO_TIMESTAMP_TZ(\'\'))', False)
@example("""delete from "S"."T" where "A" = '\ud83d' """, False)
def test_whatever_comes_is_read_or_refused(sql: str, relaxed: bool) -> None:
    at = 0
    try:
        parse(sql, relaxed_quotes=relaxed)
    except RedoError as error:
        at = error.offset

    assert 0 <= at <= len(sql)


def outcome(sql: str) -> Redo | tuple[str, int]:
    try:
        return parse(sql)
    except RedoError as error:
        return str(error), error.offset


#: Of few characters, so that statements resemble each other: quotes, and the sign that hides doubled ones.
alike = st.builds(
    Redo,
    st.just(Operation.UPDATE),
    st.just("S"),
    st.text("A'\0", min_size=1, max_size=2),
    st.dictionaries(
        st.text("B'\0", min_size=1, max_size=2), st.text("a'\0\"", max_size=3), min_size=1
    ),
    st.dictionaries(st.just("C"), st.none() | st.text("a'\0\"", max_size=3)),
    st.none(),
)


@given(
    st.lists(
        st.tuples(alike, st.integers(0, 60), st.sampled_from(["", "'", "''", '"', "\0"])),
        max_size=8,
    )
)
def test_what_was_read_before_changes_nothing(drafts: list[tuple[Redo, int, str]]) -> None:
    """The shapes that are kept make it faster, and nothing else: not even in what is refused, and where."""
    statements = [rendered(draft) for draft, _, _ in drafts]
    statements = [
        sql[:at] + stray + sql[at:] for sql, (_, at, stray) in zip(statements, drafts, strict=True)
    ]
    known = [outcome(sql) for sql in [*statements, *statements]][len(statements) :]
    for sql, expected in zip(statements, known, strict=True):
        redo._shapes.clear()
        redo_grammar._insert_heads.clear()

        assert outcome(sql) == expected


# The filter.


def filtered(stdin: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "bowline_worker", "redo", *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )


def answers(stdin: bytes, *arguments: str) -> list[dict[str, Any]]:
    ended = filtered(stdin, *arguments)

    assert (ended.returncode, ended.stderr) == (0, b"")
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_the_filter_answers_each_sample_in_its_line() -> None:
    given = [each for each in SAMPLES if "statement" in each and not each.get("relaxed")]
    stdin = "".join(json.dumps(each["statement"]) + "\n" for each in given).encode()

    found = answers(stdin)

    assert len(found) == len(given)
    for sample, answer in zip(given, found, strict=True):
        if "is" in sample:
            assert answer == sample["is"]
        else:
            assert sample["refused"] in answer["error"]
            assert answer["offset"] == sample["at"]


def test_the_filter_takes_statements_as_they_are() -> None:
    found = answers("""delete from "S"."T" where "A" = 'é'\r\n\nx""".encode())

    assert found[0]["where"] == {"A": {"text": "é"}}
    assert [sorted(each) for each in found[1:]] == [["error", "offset"]] * 2


def test_the_filter_relaxes_quotes_when_asked() -> None:
    (sample,) = [each for each in SAMPLES if each["sample"] == 41 and each.get("relaxed")]

    assert answers(sample["statement"].encode(), "--relaxed-quotes") == [sample["is"]]


@pytest.mark.parametrize(
    ("line", "offset"), [(b'"x\n', 0), (b'"x" y\n', 4), (b"\xc3\xa9\xff\n", 1)]
)
def test_a_line_that_holds_no_statement_is_an_error_like_others(line: bytes, offset: int) -> None:
    found = answers(line + b'delete from "S"."T"\n')

    assert found[0]["offset"] == offset
    assert found[1]["operation"] == "DELETE"


def test_a_line_is_answered_before_the_next_one_comes() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bowline_worker", "redo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for table in ("T", "U"):
            running.stdin.write(f'delete from "S"."{table}"\n'.encode())
            running.stdin.flush()

            assert json.loads(running.stdout.readline())["table"] == table


def test_who_stops_reading_gets_no_stack_trace() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bowline_worker", "redo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        running.stdin.write(b'delete from "S"."T"\n')
        running.stdin.close()

        assert running.stderr.read() == b""
        assert running.wait(60) != 0
