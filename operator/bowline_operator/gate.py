"""What stands between a stream and a switch: each unmet demand by name. It never opens on missing evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from bowline_operator.api import VerifyMode, Window
from bowline_operator.durations import format_duration
from bowline_operator.jobs import family
from bowline_operator.observed import Observed
from bowline_operator.status import Mode, Phase, Stage, Status, StreamRef
from bowline_worker.contract import Report, Role, StreamReport, Verdict

#: So few changes are applied within a moment whatever the rate; beyond them the rate is asked.
FEW_CHANGES = 10_000
#: What is applied within this time does not make a fence longer than people notice.
SHORT_WORK = timedelta(seconds=3)
LAG_UNKNOWN = (
    "apply can't measure the lag: nothing came yet, or the origin's clock is ahead of its own"
)


@dataclass(frozen=True, slots=True)
class Blocker:
    reason: str
    message: str
    unknown: bool = False  #: the evidence is missing: neither yes nor no
    human: bool = False  #: it does not go away by itself

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def stream_reports(seen: Observed, stream: StreamRef) -> tuple[Report | None, Report | None]:
    """Fresh reports of a stream's capture and apply."""
    capture, apply = (
        seen.fresh_report(family(role, origin=stream.origin.side, number=stream.number))
        for role in (Role.CAPTURE, Role.APPLY)
    )
    return capture, apply


def of_stream(report: Report | None, stream: StreamRef) -> StreamReport | None:
    """The stream part of a report, if it is about this very stream."""
    found = report.stream if report is not None else None
    if found is None or found.origin is not stream.origin.side or found.number != stream.number:
        return None
    return found


def behind(seen: Observed, stream: StreamRef) -> list[Blocker]:
    """Say why the stream can't be called caught up; []: fresh reports say that it is."""
    captured, applied = (of_stream(report, stream) for report in stream_reports(seen, stream))
    missing = [name for name, report in (("capture", captured), ("apply", applied)) if not report]
    if captured is None or applied is None:
        names = " and ".join(missing)
        return [Blocker("ReportMissing", f"no fresh report from {names} of {stream.key}", True)]
    found = []
    if stream.number and not applied.marker:
        found.append(Blocker("MarkerNotPassed", f"the stream {stream.key} does not apply rows yet"))
    lag, limit = applied.lag.current, seen.spec.cutover.max_lag
    if lag is None:
        found.append(Blocker("LagUnknown", LAG_UNKNOWN, True))
    elif lag > limit.total_seconds():
        found.append(
            Blocker("LagTooHigh", f"lag is {lag:.1f}s, at most {format_duration(limit)} is asked")
        )
    if applied.remaining is None:
        found.append(Blocker("BacklogUnknown", "apply has not counted the backlog yet", True))
    elif applied.remaining > _few(applied):
        found.append(Blocker("BacklogTooLarge", f"{applied.remaining} changes are not applied yet"))
    return found


def _few(applied: StreamReport) -> float:
    rate = applied.imported.per_second_3m if applied.imported is not None else 0.0
    return max(FEW_CHANGES, rate * SHORT_WORK.total_seconds())


def blockers(seen: Observed, status: Status) -> list[Blocker]:
    """List everything that keeps the primary from being switched now."""
    if status.phase in (Phase.COMPLETING, Phase.COMPLETED):
        return [Blocker("Completed", f"the migration is {status.phase}", human=True)]
    if not status.has(Stage.SNAPSHOT_COMPLETE):
        return [Blocker("SnapshotIncomplete", f"the migration is {status.phase}")]
    stream = status.active_stream
    if stream is None:
        return [Blocker("NoStream", f"nothing streams from the {status.primary.side}")]
    if status.cutover.mode is not Mode.IDLE:
        return [Blocker("SwitchUnderWay", f"attempt {status.cutover.attempt} is under way")]
    found = []
    last = status.cutover.last_attempt
    if last and last.verdict is Verdict.ABORTED and last.generation == seen.generation:
        found.append(
            Blocker(
                last.reason or "Aborted",
                f"attempt {last.number} was aborted: {last.message or 'no reason was given'}; "
                "change the spec, or put spec.phase back and ask again",
                human=True,
            )
        )
    if seen.spec.suspend:
        found.append(Blocker("Paused", "spec.suspend is true", human=True))
    if seen.spec.cutover.abort:
        found.append(Blocker("AbortRequested", "spec.cutover.abort is true", human=True))
    found += _outside(seen.spec.cutover.window, seen)
    found += behind(seen, stream)
    captured = of_stream(stream_reports(seen, stream)[0], stream)
    if captured is not None and captured.at_risk:
        found.append(Blocker("SourceAtRisk", captured.at_risk))
    verified = status.verification
    is_required = seen.spec.cutover.verify is VerifyMode.REQUIRED
    # A comparison behind a fence is made again by the next attempt; one that was asked for is believed.
    is_current = verified is not None and verified.epoch == status.epoch
    if is_required and verified and is_current and not (verified.equal or verified.behind_fence):
        found.append(
            Blocker(
                "DifferenceFound",
                "the last comparison found rows that differ; raise spec.verification.request to compare again",
                human=True,
            )
        )
    return found


def _outside(window: Window | None, seen: Observed) -> list[Blocker]:
    if window is None:
        return []
    if window.not_before is not None and seen.now < window.not_before:
        return [Blocker("WindowNotOpen", f"the window opens at {window.not_before.isoformat()}")]
    if window.not_after is not None and seen.now > window.not_after:
        return [
            Blocker(
                "WindowClosed", f"the window closed at {window.not_after.isoformat()}", human=True
            )
        ]
    return []
