"""The parts of the operator that need no cluster: what it makes of Jobs and pods, and what it makes itself."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import kubernetes_validate
import pytest

from bowline_operator.api import DatabaseMigration
from bowline_operator.jobs import STREAM_ROLES, JobSpec
from bowline_operator.kube import looking, objects
from bowline_operator.kube.objects import JOB_UID_LABEL
from bowline_operator.kube.options import Options
from bowline_operator.kube.pacing import EAGER_PASSES, SLOW, Bell, Bells
from bowline_operator.kube.throttle import EVERY, may_wait
from bowline_operator.status import (
    Condition,
    ConditionType,
    JobState,
    JobStatus,
    Phase,
    Status,
    Truth,
)
from bowline_worker.contract import Failure, Report, Role
from plan_world import SIDES

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
UID = "0b6e7c7e-0000-0000-0000-000000000001"
OPTIONS = Options(worker_image="registry.invalid/bowline:1", image_pull_secrets=("pull",))
KUBERNETES = "1.36.0"


def resource(**spec: Any) -> DatabaseMigration:
    return DatabaseMigration.model_validate(
        {
            "apiVersion": "bowline.dev/v1alpha1",
            "kind": "DatabaseMigration",
            "metadata": {"name": "shop", "namespace": "ns", "uid": UID, "generation": 1},
            "spec": {**SIDES, **spec},
        }
    )


def made(role: Role, **spec: Any) -> dict[str, Any]:
    job = JobSpec(name=f"shop-{role}-1", family=str(role), role=role, try_=1, digest="abc")
    config = objects.config_map(job, resource(**spec), UID)
    return objects.job(job, resource(**spec), UID, OPTIONS, config["metadata"]["name"])


# --- what is made --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", Role)
def test_what_is_made_is_valid(role: Role) -> None:
    job = JobSpec(name=f"shop-{role}-1", family=str(role), role=role, try_=1)
    config = objects.config_map(job, resource(), UID)
    for each in (made(role), config, objects.claim(resource(), UID)):
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


@pytest.mark.parametrize("role", Role)
def test_what_ends_a_switch_or_cleans_up_is_not_collected_with_the_resource(role: Role) -> None:
    owned = "ownerReferences" in made(role)["metadata"]

    assert owned == (role not in (Role.CUTOVER, Role.ABORT, Role.CLEANUP))


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteMany"])
@pytest.mark.parametrize("role", sorted(STREAM_ROLES))
def test_a_volume_of_one_node_keeps_its_users_together(role: Role, mode: str) -> None:
    spread: dict[str, Any] = {
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}
    }
    template = made(role, journal={"volume": {"accessMode": mode}}, worker={"affinity": spread})[
        "spec"
    ]["template"]
    affinity = template["spec"]["affinity"]

    assert "podAntiAffinity" in affinity, "what the user asks for stays"
    assert ("podAffinity" in affinity) == (mode == "ReadWriteOnce")
    if mode == "ReadWriteOnce":
        (term,) = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        wanted = term["labelSelector"]["matchLabels"]
        assert wanted.items() <= template["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("there", "asked", "grows"),
    [("10Gi", "20Gi", True), ("10Gi", "10240Mi", False), ("1Ti", "10Gi", False), ("1.5Gi", "1Gi", False),
     ("1G", "1Gi", True)],
)  # fmt: skip
def test_a_journal_that_is_smaller_than_asked_for_grows(
    there: str, asked: str, grows: bool
) -> None:
    wanted = objects.claim(resource(journal={"volume": {"size": asked}}), UID)

    assert objects.is_smaller(claim_of(there), wanted) is grows


def claim_of(size: str) -> dict[str, Any]:
    return {"spec": {"resources": {"requests": {"storage": size}}}}


def test_the_first_copy_is_shared_by_as_many_pods_as_asked_for() -> None:
    spec = made(Role.SNAPSHOT, snapshot={"pods": 4})["spec"]

    assert (spec["parallelism"], spec["completions"], spec["completionMode"]) == (4, 4, "Indexed")
    assert made(Role.CAPTURE, snapshot={"pods": 4})["spec"]["completions"] == 1


def test_another_configuration_has_another_name() -> None:
    job = JobSpec(name="shop-apply-1", family="apply", role=Role.APPLY, try_=1)
    names = {
        objects.config_map(job, resource(stream={"lanes": lanes}), UID)["metadata"]["name"]
        for lanes in (1, 2, 2)
    }

    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)


# --- what is seen --------------------------------------------------------------------------------


def a_job(*conditions: str, **status: Any) -> dict[str, Any]:
    job = made(Role.APPLY)
    job["metadata"] |= {"uid": "job-1", "creationTimestamp": "2030-01-01T11:00:00Z"}
    at = "2030-01-01T11:59:00Z"
    found = [{"type": kind, "status": "True", "lastTransitionTime": at} for kind in conditions]
    job["spec"]["suspend"] = "Suspended" in conditions
    return {**job, "status": {"conditions": found, **status}}


def a_pod(
    phase: str, *, code: int | None = None, message: str = "", uid: str = "job-1", **more: Any
) -> dict[str, Any]:
    state: dict[str, Any] = {"running": {}}
    if code is not None:
        state = {
            "terminated": {
                "exitCode": code,
                "message": message,
                "finishedAt": "2030-01-01T11:58:00Z",
            }
        }
    status = {
        "phase": phase,
        "podIP": "10.0.0.9",
        "containerStatuses": [{"name": "worker", "state": state}],
    }
    return {
        "metadata": {"name": "shop-apply-1-x", "labels": {JOB_UID_LABEL: uid},
                     "creationTimestamp": "2030-01-01T11:59:50Z"},
        "spec": {"volumes": [{"name": "source", "secret": {"secretName": "shop-source"}}]},
        "status": {**status, **more},
    }  # fmt: skip


def a_report(**failure: Any) -> str:
    report = Report(
        job="shop-apply-1", job_uid="job-1", role=Role.APPLY, started_at=NOW, observed_at=NOW
    )
    if failure:
        report = report.model_copy(update={"failure": Failure(**failure)})
    return report.model_dump_json(by_alias=True)


def see(job: dict[str, Any], *pods: dict[str, Any]) -> Any:
    seen = looking.seen(job, looking.pods_of(job, pods), NOW)
    assert seen is not None
    return seen


@pytest.mark.parametrize(
    ("job", "pods", "state", "code"),
    [
        (a_job(), [], JobState.RUNNING, None),
        (a_job(), [a_pod("Running")], JobState.RUNNING, None),
        (a_job("FailureTarget"), [a_pod("Failed", code=86)], JobState.RUNNING, None),
        (a_job("Failed"), [a_pod("Failed", code=86)], JobState.FAILED, 86),
        (a_job("Failed"), [], JobState.FAILED, None),
        (a_job("Complete"), [a_pod("Succeeded", code=0)], JobState.SUCCEEDED, 0),
        (a_job("Complete"), [], JobState.SUCCEEDED, 0),
        (a_job("Suspended", active=1), [a_pod("Running")], JobState.RUNNING, None),
        (a_job("Suspended"), [a_pod("Running")], JobState.RUNNING, None),
        (a_job("Suspended"), [a_pod("Failed", code=75)], JobState.FAILED, 75),
        (a_job("Suspended"), [], JobState.FAILED, None),
        (a_job("Failed"), [a_pod("Failed", code=86, uid="job-0")], JobState.FAILED, None),
    ],
)
def test_a_job_has_ended_when_none_of_its_pods_can_run(
    job: dict[str, Any], pods: list[dict[str, Any]], state: JobState, code: int | None
) -> None:
    seen = see(job, *pods)

    assert (seen.state, seen.exit_code) == (state, code)
    assert seen.stopped == (state is JobState.FAILED and job["spec"]["suspend"])


def test_of_several_pods_the_one_that_says_why_is_heard() -> None:
    """The others were ended because of it, and say 75."""
    told = a_report(exit_code=86, reason="RowMissing", message="a row is missing")
    seen = see(
        a_job("Failed"),
        a_pod("Failed", code=86, message=told),
        a_pod("Failed", code=75, message=a_report(exit_code=75, reason="Stopped", message="")),
    )

    assert seen.exit_code == 86
    assert seen.report is not None
    assert seen.report.failure is not None
    assert seen.report.failure.reason == "RowMissing"


def test_a_worker_that_could_not_even_speak_leaves_its_last_line() -> None:
    seen = see(
        a_job("Failed"), a_pod("Failed", code=1, message="Traceback\nImportError: no psycopg")
    )

    assert seen.report is None
    assert seen.note == "ended with exit code 1: ImportError: no psycopg"


@pytest.mark.parametrize(
    ("pod", "note"),
    [
        (a_pod("Running"), ""),
        (a_pod("Pending", containerStatuses=[]), ""),
        (
            a_pod(
                "Pending",
                containerStatuses=[
                    {
                        "name": "worker",
                        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}},
                    }
                ],
            ),
            "pod shop-apply-1-x waits: ImagePullBackOff: no",
        ),
        (
            a_pod(
                "Pending",
                containerStatuses=[],
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/1",
                    }
                ],
            ),
            "pod shop-apply-1-x waits: Unschedulable: 0/1",
        ),
    ],
)
def test_what_a_pod_waits_for_is_told(pod: dict[str, Any], note: str) -> None:
    assert see(a_job(), pod).note == note


def test_a_node_that_does_not_answer_is_named_and_a_switch_does_not_wait_for_it() -> None:
    pod = a_pod("Running")
    pod["metadata"]["deletionTimestamp"] = "2030-01-01T11:59:00Z"
    pod["spec"]["nodeName"] = "node-7"

    stream = see(a_job(), pod)
    assert stream.state is JobState.RUNNING, (
        "a stream's worker may be alive: the databases fence it"
    )
    assert "node-7 does not say" in stream.note

    job = a_job()
    job["metadata"]["labels"] |= {objects.ROLE: "cutover"}
    cutover = see(job, pod)
    assert (cutover.state, cutover.exit_code) == (JobState.FAILED, None)
    assert "node-7 does not say" in cutover.note


def test_a_job_that_can_have_no_pod_is_told() -> None:
    assert "has no pod: a quota, a policy" in see(a_job()).note


def test_a_job_whose_pods_nobody_has_looked_for_is_not_said_to_have_none() -> None:
    """A stream that was heard a moment ago was called pending, and its migration not ready."""
    seen = looking.seen(a_job(), None, NOW)

    assert seen is not None
    assert (seen.state, seen.note) == (JobState.RUNNING, "")


def test_an_unsafe_end_is_not_forgotten_with_its_pod() -> None:
    """Without its exit code it would be tried again."""
    job = a_job("Failed")
    job["status"]["conditions"][0] |= {
        "reason": "PodFailurePolicy",
        "message": "Container worker for pod ns/x failed with exit code 86 matching FailJob rule at index 0",
    }

    assert see(job).exit_code == 86


def test_of_a_job_that_succeeded_the_pod_that_did_is_heard() -> None:
    done = a_pod("Succeeded", code=0, message=a_report())
    evicted = a_pod("Failed", code=75, message="")
    evicted["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = (
        "2030-01-01T11:59:59Z"
    )

    assert see(a_job("Complete"), evicted, done).report is not None


def test_a_pod_whose_job_was_deleted_holds_its_family_until_it_has_ended() -> None:
    """The next try began beside it: two captures of one slot, for as long as the first took to end."""
    entry = JobStatus(
        name="shop-apply-1", family="apply", role=Role.APPLY, try_=1, started_at=NOW, generation=1
    )
    left = a_pod("Running")
    left["metadata"]["labels"] |= {objects.FAMILY: "apply"}
    ended, another = a_pod("Failed", code=75), a_pod("Running", uid="job-2")
    for pod in (ended, another):
        pod["metadata"]["labels"] |= {objects.FAMILY: "apply"}

    seen = looking.orphaned(entry, [a_pod("Running"), ended, another, left], {"job-2"})

    assert seen is not None
    assert (seen.name, seen.state) == ("shop-apply-1", JobState.RUNNING)
    assert "shop-apply-1 was deleted, and its pod shop-apply-1-x has not ended" in seen.note
    assert looking.orphaned(entry, [ended, another], {"job-2"}) is None


def test_a_pod_that_starts_for_long_may_lack_its_secrets() -> None:
    pod = a_pod("Pending", containerStatuses=[])
    pod["metadata"]["creationTimestamp"] = "2030-01-01T11:59:00Z"

    assert "are the Secrets shop-source there" in see(a_job(), pod).note


@pytest.mark.parametrize(
    ("ip", "place"), [("10.0.0.9", "10.0.0.9:8080"), ("fd00::9", "[fd00::9]:8080")]
)
def test_only_workers_that_run_are_asked(ip: str, place: str) -> None:
    assert looking.addresses([a_pod("Running", podIP=ip)]) == [place]
    assert looking.addresses([a_pod("Pending"), a_pod("Failed", code=75)]) == []


# --- when it is written --------------------------------------------------------------------------


def a_status(**change: Any) -> Status:
    ready = Condition(
        type=ConditionType.READY, status=Truth.TRUE, reason="Streaming", message="lag 1 s"
    )
    return Status(phase=Phase.STREAMING, conditions=[ready]).model_copy(update=change)


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        ({"message": "another"}, True),
        ({"phase": Phase.CUTTING_OVER}, False),
        ({"epoch": 2}, False),
        ({"observed_generation": 2}, False),
        ({"conditions": []}, False),
    ],
)
def test_only_figures_wait(change: dict[str, Any], waits: bool) -> None:
    old, new = a_status(), a_status(**change)

    assert may_wait(old, new, since=NOW - EVERY / 2, now=NOW) is waits
    assert not may_wait(old, new, since=NOW - EVERY, now=NOW)
    assert not may_wait(old, new, since=None, now=NOW)


def test_passes_that_change_nothing_rest_longer_and_no_longer_than_a_resync() -> None:
    bell, soon = Bell(), timedelta(seconds=3)

    rests = [bell.pause(soon, quiet=quiet) for quiet in (False, True, True, True, True, False)]

    assert [each.total_seconds() for each in rests] == [3, 6, 12, 15, 15, 3]
    assert bell.pause(timedelta(minutes=5), quiet=True) == timedelta(minutes=5)


def test_a_hurry_that_does_not_end_is_slowed_down() -> None:
    bell, hurry = Bell(), timedelta(milliseconds=200)

    rests = [bell.pause(hurry, quiet=False) for _ in range(EAGER_PASSES + 1)]

    assert rests[0] == hurry
    assert rests[-1] == SLOW


def test_a_bell_that_rang_during_a_pass_is_not_missed() -> None:
    async def missed() -> float:
        bell = Bell()
        bell.silence()
        bell.ring()  # while the pass is under way
        began = time.monotonic()
        await bell.rest(timedelta(seconds=30), quiet=True)
        return time.monotonic() - began

    assert asyncio.run(missed()) < 5


def test_what_we_have_seen_before_does_not_ring() -> None:
    async def pause() -> float:
        bell = Bell()
        bell.ring_if_new([1, None])
        bell.silence()
        bell.ring_if_new([1, None])
        began = time.monotonic()
        await bell.rest(timedelta(seconds=1), quiet=False)
        return time.monotonic() - began

    assert asyncio.run(pause()) > 0.5


def test_nobody_is_kept_for_the_jobs_of_a_migration_that_is_gone() -> None:
    bells = Bells()

    bells.ring(("ns", "gone"))

    assert len(bells) == 0
    there = bells.of(("ns", "there"))
    bells.ring(("ns", "there"))
    assert there.has_rung
