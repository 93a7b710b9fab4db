"""Applying to Oracle: every row exactly once, or an error that says which row it was, and no row's values."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import oracledb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bowline_operator.oracle_grants import ROLE
from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.contract import (
    BowlineError,
    FencedOut,
    NotPermitted,
    Side,
    TryAgain,
    Unsupported,
)
from bowline_worker.endpoints.base import RowConflict, RowMissing, TableBatch
from bowline_worker.endpoints.oracle import books, catalog, disabling, leave
from bowline_worker.endpoints.oracle import lane as lane_module
from bowline_worker.endpoints.oracle.conflicts import at_commit, meant
from bowline_worker.endpoints.oracle.connection import connect, quote
from bowline_worker.endpoints.oracle.lane import OracleLane
from bowline_worker.endpoints.oracle.policy import Answer, Policy, Strange
from bowline_worker.endpoints.oracle.snapshot import EMPTY_LOBS, IS_THERE
from bowline_worker.endpoints.oracle.statements import ROWS_AT_ONCE, Statements
from bowline_worker.endpoints.oracle.types import OracleType, Terms
from bowline_worker.fold import fold, shapes_of
from bowline_worker.model import UNCHANGED, Change, Op, Row, Table, TableName, Value
from oracle.server import only_as
from oracle.standin.engine.rights import User
from oracle.standin.wire.faults import Call, When
from oracle.type_cases import CASES, Case, supported
from oracle.world import World
from oracle.world import world as entered

Updates = dict[tuple[str, ...], list[Row]]

STREAM = StreamId(Side.TARGET, 1)
LANES = tuple(LaneRow(lane=lane, number=1, generation=1, passed=True) for lane in (0, 1))
DONE = replace(LANES[0], block=1, events=1, position="0/1")

TABLES = (
    "create table item (id number(9) primary key, name varchar2(20), code varchar2(20) unique, note clob)",
    "create table event (what varchar2(20), mood char(4), seen timestamp(6))",
    "create table place (code char(6) primary key, name varchar2(10) not null)",
    "create table paper (title varchar2(20), body clob)",
    "create table pair (a number(9), b number(9), primary key (a, b))",
)


class Receiver(World):
    """With the bookkeeping, and lanes of a stream that comes from the other side."""

    def install(self) -> None:
        self.run(*TABLES)
        books.install(self.site)
        with books.transaction(self.site) as step:
            step.put_lanes(Side.TARGET, LANES)

    @contextmanager
    def lane(self) -> Iterator[OracleLane]:
        with closing(OracleLane(self.site, STREAM)) as lane:
            yield lane

    @contextmanager
    def begun(self) -> Iterator[OracleLane]:
        with self.lane() as lane:
            lane.begin()
            yield lane
            lane.rollback()

    def applied(self, *batches: TableBatch) -> None:
        with self.lane() as lane:
            lane.begin()
            for batch in batches:
                lane.write(batch)
            lane.commit()

    def table(self, name: str) -> Table:
        found = {one.table.name: one.table for one in catalog.tables(self.site)}
        return found[TableName("shop", name)]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(connect(self.site)) as connection, connection.cursor() as cursor:
            return list(cursor.execute(query) or ())

    def lanes(self) -> tuple[LaneRow, ...]:
        with books.transaction(self.site) as step:
            return step.lanes(Side.TARGET)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Receiver]:
    with entered(Receiver, tmp_path) as here:
        here.install()
        yield here


def item(number: int, name: Value = b"n", code: Value = None, note: Value = None) -> Row:
    return (str(number).encode(), name, code, note)


def columns(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns)


def delete(table: Table, before: Row) -> Change:
    return Change(Op.DELETE, table.name, columns(table), before=before)


# --- sets, and the place -------------------------------------------------------------------------


def test_a_lane_applies_sets_and_its_place_together(world: Receiver) -> None:
    table = world.table("item")
    with world.lane() as lane:
        lane.begin()
        lane.advance(Side.TARGET, DONE, since=0)
        lane.write(TableBatch(table=table, inserts=[item(1, b"a"), item(2, b"b", None, b"")]))
        lane.commit()
        lane.begin()
        lane.advance(Side.TARGET, replace(DONE, block=2, events=4), since=1)
        batch = TableBatch(table=table, updates={("name",): [(b"1", b"z")]}, deletes=[(b"2",)])
        lane.write(batch)
        lane.commit()

    assert world.rows("select id, name from shop.item") == [(1, "z")]
    assert world.lanes()[0] == replace(DONE, block=2, events=4)


def test_a_rolled_back_lane_leaves_nothing(world: Receiver) -> None:
    with world.lane() as lane:
        lane.begin()
        lane.advance(Side.TARGET, DONE, since=0)
        lane.write(TableBatch(table=world.table("item"), inserts=[item(1)]))
        lane.rollback()

    assert world.rows("select id from shop.item") == []
    assert world.lanes() == LANES


@pytest.mark.parametrize(
    "sets",
    [
        {"updates": {("name",): [(b"1", b"z"), (b"9", b"z")]}},
        {"updates": {(): [(b"1",), (b"9",)]}},
        {"deletes": [(b"1",), (b"9",)]},
    ],
    ids=["update", "touch", "delete"],
)
def test_a_row_that_was_not_there_is_never_silent(world: Receiver, sets: Any) -> None:
    table = world.table("item")
    with world.begun() as lane:
        lane.write(TableBatch(table=table, inserts=[item(1)]))

        with pytest.raises(
            RowMissing, match=r"shop\.item: .* of row 2 of 2 \(key columns id\) met 0"
        ):
            lane.write(TableBatch(table=table, **sets))


def test_a_row_that_was_there_already_is_named_by_its_place_and_not_by_its_values(
    world: Receiver,
) -> None:
    table = world.table("item")
    rows = [item(7, b"secret"), item(8, b"secret"), item(7, b"secret")]
    with world.begun() as lane, pytest.raises(RowConflict) as caught:
        lane.write(TableBatch(table=table, inserts=rows))

    assert "shop.item: insert of row 3 of 3 (key columns id): ORA-00001 SHOP." in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_error_in_the_middle_of_an_array_leaves_nothing_after_the_rollback(
    world: Receiver,
) -> None:
    with world.lane() as lane:
        lane.begin()
        lane.advance(Side.TARGET, DONE, since=0)
        rows = [item(1), item(2, code=b"x"), item(3, code=b"x"), item(4)]
        with pytest.raises(RowConflict, match="row 3 of 4"):
            lane.write(TableBatch(table=world.table("item"), inserts=rows))
        lane.rollback()
        lane.begin()
        lane.commit()

    assert world.rows("select id from shop.item") == []
    assert world.lanes() == LANES


def test_rows_of_many_round_trips_are_all_there_and_told_by_their_places(world: Receiver) -> None:
    table, count = world.table("pair"), ROWS_AT_ONCE + 10
    rows: list[Row] = [(b"1", str(number).encode()) for number in range(count)]
    world.applied(TableBatch(table=table, inserts=rows))

    assert world.rows("select count(*), min(b), max(b) from shop.pair") == [(count, 0, count - 1)]
    with world.begun() as lane, pytest.raises(RowMissing, match=f"row {count + 1} of {count + 2} "):
        lane.write(TableBatch(table=table, deletes=[*rows, (b"2", b"1"), (b"2", b"2")]))


def test_the_order_of_a_key_is_that_of_the_rows_that_come(world: Receiver) -> None:
    table = world.table("pair")
    turned = replace(table, columns=table.columns[::-1], key=("b", "a"))
    world.applied(TableBatch(table=turned, inserts=[(b"2", b"1"), (b"3", b"1")]))
    world.applied(TableBatch(table=turned, deletes=[(b"3", b"1")]))

    assert world.rows("select a, b from shop.pair") == [(1, 2)]


# --- forms that always fit -----------------------------------------------------------------------


def test_unique_values_that_swap_fit_when_rows_are_replaced(world: Receiver) -> None:
    table = world.table("item")
    rows = [
        item(1, b"a", b"x", b"long" * 10_000),
        item(2, b"b", b"y", b""),
        item(3, b"c", b"z", None),
    ]
    world.applied(TableBatch(table=table, inserts=rows))
    swap = TableBatch(
        table=table,
        inserts=[item(4, code=b"z")],
        updates={("code",): [(b"1", b"y"), (b"2", b"x")]},
        deletes=[(b"3",)],
    )
    with world.begun() as lane, pytest.raises(RowConflict):
        lane.write(swap)
    with world.lane() as lane:
        lane.begin()
        lane.replace(swap)
        lane.commit()

    # What the change did not say is as it was: a long value, and an empty one that is not NULL.
    query = "select id, name, code, length(note), case when note is null then 1 end from shop.item order by id"
    assert world.rows(query) == [
        (1, "a", "y", 40_000, None),
        (2, "b", "x", 0, None),
        (4, "n", "z", None, 1),
    ]


def test_a_replaced_row_that_is_not_there_is_never_silent(world: Receiver) -> None:
    with world.begun() as lane, pytest.raises(RowMissing, match=r"shop\.item: 0 rows"):
        lane.replace(TableBatch(table=world.table("item"), updates={("name",): [(b"1", b"a")]}))


def test_values_that_were_not_logged_keep_what_the_model_can_not_tell(world: Receiver) -> None:
    world.run(
        "create table fine (id number(9) primary key, code varchar2(9) unique,"
        " t timestamp(9), z timestamp(9) with time zone, n number, f binary_double)",
        "insert into fine values (1, 'a', timestamp '2020-01-02 03:04:05.123456789',"
        " timestamp '2020-01-02 03:04:05.123456789 +05:30', 1/3, 0.1)",
        "commit",
    )
    query = (
        "select to_char(t, 'YYYY-MM-DD HH24:MI:SS.FF9'), to_char(z, 'YYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM'), n, f"
        " from shop.fine"
    )
    before = world.rows(query)
    with world.lane() as lane:
        lane.begin()
        lane.replace(TableBatch(table=world.table("fine"), updates={("code",): [(b"1", b"b")]}))
        lane.commit()

    assert world.rows(query) == before
    assert world.rows("select code from shop.fine") == [("b",)]


# --- single changes ------------------------------------------------------------------------------


def test_single_changes_find_one_row_of_a_table_without_a_key(world: Receiver) -> None:
    table = world.table("event")
    row: Row = (b"a", b"x   ", None)
    other: Row = (b"a", b"x   ", b"2020-01-02 03:04:05.25")
    with world.lane() as lane:
        lane.begin()
        for each in (row, row, row, other):
            lane.one(Change(Op.INSERT, table.name, columns(table), after=each), table)
        lane.one(delete(table, row), table)
        after: Row = (b"b", UNCHANGED, UNCHANGED)
        lane.one(Change(Op.UPDATE, table.name, columns(table), before=row, after=after), table)
        lane.one(delete(table, other), table)
        lane.commit()

    assert world.rows("select what, mood, seen from shop.event order by what") == [
        ("a", "x   ", None),
        ("b", "x   ", None),
    ]


@pytest.mark.parametrize("before", [(b"a", b"x   ", None), (None, None, None)])
def test_a_row_without_a_key_that_is_not_there_is_never_silent(
    world: Receiver, before: Row
) -> None:
    table = world.table("event")
    with world.begun() as lane:
        lane.write(TableBatch(table=table, inserts=[(b"a", None, None)]))

        with pytest.raises(RowMissing, match=r"shop\.event: delete .* \(no key\) met 0"):
            lane.one(delete(table, before), table)
        with pytest.raises(RowMissing, match=r"shop\.event: update .* \(no key\) met 0"):
            lane.one(
                Change(Op.UPDATE, table.name, columns(table), before=before, after=before), table
            )


def test_a_large_object_tells_no_row_and_is_refused_by_name(world: Receiver) -> None:
    table = world.table("paper")
    with world.begun() as lane:
        lane.write(TableBatch(table=table, inserts=[(b"a", b"text")]))

        with pytest.raises(Unsupported, match=r"shop\.paper .* column body") as caught:
            lane.one(delete(table, (b"a", b"text")), table)
    assert caught.value.reason == "KeylessLob"


def test_a_key_that_changes_is_found_by_its_old_value(world: Receiver) -> None:
    table = world.table("item")
    world.applied(TableBatch(table=table, inserts=[item(1, b"a", None, b"kept")]))
    with world.lane() as lane:
        lane.begin()
        before: Row = (b"1", None, None, None)
        after: Row = (b"2", b"b", None, UNCHANGED)
        change = Change(Op.UPDATE, table.name, columns(table), (b"1",), before=before, after=after)
        lane.one(change, table)
        with pytest.raises(RowMissing):
            lane.one(change, table)
        lane.commit()

    assert world.rows("select id, name, note from shop.item") == [(2, "b", "kept")]


def test_a_truncate_is_a_part_of_the_transaction(world: Receiver) -> None:
    table = world.table("item")
    world.applied(TableBatch(table=table, inserts=[item(1), item(2)]))
    with world.lane() as lane:
        lane.begin()
        lane.one(Change(Op.TRUNCATE, table.name, columns(table)), table)
        lane.write(TableBatch(table=table, inserts=[item(3)]))
        lane.rollback()
        assert world.rows("select id from shop.item order by id") == [(1,), (2,)]
        lane.begin()
        lane.one(Change(Op.TRUNCATE, table.name, columns(table)), table)
        lane.commit()

    assert world.rows("select id from shop.item") == []


class Application:
    """What applications do to one table on the other side: rows by key, and the changes that tell of it."""

    names = ("k", "u", "c", "l")

    def __init__(self, table: TableName, seed: int) -> None:
        self.table = table
        self.random = random.Random(seed)
        self.rows: dict[Value, Row] = {}

    def transaction(self) -> list[Change]:
        return [self._change() for _ in range(self.random.randint(1, 12))]

    def _change(self) -> Change:
        choice = self.random.random()
        if choice < 0.03:
            self.rows.clear()
            return Change(Op.TRUNCATE, self.table, self.names)
        if not self.rows or choice < 0.4:
            row = (self._free("k", 0), *self._values())
            self.rows[row[0]] = row
            return Change(Op.INSERT, self.table, self.names, after=row)
        old = self.rows.pop(self.random.choice(sorted(self.rows, key=str)))
        key: Row = old[:1]
        if choice < 0.6:
            return Change(Op.DELETE, self.table, self.names, key, before=(*key, None, None, None))
        moves = self.random.random() < 0.3
        new = (self._free("k", 0) if moves else old[0], *self._values())
        if self.random.random() < 0.5:  # the large object was not touched, and is not in the log
            new = (*new[:3], old[3])
            logged: Row = (*new[:3], UNCHANGED)
        else:
            logged = new
        self.rows[new[0]] = new
        before = (*key, None, None, None) if moves else None
        return Change(Op.UPDATE, self.table, self.names, key, before=before, after=logged)

    def _values(self) -> Row:
        large = self.random.choice([None, b"", b"x", b"long" * 9_000])
        return (self._free("u", 1), self.random.choice([None, b"a  ", b"abc"]), large)

    def _free(self, name: str, at: int) -> bytes:
        taken = {row[at] for row in self.rows.values()}
        wanted = [b"%d" % number for number in range(1, 10 + len(self.rows))]
        return self.random.choice([value for value in wanted if value not in taken])


def forms(
    lane: OracleLane, changes: Sequence[Change], table: Table
) -> Iterator[Callable[[], None]]:
    """The ways in which a span is applied, the next where one does not fit: see applying.Form."""
    folded = fold(changes, shapes_of([table]))
    for write in (lane.write, lane.replace):

        def in_sets(write: Callable[[TableBatch], None] = write) -> None:
            for batch in folded.batches:
                write(batch)
            for change in folded.ordered:
                lane.one(change, table)

        yield in_sets

    def one_by_one() -> None:
        for change in changes:
            lane.one(change, table)

    yield one_by_one


def _text(value: Value) -> str | None:
    return value.decode() if isinstance(value, bytes) else None


@pytest.mark.parametrize("first", [0, 1, 2], ids=["sets", "replace", "single"])
@pytest.mark.parametrize("seed", range(4))
def test_any_history_ends_in_the_rows_that_the_other_side_has(
    world: Receiver, seed: int, first: int
) -> None:
    world.run("create table r (k varchar2(9) primary key, u number(9) unique, c char(3), l clob)")
    table = world.table("r")
    other = Application(table.name, seed)
    tried: Counter[int] = Counter()
    with world.lane() as lane:
        for _ in range(25):
            changes = other.transaction()
            for number, apply in enumerate(list(forms(lane, changes, table))[first:]):
                lane.begin()
                try:
                    apply()
                except (RowConflict, RowMissing):
                    lane.rollback()
                    continue
                lane.commit()
                tried[number] += 1
                break

    assert sum(tried.values()) == 25
    # Only sets meet unique values in an order that they were never in.
    assert set(tried) <= ({0, 1} if first == 0 else {0})
    found = world.rows(
        "select k, u, c, case when l is null then -1 else length(l) end from shop.r order by k"
    )
    expected = sorted(
        (
            _text(key),
            int(_text(unique) or 0),
            _text(char),
            -1 if large is None else len(_text(large) or ""),
        )
        for key, unique, char, large in other.rows.values()
    )
    assert [(k, int(u), c, int(size)) for k, u, c, size in found] == expected


# --- values --------------------------------------------------------------------------------------


def test_a_char_key_is_found_whatever_blanks_it_ends_with(world: Receiver) -> None:
    table = world.table("place")
    world.applied(TableBatch(table=table, inserts=[(b"ab    ", b"one"), (b"abc", b"two")]))
    updates: Updates = {("name",): [(b"ab    ", b"1"), (b"abc   ", b"2")]}
    world.applied(TableBatch(table=table, updates=updates))
    world.applied(TableBatch(table=table, deletes=[(b"abc",)]))

    assert world.rows("select code, name from shop.place") == [("ab    ", "1")]


def test_empty_text_is_an_error_before_anything_is_sent(world: Receiver) -> None:
    table = world.table("item")
    world.applied(TableBatch(table=table, inserts=[item(1)]))
    with world.lane() as lane:
        lane.begin()
        batch = TableBatch(table=table, inserts=[item(2, b"")], deletes=[(b"1",)])
        with pytest.raises(Unsupported, match=r"SHOP\.ITEM\.NAME") as caught:
            lane.write(batch)
        lane.commit()

    assert caught.value.reason == "ValueRefused"
    assert world.rows("select id from shop.item") == [(1,)]


def test_the_policys_answer_is_written_and_told_once_it_is_committed(
    world: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    table = world.table("item")
    with world.lane() as lane:
        answers = {Strange.EMPTY: Answer.REPLACEMENT}
        lane._terms = Terms(policy=Policy(answers=answers))
        lane.begin()
        lane.write(TableBatch(table=table, inserts=[item(1, b"")]))
        lane.rollback()
        with caplog.at_level(logging.WARNING, "bowline"):
            lane.begin()
            lane.write(TableBatch(table=table, inserts=[item(2, b""), item(3, b"")]))
            assert caplog.records == []
            lane.commit()
            lane.begin()
            lane.commit()

    (record,) = caplog.records
    assert record.__dict__["fields"] == {
        "table": "SHOP.ITEM", "column": "NAME", "kind": "empty", "values": 2,
    }  # fmt: skip
    assert world.rows("select id, name from shop.item order by id") == [(2, " "), (3, " ")]


def test_a_column_that_takes_no_null_is_named_and_its_default_is_not_taken_instead(
    world: Receiver,
) -> None:
    world.run("create table t (id number(9) primary key, n number(9) default on null 7 not null)")
    table = world.table("t")
    with world.begun() as lane:
        with pytest.raises(RowConflict, match=r"shop\.t: column n takes no NULL"):
            lane.write(TableBatch(table=table, inserts=[(b"1", None)]))
        lane.write(TableBatch(table=table, inserts=[(b"1", b"1")]))


def test_empty_and_absent_large_objects_stay_apart_in_one_set(world: Receiver) -> None:
    table = world.table("item")
    notes = [b"", None, b"x", b"", b"y" * 100_000]
    world.applied(
        TableBatch(table=table, inserts=[item(at, note=note) for at, note in enumerate(notes)])
    )
    updates: Updates = {("note",): [(b"0", None), (b"1", b""), (b"2", b"z")]}
    world.applied(TableBatch(table=table, updates=updates))

    query = "select id, length(note) from shop.item order by id"
    assert world.rows(query) == [(0, None), (1, 0), (2, 1), (3, 0), (4, 100_000)]


def test_columns_that_oracle_computes_are_not_named(world: Receiver) -> None:
    world.run(
        "create table v (id number(9) primary key, n number(9), twice number(9) generated always as (n * 2) virtual)"
    )
    table = world.table("v")
    world.applied(TableBatch(table=table, inserts=[(b"1", b"2")]))
    world.applied(TableBatch(table=table, updates={("n",): [(b"1", b"3")]}))

    assert world.rows("select n, twice from shop.v") == [(3, 6)]


def test_identities_that_are_always_generated_take_the_streams_numbers(world: Receiver) -> None:
    world.run("create table i (id number(9) generated always as identity primary key, n number(9))")
    table = world.table("i")
    world.applied(TableBatch(table=table, inserts=[(b"41", b"1")]))

    assert world.rows("select id, n from shop.i") == [(41, 1)]


DDL = {
    "VARCHAR2": "varchar2({0.char_length} {1})",
    "NVARCHAR2": "nvarchar2({0.char_length})",
    "CHAR": "char({0.char_length} {1})",
    "NCHAR": "nchar({0.char_length})",
    "RAW": "raw({0.data_length})",
    "FLOAT": "float({0.data_precision})",
}


def declared(case: Case) -> str:
    """The column's type in DDL."""
    of = case.column
    if of.data_type == "NUMBER":
        if of.data_scale is None:
            return "number"
        return f"number({of.data_precision or '*'}, {of.data_scale})"
    return DDL.get(of.data_type, of.data_type).format(of, "char" if of.char_used == "C" else "byte")


