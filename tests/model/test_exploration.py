"""Every interleaving of a switch, with the product's own decisions; and that broken decisions are found out.

BOWLINE_EXPLORE=full explores the larger limits too (some minutes, and some GB of memory).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import pytest

from bowline_worker import saga, saga_acts, saga_rows
from bowline_worker.bookkeeping import StreamId, SwitchRow
from bowline_worker.contract import Verdict
from bowline_worker.model import SignalKind
from bowline_worker.saga_acts import Act, Do, Done, PutLanes, PutSwitch, StepName, WriteSignal
from model.exploration import explore
from model.switch_world import Decisions, Game, Lanes, Limits, take_lanes

ROADS = {
    "lanes": Limits(writes=1, asks=1, faults=1, lanes=2),
    "epochs": Limits(writes=1, asks=2, faults=1),
    "aborts": Limits(writes=1, asks=2, reverts=1, long=True),
    "abort and a fault": Limits(writes=1, asks=1, reverts=1, faults=1, long=True),
    "no way back": Limits(writes=1, asks=1, reverts=1, faults=1, fallback=False),
}
LONG_ROADS = {
    "lanes, more": Limits(writes=2, asks=1, faults=1, lanes=2),
    "three epochs": Limits(writes=1, asks=3, faults=1),
    "two faults": Limits(writes=1, asks=2, faults=2),
    "one write": Limits(writes=1, asks=2, reverts=1, faults=1, long=True),
    "aborts, more": Limits(writes=2, asks=2, reverts=1, long=True),
    "two aborts": Limits(writes=1, asks=3, reverts=2),
    "abort, two writes and a fault": Limits(writes=2, asks=1, reverts=1, faults=1, long=True),
    "no way back, more": Limits(writes=2, asks=2, reverts=1, faults=1, fallback=False),
}
FULL = os.environ.get("BOWLINE_EXPLORE") == "full"


@pytest.mark.parametrize("name", [*ROADS, *(LONG_ROADS if FULL else ())])
@pytest.mark.timeout(3600)
def test_all_promises_hold_in_every_interleaving(name: str) -> None:
    found = explore(Game((ROADS | LONG_ROADS)[name]))

    assert not found.harm, str(found)
    assert found.states > 1000, "the exploration must not be empty"


# --- what breaks when one decision is wrong ------------------------------------------------------

TWO = Limits(writes=1, asks=2, faults=1)
ONE_ABORT = Limits(writes=1, asks=1, reverts=1, faults=1)
ABORTS = Limits(writes=1, asks=2, reverts=1, faults=1)


@dataclass(frozen=True)
class Mutation:
    """One decision made wrongly, the promise that it breaks, and where that is seen."""

    broken: Decisions
    promise: str
    limits: Limits = ONE_ABORT
    long: bool = False  #: its way is long: explored with the long roads


GOOD = Decisions()


def commit_blind(v: saga.View) -> Act:
    if v.switch.verdict is not Verdict.ARMED:
        return saga.commit(v)
    return Do((PutSwitch(replace(v.switch, verdict=Verdict.COMMITTED)),))


def retire_blind(v: saga.View) -> Act:
    lanes = tuple(replace(saga_rows.ended(row), retired=v.attempt) for row in v.lanes)
    return Do((PutLanes(v.loser, lanes), WriteSignal(SignalKind.MARKER, v.attempt)))


def retire_without_marker(v: saga.View) -> Act:
    act = saga.retire(v)
    return Do(act.effects[:1]) if isinstance(act, Do) else act


def gate_with_passed_lanes(v: saga.View) -> Act:
    act = saga.gate(v)
    if not isinstance(act, Do):
        return act
    put, lanes = act.effects
    assert isinstance(lanes, PutLanes)
    passed = tuple(replace(row, passed=True) for row in lanes.rows)
    return Do((put, PutLanes(lanes.origin, passed)))


def fence_blind(v: saga.View) -> Act:
    return Do((saga_acts.RaiseFence(), PutSwitch(replace(v.switch, fenced=True))))


def open_blind(v: saga.View) -> Act:
    return saga.open_winner(replace(v, switch=replace(v.switch, opened=0)))


def restore_blind(v: saga.View) -> Act:
    return Do((saga_acts.Restore(),))


def restore_by_retired_alone(v: saga.View) -> Act:
    """Forgets that a revived lane says `retired` too."""
    retired = all(row.retired == v.attempt for row in v.lanes)
    return Do((saga_acts.Restore(),)) if retired else saga.restore(v)


def finish_blind(v: saga.View) -> Act:
    return Do((saga_acts.DropSlots(99),))


def drain_at_once(v: saga.View) -> Act:
    return Done()


def arrival_at_once(v: saga.View) -> Act:
    return Done()


def catch_up_forgets_a_restart(v: saga.View) -> Act:
    live = saga_rows.is_live(v.lanes)
    return saga.catch_up(v) if live else saga_acts.Wait("the apply to run")


def abort_blind(v: saga.View) -> Act:
    return saga.abort(
        replace(v, switch=replace(v.switch, verdict=Verdict.ARMED, attempt=v.attempt))
    )


def abort_only_armed(v: saga.View) -> Act:
    """Leaves the number to be taken by a late role, and reports an abort."""
    if v.switch.attempt == v.attempt:
        return saga.abort(v)
    return saga_acts.Exit(Verdict.ABORTED, "", "")


def abort_leaves_the_way_back(v: saga.View) -> Act:
    act = saga.abort(v)
    if not isinstance(act, Do):
        return act
    return Do(tuple(effect for effect in act.effects if not isinstance(effect, PutLanes)))


def abort_misses_lanes_that_never_ran(v: saga.View) -> Act:
    act = saga.abort(v)
    if not isinstance(act, Do) or any(row.generation for row in v.lanes):
        return act
    return Do(tuple(effect for effect in act.effects if not isinstance(effect, PutLanes)))


def abort_keeps_the_fence(v: saga.View) -> Act:
    act = saga.abort(v)
    return Do(act.effects[:-1]) if isinstance(act, Do) and v.switch.fenced else act


def take_blind(
    stream: StreamId, rows: Lanes, receiver: SwitchRow, origin: SwitchRow
) -> Lanes | None:
    return tuple(replace(row, generation=1) for row in rows)


def take_never_again(
    stream: StreamId, rows: Lanes, receiver: SwitchRow, origin: SwitchRow
) -> Lanes | None:
    return take_lanes(stream, rows, receiver, SwitchRow())


def take_without_the_receivers_row(
    stream: StreamId, rows: Lanes, receiver: SwitchRow, origin: SwitchRow
) -> Lanes | None:
    return take_lanes(stream, rows, SwitchRow(), origin)


MUTATIONS = {
    "commit-blind": Mutation(GOOD.but(StepName.COMMIT, commit_blind), "S8", ABORTS),
    "retire-blind": Mutation(GOOD.but(StepName.RETIRE, retire_blind), "S3", ABORTS, long=True),
    "marker-not-written": Mutation(GOOD.but(StepName.RETIRE, retire_without_marker), "S7", TWO),
    "marker-ignored": Mutation(GOOD.but(StepName.GATE, gate_with_passed_lanes), "S3"),
    "no-generation": Mutation(replace(GOOD, generation_checked=False), "S3"),
    "fence-blind": Mutation(GOOD.but(StepName.FENCE, fence_blind), "S7"),
    "open-blind": Mutation(GOOD.but(StepName.OPEN, open_blind), "S1", TWO),
    "restore-blind": Mutation(GOOD.but(StepName.RESTORE, restore_blind), "S3"),
    "restore-by-retired-alone": Mutation(
        GOOD.but(StepName.RESTORE, restore_by_retired_alone), "S3"
    ),
    "finish-blind": Mutation(GOOD.but(StepName.FINISH, finish_blind), "S2", TWO),
    "no-drain": Mutation(
        GOOD.but(StepName.DRAIN, drain_at_once).but(StepName.RETIRE, retire_blind), "S2"
    ),
    "arrival-not-awaited": Mutation(GOOD.but(StepName.ARRIVAL, arrival_at_once), "S6"),
    "slot-after-open": Mutation(
        GOOD.moved(StepName.ARM_REVERSE, before=StepName.FINISH).but(
            StepName.ARRIVAL, arrival_at_once
        ),
        "S6",
    ),
    "finish-before-commit": Mutation(GOOD.moved(StepName.FINISH, before=StepName.COMMIT), "S2"),
    "catch-up-forgets-a-restart": Mutation(
        GOOD.but(StepName.CATCH_UP, catch_up_forgets_a_restart), "S7", TWO
    ),
    "abort-blind": Mutation(replace(GOOD, abort=abort_blind), "S1"),
    "abort-only-armed": Mutation(replace(GOOD, abort=abort_only_armed), "S8"),
    "abort-leaves-the-way-back": Mutation(replace(GOOD, abort=abort_leaves_the_way_back), "S3"),
    # Either of the two is enough: the abort ends such lanes, and the apply reads that it was aborted.
    "abort-misses-lanes-that-never-ran": Mutation(
        replace(GOOD, abort=abort_misses_lanes_that_never_ran, take=take_without_the_receivers_row),
        "S3",
    ),
    "abort-keeps-the-fence": Mutation(replace(GOOD, abort=abort_keeps_the_fence), "S4"),
    "take-blind": Mutation(replace(GOOD, take=take_blind), "S3"),
    "take-never-again": Mutation(replace(GOOD, take=take_never_again), "S7"),
    "dead-slots-stay": Mutation(
        replace(GOOD, dead=lambda own, other, slots: ()), "S7", ONE_ABORT._replace(faults=0)
    ),
    "dead-slots-blind": Mutation(
        replace(GOOD, dead=lambda own, other, slots: tuple(slots)), "S2", TWO
    ),
}


@pytest.mark.parametrize("name", [n for n, each in MUTATIONS.items() if FULL or not each.long])
@pytest.mark.timeout(3600)
def test_a_broken_decision_is_found_out(name: str) -> None:
    mutation = MUTATIONS[name]

    found = explore(Game(mutation.limits, mutation.broken), mutation.promise)

    assert found.harm.startswith(mutation.promise), str(found)
