"""From Jobs and pods, as the API server shows them, to what the plan is told. No I/O.

A Job counts as ended only when none of its pods can run any more: a new try starts then, and two of a family never
work at once (as far as a cluster can promise that; the generation in the databases promises the rest).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from bowline_operator.kube.objects import (
    DIGEST,
    FAMILY,
    JOB_UID_LABEL,
    ROLE,
    STATUS_PORT,
    SURVIVORS,
    TRY,
)
from bowline_operator.observed import Job
from bowline_operator.status import JobState, JobStatus
from bowline_worker.contract import Exit, Report, Role

Object = Mapping[str, Any]

#: A pod that starts for longer than this may be waiting for something that is not there.
LATE = timedelta(seconds=30)

_EXIT_CODE = re.compile(r"exit code (\d+)")
_OVER = frozenset({"Succeeded", "Failed"})
_CONTAINER = "worker"
#: What kubelet says of a pod that simply starts.
_STARTING = frozenset({"ContainerCreating", "PodInitializing"})


def name_of(found: Object) -> str:
    return str(found["metadata"]["name"])


def uid_of(found: Object) -> str:
    return str(found["metadata"]["uid"])


def time_of(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def pods_of(job: Object, pods: Iterable[Object]) -> list[Object]:
    """The pods that the Job controller made for this Job, and not for an earlier one of its name."""
    uid = uid_of(job)
    return [pod for pod in pods if pod["metadata"].get("labels", {}).get(JOB_UID_LABEL) == uid]


def is_terminal(job: Object) -> bool:
    """Tell whether the Job controller has ended it; it says so only when all its pods have ended."""
    return _condition(job, "Complete") is not None or _condition(job, "Failed") is not None


def is_suspended(job: Object) -> bool:
    """Tell whether it was told to stop, and the Job controller knows."""
    return bool(job["spec"].get("suspend")) and _condition(job, "Suspended") is not None


def seen(job: Object, known_pods: Sequence[Object] | None, now: datetime) -> Job | None:
    """What the plan is told of a Job, given its own pods, or None where nobody has looked for them.

    None: it is no Job that Bowline made.
    """
    pods = known_pods or ()
    labels = job["metadata"].get("labels", {})
    try:
        role, number = Role(labels[ROLE]), int(labels[TRY])
        family = labels[FAMILY]
    except (KeyError, ValueError):
        return None
    state, stopped = _state(job, pods)
    lost = [note for note in (_lost(pod, now) for pod in pods) if note]
    is_lost = role in SURVIVORS and bool(lost) and len(lost) == len(pods)
    if state is JobState.RUNNING and is_lost:
        # Another one may finish its work: it ends this one's sessions first.
        state = JobState.FAILED
    last = _last_pod(pods, failed=state is JobState.FAILED)
    ended = _terminated(last)
    return Job(
        name=name_of(job),
        family=family,
        role=role,
        try_=number,
        uid=uid_of(job),
        state=state,
        digest=job["metadata"].get("annotations", {}).get(DIGEST, ""),
        exit_code=_exit_code(job, state, ended),
        note=lost[0] if is_lost else _note(job, state, known_pods, ended, now, stopped=stopped),
        stopped=stopped,
        report=None if state is JobState.RUNNING else _report(ended),
        started_at=time_of(job["status"].get("startTime") if "status" in job else None),
        finished_at=None if state is JobState.RUNNING else _ended_at(job, ended),
    )


def orphaned(entry: JobStatus, pods: Sequence[Object], there: Collection[str]) -> Job | None:
    """A try whose Job somebody has deleted, as long as a pod of it may run: no other may begin before that has ended.

    `there` has the uids of the Jobs that there are.
    """
    left = [
        pod
        for pod in pods
        if pod["metadata"]["labels"].get(FAMILY) == entry.family
        and pod["metadata"]["labels"].get(JOB_UID_LABEL) not in there
        and _may_run(pod)
    ]
    if not left:
        return None
    name = name_of(left[0])
    return Job(
        name=entry.name,
        family=entry.family,
        role=entry.role,
        try_=entry.try_,
        uid="",
        state=JobState.RUNNING,
        note=f"Job {entry.name} was deleted, and its pod {name} has not ended yet: if it does not, delete it too",
    )


def addresses(pods: Sequence[Object]) -> list[str]:
    """Where the workers that run now can be asked."""
    found = []
    for pod in pods:
        status = pod.get("status", {})
        ip = status.get("podIP")
        if status.get("phase") == "Running" and ip and _terminated(pod) is None:
            found.append(f"[{ip}]:{STATUS_PORT}" if ":" in ip else f"{ip}:{STATUS_PORT}")
    return found


def _condition(job: Object, kind: str) -> Object | None:
    for each in job.get("status", {}).get("conditions", ()):
        if each["type"] == kind and each["status"] == "True":
            return dict(each)
    return None


def _state(job: Object, pods: Sequence[Object]) -> tuple[JobState, bool]:
    """The state, and whether it is one that we asked for."""
    if _condition(job, "Complete") is not None:
        return JobState.SUCCEEDED, False
    if _condition(job, "Failed") is not None:
        return JobState.FAILED, False
    if is_suspended(job) and not job["status"].get("active") and not any(map(_may_run, pods)):
        return JobState.FAILED, True
    return JobState.RUNNING, False


def _may_run(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") not in _OVER


def _last_pod(pods: Sequence[Object], *, failed: bool) -> Object | None:
    """The pod whose end is the Job's: where it failed, one that says why before one that was ended with it."""

    def weight(pod: Object) -> tuple[bool, str]:
        ended = _terminated(pod)
        code = ended.get("exitCode") if ended is not None else None
        final = code not in (None, Exit.DONE, Exit.TRY_AGAIN)
        decisive = final if failed else code == Exit.DONE
        return (decisive, str((ended or {}).get("finishedAt") or ""))

    ended = [pod for pod in pods if _terminated(pod) is not None]
    return max(ended, key=weight, default=None)


