"""What the plan does when things go wrong: aborts, restarts, stalls, stale reports, a lost status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bowline_operator.api import Request
from bowline_operator.observed import StartJob, StopJob
from bowline_operator.status import ConditionType, Mode, Phase, Primary, Status
from bowline_worker.contract import (
    Exit,
    FoundSide,
    Role,
    Side,
    SnapshotReport,
    SwitchReport,
    TableProgress,
    Verdict,
)
from plan_world import World


def has_started(name: str) -> Callable[[World], bool]:
    return lambda world: name in world.started


def a_streaming_world() -> World:
    world = World()
    world.until(lambda w: w.truth(ConditionType.CAUGHT_UP) == "True")
    return world


def a_world_behind_the_fence() -> World:
    """An attempt stands between Fence and Commit, its cutover role gets no further."""
    world = a_streaming_world()
    world.ask(Request.CUTOVER)
    world.silent.add(Role.CUTOVER)
    world.until(lambda w: w.status.cutover.fenced_at is not None)
    return world


# --- the gate ---


def test_the_gate_stays_shut_on_a_report_from_another_job() -> None:
    world = a_streaming_world()
    name = "shop-apply-source-0-1"
    world.silent.add(Role.APPLY)
    world.reports[name] = world.reports[name].model_copy(update={"job_uid": "uid-of-a-dead-one"})
    world.ask(Request.CUTOVER)
    world.step()

    assert world.status.cutover.attempt == 0
    assert world.truth(ConditionType.CAUGHT_UP) == "Unknown"
    assert world.truth(ConditionType.CUTOVER_READY) == "Unknown"
    assert world.truth(ConditionType.READY) == "False"
    assert world.status.cutover.blockers == [
        "ReportMissing: no fresh report from apply of source-0"
    ]


def test_the_gate_stays_shut_on_a_stale_report() -> None:
    world = a_streaming_world()
    world.silent.add(Role.CAPTURE)
    world.now += timedelta(seconds=31)
    world.live()
    world.ask(Request.CUTOVER)
    world.step()

    assert world.status.cutover.attempt == 0
    assert world.truth(ConditionType.SOURCE_AT_RISK) == "Unknown"


@pytest.mark.parametrize(
    ("field", "value", "blocker"),
    [
        ("lag", 11.0, "LagTooHigh"),
        ("lag", None, "LagUnknown"),
        ("remaining", 10_001, "BacklogTooLarge"),
        ("remaining", None, "BacklogUnknown"),
        ("at_risk", "slot is lost soon", "SourceAtRisk"),
    ],
)
def test_each_unmet_demand_blocks_and_is_named(field: str, value: object, blocker: str) -> None:
    world = a_streaming_world()
    setattr(world, field, value)
    world.live()
    world.ask(Request.CUTOVER)
    for _ in range(3):
        world.step()

    assert [each.split(":")[0] for each in world.status.cutover.blockers] == [blocker]
    assert world.status.cutover.attempt == 0
    assert world.truth(ConditionType.CUTOVER_READY) != "True"


def test_a_switch_waits_for_its_window() -> None:
    world = a_streaming_world()
    opens = world.now + timedelta(minutes=10)
    world.ask(Request.CUTOVER, cutover={"window": {"notBefore": opens.isoformat()}})
    world.step()
    assert world.status.cutover.blockers[0].startswith("WindowNotOpen")

    world.now = opens
    world.live()
    world.until(lambda w: w.status.cutover.attempt == 1)


# --- aborts ---


def test_a_git_revert_before_the_commit_point_takes_the_switch_back() -> None:
    world = a_world_behind_the_fence()
    world.ask(Request.REPLICATE)
    decided = world.step()

    assert StopJob("shop-cutover-1-1", timedelta(seconds=3)) in decided.actions
    assert [a.job.name for a in decided.actions if isinstance(a, StartJob)] == ["shop-abort-1-1"]

    world.until(lambda w: w.status.cutover.mode is Mode.IDLE)
    world.until(lambda w: w.truth(ConditionType.CAUGHT_UP) == "True")

    last = world.status.cutover.last_attempt
    assert last is not None
    assert (last.number, last.verdict, last.reason) == (1, Verdict.ABORTED, "Requested")
    assert world.status.primary is Primary.SOURCE
    assert world.status.phase is Phase.STREAMING
    assert world.alive_families() == {"capture-source-0", "apply-source-0"}


def test_a_stream_whose_apply_never_gets_to_work_is_not_ready() -> None:
    """Each of its tries lives for the ten seconds in which it can't connect, and reports that it lives."""
    world = a_streaming_world()
    assert world.truth(ConditionType.READY) == "True"
    world.end("shop-apply-source-0-1", Exit.TRY_AGAIN, reason="Unreachable")
    world.silent.add(Role.APPLY)
    world.until(lambda w: "shop-apply-source-0-2" in w.started)
    world.reports["shop-apply-source-0-2"] = world.report("shop-apply-source-0-2")

    world.step()

    assert world.truth(ConditionType.READY) == "False"
    assert world.reason(ConditionType.READY) == "Unreachable"
    (ready,) = [each for each in world.status.conditions if each.type == ConditionType.READY]
    assert "do this" in ready.message


