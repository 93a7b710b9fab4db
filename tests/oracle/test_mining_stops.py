"""What can't be read, and DDL: where the stream stops, and what the error says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.ddl import Effect, effect_of
from bowline_worker.endpoints.oracle.logrow import Code
from bowline_worker.endpoints.oracle.selection import Selection
from oracle.mining_rows import (
    ONE,
    SELECTION,
    TWO,
    Reader,
    Row,
    T,
    commit,
    insert,
    raw,
    rollback,
    update,
)

COL_N = """insert into "S"."T"("COL 1","COL 2") values (HEXTORAW('c102'),HEXTORAW('78'))"""


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


UNREADABLE = [
    pytest.param(raw(100, 4, Code.UNSUPPORTED, "Unsupported", status=2), "RowUnsupported", id="255"),
    pytest.param(raw(100, 4, Code.UPDATE, "Unsupported"), "RowUnsupported", id="the whole row"),
    pytest.param(insert(100, 4, status=3), "RowUnreadable", id="status 3"),
    pytest.param(insert(100, 4, status=1343), "RedoCorrupt", id="status 1343"),
    pytest.param(insert(100, 4, status=2, info="Dictionary Version Mismatch"), "SchemaChanged", id="status 2"),
    pytest.param(insert(100, 4, status=2, info="XML sql_redo needs assembly"), "SchemaChanged", id="not XML"),
    pytest.param(raw(100, 4, Code.INSERT, COL_N, status=2), "SchemaChanged", id="numbered columns"),
    pytest.param(raw(100, 4, Code.INSERT, COL_N, status=2, owner="UNKNOWN", table="OBJ# 4711"), "SchemaChanged",
                 id="a dropped segment of ours"),
    pytest.param(insert(100, 4, owner="UNKNOWN", table="OBJ# 99", object_id=99), "SchemaChanged",
                 id="a segment without a name"),
    pytest.param(raw(100, 4, 199, "x"), "RowUnsupported", id="an unknown operation"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "reason"), UNREADABLE)
def test_a_row_that_can_t_be_read_stops_when_it_commits(
    reader: Reader, row: Row, reason: str
) -> None:
    taken, error = reader.read_until(
        Unsafe, insert(90, 2, xid=TWO), commit(95, 3, xid=TWO), row, update(101, 5), commit(102, 6)
    )

    assert [each.xid for each in taken] == [TWO]
    assert isinstance(error, Unsafe)
    assert error.reason == reason
    assert "SCN 100, RS_ID 0x000012.00000004.0010/0, thread 1" in str(error)
    assert f"{row[16]}.{row[17]}" in str(error)
    assert error.hint


@pytest.mark.parametrize(("row", "_reason"), UNREADABLE)
def test_a_row_that_can_t_be_read_does_no_harm_in_a_transaction_that_is_rolled_back(
    reader: Reader, row: Row, _reason: str
) -> None:
    assert reader.read(row, rollback(102, 6)) == []


@pytest.mark.parametrize(("row", "_reason"), UNREADABLE)
def test_a_row_that_can_t_be_read_any_more_was_given_out_before(
    reader: Reader, tmp_path: Path, row: Row, _reason: str
) -> None:
    """After a restart the dictionary may not know rows any more that were read in time."""
    opened = insert(99, 3, xid=TWO)
    reader.read(opened, insert(100, 4), commit(102, 6))

    assert reader.restarted(tmp_path).read(opened, row, commit(102, 6)) == []


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(update(100, 4, status=2), id="LONG: no reason given"),
        pytest.param(update(100, 4, status=2, info="LOB sql_redo not re-executable"), id="LOB"),
    ],
)
def test_some_rows_that_oracle_would_not_execute_are_as_good_as_any(
    reader: Reader, row: Row
) -> None:
    assert len(reader.read(row, commit(101, 5))) == 1


def test_segments_without_a_name_can_be_passed_over(tmp_path: Path) -> None:
    selection = Selection(tables=SELECTION.tables, stop_at_nameless=False)
    rows = [insert(100, 4, owner="UNKNOWN", table="OBJ# 99", object_id=99), commit(101, 5)]

    assert Reader(tmp_path, selection=selection).read(*rows) == []


def test_missing_redo_stops_behind_what_committed_before(reader: Reader) -> None:
    gap = raw(102, 6, Code.MISSING_SCN, table=None, info="Missing log file")
    taken, error = reader.read_until(
        Unsafe, insert(100, 4), commit(101, 5), gap, insert(103, 7), commit(104, 8)
    )

    assert [each.scn for each in taken] == [101]
    assert "redo is missing before the row at SCN 102, RS_ID 0x000012.00000006.0010/0" in str(error)


# --- DDL ---


def ddl(scn: int, block: int, sql: str, *, xid: tuple[int, int, int] = ONE) -> Row:
    return raw(scn, block, Code.DDL, sql, xid=xid, info="USER DDL (PlSql=0 RecDep=0)", row_id=None)


def test_a_truncate_comes_in_the_order_of_commits(reader: Reader) -> None:
    taken = reader.read(
        insert(100, 4, xid=TWO),
        ddl(101, 5, "truncate table t"),
        commit(102, 6, xid=TWO),  # it waited for this one
        commit(103, 7),
        insert(104, 8),
        commit(105, 9),
    )
    first, truncate, last = (each.changes[0] for each in taken)

    assert truncate.is_truncate
    assert truncate.table == T
    assert not first.is_truncate
    assert not last.is_truncate


def test_a_truncate_without_a_transaction_comes_where_it_stands_and_once(
    reader: Reader, tmp_path: Path
) -> None:
    rows = [insert(100, 4, xid=TWO), ddl(101, 5, "TRUNCATE TABLE t", xid=(0, 0, 0))]
    (taken,) = reader.read(*rows)

    assert taken.changes[0].is_truncate
    assert reader.restarted(tmp_path).read(*rows) == []


def test_a_truncate_that_failed_is_nothing(reader: Reader) -> None:
    assert reader.read(ddl(101, 5, "truncate table t"), rollback(102, 6)) == []


def test_other_ddl_on_a_captured_table_stops_and_names_it(reader: Reader) -> None:
    taken, error = reader.read_until(
        Unsafe,
        insert(100, 4, xid=TWO),
        commit(101, 5, xid=TWO),
        ddl(102, 6, 'alter table "S"."T"\n add x number'),
        insert(103, 7, xid=TWO),
        commit(104, 8, xid=TWO),
    )

    assert [each.scn for each in taken] == [101]
    assert isinstance(error, Unsafe)
    assert error.reason == "SchemaChanged"
    assert "S.T at SCN 102 (RS_ID 0x000012.00000006.0010/0, thread 1)" in str(error)
    assert str(error).endswith('alter table "S"."T" add x number')


def test_ddl_on_another_table_is_nothing(reader: Reader) -> None:
    assert (
        reader.read(raw(101, 5, Code.DDL, "drop table x", table="X", object_id=9), commit(102, 6))
        == []
    )


@pytest.mark.parametrize(
    ("sql", "effect"),
    [
        ("truncate table t", Effect.EMPTIES),
        ('TRUNCATE  TABLE "S"."T" drop storage;', Effect.EMPTIES),
        ("/* nightly */ truncate -- all of it\n table t", Effect.EMPTIES),
        ("truncate cluster c", Effect.CHANGES),
        ("alter table t truncate partition p", Effect.CHANGES),
        ("alter table t drop partition p", Effect.CHANGES),
        ("alter table t exchange partition p with table u", Effect.CHANGES),
        ("alter table t add (x number)", Effect.CHANGES),
        ("alter table t drop column logging", Effect.CHANGES),
        ("alter table t rename to u", Effect.CHANGES),
        ('drop table "T" AS "BIN$k3==$0"', Effect.CHANGES),
        ("rename t to u", Effect.CHANGES),
        ("flashback table t to before drop", Effect.CHANGES),
        ("create table t (x number)", Effect.CHANGES),
        ("", Effect.CHANGES),
        ("comment on table t is 'truncate table t'", Effect.NONE),
        ("comment on column t.x is 'y'", Effect.NONE),
        ("grant select on t to app", Effect.NONE),
        ("analyze table t compute statistics", Effect.NONE),
        ("create unique index i on t (x)", Effect.NONE),
        ("CREATE OR REPLACE TRIGGER bowline_fence before insert on t begin null; end;", Effect.NONE),
        ("alter trigger bowline_fence enable", Effect.NONE),
        ('alter table "S"."T" disable all triggers', Effect.NONE),
        ("alter table s.t add supplemental log data (all) columns", Effect.NONE),
        ("alter table s.t nologging", Effect.NONE),
    ],
)  # fmt: skip
def test_a_statement_tells_what_it_does_to_the_stream(sql: str, effect: Effect) -> None:
    assert effect_of(sql) is effect
