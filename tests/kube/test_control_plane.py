"""What our tests stand on: real controllers, and pods whose part a test plays."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from kube.binaries import NoControlPlane, binaries
from kube.control_plane import ControlPlane, kubeconfig
from kube.pods import finish, pod_of, reap, run

UNSAFE = 86


def job(name: str = "work", **spec: Any) -> dict[str, Any]:
    """A Job as the operator makes them: tried again by nobody where the exit code says so."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 3,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                    {
                        "action": "FailJob",
                        "onExitCodes": {"operator": "In", "values": [64, 65, 78, UNSAFE]},
                    },
                ]
            },
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "worker", "image": "example.invalid/bowline"}],
                }
            },
            **spec,
        },
    }


@pytest.fixture
def made(controllers: ControlPlane, namespace: str) -> str:
    """The pod of a Job that was just made."""
    controllers.do("create", "-n", namespace, "-f", "-", given=job())
    return pod_of(controllers, namespace, "work")


def wait(cluster: ControlPlane, namespace: str, condition: str, name: str = "job/work") -> None:
    cluster.do("wait", name, "-n", namespace, f"--for={condition}", "--timeout=60s")


def test_a_job_is_complete_when_its_pod_succeeded(
    controllers: ControlPlane, namespace: str, made: str
) -> None:
    run(controllers, namespace, made, ip="127.0.0.9")
    seen = controllers.get("pod", made, "-n", namespace)["status"]
    assert (seen["phase"], seen["podIP"]) == ("Running", "127.0.0.9")

    finish(controllers, namespace, made, message="all rows are there")

    wait(controllers, namespace, "condition=Complete")
    (container,) = controllers.get("pod", made, "-n", namespace)["status"]["containerStatuses"]
    assert container["state"]["terminated"]["message"] == "all rows are there"


def test_exit_code_86_fails_the_job_at_once(
    controllers: ControlPlane, namespace: str, made: str
) -> None:
    finish(controllers, namespace, made, exit_code=UNSAFE, message="fenced out")

    wait(controllers, namespace, "condition=Failed")
    found = controllers.get("job", "work", "-n", namespace)["status"]
    (failed,) = (each for each in found["conditions"] if each["type"] == "Failed")
    assert failed["reason"] == "PodFailurePolicy"
    assert found["failed"] == 1


def test_another_exit_code_is_tried_again(
    controllers: ControlPlane, namespace: str, made: str
) -> None:
    finish(controllers, namespace, made, exit_code=75)

    wait(controllers, namespace, "jsonpath={.status.failed}=1")
    wait(controllers, namespace, "jsonpath={.status.active}=1")
    assert pod_of(controllers, namespace, "work") != made


def test_a_suspended_job_keeps_its_pod_until_the_pod_has_ended(
    controllers: ControlPlane, namespace: str, made: str
) -> None:
    run(controllers, namespace, made)

    controllers.do("patch", "job/work", "-n", namespace, "-p", '{"spec": {"suspend": true}}')

    wait(controllers, namespace, "jsonpath={.metadata.deletionTimestamp}", f"pod/{made}")
    assert controllers.get("pod", made, "-n", namespace)["status"]["phase"] == "Running"
    assert reap(controllers, namespace) == [made]
    wait(controllers, namespace, "delete", f"pod/{made}")
    wait(controllers, namespace, "condition=Suspended")
    assert "failed" not in controllers.get("job", "work", "-n", namespace)["status"]


def test_what_belongs_to_a_deleted_resource_goes_with_it(
    controllers: ControlPlane, namespace: str
) -> None:
    owner = job("owner", suspend=True)
    controllers.do("create", "-n", namespace, "-f", "-", given=owner)
    uid = controllers.get("job", "owner", "-n", namespace)["metadata"]["uid"]
    owned = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "owned",
            "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": "owner", "uid": uid}
            ],
        },
    }
    controllers.do("create", "-n", namespace, "-f", "-", given=owned)

    controllers.do("delete", "job", "owner", "-n", namespace)

    wait(controllers, namespace, "delete", "configmap/owned")


def test_a_finished_job_goes_when_its_time_is_over(
    controllers: ControlPlane, namespace: str, made: str
) -> None:
    finish(controllers, namespace, made)
    wait(controllers, namespace, "condition=Complete")

    controllers.do(
        "patch", "job/work", "-n", namespace, "-p", '{"spec": {"ttlSecondsAfterFinished": 0}}'
    )

    wait(controllers, namespace, "delete")


def test_an_account_has_its_own_rights_and_the_servers_certificate(
    controllers: ControlPlane, namespace: str
) -> None:
    controllers.do("wait", "configmap/kube-root-ca.crt", "-n", namespace, "--for=create")
    authority = controllers.directory / "account-ca.crt"
    authority.write_text(
        controllers.get("configmap", "kube-root-ca.crt", "-n", namespace)["data"]["ca.crt"]
    )
    controllers.do("create", "serviceaccount", "worker", "-n", namespace)
    token = controllers.do("create", "token", "worker", "-n", namespace).strip()
    config = controllers.directory / "account.kubeconfig"
    config.write_text(json.dumps(kubeconfig(controllers.server, authority, token)))

    done = controllers.kubectl(f"--kubeconfig={config}", "get", "secrets", "-n", namespace)

    assert f"system:serviceaccount:{namespace}:worker" in done.stderr
    assert "forbidden" in done.stderr


def test_an_api_server_that_was_killed_comes_back_with_what_it_knew(
    controllers: ControlPlane, namespace: str
) -> None:
    controllers.do("create", "-n", namespace, "-f", "-", given=job())

    controllers.restart_api_server()

    finish(controllers, namespace, pod_of(controllers, namespace, "work"))
    wait(controllers, namespace, "condition=Complete")


def test_a_kind_that_nobody_writes_is_listed_as_of_now_at_once(
    controllers: ControlPlane, namespace: str
) -> None:
    """Who was restarted lists so; where it takes a minute, tests of restarts test that minute."""
    controllers.do("create", "configmap", "newest", "-n", namespace)
    now = controllers.get("configmap", "newest", "-n", namespace)["metadata"]["resourceVersion"]

    began = time.monotonic()
    wanted = f"resourceVersion={now}&resourceVersionMatch=NotOlderThan"
    controllers.do("get", "--raw", f"/apis/apps/v1/daemonsets?{wanted}")

    assert time.monotonic() - began < 15


def test_a_start_that_fails_leaves_nothing_running(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        cluster = ControlPlane(tmp_path, port=taken.getsockname()[1])

        with pytest.raises(NoControlPlane, match="address already in use"):
            cluster.start()

    assert (tmp_path / "etcd").exists()
    assert running_in(tmp_path) == []


def running_in(directory: Path) -> list[str]:
    """The command lines of processes that name a directory."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has just ended
            continue
        if any(str(directory) in word for word in words):
            found.append(" ".join(words))
    return found


def test_a_missing_program_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    with pytest.raises(NoControlPlane, match=r"no kube-scheduler in KUBEBUILDER_ASSETS .* Go$"):
        binaries("kube-scheduler")
