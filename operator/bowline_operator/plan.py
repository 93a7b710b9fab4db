"""Decide what to do: a pure function from the observed world to actions and the next status.

One pass: take over what Jobs and reports say; answer the request; begin, take back or follow an attempt; derive which
roles shall run, and from that which Jobs to start and stop; judge the conditions. The status carries everything that
must be remembered from one pass to the next; the databases decide whatever could lose a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from bowline_operator import attempts, gate
from bowline_operator.api import FORCE_DELETE, DeletionPolicy, Request, unsupported
from bowline_operator.conditions import Circumstances, claims
from bowline_operator.figures import copied, copy_figures
from bowline_operator.jobs import STREAM_ROLES, family
from bowline_operator.news import news
from bowline_operator.observed import Observed, Plan
from bowline_operator.rebuild import is_fresh_start, rebuild
from bowline_operator.requests import DEPTH, Answer, answer, asks_for_abort, asks_for_switch
from bowline_operator.stamps import stamp
from bowline_operator.status import (
    ConditionType,
    JobState,
    JobStatus,
    Mode,
    Phase,
    Primary,
    Stage,
    Status,
    StreamRef,
    Truth,
)
from bowline_operator.tries import Staffing, absorb, is_permanent, staff
from bowline_operator.wanted import wanted
from bowline_worker.contract import Role, Severity, Side, Verdict

#: While a switch is under way every moment counts: nobody can write behind the fence.
HURRY = timedelta(milliseconds=200)
#: Without any news the world is looked at again after this.
RESYNC = timedelta(seconds=15)
#: Something is on its way that no event tells of: a worker's first report, a canary's trip.
SOON = timedelta(seconds=3)
#: So often cleaning up has failed, or so long it can't begin, when a human is told how to do without it.
ENOUGH_CLEANUPS = 3
LEAVING_PATIENCE = timedelta(seconds=60)
_LEAVING = frozenset({Role.CLEANUP, Role.ABORT, Role.CUTOVER})
#: Nothing is left to watch.
REST = timedelta(minutes=5)

_OVER = frozenset({Phase.COMPLETING, Phase.COMPLETED})

#: The role that leads from a stage to the next.
_STEPS = {
    Role.ASSESS: Stage.ASSESSED,
    Role.SCHEMA: Stage.SCHEMA_READY,
    Role.PREPARE: Stage.PREPARED,
    Role.SNAPSHOT: Stage.SNAPSHOT_COMPLETE,
}


@dataclass(slots=True)
class _Stall:
    """Something other than an ended Job that a human must look at."""

    reason: str = ""
    message: str = ""


def plan(seen: Observed) -> Plan:
    """Decide one pass. The same world gives the same plan."""
    status = seen.status.model_copy(deep=True)
    status.observed_generation = seen.generation
    events = absorb(seen, status)
    copy_figures(seen, status)
    stall = _Stall()
    _take_steps(seen, status, stall)
    attempts.learn(seen, status)
    status.phase = _phase(status, None)
    reply = answer(seen.spec.phase, status)
    if not seen.deleting:
        _steer(seen, status, reply)
    else:
        _leave(seen, status)
    status.phase = _phase(status, reply.goal)
    blockers = gate.blockers(seen, status)
    is_idle = status.cutover.mode is Mode.IDLE and status.phase not in _OVER
    status.cutover.blockers = [str(each) for each in blockers] if is_idle else []

    missing = unsupported(seen.spec)
    if missing and not seen.deleting:
        stall.reason = "NotSupported"
        stall.message = f"this version can't do {', '.join(missing)}: take it out of the spec"
    wants = wanted(seen, status, reply, hold=bool(stall.reason))
    crew = staff(seen, status, {want.family: want for want in wants})
    if seen.deleting:
        _judge_leaving(seen, status, {want.family for want in wants}, stall)
    status.message = _message(seen, status, reply, crew, stall, blockers)
    how = Circumstances(
        answer=reply,
        blockers=blockers,
        stalled=crew.blocked,
        stall_reason=stall.reason,
        stall_message=stall.message,
        retrying=[entry for entry in crew.retrying if entry.role not in STREAM_ROLES],
    )
    status.conditions = stamp(
        seen.status.conditions,
        claims(seen, status, how),
        generation=seen.generation,
        now=seen.now,
    )
    running = any(job.state is JobState.RUNNING for job in seen.jobs.values())
    return Plan(
        actions=tuple(crew.actions),
        status=status,
        events=(*events, *news(seen.status, status)),
        recheck_after=_recheck(seen, status, crew),
        finished=seen.deleting and not running and not crew.actions and _has_left(seen, status),
    )


# --- the way to Streaming ------------------------------------------------------------------------


def _take_steps(seen: Observed, status: Status, stall: _Stall) -> None:
    """Move on behind every role that has reached its goal."""
    for role, stage in _STEPS.items():
        entry = status.job(family(role))
        if entry is None or entry.state is not JobState.SUCCEEDED or status.has(stage):
            continue
        if role is Role.ASSESS and not _assessed(seen, status, stall):
            return
        if not status.has(stage):
            status.stage = stage
    if status.stage is Stage.PREPARED and status.active_stream is None:
        status.active_stream = StreamRef(origin=Primary.SOURCE, number=0)
    cleanup = status.job(family(Role.CLEANUP))
    if cleanup is not None and cleanup.state is JobState.SUCCEEDED:
        status.phase = Phase.COMPLETED
        status.active_stream = None


def _assessed(seen: Observed, status: Status, stall: _Stall) -> bool:
    """Read the assessment: may we go on, and has this migration lived before?"""
    entry = status.job(family(Role.ASSESS))
    report = seen.last_word(family(Role.ASSESS))
    assert entry is not None  # noqa: S101 (the caller has seen that it succeeded)
    if report is None or set(report.found) != set(Side):
        # Without knowing what is there already, a number could be used twice.
        _again(entry, "assess did not say what it found on both sides")
        return False
    if is_fresh_start(report.found):
        errors = [each for each in status.findings if each.severity is Severity.ERROR]
        # Some findings (tables that are there already, say) are of our own making when it was here before.
        if not errors or any(side.installed for side in report.found.values()):
            return True
        reason = "AssessmentFailed"
        message = f"{len(errors)} findings block the migration; first: {errors[0].message}"
    else:
        problem = rebuild(report.found, status)
        if problem is None:
            status.cutover.generation = seen.generation
            return True
        reason, message = problem.reason, problem.message
    if entry.generation != seen.generation:
        _again(entry, "the spec has changed since")
    else:
        stall.reason, stall.message = reason, message
    return False


def _again(entry: JobStatus, message: str) -> None:
    """Have a role that succeeded run once more."""
    entry.state, entry.reason, entry.message = JobState.FAILED, "Incomplete", message
    entry.failures += 1


# --- what is asked for ---------------------------------------------------------------------------


def _steer(seen: Observed, status: Status, reply: Answer) -> None:
    """Begin what the goal asks for, or take back what it asks for no more."""
    switch = status.cutover
    if switch.mode is Mode.CUTOVER and switch.verdict is not Verdict.COMMITTED:
        why = asks_for_abort(seen.spec, status)
        if why and switch.verdict is not Verdict.ABORTED:
            attempts.take_back(seen, status, "Requested", why)
        return
    if switch.mode is not Mode.IDLE or seen.problem:
        return
    if reply.goal is Request.COMPLETE and not seen.spec.suspend:
        status.phase = Phase.COMPLETING if status.phase is not Phase.COMPLETED else status.phase
    elif (
        asks_for_switch(reply.goal, status)
        and seen.status.cutover.mode
        is Mode.IDLE  # the end of an attempt is seen by all before the next
        and not (unsupported(seen.spec) or gate.blockers(seen, status))
    ):
        attempts.begin(seen, status)


def _leave(seen: Observed, status: Status) -> None:
    """Deleting: an undecided switch is taken back, since its fence must not outlive whoever lowers it.

    With Retain one whose role is at work may end by itself: sooner or later it has no fence either.
    """
    switch = status.cutover
    if switch.mode is not Mode.CUTOVER or switch.verdict not in (Verdict.NONE, Verdict.ARMED):
        return
    job = seen.job_of(status.job(family(Role.CUTOVER, number=switch.attempt)))
    is_at_work = job is not None and job.state is JobState.RUNNING
    if seen.spec.deletion_policy is DeletionPolicy.CLEANUP or not is_at_work:
        attempts.take_back(seen, status, "Deleted", "the resource is being deleted")


def _judge_leaving(seen: Observed, status: Status, wanted_now: set[str], stall: _Stall) -> None:
    """Say how to delete what does not come to an end: a database, or what a worker needs, may be gone for good."""
    leaving = [
        entry for entry in status.jobs if entry.role in _LEAVING and entry.family in wanted_now
    ]
    tried = [entry for entry in leaving if _has_failed_enough(entry)]
    waiting = [
        entry
        for entry in leaving
        if entry.state is JobState.RUNNING
        and seen.hindrance
        and entry.started_at is not None
        and seen.now - entry.started_at > LEAVING_PATIENCE
    ]
    first = next(iter([*tried, *waiting]), None)
    if first is not None:
        why = seen.hindrance if first in waiting else first.message
        stall.reason = "CleanupFailed"
        stall.message = (
            f"{first.name}: {why}; it is tried again. To delete the resource and leave what is in the"
            f" databases: kubectl annotate dbm {seen.name} {FORCE_DELETE}=true"
        )


def _has_failed_enough(entry: JobStatus) -> bool:
    failed = entry.state is not JobState.SUCCEEDED and entry.failures >= ENOUGH_CLEANUPS
    return failed or is_permanent(entry)


def _phase(status: Status, goal: Request | None) -> Phase:
    switch = status.cutover
    if status.phase in (Phase.COMPLETING, Phase.COMPLETED):
        return status.phase
    if switch.mode is not Mode.IDLE and not switch.burn:
        return Phase.CUTTING_OVER if switch.loser is Primary.SOURCE else Phase.SWITCHING_OVER
    if status.primary is Primary.TARGET:
        return Phase.FALLBACK_STREAMING if status.active_stream else Phase.CUT_OVER
    if status.epoch > 1:
        return Phase.SWITCHED_BACK
    if status.has(Stage.SNAPSHOT_COMPLETE):
        return Phase.STREAMING
    order = list(Phase)
    depth = DEPTH[goal]
    reached = {
        Stage.NONE: Phase.ASSESSING if depth >= 1 else Phase.PENDING,
        Stage.ASSESSED: Phase.MIGRATING_SCHEMA if depth >= 2 else Phase.ASSESSING,
        Stage.SCHEMA_READY: Phase.SNAPSHOTTING if depth >= 3 else Phase.MIGRATING_SCHEMA,
        Stage.PREPARED: Phase.SNAPSHOTTING,
    }[status.stage]
    return max(status.phase, reached, key=order.index)


def _has_left(seen: Observed, status: Status) -> bool:
    if seen.spec.deletion_policy is DeletionPolicy.RETAIN:
        return status.cutover.mode is Mode.IDLE and seen.status.cutover.mode is Mode.IDLE
    return status.phase is Phase.COMPLETED


# --- what is told --------------------------------------------------------------------------------


def _message(  # noqa: PLR0911 (a staircase: the first reason counts)
    seen: Observed,
    status: Status,
    reply: Answer,
    crew: Staffing,
    stall: _Stall,
    blockers: list[gate.Blocker],
) -> str:
    """One line for people."""
    switch = status.cutover
    if stall.reason:
        return stall.message
    if crew.blocked:
        first = crew.blocked[0]
        return f"{first.name}: {first.message}" + (f"; {first.hint}" if first.hint else "")
    if reply.message:
        return reply.message
    if switch.mode is Mode.ABORT:
        return _hindered(seen, f"attempt {switch.attempt} is taken back: {switch.message}")
    if switch.mode is Mode.CUTOVER:
        return _hindered(seen, f"attempt {switch.attempt}: {switch.step or 'begins'}")
    if crew.retrying:
        first = crew.retrying[0]
        return f"{first.name} is tried again: {first.message}"
    if seen.hindrance:
        return seen.hindrance
    if asks_for_switch(reply.goal, status) and blockers:
        return f"{reply.goal} waits: {blockers[0].message}"
    if reply.goal is Request.ASSESS and status.stage is Stage.ASSESSED:
        return "assessed"
    if status.phase is Phase.SNAPSHOTTING and status.snapshot is not None:
        return copied(status.snapshot)
    return ""


def _hindered(seen: Observed, message: str) -> str:
    return f"{message}; {seen.hindrance}" if seen.hindrance else message


def _recheck(seen: Observed, status: Status, crew: Staffing) -> timedelta:
    if status.cutover.mode is not Mode.IDLE or crew.actions or status.phase != seen.status.phase:
        return HURRY
    if status.phase is Phase.COMPLETED:
        return REST
    return min([SOON if _is_converging(status) else RESYNC, *crew.waits])


def _is_converging(status: Status) -> bool:
    """Tell whether something is expected within moments."""
    reconciling = status.condition(ConditionType.RECONCILING)
    unknown = (
        each.status is Truth.UNKNOWN
        for each in status.conditions
        if each.type in (ConditionType.READY, ConditionType.FALLBACK_READY)
    )
    return reconciling is not None or any(unknown)
