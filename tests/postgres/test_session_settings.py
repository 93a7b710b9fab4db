"""What a database prefers for its own sessions changes no value that Bowline writes."""

from __future__ import annotations

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Side
from bowline_worker.endpoints.base import TableBatch
from bowline_worker.endpoints.postgres import books, catalog
from bowline_worker.endpoints.postgres.lane import PostgresLane
from servers import Pair


def test_nulls_of_an_array_do_not_become_words(pair: Pair) -> None:
    target = pair.target
    target.run(
        "create table public.item (id int primary key, tags text[])",
        f'alter database "{target.name}" set array_nulls = off',
    )
    site = pair.site(Side.TARGET)
    books.install(site)
    (table,) = catalog.tables(site)
    lane = PostgresLane(site, StreamId(Side.SOURCE, 0))
    lane.begin()
    lane.write(TableBatch(table=table, inserts=[(b"1", b"{a,NULL}")]))
    lane.commit()
    lane.close()

    assert target.rows("select tags[1], tags[2] is null from public.item") == [("a", True)]
