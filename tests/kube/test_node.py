"""The bed itself: a pod of our image on a real node has all that a worker needs, and reaches this machine."""

from __future__ import annotations

import json
import secrets
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kube.image import IMAGE
from kube.node import ADDRESS, STORAGE_CLASS, WORKER_ID, Node

pytestmark = pytest.mark.node

#: Says what a worker would find, as its last word.
WORKER = """
import json, os, pathlib, socket, sys
def writes(place):
    try:
        pathlib.Path(place, "proof").write_text("here")
    except OSError as error:
        return error.strerror
    return "written"
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as asked:
    answer = asked.recv(100).decode()
found = {
    "uid": os.getuid(), "answer": answer, "password": pathlib.Path("/etc/bowline/source/password").read_text(),
    "root": writes("/"), "work": writes("/work"), "journal": writes("/var/lib/bowline/journal"),
}
print("all of it is found")
pathlib.Path("/dev/termination-log").write_text(json.dumps(found))
"""

#: Asks the API server who it is, as clients inside a cluster do.
CLIENT = """
import json, os, pathlib, ssl, urllib.request
account = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
server = "https://{KUBERNETES_SERVICE_HOST}:{KUBERNETES_SERVICE_PORT}".format(**os.environ)
token = (account / "token").read_text()
request = urllib.request.Request(server + "/version", headers={"Authorization": "Bearer " + token})
trusted = ssl.create_default_context(cafile=account / "ca.crt")
with urllib.request.urlopen(request, timeout=10, context=trusted) as answer:
    pathlib.Path("/dev/termination-log").write_text(json.load(answer)["gitVersion"])
"""

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@pytest.fixture
def space(node: Node) -> str:
    """A namespace that lets in only what the restricted profile allows."""
    name = f"test-{secrets.token_hex(4)}"
    node.cluster.do("create", "namespace", name)
    node.cluster.do("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    node.cluster.do("wait", "serviceaccount/default", "-n", name, "--for=create", "--timeout=30s")
    return name


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of a server on this machine that greets; where a test's database would listen."""

    class Greeting(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"hello")

    with socketserver.ThreadingTCPServer((ADDRESS, 0), Greeting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def pod(*command: str, mounts: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """What a pod of ours is like; `mounts` are volumes by the path where they are found."""
    volumes = {f"volume-{number}": each for number, each in enumerate((mounts or {}).values())}
    return {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": WORKER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [{"name": name, **each} for name, each in volumes.items()],
        "containers": [
            {
                "name": "worker",
                "image": IMAGE,
                "imagePullPolicy": "Never",
                "command": list(command),
                "securityContext": RESTRICTED,
                "resources": {"limits": {"memory": "256Mi"}},
                "volumeMounts": [
                    {"name": name, "mountPath": path}
                    for name, path in zip(volumes, mounts or {}, strict=True)
                ],
            }
        ],
        **spec,
    }


def create(node: Node, space: str, kind: str, name: str, **fields: Any) -> None:
    version = "batch/v1" if kind == "Job" else "v1"
    thing = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}
    node.cluster.do("create", "-n", space, "-f", "-", given=thing)


def last_word(node: Node, space: str, job: str) -> str:
    """The termination message of a Job that must complete."""
    done = node.cluster.kubectl(
        "wait", f"job/{job}", "-n", space, "--for=condition=Complete", "--timeout=60s"
    )
    pods = node.cluster.get("pods", "-n", space, "-l", f"batch.kubernetes.io/job-name={job}")
    assert done.returncode == 0, json.dumps([each["status"] for each in pods["items"]], indent=1)
    (container,) = pods["items"][0]["status"]["containerStatuses"]
    return str(container["state"]["terminated"]["message"])


def test_a_worker_finds_its_secret_its_volumes_and_this_machine(
    node: Node, space: str, listener: int
) -> None:
    node.volume()
    create(node, space, "Secret", "source", stringData={"password": "s3cret"})
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": STORAGE_CLASS,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    create(node, space, "PersistentVolumeClaim", "journal", spec=claim)
    mounts = {
        "/etc/bowline/source": {"secret": {"secretName": "source", "defaultMode": 0o440}},
        "/work": {"emptyDir": {"sizeLimit": "64Mi"}},
        "/var/lib/bowline/journal": {"persistentVolumeClaim": {"claimName": "journal"}},
    }
    template = pod(
        "python", "-c", WORKER, ADDRESS, str(listener), mounts=mounts, automountServiceAccountToken=False
    )  # fmt: skip

    create(node, space, "Job", "worker", spec={"template": {"spec": template}})

    assert json.loads(last_word(node, space, "worker")) == {
        "uid": WORKER_ID,
        "answer": "hello",
        "password": "s3cret",
        "root": "Read-only file system",
        "work": "written",
        "journal": "written",
    }
    assert node.cluster.do("logs", "job/worker", "-n", space) == "all of it is found\n"


def test_a_client_in_a_pod_reaches_the_api_server_and_knows_it(node: Node, space: str) -> None:
    template = pod("python", "-c", CLIENT)

    create(node, space, "Job", "client", spec={"template": {"spec": template}})

    assert last_word(node, space, "client").startswith("v1.")


def test_pods_outlive_their_kubelet(node: Node, space: str) -> None:
    create(node, space, "Pod", "stays", spec=pod("sleep", "1000"))
    node.cluster.do("wait", "pod/stays", "-n", space, "--for=condition=Ready", "--timeout=60s")

    node.restart_kubelet()

    node.cluster.do(
        "exec", "stays", "-n", space, "--", "sh", "-c", "test $(cat /proc/1/comm) = sleep"
    )
    (container,) = node.cluster.get("pod", "stays", "-n", space)["status"]["containerStatuses"]
    assert (container["ready"], container["restartCount"]) == (True, 0)
