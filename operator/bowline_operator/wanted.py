"""Which roles shall run now, given where the migration stands and what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from bowline_operator import attempts
from bowline_operator.api import DeletionPolicy
from bowline_operator.jobs import STREAM_ROLES
from bowline_operator.observed import Observed
from bowline_operator.requests import DEPTH, Answer
from bowline_operator.status import JobState, Mode, Phase, Stage, Status, StreamRef
from bowline_operator.tries import Restart, Want
from bowline_worker.contract import Role, Verdict


def wanted(seen: Observed, status: Status, reply: Answer, *, hold: bool) -> list[Want]:  # noqa: PLR0911 (a staircase)
    """List the roles that shall run now; on `hold` what runs goes on, and nothing new begins."""
    switch = status.cutover
    if status.phase is Phase.COMPLETED:
        return []
    if seen.deleting:
        return _wanted_when_deleting(seen, status)
    if switch.mode is not Mode.IDLE:
        return list(_wanted_in_switch(seen, status))
    if seen.spec.suspend:
        return []
    if status.phase is Phase.COMPLETING:
        return _cleanup(seen, status)
    if hold:
        return [
            want
            for want in _wanted_on_the_way(seen, status, reply)
            if _is_alive(seen, want) or want.role in STREAM_ROLES
        ]
    return _wanted_on_the_way(seen, status, reply)


def _wanted_on_the_way(seen: Observed, status: Status, reply: Answer) -> list[Want]:
    depth = DEPTH[reply.goal]
    match status.stage:
        case Stage.NONE:
            return [Want(role=Role.ASSESS)] if depth >= 1 else []
        case Stage.ASSESSED:
            return [Want(role=Role.SCHEMA)] if depth >= 2 else []
        case Stage.SCHEMA_READY:
            return [Want(role=Role.PREPARE)] if depth >= 3 else []
        case Stage.PREPARED:
            capture = Want(role=Role.CAPTURE, epoch=status.epoch)
            return [capture, Want(role=Role.SNAPSHOT, epoch=status.epoch)]
        case Stage.SNAPSHOT_COMPLETE:
            return [*_streams(status, status.active_stream, status.epoch), *_verify(seen, status)]


def _streams(
    status: Status,
    stream: StreamRef | None,
    epoch: int,
    restart: Restart = Restart.NORMAL,
    since: datetime | None = None,
) -> Iterator[Want]:
    """Capture and apply of a stream."""
    if stream is not None:
        for role in (Role.CAPTURE, Role.APPLY):
            yield Want(
                role=role,
                origin=stream.origin.side,
                number=stream.number,
                epoch=epoch,
                primary=status.primary.side,
                restart=restart,
                since=since,
            )


def _verify(seen: Observed, status: Status) -> Iterator[Want]:
    request = seen.spec.verification.request
    answered = status.verification.request if status.verification is not None else 0
    if request > answered and status.active_stream is not None:
        yield Want(
            role=Role.VERIFY, number=request, epoch=status.epoch, primary=status.primary.side
        )


def _wanted_in_switch(seen: Observed, status: Status) -> Iterator[Want]:
    switch = status.cutover
    if switch.verdict is not Verdict.COMMITTED:
        # Retire ends the outgoing apply on purpose; only an abort brings it back.
        yield from _streams(status, status.active_stream, status.epoch, Restart.UNLESS_REFUSED)
    back = attempts.back_stream(status)
    if back is not None:
        restart = _back_restart(status)
        yield from _streams(status, back, status.epoch + 1, restart, switch.armed_at)
    if attempts.is_written(seen, status):
        forward = switch.mode is Mode.CUTOVER
        yield Want(
            role=Role.CUTOVER if forward else Role.ABORT,
            number=switch.attempt,
            epoch=status.epoch,
            loser=(switch.loser or status.primary).side,
            fallback=switch.fallback,
            primary=status.primary.side,
            restart=Restart.AT_ONCE if forward else Restart.NEVERTHELESS,
        )


def _back_restart(status: Status) -> Restart:
    if status.cutover.verdict is Verdict.ABORTED:
        return Restart.UNLESS_REFUSED
    # Until the step is done the slot may not be there yet, and a worker can't tell it from a lost one.
    return Restart.LATER if status.cutover.armed_at is not None else Restart.ALWAYS


def _cleanup(seen: Observed, status: Status) -> list[Want]:
    """Cleanup, once nothing else runs: it must not take away what a role stands on."""
    others = [
        job
        for job in seen.jobs.values()
        if job.state is JobState.RUNNING and job.role is not Role.CLEANUP
    ]
    if others:
        return []
    return [Want(role=Role.CLEANUP, epoch=status.epoch, primary=status.primary.side)]


def _wanted_when_deleting(seen: Observed, status: Status) -> list[Want]:
    """A switch is ended first: behind its fence nobody can write. Then Retain leaves, and Cleanup cleans up.

    Nothing but the roles that end the switch is created for it; of the others those that run may go on.
    """
    in_switch = [] if status.cutover.mode is Mode.IDLE else list(_wanted_in_switch(seen, status))
    roles = {Role.CUTOVER, Role.ABORT}
    if in_switch:
        return [want for want in in_switch if want.role in roles or _is_alive(seen, want)]
    if seen.spec.deletion_policy is DeletionPolicy.CLEANUP:
        return _cleanup(seen, status)
    return []


def _is_alive(seen: Observed, want: Want) -> bool:
    job = seen.job_of(seen.status.job(want.family))
    return job is not None and job.state is JobState.RUNNING
