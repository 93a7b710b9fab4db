"""One pass over one migration: read the world afresh, plan, write the status, act.

The status is written first, with the version that was read: what is not written was never intended, and of two
operators at most one goes on. A process that dies between the two leaves names that the next one finds again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from pydantic import ValidationError

from bowline_operator.api import FORCE_DELETE, GROUP, RETRY, VERSION, DatabaseMigration
from bowline_operator.crd import PLURAL
from bowline_operator.kube import looking, metrics, objects
from bowline_operator.kube.cluster import ApiError, Cluster, Conflict, NotFound, Object
from bowline_operator.kube.invalid import invalid
from bowline_operator.kube.options import Options
from bowline_operator.kube.pulling import Pulls
from bowline_operator.kube.throttle import may_wait, without_lists
from bowline_operator.observed import Event, Job, Observed, Plan, StartJob, StopJob
from bowline_operator.plan import RESYNC, plan
from bowline_operator.status import JobState, Phase, Status

log = logging.getLogger("bowline")

AT_ONCE = timedelta(0)

#: A policy, a quota or a schema says no: asking again without a change is no use, and somebody must be told.
_REFUSALS = frozenset({400, 403, 413, 422})
#: Between two looks at a resource that only a human can mend.
LATER = timedelta(minutes=1)

Tell = Callable[[Object, Event], None]


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass came to."""

    pause: timedelta  #: until the next one, if nothing happens
    gone: bool = False  #: the resource is no more
    finished: bool = False  #: it is being deleted, and nothing is left to do
    quiet: bool = False  #: nothing was written, and nothing done


@dataclass(slots=True)
class _Memory:
    """What one operator process remembers of a migration, to save calls. Losing it costs calls only."""

    pulls: Pulls = field(default_factory=Pulls)
    ended: dict[str, Job] = field(default_factory=dict)  #: Jobs that have ended, by uid
    written_at: datetime | None = None
    released: bool = False  #: the journal's volume was given back
    refusal: str = ""  #: why the newest Job could not be made


