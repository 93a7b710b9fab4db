"""Each step of a switch, killed, cheated of its reply, and stalled, on real databases, from either side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bowline_worker.contract import Side
from bowline_worker.saga import SAGA
from road.by_hand import Worker
from road.faulty import Fault, Harm, Place
from road.switch_rig import SwitchRoad, told, wake

pytestmark = pytest.mark.slow

STEPS = [str(step.name) for step in SAGA]

#: As one name: what happens, and where in the step.
KILLED_BEFORE, KILLED_AFTER, REPLY_LOST, STALLED = (
    "killed-before",
    "killed-after",
    "reply-lost",
    "stalled",
)
HARMS = {
    KILLED_BEFORE: (Place.BEFORE, Harm.KILL),
    KILLED_AFTER: (Place.AFTER, Harm.KILL),
    REPLY_LOST: (Place.AFTER, Harm.LOSE),
}


def cases() -> Iterator[object]:
    """Each direction in turn: a switch that survives leaves the sides as the next case needs them."""
    for step in STEPS:
        for what in (KILLED_BEFORE, KILLED_AFTER, REPLY_LOST, STALLED):
            for loser in Side:
                yield pytest.param(step, what, loser, id=f"{step}-{what}-{loser}")


@pytest.mark.parametrize(("step", "what", "loser"), list(cases()))
def test_a_switch_survives(road: SwitchRoad, step: str, what: str, loser: Side) -> None:
    road.stand(loser)
    road.attempt += 1

    if what == STALLED:
        survive_a_stall(road, step)
    elif what == REPLY_LOST:
        cutover = road.cutover(Fault(step, *HARMS[what]))
        road.follow(cutover)
        assert "server closed the connection" in cutover.log()
        road.switched(told(cutover))
    else:
        dying = road.cutover(Fault(step, *HARMS[what]))
        road.follow(dying)
        dying.wait(code=-9)
        fresh = road.cutover()
        road.follow(fresh)
        road.switched(told(fresh))

    road.check_switched()
    road.is_whole = True


def survive_a_stall(road: SwitchRoad, step: str) -> None:
    """Two copies stall, one before its effect and one behind it with its locks; the third one ends the switch."""
    stalled = stall(road, step, Place.BEFORE), stall(road, step, Place.WITHIN)
    fresh = road.cutover()
    road.follow(fresh)
    road.switched(told(fresh))
    road.check_switched()
    before = road.state()

    for copy in stalled:
        wake(copy)

    for copy in stalled:
        # It finds its attempt committed, or the winner's lanes taken.
        assert copy.process.wait(60) in (0, 86), copy.log()
    assert road.state() == before


def stall(road: SwitchRoad, step: str, place: Place) -> Worker:
    copy = road.cutover(Fault(step, place, Harm.STOP))
    road.follow(copy)
    assert copy.process.poll() is None, copy.log()
    return copy
