"""What the plan is told, and what it answers. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from bowline_operator.api import Spec
from bowline_operator.jobs import JobSpec
from bowline_operator.status import JobState, JobStatus, Status
from bowline_worker.contract import Report, Role

#: Twice an operator's resync: one missed pull must not close a gate, a stopped worker must.
REPORT_TTL = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A Job as it is found in the world."""

    name: str
    family: str
    role: Role
    try_: int
    uid: str
    state: JobState
    digest: str = ""
    exit_code: int | None = None
    note: str = ""  #: what the shell knows of its end, or of what keeps it from beginning
    stopped: bool = False  #: it ended because it was told to, and has left no word
    report: Report | None = None  #: its termination message
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The world, read afresh. Failures to read are data: what could not be read is absent."""

    name: str
    spec: Spec
    generation: int
    now: datetime
    status: Status = field(default_factory=Status)
    deleting: bool = False
    jobs: Mapping[str, Job] = field(default_factory=dict)  #: by name
    reports: Mapping[str, Report] = field(default_factory=dict)  #: live ones, by name of the Job
    credentials: str = ""  #: fingerprint of the credentials; empty where it can't be known
    problem: str = ""  #: why the newest spec could not be taken over
    refusal: str = ""  #: why a Job could not be made

    @property
    def hindrance(self) -> str:
        """What keeps a worker from beginning; empty: nothing that is known."""
        notes = (job.note for job in self.jobs.values() if job.state is JobState.RUNNING)
        return self.refusal or next((note for note in notes if note), "")

    def job_of(self, entry: JobStatus | None) -> Job | None:
        return None if entry is None else self.jobs.get(entry.name)

    def live_report(self, family: str) -> Report | None:
        """The report of the try that runs now, of whatever age; None where another Job wrote it."""
        entry = self.status.job(family)
        job = self.job_of(entry)
        report = None if job is None else self.reports.get(job.name)
        if job is None or report is None:
            return None
        return report if report.job_uid == job.uid and report.role is job.role else None

    def fresh_report(self, family: str) -> Report | None:
        """The report as evidence: of the try that is running now, and not older than REPORT_TTL."""
        report = self.live_report(family)
        job = self.job_of(self.status.job(family))
        if report is None or job is None or job.state is not JobState.RUNNING:
            return None
        return report if self.now - report.observed_at <= REPORT_TTL else None

    def last_word(self, family: str) -> Report | None:
        """What the newest try left behind at its end."""
        job = self.job_of(self.status.job(family))
        if job is None or job.report is None or job.report.job_uid != job.uid:
            return None
        return job.report


@dataclass(frozen=True, slots=True)
class StartJob:
    """Create this Job, unless one of that name is there."""

    job: JobSpec


@dataclass(frozen=True, slots=True)
class StopJob:
    """End this Job: politely, and after `grace` by force. Asked again until it is gone."""

    name: str
    grace: timedelta = timedelta(seconds=30)


Action: TypeAlias = StartJob | StopJob


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has just happened, once."""

    warning: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now. Write `status` first; if that fails, do nothing: what is not written was never intended."""

    actions: tuple[Action, ...]
    status: Status
    events: tuple[Event, ...]
    recheck_after: timedelta
    finished: bool = False  #: when deleting: nothing is left to do
