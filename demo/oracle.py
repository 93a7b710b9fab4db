"""The road from Oracle, as far as one can be shown without it: from a server that speaks its protocol.

That server belongs to the tests, so their directory must be on the path: `make demo SOURCE=oracle` sees to that.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from demo import claims
from demo.checker import Counts, Verdict
from demo.control import Control, RoadBlocked
from demo.probe import Probe, Sample
from demo.record import Record, Recorder, read
from demo.report import Window, outcomes
from demo.road import Options, Road, active_stream
from demo.servers import Server
from demo.view import Scene
from demo.workload import FENCED
from soak.oracle import OracleSetting
from soak.places import Place
from soak.writers import Crowd, Shared

STAND_IN = (
    "No Oracle is here. A server that stands in for it, written in Python, speaks its wire protocol to the real"
    " python-oracledb driver, and tells its redo as LogMiner does: with late, lost, split and misleading rows."
    " How fast this is says nothing about Oracle."
)
WRITERS = 2
#: Transactions a second that there must have been in each phase: that server is slow.
LEAST_RATE = 3.0
PROBE_SECONDS = 0.5


class LedgerProbe(Probe):
    """Asks one side for its ledger."""

    def __init__(self, place: Place) -> None:
        self._place = place
        super().__init__("", WRITERS)

    def _run(self) -> None:
        while not self._stop.wait(PROBE_SECONDS):
            at = time.time()
            newest = dict.fromkeys(range(1, self._writers + 1), 0)
            for writer, n in self._place.ledger():
                if writer in newest:
                    newest[writer] = max(n, newest[writer])
            self.samples.append(Sample(at, newest))


class OracleRoad(Road):
    """The same stages, with the tests' shop at both sides."""

    def __init__(self, options: Options, directory: Path, target: Server, scene: Scene) -> None:
        super().__init__(
            replace(options, writers=WRITERS, least_rate=LEAST_RATE),
            directory,
            target,
            target,
            scene,
        )

    def go(self) -> None:
        control = self.prepare()
        schemas = self.setting.schemas()
        recorder = Recorder(self.record_file)
        shared = Shared(recorder, pause=WRITERS / self.options.rate)
        self.crowd = Crowd(
            shared, [self.setting.writer(shared, number + 1) for number in range(WRITERS)]
        )
        self.begin("replicate, and start the writers")
        control.start()
        control.phase("Replicate")
        self.crowd.start()
        started = time.monotonic()
        control.wait("phase=Streaming", 150)
        self.setting.came_to("Prepared")
        self.report.copy_seconds = time.monotonic() - started
        self.load(control, "Streaming", "source")
        self.switch(control, "Cutover", "FallbackStreaming", "target")
        self.switch(control, "Switchover", "SwitchedBack", "source")
        self.switch(control, "Cutover", "FallbackStreaming", "target", again=True)
        self.stop_writers()
        recorder.close()
        self.begin("compare every row")
        self.check_all(read(self.record_file))
        self.finish(control, schemas)

    def prepare(self) -> Control:
        """A stand-in and a server, both with the shop's tables, and users for the migration."""
        self.begin("start both servers, load the shop")
        self.target.start()
        self.setting = OracleSetting(1, self.target, random.Random(1))
        manifest = self.directory / "shop.yaml"
        manifest.touch(mode=0o600)
        manifest.write_text(self.setting.manifest(budget="60s"), encoding="utf-8")
        control = self.drive(manifest)
        self.control = control
        self.scene.status = lambda: control.status
        self.setting.prepare(control)
        self.setting.came_to("SchemaReady")
        self.report.types = self.setting.types()
        return control

    def stop_writers(self) -> None:
        if hasattr(self, "crowd"):
            self.crowd.stop()

    def load(self, control: Control, name: str, primary: str) -> None:
        """Let the writers work for a while, with the other side looked at from outside."""
        passive = self.setting.places["target" if primary == "source" else "source"]
        control.wait("condition=CaughtUp", 60)
        self.begin(f"{name}, under load")
        refused = passive.refusal()
        self.strays.seen = f"last answer: {refused or 'ok'}"
        if refused != FENCED:
            self.strays.wrong.append(f"at {name} it answered {refused or 'ok'}")
        window = Window(name, time.time(), 0.0)
        probe = LedgerProbe(passive)
        time.sleep(self.options.seconds)
        window.end = time.time()
        self.samples[name] = probe.stop()
        lag = active_stream(control.now()).get("lag") or {}
        window.p50, window.p99 = lag.get("p50"), lag.get("p99")
        self.report.windows.append(window)

    def check_all(self, record: Record) -> None:
        self.setting.came_to("Complete")  # no commit is dropped from here on
        self.wait_for_the_last_change()
        self.report.counts = [
            Counts(name, source, target)
            for name, (source, target) in self.setting.row_counts().items()
        ]
        self.measure(record)
        self.report.outcomes = outcomes(record)
        self.report.switches = record.switches()
        self.report.verdicts += [
            *self.setting.judge(
                record, ["source", "target", "source", "target"], servers_crashed=False
            ),
            self.strays,
            claims.fast_enough(self.report.windows, self.options.least_rate),
            self.adversities(),
        ]

    def adversities(self) -> Verdict:
        """How often the redo misbehaved."""
        fired = {name: times for name, times in self.setting.fired().items() if times}
        told = ", ".join(f"{name} {times}" for name, times in sorted(fired.items()))
        return Verdict("the redo log misbehaved", told, [] if fired else ["it never did"])

    def wait_for_the_last_change(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            one, other = (len(place.ledger()) for place in self.setting.places.values())
            if one == other:
                return
            time.sleep(0.3)

    def finish(self, control: Control, schemas: Mapping[str, list[str]]) -> None:
        """Complete, and look at what is left."""
        self.begin("complete")
        status = control.now()
        self.report.streams = status.get("streams", [])
        self.report.copied = sum(
            table.get("rows", 0) for table in (status.get("snapshot") or {}).get("tables", [])
        )
        control.phase("Complete")
        ended = control.end(seconds=90)
        if ended != 0:
            raise RoadBlocked(
                f"bowline run ended with {ended} at Complete: {', '.join(control.said)}"
            )
        self.report.left_behind = control.now().get("leftBehind", [])
        left = Verdict("both sides are as they were, and take writes")
        for side, place in self.setting.places.items():
            left.wrong += [f"{side}: {what}" for what in place.remains()]
            lines = sorted(set(schemas[side]) ^ set(place.schema()))
            left.wrong += [f"{side}: {line}" for line in lines[:3]]
            if refused := place.refusal():
                left.wrong.append(f"{side}: a write was refused with {refused}")
        self.report.verdicts.append(left)

    def end(self) -> None:
        """Give the stand-in back."""
        if hasattr(self, "setting"):
            self.setting.clean()