def test_the_abort_starts_although_the_stopped_cutover_does_not_end() -> None:
    world = a_world_behind_the_fence()
    world.spec.cutover.abort = True
    world.generation += 1
    decided = world.step()

    assert any(isinstance(a, StartJob) and a.job.role is Role.ABORT for a in decided.actions)


def test_an_abort_that_may_not_is_told_and_tried_again_while_the_fence_stands() -> None:
    world = a_world_behind_the_fence()
    world.stuck.add(Role.ABORT)
    world.ask(Request.REPLICATE)
    world.step()
    world.end("shop-abort-1-1", Exit.NOT_PERMITTED, reason="NotPermitted")
    world.silent.clear()
    world.step()
    assert world.truth(ConditionType.STALLED) == "True"

    world.stuck.clear()
    world.until(lambda w: w.status.cutover.mode is Mode.IDLE)

    assert "shop-abort-1-2" in world.started
    assert world.status.primary is Primary.SOURCE


def test_an_aborted_attempt_is_not_repeated_by_the_same_spec_and_is_by_the_next() -> None:
    world = a_world_behind_the_fence()
    said = SwitchReport(
        attempt=1,
        loser=Side.SOURCE,
        verdict=Verdict.ABORTED,
        reason="BudgetExceeded",
        message="60 s behind the fence",
    )
    world.end("shop-cutover-1-1", 0, switch=said)
    for _ in range(20):
        world.step()

    assert world.status.cutover.attempt == 1
    assert world.status.cutover.mode is Mode.IDLE
    assert world.truth(ConditionType.CUTOVER_READY) == "False"
    assert world.reason(ConditionType.CUTOVER_READY) == "BudgetExceeded"
    assert "put spec.phase back" in world.status.cutover.blockers[0]
    assert world.alive_families() == {"capture-source-0", "apply-source-0"}

    world.silent.clear()
    world.ask(Request.CUTOVER)
    world.until_phase(Phase.FALLBACK_STREAMING)

    assert world.status.cutover.attempt == 2


def test_an_apply_that_the_attempt_retired_comes_back_after_the_abort_only() -> None:
    world = a_world_behind_the_fence()
    world.end("shop-apply-source-0-1", Exit.UNSAFE, reason="FencedOut")
    for _ in range(10):
        world.step()
    assert "apply-source-0" not in world.alive_families()
    assert world.truth(ConditionType.STALLED) == ""

    world.ask(Request.REPLICATE)
    world.until(lambda w: w.truth(ConditionType.CAUGHT_UP) == "True")

    assert "shop-apply-source-0-2" in world.alive()