@pytest.fixture(scope="module")
def types(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Receiver, OracleLane, list[Table]]]:
    with entered(Receiver, tmp_path_factory.mktemp("types")) as here:
        here.install()
        here.run(
            *(
                f"create table t{at} (id number(9) primary key, c {declared(case)})"
                for at, case in enumerate(CASES)
            )
        )
        with here.lane() as lane:
            found = {one.table.name.name: one.table for one in catalog.tables(here.site)}
            yield here, lane, [found[f"t{at}"] for at in range(len(CASES))]


def numbered(values: Sequence[Value]) -> list[Row]:
    return [(str(number).encode(), value) for number, value in enumerate(values)]


def read_back(world: Receiver, kind: OracleType, at: int) -> list[bytes | None]:
    """The column's values, as a snapshot reads them, with empty large objects told from NULL."""
    column = quote("C")
    query = f"select {kind.select(column)}, {IS_THERE.format(column)} from shop.t{at} order by id"
    empty = EMPTY_LOBS.get(kind.column.data_type)
    rows = world.rows(query)
    return [kind.from_driver(empty if value is None and there else value) for value, there in rows]


@pytest.mark.parametrize("at", range(len(CASES)), ids=lambda at: str(CASES[at]))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_type_is_read_back_as_it_was_written(
    types: tuple[Receiver, OracleLane, list[Table]], at: int, data: st.DataObject
) -> None:
    world, lane, tables = types
    case = CASES[at]
    kind = supported(case.column)
    stored = data.draw(st.lists(case.stored, min_size=1, max_size=4))
    texts = [kind.from_driver(case.driver(value)) for value in stored]
    first, second = numbered([None, *texts]), numbered([*texts, None])
    table = tables[at]
    lane.begin()
    lane.one(Change(Op.TRUNCATE, table.name, ("id", "c")), table)
    lane.write(TableBatch(table=table, inserts=first))
    lane.commit()
    assert read_back(world, kind, at) == [value for _, value in first]
    lane.begin()
    lane.write(TableBatch(table=table, updates={("c",): second}))
    lane.commit()

    assert read_back(world, kind, at) == [value for _, value in second]


