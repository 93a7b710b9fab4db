"""Large values that are written in pieces: the row is named, and its columns are to be read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.logrow import Code
from bowline_worker.endpoints.oracle.redo import parse
from bowline_worker.endpoints.oracle.redo_values import Mark
from bowline_worker.endpoints.oracle.touches import Touch, TouchError, read_touch
from oracle.mining_rows import (
    PLACEHOLDER,
    ROW_A,
    ROW_B,
    Reader,
    Row,
    Taken,
    commit,
    delete,
    insert,
    raw,
    undo_insert,
)

WHERE = """"ID" = '7' and "V" = 'it''s for update; '"""
LOB_WRITE = (
    "DECLARE \n loc_c CLOB; \n buf_c VARCHAR2(6162); \n loc_b BLOB; \n"
    ' buf_b RAW(6162); \n loc_nc NCLOB; \n buf_nc NVARCHAR2(6162); \n e_len NUMBER; \nBEGIN\n select "C"'
    f""" into loc_c from "S"."T" where {WHERE} for update;\n\n"""
    " buf_c := 'da''ta from \"S\".\"U\" where'; \n  dbms_lob.write(loc_c, 5, 1, buf_c);\nEND;\n\n"
)
LOB_TRIM = (
    'DECLARE \n loc_b BLOB; \nBEGIN\n select "B" into loc_b from "S"."T" where "ID" = \'7\''
    " for update;\n\n  dbms_lob.trim(loc_b, 700);\nEND;\n"
)
LOB_ERASE = LOB_TRIM.replace("dbms_lob.trim(loc_b, 700)", "dbms_lob.erase(loc_b, e_len, 1)")
XML_BEGIN = """XML DOC BEGIN:  select "X" from "S"."T" where "ID" = '7'"""
STRING_BEGIN = (
    "DECLARE \n Stmt VARCHAR2(4000);\nBEGIN\n"
    """ Stmt := 'update "S"."T" a set a."D" = :D where a."ID" = ''7'' and a."V" = ''it''''s''';\nEND;"""
)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


@pytest.mark.parametrize(
    ("code", "sql", "touch"),
    [
        (Code.LOB_WRITE, LOB_WRITE, Touch("C", '"S"."T"', WHERE)),
        (Code.LOB_TRIM, LOB_TRIM, Touch("B", '"S"."T"', '"ID" = \'7\'')),
        (Code.LOB_ERASE, LOB_ERASE, Touch("B", '"S"."T"', '"ID" = \'7\'')),
        (Code.LOB_ERASE_SEEN, LOB_ERASE, Touch("B", '"S"."T"', '"ID" = \'7\'')),
        (Code.SELECT_LOB_LOCATOR, LOB_TRIM, Touch("B", '"S"."T"', '"ID" = \'7\'')),
        (Code.XML_BEGIN, XML_BEGIN, Touch("X", '"S"."T"', '"ID" = \'7\'')),
        (
            Code.STRING_BEGIN,
            STRING_BEGIN,
            Touch("D", '"S"."T" a', """a."ID" = '7' and a."V" = 'it''s'"""),
        ),
        (Code.XML_WRITE, "XML_REDO := '<a>select \"X\" from</a>'\n amount: 4", None),
        (Code.XML_END, "XML DOC END", None),
        (Code.STRING_WRITE, "select \"X\" from \"S\".\"T\" where 1", None),
        (Code.LOB_WRITE, "buf_c := 'select \"C\" into'; dbms_lob.write(loc_c, 1, 1, buf_c);", None),
    ],
)  # fmt: skip
def test_a_piece_names_its_row(code: int, sql: str, touch: Touch | None) -> None:
    assert read_touch(code, sql) == touch


@pytest.mark.parametrize(
    "touch",
    [Touch("C", '"S"."T"', WHERE), Touch("D", '"S"."T" a', """a."ID" = '7'""")],
)
def test_a_touch_reads_as_an_update_whose_value_is_unknown(touch: Touch) -> None:
    redo = parse(touch.sql)

    assert redo.set == {touch.column: Mark.UNSUPPORTED}
    assert redo.where["ID"] == "7"


@pytest.mark.parametrize(
    ("code", "sql"),
    [
        (Code.LOB_WRITE, 'select "C" into loc_c from "S"."T" for update;'),
        (Code.LOB_WRITE, 'select "C" into loc_c from "S"."T" where "ID" = \'7'),
        (Code.LOB_WRITE, 'select "C", "D" from "S"."T" where "ID" = \'7\''),
        (Code.LOB_WRITE, 'select "C" into loc_c from "T" where "ID" = \'7\''),
        (Code.STRING_BEGIN, "BEGIN NULL; END;"),
        (Code.STRING_BEGIN, "Stmt := 'insert into x'"),
        (Code.STRING_BEGIN, """Stmt := 'update "S"."T" set "D" = :D"""),
        (Code.STRING_BEGIN, """Stmt := 'update "S"."T" set "D" = :D, "E" = :E'"""),
    ],
)
def test_a_piece_of_another_form_is_refused(code: int, sql: str) -> None:
    with pytest.raises(TouchError):
        read_touch(code, sql)