def test_an_apply_that_notices_its_end_after_the_abort_comes_back_too() -> None:
    world = a_world_behind_the_fence()
    world.ask(Request.REPLICATE)
    world.until(lambda w: w.status.cutover.mode is Mode.IDLE)
    world.end("shop-apply-source-0-1", Exit.UNSAFE, reason="FencedOut")
    world.until(lambda w: "shop-apply-source-0-2" in w.alive())

    assert world.truth(ConditionType.STALLED) == ""

    world.end("shop-apply-source-0-2", Exit.UNSAFE, reason="FencedOut")
    for _ in range(10):
        world.step()

    assert world.truth(ConditionType.STALLED) == "True"


def test_an_abort_that_comes_too_late_goes_forward() -> None:
    world = a_world_behind_the_fence()
    world.stuck.add(Role.ABORT)
    world.ask(Request.REPLICATE)
    world.step()
    said = SwitchReport(attempt=1, loser=Side.SOURCE, verdict=Verdict.COMMITTED)
    world.end("shop-abort-1-1", 0, switch=said)
    world.silent.clear()
    world.until_phase(Phase.FALLBACK_STREAMING)
    world.step()

    assert "shop-cutover-1-2" in world.started
    assert world.reason(ConditionType.REQUEST_REFUSED) == "AlreadyCutOver"


def test_a_cutover_that_ends_for_good_before_the_commit_point_is_taken_back() -> None:
    world = a_world_behind_the_fence()
    world.end("shop-cutover-1-1", Exit.UNSUPPORTED, reason="SchemaChanged")
    world.until(lambda w: w.status.cutover.mode is Mode.IDLE)

    last = world.status.cutover.last_attempt
    assert last is not None
    assert (last.verdict, last.reason) == (Verdict.ABORTED, "SchemaChanged")


def test_a_cutover_that_hangs_behind_the_fence_is_taken_back_after_its_budget() -> None:
    world = a_world_behind_the_fence()
    world.now += timedelta(seconds=76)
    world.live()
    world.until(lambda w: w.status.cutover.mode is Mode.IDLE)

    last = world.status.cutover.last_attempt
    assert last is not None
    assert last.reason == "BudgetExceeded"


def test_after_the_commit_point_nothing_takes_the_switch_back() -> None:
    world = a_world_behind_the_fence()
    report = world.reports["shop-cutover-1-1"]
    assert report.switch is not None
    said = report.switch.model_copy(
        update={"verdict": Verdict.COMMITTED, "committed_at": world.now}
    )
    world.reports["shop-cutover-1-1"] = report.model_copy(update={"switch": said})
    world.step()
    world.ask(Request.REPLICATE)
    world.end("shop-cutover-1-1", Exit.NOT_PERMITTED, reason="NotPermitted")
    for _ in range(10):
        world.step()

    assert world.status.cutover.mode is Mode.CUTOVER
    assert not any("abort" in name for name in world.started)
    assert world.reason(ConditionType.REQUEST_REFUSED) == "AlreadyCutOver"
    assert not any("source-0" in family for family in world.alive_families())


def test_a_killed_cutover_is_started_again_at_once_with_the_same_number() -> None:
    world = a_world_behind_the_fence()
    world.end("shop-cutover-1-1", -9)
    world.silent.clear()
    world.until_phase(
        Phase.FALLBACK_STREAMING,
    )

    assert "shop-cutover-1-2" in world.started
    assert world.status.cutover.attempt == 1


def test_nobody_waits_behind_the_fence_for_an_apply_that_has_failed_often() -> None:
    world = a_world_behind_the_fence()
    for try_ in range(1, 6):
        world.end(f"shop-apply-source-0-{try_}", Exit.TRY_AGAIN, reason="TryAgain")
        ended = world.now
        world.until(has_started(f"shop-apply-source-0-{try_ + 1}"))

        assert (world.now - ended) <= timedelta(seconds=1.5)


