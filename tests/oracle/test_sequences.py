"""Sequences move on and never back: a number that was given out once, on either side, is not given out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import oracledb
import pytest

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import TryAgain, Unsupported
from bowline_worker.endpoints.base import SequenceState
from bowline_worker.endpoints.oracle import books, made, sequences
from bowline_worker.endpoints.oracle.connection import connect
from bowline_worker.model import TableName
from oracle.standin.wire.faults import Call, When
from oracle.world import World
from oracle.world import world as entered

S = TableName("shop", "s")
IDENTITY = TableName("shop", "t_id_seq")


class Counting(World):
    def read(self) -> dict[str, SequenceState]:
        with closing(connect(self.site)) as connection:
            return {
                str(name): state for name, state in sequences.read(self.site, connection).items()
            }

    def next(self, name: str = "s", count: int = 1) -> list[int]:
        """Take numbers, as an application does."""
        with self.app.cursor() as cursor:
            found = []
            for _ in range(count):
                cursor.execute(f"select {name}.nextval from dual")
                found += [int(value) for (value,) in cursor.fetchall()]
            return found

    def raised(self, last: int, increment: int = 1, name: TableName = S) -> None:
        sequences.raise_to(self.site, {name: SequenceState(last, increment)})

    def options(self, name: str = "S") -> tuple[object, ...]:
        with self.app.cursor() as cursor:
            cursor.execute(
                "select increment_by, min_value, max_value, cache_size, cycle_flag, order_flag"
                " from all_sequences where sequence_name = :name",
                [name],
            )
            (row,) = cursor.fetchall()
            return tuple(row)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Counting]:
    with entered(Counting, tmp_path) as here:
        here.run(
            "create table t (id number(9) generated always as identity primary key, n number(9))"
        )
        books.install(here.site)
        yield here


@pytest.fixture(params=["restart", "jump"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As servers do that know RESTART, and as older ones must."""
    if request.param == "jump":
        monkeypatch.setattr(sequences, "RESTART_VERSION", 10**6)
    return str(request.param)


# --- reading -------------------------------------------------------------------------------------


def test_free_sequences_and_those_of_identities_are_told_with_how_far_they_are(
    world: Counting,
) -> None:
    world.run(
        "create sequence s start with 10 increment by 5 nocache", "insert into t (n) values (1)"
    )
    world.next(count=2)

    found = world.read()

    assert found == {"shop.s": SequenceState(15, 5), "shop.t_id_seq": SequenceState(20, 1)}


def test_identities_of_tables_that_are_not_selected_are_left_out(world: Counting) -> None:
    config = world.site.config.model_copy(update={"exclude": ["shop.t"], "include": ["shop.*"]})
    world.run("create table u (id number(9) primary key)", "create sequence s")
    site = type(world.site)(config, world.site.side)
    with closing(connect(site)) as connection:
        found = sequences.read(site, connection)

    assert list(map(str, found)) == ["shop.s"]


def test_a_sequence_that_is_called_as_an_identitys_is_refused(world: Counting) -> None:
    world.run("create sequence t_id_seq")

    with pytest.raises(Unsupported, match=r"would both be shop\.t_id_seq"):
        world.read()


@pytest.mark.parametrize(
    ("table", "column", "name"),
    [
        ("ITEM", "ID", "item_id_seq"),
        ("Item", "ID", "Item_id_seq"),
        ("T" * 30, "C" * 30, "t" * 29 + "_" + "c" * 29 + "_seq"),
        ("T" * 60, "ID", "t" * 56 + "_id_seq"),
        ("T" * 40 + "É" * 20, "ID", "t" * 40 + "é" * 8 + "_id_seq"),
    ],
)
def test_an_identitys_sequence_has_the_name_that_postgresql_gives_it(
    table: str, column: str, name: str
) -> None:
    found = sequences.identity_name("SHOP", table, column)

    assert found == TableName("shop", name)
    assert len(found.name.encode()) <= 63


# --- moving --------------------------------------------------------------------------------------


def test_sequences_rise_and_never_fall(world: Counting, way: str) -> None:
    world.run("create sequence s cache 20")
    before = world.options()
    world.next(count=3)

    for last in (100, 50):
        world.raised(last)

    assert world.next() == [101]
    assert world.options() == before


@pytest.mark.parametrize(
    ("declared", "last", "then"),
    [
        ("start with 7 increment by 3 minvalue 1 maxvalue 1000 nocache", 500, 503),
        ("start with -1 increment by -1 minvalue -1000 maxvalue -1 cache 5", -500, -501),
        ("start with 1 maxvalue 9999999999999999999999999999 order", 10**20, 10**20 + 1),
        ("start with 1 maxvalue 1000 cycle cache 10", 999, 1000),
    ],
)
def test_any_sequence_goes_on_behind_the_other_sides_number(
    world: Counting, way: str, declared: str, last: int, then: int
) -> None:
    world.run(f"create sequence s {declared}")
    before = world.options()

    world.raised(last, 1 if last > 0 else -1)

    assert world.next() == [then]
    assert world.options() == before


