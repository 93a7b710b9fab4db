"""Tries of Jobs: what became of them, which to start or stop now, and when to stop trying.

At most one Job of a family (a role, per stream or attempt) is alive: a new try waits until every older one is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

from bowline_operator.jobs import STREAM_ROLES, JobSpec, family, job_name, settings_digest
from bowline_operator.observed import Action, Event, Observed, StartJob, StopJob
from bowline_operator.status import JobState, JobStatus, Mode, Stage, Status
from bowline_worker.contract import Exit, Role, Side, Verdict

FIRST_DELAY = timedelta(seconds=1)
LONGEST_DELAY = timedelta(seconds=30)
#: Behind a fence nobody can write: what a switch waits for is tried again at once.
SWITCH_DELAY = timedelta(seconds=1)
#: What ended for good may have been mended in a database, where nobody sees it from here: it is looked at again.
FIRST_LOOK = timedelta(seconds=30)
LONGEST_LOOK = timedelta(minutes=5)
#: Who runs so long does not meet at once what its forerunner met.
LOOKS_WELL = timedelta(seconds=30)
#: A run of this length was healthy: what failed before it counts no more.
HEALTHY = timedelta(minutes=2)
#: An apply may notice only with its next block that an attempt, aborted meanwhile, has retired it.
NOTICED_WITHIN = timedelta(seconds=60)

#: An attempt that aborts itself ends its way back first, and says so next.
ABORT_SEEN_WITHIN = timedelta(seconds=5)

PERMANENT = frozenset({Exit.BAD_CONFIG, Exit.UNSUPPORTED, Exit.NOT_PERMITTED, Exit.UNSAFE})
#: What may have been mended outside of the spec: tried again ever later, at once when somebody says so or the
#: credentials are new. Never 86: what would lose or double data waits for a human.
MENDED_OUTSIDE = frozenset({Exit.BAD_CONFIG, Exit.UNSUPPORTED, Exit.NOT_PERMITTED})
RETIRED_REASONS = frozenset({"FencedOut", "Retired"})

#: How many families are remembered; those of old attempts go first.
REMEMBERED = 40


class Restart(Enum):
    """What a permanent exit of a role means, where it is not what it always is: the end."""

    NORMAL = auto()
    AT_ONCE = auto()  #: a role of the switch
    ALWAYS = auto()  #: what it stands on may not be there yet
    LATER = auto()  #: it may be the doing of an abort that is not seen yet: wait a moment
    NEVERTHELESS = (
        auto()
    )  #: it is told, and tried again: as long as a fence stands, nobody can write
    UNLESS_REFUSED = auto()  #: the switch under way ends it on purpose: no harm, no new try


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A role that shall run now."""

    role: Role
    origin: Side = Side.SOURCE
    number: int = 0  #: of the stream, the attempt or the request
    epoch: int = 1
    loser: Side = Side.SOURCE
    fallback: bool = True
    primary: Side = Side.SOURCE
    restart: Restart = Restart.NORMAL
    since: datetime | None = None  #: what a try met that was started before it may have passed

    @property
    def family(self) -> str:
        return family(self.role, origin=self.origin, number=self.number)


@dataclass(slots=True)
class Staffing:
    """What follows from the wants."""

    actions: list[Action] = field(default_factory=list)
    blocked: list[JobStatus] = field(default_factory=list)  #: ended for good: a human must act
    waits: list[timedelta] = field(default_factory=list)  #: until a next try is due
    retrying: list[JobStatus] = field(default_factory=list)


def absorb(seen: Observed, status: Status) -> list[Event]:
    """Take over into the status what became of the newest tries."""
    events = []
    for entry in status.jobs:
        job = seen.jobs.get(entry.name)
        if job is None or job.state is JobState.RUNNING or entry.state is not JobState.RUNNING:
            continue
        entry.state, entry.exit_code = job.state, job.exit_code
        # A node's clock may be ahead: nothing ended later than now.
        entry.finished_at = min(job.finished_at or seen.now, seen.now)
        said = job.report if job.report is not None and job.report.job_uid == job.uid else None
        failure = said.failure if said is not None else None
        met = entry.reason, entry.message
        entry.reason = entry.message = entry.hint = ""
        if failure is not None:
            entry.reason, entry.message, entry.hint = failure.reason, failure.message, failure.hint
        elif said is not None:
            entry.message = said.message
        if job.state is JobState.FAILED and failure is None:
            entry.reason = "Stopped" if job.stopped else "Died"
            entry.message = job.note or f"ended with {_ending(job.exit_code)} and no last word"
        if job.state is JobState.FAILED or entry.role in STREAM_ROLES:
            ran = entry.finished_at - (entry.started_at or entry.finished_at)
            if entry.reason != "Stopped":
                entry.failures = 1 if ran >= HEALTHY else entry.failures + 1
        is_news = (entry.reason, entry.message) != met
        if is_permanent(entry) and is_news and not _is_meant(entry, status):
            events.append(Event(True, "JobFailed", f"{entry.name}: {entry.message}"))
    return events