def test_a_way_back_that_finds_no_slot_yet_is_no_stall() -> None:
    world = a_streaming_world()
    world.ask(Request.CUTOVER)
    world.until(lambda w: "shop-cutover-1-1" in w.reports)
    world.stuck.add(Role.CUTOVER)
    world.until(lambda w: "capture-target-1" in w.alive_families())
    world.end("shop-capture-target-1-1", Exit.UNSAFE, reason="SlotLost")
    world.until(lambda w: "shop-capture-target-1-2" in w.alive())

    assert world.truth(ConditionType.STALLED) == ""


# --- restarts and stalls ---


def test_a_role_that_keeps_failing_is_tried_again_ever_later() -> None:
    world = a_streaming_world()
    starts = []
    for try_ in range(1, 9):
        name = f"shop-apply-source-0-{try_}"
        world.end(name, Exit.TRY_AGAIN, reason="TryAgain")
        ended = world.now
        world.until(has_started(f"shop-apply-source-0-{try_ + 1}"), passes=400)
        starts.append(round((world.now - ended).total_seconds()))

    assert starts == [1, 2, 4, 8, 16, 30, 30, 30]


def test_two_healthy_minutes_make_the_next_try_quick_again() -> None:
    world = a_streaming_world()
    for try_ in range(1, 5):
        world.end(f"shop-apply-source-0-{try_}", Exit.TRY_AGAIN, reason="TryAgain")
        world.until(has_started(f"shop-apply-source-0-{try_ + 1}"), passes=400)
    world.now += timedelta(minutes=2)
    world.end("shop-apply-source-0-5", Exit.TRY_AGAIN, reason="TryAgain")
    ended = world.now
    world.until(lambda w: "shop-apply-source-0-6" in w.started)

    assert (world.now - ended) < timedelta(seconds=2)


@pytest.mark.parametrize("code", [64, 65, 78])
def test_what_was_mended_in_a_database_is_found_without_being_told(code: int) -> None:
    """At night somebody grants what was missing, and goes to bed: it must not wait for an edit of the spec."""
    world = a_streaming_world()
    looks = []
    for try_ in range(1, 8):
        world.end(f"shop-apply-source-0-{try_}", code, reason="Broken", message="it broke")
        ended = world.now
        world.until(has_started(f"shop-apply-source-0-{try_ + 1}"), passes=3000)
        looks.append(round((world.now - ended).total_seconds()))
        assert world.truth(ConditionType.STALLED) == "True"
        assert "it broke; do this" in world.status.message

    assert looks == [30, 60, 120, 240, 300, 300, 300]
    world.until(lambda w: w.truth(ConditionType.STALLED) == "", passes=400)
    assert world.truth(ConditionType.CAUGHT_UP) == "True"


@pytest.mark.parametrize("code", [64, 65, 78, 86])
def test_a_permanent_end_stalls_and_is_tried_at_once_when_the_spec_changes(code: int) -> None:
    world = a_streaming_world()
    world.end("shop-apply-source-0-1", code, reason="Broken", message="it broke")
    for _ in range(3):
        world.step()

    stalled = world.status.condition(ConditionType.STALLED)
    assert stalled is not None
    assert (stalled.reason, stalled.message) == (
        "Broken",
        "shop-apply-source-0-1: it broke; do this",
    )
    assert "shop-apply-source-0-2" not in world.started

    world.ask(Request.REPLICATE)
    world.step()

    assert "shop-apply-source-0-2" in world.started


@pytest.mark.parametrize(("code", "again"), [(64, True), (78, True), (65, True), (86, False)])
def test_new_credentials_give_another_try_to_what_they_may_mend(code: int, again: bool) -> None:
    world = a_streaming_world()
    world.end("shop-capture-source-0-1", code, reason="Broken")
    world.step()
    world.credentials = "two"
    world.step()

    assert ("shop-capture-source-0-2" in world.started) is again


def test_new_lanes_replace_the_running_apply() -> None:
    world = a_streaming_world()
    world.ask(Request.REPLICATE, stream={"lanes": 4})
    world.until(lambda w: "shop-apply-source-0-2" in w.alive())

    assert "shop-capture-source-0-1" in world.alive()


