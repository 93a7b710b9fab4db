"""Value in, value out, for random values of every type: by the snapshot's relay in both forms, and by the stream.

The examples are the same in every run; EXAMPLES=100 tries as many others of each type.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from demo.servers import Server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.contract import Engine, Side
from bowline_worker.endpoints.pairs import binary_tables
from bowline_worker.endpoints.postgres import PostgresEndpoint, lane, names
from bowline_worker.endpoints.postgres.connection import connect, quote
from bowline_worker.endpoints.postgres.copying import copy_in, copy_out
from bowline_worker.endpoints.postgres.snapshot import copy_statement
from bowline_worker.fold import Shape, fold
from bowline_worker.model import SignalKind, Table, Transaction
from endpoints.content import exact
from endpoints.random_values import MAKE, TYPES, Random
from endpoints.walk import be_hostile
from servers import MIGRATOR, Database, Pair

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
#: So many lists of so many values.
TRIED = settings(
    max_examples=EXAMPLES or 3,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
VALUES = 40
STREAM = StreamId(Side.SOURCE, 0)
LANE = LaneRow(lane=0, number=0, generation=1, passed=True)


class Passage:
    """Two databases with a keyed and a keyless table for every type, a stream between them, and a lane at its end."""

    def __init__(self, pair: Pair) -> None:
        self.numbers = {name: number for number, name in enumerate(TYPES)}
        for database in (pair.source, pair.target):
            database.run(*MAKE)
            for name, number in self.numbers.items():
                database.run(
                    f"create table public.k{number} (id int primary key, v {name})",
                    f"create table public.w{number} (v {name})",
                    f"alter table public.w{number} replica identity full",
                )
            be_hostile(database)
        config = pair.config(include=["public.*"])
        self.source, self.target = (PostgresEndpoint(config, side) for side in Side)
        for endpoint in (self.source, self.target):
            endpoint.install()
        published = [
            "bowline.signal",
            *(f"public.{sign}{at}" for at in range(len(TYPES)) for sign in "kw"),
        ]
        publication = quote(names.publication(pair.migration))
        with exact(pair.source) as owner:
            owner.execute(
                f"create publication {publication} for table {', '.join(published)}".encode()
            )
        self.source.arm(STREAM)
        with self.target.books() as books:
            books.put_lanes(Side.SOURCE, [LANE])
        self.capture = self.source.capture(STREAM, None)
        self.lane = self.target.lane(STREAM)
        self.decoder = self.source.decoder()
        self.tables = {table.name.name: table for table in self.target.tables()}
        self.shapes = {table.name: Shape(table) for table in self.tables.values()}
        engines = (Engine.POSTGRESQL, Engine.POSTGRESQL)
        self.binary = binary_tables(engines, self.source.tables(), self.tables.values())
        self.here, self.there = exact(pair.source), exact(pair.target)
        self.relays = connect(self.source.site), connect(self.target.site)
        self.barrier = 0
        self.applied = 0
        self.is_clean = True

    def close(self) -> None:
        self.capture.close()
        self.lane.close()
        for each in (self.here, self.there, *self.relays):
            each.close()

    def read(self) -> list[Transaction]:
        """All transactions of tables since the last time."""
        self.barrier += 1
        with self.source.books() as books:
            books.signal(SignalKind.BARRIER, self.barrier)
        found: list[Transaction] = []
        for _ in range(300):
            for piece in self.capture.read(0.1):
                if not piece.payload:
                    continue
                block = self.capture.describe(piece.relations) + piece.payload
                for transaction in self.decoder.decode(block):
                    if any(each.attempt == self.barrier for each in transaction.signals):
                        return found
                    found.append(transaction)
        raise AssertionError("the barrier did not come")

    def apply(self) -> None:
        """Apply what the stream has: as sets where there is a key, in arrays and by COPY in turns; else row by row."""
        self.applied += 1
        with pytest.MonkeyPatch.context() as patch:
            # Each example applies twice: what it inserts, and that it is deleted.
            patch.setattr(lane, "COPY_ROWS", 1 if self.applied % 4 < 2 else 1000)
            self._apply()

    def _apply(self) -> None:
        for transaction in self.read():
            self.lane.begin()
            folded = fold(transaction.changes, self.shapes)
            for batch in folded.batches:
                self.lane.write(batch)
            for change in folded.ordered:
                self.lane.one(change, self.shapes[change.table].table)
            self.lane.commit()

    def same(self, table: str, how: str) -> int:
        """Compare both sides, and give the number of rows."""
        query = f'select r::text from public.{table} r order by r::text collate "C"'.encode()
        here, there = (side.execute(query).fetchall() for side in (self.here, self.there))
        assert here == there, how
        return len(here)

    def agree(self, table: Table) -> None:
        assert self.source.digests(table, 4) == self.target.digests(table, 4)

    def relay(self, name: str) -> None:
        """Copy a keyless table's rows as the snapshot does, in each form that it may take."""
        table = self.tables[name]
        origin, receiver = self.relays
        columns = ", ".join(quote(column.name) for column in table.written)
        for binary in {False, table.name in self.binary}:
            self.there.execute(f"truncate public.{name}".encode())
            form = "binary" if binary else "text"
            copy_in(
                receiver,
                f"copy public.{name} ({columns}) from stdin (format {form})",
                copy_out(origin, copy_statement(table, "0:", binary=binary)),
            )
            self.same(name, form)

    def empty(self, *tables: str) -> None:
        """Remove what an example that failed has left."""
        if self.is_clean:
            return
        self.lane.rollback()
        for side in (self.here, self.there):
            side.execute(f"truncate {', '.join(f'public.{each}' for each in tables)}".encode())
        self.read()


