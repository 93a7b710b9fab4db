"""Attempts to switch the primary: begun, taken back, finished. The databases decide; this follows and remembers.

A pass that begins an attempt only writes it down; its Job is started by a later pass that has read it back. So a
number whose write was lost was never given to anybody.
"""

from __future__ import annotations

from datetime import timedelta

from bowline_operator.figures import bounded_verdicts
from bowline_operator.jobs import family
from bowline_operator.observed import Observed
from bowline_operator.status import (
    CutoverStatus,
    Direction,
    JobState,
    LastAttempt,
    Mode,
    Primary,
    Status,
    StreamRef,
    VerificationStatus,
)
from bowline_operator.tries import is_permanent
from bowline_worker.contract import Report, Role, SwitchReport, Verdict

#: The steps of the saga, in order; what comes from ArmReverse on needs the way back to run.
STEPS = (
    *("Gate", "ArmReverse", "Probe", "Return", "CatchUp", "Fence", "Barrier", "Drain", "Retire"),
    *("Verify", "Sequences", "Restore", "Canary", "Arrival", "Commit", "Open", "Finish"),
)
#: The cutover role aborts by its own clock; when it is stopped or keeps dying, this much later we do.
OVERDUE = timedelta(seconds=15)


def begin(seen: Observed, status: Status) -> None:
    """Write a new attempt down. Nothing of it runs before this has been read back."""
    forward = status.primary is Primary.SOURCE
    status.cutover = CutoverStatus(
        mode=Mode.CUTOVER,
        attempt=status.cutover.attempt + 1,
        loser=status.primary,
        fallback=seen.spec.cutover.fallback if forward else seen.spec.fallback.rearm,
        generation=seen.generation,
        last_attempt=status.cutover.last_attempt,
    )


def take_back(seen: Observed, status: Status, reason: str, message: str) -> None:
    """Write down that the attempt shall be aborted; where it is committed, the abort role will say so."""
    status.cutover.mode = Mode.ABORT
    status.cutover.reason, status.cutover.message = reason, message
    status.cutover.generation = seen.generation


def is_written(seen: Observed, status: Status) -> bool:
    """Tell whether this attempt was read back, so that roles may be given its number."""
    return seen.status.cutover.attempt == status.cutover.attempt


def learn(seen: Observed, status: Status) -> None:
    """Follow what the roles of the attempt have seen in the databases."""
    switch = status.cutover
    if switch.mode is Mode.CUTOVER:
        _follow_cutover(seen, status)
    elif switch.mode is Mode.ABORT:
        _follow_abort(seen, status)


def _follow_cutover(seen: Observed, status: Status) -> None:
    switch = status.cutover
    role = family(Role.CUTOVER, number=switch.attempt)
    for report in (seen.live_report(role), seen.last_word(role)):
        said = _about(report, switch)
        if report is not None and said is not None:
            _take_over(seen, switch, said, report)
            _verification(report, said, status)
    entry = status.job(role)
    if entry is None:
        return
    if entry.state is JobState.RUNNING:
        if _is_overdue(seen, switch):
            take_back(seen, status, "BudgetExceeded", "the fence stands longer than the budget")
        return
    if switch.verdict is Verdict.ABORTED:
        _end_aborted(seen, status, generation=seen.generation)
    elif switch.verdict is Verdict.COMMITTED:
        if entry.state is JobState.SUCCEEDED and switch.opened_at is not None:
            _end_committed(seen, status)
    elif is_permanent(entry):
        take_back(seen, status, entry.reason, entry.message)
    elif _is_overdue(seen, switch):
        take_back(seen, status, "BudgetExceeded", "the fence stands longer than the budget")


def _follow_abort(seen: Observed, status: Status) -> None:
    switch = status.cutover
    role = family(Role.ABORT, number=switch.attempt)
    entry = status.job(role)
    if entry is None or entry.state is JobState.RUNNING:
        return
    report = seen.last_word(role) or seen.live_report(role)
    said = _about(report, switch)
    if report is None or said is None:
        return
    if said.verdict is Verdict.ABORTED:
        switch.verdict = Verdict.ABORTED
        _end_aborted(seen, status, generation=switch.generation)
    elif said.verdict is Verdict.COMMITTED:
        # Too late: from the commit point on there is only forward.
        _take_over(seen, switch, said, report)
        switch.mode, switch.reason, switch.message = Mode.CUTOVER, "", ""


