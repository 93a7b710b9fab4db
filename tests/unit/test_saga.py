"""The decisions of a switch, one by one: what a row says, and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bowline_worker import saga
from bowline_worker.bookkeeping import LaneRow, SwitchRow
from bowline_worker.contract import Side, Verdict
from bowline_worker.model import SignalKind
from bowline_worker.saga import View
from bowline_worker.saga_acts import (
    Act,
    ArmSlot,
    Do,
    Done,
    DropSlots,
    Exit,
    GoTo,
    LowerFence,
    PutLanes,
    PutSwitch,
    RaiseFence,
    StepName,
    Wait,
    Withdraw,
    WriteSignal,
)

SOURCE, TARGET = Side.SOURCE, Side.TARGET
ARMED = SwitchRow(attempt=3, verdict=Verdict.ARMED)
FENCED = replace(ARMED, fenced=True)
COMMITTED = replace(FENCED, verdict=Verdict.COMMITTED)
ABORTED = SwitchRow(attempt=3, verdict=Verdict.ABORTED, aborted=frozenset({3}))
NEWER = SwitchRow(attempt=4, verdict=Verdict.ARMED, aborted=frozenset({3}))
LANE = LaneRow(lane=0, number=0, generation=5, barrier=3, probe=3)
BACK = LaneRow(lane=0, number=3, generation=1, passed=True, canary=3, probe=3)


def view(
    row: SwitchRow = ARMED, lanes: tuple[LaneRow, ...] = (), loser: Side = SOURCE, **more: object
) -> View:
    return replace(View(attempt=3, loser=loser, switch=row, lanes=lanes), **more)  # type: ignore[arg-type]


def effects(act: Act) -> tuple[type, ...]:
    assert isinstance(act, Do), act
    return tuple(type(effect) for effect in act.effects)


def verdict(act: Act) -> Verdict:
    assert isinstance(act, Exit), act
    return act.verdict


def put_switch(act: Act) -> SwitchRow:
    assert isinstance(act, Do), act
    return next(effect.row for effect in act.effects if isinstance(effect, PutSwitch))


def put_lanes(act: Act) -> tuple[LaneRow, ...]:
    assert isinstance(act, Do), act
    return next(effect.rows for effect in act.effects if isinstance(effect, PutLanes))


STEPS_THAT_NEED_ARMED = [
    each for each in saga.SAGA if each.name in {"Probe", "Return", "Fence", "Barrier", "Verify", "Arrival", "Commit"}
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS_THAT_NEED_ARMED, ids=lambda step: str(step.name))
def test_a_step_of_the_losing_side_goes_on_only_while_armed(step: saga.Step) -> None:
    assert verdict(step.decide(view(ABORTED))) is Verdict.ABORTED
    assert verdict(step.decide(view(NEWER))) is Verdict.ABORTED
    assert verdict(step.decide(view(SwitchRow()))) is Verdict.NONE
    assert step.decide(view(COMMITTED)) in (Done(), GoTo(StepName.OPEN))


@pytest.mark.parametrize("step", saga.SAGA, ids=lambda step: str(step.name))
def test_every_step_locks_what_it_changes(step: saga.Step) -> None:
    looks = {PutSwitch: saga.Look.SWITCH, PutLanes: saga.Look.LANES}
    for row in (SwitchRow(), ARMED, FENCED, COMMITTED, ABORTED):
        for lanes in ((), (LANE,), (BACK,), (replace(LANE, generation=-5, retired=3),)):
            act = step.decide(view(row, lanes, slots=(0, 3)))
            for effect in act.effects if isinstance(act, Do) else ():
                assert looks.get(type(effect)) in {None, *step.locks}


def test_the_gate_arms_an_older_row_and_makes_new_lanes_for_the_way_back() -> None:
    act = saga.gate(
        view(SwitchRow(attempt=1, verdict=Verdict.ABORTED, aborted=frozenset({1})), lane_count=2)
    )

    assert put_switch(act) == replace(ARMED, aborted=frozenset({1}))
    assert [(row.number, row.generation, row.passed) for row in put_lanes(act)] == [
        (3, 0, False)
    ] * 2


def test_the_gate_makes_no_lanes_without_a_way_back() -> None:
    assert effects(saga.gate(view(SwitchRow(), fallback=False))) == (PutSwitch,)


def test_a_number_that_a_newer_attempt_replaces_is_burnt() -> None:
    assert put_switch(saga.gate(view(replace(ARMED, attempt=2)))).aborted == {2}
    assert put_switch(saga.abort(view(replace(ARMED, attempt=2)))).aborted == {2, 3}


def test_the_gate_knows_where_a_restart_stands() -> None:
    assert saga.gate(view(ARMED)) == Done()
    assert saga.gate(view(COMMITTED)) == GoTo(StepName.OPEN)
    assert verdict(saga.gate(view(ABORTED))) is Verdict.ABORTED
    assert verdict(saga.gate(view(NEWER))) is Verdict.ABORTED
    assert verdict(saga.gate(view(replace(COMMITTED, opened=4)))) is Verdict.COMMITTED


@pytest.mark.parametrize(
    ("loser", "row"),
    [
        (TARGET, SwitchRow(fenced=True)),
        (TARGET, SwitchRow()),
        (SOURCE, SwitchRow(attempt=1, verdict=Verdict.COMMITTED, fenced=True)),
        (TARGET, SwitchRow(attempt=2, verdict=Verdict.COMMITTED, opened=1, fenced=True)),
    ],
)
def test_a_passive_side_is_neither_left_nor_opened_by_an_abort(loser: Side, row: SwitchRow) -> None:
    for decide in (saga.gate, saga.abort):
        act = decide(view(row, loser=loser))

        assert isinstance(act, Exit)
        assert act.reason == "NotPrimary"


def test_a_side_that_was_opened_after_it_lost_can_be_left_again() -> None:
    row = SwitchRow(attempt=1, verdict=Verdict.COMMITTED, opened=2)

    assert put_switch(saga.gate(view(row))).verdict is Verdict.ARMED


def test_a_fence_of_another_attempt_is_left_to_an_abort() -> None:
    row = replace(FENCED, attempt=2)

    assert isinstance(saga.gate(view(row)), Exit)
    assert LowerFence in effects(saga.abort(view(row)))


def test_a_slot_is_made_once_and_never_beside_a_newer_one() -> None:
    assert effects(saga.arm_reverse(view(slots=()))) == (ArmSlot, WriteSignal)
    assert effects(saga.arm_reverse(view(slots=(1,)))) == (ArmSlot, WriteSignal)
    assert effects(saga.arm_reverse(view(slots=(3,)))) == (WriteSignal,)
    assert effects(saga.arm_reverse(view(slots=(4,)))) == (WriteSignal,)


def test_the_fence_waits_until_both_ways_flow() -> None:
    assert saga.returned(view(lanes=(BACK,))) == Done()
    assert isinstance(saga.returned(view(lanes=(replace(BACK, probe=2),))), Wait)
    assert isinstance(saga.returned(view(lanes=(replace(BACK, number=2),))), Wait)
    assert saga.catch_up(view(lanes=(LANE,))) == Done()
    assert isinstance(saga.catch_up(view(lanes=(replace(LANE, generation=-5),))), Wait)
    assert saga.catch_up(view(lanes=(replace(LANE, generation=-5, retired=3),))) == Done()


def test_the_fence_is_raised_once() -> None:
    assert effects(saga.fence(view(ARMED))) == (RaiseFence, PutSwitch)
    assert saga.fence(view(FENCED)) == Done()


def test_a_hole_in_the_fence_or_another_shape_aborts() -> None:
    hole = saga.barrier(view(FENCED, gaps=("public.new",)))
    shape = saga.barrier(view(FENCED, difference="public.item"))

    assert isinstance(hole, Withdraw)
    assert hole.reason == "FenceGaps"
    assert isinstance(shape, Withdraw)
    assert shape.reason == "SchemaChanged"


def test_no_barrier_is_written_before_the_fence() -> None:
    assert saga.barrier(view(ARMED)) == GoTo(StepName.FENCE)
    assert saga.barrier(view(FENCED)) == Do((WriteSignal(SignalKind.BARRIER, 3),))


def test_drained_means_all_lanes_have_applied_this_barrier() -> None:
    behind = replace(LANE, lane=1, barrier=2)

    assert saga.drain(view(lanes=(LANE,))) == Done()
    assert isinstance(saga.drain(view(lanes=(LANE, behind))), Wait)
    assert isinstance(saga.drain(view(lanes=())), Exit)


def test_retiring_ends_the_generation_with_the_marker() -> None:
    act = saga.retire(view(lanes=(LANE,)))

    assert effects(act) == (PutLanes, WriteSignal)
    assert put_lanes(act) == (replace(LANE, generation=-5, retired=3),)
    assert saga.retire(view(lanes=put_lanes(act))) == Done()


@pytest.mark.parametrize(
    "lane",
    [
        replace(LANE, retired=4),
        replace(LANE, number=3),
        replace(LANE, number=4),
        replace(LANE, retired=3),
    ],
    ids=["newer attempt", "own way back", "newer stream", "revived"],
)
def test_lanes_of_another_attempt_are_not_retired(lane: LaneRow) -> None:
    assert verdict(saga.retire(view(lanes=(lane,)))) is Verdict.NONE


def test_lanes_are_not_retired_before_they_are_drained() -> None:
    assert isinstance(saga.retire(view(lanes=(replace(LANE, barrier=2),))), Wait)


@pytest.mark.parametrize("decide", [saga.sequences, saga.restore])
def test_the_winner_is_changed_only_while_its_lanes_are_retired(decide: saga.Step) -> None:
    retired = replace(LANE, generation=-5, retired=3)

    assert isinstance(decide(view(lanes=(retired,))), Do)  # type: ignore[operator]
    for lane in (LANE, replace(retired, generation=6), replace(retired, retired=2)):
        assert isinstance(decide(view(lanes=(lane,))), Exit)  # type: ignore[operator]


def test_unequal_rows_abort() -> None:
    assert saga.verify(view(FENCED)) == Done()
    assert isinstance(saga.verify(view(FENCED, difference="public.item")), Withdraw)


@pytest.mark.parametrize("change", [{"passed": False}, {"canary": 2}, {"number": 2}])
def test_the_way_back_is_proved_by_this_attempts_canary(change: dict[str, int]) -> None:
    assert saga.arrival(view(FENCED, (BACK,))) == Done()
    assert isinstance(saga.arrival(view(FENCED, (BACK, replace(BACK, **change)))), Wait)  # type: ignore[arg-type]


def test_the_commit_point_needs_the_fence() -> None:
    assert put_switch(saga.commit(view(FENCED))).verdict is Verdict.COMMITTED
    assert isinstance(saga.commit(view(ARMED)), Withdraw)
    assert saga.commit(view(COMMITTED)) == Done()


def test_a_hole_made_in_the_fence_after_the_barrier_is_not_committed() -> None:
    hole = saga.commit(view(FENCED, gaps=("public.new",)))

    assert isinstance(hole, Withdraw)
    assert hole.reason == "FenceGaps"


def test_a_side_is_opened_once() -> None:
    act = saga.open_winner(view(SwitchRow(fenced=True, opened=1)))

    assert effects(act) == (LowerFence, PutSwitch)
    assert put_switch(act) == SwitchRow(opened=3)
    assert saga.open_winner(view(SwitchRow(opened=3))) == Done()
    assert saga.open_winner(view(SwitchRow(opened=4, fenced=True))) == Done()


def test_slots_are_dropped_by_number() -> None:
    assert saga.finish(view(slots=(0, 3))) == Do((DropSlots(3),))
    assert saga.finish(view(slots=(3, 4))) == Done()


@pytest.mark.parametrize("row", [ARMED, SwitchRow(), replace(ABORTED, attempt=2)])
def test_an_abort_takes_the_number_whether_or_not_the_gate_has_run(row: SwitchRow) -> None:
    assert put_switch(saga.abort(view(row, reason="Requested"))).attempt == 3
    assert 3 in put_switch(saga.abort(view(row))).aborted


def test_an_abort_opens_the_side_and_ends_the_way_back_in_one_transaction() -> None:
    never_ran = LaneRow(lane=1, number=3, generation=0)

    act = saga.abort(view(FENCED, (BACK, never_ran)))

    assert effects(act) == (PutSwitch, PutLanes, LowerFence)
    assert not put_switch(act).fenced
    assert [row.generation for row in put_lanes(act)] == [-1, -1]


@pytest.mark.parametrize(
    ("row", "expected"),
    [(COMMITTED, Verdict.COMMITTED), (ABORTED, Verdict.ABORTED), (NEWER, Verdict.ABORTED)],
)
def test_an_abort_changes_no_verdict(row: SwitchRow, expected: Verdict) -> None:
    assert verdict(saga.abort(view(row))) is expected


# --- apply and cleanup ---------------------------------------------------------------------------


def test_triggers_are_never_disabled_where_an_abort_may_open_the_side() -> None:
    assert saga.may_disable_triggers(COMMITTED)
    assert saga.may_disable_triggers(SwitchRow(fenced=True))
    assert not saga.may_disable_triggers(FENCED)
    assert not saga.may_disable_triggers(SwitchRow())


@pytest.mark.parametrize(
    ("own", "other", "dead"),
    [
        (SwitchRow(), ABORTED, (3,)),  # the winner of an attempt that was aborted
        (SwitchRow(), COMMITTED, ()),
        (COMMITTED, SwitchRow(), (0, 2)),  # the loser: its streams before that attempt
        (SwitchRow(opened=3), SwitchRow(), (0, 2)),  # it was opened since, with a slot of its own
        (ARMED, SwitchRow(), ()),
    ],
)
def test_a_slot_is_dead_when_its_attempt_is_over(
    own: SwitchRow, other: SwitchRow, dead: tuple[int, ...]
) -> None:
    assert saga.dead_slots(own, other, (0, 2, 3)) == dead