def test_a_character_that_the_database_lacks_is_refused_and_never_replaced(world: Receiver) -> None:
    world.stand_in.database.charsets = ("WE8MSWIN1252", "AL16UTF16")
    with world.begun() as lane:
        batch = TableBatch(
            table=world.table("item"), inserts=[item(1, "\N{GREEK SMALL LETTER ALPHA}".encode())]
        )
        with pytest.raises(Unsupported, match="character set WE8MSWIN1252"):
            lane.write(batch)
    world.applied(
        TableBatch(table=world.table("item"), inserts=[item(1, "\N{EURO SIGN}".encode())])
    )


def test_text_and_bytes_are_declared_no_longer_than_their_columns(world: Receiver) -> None:
    """Declared longer than a VARCHAR2 can be, a key would not be taken behind a large object."""
    world.run(
        "create table w (k varchar2(20) primary key, r raw(16), t varchar2(4000), l clob, d date)"
    )
    (of,) = (one for one in catalog.tables(world.site) if one.table.name.name == "w")
    sql = Statements(of, of.table)

    assert [size for _, size in sql.insert(frozenset()).types] == [20, 16, 1000, 64, 0]
    assert sql.insert(frozenset()).takes == (0, 1, 2, 4, 3)
    update = sql.update(("l", "t"), frozenset())
    assert update.text == 'update "SHOP"."W" set "T" = :1, "L" = :2 where "K" = :3'
    assert update.takes == (2, 1, 0)
    row: Row = (b"k" * 20, b"\\x00ff", b"t" * 4000, b"l" * 50_000, None)
    world.applied(TableBatch(table=of.table, inserts=[row]))
    world.applied(TableBatch(table=of.table, updates={("t", "l"): [(row[0], b"x", b"y" * 40_000)]}))

    assert world.rows("select r, t, length(l) from shop.w") == [(b"\0\xff", "x", 40_000)]