def test_a_job_that_was_deleted_is_created_again_under_its_name() -> None:
    world = a_streaming_world()
    del world.jobs["shop-apply-source-0-1"]
    world.step()

    assert world.alive().count("shop-apply-source-0-1") == 1


def test_a_job_that_the_status_does_not_know_is_stopped_and_its_word_not_taken() -> None:
    world = World()
    world.step()
    old = world.jobs["shop-assess-1"]
    assert old.exit_code == 0
    world.status = Status()
    world.step()

    assert world.started == ["shop-assess-1", "shop-assess-2"]


# --- suspend and delete ---


def test_suspend_stops_everything_and_resuming_goes_on() -> None:
    world = a_streaming_world()
    world.ask(Request.REPLICATE, suspend=True)
    world.step()
    world.step()

    assert world.alive() == []
    assert world.truth(ConditionType.PAUSED) == "True"
    assert world.truth(ConditionType.READY) == "False"

    world.ask(Request.REPLICATE, suspend=False)
    world.until(lambda w: w.truth(ConditionType.READY) == "True")


def test_suspend_lets_a_switch_end_first() -> None:
    world = a_world_behind_the_fence()
    world.ask(Request.CUTOVER, suspend=True)
    for _ in range(3):
        world.step()
    assert "cutover-1" in world.alive_families()
    assert world.truth(ConditionType.PAUSED) == "False"

    world.silent.clear()
    world.until(lambda w: w.truth(ConditionType.PAUSED) == "True")

    assert world.status.primary is Primary.TARGET


def test_deleting_with_retain_stops_all_and_starts_nothing() -> None:
    world = a_streaming_world()
    started = list(world.started)
    world.deleting = True
    for _ in range(5):
        decided = world.step()

    assert world.started == started
    assert world.alive() == []
    assert decided.finished


def test_deleting_between_two_tries_of_a_cutover_does_not_leave_its_fence_for_ever() -> None:
    """Nobody lowers a fence when the resource, and all that watched over it, is gone."""
    world = a_world_behind_the_fence()
    world.end("shop-cutover-1-1", 75, reason="Gone")
    world.deleting = True
    decided = world.step()
    assert not decided.finished
    for _ in range(20):
        decided = world.step()

    assert world.started[-1] == "shop-abort-1-1"
    assert world.status.cutover.verdict is Verdict.ABORTED
    assert decided.finished


def test_deleting_while_an_abort_waits_for_its_next_try_does_not_leave_the_fence() -> None:
    world = a_world_behind_the_fence()
    world.stuck = {Role.ABORT}
    world.ask(Request.REPLICATE)
    world.until(lambda w: "shop-abort-1-1" in w.alive())
    world.end("shop-abort-1-1", 78, reason="NotPermitted")
    world.deleting = True
    for _ in range(10):
        assert not world.step().finished
    assert world.reason(ConditionType.STALLED) == "CleanupFailed"
    assert "force-delete" in world.status.message

    world.stuck = set()
    world.now += timedelta(seconds=40)
    for _ in range(10):
        decided = world.step()
    assert "shop-abort-1-2" in world.started
    assert decided.finished


def test_deleting_after_the_commit_point_opens_the_winner_before_it_leaves() -> None:
    """Else both sides would stay closed."""
    world = a_world_behind_the_fence()
    committed = SwitchReport(
        attempt=1, loser=Side.SOURCE, verdict=Verdict.COMMITTED, committed_at=world.now
    )
    world.end("shop-cutover-1-1", 75, reason="Gone", switch=committed)
    world.deleting = True
    world.silent = set()
    for _ in range(30):
        decided = world.step()

    assert "shop-cutover-1-2" in world.started
    assert world.status.primary is Primary.TARGET
    assert decided.finished


