"""Rows that come or go without a row of redo: they would be missing on the other side, or stay there, without a word.

EXCHANGE PARTITION swaps the rows of two tables in the dictionary, and TRUNCATE ... CASCADE empties tables that its row
of DDL does not name. What is streamed behind either would be put on top of other rows than the source's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bowline_worker.bookkeeping import SwitchRow
from bowline_worker.contract import TryAgain, Unsafe, Verdict
from bowline_worker.endpoints.oracle import beginning, books, segments, slots, swaps
from bowline_worker.endpoints.oracle import capture as capturing
from bowline_worker.endpoints.oracle.connection import connect
from bowline_worker.endpoints.oracle.ddl import Reach, reach_of
from bowline_worker.endpoints.oracle.logrow import Code
from bowline_worker.endpoints.oracle.position import Place
from bowline_worker.endpoints.oracle.segments import Look, Note
from bowline_worker.endpoints.oracle.selection import Selection
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Op, TableName
from oracle.capture_rig import ITEM, STREAM, Consumer, Shop
from oracle.engine_rig import run
from oracle.mining_rows import SELECTION, TWO, Reader, T, commit, insert, raw
from oracle.standin.engine import segments as engine
from oracle.world import world

PART = TableName("shop", "part")
TABLES = (
    "create table item (id number(9) primary key, name varchar2(40))",
    "alter table item add supplemental log data (all) columns",
    "create table part (id number(9) primary key, item number(9))",
    "alter table part add supplemental log data (all) columns",
    "create table stage (id number(9) primary key, name varchar2(40))",
    "create table stage2 (id number(9) primary key, name varchar2(40))",
    "create table family (id number(9) primary key)",
)
BEHIND = ("insert into item values (99, 'behind')", "commit")


@pytest.fixture(autouse=True)
def _looks_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(capturing, "LONGEST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(capturing, "ADVANCE_SECONDS", 0.0)
    monkeypatch.setattr(swaps, "LOOK_SECONDS", 0.0)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Shop]:
    with a_shop(tmp_path) as found:
        yield found


@contextmanager
def a_shop(place: Path, *more: str) -> Iterator[Shop]:
    """Items and parts are migrated, with rows; STAGE and FAMILY are not."""
    with world(Shop, place) as found:
        change = {"include": ["shop.item", "shop.part"]}
        found.site = Site(found.site.config.model_copy(update=change), found.site.side)
        found.run(*TABLES, *more, "insert into stage values (7, 'other rows')", "commit")
        found.begin()
        found.run(
            "insert into item values (1, 'a')",
            "insert into part values (1, null)",
            "commit",
        )
        yield found


def swap_unseen(here: Shop, one: str, other: str) -> None:
    """Exchange rows by a way of which the redo has no statement."""
    database = here.stand_in.database
    with database.lock:
        tables = database.session("SHOP").catalog.tables
        database.revision += 1
        engine.exchange(tables["SHOP", one], tables["SHOP", other], database.tick())


def stopped(consumer: Consumer, match: str) -> Unsafe:
    """Stream until it stops."""
    with closing(consumer.begin()) as reader, pytest.raises(Unsafe, match=match) as caught:
        consumer.run(reader)
    return caught.value


# --- what the statements say ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("alter table x exchange partition p with table item", Reach((None, "ITEM"), False)),
        ("alter table x exchange partition p with table shop.item", Reach(("SHOP", "ITEM"), False)),
        (
            'ALTER TABLE "S"."x" EXCHANGE\n SUBPARTITION sp WITH  TABLE "Shop" . "My Item" INCLUDING INDEXES',
            Reach(("Shop", "My Item"), False),
        ),
        (
            "alter table x exchange partition for (date '2024-01-01', 'with table y') with table item"
            " without validation update global indexes cascade",
            Reach((None, "ITEM"), True),
        ),
        (
            "/* load */ alter table x -- with table y\n exchange partition for ('--') with table /* z */ item;",
            Reach((None, "ITEM"), False),
        ),
        ("truncate table x cascade", Reach(None, True)),
        ("Truncate Table s.x drop all storage\n CASCADE;", Reach(None, True)),
        ("alter table x truncate partition p update indexes cascade", Reach(None, True)),
        ("alter table x truncate subpartitions p, q cascade", Reach(None, True)),
        ("truncate table x", Reach(None, False)),
        ("truncate table x -- cascade", Reach(None, False)),
        ("drop table x cascade constraints", Reach(None, False)),
        ("drop user shop cascade", Reach(None, False)),
        ("comment on table x is 'exchange partition p with table item'", Reach(None, False)),
        ("alter table x move partition p", Reach(None, False)),
    ],
)
def test_a_statement_tells_whose_rows_it_changes_beside_its_own(sql: str, expected: Reach) -> None:
    assert reach_of(sql) == expected


# --- where the stream stops ----------------------------------------------------------------------


def ddl(sql: str, *, owner: str = "ETL", table: str = "STAGE") -> tuple[Any, ...]:
    return raw(
        102, 6, Code.DDL, sql,
        owner=owner, table=table, object_id=9, xid=TWO, info="USER DDL", row_id=None,
    )  # fmt: skip


BEFORE = (insert(100, 4), commit(101, 5))
AFTER = (commit(103, 7, xid=TWO), insert(104, 8), commit(105, 9))


@pytest.mark.parametrize(
    "statement",
    [
        ddl('alter table stage exchange partition p with table "S"."T"'),
        ddl("alter table stage exchange partition p with table t", owner="S"),
        ddl("alter table etl.stage exchange partition p with table t", owner="S"),
    ],
    ids=["another schema", "same schema", "the schema of the table"],
)
def test_nothing_behind_an_exchange_is_applied_on_top_of_other_rows(
    tmp_path: Path, statement: tuple[Any, ...]
) -> None:
    taken, error = Reader(tmp_path).read_until(Unsafe, *BEFORE, statement, *AFTER)

    assert [each.scn for each in taken] == [101]
    assert isinstance(error, Unsafe)
    assert error.reason == "SchemaChanged"
    assert "rows of S.T" in str(error)
    assert "SCN 102 (RS_ID 0x000012.00000006.0010/0, thread 1)" in str(error)
    assert "EXCHANGE PARTITION" in error.hint


def test_a_table_of_the_same_name_elsewhere_may_be_exchanged_every_night(tmp_path: Path) -> None:
    statement = ddl("alter table stage exchange partition p with table t")

    taken = Reader(tmp_path).read(*BEFORE, statement, *AFTER)

    assert [each.scn for each in taken] == [101, 105]


def test_an_exchange_before_the_snapshot_is_in_it(here: Shop) -> None:
    """The same statement again and again must not end a migration that began after it."""
    here.run("alter table stage exchange partition p with table item")
    slots.disarm(here.site, STREAM.number + 1)
    slots.arm(here.site, STREAM)
    here.run(*BEHIND)
    consumer = Consumer(here)

    consumer.until_quiet()

    assert [change.after for change in consumer.changes] == [(b"99", b"behind")]


@pytest.mark.parametrize("table", ["STAGE", "T"])
def test_tables_that_a_truncate_empties_along_foreign_keys_stop_the_stream(
    tmp_path: Path, table: str
) -> None:
    below = {("S", "STAGE"): {T}, ("S", "T"): {TableName("S", "U")}}
    selection = Selection(
        tables=SELECTION.tables,
        objects=SELECTION.objects,
        below=lambda owner, name: frozenset(below[owner, name]),
    )
    statement = ddl(f"truncate table {table} cascade", owner="S", table=table)

    taken, error = Reader(tmp_path, selection=selection).read_until(
        Unsafe, *BEFORE, statement, *AFTER
    )

    assert [each.scn for each in taken] == [101]
    assert f"rows of S.{'T' if table == 'STAGE' else 'U'} changed" in str(error)


# --- with a server -------------------------------------------------------------------------------

SWAPS = {
    "another table takes its rows": (
        "alter table stage exchange partition p with table item without validation",
        "the rows of shop.item changed while streaming, and the redo does not tell them",
    ),
    "its own partition takes another table's": (
        "alter table item exchange partition p with table stage including indexes",
        "shop.item at SCN",
    ),
}


@pytest.mark.parametrize("how", SWAPS)
def test_a_table_that_gets_other_rows_ends_the_stream_where_it_got_them(
    here: Shop, how: str
) -> None:
    statement, told = SWAPS[how]
    consumer = Consumer(here)
    consumer.until_quiet()
    here.run(statement, *BEHIND)

    error = stopped(consumer, told)

    assert error.reason == "SchemaChanged"
    assert [change.after for change in consumer.changes if change.table == ITEM] == [(b"1", b"a")]


def test_an_exchange_by_another_schema_s_statement_is_seen(here: Shop) -> None:
    etl = here.stand_in.database.session("ETL")
    run(etl, "create table load (id number(9) primary key, name varchar2(40))")
    consumer = Consumer(here)
    consumer.until_quiet()
    run(etl, "alter table load exchange partition p with table shop.item")
    here.run(*BEHIND)

    stopped(consumer, r"the rows of shop\.item changed .* DDL on ETL\.LOAD at SCN")


FOREIGN_KEY = "alter table part add foreign key (item) references {} on delete cascade"


@pytest.mark.parametrize("parent", ["family", "item"])
def test_a_child_that_was_emptied_with_its_parent_does_not_keep_its_rows_on_the_target(
    tmp_path: Path, parent: str
) -> None:
    """Whether the parent is migrated or not, the child's rows are gone, and its parent's name alone is told."""
    with a_shop(tmp_path, FOREIGN_KEY.format(parent)) as here:
        consumer = Consumer(here)
        consumer.until_quiet()
        here.run(f"truncate table {parent} cascade", *BEHIND)

        stopped(consumer, "the rows of shop.part changed while streaming")

        assert len(consumer.changes) == 2
        assert consumer.rows[PART]


def test_a_grandchild_is_emptied_through_a_table_that_is_not_migrated(tmp_path: Path) -> None:
    keys = (
        "insert into family values (7)",
        "alter table stage add foreign key (id) references family on delete cascade",
        "alter table part add foreign key (item) references stage on delete cascade",
    )
    with a_shop(tmp_path, *keys) as here:
        here.run("truncate table family cascade")

        stopped(Consumer(here), "the rows of shop.part changed while streaming")


def test_truncates_of_others_and_of_a_table_alone_go_on(here: Shop) -> None:
    """What empties no other migrated table must not end a migration."""
    here.run(
        "truncate table stage cascade",
        "truncate table family",
        "alter table stage exchange partition p with table stage2",
        "truncate table item cascade",
        *BEHIND,
    )
    consumer = Consumer(here)

    consumer.until_quiet()

    items = [change for change in consumer.changes if change.table == ITEM]
    assert [change.op for change in items] == [Op.INSERT, Op.TRUNCATE, Op.INSERT]
    assert [*consumer.rows[ITEM]] == [(b"99",)]


# --- the net: what no statement tells ------------------------------------------------------------


@pytest.mark.parametrize("when", ["while it streams", "while no capture runs"])
def test_rows_that_were_swapped_by_an_unknown_way_are_noticed(here: Shop, when: str) -> None:
    consumer = Consumer(here)
    if when == "while no capture runs":
        consumer.until_quiet()
        swap_unseen(here, "ITEM", "STAGE")
        with closing(consumer.begin()) as reader, pytest.raises(Unsafe, match=r"shop\.item has"):
            consumer.run(reader)
        return
    with closing(consumer.begin()) as reader:
        consumer.run(reader)
        swap_unseen(here, "ITEM", "STAGE")
        with pytest.raises(Unsafe, match=r"shop\.item has other rows.*without a TRUNCATE") as found:
            consumer.run(reader)
    assert found.value.reason == "SchemaChanged"


def test_a_truncate_that_was_streamed_is_no_swap_however_often_capture_starts(here: Shop) -> None:
    """A false stop would end a migration for a statement that is carried."""
    consumer = Consumer(here)
    consumer.until_quiet()
    for name in ("b", "c"):
        here.run("truncate table item", f"insert into item values (2, '{name}')", "commit")
        consumer.until_quiet()
        consumer.until_quiet()

    assert consumer.rows[ITEM] == {(b"2",): (b"2", b"c")}


def test_a_truncate_that_is_in_the_journal_and_not_yet_in_the_slot_is_no_swap(
    here: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = Consumer(here)
    consumer.until_quiet()
    with monkeypatch.context() as died:
        # As if it died before it kept its place, or noted what it saw.
        died.setattr(slots, "advance", lambda *_: None)
        died.setattr(slots, "keep_note", lambda *_: None)
        here.run("truncate table item", *BEHIND)
        consumer.until_quiet()
    assert [*consumer.rows[ITEM]] == [(b"99",)]
    here.run("insert into item values (100, 'later')", "commit")

    consumer.until_quiet()

    with closing(connect(here.site)) as connection:
        slot = slots.require(connection, here.site, STREAM)
        assert slot.place.emptied[ITEM] > 0
    assert [*consumer.rows[ITEM]] == [(b"99",), (b"100",)]


def test_a_swap_is_not_explained_by_a_truncate_of_long_ago(here: Shop) -> None:
    consumer = Consumer(here)
    here.run("truncate table item", *BEHIND)
    consumer.until_quiet()
    consumer.until_quiet()
    swap_unseen(here, "ITEM", "STAGE")

    stopped(consumer, r"shop\.item has other rows")


IDS = {T: {1: 10, 2: 20}, ITEM: {3: 30}}
NOTE = Note(scn=200, since=100, ids=IDS)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (IDS, []),
        ({T: {1: 10, 2: 20, 9: 90}, ITEM: {3: 30}}, []),
        ({T: {1: 11, 2: 20}, ITEM: {3: 30}}, [T]),
        ({T: {1: 20, 2: 10}, ITEM: {3: 30}}, [T]),
        ({T: {1: 10}, ITEM: {3: 30}}, [T]),
        ({ITEM: {3: 30}}, [T]),
        ({T: {1: 10, 2: 20}, ITEM: {3: 31}}, [ITEM]),
    ],
    ids=["same", "a new partition", "one other", "swapped", "one gone", "table gone", "a table"],
)
def test_a_place_that_was_noted_must_hold_the_same_segment(
    now: segments.Ids, expected: list[TableName]
) -> None:
    assert segments.unexplained(NOTE, Look(scn=300, ids=now), {}) == expected


@pytest.mark.parametrize(("emptied", "is_explained"), [(100, False), (101, True), (250, True)])
def test_a_truncate_explains_what_it_came_before(emptied: int, is_explained: bool) -> None:
    seen = Look(scn=300, ids={**IDS, ITEM: {3: 31}})

    assert segments.unexplained(NOTE, seen, {ITEM: emptied}) == ([] if is_explained else [ITEM])


def test_notes_and_places_are_read_as_they_were_written() -> None:
    note = Note(scn=7, since=5, ids=IDS, barrier=3)
    place = Reader(Path("/nowhere")).miner.place.with_emptied({T: 7}).with_emptied({T: 6, ITEM: 8})

    assert Note.loads(note.dumps()) == note
    assert Place.loads(place.dumps()) == place
    assert place.emptied == {T: 7, ITEM: 8}
    with pytest.raises(Unsafe, match="damaged"):
        Note.loads("{}")


def test_a_stream_does_not_begin_in_the_middle_of_a_swap(
    here: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which rows the snapshot will have could not be told from those that came behind it."""
    begin = beginning._begin

    def swapping(site: Site) -> Place:
        swap_unseen(here, "ITEM", "STAGE")
        return begin(site)

    monkeypatch.setattr(beginning, "_begin", swapping)

    with pytest.raises(TryAgain, match=r"shop\.item is emptied, moved or exchanged"):
        beginning.begin(here.site)


