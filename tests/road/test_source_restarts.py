"""The source's server crashes in the middle of the snapshot: no view of it is left, and no row is lost or doubled."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from demo.servers import Server

from bowline_worker.contract import Exit, Role
from road.by_hand import Road, wait_until
from servers import Database, MakePair, prepare_roles

ROWS = 20_000
CHUNK_ROWS = 1_000
SCHEMA = (
    "create table public.item (id int primary key, name text, big text)",
    "alter table public.item alter big set storage external",
    f"insert into public.item select n, 'n' || n, null from generate_series(1, {ROWS}) n",
    "update public.item set big = repeat(id::text, 1000) where id % 100 = 0",
    "create table public.event (what text)",
    f"insert into public.event select 'e' || n % 7 from generate_series(1, {ROWS * 6}) n",
    "create table public.hit (day date, n int, primary key (day, n)) partition by range (day)",
    "create table public.hit_old partition of public.hit for values from ('2020-01-01') to ('2025-01-01')",
    "create table public.hit_new partition of public.hit for values from ('2025-01-01') to ('2030-01-01')",
    "insert into public.hit select date '2024-06-01', n from generate_series(1, 3000) n",
)
#: Rows that move between chunks and partitions, values that stay apart unlogged, equal rows without a key.
CHURN = (
    "update public.item set name = name || '+' where id % 100 = 0",
    "update public.item set id = id + 100000 where id % 500 = {0} and id < 100000",
    "delete from public.item where id % 500 = 10 + {0}",
    "insert into public.item select n, 'new' from generate_series(200000 + {0} * 1000, 200500 + {0} * 1000) n",
    "update public.hit set day = '2026-01-01' where n % 10 = {0}",
    "delete from public.event where ctid in (select ctid from public.event where what = 'e1' limit 50)",
    "insert into public.event select 'e1' from generate_series(1, 20)",
)
#: On the target: two chunks wait, one of each worker, so that the middle of the snapshot lasts.
WAITING = (
    "create function bowline.wait() returns trigger language plpgsql as"
    " 'begin perform pg_advisory_xact_lock(1); return new; end'",
    "create trigger wait before insert on public.item for each row when (new.id in (550, 3550))"
    " execute function bowline.wait()",
    "alter table public.item enable always trigger wait",
)
WAITERS = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
TABLES = ("item", "event", "hit")


@pytest.fixture
def source() -> Iterator[Database]:
    with Server() as server:
        prepare_roles(server)
        with server.database("source") as name:
            yield Database(server, name)


@pytest.fixture
def road(source: Database, database: Database, make_pair: MakePair) -> Iterator[Road]:
    source.run(*SCHEMA)
    road = Road(make_pair(source, database), {"parallelism": 2, "chunk_rows": CHUNK_ROWS})
    yield road
    road.close()


def churn(source: Database, times: int) -> None:
    source.run(*(statement.format(times) for statement in CHURN))


def content(database: Database) -> dict[str, list[tuple[object, ...]]]:
    return {
        name: database.rows(f"select t::text from public.{name} t order by 1") for name in TABLES
    }


@pytest.mark.slow
def test_a_source_that_crashes_in_the_middle_of_the_snapshot_loses_and_doubles_nothing(
    road: Road,
) -> None:
    source, target = road.pair.source, road.pair.target
    for role in (Role.ASSESS, Role.SCHEMA, Role.PREPARE):
        road.run(role)
    target.run(*WAITING)
    blocker = target.connect()
    blocker.execute("select pg_advisory_lock(1)")
    capture, snapshot = road.start(Role.CAPTURE), road.start(Role.SNAPSHOT)
    wait_until("both workers wait", lambda: target.value(WAITERS) == 2)
    churn(source, 1)

    source.server.restart(signal.SIGQUIT)
    blocker.close()

    for worker in (capture, snapshot):
        worker.wait(code=Exit.TRY_AGAIN)
    churn(source, 2)
    capture, snapshot = road.start(Role.CAPTURE), road.start(Role.SNAPSHOT)
    churn(source, 3)
    snapshot.wait()
    apply = road.start(Role.APPLY)
    churn(source, 4)
    road.caught_up(apply)

    assert content(target) == content(source)
    kept = target.rows(
        "select table_name from bowline.copied where position = (select min(position) from bowline.copied)"
    )
    assert kept == [("event",)]
    assert target.value("select count(distinct position) from bowline.copied") == 2
