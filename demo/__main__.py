"""`python -m demo`: the whole road on two embedded servers, its report, and an exit code that means it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from demo.control import RoadBlocked
from demo.report import show
from demo.road import Options, Road
from demo.servers import NoServer, Server, find_binaries, wheel_binaries
from demo.view import Scene, View

#: Of the report, where no terminal says how wide it is.
LINE_WIDTH = 120
#: Transactions a second that the writers try for.
RATES = {"postgresql": 620.0, "oracle": 15.0}
SETTINGS = {"max_wal_size": "2GB", "shared_buffers": "256MB"}


@click.command()
@click.option("--scale", default=1.0, show_default=True, help="Rows, in millions.")
@click.option("--seconds", default=9.0, show_default=True, help="Load in each streaming phase.")
@click.option("--rate", type=float, help="Transactions a second to try for: 620, or 15 of oracle.")
@click.option(
    "--source",
    type=click.Choice(["postgresql", "oracle"]),
    default="postgresql",
    show_default=True,
    help="What is migrated. oracle: a server that stands in for it; it needs the tests' directory.",
)
def main(scale: float, seconds: float, rate: float | None, source: str) -> None:
    """Take a live database to another server and back, and check every row.

    KEEP=1 in the environment leaves both servers running and says how to reach them.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # children are ended in order
    keep = os.environ.get("KEEP", "") not in ("", "0")
    console = Console()
    if not console.is_terminal:
        console = Console(width=LINE_WIDTH)
    directory = Path(tempfile.mkdtemp(prefix="bowline-demo-"))
    scene = Scene()
    binaries = wheel_binaries() or find_binaries()
    console.print(f"servers: {binaries}; files: {directory}", highlight=False, soft_wrap=True)
    servers: list[Server] = []
    held = finished = False
    try:
        target = Server(binaries=binaries, fsync=True, keep=keep, settings=SETTINGS)
        servers.append(target)
        options = Options(scale=scale, seconds=seconds, rate=rate or RATES[source])
        if source == "oracle":
            road = from_oracle(console, options, directory, target, scene)
        else:
            old = Server(binaries=binaries, fsync=True, keep=keep, settings=SETTINGS)
            servers.append(old)
            road = Road(options, directory, old, target, scene)
        with View(console, scene):
            walk(road)
        road.report.seconds = time.monotonic() - scene.started
        show(console, road.report)
        held, finished = road.report.held, True
        if keep and source == "postgresql":
            tell_what_is_kept(console, road)
    except NoServer as error:
        console.print(str(error), style="red", markup=False)
    finally:
        if not (keep and finished):
            for server in servers:
                server.destroy()
        if held and not keep:
            shutil.rmtree(directory, ignore_errors=True)
        elif not held:
            console.print(f"logs are in {directory}", highlight=False, soft_wrap=True)
    sys.exit(0 if held else 1)


def from_oracle(
    console: Console, options: Options, directory: Path, target: Server, scene: Scene
) -> Road:
    """The road from the stand-in, and in plain words what that is."""
    try:
        from demo.oracle import STAND_IN, OracleRoad
    except ModuleNotFoundError as error:
        raise NoServer(
            f"{error}: the stand-in for Oracle is in the directory tests; use make demo SOURCE=oracle"
        ) from None
    console.print(STAND_IN, style="bold", highlight=False)
    return OracleRoad(options, directory, target, scene)


def walk(road: Road) -> None:
    """Go the road; whatever stops it is in the report, with what was seen until then."""
    try:
        road.go()
    except RoadBlocked as error:
        said = "\n  ".join(road.control.said if road.control else [])
        road.report.failure = f"{error}\n  {said}"
    finally:
        road.scene.end()
        road.stop_writers()
        if road.control is not None:
            road.control.stop()
        road.end()


def tell_what_is_kept(console: Console, road: Road) -> None:
    """Everything that somebody with psql needs to check the claim."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say("\nKept, since KEEP is set:")
    for side, server in road.servers.items():
        say(f"  {side}: psql {server.dsn('shop')!r}")
        say(f"          stop it: kill -INT {server.pid}; rm -r {server.directory}")
    say(f"  the writers' ledger, one JSON array a line (see demo/record.py): {road.record_file}")
    say(f"  manifest, journal and logs: {road.directory}")


if __name__ == "__main__":
    main()
