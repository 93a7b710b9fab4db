"""`make demo-kubernetes`: the demo's migration as a resource of a cluster, driven by kubectl, checked row by row.

Without KUBECONFIG the cluster is this machine's own: a control plane, and a node that runs the image built here; that
needs root. With it, it is the one that it names: there the image must be to be had, and --host must lead to this
machine from its pods, for the two databases run here.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import click
from demo.control import RoadBlocked
from demo.report import show
from demo.road import Options
from demo.servers import Server
from demo.view import Scene
from rich.console import Console

from kube import image
from kube.binaries import NoControlPlane, distribution
from kube.cluster_road import ClusterRoad, Installation, provide_journal
from kube.kubectl import Kubectl
from kube.node import ADDRESS, PODS, Node

NAMESPACE = "bowline-demo"
LINE_WIDTH = 120
CRD = "crd/databasemigrations.bowline.dev"

Say = Callable[[str], None]


@click.command()
@click.option("--scale", default=0.3, show_default=True, help="Rows, in millions.")
@click.option("--seconds", default=9.0, show_default=True, help="Load in each streaming phase.")
@click.option("--rate", default=300.0, show_default=True, help="Transactions a second to try for.")
@click.option("--pods", default=1, show_default=True, help="Pods that copy the first rows.")
@click.option("--kubeconfig", type=click.Path(exists=True, path_type=Path), envvar="KUBECONFIG", show_envvar=True,
              help="A cluster to go to; none: make one on this machine.")  # fmt: skip
@click.option("--image", "name", help="There: the image, as NAME:TAG; `make image` makes it.")
@click.option(
    "--pull-policy", default="IfNotPresent", show_default=True, help="There: the image's."
)
@click.option("--host", help="There: the address of this machine at which its pods reach it.")
@click.option("--network", default="0.0.0.0/0", show_default=True,
              help="There: where its pods come from; no other client is let in.")  # fmt: skip
def main(
    scale: float,
    seconds: float,
    rate: float,
    pods: int,
    kubeconfig: Path | None,
    name: str | None,
    pull_policy: str,
    host: str | None,
    network: str,
) -> None:
    """Take a live database to another server and back, by a DatabaseMigration in a cluster."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if sys.stdout.isatty() else LINE_WIDTH)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    options = Options(scale=scale, seconds=seconds, writers=4, rate=rate, least_rate=rate / 2)
    held = False
    try:
        with ExitStack() as undo:
            if kubeconfig is None:
                host, network = ADDRESS, PODS
                installation = undo.enter_context(own_cluster(say))
            else:
                if name is None or host is None:
                    raise click.UsageError(
                        f"KUBECONFIG names a cluster ({kubeconfig}): say with --image and --host how to use"
                        " it, or unset it for a cluster of this machine's own"
                    )
                _tagged(name)
                cluster = Kubectl(distribution("kubectl", "kubernetes-client"), kubeconfig)
                there = existing_cluster(cluster, name, pull_policy, say)
                installation = undo.enter_context(there)
            source, target = (Server(address=host, network=network) for _ in range(2))
            undo.callback(source.destroy)
            undo.callback(target.destroy)
            directory = Path(tempfile.mkdtemp(prefix="bowline-demo-"))
            road = ClusterRoad(
                options, directory, source, target, Scene(),
                host=host, driver=partial(installation.control, tell=say),
                pods=pods, blow=lambda phase: say(f"{phase}: the writers are at work"),
            )  # fmt: skip
            walk(road)
            show(console, road.report)
            held = road.report.held
            if held:
                shutil.rmtree(directory, ignore_errors=True)
            else:
                say(installation.log())
    except NoControlPlane as error:
        say(str(error))
    sys.exit(0 if held else 1)


def _tagged(name: str) -> None:
    if ":" not in name.rpartition("/")[2]:
        raise click.UsageError(f"--image {name} has no tag: name it as NAME:TAG")


@contextmanager
def own_cluster(say: Say) -> Iterator[Installation]:
    """A control plane and a node on this machine, with the image built here; nothing of it stays."""
    say("building the image, unless it is there")
    archive = image.archive()
    say(
        "starting a control plane and a node (where Kubernetes' programs must be built first: some minutes)"
    )
    node = Node()
    try:
        node.start()
        node.import_image(archive)
        provide_journal(node)
        say("helm install bowline charts/bowline")
        yield Installation(node.cluster, NAMESPACE).install()
    finally:
        node.stop()


@contextmanager
def existing_cluster(
    cluster: Kubectl, image_name: str, pull_policy: str, say: Say
) -> Iterator[Installation]:
    """Bowline in a namespace of its own; the namespace goes in the end, the resource's definition stays."""
    version = cluster.kubectl("version")
    if version.returncode:
        raise NoControlPlane(f"{cluster.config}: {version.stderr.strip()}")
    context = cluster.kubectl("config", "current-context").stdout.strip()
    known = cluster.kubectl("get", CRD).returncode == 0
    namespace = f"{NAMESPACE}-{secrets.token_hex(3)}"
    say(f"helm install bowline charts/bowline --namespace {namespace} (in {context})")
    values = {"crds": {"enabled": not known, "keep": True}, "watch": {"namespaces": [namespace]}}
    installation = Installation(cluster, namespace, image_name, pull_policy, values)
    try:
        yield installation.install()
    finally:
        installation.uninstall()
        say(
            f"{context} has no Bowline and no {namespace} any more"
            + ("" if known else f"; {CRD} stays")
        )


def walk(road: ClusterRoad) -> None:
    """Go the road; whatever stops it is in the report."""
    try:
        road.go()
    except RoadBlocked as error:
        road.report.failure = str(error)
    finally:
        road.scene.end()
        road.stop_writers()
        if road.control is not None:
            road.control.stop()
    road.report.seconds = time.monotonic() - road.scene.started


if __name__ == "__main__":
    main()