def test_a_sequence_at_its_end_gives_nothing_out_any_more(world: Counting, way: str) -> None:
    world.run("create sequence s maxvalue 100 nocache")

    world.raised(100)

    with pytest.raises(oracledb.DatabaseError, match="ORA-08004"):
        world.next()


def test_an_identity_goes_on_behind_the_other_sides_number(world: Counting) -> None:
    world.run(
        "create table u (id number(9) generated by default on null as identity"
        " (start with 5 increment by 5 maxvalue 1000 cache 7), n number(9))"
    )
    ((name, *before),) = identities(world, "U")
    world.raised(100, 5, TableName("shop", "u_id_seq"))
    world.raised(40, 1, IDENTITY)
    world.run("insert into u (id) values (null)", "insert into t (n) values (1)", "commit")

    with world.app.cursor() as cursor:
        assert cursor.execute("select id from u").fetchall() == [(105,)]
        assert cursor.execute("select id from t").fetchall() == [(41,)]
    ((again, *after),) = identities(world, "U")
    assert (again, after) == (name, before)
    assert world.options(str(name))[:4] == (5, 1, 1000, 7)


def identities(world: Counting, table: str) -> list[tuple[object, ...]]:
    with world.app.cursor() as cursor:
        cursor.execute(
            "select i.sequence_name, i.generation_type, c.default_on_null from all_tab_identity_cols i"
            " join all_tab_cols c on c.owner = i.owner and c.table_name = i.table_name"
            " and c.column_name = i.column_name where i.table_name = :name",
            [table],
        )
        return list(cursor.fetchall())


def test_a_missing_sequence_is_named_and_nothing_is_moved(world: Counting) -> None:
    world.run("create sequence s nocache")
    states = {S: SequenceState(100, 1), TableName("shop", "gone"): SequenceState(1, 1)}

    with pytest.raises(Unsupported, match=r"shop\.gone") as caught:
        sequences.raise_to(world.site, states)

    assert caught.value.reason == "SequenceMissing"
    assert world.next() == [1]


@pytest.mark.parametrize(
    ("declared", "state", "told"),
    [
        ("increment by -1 start with -1", SequenceState(5, 1), "counts by -1 here and by 1 there"),
        ("maxvalue 10", SequenceState(11, 1), "ends at 10 here and stands at 11 there"),
        (
            "start with -1 increment by -1 minvalue -10",
            SequenceState(-11, -1),
            "ends at -10 here and stands at -11 there",
        ),
    ],
)
def test_a_sequence_that_can_not_get_there_is_named_and_nothing_is_moved(
    world: Counting, declared: str, state: SequenceState, told: str
) -> None:
    world.run("create sequence a nocache", f"create sequence s {declared} nocache")
    states = {TableName("shop", "a"): SequenceState(100, 1), S: state}

    with pytest.raises(Unsupported, match=f"sequence shop.s {told}") as caught:
        sequences.raise_to(world.site, states)

    assert caught.value.reason == "SequenceDiffers"
    assert world.next("a") == [1]


def test_a_step_of_a_switch_moves_sequences(world: Counting) -> None:
    world.run("create sequence s")
    with books.transaction(world.site) as step:
        step.raise_sequences({S: SequenceState(100, 1)})
        assert step.sequences()[S] == SequenceState(100, 1)


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize("when", list(When))
def test_a_crash_in_the_middle_of_a_jump_is_mended_by_whoever_comes_next(
    world: Counting, monkeypatch: pytest.MonkeyPatch, nth: int, when: When
) -> None:
    monkeypatch.setattr(sequences, "RESTART_VERSION", 10**6)
    world.run("create sequence s increment by 2 cache 20")
    before = world.options()
    world.stand_in.server.faults.drop(
        Call.EXECUTE, when, nth=nth, containing='alter sequence "SHOP"'
    )
    with pytest.raises(TryAgain):
        world.raised(1001, 2)
    assert [thing.kind for thing in books.made(world.site)].count("sequence") == 1

    sequences.repair(world.site)
    assert world.options() == before
    assert "sequence" not in [thing.kind for thing in books.made(world.site)]
    world.raised(1001, 2)

    assert world.options() == before
    (found,) = world.next()
    assert found >= 1003


def test_a_crash_is_mended_before_anything_is_moved(
    world: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, "RESTART_VERSION", 10**6)
    world.run("create sequence s increment by 2 cache 20")
    world.stand_in.server.faults.drop(
        Call.EXECUTE, When.AFTER, nth=2, containing='alter sequence "SHOP"'
    )
    with pytest.raises(TryAgain):
        world.raised(1001, 2)

    world.raised(1001, 2)

    assert world.options()[0] == 2
    assert world.next() == [1003]


def test_the_note_of_a_sequence_that_was_dropped_is_forgotten(world: Counting) -> None:
    with closing(connect(world.site)) as connection:
        made.record(
            connection,
            world.site,
            MadeObject(kind=sequences.KIND, name='"SHOP"."GONE"', before="1 20"),
        )
        connection.commit()

    sequences.repair(world.site)

    assert sequences.KIND not in [thing.kind for thing in books.made(world.site)]
