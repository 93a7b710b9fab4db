"""Digests of Oracle's rows, through the real driver: those of a real PostgreSQL that holds the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from demo.servers import Server
from hypothesis import HealthCheck, given, settings

from bowline_worker.contract import TryAgain, Unsupported
from bowline_worker.endpoints.base import BucketDigest
from bowline_worker.endpoints.digests import Values, summed
from bowline_worker.endpoints.oracle import digest
from bowline_worker.endpoints.oracle.types import ValueRefused
from bowline_worker.endpoints.postgres import catalog
from bowline_worker.endpoints.postgres import digest as of_postgresql
from bowline_worker.model import Column, Row, Table, TableName
from oracle.pair_rig import Mixed
from oracle.standin.wire.faults import Call, When
from oracle.test_snapshot import filled, wide_rows, wide_table
from oracle.world import World, world
from servers import Database

BUCKETS = 8
SLOW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def mixed(pg: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    directory = tmp_path_factory.mktemp("digest")
    with world(World, directory) as here, pg.database() as name:
        yield Mixed.between(here, Database(pg, name), directory)


@pytest.fixture
def alone(pg: Server, tmp_path: Path) -> Iterator[Mixed]:
    """A server for a test that takes something away from it."""
    with world(World, tmp_path) as here, pg.database() as name:
        yield Mixed.between(here, Database(pg, name), tmp_path)


def both(mixed: Mixed, table: Table) -> tuple[Mapping[int, BucketDigest], ...]:
    """The digests of both sides, with the rows' digests of each bucket looked at as well."""
    here = digest.digests(mixed.source, table, BUCKETS)
    there = of_postgresql.digests(mixed.target, table, BUCKETS)
    for bucket in range(BUCKETS):
        rows = digest.bucket_rows(mixed.source, table, BUCKETS, bucket)
        assert rows == of_postgresql.bucket_rows(mixed.target, table, BUCKETS, bucket)
        count = sum(map(len, rows.values()))
        assert count == (here[bucket].rows if bucket in here else 0)
    return here, there


def copied(mixed: Mixed, columns: str, rows: Sequence[Sequence[object]]) -> Table:
    """A table with these rows on both sides."""
    return copy(mixed, filled(mixed.world, columns, rows))


def copy(mixed: Mixed, name: str) -> Table:
    of = mixed.only(name.lower())
    of.make_targets()
    of.copy()
    (found,) = of.tables().values()
    return found.table


# --- equal rows -----------------------------------------------------------------------------------


@SLOW
@given(rows=wide_rows())
def test_rows_of_every_type_have_the_digests_that_postgresql_computes(
    mixed: Mixed, rows: list[Row]
) -> None:
    name = wide_table(mixed.world, rows).name
    of = mixed.only(name.lower())
    of.make_targets()
    of.copy()
    (found,) = of.tables().values()

    here, there = both(of, found.table)

    assert here == there
    assert sum(each.rows for each in here.values()) == len(rows)


def test_keyed_rows_agree_with_a_key_of_two_columns_in_its_own_order(mixed: Mixed) -> None:
    rows = [(n % 5, f"k {n}", n / 4) for n in range(200)]
    table = copied(mixed, "z number(9), a varchar2(9), v number, primary key (z, a)", rows)

    here, there = both(mixed, table)

    assert table.key == ("z", "a")
    assert here == there
    assert len(here) == BUCKETS


def test_keyless_duplicates_are_counted_and_not_told(mixed: Mixed) -> None:
    rows = [("same", 1)] * 3 + [("secret", n) for n in range(50)]
    table = copied(mixed, "word varchar2(9), n number", rows)
    here, there = both(mixed, table)
    names: set[str] = set()
    for bucket in range(BUCKETS):
        names |= digest.bucket_rows(mixed.source, table, BUCKETS, bucket).keys()

    assert table.key == ()
    assert here == there
    assert sum(each.rows for each in here.values()) == 53
    assert all(int(name) for name in names)


def test_an_empty_lob_is_not_null(mixed: Mixed) -> None:
    name = filled(mixed.world, "id number(9) primary key, words clob, bytes blob", [])
    mixed.world.run(f"insert into {name} values (1, empty_clob(), empty_blob())",
                    f"insert into {name} values (2, null, null)", "commit")  # fmt: skip
    table = copy(mixed, name)

    here, there = both(mixed, table)
    mixed.world.run(f"update {name} set words = null where id = 1", "commit")

    assert here == there
    assert digest.digests(mixed.source, table, BUCKETS) != here