def _about(report: Report | None, switch: CutoverStatus) -> SwitchReport | None:
    """The switch part of a report, if it is about this very attempt."""
    said = report.switch if report is not None else None
    if said is None or switch.loser is None:
        return None
    return said if (said.attempt, said.loser) == (switch.attempt, switch.loser.side) else None


def _take_over(seen: Observed, switch: CutoverStatus, said: SwitchReport, report: Report) -> None:
    switch.step, switch.done = said.step or switch.step, said.done
    reached = [*said.done, said.step]
    beyond = any(STEPS.index(step) >= 1 for step in reached if step in STEPS)
    switch.reverse_armed = switch.reverse_armed or (switch.fallback and beyond)
    if "ArmReverse" in said.done:
        switch.armed_at = switch.armed_at or seen.now
    switch.verified = switch.verified or "Verify" in said.done
    switch.fenced_at = said.fenced_at or switch.fenced_at
    switch.committed_at = said.committed_at or switch.committed_at
    if said.opened:
        switch.opened_at = said.opened_at or switch.opened_at or report.observed_at
    # The last two are final; and a role that was started again knows nothing before it has read the row.
    if switch.verdict not in (Verdict.COMMITTED, Verdict.ABORTED) and said.verdict:
        switch.verdict = said.verdict
    if said.verdict is Verdict.ABORTED:
        switch.reason, switch.message = said.reason, said.message


def _verification(report: Report, said: SwitchReport, status: Status) -> None:
    found = report.verify
    if found is None or found.equal is None:
        return
    status.verification = VerificationStatus(
        equal=found.equal,
        behind_fence=found.behind_fence,
        attempt=said.attempt,
        request=status.verification.request if status.verification else 0,
        epoch=status.epoch,
        tables=bounded_verdicts(found.tables),
        at=report.observed_at,
    )


def _is_overdue(seen: Observed, switch: CutoverStatus) -> bool:
    if switch.fenced_at is None or switch.verdict is not Verdict.ARMED:
        return False
    return seen.now > switch.fenced_at + seen.spec.cutover.budget + OVERDUE


def _end_aborted(seen: Observed, status: Status, *, generation: int) -> None:
    switch = status.cutover
    switch.last_attempt = _ended(seen, switch, generation)
    switch.mode, switch.step, switch.burn, switch.reverse_armed = Mode.IDLE, "", False, False


def _end_committed(seen: Observed, status: Status) -> None:
    """The winner is open and all is tidied: it is primary now."""
    switch = status.cutover
    assert switch.loser is not None  # noqa: S101 (an attempt has a loser from its first write on)
    winner = switch.loser.other
    status.primary = winner
    status.direction = Direction.FORWARD if winner is Primary.SOURCE else Direction.REVERSE
    status.epoch += 1
    status.active_stream = (
        StreamRef(origin=winner, number=switch.attempt) if switch.fallback else None
    )
    found = status.verification
    if switch.verified:
        # The report may have lost its tables on the way; that the step is done says that they were equal.
        if found is None or found.attempt != switch.attempt:
            found = VerificationStatus(equal=True, attempt=switch.attempt, at=seen.now)
        status.verification = found.model_copy(update={"epoch": status.epoch, "behind_fence": True})
    switch.reason, switch.message = "", ""
    switch.last_attempt = _ended(seen, switch, seen.generation)
    switch.mode, switch.step, switch.reverse_armed = Mode.IDLE, "", False


def _ended(seen: Observed, switch: CutoverStatus, generation: int) -> LastAttempt:
    assert switch.loser is not None  # noqa: S101
    return LastAttempt(
        number=switch.attempt,
        verdict=switch.verdict,
        loser=switch.loser,
        reason=switch.reason,
        message=switch.message,
        ended_at=seen.now,
        generation=generation,
    )


def back_stream(status: Status) -> StreamRef | None:
    """The stream that the attempt under way arms, once its slot may be there."""
    switch = status.cutover
    if switch.mode is not Mode.CUTOVER or switch.loser is None or not switch.reverse_armed:
        return None
    return StreamRef(origin=switch.loser.other, number=switch.attempt)