# --- generations, and lost connections -----------------------------------------------------------


@pytest.mark.parametrize("stale", [replace(DONE, generation=2), replace(DONE, number=0)])
def test_a_lane_of_another_generation_cannot_advance(world: Receiver, stale: LaneRow) -> None:
    with world.begun() as lane, pytest.raises(FencedOut, match="lane 0 of target-1"):
        lane.advance(Side.TARGET, stale, since=0)


def test_a_block_is_recorded_once(world: Receiver) -> None:
    with world.lane() as lane:
        lane.begin()
        lane.advance(Side.TARGET, DONE, since=0)
        lane.commit()
        lane.begin()

        with pytest.raises(FencedOut):
            lane.advance(Side.TARGET, DONE, since=0)
        lane.rollback()
        lane.begin()
        lane.advance(Side.TARGET, DONE, since=1)  # a row that stands still
        lane.commit()

    assert world.lanes() == (DONE, LANES[1])


def test_a_place_that_was_advanced_before_the_first_row_is_advanced_once(world: Receiver) -> None:
    """The first row disables triggers, for which the lane's own lock is given up and taken again."""
    only_as("BOWLINE")
    with world.lane() as lane:
        lane.begin()
        lane.advance(Side.TARGET, DONE, since=0)
        lane.write(TableBatch(table=world.table("item"), inserts=[item(1)]))
        with pytest.raises(oracledb.DatabaseError, match="ORA-00054"):
            world.rows("select lane from bowline.bowline_lane where lane = 0 for update nowait")
        lane.commit()

    assert world.lanes()[0] == DONE


