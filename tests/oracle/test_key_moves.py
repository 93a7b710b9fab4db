"""Rows that change their keys: what follows them is theirs, or the stream stops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import oracledb
import pytest

from bowline_worker.contract import Unsafe
from bowline_worker.model import TableName
from oracle.capture_rig import ITEM, TABLES, Consumer, Shop, shop

EXACT, PAIR = TableName("shop", "exact"), TableName("shop", "pair")
#: More characters than the redo's text of a number surely has.
LONG = "1.123456789012345678901234567890123456"
MORE = (
    f"create table {EXACT.name} (id number(9) primary key, v number, w float, x number(38,36))",
    f"alter table {EXACT.name} add supplemental log data (all) columns",
    f"create table {PAIR.name} (a number(9), b varchar2(9), c varchar2(9), primary key (a, b))",
    f"alter table {PAIR.name} add supplemental log data (all) columns",
)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path, tables=TABLES + MORE) as found:
        for number in (1, 2, 3):
            found.write(
                f"insert into item (id, name, note) values ({number}, 'n', 'note {number}')"
            )
            found.write(f"insert into exact values ({number}, {number}, {number}, {number})")
            found.write(f"insert into pair values ({number}, 'b', 'c{number}')")
        found.app.commit()
        yield found


@pytest.fixture
def consumer(here: Shop) -> Consumer:
    consumer = Consumer(here)
    consumer.until_quiet()
    return consumer


def same(here: Shop, consumer: Consumer, *statements: str) -> None:
    """Do them in one transaction; the stream brings what the source has."""
    for statement in statements:
        here.write(statement)
    here.app.commit()
    consumer.until_quiet()
    for table, lines in here.final().items():
        assert consumer.lines().get(table, []) == lines, table


@pytest.mark.parametrize(
    "statement",
    [
        "update item set id = id + 1",
        "update item set id = 3 - id where id in (1, 2)",
        "update exact set id = id + 1",
        "update exact set id = id + 1, v = 0",
        "update pair set a = a + 1",
    ],
)
def test_keys_that_a_statement_passes_on_stop_the_stream(
    here: Shop, consumer: Consumer, statement: str
) -> None:
    """A row would get the values of the one that had its key before, or be lost, and nobody would see it."""
    here.write(statement)
    here.app.commit()
    before = len(consumer.transactions)

    with pytest.raises(Unsafe, match="keys that others of them still had") as caught:
        consumer.until_quiet()

    assert caught.value.reason == "KeysPassedOn"
    assert len(consumer.transactions) == before


@pytest.mark.parametrize("table", ["item", "exact"])
def test_keys_that_move_one_after_the_other_are_carried(
    here: Shop, consumer: Consumer, table: str
) -> None:
    move = f"update {table} set id = {{}} where id = {{}}"
    same(here, consumer, f"update {table} set id = id - 1")
    same(here, consumer, move.format(9, 0), move.format(0, 1), move.format(1, 9), move.format(7, 1))
    same(here, consumer, f"delete from {table} where id = 0", move.format(0, 2), move.format(5, 0))


@pytest.mark.parametrize("column", ["v", "w", "x"])
def test_a_long_number_goes_with_its_row(here: Shop, consumer: Consumer, column: str) -> None:
    same(here, consumer, f"update exact set id = 4, {column} = {LONG} where id = 1")
    same(
        here,
        consumer,
        f"update exact set {column} = {LONG} where id = 2",
        "update exact set id = 7 where id = 2",
        "update exact set id = 2 where id = 3",
    )
    same(
        here,
        consumer,
        f"insert into exact (id, {column}) values (8, {LONG})",
        "delete from exact where id = 8",
    )


def test_an_insert_that_fails_takes_no_large_value_of_its_key_with_it(
    here: Shop, consumer: Consumer
) -> None:
    with here.app.cursor() as cursor:
        large = here.app.createlob(oracledb.DB_TYPE_CLOB, "x" * 5000)
        cursor.execute("update item set note = :1 where id = 1", [large])
        with pytest.raises(oracledb.IntegrityError):
            cursor.execute("insert into item (id, name, note) values (1, 'n', 'another')")

    same(here, consumer)


def test_a_large_value_of_a_row_that_was_taken_back_is_no_row_that_is_missing(
    here: Shop, consumer: Consumer
) -> None:
    with here.app.cursor() as cursor:
        cursor.execute("update item set id = 9 where id = 1")
        cursor.execute("savepoint s")
        cursor.execute("insert into item (id, name) values (1, 'new')")
        for number in (2, 1):
            large = here.app.createlob(oracledb.DB_TYPE_CLOB, "x" * 5000)
            cursor.execute("update item set note = :1 where id = :2", [large, number])
        cursor.execute("rollback to savepoint s")

    same(here, consumer)
    assert len(consumer.rows[ITEM]) == 3
