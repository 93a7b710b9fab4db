"""A Kubernetes control plane for a test session: etcd, a real kube-apiserver and, asked for, the controllers.

With `controllers` there are Jobs, garbage collection and ServiceAccounts' tokens; with `scheduler` pods find a node.
Nothing runs pods here: `pods.py` plays the kubelet's part, `node.py` brings a real one.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import secrets
import socket
from pathlib import Path
from typing import Any

from kube.authority import Authority
from kube.binaries import binaries, distribution
from kube.daemon import Daemon, answers
from kube.kubectl import Kubectl

CRDS = Path(__file__).parents[2] / "crds"

#: Without a scheduler there is no kubelet either: these would take pods away because nobody speaks for their node.
NO_NODES = "-node-lifecycle-controller,-pod-garbage-collector-controller,-taint-eviction-controller"


class ControlPlane(Kubectl):
    """An API server with an empty store. `kubectl` speaks to it as an administrator; `config` is its kubeconfig.

    The first address of `services` is the Service `kubernetes`: where the API server has that very address, and port
    443, clients in pods reach it with nothing routed. Everything ends with the thread that started it, at the latest.
    """

    def __init__(
        self,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        services: str = "10.96.0.0/16",
        controllers: bool = False,
        scheduler: bool = False,
    ) -> None:
        super().__init__(binaries("kubectl")["kubectl"], directory / "kubeconfig")
        self.directory = directory
        self.server = f"https://{address}:{port or free_port(address)}"
        self._address = address
        self._services = services
        self._with_controllers = controllers
        self._with_scheduler = scheduler
        first = str(ipaddress.ip_network(services)[1])
        self._authority = Authority(directory / "pki", {"127.0.0.1", address, first})
        self._tokens = {user: secrets.token_hex(16) for user in USERS}
        self._daemons: list[Daemon] = []
        self._api_server: Daemon | None = None

    def start(self) -> ControlPlane:
        """Start all that was asked for. A start that fails leaves nothing running."""
        try:
            self._authority.make()
            for user in USERS:
                self._kubeconfig(user).write_text(json.dumps(self._as(user)), encoding="utf-8")
            self._start_api_server(self._start_store())
            if self._with_controllers:
                self.start_controllers()
            if self._with_scheduler:
                self._start_component("kube-scheduler")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        while self._daemons:
            self._daemons.pop().stop()

    def start_controllers(self) -> None:
        """Start the controllers, once; ready when they have made the first ServiceAccount."""
        if any(daemon.name == "kube-controller-manager" for daemon in self._daemons):
            return
        pki = self._authority
        self._start_component(
            "kube-controller-manager",
            f"--root-ca-file={pki.certificate}", f"--service-account-private-key-file={pki.accounts_key}",
            f"--cluster-signing-cert-file={pki.certificate}", f"--cluster-signing-key-file={pki.key}",
            "--use-service-account-credentials=true",
            f"--controllers=*{'' if self._with_scheduler else ',' + NO_NODES}",
        )  # fmt: skip
        for made in ("serviceaccount/default", "configmap/kube-root-ca.crt"):
            done = self.kubectl("wait", "--for=create", made, "-n", "default", "--timeout=60s")
            assert done.returncode == 0, done.stderr

    def stop_controllers(self) -> None:
        """Stop what makes pods, and finds nodes for them."""
        for daemon in self._daemons:
            if daemon.name in ("kube-controller-manager", "kube-scheduler"):
                daemon.stop()

    def restart_api_server(self) -> None:
        """Kill the API server, and start it again on its port with its store."""
        self.kill_api_server()
        self.revive_api_server()

    def kill_api_server(self) -> None:
        assert self._api_server is not None
        self._api_server.kill()

    def revive_api_server(self) -> None:
        assert self._api_server is not None
        self._api_server.start(self._is_ready)

    def _start_store(self) -> str:
        store, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._launch(
            distribution("etcd", "etcd-server"),
            f"--data-dir={self.directory / 'etcd'}", f"--listen-client-urls={store}",
            f"--advertise-client-urls={store}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync=true", "--log-level=error", "--logger=zap",
            # Else the API server's cache of a kind that nobody writes stays behind, and who lists it as of now (a
            # restarted controller, kubelet, operator) waits for most of a minute. A variable: newer ones ask for it
            # themselves, and know the flag no more.
            ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL="1s",
        ).start(lambda: answers(f"{store}/health"))  # fmt: skip
        return store

    def _start_api_server(self, store: str) -> None:
        pki, tokens = self._authority, self.directory / "tokens"
        tokens.write_text(
            "".join(
                f'{self._tokens[user]},{user},{user},"{group}"\n' for user, group in USERS.items()
            )
        )
        self._api_server = self._launch(
            binaries("kube-apiserver")["kube-apiserver"],
            f"--etcd-servers={store}", f"--bind-address={self._address}", f"--advertise-address={self._address}",
            f"--secure-port={self.server.rpartition(':')[2]}", "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={self._services}", "--kubelet-preferred-address-types=InternalIP",
            f"--tls-cert-file={pki.server_certificate}", f"--tls-private-key-file={pki.server_key}",
            f"--token-auth-file={tokens}", "--authorization-mode=RBAC", f"--service-account-issuer={self.server}",
            f"--service-account-key-file={pki.accounts_key}",
            f"--service-account-signing-key-file={pki.accounts_key}",
        )  # fmt: skip
        self._api_server.start(self._is_ready)

    def _start_component(self, name: str, *arguments: str) -> None:
        port = free_port()
        self._launch(
            binaries(name)[name],
            f"--kubeconfig={self._kubeconfig(f'system:{name}')}", "--leader-elect=false",
            "--bind-address=127.0.0.1", f"--secure-port={port}",
            f"--cert-dir={self.directory / f'{name}-pki'}", *arguments,
        ).start(lambda: answers(f"https://127.0.0.1:{port}/healthz"))  # fmt: skip

    def _launch(self, program: str | Path, *arguments: str, **environment: str) -> Daemon:
        # Listed before it is started: what fails to become ready is stopped too.
        self._daemons.append(Daemon(self.directory, program, *arguments, **environment))
        return self._daemons[-1]

    def _is_ready(self) -> bool:
        return answers(f"{self.server}/readyz", self._tokens[ADMIN], self._authority.certificate)

    def _kubeconfig(self, user: str) -> Path:
        return self.config if user == ADMIN else self.directory / f"{user}.kubeconfig"

    def _as(self, user: str) -> dict[str, Any]:
        return kubeconfig(self.server, self._authority.certificate, self._tokens[user])


ADMIN = "admin"
#: Users with the groups that they are in. What the components may do, RBAC's own roles say.
USERS = {
    ADMIN: "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
}


def kubeconfig(
    server: str, authority: Path, token: str, namespace: str = "default"
) -> dict[str, Any]:
    """What a client needs to know, as kubectl and Python's client read it."""
    certificate = base64.b64encode(authority.read_bytes()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [
            {
                "name": "test",
                "cluster": {"server": server, "certificate-authority-data": certificate},
            }
        ],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [
            {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}
        ],
    }


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