@pytest.mark.parametrize("verb", ["INSERT", "UPDATE", "DELETE"])
def test_a_missing_privilege_on_rows_is_told_before_a_switch_rests_on_it(
    world: Receiver, verb: str
) -> None:
    """The canary needs none of it: it would arrive, and the first row behind the commit point would be refused."""
    world.run("create trigger audit before insert or update or delete on item begin null; end;")
    every = {"SELECT", "INSERT", "UPDATE", "DELETE", "ALTER"}
    names = {one.name for one in catalog.tables(world.site)}
    tables = {(each, "SHOP", name) for each in every for name in names} - {(verb, "SHOP", "ITEM")}
    world.stand_in.database.users["BOWLINE"] = User("BOWLINE", {ROLE, "CREATE SESSION"}, tables)

    with world.lane() as lane, pytest.raises(NotPermitted) as refused:
        lane.begin()

    assert f"{verb.lower()} on shop.item" in str(refused.value)
    assert "bowline grants" in refused.value.hint


def test_a_lane_that_nobody_sees_can_not_write_once_all_is_cleaned(world: Receiver) -> None:
    """It would meet the triggers that are enabled again, or disable them for good."""
    world.run("create trigger audit after insert on item begin null; end;")
    with world.lane() as lane:
        lane.begin()
        lane.advance(Side.TARGET, DONE, since=0)
        lane.write(TableBatch(table=world.table("item"), inserts=[item(1)]))
        lane.commit()

        leave.cleanup(world.site, keep_fence=False)

        lane.begin()
        with pytest.raises(BowlineError):
            lane.advance(Side.TARGET, replace(DONE, block=2), since=1)
        lane.rollback()

    books.install(world.site)
    with pytest.raises(FencedOut, match="have ended"):
        disabling.disable(world.site)
    assert world.rows("select status from all_triggers where trigger_name = 'AUDIT'") == [
        ("ENABLED",)
    ]