@pytest.mark.parametrize("hindrance", ["refusal", "pod"])
def test_a_cleanup_that_can_not_begin_says_how_to_delete_without_it(hindrance: str) -> None:
    """Its Secrets went with the resource, or its namespace takes no Jobs any more."""
    world = a_streaming_world()
    world.ask(Request.REPLICATE, deletionPolicy="Cleanup")
    world.stuck = {Role.CLEANUP}
    world.deleting = True
    world.until(lambda w: "shop-cleanup-1" in w.started)
    if hindrance == "refusal":
        world.refusal = "the API server refuses Job shop-cleanup-1"
    else:
        job = world.jobs["shop-cleanup-1"]
        world.jobs["shop-cleanup-1"] = replace(job, note="are the Secrets there?")
    world.step()
    assert world.truth(ConditionType.STALLED) == ""

    world.now += timedelta(seconds=61)
    world.step()

    assert world.reason(ConditionType.STALLED) == "CleanupFailed"
    assert "force-delete" in world.status.message


@pytest.mark.parametrize(
    "change", [{"worker": {"image": "right:1"}}, {"snapshot": {"chunkRows": 5000}}]
)
def test_a_worker_that_could_not_begin_is_replaced_when_the_spec_is_mended(
    change: dict[str, Any],
) -> None:
    world = World()
    world.stuck = {Role.ASSESS}
    world.step()
    world.jobs["shop-assess-1"] = replace(world.jobs["shop-assess-1"], note="ImagePullBackOff")
    world.step()
    assert world.status.message == "ImagePullBackOff"
    assert world.alive() == ["shop-assess-1"]

    world.stuck = set()
    world.ask(Request.REPLICATE, **change)
    world.until_phase(Phase.STREAMING)

    assert "shop-assess-2" in world.started


def test_other_nodes_replace_the_streams_workers() -> None:
    world = a_streaming_world()
    world.ask(Request.REPLICATE, worker={"nodeSelector": {"disk": "fast"}})

    world.until(lambda w: {"shop-apply-source-0-2", "shop-capture-source-0-2"} <= set(w.alive()))


def test_a_node_whose_clock_is_ahead_does_not_put_off_the_next_try() -> None:
    world = a_streaming_world()
    world.end("shop-capture-source-0-1", -9)
    ahead = replace(
        world.jobs["shop-capture-source-0-1"], finished_at=world.now + timedelta(minutes=20)
    )
    world.jobs["shop-capture-source-0-1"] = ahead

    world.until(lambda w: "shop-capture-source-0-2" in w.started, passes=20)


def test_a_cutover_that_starts_again_does_not_stop_the_clock_of_its_fence() -> None:
    """A role that was started again says nothing of the row before it has read it."""
    world = a_world_behind_the_fence()
    world.end("shop-cutover-1-1", -9)
    world.until(lambda w: "shop-cutover-1-2" in w.alive())
    blank = SwitchReport(attempt=1, loser=Side.SOURCE, step="Gate")
    world.reports["shop-cutover-1-2"] = world.report("shop-cutover-1-2", switch=blank)
    world.stuck = {Role.CUTOVER}
    world.step()
    world.now += timedelta(minutes=10)

    world.until(lambda w: "shop-abort-1-1" in w.started, passes=5)


def test_ten_thousand_tables_do_not_make_a_status_that_no_api_server_takes() -> None:
    world = World()
    world.stuck = {Role.SNAPSHOT}
    world.until(lambda w: "shop-snapshot-1" in w.alive())
    tables = [
        TableProgress(name=f"public.table_{n}", rows=n, done=n % 2 == 0) for n in range(10_000)
    ]
    world.reports["shop-snapshot-1"] = world.report(
        "shop-snapshot-1", snapshot=SnapshotReport(tables=tables)
    )
    world.step()

    assert len(world.status.model_dump_json()) < 200_000
    assert world.status.message == "5000 of 10000 tables are copied"
    assert world.status.snapshot is not None
    assert not any(table.done for table in world.status.snapshot.tables)


def test_deleting_with_cleanup_ends_the_switch_before_it_cleans_up() -> None:
    world = a_world_behind_the_fence()
    started = len(world.started)
    world.ask(Request.CUTOVER, deletionPolicy="Cleanup")
    world.deleting = True
    for _ in range(20):
        decided = world.step()

    assert world.started[started:] == ["shop-abort-1-1", "shop-cleanup-1"]
    assert decided.finished


