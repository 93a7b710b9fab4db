"""The thinnest whole road: every step, both ways, on two real databases."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from bowline_worker.contract import LosingSide, Role, Side, Verdict
from road.by_hand import Road
from servers import APPLICATION, Database, Pair

SCHEMA = (
    "create type public.mood as enum ('calm', 'wild')",
    "create table public.item (id int primary key, name text unique, note text, at timestamptz default now())",
    "create table public.event (what text, mood public.mood)",
    "create table public.part (id bigint generated always as identity primary key, item int references public.item)",
    "create table public.hit (day date, n int, primary key (day, n)) partition by range (day)",
    "create table public.hit_old partition of public.hit for values from ('2020-01-01') to ('2025-01-01')",
    "create table public.hit_new partition of public.hit for values from ('2025-01-01') to ('2030-01-01')",
    "create index on public.item (at)",
    f"grant all on all tables in schema public to {APPLICATION}",
    f"grant all on all sequences in schema public to {APPLICATION}",
    "insert into public.item select n, 'n' || n, repeat('x', n % 50) from generate_series(1, 5000) n",
    "insert into public.event select 'e' || n % 10, 'calm' from generate_series(1, 1000) n",
    "insert into public.part (item) select n from generate_series(1, 1000) n",
    "insert into public.hit select '2024-12-01'::date + n, n from generate_series(1, 100) n",
)
TABLES = ("item", "event", "part", "hit")


@pytest.fixture
def road(pair: Pair) -> Iterator[Road]:
    pair.source.run(*SCHEMA)
    road = Road(pair, {"parallelism": 2, "chunk_rows": 1000})
    yield road
    road.close()


def content(database: Database) -> dict[str, list[tuple[object, ...]]]:
    return {
        name: database.rows(f"select t::text from public.{name} t order by 1") for name in TABLES
    }


def write(database: Database, first: int) -> None:
    """What an application does: inserts, updates, deletes, a key change, a row that moves between partitions."""
    with database.connect(APPLICATION, database.server.password) as connection:
        for at in range(first, first + 20):
            connection.execute("insert into public.item (id, name) values (%s, %s)", [at, f"n{at}"])
            connection.execute("update public.item set note = 'seen' where id = %s", [at - 1000])
            connection.execute("insert into public.event values ('live', 'wild')")
            connection.execute("insert into public.part (item) values (%s)", [at])
        connection.execute("delete from public.item where id = %s", [1000 + first // 1000])
        connection.execute(
            "update public.item set id = id + 500000 where id = %s", [2000 + first // 1000]
        )
        connection.execute(
            "update public.hit set day = '2024-06-01' where n = %s", [first % 97 + 1]
        )
        connection.execute(
            "delete from public.event where ctid in (select ctid from public.event limit 3)"
        )


def refused(database: Database) -> bool:
    try:
        write(database, 90_000)
    except psycopg.errors.ReadOnlySqlTransaction as error:
        return "bowline" in str(error)
    return False


def test_the_whole_road_and_back_and_forth_again(road: Road) -> None:
    """Replicate, Cutover, Switchover, Cutover again, Complete: after each, both sides hold the same rows."""
    source, target = road.pair.source, road.pair.target
    capture, apply = road.to_streaming()
    write(source, 10_000)
    road.caught_up(apply)
    assert content(source) == content(target)
    assert refused(target)

    primary, other = source, target
    for attempt, loser in ((1, Side.SOURCE), (2, Side.TARGET), (3, Side.SOURCE)):
        switched = road.switch(attempt, loser)

        assert switched.verdict is Verdict.COMMITTED
        assert switched.opened
        assert refused(primary)
        primary, other = other, primary
        for worker in (capture, apply):
            worker.kill()
        capture, apply = road.workers[-2:]
        write(primary, 10_000 + 1000 * attempt)
        road.caught_up(apply)
        assert content(primary) == content(other)

    for worker in (capture, apply):
        worker.kill()
    road.run(Role.CLEANUP, primary=Side.TARGET, losing_side=LosingSide.RELEASED)
    for database in (source, target):
        assert database.value("select count(*) from pg_namespace where nspname = 'bowline'") == 0
        assert database.value("select count(*) from pg_publication") == 0
        assert database.value("select count(*) from pg_trigger where tgname like 'bowline%%'") == 0
        assert (
            database.value(
                "select count(*) from pg_replication_slots where database = current_database()"
            )
            == 0
        )
    write(target, 50_000)
    source.run("insert into public.event values ('released', 'calm')")