@pytest.mark.parametrize("enabled", ["trigger", "foreign key"])
def test_what_is_enabled_while_rows_come_writes_no_rows_of_its_own(
    world: Receiver, monkeypatch: pytest.MonkeyPatch, enabled: str
) -> None:
    """A trigger would write what the stream brings as well; ON DELETE CASCADE takes what it does not."""
    monkeypatch.setattr(lane_module, "LOOK_SECONDS", 0.0)
    table = world.table("item")
    world.run(
        "create table part (id number(9) primary key, item number(9)"
        " constraint part_item references item on delete cascade)",
        "create trigger audit after insert on item begin insert into event (what) values ('fired'); end;",
    )
    with world.lane() as lane:
        for block in (1, 2, 3):
            lane.begin()
            lane.advance(Side.TARGET, replace(DONE, block=block), since=block - 1)
            if block < 3:
                lane.write(TableBatch(table=table, inserts=[item(block)]))
            else:
                lane.write(TableBatch(table=table, deletes=[(b"1",)]))
            lane.commit()
            if block == 1:
                world.run("insert into part values (1, 1)", "commit")
            world.run(
                "alter trigger audit enable"
                if enabled == "trigger"
                else "alter table part enable novalidate constraint part_item"
            )

    assert world.rows("select what from shop.event") == []
    assert world.rows("select id from shop.part") == [(1,)]


