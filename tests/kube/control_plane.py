"""A Kubernetes control plane on loopback: etcd and a real kube-apiserver, for a test session.

Binaries come from KUBEBUILDER_ASSETS (envtest's convention); else kube-apiserver and kubectl are built from the Go
module beside this file, once, into a cache that its sums name. etcd is the distribution's.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).parent / "tools"
VERSION = "v1.36.3"
READY_SECONDS = 120


class NoControlPlane(Exception):
    """Something is missing, or did not start; the message says what to do."""


def binaries() -> Path:
    """The directory with kube-apiserver and kubectl; builds them where there is none (some minutes)."""
    if asked := os.environ.get("KUBEBUILDER_ASSETS"):
        return Path(asked)
    sums = b"".join((TOOLS / name).read_bytes() for name in ("go.mod", "go.sum"))
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    place = cache / "bowline" / "kube" / hashlib.sha256(sums).hexdigest()[:16]
    if all((place / name).exists() for name in ("kube-apiserver", "kubectl")):
        return place
    if shutil.which("go") is None:
        raise NoControlPlane("no kube-apiserver: set KUBEBUILDER_ASSETS, or install Go to build it")
    print(f"building Kubernetes {VERSION} into {place}: some minutes, once", flush=True)
    major, minor = VERSION.lstrip("v").split(".")[:2]
    version = "k8s.io/component-base/version"
    flags = f"-s -w -X {version}.gitVersion={VERSION} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    done = subprocess.run(
        ["go", "build", "-C", str(TOOLS), "-trimpath", "-o", f"{part}/", "-ldflags", flags, "tool"],
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
        check=False,
    )
    if done.returncode:
        shutil.rmtree(part)
        raise NoControlPlane("`go build` of the control plane failed: see above")
    shutil.rmtree(place, ignore_errors=True)
    part.rename(place)
    return place


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ControlPlane:
    """An API server with an empty store. `kubectl` speaks to it as an administrator."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._binaries = binaries()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.config = directory / "kubeconfig"

    def start(self) -> ControlPlane:
        etcd = shutil.which("etcd", path=str(self._binaries)) or shutil.which("etcd")
        if etcd is None:
            raise NoControlPlane("no etcd: install the package `etcd-server`")
        store, token = f"http://127.0.0.1:{free_port()}", secrets.token_hex(16)
        peer = f"http://127.0.0.1:{free_port()}"
        self._launch(
            etcd,
            f"--data-dir={self.directory / 'etcd'}", f"--listen-client-urls={store}",
            f"--advertise-client-urls={store}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync=true", "--log-level=error", "--logger=zap",
        )  # fmt: skip
        self._wait(f"{store}/health")
        key, port = self.directory / "sa.key", free_port()
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "RSA", "-out", key],
            check=True,
            capture_output=True,
        )
        (self.directory / "tokens").write_text(f'{token},admin,admin,"system:masters"\n')
        server = f"https://127.0.0.1:{port}"
        # It makes its own certificate, which is its own authority.
        self._launch(
            str(self._binaries / "kube-apiserver"),
            f"--etcd-servers={store}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
            f"--secure-port={port}", f"--cert-dir={self.directory / 'pki'}", "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16", f"--token-auth-file={self.directory / 'tokens'}",
            "--authorization-mode=RBAC", f"--service-account-issuer={server}", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
        )  # fmt: skip
        self._wait(f"{server}/readyz", token)
        self.config.write_text(json.dumps(kubeconfig(server, token)))
        return self

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kubectl(self, *words: str, given: object = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl; `given` goes to its standard input as JSON."""
        return subprocess.run(
            [str(self._binaries / "kubectl"), f"--kubeconfig={self.config}", *words],
            input=None if given is None else json.dumps(given),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def get(self, *words: str) -> Any:
        """What kubectl prints as JSON."""
        done = self.kubectl("get", *words, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def _launch(self, program: str, *arguments: str) -> None:
        with (self.directory / f"{Path(program).name}.log").open("wb") as log:
            process = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        self._processes.append(process)

    def _wait(self, url: str, token: str = "") -> None:
        """Wait until the process that was launched last answers."""
        process, until = self._processes[-1], time.monotonic() + READY_SECONDS
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        context = ssl._create_unverified_context()
        while process.poll() is None and time.monotonic() < until:
            try:
                with urllib.request.urlopen(request, timeout=2, context=context):
                    return
            except OSError:
                time.sleep(0.1)
        raise NoControlPlane(f"{process.args!r} is not ready: see the logs in {self.directory}")


def kubeconfig(server: str, token: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [
            {"name": "test", "cluster": {"server": server, "insecure-skip-tls-verify": True}}
        ],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
    }
