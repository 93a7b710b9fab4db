"""Abort opens the old side within seconds, wherever the switch stands, whoever holds locks, and whatever is down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from demo.servers import Server

from bowline_worker.contract import Side, Verdict
from bowline_worker.saga import SAGA
from bowline_worker.saga_acts import StepName
from road.faulty import Fault, Harm, Place
from road.switch_rig import Nursery, Roads, SwitchRoad, frozen, told, wake

pytestmark = pytest.mark.slow

ORDER = [step.name for step in SAGA]
#: Commit too: what it has written is not there until its transaction has committed.
BEFORE_COMMIT = [str(name) for name in ORDER[: ORDER.index(StepName.COMMIT) + 1]]


@pytest.fixture(scope="module")
def roads(
    nursery: Nursery, pg: Server, other_pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Roads]:
    """A road between two servers, since one of them is stopped."""
    roads = Roads(nursery, pg, other_pg, tmp_path_factory.mktemp("roads"))
    yield roads
    roads.close()


def cases() -> Iterator[object]:
    """After the second abort of a direction a switch succeeds: the sides are then as the next case needs them."""
    for step in BEFORE_COMMIT:
        for loser in Side:
            for new_side in ("works", "frozen"):
                yield pytest.param(step, loser, new_side, id=f"{step}-{loser}-new-side-{new_side}")


@pytest.mark.parametrize(("step", "loser", "new_side"), list(cases()))
def test_an_abort_opens_the_old_side_while_the_cutover_is_stopped_with_its_locks(
    road: SwitchRoad, step: str, loser: Side, new_side: str
) -> None:
    road.stand(loser)
    road.attempt += 1
    stopped = road.cutover(Fault(step, Place.WITHIN, Harm.STOP))
    road.follow(stopped)
    assert stopped.process.poll() is None, stopped.log()
    winner = road.database(loser.other).server

    with frozen(winner) if new_side == "frozen" else nullcontext():
        abort = road.abort()
        road.insert(loser)
        assert told(abort).verdict is Verdict.ABORTED

    road.aborted()
    if new_side == "works":
        road.check_aborted()
        wake(stopped)
        assert stopped.process.wait(60) in (0, 86), stopped.log()
        # It may have retired the stream's lanes once more: they run again.
        road.check_aborted()
    else:
        road.keep_streaming()
        road.switch_over()
        road.check_switched()
        before = road.state()
        wake(stopped)
        assert stopped.process.wait(60) in (0, 86), stopped.log()
        assert road.state() == before
    road.is_whole = True