def test_lanes_that_begin_together_don_t_wait_for_each_other_for_ever(world: Receiver) -> None:
    """Each holds its own row when it disables what is in the way, and that waits for all others."""
    table = world.table("item")
    world.run(
        "create table part (id number(9) primary key, item number(9) references item)",
        "create trigger audit after insert on item begin null; end;",
    )
    ready = threading.Barrier(2)

    def work(row: LaneRow) -> None:
        with world.lane() as lane:
            lane.begin()
            lane.advance(Side.TARGET, replace(row, block=1), since=0)
            ready.wait(10)
            lane.write(TableBatch(table=table, inserts=[item(row.lane)]))
            lane.commit()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, LANES))

    assert [row.block for row in world.lanes()] == [1, 1]
    assert world.rows("select id from shop.item order by id") == [(0,), (1,)]
    assert world.rows("select status from all_triggers where trigger_name = 'AUDIT'") == [
        ("DISABLED",)
    ]


@pytest.mark.parametrize(("when", "is_done"), [(When.BEFORE, False), (When.AFTER, True)])
def test_a_commit_whose_reply_is_lost_is_read_back(
    world: Receiver, when: When, is_done: bool
) -> None:
    table = world.table("item")
    with world.lane() as lane:
        lane.begin()
        lane.advance(Side.TARGET, DONE, since=0)
        lane.write(TableBatch(table=table, inserts=[item(1)]))
        world.stand_in.server.faults.drop(Call.COMMIT, when)
        with pytest.raises(TryAgain, match="could not commit") as caught:
            lane.commit()
        lane.rollback()
        with pytest.raises(TryAgain, match="lost the connection"):
            lane.begin()

    assert caught.value.reason == "CommitUnknown"
    # The rows and the place are there together, or neither is.
    assert world.lanes()[0] == (DONE if is_done else LANES[0])
    assert world.rows("select id from shop.item") == ([(1,)] if is_done else [])