def _is_meant(entry: JobStatus, status: Status) -> bool:
    """Tell whether the switch under way has ended this role on purpose."""
    in_switch = status.cutover.mode is not Mode.IDLE
    return in_switch and entry.role in STREAM_ROLES and entry.reason in RETIRED_REASONS


def _ending(code: int | None) -> str:
    if code is None:
        return "no exit code"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def is_permanent(entry: JobStatus) -> bool:
    return entry.state is JobState.FAILED and entry.exit_code in PERMANENT


def is_another_look(entry: JobStatus) -> bool:
    """Tell whether it runs to see if what ended its forerunner for good was mended."""
    return entry.state is JobState.RUNNING and entry.exit_code in PERMANENT


def staff(seen: Observed, status: Status, wants: Mapping[str, Want]) -> Staffing:
    """Stop what is not wanted, start what is missing, and remember each new try in the status."""
    result = Staffing()
    stopping = set()
    for job in seen.jobs.values():
        if job.state is JobState.RUNNING and _is_superfluous(seen, status, wants, job.name):
            result.actions.append(StopJob(job.name, grace(job.role)))
            stopping.add(job.family)
    for name, want in wants.items():
        if name not in stopping:
            result.actions += _start(seen, status, want, result)
    _forget(status, wants)
    return result


def grace(role: Role) -> timedelta:
    """How long a worker of that role may take to end when it is asked to; then it is killed."""
    # A role of the switch is stopped only to take the switch back, and that has ten seconds in all.
    return timedelta(seconds=3) if role in (Role.CUTOVER, Role.ABORT) else timedelta(seconds=30)


def _is_superfluous(
    seen: Observed, status: Status, wants: Mapping[str, Want], job_name: str
) -> bool:
    job = seen.jobs[job_name]
    entry = status.job(job.family)
    if job.family not in wants or entry is None or entry.name != job.name:
        return True
    # A worker that could not begin holds nothing, and a new spec may be what it waits for.
    if job.note and entry.generation != seen.generation:
        return True
    # Nothing is replaced behind a fence, nor the holder of the snapshot while it is copied.
    settled = status.cutover.mode is Mode.IDLE
    holds = job.role is Role.CAPTURE and not status.has(Stage.SNAPSHOT_COMPLETE)
    outdated = job.digest not in ("", settings_digest(job.role, seen.spec))
    return outdated and settled and not holds


def _start(seen: Observed, status: Status, want: Want, result: Staffing) -> Iterator[Action]:
    entry = status.job(want.family)
    if entry is None:
        # A Job that the status does not know is of an earlier life: its name is not used again,
        # and what it found then is no evidence now.
        known = [job.try_ for job in seen.jobs.values() if job.family == want.family]
        yield _new_try(seen, status, want, max(known, default=0) + 1, failures=0)
        return
    if entry.state is JobState.RUNNING:
        _judge_look(seen, entry, result)
        if entry.name not in seen.jobs:  # intended and not created, or deleted by somebody
            yield StartJob(_job_spec(seen, want, entry.try_))
        return
    if is_permanent(entry) and want.restart is Restart.UNLESS_REFUSED:
        return
    early = want.since is not None and (entry.started_at or want.since) <= want.since
    refused = is_permanent(entry) and want.restart is not Restart.ALWAYS and not early
    if refused and not may_try_again(seen, status, entry):
        yield from _refused(seen, status, want, entry, result)
        return
    failures = 0 if refused else entry.failures
    if entry.state is JobState.SUCCEEDED:  # its goal is reached, and yet it is needed
        failures = max(failures, 1)
    due = (entry.finished_at or seen.now) + _delay(failures, want.restart)
    if due > seen.now:
        result.waits.append(due - seen.now)
        result.retrying.append(entry)
        return
    met = entry if entry.state is JobState.FAILED and failures else None
    yield _new_try(seen, status, want, entry.try_ + 1, failures=failures, met=met)