def test_a_table_without_rows_has_no_bucket(mixed: Mixed) -> None:
    table = copied(mixed, "id number(9) primary key", [])

    assert both(mixed, table) == ({}, {})


def test_computed_columns_are_left_out_and_invisible_ones_are_not(mixed: Mixed) -> None:
    name = filled(
        mixed.world, "id number(9) primary key, twice as (id * 2), n number invisible", []
    )
    mixed.world.run(f"insert into {name} (id, n) values (1, 5)", "commit")
    (found,) = mixed.only(name.lower()).tables().values()
    mixed.database.run(
        f"create table shop.{name} (n numeric, twice numeric generated always as (id * 3) stored, id int)",
        f"insert into shop.{name} (id, n) values (1, 5)",
    )

    here, there = both(mixed, found.table)
    mixed.world.run(f"update {name} set n = 6", "commit")

    assert here == there
    assert digest.digests(mixed.source, found.table, BUCKETS) != here


# --- the other side's description -----------------------------------------------------------------


def test_a_description_of_the_other_side_serves_as_well(mixed: Mixed) -> None:
    """On the way back PostgreSQL is looked at first: its columns stand in another order, a number is a boolean."""
    name = filled(mixed.world, 'id number(9) primary key, ok number(1), "Note" varchar2(20)',
                  [(1, 1, "one"), (2, 0, None), (3, None, "th,ree")])  # fmt: skip
    mixed.database.run(
        f'create table shop.{name} ("Note" varchar(20), ok boolean, id int primary key)',
        f"insert into shop.{name} values ('one', true, 1), (null, false, 2), ('th,ree', null, 3)",
    )
    (table,) = catalog.tables(mixed.only(name.lower()).target)

    here, there = both(mixed.only(name.lower()), table)

    assert here == there
    assert sum(each.rows for each in here.values()) == 3


def test_of_two_spellings_the_selected_one_is_read(alone: Mixed) -> None:
    alone.world.run("create table item (id number(9) primary key)",
                    'create table "item" (id number(9) primary key)',
                    "insert into item values (1)", "commit")  # fmt: skip
    config = alone.source.config.model_copy(update={"exclude": ["SHOP.item"]})
    site = replace(alone.source, config=config)
    table = Table(
        name=TableName("shop", "item"), columns=columns("id"), key=("id",), one_lane=False
    )

    assert sum(each.rows for each in digest.digests(site, table, 4).values()) == 1
    with pytest.raises(Unsupported, match=r"2 tables that shop\.item stands for"):
        digest.digests(alone.source, table, 4)


def columns(*names: str) -> tuple[Column, ...]:
    return tuple(
        Column(name=name, type_schema="pg_catalog", type_name="int4", type_text="integer")
        for name in names
    )


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("gone", r"0 tables that shop\.gone stands for"),
        ("lacks", r"no column v of shop\.lacks"),
    ],
)
def test_a_shape_that_is_not_here_is_an_error_and_no_digest(
    mixed: Mixed, table: str, said: str
) -> None:
    mixed.world.run(f"create table {table}_ (id number(9))")
    if table == "lacks":
        mixed.world.run("create table lacks (id number(9))")
    wanted = Table(
        name=TableName("shop", table), columns=columns("id", "v"), key=("id",), one_lane=False
    )

    with pytest.raises(Unsupported, match=said):
        digest.digests(mixed.source, wanted, 4)
    with pytest.raises(Unsupported, match=said):
        digest.bucket_rows(mixed.source, wanted, 4, 0)


def test_a_column_that_can_not_be_told_is_refused_with_a_remedy(mixed: Mixed) -> None:
    mixed.world.run("create table photos (id number(9), photo long raw)")
    wanted = Table(
        name=TableName("shop", "photos"), columns=columns("id", "photo"), key=(), one_lane=True
    )

    with pytest.raises(Unsupported, match="LONG RAW") as caught:
        digest.digests(mixed.source, wanted, 4)
    assert "BLOB" in caught.value.hint


# --- what a digest sees ---------------------------------------------------------------------------


