"""To and fro without a rebuild of anything, and a switch that makes no way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bowline_worker.contract import Side
from bowline_worker.saga import SAGA
from road.faulty import Fault, Harm, Place
from road.switch_rig import Roads, SwitchRoad, told, wake

pytestmark = pytest.mark.slow

ROUNDS = 5

#: What a rebuild would make anew: told by its oid, its time, or its name.
MADE = {
    "tables": "select oid, relname, relfilenode from pg_class"
    " where relkind in ('r', 'p', 'i', 'S') and relnamespace = 'public'::regnamespace order by 1",
    "triggers": "select oid, tgname from pg_trigger where not tgisinternal order by 1",
    "publications": "select oid, pubname from pg_publication order by 1",
    "copied": "select table_name, finished, position from bowline.copied order by 1",
    "chunks": "select table_name, ordinal, done_at from bowline.chunk order by 1, 2",
    "notes": "select kind, name, at from bowline.made where kind <> 'slot' order by 1, 2",
}


@pytest.fixture
def new_road(roads: Roads) -> Iterator[SwitchRoad]:
    """One that was never switched; it can't be used again."""
    roads.close()
    yield from roads.take()


def made(road: SwitchRoad) -> dict[str, Any]:
    return {
        f"{side} {what}": road.look(side, query) for side in Side for what, query in MADE.items()
    }


def test_five_rounds_leave_both_sides_equal_and_rebuild_nothing(road: SwitchRoad) -> None:
    road.stand(Side.SOURCE)
    road.switch_over()  # the first one makes the target's publication
    road.switch_over()
    before = made(road)

    for _ in range(2 * ROUNDS):
        road.switch_over()
        road.check_switched()

    assert road.primary is Side.SOURCE
    assert made(road) == before
    road.is_whole = True


def test_copies_that_stalled_at_each_step_wake_two_switches_later(road: SwitchRoad) -> None:
    """None of them may write, open, close or drop anything that a later attempt stands on."""
    road.stand(Side.SOURCE)
    road.attempt += 1
    stalled = []
    for step in SAGA:
        for place in (Place.BEFORE, Place.WITHIN):
            copy = road.cutover(Fault(str(step.name), place, Harm.STOP))
            road.follow(copy)
            assert copy.process.poll() is None, copy.log()
            stalled.append(copy)
    last = road.cutover()
    road.follow(last)
    road.switched(told(last))
    road.switch_over()
    road.switch_over()
    road.check_switched()
    before = road.state()

    for copy in stalled:
        wake(copy)

    for copy in stalled:
        assert copy.process.wait(60) in (0, 86), copy.log()
    # A copy that stalled before ArmReverse makes its slot again: dead by its number, the next switch drops it.
    assert set(road.slots(Side.TARGET)) <= {1, road.attempt}
    after = road.state()
    after["target slots"] = before["target slots"]
    assert after == before
    road.check_streaming()
    road.switch_over()
    road.check_switched()
    road.is_whole = True


def test_without_a_way_back_nothing_of_it_is_made(new_road: SwitchRoad) -> None:
    road = new_road
    road.attempt += 1
    cutover = road.cutover(fallback=False)

    report = told(cutover)

    assert report.opened
    assert not {"ArmReverse", "Return", "Canary", "Arrival"} & set(report.done)
    assert road.accepts(Side.TARGET)
    assert not road.accepts(Side.SOURCE)
    assert road.content(Side.TARGET) == road.content(Side.SOURCE)
    assert road.slots(Side.TARGET) == []
    assert road.slots(Side.SOURCE) == []
    assert road.look(Side.TARGET, "select pubname from pg_publication") == []
    assert (
        road.look(Side.TARGET, "select from bowline.made where kind in ('slot', 'publication')")
        == []
    )
    assert road.look(Side.SOURCE, "select from bowline.lane") == []
