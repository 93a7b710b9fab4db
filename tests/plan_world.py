"""A scripted world for the plan: Jobs that run, report and end as the test says, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bowline_operator.api import Database, DatabaseMigration, Request, Spec
from bowline_operator.jobs import JobSpec
from bowline_operator.observed import Event, Job, Observed, Plan, StartJob, StopJob
from bowline_operator.plan import plan
from bowline_operator.status import ConditionType, JobState, Mode, Status
from bowline_worker.contract import (
    Exit,
    Failure,
    Flow,
    FoundSide,
    Lag,
    Report,
    Role,
    Side,
    SnapshotReport,
    StreamReport,
    SwitchReport,
    TableProgress,
    Verdict,
)

START = datetime(2030, 1, 1, tzinfo=UTC)


#: The least that a spec says; nothing is at these hosts.
SIDES: dict[str, Any] = {
    side: {
        "engine": "PostgreSQL",
        "host": f"{side}.invalid",
        "database": "shop",
        "credentialsSecretRef": {"name": f"shop-{side}"},
    }
    for side in ("source", "target")
}


def a_spec(**change: Any) -> Spec:
    return Spec.model_validate(SIDES | change)


@dataclass
class World:
    """Holds what the databases would hold, and answers each Job as a healthy worker would."""

    spec: Spec = field(default_factory=a_spec)
    status: Status = field(default_factory=Status)
    now: datetime = START
    generation: int = 1
    deleting: bool = False
    credentials: str = "one"
    refusal: str = ""
    jobs: dict[str, Job] = field(default_factory=dict)
    specs: dict[str, JobSpec] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    uids: int = 0
    silent: set[Role] = field(default_factory=set)  #: roles whose reports are not refreshed
    stuck: set[Role] = field(default_factory=set)  #: roles that run and get nowhere
    lag: float | None = 0.2
    remaining: int | None = 3
    at_risk: str = ""
    found: dict[Side, FoundSide] = field(
        default_factory=lambda: {Side.SOURCE: FoundSide(), Side.TARGET: FoundSide()}
    )

    # --- driving it ---

    def observed(self) -> Observed:
        return Observed(
            name="shop",
            spec=self.spec,
            generation=self.generation,
            now=self.now,
            status=self.status,
            deleting=self.deleting,
            jobs=dict(self.jobs),
            reports=dict(self.reports),
            credentials=self.credentials,
            refusal=self.refusal,
        )

    def step(self) -> Plan:
        """One pass of a control plane, and then a moment of the world."""
        decided = plan(self.observed())
        self.act(decided)
        self.now += timedelta(milliseconds=200)
        self.live()
        return decided

    def act(self, decided: Plan) -> None:
        # As a shell does it: what is written is read back as JSON.
        self.status = Status.model_validate_json(decided.status.model_dump_json(by_alias=True))
        self.events += decided.events
        for action in decided.actions:
            match action:
                case StartJob(job):
                    self.start(job)
                case StopJob(name):
                    self.end(name, Exit.TRY_AGAIN, reason="Stopped")

    def start(self, job: JobSpec) -> None:
        assert job.name not in self.jobs, f"{job.name} is started twice"
        self.uids += 1
        self.started.append(job.name)
        self.specs[job.name] = job
        self.jobs[job.name] = Job(
            name=job.name,
            family=job.family,
            role=job.role,
            try_=job.try_,
            uid=f"uid-{self.uids}",
            state=JobState.RUNNING,
            digest=job.digest,
            started_at=self.now,
        )

    def ask(self, phase: Request | str, **change: Any) -> None:
        raw = self.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.spec = Spec.model_validate(raw | {"phase": str(phase)} | change)
        self.generation += 1

    def until(self, holds: Callable[[World], bool], passes: int = 200) -> None:
        for _ in range(passes):
            if holds(self):
                return
            self.step()
        raise AssertionError(
            f"not reached: {self.status.phase} {self.status.message} {sorted(self.alive())}"
        )

    def until_phase(self, phase: str) -> None:
        self.until(lambda world: world.status.phase == phase)

    # --- looking at it ---

    def alive(self) -> list[str]:
        return [job.name for job in self.jobs.values() if job.state is JobState.RUNNING]

    def alive_families(self) -> set[str]:
        return {job.family for job in self.jobs.values() if job.state is JobState.RUNNING}

    def job(self, family: str) -> Job:
        return [job for job in self.jobs.values() if job.family == family][-1]

    def truth(self, kind: ConditionType) -> str:
        condition = self.status.condition(kind)
        return "" if condition is None else str(condition.status)

    def reason(self, kind: ConditionType) -> str:
        condition = self.status.condition(kind)
        return "" if condition is None else condition.reason

    # --- its workers ---

    def report(self, name: str, **fields: Any) -> Report:
        job = self.jobs[name]
        return Report(
            job=name,
            job_uid=job.uid,
            role=job.role,
            started_at=job.started_at or self.now,
            observed_at=self.now,
            **fields,
        )

    def end(
        self, name: str, code: int, *, reason: str = "", message: str = "m", **fields: Any
    ) -> None:
        job = self.jobs[name]
        if job.state is not JobState.RUNNING:
            return
        failure = None
        if code and code in set(Exit):
            failure = Failure(exit_code=Exit(code), reason=reason, message=message, hint="do this")
        last = self.reports.get(name)
        kept = {"switch": last.switch, "stream": last.stream} if last else {}
        word = None if code < 0 else self.report(name, failure=failure, **kept | fields)
        self.jobs[name] = replace(
            job,
            state=JobState.FAILED if code else JobState.SUCCEEDED,
            exit_code=code,
            report=word,
            finished_at=self.now,
        )
        self.reports.pop(name, None)

    def live(self) -> None:
        """Let every running worker do what it would have done by now."""
        for name in self.alive():
            job, spec = self.jobs[name], self.specs[name]
            if job.role in self.stuck:
                continue
            if job.role in (Role.CAPTURE, Role.APPLY):
                if job.role not in self.silent:
                    self.reports[name] = self.report(name, stream=self.stream(spec))
            elif job.role is Role.ASSESS:
                self.end(name, 0, found=self.found)
            elif job.role is Role.SNAPSHOT:
                tables = [TableProgress(name="public.a", rows=5, done=True)]
                self.end(name, 0, snapshot=SnapshotReport(tables=tables, complete=True))
            elif job.role is Role.CUTOVER:
                self.switch_on(name, spec)
            elif job.role is Role.ABORT:
                said = SwitchReport(attempt=spec.attempt, loser=spec.loser, verdict=Verdict.ABORTED)
                self.end(name, 0, switch=said)
            elif job.role is Role.CLEANUP:
                self.end(name, 0, left_behind=["the fence of the source"])
            else:
                self.end(name, 0)

    def stream(self, spec: JobSpec) -> StreamReport:
        said = StreamReport(
            origin=spec.origin, number=spec.number, epoch=spec.epoch, block=9, at_risk=self.at_risk
        )
        if spec.role is Role.CAPTURE:
            return said.model_copy(update={"exported": Flow(total=7)})
        return said.model_copy(
            update={
                "imported": Flow(total=7),
                "remaining": self.remaining,
                "lag": Lag(current=self.lag),
                "marker": True,
                "canary": spec.number,
            }
        )

    def switch_on(self, name: str, spec: JobSpec) -> None:
        """Gate, then ArmReverse until `back` runs, then all the rest."""
        said = SwitchReport(attempt=spec.attempt, loser=spec.loser, verdict=Verdict.ARMED)
        last = self.reports.get(name)
        if last is None or last.switch is None:
            said.step, said.done = "ArmReverse", ["Gate"]
            self.reports[name] = self.report(name, switch=said)
            return
        back = f"apply-{spec.loser.other}-{spec.attempt}"
        if spec.fallback and back not in self.alive_families():
            return
        if "Fence" not in last.switch.done:
            said.step, said.done = "Barrier", ["Gate", "ArmReverse", "Fence"]
            said.fenced_at = self.now
            self.reports[name] = self.report(name, switch=said)
            return
        if Role.CUTOVER in self.silent:
            return
        said.verdict, said.opened = Verdict.COMMITTED, True
        said.fenced_at = last.switch.fenced_at
        said.done, said.step = ["Gate", "ArmReverse", "Fence", "Verify", "Commit"], "Finish"
        said.committed_at = said.opened_at = self.now
        self.end(name, 0, switch=said)

    @property
    def is_switching(self) -> bool:
        return self.status.cutover.mode is not Mode.IDLE


def a_resource(spec: Spec) -> DatabaseMigration:
    return DatabaseMigration.model_validate(
        {
            "apiVersion": "bowline.dev/v1alpha1",
            "kind": "DatabaseMigration",
            "metadata": {"name": "shop"},
            "spec": spec,
        }
    )


__all__ = ["SIDES", "START", "Database", "World", "a_resource", "a_spec"]