@pytest.fixture(scope="module")
def passage(pg: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passage]:
    with pg.database("source") as source, pg.database("target") as target:
        directory = tmp_path_factory.mktemp("values")
        users = ((MIGRATOR, pg.password), (MIGRATOR, pg.password))
        pair = Pair(Database(pg, source), Database(pg, target), "test.values", directory, users)
        passage = Passage(pair)
        yield passage
        passage.close()


def put(here: psycopg.Connection[Any], what: Random, number: int, texts: list[str]) -> None:
    """Insert the values, with a key and without; then each row of half of them takes its neighbour's."""
    rows = f"(select at, {what.value} as v from unnest(%s::text[]) with ordinality t (x, at)) found"
    here.execute(f"insert into public.k{number} select at, v from {rows}".encode(), (texts,))
    here.execute(f"insert into public.k{number} values (0, null)".encode())
    here.execute(f"insert into public.w{number} select v from {rows}".encode(), (texts,))
    here.execute(
        f"update public.k{number} k set v = o.v from public.k{number} o"
        " where o.id = k.id + 1 and k.id % 2 = 0".encode()
    )
    here.execute(
        f"update public.w{number} set v = (select v from public.k{number} where id = 1)"
        f" where ctid = any (select ctid from public.w{number} limit 3 offset 2)".encode()
    )


@pytest.mark.parametrize("name", TYPES)
def test_random_values_are_carried(passage: Passage, name: str) -> None:
    what, number = TYPES[name], passage.numbers[name]
    keyed, keyless = f"k{number}", f"w{number}"

    @TRIED
    @given(st.lists(what.texts, min_size=VALUES // 4, max_size=VALUES))
    def carried(texts: list[str]) -> None:
        passage.empty(keyed, keyless)
        passage.is_clean = False
        put(passage.here, what, number, texts)
        passage.apply()
        assert passage.same(keyed, "stream") == len(texts) + 1
        assert passage.same(keyless, "stream") == len(texts)
        passage.agree(passage.tables[keyless])
        passage.relay(keyless)
        passage.here.execute(f"delete from public.{keyed}; delete from public.{keyless}".encode())
        passage.apply()
        assert passage.same(keyed, "deleted") == passage.same(keyless, "deleted") == 0
        passage.is_clean = True

    carried()
