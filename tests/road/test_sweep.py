"""Slots that an aborted attempt left behind would fill the disk of the side that nobody looks at."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Role, Side
from bowline_worker.endpoints.postgres import PostgresEndpoint
from bowline_worker.sweeping import kept_swept, sweep
from road.by_hand import Road, wait_until
from servers import Pair


@pytest.fixture
def road(pair: Pair) -> Iterator[Road]:
    pair.source.run("create table public.item (id int primary key)")
    road = Road(pair)
    yield road
    road.close()


def slots(road: Road) -> list[int]:
    return PostgresEndpoint(road.pair.config(), Side.TARGET).slots()


def test_an_abort_leaves_no_slot_that_keeps_the_targets_redo(road: Road) -> None:
    road.to_streaming()
    cutover = road.start(Role.CUTOVER, attempt=1, loser=Side.SOURCE)
    wait_until("the reverse slot is made", lambda: slots(road) == [1])

    road.run(Role.ABORT, attempt=1, loser=Side.SOURCE)
    cutover.wait(code=None)

    assert slots(road) == []


def test_a_slot_that_a_late_copy_makes_is_dropped_and_a_living_one_is_not(road: Road) -> None:
    road.to_streaming()
    road.run(Role.ABORT, attempt=1, loser=Side.SOURCE)
    source, target = (PostgresEndpoint(road.pair.config(), side) for side in Side)
    target.arm(StreamId(Side.TARGET, 1))

    assert sweep(target, source) == (1,)
    assert target.slots() == []
    assert sweep(source, target) == ()
    assert source.slots() == [0]


def test_sweeping_ends_with_the_role_that_started_it(road: Road) -> None:
    road.to_streaming()
    road.run(Role.ABORT, attempt=1, loser=Side.SOURCE)
    source, target = (PostgresEndpoint(road.pair.config(), side) for side in Side)
    target.arm(StreamId(Side.TARGET, 1))

    with kept_swept(target, source):
        (thread,) = (thread for thread in threading.enumerate() if thread.name == "sweep")
        wait_until("the dead slot is dropped", lambda: slots(road) == [])

    thread.join(10)
    assert not thread.is_alive()
