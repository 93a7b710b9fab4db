"""The road from Oracle under load, with kill -9 of every role: no row is lost, doubled, or on one side only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from random import Random

import oracledb
import psycopg
import pytest

from bowline_worker.contract import Role, Side, Verdict
from oracle.shop import Shop, a_road, a_shop
from road.by_hand import Road, Worker, wait_until
from servers import Database, MakePair

pytestmark = pytest.mark.slow

PAUSE_SECONDS = 0.02
#: A transaction's rows have ids from its first on; none has those of the next.
APART = 20
SEEDS = (1, 2)
#: How a writer is told that it held a table which the fence wanted, and waited for one that the fence had.
ENDED = ("ORA-00028", "canceling statement due to user request", "terminating connection")


class Writer(threading.Thread):
    """An application that goes to the other side when it is refused, and remembers what was acknowledged."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(daemon=True)
        self._shop, self._enough = shop, threading.Event()
        self.side = Side.SOURCE
        self.acknowledged: list[int] = []
        self.errors: list[str] = []

    def run(self) -> None:
        first = 1000
        while not self._enough.wait(PAUSE_SECONDS):
            first += APART
            try:
                self._shop.write(self.side, first)
                self.acknowledged.append(first)
            except (oracledb.DatabaseError, psycopg.Error) as error:
                if "bowline: " in str(error):
                    self.side = self.side.other
                elif not any(words in str(error) for words in ENDED):
                    self.errors.append(str(error))

    def stop(self) -> None:
        self._enough.set()
        self.join(60)

    def more(self, transactions: int = 4) -> None:
        """Wait until so many more are acknowledged."""
        wanted = len(self.acknowledged) + transactions
        wait_until("the writer goes on", lambda: len(self.acknowledged) >= wanted)


@pytest.fixture(params=SEEDS)
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def shop(database: Database, seed: int) -> Iterator[Shop]:
    with a_shop(database, seed) as shop:
        yield shop


@pytest.fixture
def road(shop: Shop, make_pair: MakePair) -> Iterator[Road]:
    with a_road(shop, make_pair) as road:
        yield road


def killed(road: Road, worker: Worker, role: Role, origin: Side, number: int) -> Worker:
    """Kill a worker of a stream, and start the next."""
    worker.kill()
    return road.start(role, origin=origin, number=number)


def test_no_row_is_lost_though_every_role_is_killed(road: Road, shop: Shop, seed: int) -> None:
    draw = Random(seed)
    writer = Writer(shop)
    for role in (Role.ASSESS, Role.SCHEMA, Role.PREPARE):
        road.run(role)
    writer.start()
    capture = road.start(Role.CAPTURE)
    copying = road.start(Role.SNAPSHOT)
    writer.more()
    copying.kill()
    capture = killed(road, capture, Role.CAPTURE, Side.SOURCE, 0)
    road.run(Role.SNAPSHOT)
    apply = road.start(Role.APPLY)
    road.caught_up(apply)
    streams = [(capture, apply, Side.SOURCE, 0)]
    for attempt, loser in ((1, Side.SOURCE), (2, Side.TARGET), (3, Side.SOURCE)):
        capture, apply, origin, number = streams[-1]
        for _ in range(2):
            writer.more(draw.randint(2, 6))
            if draw.random() < 0.5:
                capture = killed(road, capture, Role.CAPTURE, origin, number)
            else:
                apply = killed(road, apply, Role.APPLY, origin, number)
        road.caught_up(apply)
        streams.append(_switched(road, draw, attempt, loser))
        for worker in (capture, apply):
            worker.kill()
        writer.more()
    writer.stop()
    road.caught_up(streams[-1][1])

    assert shop.content(Side.SOURCE) == shop.content(Side.TARGET)
    _check_ledger(writer, shop)


def _switched(
    road: Road, draw: Random, attempt: int, loser: Side
) -> tuple[Worker, Worker, Side, int]:
    """Switch, and kill the role at some of its steps, and the stream back."""
    cutover = road.start(Role.CUTOVER, attempt=attempt, loser=loser)
    back = road.started_back(cutover, attempt, loser)
    assert back is not None, cutover.log()
    capture, apply = back
    origin = loser.other
    for step in sorted(draw.sample(("Fence", "Drain", "Retire", "Restore", "Canary", "Open"), 2)):
        wait_until(f"{step}, or the end", partial(_has_come, cutover, step))
        cutover.kill()
        if draw.random() < 0.5:
            capture = killed(road, capture, Role.CAPTURE, origin, attempt)
            apply = killed(road, apply, Role.APPLY, origin, attempt)
        cutover = road.start(Role.CUTOVER, attempt=attempt, loser=loser)
    report = cutover.wait(seconds=120)
    assert report is not None
    assert report.switch is not None
    assert report.switch.verdict is Verdict.COMMITTED, report.switch.message
    assert report.switch.opened
    return capture, apply, origin, attempt


def _has_come(cutover: Worker, step: str) -> bool:
    if cutover.process.poll() is not None:
        return True
    report = None
    with suppress(ValueError):
        report = cutover.report()
    switch = report.switch if report else None
    return switch is not None and (switch.step == step or step in switch.done)


def _check_ledger(writer: Writer, shop: Shop) -> None:
    """Each acknowledged transaction is there; none is there in part."""
    there = {int(str(row[0])) for row in shop.content(Side.SOURCE)["item"]}
    assert writer.errors == []
    assert len(writer.acknowledged) > 20
    for first in writer.acknowledged:
        rows = {first, first + 1, *range(first + 4, first + 10), first + 2 + 5_000_000}
        assert rows <= there, first
        assert not {first + 2, first + 3} & there, first
