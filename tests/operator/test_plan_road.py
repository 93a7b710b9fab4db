"""The whole road, as the plan decides it: each request of the table, and what every phase runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bowline_operator.api import Request
from bowline_operator.status import ConditionType, Phase, Primary
from bowline_worker.contract import Exit, Finding, Role, Severity, Side, SwitchReport, Verdict
from plan_world import World


def has_epoch(epoch: int) -> Callable[[World], bool]:
    return lambda world: world.status.epoch == epoch


def a_streaming_world() -> World:
    world = World()
    world.until(lambda w: w.truth(ConditionType.CAUGHT_UP) == "True")
    return world


def a_cut_over_world() -> World:
    world = a_streaming_world()
    world.ask(Request.CUTOVER)
    world.until(lambda w: w.truth(ConditionType.FALLBACK_READY) == "True")
    return world


def a_switched_back_world() -> World:
    world = a_cut_over_world()
    world.ask(Request.SWITCHOVER)
    world.until_phase(Phase.SWITCHED_BACK)
    world.until(lambda w: w.truth(ConditionType.CAUGHT_UP) == "True")
    return world


def test_replicate_goes_through_assess_schema_prepare_and_snapshot_in_that_order() -> None:
    world = a_streaming_world()

    assert world.started == [
        "shop-assess-1",
        "shop-schema-1",
        "shop-prepare-1",
        "shop-capture-source-0-1",
        "shop-snapshot-1",
        "shop-apply-source-0-1",
    ]
    assert world.status.phase is Phase.STREAMING
    assert world.truth(ConditionType.READY) == "True"


def test_assess_creates_nothing_and_stops_there() -> None:
    world = World()
    world.ask(Request.ASSESS)
    for _ in range(10):
        world.step()

    assert world.started == ["shop-assess-1"]
    assert world.status.phase is Phase.ASSESSING
    assert world.status.message == "assessed"
    assert (world.truth(ConditionType.READY), world.reason(ConditionType.READY)) == (
        "True",
        "Assessed",
    )


def test_schema_stops_before_anything_is_prepared_and_replicate_goes_on_from_there() -> None:
    world = World()
    world.ask(Request.SCHEMA)
    for _ in range(10):
        world.step()

    assert world.started == ["shop-assess-1", "shop-schema-1"]
    assert world.truth(ConditionType.SCHEMA_READY) == "True"

    world.ask(Request.REPLICATE)
    world.until_phase(Phase.STREAMING)

    assert world.started.count("shop-assess-1") == 1


def test_findings_that_block_stop_before_the_schema() -> None:
    world = World()
    finding = Finding(
        severity=Severity.ERROR,
        reason="WalLevel",
        side=Side.SOURCE,
        message="wal_level is replica",
        remedy="set it to logical",
    )
    world.stuck = {Role.ASSESS}
    world.step()
    world.end("shop-assess-1", 0, found=world.found, findings=[finding])
    for _ in range(5):
        world.step()

    assert world.alive() == []
    assert world.truth(ConditionType.STALLED) == "True"
    assert world.reason(ConditionType.STALLED) == "AssessmentFailed"

    world.stuck = set()
    world.ask(Request.REPLICATE)
    world.until_phase(Phase.STREAMING)

    assert world.truth(ConditionType.STALLED) == ""


def test_cutover_as_the_first_request_does_the_earlier_steps_on_the_way() -> None:
    world = World()
    world.ask(Request.CUTOVER)
    world.until_phase(Phase.FALLBACK_STREAMING)

    assert world.status.primary is Primary.TARGET
    assert world.status.epoch == 2
    assert str(world.status.direction) == "Reverse"


def test_an_attempt_is_written_down_in_one_pass_and_started_in_the_next() -> None:
    world = a_streaming_world()
    world.ask(Request.CUTOVER)
    first = world.step()

    assert first.status.cutover.attempt == 1
    assert first.actions == ()

    world.step()

    assert world.started[-1] == "shop-cutover-1-1"


def test_the_way_back_starts_when_arm_reverse_is_reached_and_not_before() -> None:
    world = a_streaming_world()
    world.ask(Request.CUTOVER)
    world.until(lambda w: "cutover-1" in w.alive_families())

    assert "capture-target-1" not in world.alive_families()

    world.until(lambda w: "capture-target-1" in w.alive_families())

    assert "ArmReverse" in (world.status.cutover.step, *world.status.cutover.done)
    assert "apply-target-1" in world.alive_families()


def test_after_the_cutover_only_the_way_back_runs() -> None:
    world = a_cut_over_world()

    assert world.alive_families() == {"capture-target-1", "apply-target-1"}
    assert world.truth(ConditionType.VERIFIED) == "True"
    assert world.status.cutover.last_attempt is not None
    assert world.status.cutover.last_attempt.verdict is Verdict.COMMITTED


def test_without_fallback_the_phase_is_cut_over_and_nothing_of_the_way_back_is_made() -> None:
    world = a_streaming_world()
    world.ask(Request.CUTOVER, cutover={"fallback": False})
    world.until_phase(Phase.CUT_OVER)
    for _ in range(5):
        world.step()

    assert not any("target-1" in name for name in world.started)
    assert world.alive() == []
    assert world.truth(ConditionType.READY) == "True"
    assert world.truth(ConditionType.FALLBACK_READY) == "False"


def test_five_times_round_each_attempt_has_its_own_number_and_stream() -> None:
    world = a_streaming_world()
    for turn in range(5):
        world.ask(Request.CUTOVER)
        world.until(has_epoch(2 * turn + 2))
        world.until(lambda w: w.truth(ConditionType.CAUGHT_UP) == "True")
        world.ask(Request.SWITCHOVER)
        world.until(has_epoch(2 * turn + 3))
        world.until(lambda w: w.truth(ConditionType.CAUGHT_UP) == "True")

    assert world.alive_families() == {"capture-source-10", "apply-source-10"}
    assert world.started.count("shop-snapshot-1") == 1
    assert len(world.started) == len(set(world.started))


def test_without_rearm_the_switch_back_is_the_end_of_the_line() -> None:
    world = a_cut_over_world()
    world.ask(Request.SWITCHOVER, fallback={"rearm": False})
    world.until_phase(Phase.SWITCHED_BACK)
    world.step()

    assert world.alive() == []

    world.ask(Request.CUTOVER)
    world.step()

    assert world.reason(ConditionType.REQUEST_REFUSED) == "NotRearmed"


def test_a_capture_that_was_quicker_than_its_slot_is_started_again() -> None:
    """It looks, finds none and ends for good; meanwhile the slot is made, and the switch goes on."""
    world = a_streaming_world()
    world.silent.add(Role.CUTOVER)
    world.ask(Request.CUTOVER)
    world.until(lambda w: "shop-capture-target-1-1" in w.started)
    world.stuck.update((Role.CUTOVER, Role.CAPTURE))
    world.step()
    done = ["Gate", "ArmReverse"]
    armed = SwitchReport(
        attempt=1, loser=Side.SOURCE, verdict=Verdict.ARMED, step="Return", done=done
    )
    world.reports["shop-cutover-1-1"] = world.report("shop-cutover-1-1", switch=armed)
    world.end("shop-capture-target-1-1", Exit.UNSAFE, reason="SlotLost")
    world.step()
    assert world.status.cutover.armed_at is not None

    world.until(lambda w: "shop-capture-target-1-2" in w.started)

    assert world.truth(ConditionType.STALLED) != "True"
    world.end("shop-capture-target-1-2", Exit.UNSAFE, reason="SlotLost")
    for _ in range(60):
        world.step()
    assert world.truth(ConditionType.STALLED) == "True"


def test_complete_stops_the_streams_before_it_cleans_up() -> None:
    world = a_cut_over_world()
    world.ask(Request.COMPLETE)
    stopping = world.step()
    assert {type(action).__name__ for action in stopping.actions} == {"StopJob"}

    world.until_phase(Phase.COMPLETED)

    assert world.started[-1] == "shop-cleanup-1"
    assert world.alive() == []
    assert world.status.left_behind == [
        "the fence of the source",
        "source: about 3 changes of the target were not applied there",
    ]
    assert world.status.primary is Primary.TARGET
    assert world.truth(ConditionType.READY) == "True"


def test_complete_waits_while_the_snapshot_runs() -> None:
    world = World()
    world.stuck = {Role.SNAPSHOT}
    world.until_phase(Phase.SNAPSHOTTING)
    world.ask(Request.COMPLETE)
    for _ in range(5):
        world.step()

    assert world.status.phase is Phase.SNAPSHOTTING
    assert "Complete waits" in world.status.message
    assert world.truth(ConditionType.REQUEST_REFUSED) == "False"

    world.stuck = set()
    world.until_phase(Phase.COMPLETED)


@pytest.mark.parametrize(
    ("make", "request_", "reason", "goes_on"),
    [
        (a_streaming_world, Request.ASSESS, "TooLate", "apply-source-0"),
        (a_streaming_world, Request.SCHEMA, "TooLate", "apply-source-0"),
        (a_streaming_world, Request.SWITCHOVER, "NotCutOver", "apply-source-0"),
        (a_cut_over_world, Request.REPLICATE, "AlreadyCutOver", "apply-target-1"),
        (a_cut_over_world, Request.ASSESS, "TooLate", "apply-target-1"),
        (a_switched_back_world, Request.SCHEMA, "TooLate", "apply-source-2"),
    ],
)
def test_a_refused_request_changes_nothing_and_says_so_once(
    make: object, request_: Request, reason: str, goes_on: str
) -> None:
    assert callable(make)
    world = make()
    phase, started = world.status.phase, list(world.started)
    world.ask(request_)
    for _ in range(5):
        world.step()

    assert world.reason(ConditionType.REQUEST_REFUSED) == reason
    assert world.status.phase is phase
    assert goes_on in world.alive_families()
    assert world.started == started
    assert [event.reason for event in world.events].count("RequestRefused") == 1
    assert world.truth(ConditionType.READY) == "False"


def test_a_switchover_is_refused_where_the_cutover_had_no_fallback() -> None:
    world = a_streaming_world()
    world.ask(Request.CUTOVER, cutover={"fallback": False})
    world.until_phase(Phase.CUT_OVER)
    world.ask(Request.SWITCHOVER)
    world.step()

    assert world.reason(ConditionType.REQUEST_REFUSED) == "NoFallback"


def test_a_completed_migration_takes_no_other_request() -> None:
    world = a_streaming_world()
    world.ask(Request.COMPLETE)
    world.until_phase(Phase.COMPLETED)
    world.ask(Request.REPLICATE)
    world.step()

    assert world.reason(ConditionType.REQUEST_REFUSED) == "AlreadyCompleted"
    assert world.alive() == []


def test_a_verification_that_is_asked_for_runs_once() -> None:
    world = a_streaming_world()
    world.ask(Request.REPLICATE, verification={"request": 1})
    world.step()

    assert "shop-verify-1-1" in world.started
