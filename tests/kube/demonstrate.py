"""`make demo-kubernetes`: the demo's migration as a resource of a cluster, driven by kubectl, checked row by row.

The cluster is this machine's own: a control plane, and a node that runs the image built here. Needs root.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
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
from kube.binaries import NoControlPlane
from kube.cluster_road import ClusterRoad, Installation, server
from kube.node import ADDRESS, Node

NAMESPACE = "demo"
LINE_WIDTH = 120


@click.command()
@click.option("--scale", default=0.3, show_default=True, help="Rows, in millions.")
@click.option("--seconds", default=9.0, show_default=True, help="Load in each streaming phase.")
@click.option("--rate", default=300.0, show_default=True, help="Transactions a second to try for.")
@click.option("--pods", default=1, show_default=True, help="Pods that copy the first rows.")
def main(scale: float, seconds: float, rate: float, pods: int) -> None:
    """Take a live database to another server and back, by a DatabaseMigration in a cluster."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if sys.stdout.isatty() else LINE_WIDTH)
    directory = Path(tempfile.mkdtemp(prefix="bowline-demo-"))
    options = Options(scale=scale, seconds=seconds, writers=4, rate=rate, least_rate=rate / 2)
    servers: list[Server] = []
    held = False

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    try:
        say("building the image, unless it is there")
        archive = image.archive()
        say("starting a control plane and a node")
        node = Node()
        try:
            node.start()
            node.import_image(archive)
            say("helm install bowline charts/bowline")
            installation = Installation(node, NAMESPACE).install()
            source, target = server(), server()
            servers += [source, target]
            road = ClusterRoad(
                options, directory, source, target, Scene(),
                host=ADDRESS, driver=partial(installation.control, tell=say),
                pods=pods, blow=lambda phase: say(f"{phase}: the writers are at work"),
            )  # fmt: skip
            walk(road)
            show(console, road.report)
            held = road.report.held
            if not held:
                say(installation.log())
        finally:
            node.stop()
    except NoControlPlane as error:
        say(str(error))
    finally:
        for each in servers:
            each.destroy()
        if held:
            shutil.rmtree(directory, ignore_errors=True)
    sys.exit(0 if held else 1)


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
