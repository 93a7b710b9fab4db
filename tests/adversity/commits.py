"""Commits whose connection drops, before they took effect or after: what becomes of the rows to be applied."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import oracledb

from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.contract import Side, TryAgain
from bowline_worker.endpoints.base import TableBatch
from bowline_worker.endpoints.oracle import books, catalog
from bowline_worker.endpoints.oracle.lane import OracleLane
from oracle.standin.whole import SERVICE
from oracle.standin.wire.faults import RandomDrops, When
from oracle.world import APP, World, world

BLOCKS = 30
CHANCE = 0.3
STREAM = StreamId(Side.TARGET, 1)
FIRST = LaneRow(lane=0, number=1, generation=1, passed=True)
#: Without a key, so that a row that comes twice is there twice.
TABLE = "create table event (what varchar2(20))"


class Shaky(World):
    """A receiver of blocks of one row each, whose connections drop at commits."""

    def rows(self) -> Counter[str]:
        with self.app.cursor() as cursor:
            return Counter(what for (what,) in cursor.execute("select what from event") or ())

    def problems(self) -> list[str]:
        """Name the rows that are not there once."""
        found = self.rows()
        names = {f"row {block}" for block in range(1, BLOCKS + 1)}
        return [
            f"{name} is there {found[name]} times" for name in sorted(names) if found[name] != 1
        ]


@contextmanager
def shaky(seed: int, when: When) -> Iterator[tuple[Shaky, RandomDrops]]:
    drops = RandomDrops(seed, 0.0, [when])
    with tempfile.TemporaryDirectory() as place, world(Shaky, Path(place), faults=drops) as here:
        here.run(TABLE)
        books.install(here.site)
        with books.transaction(here.site) as step:
            step.put_lanes(Side.TARGET, [FIRST])
        drops.chance = CHANCE
        yield here, drops
        drops.chance = 0.0


def apply(seed: int, when: When) -> tuple[int, list[str]]:
    """Apply all blocks by Bowline's lane, as the role does: what is not known is read back."""
    with shaky(seed, when) as (here, drops):
        (table,) = (one.table for one in catalog.tables(here.site))
        while (row := _place(here)).block < BLOCKS:
            with suppress(TryAgain), closing(OracleLane(here.site, STREAM)) as lane:
                for block in range(row.block + 1, BLOCKS + 1):
                    lane.begin()
                    after = LaneRow(
                        lane=0, number=1, generation=1, passed=True, block=block, events=block
                    )
                    lane.advance(Side.TARGET, after, since=block - 1)
                    lane.write(TableBatch(table=table, inserts=[(f"row {block}".encode(),)]))
                    lane.commit()
        return drops.fired.total(), here.problems()


def _place(here: World) -> LaneRow:
    while True:
        with suppress(TryAgain), books.transaction(here.site) as step:
            (row,) = step.lanes(Side.TARGET)
            return row


def apply_naively(seed: int, when: When, *, is_repeated: bool) -> tuple[int, list[str]]:
    """Apply all blocks; a commit without an answer is repeated with its row, or taken for done."""
    with shaky(seed, when) as (here, drops):
        for block in range(1, BLOCKS + 1):
            while not _committed(here, f"row {block}") and is_repeated:
                pass
        return drops.fired.total(), here.problems()


def _committed(here: World, what: str) -> bool:
    """Write a row in a session of its own; tell whether the commit was answered."""
    dsn = f"127.0.0.1:{here.stand_in.port}/{SERVICE}"
    with closing(oracledb.connect(user=APP[0], password=APP[1], dsn=dsn)) as connection:
        connection.cursor().execute("insert into event values (:1)", [what])
        try:
            connection.commit()
        except oracledb.DatabaseError:
            return False
        return True
