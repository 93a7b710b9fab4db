"""Many migrations at once, and none that does anything: what the operator costs."""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bowline_operator.plan import RESYNC
from bowline_operator.status import ConditionType
from kube.control_plane import ControlPlane
from kube.operator_rig import SPEC, Migration, Operator, eventually, truth
from kube.process_node import Api, ProcessNode

RESOURCES = 100
RSS_LIMIT = 256 << 20
REACTION_SECONDS = 2.0
CALLS_A_MINUTE = 15
IDLE_SECONDS = 60
LOOK_SECONDS = 0.03

#: What the operator alone asks for: our resource, and lists in a namespace. Controllers watch, the node asks for all.
COUNTED = re.compile(
    r'^apiserver_request_total\{(?=.*,resource="(?P<resource>[a-z]+)")(?=.*scope="(?P<scope>[a-z]+)")'
    r'(?=.*subresource="(?P<part>[a-z]*)")(?=.*verb="(?P<verb>[A-Z]+)").*\} (?P<count>[0-9.e+]+)$'
)


def calls(cluster: ControlPlane) -> Counter[str]:
    """Calls so far, by verb and resource; watches count when they begin."""
    found: Counter[str] = Counter()
    for line in cluster.do("get", "--raw", "/metrics").splitlines():
        seen = COUNTED.match(line)
        if seen is None:
            continue
        ours = seen["resource"] == "databasemigrations"
        ours |= seen["resource"] in ("jobs", "pods") and (seen["verb"], seen["scope"]) == (
            "LIST",
            "namespace",
        )
        if ours:
            found[f"{seen['verb']} {seen['resource']} {seen['part']}".strip()] += int(
                float(seen["count"])
            )
    return found


def test_a_migration_that_streams_and_changes_nothing_costs_few_calls(
    controllers: ControlPlane, scripted_node: ProcessNode, operator: Operator, migration: Migration
) -> None:
    migration.create(SPEC)
    migration.until_true(ConditionType.CAUGHT_UP)
    migration.until_true(ConditionType.READY)
    settle(controllers)
    before, began = calls(controllers), time.monotonic()

    # Nothing is waited for here but time itself: it is what is measured.
    time.sleep(IDLE_SECONDS)

    status = migration.status
    assert truth(status, ConditionType.READY) == "True", status.message
    made = calls(controllers) - before
    minutes = (time.monotonic() - began) / 60
    print(f"calls in {minutes:.1f} min: {dict(made)}")
    assert 0 < made.total() / minutes <= CALLS_A_MINUTE


def settle(cluster: ControlPlane) -> None:
    """Wait until what the last steps still wake is over: no more than two passes in a resync's time."""

    def is_at_rest() -> bool:
        before = calls(cluster)
        time.sleep(RESYNC.total_seconds())
        return (calls(cluster) - before)["GET databasemigrations"] <= 2

    eventually(is_at_rest, "it comes to rest")


@pytest.mark.timeout(600)
def test_a_hundred_resources_at_once(
    controllers: ControlPlane, namespace: str, operator: Operator
) -> None:
    """No node runs here: the pods stay where they are, and every resource waits for its own."""
    resources = [
        {
            "apiVersion": "bowline.dev/v1alpha1",
            "kind": "DatabaseMigration",
            "metadata": {"name": f"shop-{number}"},
            "spec": SPEC,
        }
        for number in range(RESOURCES)
    ]
    before = calls(controllers)
    whole = {"apiVersion": "v1", "kind": "List", "items": resources}
    controllers.do("create", "-n", namespace, "-f", "-", given=whole)

    def jobs() -> int:
        return len(controllers.get("jobs", "-n", namespace)["items"])

    eventually(lambda: jobs() == RESOURCES, "every resource has its first Job")

    api = Api(controllers.config)
    with ThreadPoolExecutor(4) as pool:
        delays = sorted(pool.map(lambda number: reaction(api, namespace, number), range(RESOURCES)))

    assert operator.process is not None
    rss = resident(operator.process.pid)
    p95 = delays[int(len(delays) * 0.95)]
    print(
        f"reaction median {statistics.median(delays):.2f} s, p95 {p95:.2f} s; RSS {rss >> 20} MiB;"
        f" calls {dict(calls(controllers) - before)}"
    )
    assert rss <= RSS_LIMIT
    assert p95 <= REACTION_SECONDS


def reaction(api: Api, namespace: str, number: int) -> float:
    """Seconds from a patch of the spec to a status that is about it."""
    place = f"/apis/bowline.dev/v1alpha1/namespaces/{namespace}/databasemigrations/shop-{number}"
    began = time.monotonic()
    patch = {"spec": {"phase": "Assess"}}
    made = api.call("PATCH", place, patch, "application/merge-patch+json")
    while True:
        found = api.call("GET", place)
        waited = time.monotonic() - began
        if found["status"]["observedGeneration"] == made["metadata"]["generation"]:
            return waited
        assert waited < 60, f"shop-{number} is not taken up"
        time.sleep(LOOK_SECONDS)


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    (line,) = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(line) << 10