def _judge_look(seen: Observed, entry: JobStatus, result: Staffing) -> None:
    """What its forerunner met stands, until this one has run for a while without it."""
    if entry.exit_code is None:
        return
    ran = seen.now - (entry.started_at or seen.now)
    if ran < LOOKS_WELL:
        result.waits.append(LOOKS_WELL - ran)
        if is_another_look(entry):
            result.blocked.append(entry)
    else:
        entry.exit_code, entry.reason, entry.message, entry.hint = None, "", "", ""


def _refused(
    seen: Observed, status: Status, want: Want, entry: JobStatus, result: Staffing
) -> Iterator[Action]:
    """Tell of a role that ended for good, and look again, where that does no harm."""
    ended = entry.finished_at or seen.now
    if want.restart is not Restart.LATER or seen.now - ended > ABORT_SEEN_WITHIN:
        result.blocked.append(entry)
    if want.restart is Restart.NEVERTHELESS:
        due = ended + LONGEST_DELAY
    elif want.restart is Restart.NORMAL and entry.exit_code in MENDED_OUTSIDE:
        due = ended + _doubled(FIRST_LOOK, entry.failures, LONGEST_LOOK)
    else:
        return
    if due <= seen.now:
        yield _new_try(seen, status, want, entry.try_ + 1, failures=entry.failures, met=entry)
    else:
        result.waits.append(due - seen.now)


def may_try_again(seen: Observed, status: Status, entry: JobStatus) -> bool:
    """Tell whether something has changed since a role ended for good: the spec, the credentials, or an attempt."""
    if entry.generation != seen.generation:
        return True
    if entry.exit_code in MENDED_OUTSIDE and entry.credentials != seen.credentials:
        return True
    last = status.cutover.last_attempt
    if last is None or last.verdict is not Verdict.ABORTED or entry.role not in STREAM_ROLES:
        return False
    # Retire ends the apply of the outgoing stream on purpose; after an abort that is undone.
    began, ended = entry.started_at or seen.now, entry.finished_at or seen.now
    noticed = entry.reason in RETIRED_REASONS or ended <= last.ended_at + NOTICED_WITHIN
    return entry.exit_code == Exit.UNSAFE and began <= last.ended_at and noticed


def _delay(failures: int, restart: Restart) -> timedelta:
    if failures == 0:
        return timedelta(0)
    if restart is not Restart.NORMAL:  # the switch waits for this one, and so may all writers
        return SWITCH_DELAY
    return _doubled(FIRST_DELAY, failures, LONGEST_DELAY)


def _doubled(first: timedelta, failures: int, longest: timedelta) -> timedelta:
    return min(first * (1 << min(max(failures - 1, 0), 10)), longest)


def _new_try(
    seen: Observed,
    status: Status,
    want: Want,
    try_: int,
    *,
    failures: int,
    met: JobStatus | None = None,
) -> StartJob:
    """Remember a new try. `met`: the one before it, where it failed: what it met is told until this one does well."""
    job = _job_spec(seen, want, try_)
    status.jobs = [each for each in status.jobs if each.family != want.family]
    status.jobs.append(
        JobStatus(
            name=job.name,
            family=job.family,
            role=job.role,
            try_=try_,
            started_at=seen.now,
            failures=failures,
            generation=seen.generation,
            credentials=seen.credentials,
            exit_code=met.exit_code if met else None,
            reason=met.reason if met else "",
            message=met.message if met else "",
            hint=met.hint if met else "",
        )
    )
    return StartJob(job)


def _job_spec(seen: Observed, want: Want, try_: int) -> JobSpec:
    is_stream = want.role in STREAM_ROLES
    return JobSpec(
        name=job_name(seen.name, want.family, try_),
        family=want.family,
        role=want.role,
        try_=try_,
        origin=want.origin,
        number=want.number if is_stream else 0,
        epoch=want.epoch,
        attempt=0 if is_stream else want.number,
        loser=want.loser,
        fallback=want.fallback,
        primary=want.primary,
        digest=settings_digest(want.role, seen.spec),
    )


def _forget(status: Status, wants: Mapping[str, Want]) -> None:
    """Drop the oldest tries of attempts that are long over; their names can't come again, their numbers are used."""
    surplus = len(status.jobs) - REMEMBERED
    for entry in [*status.jobs]:
        numbered = entry.role in STREAM_ROLES | {Role.CUTOVER, Role.ABORT, Role.VERIFY}
        ended = entry.state is not JobState.RUNNING
        if surplus > 0 and numbered and ended and entry.family not in wants:
            status.jobs.remove(entry)
            surplus -= 1