def piece(block: int, code: int = Code.LOB_WRITE, sql: str = LOB_TRIM, **more: Any) -> Row:
    return raw(
        100, block, code, sql, row_id=PLACEHOLDER, info="LOB sql_redo not re-executable", status=2, **more
    )  # fmt: skip


def columns(taken: list[Taken]) -> list[tuple[str, ...]]:
    """Per change what is to be read again; () for an ordinary one."""
    return [change.reselect for each in taken for change in each.changes]


def test_all_pieces_of_a_value_are_one_touch(reader: Reader) -> None:
    pieces = [piece(4), piece(5), piece(6, Code.LOB_TRIM), piece(7, Code.LOB_ERASE_SEEN)]
    (taken,) = reader.read(*pieces, commit(101, 8))

    assert columns([taken]) == [("B",)]
    assert taken.changes[0].is_touch
    assert taken.changes[0].sql == """update "S"."T" set "B" = Unsupported where "ID" = '7'"""


def test_two_columns_are_two_touches(reader: Reader) -> None:
    rows = [piece(4), piece(5, sql=LOB_WRITE), commit(101, 8)]

    assert columns(reader.read(*rows)) == [("B",), ("C",)]


@pytest.mark.parametrize(
    ("codes", "begin", "info", "column"),
    [
        ((68, 70, 71), XML_BEGIN, "XML sql_redo not re-executable", "X"),
        ((68, 70, 71), XML_BEGIN, "XML sql_redo needs assembly", "X"),
        ((91, 92, 93), STRING_BEGIN, None, "D"),
    ],
)
def test_later_pieces_belong_to_the_row_that_was_named(
    reader: Reader, codes: tuple[int, ...], begin: str, info: str | None, column: str
) -> None:
    rows = [
        raw(100, 4 + at, code, sql, status=2 if info else 0, info=info)
        for at, (code, sql) in enumerate(zip(codes, (begin, "x", "end"), strict=True))
    ]

    assert columns(reader.read(*rows, commit(101, 9))) == [(column,)]


def test_a_piece_of_a_row_that_nothing_named_stops(reader: Reader) -> None:
    with pytest.raises(Unsafe, match="not named before"):
        reader.read(raw(100, 4, Code.XML_WRITE, "XML_REDO := 'x'"), commit(101, 5))


def test_a_piece_of_another_form_stops_when_it_commits(reader: Reader) -> None:
    rows = [piece(4, sql='select "C" into loc_c from "S"."T" for update;')]

    with pytest.raises(Unsafe, match=r"S\.T at SCN 100.*names no row"):
        reader.read(*rows, commit(101, 5))


def lob_insert(scn: int, block: int, key: int = 7) -> Row:
    sql = f"""insert into "S"."T"("ID","V","B") values ('{key}','x',EMPTY_BLOB())"""
    return raw(scn, block, Code.INSERT, sql, row_id=PLACEHOLDER)


def test_a_null_lob_is_an_empty_one_and_an_update(reader: Reader) -> None:
    """Its insert says EMPTY_BLOB() as well: only what follows tells NULL from empty."""
    null = raw(101, 5, Code.UPDATE, """update "S"."T" set "B" = NULL where "ID" = '7'""")
    (taken,) = reader.read(lob_insert(100, 4), null, commit(102, 6))

    assert [parse(sql).set["B"] for sql in taken.sql] == [Mark.EMPTY_BLOB, None]
    assert columns([taken]) == [(), ()]