@dataclass(slots=True)
class Shell:
    cluster: Cluster
    session: aiohttp.ClientSession
    options: Options
    tell: Tell
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _memories: dict[tuple[str, str], _Memory] = field(default_factory=dict)

    async def one_pass(self, namespace: str, name: str) -> Pass:
        """Bring one migration forward. Raises ApiError; nothing is half-done then that the next pass does not find."""
        place = _path(namespace, name)
        try:
            raw = await self.cluster.get(place)
        except NotFound:
            self.forget(namespace, name)
            return Pass(RESYNC, gone=True)
        if _is_forced(raw):
            await self._abandon(namespace, name)
            self.tell(raw, Event(True, "ForceDeleted", "deleted as it is: nothing was cleaned up"))
            return Pass(RESYNC, finished=True)
        try:
            status = Status.model_validate(raw.get("status", {}))
        except ValidationError as error:
            return await self._leave_alone(raw, error)
        try:
            resource = DatabaseMigration.model_validate({**raw, "status": status})
        except ValidationError as error:
            return await self._refuse(raw, status, error)
        memory = self._memories.setdefault((namespace, name), _Memory())
        jobs = await self.cluster.items(_jobs(namespace), objects.selector(name))
        seen = await self._look(resource, raw, jobs, memory)
        decided = plan(seen)
        metrics.MIGRATIONS.statuses[namespace, name] = decided.status
        worth = self._is_worth_writing(seen, decided, memory)
        if worth:
            try:
                await self._write(raw, decided.status)
            except (Conflict, NotFound):
                return Pass(AT_ONCE)
            except ApiError as error:
                if error.status not in _REFUSALS:
                    raise
                # What decides is small. Better without the lists than without a word, and without what follows.
                self.tell(raw, Event(True, "StatusRefused", str(error)))
                await self._write(raw, without_lists(decided.status))
            memory.written_at = seen.now
        for event in decided.events:
            self.tell(raw, event)
        await self._act(decided, resource, jobs, memory)
        await self._tidy(decided, resource, jobs, memory)
        quiet = not worth and not decided.actions
        return Pass(decided.recheck_after, finished=decided.finished, quiet=quiet)

    def forget(self, namespace: str, name: str) -> None:
        """Drop what is remembered of a resource that is gone."""
        memory = self._memories.pop((namespace, name), None)
        if memory is not None:
            memory.pulls.close()
        metrics.MIGRATIONS.statuses.pop((namespace, name), None)

    # --- observe ---------------------------------------------------------------------------------

    async def _look(
        self, resource: DatabaseMigration, raw: Object, jobs: Sequence[Object], memory: _Memory
    ) -> Observed:
        meta = raw["metadata"]
        found = await self._jobs_as_seen(resource, jobs, memory)
        return Observed(
            name=resource.metadata.name,
            spec=resource.spec,
            generation=resource.metadata.generation,
            now=self.now(),
            status=resource.status,
            deleting="deletionTimestamp" in meta,
            jobs={job.name: job for job in found},
            reports={
                job.name: memory.pulls.reports[job.uid]
                for job in found
                if job.uid in memory.pulls.reports
            },
            credentials=str(meta.get("annotations", {}).get(RETRY, "")),
            refusal=memory.refusal,
        )

    async def _jobs_as_seen(
        self, resource: DatabaseMigration, jobs: Sequence[Object], memory: _Memory
    ) -> list[Job]:
        """Pods are listed only where something of theirs must be known: an address, an end, or what they wait for."""
        open_ = [job for job in jobs if looking.uid_of(job) not in memory.ended]
        running = [
            job for job in open_ if not looking.is_terminal(job) and not looking.is_suspended(job)
        ]
        uids = [looking.uid_of(job) for job in running]
        await memory.pulls.pull(self.session, uids)
        names = {looking.name_of(job) for job in jobs}
        missing = [
            entry
            for entry in resource.status.jobs
            if entry.state is JobState.RUNNING and entry.name not in names
        ]
        pods: Sequence[Object] | None = None
        if missing or len(running) < len(open_) or not memory.pulls.are_all_heard(uids):
            selector = objects.selector(resource.metadata.name)
            pods = await self.cluster.items(_pods(resource.metadata.namespace), selector)
            memory.pulls.locate(
                {
                    looking.uid_of(job): looking.addresses(looking.pods_of(job, pods))
                    for job in running
                }
            )
        found = []
        now = self.now()
        for job in jobs:
            uid = looking.uid_of(job)
            own = None if pods is None else looking.pods_of(job, pods)
            seen = memory.ended.get(uid) or looking.seen(job, own, now)
            if seen is None:
                continue
            if seen.state is not JobState.RUNNING:
                memory.ended[uid] = seen
            found.append(seen)
        there = {looking.uid_of(job) for job in jobs}
        memory.ended = {uid: job for uid, job in memory.ended.items() if uid in there}
        orphans = (looking.orphaned(entry, pods or (), there) for entry in missing)
        return [*found, *filter(None, orphans)]

    # --- write -----------------------------------------------------------------------------------

    def _is_worth_writing(self, seen: Observed, decided: Plan, memory: _Memory) -> bool:
        return decided.status != seen.status and not may_wait(
            seen.status, decided.status, since=memory.written_at, now=seen.now
        )

    async def _write(self, raw: Object, status: Status) -> None:
        body = {
            **raw,
            "status": status.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
        meta = raw["metadata"]
        await self.cluster.replace(_path(meta["namespace"], meta["name"]) + "/status", body)

    async def _leave_alone(self, raw: Object, error: ValidationError) -> Pass:
        """Say that the status is another version's. It is never taken for none, nor written over."""
        why = f"this operator can't read the status, which a newer one may have written: {error}"
        self.tell(raw, Event(True, "StatusUnreadable", why))
        log.error("status unreadable", extra={"migration": raw["metadata"]["name"], "why": why})
        return Pass(LATER)

    async def _refuse(self, raw: Object, before: Status, error: ValidationError) -> Pass:
        """Say that the spec can't be read; nothing is begun, and what runs goes on."""
        status = invalid(
            before,
            error,
            raw["metadata"]["generation"],
            self.now(),
            deleting="deletionTimestamp" in raw["metadata"],
        )
        if status != before:
            try:
                await self._write(raw, status)
            except (Conflict, NotFound):
                return Pass(AT_ONCE)
        return Pass(RESYNC)

    # --- act -------------------------------------------------------------------------------------

    async def _act(
        self,
        decided: Plan,
        resource: DatabaseMigration,
        jobs: Sequence[Object],
        memory: _Memory,
    ) -> None:
        memory.refusal = ""
        suspended = {looking.name_of(job) for job in jobs if job["spec"].get("suspend")}
        for action in decided.actions:
            match action:
                case StartJob():
                    memory.refusal = await self._start(action, resource) or memory.refusal
                case StopJob(name):
                    if name not in suspended:
                        place = f"{_jobs(resource.metadata.namespace)}/{name}"
                        await self._change(place, {"suspend": True})

    async def _start(self, action: StartJob, resource: DatabaseMigration) -> str:
        """Create the Job of a try and what it mounts; what is there already is this try's. Say what was refused."""
        spec, namespace = action.job, resource.metadata.namespace
        uid = str((resource.metadata.model_extra or {})["uid"])
        try:
            if spec.role in objects.JOURNAL_ROLES:
                await self._provide_journal(resource, uid)
            config = objects.config_map(spec, resource, uid)
            await self._create(_config_maps(namespace), config)
            job = objects.job(spec, resource, uid, self.options, config["metadata"]["name"])
            is_new = await self._create(_jobs(namespace), job)
        except ApiError as error:
            if error.status not in _REFUSALS:
                raise
            log.warning("refused", extra={"job": spec.name, "why": str(error)})
            return f"the API server refuses Job {spec.name}: {error}"
        if is_new:
            metrics.JOBS.labels(str(spec.role)).inc()
            log.info("job started", extra={"job": spec.name, "namespace": namespace})
            return ""
        return await self._taken(f"{_jobs(namespace)}/{spec.name}", resource.metadata.name)

    async def _provide_journal(self, resource: DatabaseMigration, uid: str) -> None:
        """Create the journal's volume; one that is smaller than is now asked for grows, where its class allows that.

        A claim's name, its class and who may mount it never change: what is on it must stay.
        """
        wanted = objects.claim(resource, uid)
        claims = _claims(resource.metadata.namespace)
        if await self._create(claims, wanted):
            return
        place = f"{claims}/{wanted['metadata']['name']}"
        there = await self.cluster.get(place)
        if not objects.is_smaller(there, wanted):
            return
        try:
            await self.cluster.merge(place, {"spec": {"resources": wanted["spec"]["resources"]}})
        except ApiError as error:
            if error.status not in _REFUSALS:
                raise
            # Capture watches the room that there is: what was asked for in vain is no danger.
            raw = resource.model_dump(mode="json", by_alias=True)
            self.tell(raw, Event(True, "JournalNotEnlarged", str(error)))

    async def _taken(self, place: str, migration: str) -> str:
        """Say that a name is somebody else's; a Job of ours is simply there already."""
        try:
            there = await self.cluster.get(place)
        except NotFound:
            return ""
        labels = there["metadata"].get("labels", {})
        if labels.get(objects.MIGRATION) == migration:
            return ""
        return f"there is a Job {looking.name_of(there)} that is not Bowline's: remove or rename it"

    async def _create(self, path: str, body: Object) -> bool:
        try:
            await self.cluster.create(path, body)
        except Conflict:
            return False
        return True

    async def _change(self, place: str, spec: Object) -> None:
        """Change a Job's spec; one that is gone needs no change."""
        try:
            await self.cluster.merge(place, {"spec": spec})
        except NotFound:
            return

    # --- tidy ------------------------------------------------------------------------------------

    async def _tidy(
        self,
        decided: Plan,
        resource: DatabaseMigration,
        jobs: Sequence[Object],
        memory: _Memory,
    ) -> None:
        """Let go of Jobs whose result is in the status that was written, and of a journal that nobody needs."""
        namespace = resource.metadata.namespace
        for job in jobs:
            seen = memory.ended.get(looking.uid_of(job))
            entry = None if seen is None else decided.status.job(seen.family)
            taken = entry is None or entry.name != looking.name_of(job) or _is_over(entry.state)
            if seen is not None and taken:
                await self._let_go(namespace, job)
        all_over = all(looking.uid_of(job) in memory.ended for job in jobs)
        if decided.status.phase is Phase.COMPLETED and all_over and not memory.released:
            name = objects.claim_name(resource.metadata.name)
            await self.cluster.delete(f"{_claims(namespace)}/{name}")
            memory.released = True

    async def _abandon(self, namespace: str, name: str) -> None:
        """Have Jobs that nobody will look at again removed once they have ended; until then they do their work."""
        for job in await self.cluster.items(_jobs(namespace), objects.selector(name)):
            if job["spec"].get("ttlSecondsAfterFinished") is None:
                place = f"{_jobs(namespace)}/{looking.name_of(job)}"
                await self._change(place, {"ttlSecondsAfterFinished": objects.KEEP_SECONDS})

    async def _let_go(self, namespace: str, job: Object) -> None:
        place = f"{_jobs(namespace)}/{looking.name_of(job)}"
        if job["spec"].get("ttlSecondsAfterFinished") is not None:
            return
        config = job["metadata"].get("annotations", {}).get(objects.CONFIG)
        if config:
            await self.cluster.delete(f"{_config_maps(namespace)}/{config}")
        if not looking.is_terminal(job):  # suspended: no controller will remove it
            await self.cluster.delete(place)
            return
        await self._change(place, {"ttlSecondsAfterFinished": objects.KEEP_SECONDS})


def _is_over(state: JobState) -> bool:
    return state in (JobState.SUCCEEDED, JobState.FAILED)


def _is_forced(raw: Mapping[str, Any]) -> bool:
    meta = raw["metadata"]
    forced = meta.get("annotations", {}).get(FORCE_DELETE) == "true"
    return forced and "deletionTimestamp" in meta


def _path(namespace: str, name: str) -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}/{name}"


def _jobs(namespace: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def _config_maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def _claims(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