def test_a_connection_that_drops_among_the_rows_leaves_nothing(world: Receiver) -> None:
    table = world.table("item")
    with world.lane() as lane:
        lane.begin()
        lane.advance(Side.TARGET, DONE, since=0)
        lane.write(TableBatch(table=table, inserts=[item(1)]))
        world.stand_in.server.faults.drop(Call.EXECUTE, When.AFTER, containing="insert into")
        with pytest.raises(TryAgain) as caught:
            lane.write(TableBatch(table=table, inserts=[item(2)]))
        lane.rollback()

    assert caught.value.reason == "ConnectionLost"
    assert world.lanes() == LANES
    assert world.rows("select id from shop.item") == []


def test_a_session_that_was_ended_can_not_commit(world: Receiver) -> None:
    with world.lane() as lane:
        lane.begin()
        lane.advance(Side.TARGET, DONE, since=0)
        with books.transaction(world.site) as step:
            step.end_backends([lane.backend])
        with pytest.raises(TryAgain):
            lane.commit()
        lane.rollback()

    assert world.lanes() == LANES


# --- what the receiver says ----------------------------------------------------------------------


def test_a_table_that_changed_is_named_with_what_differs(world: Receiver) -> None:
    table = world.table("item")
    world.run("alter table item add (extra number(9))")
    with (
        world.begun() as lane,
        pytest.raises(Unsupported, match=r"shop\.item: columns extra") as caught,
    ):
        lane.write(TableBatch(table=table, inserts=[item(1)]))
    assert caught.value.reason == "SchemaChanged"


def test_a_column_that_is_dropped_under_a_lane_is_named(world: Receiver) -> None:
    table = world.table("item")
    world.applied(TableBatch(table=table, inserts=[item(1)]))
    with world.lane() as lane:
        lane.begin()
        lane.write(TableBatch(table=table, inserts=[item(2)]))
        lane.commit()
        world.run("alter table item drop column name")
        lane.begin()
        with pytest.raises(Unsupported, match=r"shop\.item: .* ORA-00904") as caught:
            lane.write(TableBatch(table=table, inserts=[item(3)]))
        lane.rollback()
    assert caught.value.reason == "SchemaChanged"


def test_a_table_that_is_not_selected_is_refused_by_name(world: Receiver) -> None:
    table = replace(world.table("item"), name=TableName("shop", "other"))
    with world.begun() as lane, pytest.raises(Unsupported, match=r"shop\.other"):
        lane.write(TableBatch(table=table, inserts=[item(1)]))


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "ORA-00001: unique constraint (SHOP.ITEM_PK) violated on table SHOP.ITEM columns (ID)\n"
            "ORA-03301: (ORA-00001 details) row with column values (ID:4711) already exists",
            "ORA-00001 SHOP.ITEM_PK",
        ),
        ("ORA-01438: value 4711 greater than specified precision (3, 0) for column", "ORA-01438"),
        (
            'ORA-12899: value too large for column "SHOP"."ITEM"."NAME" (actual: 4711, maximum: 3)',
            'ORA-12899 "SHOP"."ITEM"."NAME"',
        ),
        ('ORA-01400: cannot insert NULL into ("SHOP"."T"."C")', 'ORA-01400 "SHOP"."T"."C"'),
        ("ORA-01843: An invalid month was specified: 4711", "ORA-01843"),
    ],
)
def test_a_refusal_names_what_refused_and_none_of_the_rows_values(
    world: Receiver, message: str, told: str
) -> None:
    error = oracledb.IntegrityError(message)
    found = meant(world.site, error, "shop.item: insert of row 1 of 1", None, is_alive=True)

    assert isinstance(found, RowConflict)
    assert str(found) == f"shop.item: insert of row 1 of 1: {told}"


def test_a_trigger_that_refuses_is_told_without_what_it_says(world: Receiver) -> None:
    error = oracledb.DatabaseError("ORA-20001: customer 4711 is blocked")
    found = meant(world.site, error, "shop.item", None, is_alive=True)

    assert isinstance(found, TryAgain)
    assert found.reason == "TriggerFired"
    assert "4711" not in str(found)


def test_a_deferred_constraint_that_refuses_the_commit_is_a_conflict(world: Receiver) -> None:
    error = oracledb.IntegrityError(
        "ORA-02091: transaction rolled back\nORA-00001: unique constraint (SHOP.U) violated"
    )
    found = at_commit(world.site, error)

    assert isinstance(found, RowConflict)
    assert str(found) == "at commit: ORA-00001 SHOP.U"


def test_rows_that_a_lane_can_not_lock_are_tried_again_when_they_deadlock(world: Receiver) -> None:
    found = meant(
        world.site,
        oracledb.DatabaseError("ORA-00060: deadlock detected while waiting for resource"),
        "shop.item",
        None,
        is_alive=True,
    )

    assert isinstance(found, TryAgain)
