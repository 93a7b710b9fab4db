"""A source that nobody writes to, on a server that is busy with another database: its WAL must not be kept for us."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from road.by_hand import Road, wait_until
from servers import Database, Pair

WRITTEN = 1 << 30
BEHIND = 32 << 20
LAG = """
select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::int8
from pg_replication_slots where database = current_database()"""
LOG = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8"
FILL = "insert into public.busy select repeat('x', 1000) from generate_series(1, 100000)"


@pytest.fixture
def road(pair: Pair) -> Iterator[Road]:
    pair.source.run("create table public.item (id int primary key)")
    road = Road(pair)
    yield road
    road.close()


@pytest.mark.slow
def test_a_busy_neighbour_does_not_fill_the_disk_of_an_idle_source(
    road: Road, database: Database
) -> None:
    source = road.pair.source
    road.to_streaming()
    before = source.value(LOG)
    database.run("create table public.busy (a text)")
    while source.value(LOG) - before < WRITTEN:
        database.run(FILL)

    wait_until("the slot follows", lambda: source.value(LAG) < BEHIND)
