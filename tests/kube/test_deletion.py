"""A resource is deleted, in every phase and in every weather: it goes, and what must not stay does not."""

from __future__ import annotations

from urllib.error import HTTPError

import pytest

from bowline_operator.kube import objects
from bowline_operator.status import ConditionType
from kube.operator_rig import SPEC, Migration, Operator, eventually
from kube.process_node import ProcessNode

CLEANUP = {**SPEC, "deletionPolicy": "Cleanup"}


def delete(migration: Migration) -> None:
    migration.cluster.do("delete", "dbm", "shop", "-n", migration.namespace, "--wait=false")


def is_gone(migration: Migration) -> bool:
    try:
        migration.raw()
    except HTTPError as error:
        return error.code == 404
    return False


def roles(migration: Migration) -> set[str]:
    return {job["metadata"]["labels"][objects.ROLE] for job in migration.jobs().values()}


@pytest.mark.parametrize("role", ["assess", "prepare", "snapshot"])
def test_on_the_way_it_goes_at_once_and_leaves_the_journal(
    scripted_node: ProcessNode, operator: Operator, migration: Migration, role: str
) -> None:
    (scripted_node.script(migration.namespace) / f"wait-{role}").touch()
    migration.create(SPEC)
    eventually(lambda: bool(scripted_node.running(role, migration.namespace)), f"{role} runs")

    delete(migration)

    eventually(lambda: is_gone(migration), "it is gone")
    eventually(lambda: not scripted_node.running(role, migration.namespace), f"{role} has ended")
    assert "cleanup" not in roles(migration)
    assert migration.claims() == (["shop-journal"] if role == "snapshot" else [])


def test_while_streaming_it_goes_with_its_workers_and_keeps_what_could_resume(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    migration.until_true(ConditionType.CAUGHT_UP)

    delete(migration)

    eventually(lambda: is_gone(migration), "it is gone")
    assert not scripted_node.running("capture", migration.namespace)
    assert not scripted_node.running("apply", migration.namespace)
    assert migration.claims() == ["shop-journal"]


@pytest.mark.parametrize(
    ("requests", "phase"),
    [
        ([], "Streaming"),
        (["Cutover"], "FallbackStreaming"),
        (["Cutover", "Switchover"], "SwitchedBack"),
        (["Complete"], "Completed"),
    ],
)
def test_cleanup_takes_everything_away(
    scripted_node: ProcessNode,
    operator: Operator,
    migration: Migration,
    requests: list[str],
    phase: str,
) -> None:
    migration.create(CLEANUP)
    migration.until_true(ConditionType.CAUGHT_UP)
    for request, reached in zip(requests, ["FallbackStreaming", "SwitchedBack"], strict=False):
        migration.patch({"phase": request})
        migration.until_phase(phase if request == "Complete" else reached)

    delete(migration)

    eventually(lambda: is_gone(migration), "it is gone")
    assert "cleanup" in roles(migration), "its Job outlives the resource, for its log"
    assert migration.claims() == []


def test_a_switch_under_way_is_ended_first(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    """Behind its fence nobody can write: its role must not go with the resource."""
    hold = scripted_node.script(migration.namespace) / "wait-cutover"
    hold.touch()
    migration.create(SPEC)
    migration.until_true(ConditionType.CAUGHT_UP)
    migration.patch({"phase": "Cutover"})
    eventually(lambda: bool(scripted_node.running("cutover", migration.namespace)), "cutover runs")
    migration.cluster.do(
        "delete", "dbm", "shop", "-n", migration.namespace, "--wait=false", "--cascade=foreground"
    )
    migration.until(
        lambda status: (
            any(each.reason == "Deleting" for each in status.conditions)
            or "Switching" in {each.reason for each in status.conditions}
        ),
        "the deletion is seen",
    )
    assert scripted_node.running("cutover", migration.namespace)

    hold.unlink()

    eventually(lambda: is_gone(migration), "it is gone")
    cutover = migration.jobs()["shop-cutover-1-1"]
    assert cutover["status"].get("succeeded") == 1


def test_an_operator_that_was_away_finds_it_and_lets_it_go(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(CLEANUP)
    migration.until_true(ConditionType.CAUGHT_UP)
    operator.kill()
    delete(migration)
    assert not is_gone(migration), "nobody has cleaned up yet"

    operator.start()

    eventually(lambda: is_gone(migration), "it is gone")
    assert "cleanup" in roles(migration)


def test_databases_that_are_gone_do_not_keep_it_for_ever(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    (scripted_node.script(migration.namespace) / "cleanup").write_text("75")
    migration.create(CLEANUP)
    migration.until_true(ConditionType.CAUGHT_UP)
    delete(migration)

    status = migration.until(
        lambda status: any(each.reason == "CleanupFailed" for each in status.conditions),
        "that it can't clean up is told",
    )
    assert "bowline.dev/force-delete" in status.message
    assert not is_gone(migration)

    migration.cluster.do(
        "annotate", "dbm", "shop", "-n", migration.namespace, "bowline.dev/force-delete=true"
    )
    eventually(lambda: is_gone(migration), "it is gone")


def test_a_new_one_of_the_same_name_uses_no_old_names(
    scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(CLEANUP)
    migration.until_true(ConditionType.CAUGHT_UP)
    delete(migration)
    eventually(lambda: is_gone(migration), "it is gone")
    before = {name: job["metadata"]["uid"] for name, job in migration.jobs().items()}
    assert before, "the Job of the cleanup is still there"

    migration.create(CLEANUP)
    migration.until_true(ConditionType.CAUGHT_UP)
    delete(migration)

    eventually(lambda: is_gone(migration), "it is gone")
    jobs = migration.jobs()
    assert sorted(name for name in jobs if "cleanup" in name) == [
        "shop-cleanup-1",
        "shop-cleanup-2",
    ]
    assert jobs["shop-cleanup-1"]["metadata"]["uid"] == before["shop-cleanup-1"]
