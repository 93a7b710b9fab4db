"""Whatever the redo looks like and wherever the reader is stopped: each committed transaction is given out once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.logrow import COLUMNS, Code, LogRow
from bowline_worker.endpoints.oracle.mining import Committed
from bowline_worker.endpoints.oracle.position import Place
from bowline_worker.model import Position
from oracle.mining_rows import PARTIAL, PLACEHOLDER, ZERO_RS_ID, Reader, Row, first_place
from oracle.mining_world import Truth, World

SCRATCH = Path(tempfile.gettempdir())
ACTIONS = 100
SCN, RS_ID, SEQUENCE, CODE, ROLLBACK, CSF, ROW_ID = (
    COLUMNS.index(name)
    for name in ("SCN", "RS_ID", "XIDSQN", "OPERATION_CODE", "ROLLBACK", "CSF", "ROW_ID")
)

See = Callable[[Sequence[Row], int], list[Row]]


@dataclass(frozen=True)
class Given:
    """A transaction as the reader gave it out."""

    xid: tuple[int, int, int]
    scn: int
    sql: tuple[str, ...]
    position: Position
    place: Place

    @classmethod
    def of(cls, transaction: Committed) -> Given:
        return cls(
            transaction.xid[1:],
            transaction.scn,
            tuple(change.sql for change in transaction.changes),
            transaction.position,
            transaction.place,
        )


class Process:
    """A capture with its journal: it can be stopped at any moment, and only what is durable is left of it."""

    def __init__(self, world: World, random: Random, *, see: See | None = None) -> None:
        self._world, self._random, self._see = world, random, see
        self.journal: list[Given] = []
        self.restarts = 0
        self.is_calm = False  #: nothing stops it any more
        self._end: Position | None = None
        self._saved = first_place()
        self._start()

    def _start(self) -> None:
        budget = self._random.choice([0, 2000, 1 << 20])
        self._reader = Reader(SCRATCH, place=self._saved.after(self._end), budget=budget)

    def _strikes(self, chance: float) -> bool:
        return not self.is_calm and self._random.random() < chance

    def crash(self) -> None:
        self.restarts += 1
        self._reader.miner.close()
        self._start()

    def step(self, *, upper: int | None = None) -> None:
        """Mine a step, which may fail in the middle, and make it durable, which may end in the middle."""
        miner = self._reader.miner
        reached = max(self._world.upper() if upper is None else upper, miner.least_upper)
        rows = list(self._world.rows())
        if self._see is not None:
            rows = self._see(rows, reached)
        if self._strikes(0.2):
            half = miner.step(reached)
            for row in rows[: self._random.randint(0, len(rows))]:
                half.add(LogRow.from_row(row))
        step = miner.step(reached)
        for row in rows:
            step.add(LogRow.from_row(row))
        for transaction in miner.apply(step):
            given = Given.of(transaction)
            if self._strikes(0.1):
                self.crash()
                return
            self.journal.append(given)
            self._end = given.position
            if self._random.random() < 0.5:
                self._saved = given.place
        if self._random.random() < 0.3:
            self._end, self._saved = miner.position, miner.place
        if self._strikes(0.1):
            self.crash()

    def drain(self) -> None:
        """Read to the end of what the world has written."""
        self.is_calm = True
        for _ in range(3):
            self.step(upper=self._world.scn)


def run(random: Random, *, threads: int = 1, see: See | None = None) -> tuple[World, Process]:
    world = World(random, threads=threads)
    process = Process(world, random, see=see)
    for _ in range(ACTIONS):
        world.act()
        if random.random() < 0.5:
            # CURRENT_SCN is read first, and the log goes on being written.
            upper = world.upper() - random.randrange(3)
            for _ in range(random.randrange(3)):
                world.act()
            process.step(upper=upper)
    world.finish()
    process.drain()
    return world, process


@pytest.mark.parametrize("seed", range(6))
def test_one_step_reads_a_backlog_nearly_to_its_bound(seed: int) -> None:
    """However much there is to read: a capture that fell behind must be able to catch up."""
    world = World(Random(seed), threads=2)
    for _ in range(4000):
        world.act()
    upper = world.upper() // 2
    wanted = sum(row[SCN] <= upper for row in world.rows())

    step = Reader(SCRATCH, place=first_place()).miner.step(upper)
    for row in world.rows():
        step.add(LogRow.from_row(row))

    assert len(step.take()) > 0.9 * wanted


def per_key(truths: Sequence[Truth], xids: Sequence[tuple[int, int, int]]) -> list[list[Truth]]:
    by_xid = {truth.xid: truth for truth in truths}
    keys = sorted({key for truth in truths for key in truth.keys})
    return [[by_xid[xid] for xid in xids if key in by_xid[xid].keys] for key in keys]


def is_faithful(world: World, journal: Sequence[Given]) -> bool:
    """Tell whether the journal has each transaction once, whole, and in order for each key."""
    expected = {truth.xid: truth.sql for truth in world.committed}
    found = [(each.xid, each.sql) for each in journal]
    if sorted(found) != sorted(expected.items()):
        return False
    in_truth = [truth.xid for truth in world.committed]
    return per_key(world.committed, [xid for xid, _ in found]) == per_key(world.committed, in_truth)


@pytest.mark.parametrize("threads", [1, 2])
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_each_committed_transaction_comes_once_and_in_order(threads: int, seed: int) -> None:
    world, process = run(Random(seed), threads=threads)
    orders = [each.position.order for each in process.journal]

    assert [
        (each.xid, each.sql) for each in sorted(process.journal, key=lambda each: each.xid)
    ] == [(each.xid, each.sql) for each in sorted(world.committed, key=lambda each: each.xid)]
    assert is_faithful(world, process.journal)
    assert orders == sorted(set(orders))


# --- readers that are not careful ---


class SeeByScn:
    """Goes on behind the highest SCN that was asked for."""

    def __init__(self) -> None:
        self._seen = 0

    def __call__(self, rows: Sequence[Row], upper: int) -> list[Row]:
        found = [row for row in rows if self._seen < row[SCN] <= upper]
        self._seen = max(self._seen, upper)
        return found


def see_below(rows: Sequence[Row], upper: int) -> list[Row]:
    """Lets SQL leave out what is above the bound, which is what hides rows that a cursor goes past."""
    return [row for row in rows if row[SCN] <= upper]


def see_no_undo(rows: Sequence[Row], _upper: int) -> list[Row]:
    """Takes changes that were taken back for changes that stand."""
    return [row for row in rows if not row[ROLLBACK]]


def see_no_undo_as_undo(rows: Sequence[Row], _upper: int) -> list[Row]:
    """Applies undo rows as further changes."""
    return [(*row[:ROLLBACK], 0, *row[ROLLBACK + 1 :]) for row in rows]


def see_pieces(rows: Sequence[Row], _upper: int) -> list[Row]:
    """Takes each row for a whole statement."""
    return [(*row[:CSF], 0, *row[CSF + 1 :]) for row in rows]


NAIVE: list[Callable[[], See | None]] = [
    SeeByScn,
    lambda: see_below,
    lambda: see_no_undo,
    lambda: see_no_undo_as_undo,
    lambda: see_pieces,
]


def unfaithful(make: Callable[[], See | None]) -> Iterator[int]:
    """Give the worlds, by number, in which a reader that sees rows that way is wrong, or stops."""
    for seed in range(40):
        world = World(Random(seed))
        process = Process(world, Random(seed), see=make())
        try:
            read_along(world, process)
        except Unsafe:
            yield seed
            continue
        if not is_faithful(world, process.journal):
            yield seed


def read_along(world: World, process: Process) -> None:
    """Let the world go on while it is read, step by step, to its end."""
    for _ in range(ACTIONS // 4):
        world.act()
        world.act()
        upper = world.upper()
        world.act()
        process.step(upper=upper)
    world.finish()
    process.drain()


def test_the_worlds_that_careless_readers_get_wrong_are_read_right() -> None:
    assert list(unfaithful(lambda: None)) == []


@pytest.mark.parametrize(
    "make", NAIVE, ids=["by SCN", "bound in SQL", "no undo", "undo as change", "pieces"]
)
def test_a_careless_reader_gets_some_of_these_worlds_wrong(make: Callable[[], See]) -> None:
    """Else the worlds would be too kind to prove anything."""
    assert any(True for _ in unfaithful(make))


def test_the_worlds_have_what_they_are_for() -> None:
    runs = [run(Random(seed)) for seed in range(20)]
    rows = [row for world, _ in runs for row in world.rows()]
    commits = [
        sorted((row[RS_ID], row[SCN]) for row in world.rows() if row[CODE] == Code.COMMIT)
        for world, _ in runs
    ]

    assert any(process.restarts > 2 for _, process in runs)
    assert any(row[CSF] for row in rows)
    assert any(row[ROLLBACK] and row[ROW_ID] != PLACEHOLDER for row in rows)
    assert any(row[SEQUENCE] == PARTIAL for row in rows)
    assert any(row[RS_ID] == ZERO_RS_ID for row in rows)
    # A commit lies behind one with a higher SCN.
    assert any(later[1] < earlier[1] for each in commits for earlier, later in pairwise(each))