def test_pieces_behind_their_insert_stay_there(reader: Reader) -> None:
    rows = [lob_insert(100, 4), piece(5), piece(6), commit(101, 7)]

    assert columns(reader.read(*rows)) == [(), ("B",)]


def test_pieces_before_their_insert_go_behind_it(reader: Reader) -> None:
    """Values that lie outside of the row may be written first: a touch of no row would be lost."""
    other = LOB_TRIM.replace("'7'", "'8'")
    rows = [piece(4), piece(5, sql=other), lob_insert(100, 6, 7), lob_insert(100, 7, 8)]
    (taken,) = reader.read(*rows, commit(101, 8))

    assert [("7" if "'7'" in sql else "8") for sql in taken.sql] == ["7", "7", "8", "8"]
    assert columns([taken]) == [(), ("B",), (), ("B",)]


def test_pieces_of_another_row_stay_before_an_insert(reader: Reader) -> None:
    rows = [piece(4), lob_insert(100, 5, 8), commit(101, 6)]

    assert columns(reader.read(*rows)) == [("B",), ()]


def test_an_insert_with_pieces_is_taken_back(reader: Reader) -> None:
    """Its undo names the real ROW_ID, and its pieces have no undo of their own: they go with it."""
    rows = [
        insert(100, 3, row_id=ROW_B),
        lob_insert(100, 4),
        piece(5),
        undo_insert(101, 6, ROW_A),
        delete(102, 7, row_id=ROW_B),
    ]
    (taken,) = reader.read(*rows, commit(103, 8))

    assert [change.code for change in taken.changes] == [Code.INSERT, Code.DELETE]


def test_pieces_that_are_undone_are_read_again_all_the_same(reader: Reader) -> None:
    rows = [insert(100, 3), piece(4, undo=True), commit(101, 5)]

    assert columns(reader.read(*rows)) == [(), ("B",)]


def undo_lob(block: int, sql: str = 'update "S"."T" set "B" = EMPTY_BLOB()') -> Row:
    return raw(101, block, Code.UPDATE, sql, undo=True, row_id=ROW_A)


def test_an_update_in_pieces_is_taken_back_by_one_undo_and_read_again(reader: Reader) -> None:
    """The update before it stands: its own undo did not come."""
    small = raw(100, 3, Code.UPDATE, """update "S"."T" set "B" = NULL where "ID" = '7'""")
    (taken,) = reader.read(small, piece(4), piece(5), undo_lob(6), commit(102, 7))

    assert [(change.is_touch, change.is_undone) for change in taken.changes] == [
        (False, False),
        (True, True),
    ]


def test_pieces_and_the_update_before_them_are_taken_back_in_turn(reader: Reader) -> None:
    small = raw(100, 3, Code.UPDATE, """update "S"."T" set "B" = NULL where "ID" = '7'""")
    (taken,) = reader.read(small, piece(4), undo_lob(5), undo_lob(6), commit(102, 7))

    assert [change.is_undone for change in taken.changes] == [True]


def test_an_undo_of_other_columns_passes_over_pieces(reader: Reader) -> None:
    other = raw(100, 3, Code.UPDATE, """update "S"."T" set "V" = 'y' where "ID" = '7'""")
    undo = undo_lob(5, """update "S"."T" set "V" = 'x'""")
    (taken,) = reader.read(other, piece(4), undo, commit(102, 7))

    assert columns([taken]) == [("B",)]
    assert not taken.changes[0].is_undone


@pytest.mark.parametrize("budget", [0, 1 << 20])
def test_an_update_that_made_room_for_pieces_is_taken_back_with_them(
    tmp_path: Path, budget: int
) -> None:
    """Else it stands in the way of the undo of what came before it."""
    emptied = raw(
        100, 5, Code.UPDATE, """update "S"."T" set "B" = EMPTY_BLOB() where "ID" = '7'""", row_id=PLACEHOLDER
    )  # fmt: skip
    rows = [insert(99, 3, row_id=ROW_B), lob_insert(100, 4, 8), emptied, piece(6), piece(7)]
    rows += [undo_lob(8), undo_insert(101, 9, "AAAR3sAAEAAAACXAAC"), commit(102, 10)]
    (taken,) = Reader(tmp_path, budget=budget).read(*rows)

    assert [(change.code, change.is_undone) for change in taken.changes] == [
        (Code.INSERT, False),
        (Code.LOB_WRITE, True),
    ]