def _terminated(pod: Object | None) -> Object | None:
    for each in (pod or {}).get("status", {}).get("containerStatuses", ()):
        if each["name"] == _CONTAINER and "terminated" in each.get("state", {}):
            return dict(each["state"]["terminated"])
    return None


def _exit_code(job: Object, state: JobState, ended: Object | None) -> int | None:
    if state is JobState.SUCCEEDED:
        return int(Exit.DONE)
    if state is JobState.RUNNING:
        return None
    if ended is None:  # the pod may be gone, and the Job still tell what it ended with
        failed = _condition(job, "Failed") or {}
        said = _EXIT_CODE.search(str(failed.get("message", "")))
        return int(said[1]) if said and failed.get("reason") == "PodFailurePolicy" else None
    return int(ended["exitCode"])


def _lost(pod: Object, now: datetime) -> str:
    """Say that a pod should have ended long ago: its node does not answer."""
    deadline = time_of(pod["metadata"].get("deletionTimestamp"))
    if not _may_run(pod) or deadline is None or now - deadline <= LATE:
        return ""
    node = pod["spec"].get("nodeName", "its node")
    return (
        f"pod {name_of(pod)} should have ended at {deadline.isoformat()}, and {node} does not say that it has:"
        f" if that node is dead for sure, kubectl delete pod {name_of(pod)} --force"
    )


def _report(ended: Object | None) -> Report | None:
    try:
        return Report.model_validate_json((ended or {}).get("message", ""))
    except ValidationError:
        return None


def _ended_at(job: Object, ended: Object | None) -> datetime | None:
    if ended is not None and ended.get("finishedAt"):
        return time_of(ended["finishedAt"])
    for kind in ("Complete", "Failed", "Suspended"):
        condition = _condition(job, kind)
        if condition is not None:
            return time_of(condition.get("lastTransitionTime"))
    return None


def _note(
    job: Object,
    state: JobState,
    pods: Sequence[Object] | None,
    ended: Object | None,
    now: datetime,
    *,
    stopped: bool,
) -> str:
    if stopped:
        return "stopped"
    if state is JobState.RUNNING:
        if pods is None:  # its worker was heard a moment ago
            return ""
        notes = (_lost(pod, now) or _waiting(pod, now) for pod in pods)
        return next((note for note in notes if note), "") or _without_pods(job, pods, now)
    if state is not JobState.FAILED:
        return ""
    if ended is None:
        condition = _condition(job, "Failed") or {}
        said = ": ".join(filter(None, (condition.get("reason"), condition.get("message"))))
        return f"its pod is gone ({said})" if said else "its pod is gone"
    last = str(ended.get("message") or "").strip().splitlines()
    how = f"ended with exit code {ended['exitCode']}"
    if ended.get("reason") not in (None, "Error"):
        how += f" ({ended['reason']})"
    return f"{how}: {last[-1][:300]}" if last else f"{how} and no last word"


def _without_pods(job: Object, pods: Sequence[Object], now: datetime) -> str:
    """Say that a Job has no pod, though it has had the time to make one."""
    made = time_of(job["metadata"].get("creationTimestamp")) or now
    is_ending = job["spec"].get("suspend") or "deletionTimestamp" in job["metadata"]
    if pods or is_ending or now - made <= LATE:
        return ""
    return (
        f"Job {name_of(job)} has no pod: a quota, a policy or the ServiceAccount may refuse it;"
        f" kubectl describe job {name_of(job)} says which"
    )


def _waiting(pod: Object, now: datetime) -> str:
    """Say what keeps a pod from running; a pod that simply starts is no news."""
    status = pod.get("status", {})
    if status.get("phase") != "Pending":
        return ""
    for each in status.get("containerStatuses", ()):
        waiting = each.get("state", {}).get("waiting", {})
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason and reason not in _STARTING:
            return f"pod {name_of(pod)} waits: {reason}: {message}".rstrip(": ")
    for each in status.get("conditions", ()):
        if each["type"] == "PodScheduled" and each["status"] == "False":
            said = f"{each.get('reason', '')}: {each.get('message', '')}"
            return f"pod {name_of(pod)} waits: {said}".rstrip(": ")
    made = time_of(pod["metadata"].get("creationTimestamp")) or now
    if now - made > LATE:
        names = [
            each["secret"]["secretName"] for each in pod["spec"]["volumes"] if "secret" in each
        ]
        return (
            f"pod {name_of(pod)} has been starting for {(now - made).seconds} s: are the Secrets"
            f" {', '.join(names)} there, and is the journal's volume bound?"
        )
    return ""
