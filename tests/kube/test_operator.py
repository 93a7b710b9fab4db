"""The operator on a real API server with a real Job controller; the workers are scripted processes."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bowline_operator.kube import objects
from bowline_operator.status import ConditionType
from kube.control_plane import CRDS, ControlPlane
from kube.operator_rig import SPEC, Migration, Operator, eventually, truth
from kube.process_node import ProcessNode

STATUS_SCHEMA = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties"

#: Every role of the road, with what makes it run.
ROAD = {
    "assess": {},
    "schema": {},
    "prepare": {},
    "snapshot": {},
    "cutover": {"phase": "Cutover"},
    "cleanup": {"phase": "Complete"},
}


def switched_to_and_fro(migration: Migration) -> None:
    migration.until_true(ConditionType.CAUGHT_UP)
    migration.patch({"phase": "Cutover"})
    migration.until_phase("FallbackStreaming")
    migration.until_true(ConditionType.FALLBACK_READY)
    migration.patch({"phase": "Switchover"})
    migration.until_phase("SwitchedBack")


def uids(migration: Migration) -> Counter[str]:
    """How many Jobs there are of each family."""
    return Counter(job["metadata"]["labels"][objects.FAMILY] for job in migration.jobs().values())


def test_the_whole_road_there_and_back(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    switched_to_and_fro(migration)
    migration.patch({"phase": "Complete"})
    status = migration.until_phase("Completed")

    assert (status.epoch, str(status.primary)) == (3, "Source")
    # What is over is kept for its log, and says when it will go; the journal's volume is gone.
    eventually(
        lambda: all("ttlSecondsAfterFinished" in job["spec"] for job in migration.jobs().values()),
        "every Job is let go",
    )
    assert migration.cluster.get("configmaps", "-n", migration.namespace,
                                 "-l", objects.selector("shop"))["items"] == []  # fmt: skip
    eventually(lambda: migration.claims() == [], "the journal's volume is given back")


def test_people_hear_of_what_has_happened_once(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    switched_to_and_fro(migration)

    def told() -> Counter[str]:
        return Counter(f"{each['reason']}: {each['message']}" for each in migration.events())

    eventually(lambda: any("-> SwitchedBack" in each for each in told()), "the last phase is told")
    assert set(told().values()) == {1}
    assert told()["CutoverCommitted: attempt 1"] == 1


def kill_operator(operator: Operator, release: Callable[[], None]) -> None:
    """It dies, what it waits for ends while nobody looks, and it comes back."""
    operator.kill()
    release()
    operator.start()


def kill_api_server(operator: Operator, release: Callable[[], None]) -> None:
    """The API server dies, what the operator waits for ends meanwhile, and it comes back."""
    operator.cluster.kill_api_server()
    release()
    operator.cluster.revive_api_server()


@pytest.mark.parametrize("blow", [kill_operator, kill_api_server])
def test_what_dies_in_the_middle_of_every_phase_goes_on_where_it_was(
    scripted_node: ProcessNode,
    operator: Operator,
    migration: Migration,
    blow: Callable[[Operator, Callable[[], None]], None],
) -> None:
    namespace = migration.namespace
    holds = {role: scripted_node.script(namespace) / f"wait-{role}" for role in ROAD}
    for hold in holds.values():
        hold.touch()
    migration.create(SPEC)
    for role, hold in holds.items():
        ask_for(migration, role)
        eventually(partial(scripted_node.is_running, role, namespace), f"{role} runs")
        blow(operator, partial(scripted_node.release, hold, role, namespace))
        expect_goal(migration, role)
    assert max(uids(migration).values()) == 1, "nothing was run twice"


def ask_for(migration: Migration, role: str) -> None:
    """Ask for what makes the role run; it does by itself where nothing is to be asked."""
    if ROAD[role]:
        migration.patch(ROAD[role])


def expect_goal(migration: Migration, role: str) -> None:
    goals = {"snapshot": "Streaming", "cutover": "FallbackStreaming", "cleanup": "Completed"}
    if role in goals:
        migration.until_phase(goals[role])
        migration.until_true(ConditionType.READY)


def test_two_operators_at_once_do_not_do_things_twice(
    scripted_node: ProcessNode, operator: Operator, migration: Migration, tmp_path: Path
) -> None:
    second = Operator(migration.cluster, migration.namespace, tmp_path / "second").start()
    try:
        migration.create(SPEC)
        switched_to_and_fro(migration)
        status = migration.status
        assert status.cutover.attempt == 2
        assert {job.try_ for job in status.jobs} == {1}
        assert max(uids(migration).values()) == 1
    finally:
        second.kill()


def test_suspend_stops_all_workers_and_they_go_on_after_it(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    migration.until_true(ConditionType.CAUGHT_UP)

    migration.patch({"suspend": True})
    migration.until_true(ConditionType.PAUSED)
    assert not scripted_node.running("capture", migration.namespace)
    assert not scripted_node.running("apply", migration.namespace)

    migration.patch({"suspend": False})
    status = migration.until_true(ConditionType.CAUGHT_UP)
    assert [job.failures for job in status.jobs if job.role in ("capture", "apply")] == [0, 0]


def test_a_worker_that_was_killed_is_tried_again(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    migration.until_true(ConditionType.CAUGHT_UP)
    (capture,) = scripted_node.running("capture", migration.namespace)
    assert capture.process is not None

    os.kill(capture.process.pid, signal.SIGKILL)

    migration.until(lambda status: tries(status, "capture") == 2, "a second try")
    migration.until_true(ConditionType.CAUGHT_UP)


def test_a_pod_whose_job_was_deleted_is_waited_for(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    migration.until_true(ConditionType.CAUGHT_UP)
    (first,) = scripted_node.running("capture", migration.namespace)

    migration.cluster.do("delete", "job", first.job, "-n", migration.namespace, "--cascade=orphan")

    migration.until(lambda status: f"its pod {first.name}" in status.message, "the pod is named")
    assert scripted_node.running("capture", migration.namespace) == [first]
    migration.cluster.do("delete", "pod", first.name, "-n", migration.namespace, "--wait=false")
    eventually(
        lambda: scripted_node.running("capture", migration.namespace) not in ([], [first]),
        "the next one runs",
    )
    migration.until_true(ConditionType.CAUGHT_UP)


@contextmanager
def another_resource(cluster: ControlPlane, *patch: dict[str, Any]) -> Iterator[None]:
    """While the API server knows the resource as another version of Bowline defines it."""
    name = "databasemigrations.bowline.dev"
    cluster.do("patch", "crd", name, "--type=json", "-p", json.dumps(patch))
    try:
        yield
    finally:
        cluster.do("replace", "-f", str(CRDS))


def test_a_status_that_can_not_be_read_is_neither_taken_for_none_nor_written_over(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    migration.until_true(ConditionType.CAUGHT_UP)
    operator.kill()
    tomorrow = {"op": "add", "path": f"{STATUS_SCHEMA}/phase/enum/-", "value": "Tomorrow"}
    cluster, namespace = migration.cluster, migration.namespace
    with another_resource(cluster, tomorrow):
        newer = json.dumps({"status": {"phase": "Tomorrow"}})
        eventually(
            lambda: not cluster.kubectl(
                "patch", "dbm", "shop", "-n", namespace, "--subresource=status", "--type=merge", "-p", newer
            ).returncode,
            "the API server knows the new phase",
        )  # fmt: skip
        before = migration.raw()["status"]

        operator.start()
        eventually(lambda: "StatusUnreadable" in migration.reasons(), "it is told")
        migration.patch({"phase": "Cutover"})
        eventually(lambda: operator.log.count("status unreadable") > 1, "it has looked again")

        assert migration.raw()["status"] == before
        assert not scripted_node.running("cutover", namespace)


def test_a_status_that_the_server_refuses_is_written_without_its_lists(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    none = {"op": "add", "path": f"{STATUS_SCHEMA}/snapshot/properties/tables/maxItems", "value": 0}
    with another_resource(migration.cluster, none):
        migration.create(SPEC)

        migration.until_true(ConditionType.CAUGHT_UP)

        eventually(lambda: "StatusRefused" in migration.reasons(), "it is told")


def test_without_its_resource_it_says_what_to_install(tmp_path: Path) -> None:
    cluster = ControlPlane(tmp_path / "plane")
    try:
        cluster.start()
        operator = Operator(cluster, "default", tmp_path / "operator").start()
        assert operator.process is not None
        code = operator.process.wait(30)
    finally:
        cluster.stop()

    assert code == 1
    assert "install the CustomResourceDefinition first" in operator.log
    assert "Traceback" not in operator.log


def test_a_journal_that_can_not_grow_is_told_and_goes_on(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    migration.until_true(ConditionType.CAUGHT_UP)

    migration.patch({"journal": {"volume": {"size": "20Gi"}}})

    # No class that allows it has made this claim.
    eventually(lambda: "JournalNotEnlarged" in migration.reasons(), "it is told")
    migration.until(lambda status: tries(status, "capture") == 2, "capture knows the new limit")
    migration.until_true(ConditionType.CAUGHT_UP)


def tries(status: Any, role: str) -> int:
    return max((job.try_ for job in status.jobs if job.role == role), default=0)


def test_an_unsafe_end_stalls_until_a_human_says_that_it_was_mended(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    script = scripted_node.script(migration.namespace) / "prepare"
    script.write_text("78")
    migration.create(SPEC)
    status = migration.until_true(ConditionType.STALLED)
    assert "as the script says" in status.message
    assert "change it" in status.message

    script.unlink()
    migration.cluster.do(
        "annotate", "dbm", "shop", "-n", migration.namespace, "bowline.dev/retry=granted"
    )

    migration.until_phase("Streaming")
    migration.until(lambda status: truth(status, ConditionType.STALLED) == "", "it goes on")


def test_a_missing_secret_is_named(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    migration.cluster.do("delete", "secret", "shop-target", "-n", migration.namespace)
    spec = {"phase": "Assess", "verification": {"request": 0}}
    migration.patch(spec)
    migration.cluster.do("delete", "pods", "-n", migration.namespace, "--all", "--wait=false")
    migration.cluster.do("delete", "jobs", "-n", migration.namespace, "--all", "--wait=false")

    status = migration.until(lambda status: "shop-target" in status.message, "the Secret is named")

    ready = status.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "WorkerPending")


def test_a_job_that_the_cluster_refuses_is_told(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    cluster, namespace = migration.cluster, migration.namespace
    cluster.do("create", "-n", namespace, "-f", "-", given=quota)
    cluster.do("wait", "resourcequota/none", "-n", namespace, "--timeout=60s",
               "--for=jsonpath={.status.hard.count/jobs\\.batch}=0")  # fmt: skip
    migration.create(SPEC)

    migration.until(lambda status: "exceeded quota" in status.message, "the refusal is told")
    cluster.do("delete", "resourcequota", "none", "-n", namespace)

    migration.until_phase("Streaming")


def test_it_tells_that_it_is_well_and_what_it_does(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    migration.until_phase("Streaming")

    health = get(operator.health_port, "/healthz")
    text = get(operator.metrics_port, "/metrics")

    assert json.loads(health) == {"passes": 0} or json.loads(health)["passes"] >= 0
    place = f'name="shop",namespace="{migration.namespace}"'
    assert f'bowline_migration_phase{{{place},phase="Streaming"}} 1.0' in text
    assert 'bowline_operator_jobs_started_total{role="snapshot"} 1.0' in text
    assert 'bowline_operator_report_pulls_total{outcome="answered"}' in text


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def test_it_ends_in_order_and_leaves_the_workers_at_work(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    migration.until_true(ConditionType.CAUGHT_UP)

    assert operator.stop() == 0

    assert len(scripted_node.running("capture", migration.namespace)) == 1
    assert len(scripted_node.running("apply", migration.namespace)) == 1


def test_workers_get_no_token_and_run_restricted(
    controllers: ControlPlane, scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    """The API server itself judges: it enforces the restricted profile in this namespace."""
    controllers.do(
        "label", "namespace", migration.namespace, "pod-security.kubernetes.io/enforce=restricted"
    )
    migration.create(SPEC)
    migration.until_true(ConditionType.CAUGHT_UP)

    pods = controllers.get("pods", "-n", migration.namespace)["items"]
    assert len(pods) >= 6
    for pod in pods:
        volumes = [each for each in pod["spec"]["volumes"] if "projected" in each]
        assert volumes == []
        assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
