"""Capture from a backlog into a durable journal, against pg_recvlogical writing the same stream to a file."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress

from bench import peers
from bench.arena import cpu_seconds, create, peak_mib, uri, wait_for, wal_position
from bench.backlog import changes_in, last_transaction
from bench.figures import OURS, Bar, Result
from bench.loads import Load, loads
from bench.product import Product
from bench.rounds import Extra, Setting, compete

BAR = Bar(0.8, 1.0)
LOADS = ("tpcb", "inserts")
SECONDS = 300.0


class Stream:
    """A backlog in the source's log, and slots that stand before it."""

    def __init__(self, setting: Setting, load: Load) -> None:
        arena = setting.arena
        self.directory = setting.directory
        self.load = load
        self.cpu: list[float] = []
        self.peak: list[float] = []
        self.source = create(arena.source, f"c_{load.name}")
        self.target = create(arena.target, f"c_{load.name}")
        load.prepare(self.source, setting.directory)
        peers.publish(self.source)
        self.product = Product.between(arena, self.source, self.target)
        self.product.prepare()
        self.slot = peers.make_slot(self.source, f"peer_{load.name}", like=self.product.slot)
        self.empty = self.product.keep_journal("journal-empty")
        load.make_backlog(self.source, setting.directory)
        self.position = wal_position(self.source)
        last_transaction(self.source)
        self.events = 1

    def bowline(self) -> float:
        """From the moment at which the slot is read to the moment at which the journal has all of it."""
        self.product.take_journal(self.empty)
        peers.drop_slot(self.source, self.product.slot)
        peers.make_slot(self.source, self.product.slot, like=self.slot)
        with self.product.capturing() as worker, self.source.connect() as look:
            start = wait_for(
                "capture reads the slot", lambda: peers.is_read(look, self.product.slot), 60
            )
            before = cpu_seconds(worker.process.pid)

            def reached() -> bool:
                self.product.check(worker)
                return self.product.journal_end()[1] > self.position

            seconds = wait_for("the journal has the backlog", reached, SECONDS, 0.01) - start
            self.cpu.append(cpu_seconds(worker.process.pid) - before)
            self.peak.append(peak_mib(worker.process.pid))
        self.events = changes_in(self.product)
        return self.events / seconds

    def recvlogical(self) -> float:
        slot = peers.make_slot(self.source, "recvlogical", like=self.slot)
        file = self.directory / "recvlogical"
        end = f"{self.position >> 32:X}/{self.position & 0xFFFFFFFF:X}"
        command = [peers.program("pg_recvlogical"), f"--dbname={uri(self.source)}", "--slot", slot]
        command += ["--start", "--no-loop", f"--endpos={end}", "--file", str(file)]
        command += ["-o", "proto_version=1", "-o", f"publication_names={peers.PUBLICATION}"]
        with self.source.connect() as look:
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            try:
                start = wait_for(
                    "pg_recvlogical reads the slot", lambda: peers.is_read(look, slot), 60
                )
                _, said = process.communicate(timeout=SECONDS)
                seconds = time.monotonic() - start
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                process.wait()
        if process.returncode:
            raise RuntimeError(f"pg_recvlogical: {said[-1000:]}")
        file.unlink()
        peers.drop_slot(self.source, slot)
        return self.events / seconds

    def close(self) -> None:
        self.product.close()
        self.source.server.drop_database(self.source.name)
        self.target.server.drop_database(self.target.name)


def measure(setting: Setting) -> None:
    costs = Extra(
        title="Capture's process",
        columns=("workload", "changes", "CPU, microseconds a change", "peak memory, MiB"),
    )
    setting.tables.append(costs)
    for name in LOADS:
        if not setting.wants("capture", name):
            continue
        with setting.part(Result(name=f"capture: {name}", unit="changes/s", bar=BAR)) as result:
            stream = Stream(setting, loads(setting.size)[name])
            try:
                # Ours first: how many changes there are is counted in its journal.
                stream.bowline()
                stream.cpu.clear()
                compete(
                    setting, result, {OURS: stream.bowline, "pg_recvlogical": stream.recvlogical}
                )
                micro = sorted(stream.cpu)[len(stream.cpu) // 2] / stream.events * 1e6
                costs.rows.append(
                    (name, f"{stream.events:,}", f"{micro:.1f}", f"{max(stream.peak):.0f}")
                )
            finally:
                stream.close()
