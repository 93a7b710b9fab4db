"""Load: a stream under 2,000 changes a second for a minute, then ten cutovers in a row under that load.

`make bench-load`. What it claims is measured from outside: the lag by looking at the receiver for what the writers'
own ledger calls acknowledged, the fences by that ledger alone. The shop is a tenth of the demo's; the load is higher.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
from demo.control import Control, RoadBlocked
from demo.probe import delays, quantile
from demo.record import read
from demo.road import Options, Road, active_stream
from demo.servers import Server, find_binaries, wheel_binaries
from demo.view import Scene, View
from rich.console import Console

from demo import checker

CHANGES_PER_SECOND = 2000
LAG_P99_SECONDS = 1.0
FENCE_SECONDS = 10.0
SETTINGS = {"max_wal_size": "2GB", "shared_buffers": "256MB"}
#: Of load between two switches.
REST_SECONDS = 4.0
#: A backlog of half a second's changes is no backlog.
BACKLOG = CHANGES_PER_SECOND // 2

#: Request, phase, new primary; and so on, round and round.
TURNS = (("Cutover", "FallbackStreaming", "target"), ("Switchover", "SwitchedBack", "source"))


@dataclass
class Load(Road):
    """The demo's road with another middle."""

    switches: int = 10
    changes: int = 0
    seconds: float = 0.0
    backlog: list[int] = field(default_factory=list)

    def go(self) -> None:
        control = self.prepare()
        self.begin("replicate")
        control.start()
        control.wait("phase=Streaming", 150)
        self.start_writers()
        control.wait("condition=CaughtUp", 60)
        self.measure(control)
        self.options = replace(self.options, seconds=REST_SECONDS)
        for turn in range(self.switches):
            request, phase, primary = TURNS[turn % 2]
            self.switch(control, request, phase, primary, again=turn > 1)
        self.stop_writers()
        self.begin("compare every row")
        self.wait_for_the_last_change()
        self.judge()

    def measure(self, control: Control) -> None:
        """The minute under load; the stream's own counts say how many changes that was."""
        time.sleep(2)  # the writers reach their pace
        before, began = exported(control), time.monotonic()
        self.backlog.append(remaining(control))
        self.load(control, "Streaming", "source")
        self.changes, self.seconds = exported(control) - before, time.monotonic() - began
        self.backlog.append(remaining(control))

    def judge(self) -> None:
        record = read(self.record_file)
        ledgers = {
            side: checker.ledger_of(self.dsn(side, application=False)) for side in self.servers
        }
        rows, self.report.counts = checker.compare_rows(
            *(self.dsn(side, application=False) for side in self.servers)
        )
        for window in self.report.windows:
            window.transactions = record.between(window.start, window.end)
            window.delays = delays(self.samples[window.name], record)
        fences = [each.seconds for each in record.switches()]
        self.report.switches = record.switches()
        rate, lag = (
            self.changes / self.seconds,
            quantile(self.report.windows[0].delays, 0.99) or 0.0,
        )
        self.report.verdicts += [
            rows,
            *checker.check_record(record, ledgers),
            claim(
                f"at least {CHANGES_PER_SECOND} changes a second for {self.seconds:.0f} s",
                f"{rate:.0f} a second",
                rate >= CHANGES_PER_SECOND,
            ),
            claim(
                f"lag p99 at most {LAG_P99_SECONDS:g} s",
                f"{lag * 1000:.0f} ms",
                lag <= LAG_P99_SECONDS,
            ),
            claim(
                "the backlog does not grow",
                f"{self.backlog[0]} changes at first, {self.backlog[1]} at the end",
                self.backlog[1] <= self.backlog[0] + BACKLOG,
            ),
            claim(
                f"{self.switches} switches in a row, each fence at most {FENCE_SECONDS:g} s",
                ", ".join(f"{each:.2f}" for each in fences),
                len(fences) == self.switches and max(fences) <= FENCE_SECONDS,
            ),
        ]


def claim(text: str, seen: str, holds: bool) -> checker.Verdict:
    return checker.Verdict(text, seen, [] if holds else [seen])


def exported(control: Control) -> int:
    return int((active_stream(control.now()).get("exported") or {}).get("total", 0))


def remaining(control: Control) -> int:
    return int(active_stream(control.now()).get("remaining") or 0)


@click.command()
@click.option("--scale", default=0.1, show_default=True, help="Rows, in millions.")
@click.option("--seconds", default=60.0, show_default=True, help="Load before the first switch.")
@click.option("--rate", default=900.0, show_default=True, help="Transactions a second to try for.")
@click.option("--switches", default=10, show_default=True)
def main(scale: float, seconds: float, rate: float, switches: int) -> None:
    """Measure lag under load, and fences; exit 0 only if every claim holds."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=120)
    directory = Path(tempfile.mkdtemp(prefix="bowline-load-"))
    binaries, scene = wheel_binaries() or find_binaries(), Scene()
    source, target = (Server(binaries=binaries, fsync=True, settings=SETTINGS) for _ in range(2))
    road = Load(
        Options(scale=scale, seconds=seconds, rate=rate),
        directory,
        source,
        target,
        scene,
        switches=switches,
    )
    try:
        with View(console, scene):
            road.go()
    except RoadBlocked as error:
        road.report.failure = f"{error}\n{chr(10).join(road.control.said if road.control else [])}"
    finally:
        scene.end()
        road.stop_writers()
        if road.control is not None:
            road.control.stop()
        for server in (source, target):
            server.destroy()
    for verdict in road.report.verdicts:
        console.print(
            f"{'held ' if verdict.held else 'BROKE'} {verdict.claim} ({verdict.seen})",
            highlight=False,
        )
    if road.report.failure:
        console.print(road.report.failure, markup=False)
    if road.report.held:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        console.print(f"logs are in {directory}")
    sys.exit(0 if road.report.held else 1)


if __name__ == "__main__":
    main()
