"""The whole road by real roles, from PostgreSQL to the server that stands in for YugabyteDB, back, and there again.

One transaction of twelve fails by 40001 on the target's side, wherever it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from bowline_worker.contract import Side, Verdict
from endpoints.yugabytedb import BehindStandin
from road.by_hand import Road
from servers import APPLICATION, Database, MakePair, Pair
from yugabyte_standin.process import Standin

SHOP = (
    "create table item (id int primary key, name text, note text, at timestamptz default now())",
    "create table line (item int references item, n int, price numeric(10, 2), primary key (item, n))",
    "insert into item (id, name) select n, 'item ' || n from generate_series(1, 500) n",
    "insert into line select n, 1, n / 100.0 from generate_series(1, 500) n",
    f"grant all on item, line to {APPLICATION}",
)


@pytest.fixture
def pair(standin: Standin, databases: tuple[Database, Database], make_pair: MakePair) -> Pair:
    source, target = databases
    standin.furnish(target.name)
    for statement in SHOP:
        source.run(statement)
    return make_pair(source, BehindStandin(target.server, target.name, standin))


@pytest.fixture
def road(pair: Pair) -> Iterator[Road]:
    road = Road(pair, {"parallelism": 2, "chunk_rows": 100, "include": ["public.*"]})
    yield road
    road.close()


def work(database: Database, start: int) -> None:
    """Insert, update one column, change a key, and delete, as an application does."""
    statements = (
        f"insert into item (id, name, note) values ({start}, 'new', 'kept')",
        f"insert into line values ({start}, 1, 1.50), ({start}, 2, 2.50)",
        f"update item set name = 'renamed' where id = {start}",
        f"update line set n = 3 where item = {start} and n = 2",
        f"delete from line where item = {start} and n = 1",
    )
    is_behind = isinstance(database, BehindStandin)
    connection = (
        database.as_application()
        if isinstance(database, BehindStandin)
        else database.connect(APPLICATION, database.server.password)
    )
    with connection:
        for statement in statements:
            while True:
                try:
                    connection.execute(statement.encode())
                except psycopg.errors.SerializationFailure:
                    assert is_behind
                    continue
                break


def contents(database: Database) -> list[tuple[object, ...]]:
    return [
        *database.rows("select id, name, note, at from item order by id"),
        *database.rows("select item, n, price from line order by item, n"),
    ]


def switch(road: Road, attempt: int, loser: Side) -> None:
    done = road.switch(attempt, loser)

    assert done.verdict is Verdict.COMMITTED, (done.reason, done.message)


def test_nothing_is_lost_on_the_way_to_yugabytedb_and_back(road: Road, pair: Pair) -> None:
    _, apply = road.to_streaming()
    work(pair.source, 1000)
    road.caught_up(apply)
    assert contents(pair.source) == contents(pair.target)

    switch(road, 1, Side.SOURCE)
    work(pair.target, 2000)
    road.caught_up(road.workers[-1])
    assert contents(pair.source) == contents(pair.target)

    switch(road, 2, Side.TARGET)
    work(pair.source, 3000)
    road.caught_up(road.workers[-1])
    assert contents(pair.source) == contents(pair.target)
    kept = [row for row in contents(pair.source) if row[1:3] == ("renamed", "kept")]
    assert [row[0] for row in kept] == [1000, 2000, 3000]