# --- behind the fence ----------------------------------------------------------------------------


def replaced(here: Shop) -> list[str]:
    with books.transaction(here.site) as opened:
        return [gap for gap in opened.fence_gaps() if "replaced" in gap]


def pass_barrier(here: Shop, consumer: Consumer, attempt: int) -> None:
    with books.transaction(here.site) as opened:
        opened.put_switch(SwitchRow(attempt=attempt, verdict=Verdict.ARMED))
    here.signal("barrier", attempt)
    consumer.until_quiet()


@pytest.mark.parametrize("statement", ["truncate table item", "alter table item exchange partition"
                                       " p with table stage"])  # fmt: skip
def test_a_switch_does_not_commit_over_rows_that_ddl_replaced_behind_the_fence(
    here: Shop, statement: str
) -> None:
    """No trigger fires for DDL: the winner would open with rows that the loser does not have."""
    consumer = Consumer(here)
    pass_barrier(here, consumer, 1)
    assert replaced(here) == []

    here.run(statement)

    assert replaced(here) == ["shop.item, whose rows DDL replaced"]


def test_a_truncate_just_before_the_fence_does_not_hold_the_switch_up(here: Shop) -> None:
    consumer = Consumer(here)
    here.run("truncate table item", *BEHIND)

    pass_barrier(here, consumer, 1)

    assert replaced(here) == []
    assert [signal.attempt for signal in consumer.signals] == [1]


def test_rows_that_were_swapped_just_before_the_fence_take_the_switch_back(
    here: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next regular look may come after the commit point."""
    consumer = Consumer(here)
    consumer.until_quiet()
    monkeypatch.setattr(swaps.Swaps, "follow", lambda *_: None)
    swap_unseen(here, "ITEM", "STAGE")

    pass_barrier(here, consumer, 1)

    assert replaced(here) == ["shop.item, whose rows DDL replaced"]


def test_a_later_attempt_is_not_judged_by_an_older_one_s_barrier(here: Shop) -> None:
    consumer = Consumer(here)
    pass_barrier(here, consumer, 1)
    here.run("truncate table item")
    with books.transaction(here.site) as opened:
        opened.put_switch(SwitchRow(attempt=2, verdict=Verdict.ARMED))

    assert replaced(here) == []

    pass_barrier(here, consumer, 2)
    assert replaced(here) == []