def test_a_digest_is_of_one_instant_whatever_commits_meanwhile(
    mixed: Mixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that move from a part not yet read to one that was would be missed, or counted twice."""
    name = filled(mixed.world, "id number(9) primary key, n number", [(n, n) for n in range(500)])
    (found,) = mixed.only(name.lower()).tables().values()
    before = digest.digests(mixed.source, found.table, BUCKETS)
    monkeypatch.setattr(digest, "ROWS_AT_ONCE", 10)

    def amid(rows: Iterator[Values], places: Sequence[int], buckets: int) -> object:
        first = next(rows)
        mixed.world.run(f"update {name} set n = -n", f"delete from {name} where id > 400",
                        f"insert into {name} values (9999, 1)", "commit")  # fmt: skip
        return summed([first, *rows], places, buckets)

    monkeypatch.setattr(digest, "summed", amid)

    assert digest.digests(mixed.source, found.table, BUCKETS) == before
    monkeypatch.setattr(digest, "summed", summed)
    assert digest.digests(mixed.source, found.table, BUCKETS) != before


def test_rows_are_read_where_flashback_is_not_granted_and_right_after_ddl(alone: Mixed) -> None:
    """Behind a fence both is so: its triggers were just enabled, and the target grants what applying needs."""
    alone.world.run(
        "create table t (id number(9) primary key)", "insert into t values (1)", "commit"
    )
    (found,) = alone.only("t").tables().values()
    alone.world.stand_in.database.users["BOWLINE"].privileges = {
        "SELECT ANY TABLE", "SELECT ANY DICTIONARY"
    }  # fmt: skip
    alone.world.run("alter table t modify (id number(8))")

    assert sum(each.rows for each in digest.digests(alone.source, found.table, 4).values()) == 1


# --- what goes wrong ------------------------------------------------------------------------------


def test_undo_that_is_gone_before_the_end_is_tried_again(
    mixed: Mixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(n, "x" * 200) for n in range(3_000)]
    name = filled(mixed.world, "id number(9) primary key, name varchar2(200)", rows)
    (found,) = mixed.only(name.lower()).tables().values()

    def amid(rows: Iterator[Values], places: Sequence[int], buckets: int) -> object:
        first = next(rows)
        mixed.world.run(f"update {name} set name = 'y' where id = 2999", "commit")
        database = mixed.world.stand_in.database
        database.forget_undo(database.current_scn())
        return summed([first, *rows], places, buckets)

    monkeypatch.setattr(digest, "summed", amid)

    with pytest.raises(TryAgain, match="snapshot too old") as caught:
        digest.digests(mixed.source, found.table, BUCKETS)
    assert caught.value.reason == "SnapshotTooOld"
    assert "undo_retention" in caught.value.hint


def test_a_connection_that_is_lost_is_tried_again(alone: Mixed) -> None:
    rows = [(n, "x" * 200) for n in range(3_000)]
    name = filled(alone.world, "id number(9) primary key, name varchar2(200)", rows)
    (found,) = alone.only(name.lower()).tables().values()
    alone.world.stand_in.server.faults.drop(Call.FETCH, When.BEFORE)

    with pytest.raises(TryAgain, match="digest of"):
        digest.digests(alone.source, found.table, BUCKETS)


def test_a_value_that_has_no_counterpart_is_refused_by_column_and_not_told(mixed: Mixed) -> None:
    name = filled(mixed.world, "id number(9) primary key, word varchar2(9)", [(1, "hush\0")])
    (found,) = mixed.only(name.lower()).tables().values()

    with pytest.raises(ValueRefused, match=rf"{name}\.WORD") as caught:
        digest.digests(mixed.source, found.table, BUCKETS)
    assert "hush" not in str(caught.value)


def test_a_table_that_may_not_be_read_is_an_error(alone: Mixed) -> None:
    """Rows that are not seen on both sides would be equal."""
    alone.world.run("create table t (id number(9) primary key)")
    (found,) = alone.only("t").tables().values()
    alone.world.stand_in.database.users["BOWLINE"].privileges = {"SELECT ANY DICTIONARY"}

    with pytest.raises(Unsupported, match="0 tables") as caught:
        digest.digests(alone.source, found.table, BUCKETS)
    assert "SELECT" in caught.value.hint
