"""Conditions: what is true of a migration, with evidence. None is True on a stale, missing or foreign report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bowline_operator import gate
from bowline_operator.api import Request
from bowline_operator.figures import copied
from bowline_operator.observed import Observed
from bowline_operator.requests import Answer, asks_for_switch
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A condition's value, before its times are stamped."""

    type: ConditionType
    truth: Truth
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the conditions are judged from, besides the world itself."""

    answer: Answer
    blockers: Sequence[gate.Blocker]
    stalled: Sequence[JobStatus]
    stall_reason: str = ""  #: a stall that is no Job's
    stall_message: str = ""
    retrying: Sequence[JobStatus] = ()


def claims(seen: Observed, status: Status, how: Circumstances) -> list[Claim]:
    """Judge every condition."""
    stall = _stalled(how)
    ready = _ready(seen, status, how, stall)
    found = [ready]
    if stall is not None:
        found.append(stall)
    elif ready.truth is Truth.FALSE and ready.reason in _CONVERGING:
        found.append(
            Claim(
                type=ConditionType.RECONCILING,
                truth=Truth.TRUE,
                reason=ready.reason,
                message=ready.message,
            )
        )
    return [
        *found,
        _stage(status, ConditionType.SCHEMA_READY, Stage.SCHEMA_READY),
        _stage(status, ConditionType.SNAPSHOT_COMPLETE, Stage.SNAPSHOT_COMPLETE),
        _caught_up(seen, status),
        _verified(status),
        _cutover_ready(how),
        _fallback_ready(seen, status),
        _source_at_risk(seen, status),
        _refused(seen, how),
        _paused(seen, status),
    ]


_CONVERGING = frozenset(
    {"Progressing", "Switching", "WaitingForGate", "Retrying", "WorkerPending", "Deleting"}
)


def _stalled(how: Circumstances) -> Claim | None:
    if how.stall_reason:
        reason, message = how.stall_reason, how.stall_message
    elif how.stalled:
        first = how.stalled[0]
        more = f" (and {len(how.stalled) - 1} more)" if len(how.stalled) > 1 else ""
        hint = f"; {first.hint}" if first.hint else ""
        reason = first.reason or "JobFailed"
        message = f"{first.name}: {first.message}{hint}{more}"
    else:
        return None
    return Claim(type=ConditionType.STALLED, truth=Truth.TRUE, reason=reason, message=message)


def _ready(  # noqa: PLR0911 (a staircase: the first reason counts)
    seen: Observed, status: Status, how: Circumstances, stall: Claim | None
) -> Claim:
    def claim(truth: Truth, reason: str, message: str = "") -> Claim:
        return Claim(type=ConditionType.READY, truth=truth, reason=reason, message=message)

    if stall is not None:
        return claim(Truth.FALSE, stall.reason, stall.message)
    if seen.deleting:
        return claim(Truth.FALSE, "Deleting", "the resource is being deleted")
    if how.answer.refused:
        return claim(Truth.FALSE, "RequestRefused", how.answer.message)
    if status.phase is Phase.COMPLETED:
        return claim(Truth.TRUE, "Completed", f"the {status.primary.side} is primary, and alone")
    if status.cutover.mode is not Mode.IDLE:
        step = f"is at {status.cutover.step}" if status.cutover.step else "begins"
        return claim(Truth.FALSE, "Switching", f"attempt {status.cutover.attempt} {step}")
    if seen.spec.suspend:
        return claim(Truth.FALSE, "Paused", "spec.suspend is true")
    if how.answer.waits:
        return claim(Truth.FALSE, "Progressing", how.answer.message)
    if how.retrying:
        first = how.retrying[0]
        return claim(Truth.FALSE, "Retrying", f"{first.name}: {first.message}")
    if seen.hindrance:
        return claim(Truth.FALSE, "WorkerPending", seen.hindrance)
    if asks_for_switch(how.answer.goal, status):
        for blocker in how.blockers:
            if blocker.human:
                return claim(Truth.FALSE, blocker.reason, blocker.message)
        return claim(
            Truth.FALSE, "WaitingForGate", "; ".join(str(blocker) for blocker in how.blockers)
        )
    return _settled(seen, status, how)


def _settled(seen: Observed, status: Status, how: Circumstances) -> Claim:
    """Judge a migration with nothing more to do than what it does."""
    kind = ConditionType.READY
    if how.answer.goal is Request.ASSESS and status.has(Stage.ASSESSED):
        return Claim(type=kind, truth=Truth.TRUE, reason="Assessed", message="assessed")
    if how.answer.goal is Request.SCHEMA and status.has(Stage.SCHEMA_READY):
        return Claim(
            type=kind, truth=Truth.TRUE, reason="SchemaReady", message="the schema is there"
        )
    if status.phase is Phase.COMPLETING or not status.has(Stage.SNAPSHOT_COMPLETE):
        return Claim(type=kind, truth=Truth.FALSE, reason="Progressing", message=status.message)
    stream = status.active_stream
    if stream is None:
        return Claim(
            type=kind,
            truth=Truth.TRUE,
            reason=str(status.phase),
            message=f"the {status.primary.side} is primary, nothing streams",
        )
    # A report alone proves a process; one that says how far it came, that it streams.
    if None in (gate.of_stream(each, stream) for each in gate.stream_reports(seen, stream)):
        return _silent(status, stream)
    return Claim(
        type=kind,
        truth=Truth.TRUE,
        reason=str(status.phase),
        message=f"{stream.key} is streaming",
    )


def _silent(status: Status, stream: StreamRef) -> Claim:
    """A stream of which nothing is heard: what its worker met, if one has failed."""
    failed = [
        each for each in status.jobs if each.failures and each.family.endswith(f"-{stream.key}")
    ]
    for met in (each for each in failed if each.reason):
        message = f"{met.name} is tried again after {met.failures} failures: {met.message}"
        message += f" ({met.hint})" if met.hint else ""
        return Claim(
            type=ConditionType.READY, truth=Truth.FALSE, reason=met.reason, message=message
        )
    why = "".join(f"; {each.name} after {each.failures} failures" for each in failed)
    return Claim(
        type=ConditionType.READY,
        truth=Truth.UNKNOWN,
        reason="ReportMissing",
        message=f"no fresh report from both ends of {stream.key}{why}",
    )


def _stage(status: Status, kind: ConditionType, stage: Stage) -> Claim:
    if status.has(stage):
        return Claim(type=kind, truth=Truth.TRUE, reason=str(stage), message="done")
    message = ""
    if kind is ConditionType.SNAPSHOT_COMPLETE and status.snapshot is not None:
        message = copied(status.snapshot)
    return Claim(type=kind, truth=Truth.FALSE, reason="NotYet", message=message)


def _caught_up(seen: Observed, status: Status) -> Claim:
    kind, stream = ConditionType.CAUGHT_UP, status.active_stream
    if stream is None or not status.has(Stage.SNAPSHOT_COMPLETE) or status.phase in _OVER:
        return Claim(type=kind, truth=Truth.FALSE, reason="NotStreaming")
    found = gate.behind(seen, stream)
    if not found:
        return Claim(type=kind, truth=Truth.TRUE, reason="LagMeasured", message="lag is small")
    return _from_blockers(kind, found)


_OVER = frozenset({Phase.COMPLETING, Phase.COMPLETED})


def _from_blockers(kind: ConditionType, found: Sequence[gate.Blocker]) -> Claim:
    known = [blocker for blocker in found if not blocker.unknown]
    first = (known or found)[0]
    return Claim(
        type=kind,
        truth=Truth.FALSE if known else Truth.UNKNOWN,
        reason=first.reason,
        message="; ".join(blocker.message for blocker in found),
    )


def _verified(status: Status) -> Claim:
    kind, found = ConditionType.VERIFIED, status.verification
    if found is None:
        return Claim(type=kind, truth=Truth.UNKNOWN, reason="NotCompared")
    if not found.equal:
        names = ", ".join(table.name for table in found.tables if not table.equal)
        return Claim(
            type=kind,
            truth=Truth.FALSE,
            reason="DifferenceFound",
            message=f"the sides differed at {_when(found.at)}: {names}",
        )
    if found.epoch != status.epoch:
        return Claim(
            type=kind,
            truth=Truth.UNKNOWN,
            reason="NotComparedSince",
            message=f"the last comparison was in epoch {found.epoch}, at {_when(found.at)}",
        )
    return Claim(
        type=kind,
        truth=Truth.TRUE,
        reason="ComparedBehindFence" if found.behind_fence else "Compared",
        message=f"all rows were equal at {_when(found.at)}",
    )


def _when(at: datetime | None) -> str:
    return at.isoformat(timespec="seconds") if at is not None else "an unknown time"


def _cutover_ready(how: Circumstances) -> Claim:
    if not how.blockers:
        return Claim(type=ConditionType.CUTOVER_READY, truth=Truth.TRUE, reason="GateOpen")
    return _from_blockers(ConditionType.CUTOVER_READY, how.blockers)


def _fallback_ready(seen: Observed, status: Status) -> Claim:
    kind, stream = ConditionType.FALLBACK_READY, status.active_stream
    if status.phase in _OVER:
        return Claim(type=kind, truth=Truth.FALSE, reason="Completed")
    if stream is None:
        return Claim(type=kind, truth=Truth.FALSE, reason="NoStream")
    if stream.number == 0:
        return Claim(type=kind, truth=Truth.FALSE, reason="NotCutOver")
    captured, applied = (
        gate.of_stream(report, stream) for report in gate.stream_reports(seen, stream)
    )
    if captured is None or applied is None:
        return Claim(
            type=kind,
            truth=Truth.UNKNOWN,
            reason="ReportMissing",
            message=f"no fresh report from both ends of {stream.key}",
        )
    if applied.canary != stream.number or not applied.marker:
        return Claim(
            type=kind,
            truth=Truth.FALSE,
            reason="CanaryNotSeen",
            message=f"canary {stream.number} has not made the trip through {stream.key}",
        )
    return Claim(
        type=kind,
        truth=Truth.TRUE,
        reason="CanaryArrived",
        message=f"canary {stream.number} made the trip through {stream.key}",
    )


def _source_at_risk(seen: Observed, status: Status) -> Claim:
    kind, stream = ConditionType.SOURCE_AT_RISK, status.active_stream
    if stream is None or status.phase in _OVER:
        return Claim(type=kind, truth=Truth.FALSE, reason="NothingRetained")
    captured = gate.of_stream(gate.stream_reports(seen, stream)[0], stream)
    if captured is None:
        return Claim(
            type=kind,
            truth=Truth.UNKNOWN,
            reason="ReportMissing",
            message=f"no fresh report from capture of {stream.key}; the "
            f"{stream.origin.side} keeps its log for us meanwhile",
        )
    if captured.at_risk:
        return Claim(
            type=kind, truth=Truth.TRUE, reason="RetentionAtRisk", message=captured.at_risk
        )
    return Claim(type=kind, truth=Truth.FALSE, reason="Retained")


def _refused(seen: Observed, how: Circumstances) -> Claim:
    kind = ConditionType.REQUEST_REFUSED
    if seen.problem:
        return Claim(type=kind, truth=Truth.TRUE, reason="SpecInvalid", message=seen.problem)
    if how.answer.refused:
        return Claim(
            type=kind, truth=Truth.TRUE, reason=how.answer.refused, message=how.answer.message
        )
    return Claim(type=kind, truth=Truth.FALSE, reason="Accepted")


def _paused(seen: Observed, status: Status) -> Claim:
    kind = ConditionType.PAUSED
    if not seen.spec.suspend or status.phase is Phase.COMPLETED:
        return Claim(type=kind, truth=Truth.FALSE, reason="NotSuspended")
    if status.cutover.mode is not Mode.IDLE:
        return Claim(
            type=kind, truth=Truth.FALSE, reason="SwitchUnderWay", message="it is ended first"
        )
    running = [job.name for job in seen.jobs.values() if job.state is JobState.RUNNING]
    if running:
        return Claim(
            type=kind, truth=Truth.FALSE, reason="Pausing", message=f"stopping {len(running)} jobs"
        )
    side = (status.active_stream.origin if status.active_stream else Primary.SOURCE).side
    return Claim(
        type=kind,
        truth=Truth.TRUE,
        reason="Suspended",
        message=f"no job runs; the {side} keeps its log meanwhile, and its disk may fill",
    )