# --- a lost status ---


def lose_status(world: World, source: FoundSide, target: FoundSide) -> None:
    for name in world.alive():
        world.end(name, -9)
    world.status = Status()
    world.found = {Side.SOURCE: source, Side.TARGET: target}


def test_a_lost_status_is_rebuilt_and_the_next_number_is_burnt() -> None:
    world = a_streaming_world()
    lose_status(
        world,
        FoundSide(installed=True, slots=[0]),
        FoundSide(installed=True, fenced=True, snapshot_complete=True),
    )
    world.until(lambda w: w.status.cutover.last_attempt is not None)

    assert "shop-abort-1-1" in world.started
    assert world.started.count("shop-snapshot-1") == 1
    assert world.status.phase is Phase.STREAMING
    last = world.status.cutover.last_attempt
    assert last is not None
    assert (last.number, last.verdict, last.reason) == (1, Verdict.ABORTED, "StatusLost")


def test_a_lost_status_after_a_cutover_finds_the_target_primary_and_its_stream() -> None:
    world = World()
    world.ask(Request.CUTOVER)
    lose_status(
        world,
        FoundSide(installed=True, fenced=True, attempt=3, verdict=Verdict.COMMITTED, opened=2),
        FoundSide(
            installed=True,
            attempt=2,
            verdict=Verdict.COMMITTED,
            opened=3,
            snapshot_complete=True,
            slots=[3],
        ),
    )
    world.until(lambda w: w.truth(ConditionType.CAUGHT_UP) == "True")

    assert world.status.phase is Phase.FALLBACK_STREAMING
    assert world.status.epoch == 4
    assert "shop-abort-4-1" in world.started
    assert world.specs["shop-abort-4-1"].loser is Side.TARGET
    assert world.alive_families() == {"capture-target-3", "apply-target-3"}


def test_a_lost_status_aborts_an_attempt_that_is_still_armed_by_its_own_number() -> None:
    world = World()
    lose_status(
        world,
        FoundSide(installed=True, fenced=True, attempt=1, verdict=Verdict.ARMED, slots=[0]),
        FoundSide(installed=True, fenced=True, snapshot_complete=True, slots=[1]),
    )
    world.until(lambda w: w.truth(ConditionType.CAUGHT_UP) == "True")

    assert [name for name in world.started if "abort" in name] == ["shop-abort-1-1"]
    assert world.status.primary is Primary.SOURCE


def test_a_lost_status_finishes_a_switch_that_is_committed_and_not_opened() -> None:
    world = World()
    world.ask(Request.CUTOVER)
    lose_status(
        world,
        FoundSide(installed=True, fenced=True, attempt=1, verdict=Verdict.COMMITTED, slots=[0]),
        FoundSide(installed=True, fenced=True, snapshot_complete=True, slots=[1]),
    )
    world.until_phase(Phase.FALLBACK_STREAMING)

    assert not any("abort" in name for name in world.started)
    assert world.status.cutover.attempt == 1


def test_a_lost_status_with_both_sides_open_is_for_a_human() -> None:
    world = World()
    lose_status(
        world,
        FoundSide(installed=True, attempt=1, verdict=Verdict.ABORTED),
        FoundSide(installed=True, snapshot_complete=True),
    )
    for _ in range(10):
        world.step()

    assert world.reason(ConditionType.STALLED) == "BothSidesOpen"
    assert world.alive() == []


def test_a_standing_cutover_request_does_not_start_by_itself_after_a_lost_status() -> None:
    world = World()
    world.ask(Request.CUTOVER)
    lose_status(
        world,
        FoundSide(installed=True, slots=[0]),
        FoundSide(installed=True, fenced=True, snapshot_complete=True),
    )
    for _ in range(40):
        world.step()

    assert world.status.phase is Phase.STREAMING
    assert world.reason(ConditionType.CUTOVER_READY) == "StatusLost"
