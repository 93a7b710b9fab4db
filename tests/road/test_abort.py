"""Abort opens the old side within seconds, wherever the switch stands, whoever holds locks, and whatever is down."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import timedelta

import pytest
from demo.servers import Server

from bowline_worker.contract import Side, Verdict
from bowline_worker.saga import SAGA
from bowline_worker.saga_acts import StepName
from road.by_hand import Worker, wait_until
from road.faulty import Fault, Harm, Place
from road.switch_rig import PROMISED_SECONDS, Nursery, Roads, SwitchRoad, frozen, told, wake
from servers import MIGRATOR

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


@pytest.mark.parametrize("loser", list(Side))
def test_a_switch_that_can_not_drain_gives_up_within_its_budget(
    road: SwitchRoad, loser: Side
) -> None:
    road.stand(loser)
    road.attempt += 1
    cutover = road.cutover(Fault("Fence", Place.BEFORE, Harm.STOP), budget=timedelta(seconds=3))
    road.follow(cutover)
    _, apply = road.out
    apply.signal(signal.SIGSTOP)

    wake(cutover)
    wait_until("the fence stands", lambda: not road.accepts(loser))
    road.insert(loser)

    report = told(cutover)
    assert (report.verdict, report.reason) == (Verdict.ABORTED, "BudgetExceeded")
    assert "Drain" in report.message
    wake(apply)
    road.aborted()
    road.check_aborted()
    road.switch_over()
    road.check_switched()
    road.is_whole = True


@pytest.mark.parametrize("loser", list(Side))
def test_a_row_that_was_changed_behind_our_back_is_found_and_named(
    road: SwitchRoad, loser: Side
) -> None:
    road.stand(loser)
    passive = road.database(loser.other)
    (found,) = road.look(loser, "select id, note from public.item where name = 'n3'")
    change = f"update public.item set note = %s where id = {found[0]}"
    with passive.connect(MIGRATOR, passive.server.password) as connection:
        connection.execute(change.encode(), ["changed"])
    road.attempt += 1
    cutover = road.cutover()
    road.follow(cutover)

    report = told(cutover)

    assert (report.verdict, report.reason) == (Verdict.ABORTED, "RowsDiffer")
    assert f"public.item: 1 different: ({found[0]})" in report.message
    assert "changed" not in report.message  # a key, and no value
    road.insert(loser)
    with passive.connect(MIGRATOR, passive.server.password) as connection:
        connection.execute(change.encode(), [found[1]])
    road.aborted()
    road.check_aborted()
    road.switch_over()
    road.check_switched()
    road.is_whole = True


@pytest.mark.parametrize("loser", list(Side))
def test_a_cutover_that_waits_hears_of_the_abort(road: SwitchRoad, loser: Side) -> None:
    road.stand(loser)
    road.attempt += 1
    cutover = road.cutover(Fault("Fence", Place.BEFORE, Harm.STOP))
    road.follow(cutover)
    _, apply = road.out
    apply.signal(signal.SIGSTOP)
    wake(cutover)
    wait_until("the fence stands", lambda: not road.accepts(loser))

    abort = road.abort()

    road.insert(loser)
    for worker in (abort, cutover):
        report = told(worker)
        assert (report.verdict, report.reason) == (Verdict.ABORTED, "Requested")
    wake(apply)
    road.aborted()
    road.check_aborted()
    road.is_whole = True


def has_told(abort: Worker) -> bool:
    report = abort.report()
    return bool(report and report.switch and report.switch.verdict is Verdict.ABORTED)


# Each direction in turn: a case ends with a switch, and leaves the sides as the next one needs them.
@pytest.mark.parametrize(
    ("step", "loser"),
    [(step, loser) for step in BEFORE_COMMIT for loser in Side],
    ids=str,
)
def test_an_abort_opens_the_old_side_while_the_cutover_and_the_new_side_are_stopped(
    road: SwitchRoad, step: str, loser: Side
) -> None:
    """The cutover keeps the locks of its step; the new side takes connections and never answers."""
    road.stand(loser)
    road.attempt += 1
    stopped = road.cutover(Fault(step, Place.WITHIN, Harm.STOP))
    road.follow(stopped)
    assert stopped.process.poll() is None, stopped.log()

    with frozen(road.database(loser.other).server):
        abort = road.abort()
        road.insert(loser)
        wait_until("the abort is told", lambda: has_told(abort), PROMISED_SECONDS)

    assert told(abort).verdict is Verdict.ABORTED
    road.aborted()
    road.check_aborted()  # with the cutover's locks still there, on the new side
    wake(stopped)
    assert stopped.process.wait(60) in (0, 86), stopped.log()
    # It may have retired the stream's lanes once more: they run again.
    road.check_aborted()
    road.switch_over()
    road.check_switched()
    road.is_whole = True
