"""From a commit at the source to its row on the target, under one steady load; and what the stream costs the source.

A probe commits a row every few milliseconds at the source, and another session looks for it on the target all the
time. Both are the same for each contender, as is pgbench's load beside them.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench import peers
from bench.apply import copy_by_dump
from bench.arena import create, uri, wait_for
from bench.figures import OURS, Bar, Result, quantile
from bench.loads import Load, achieved, loads
from bench.product import Product
from bench.rounds import Setting, compete
from servers import Database

BAR = Bar(2.5, 1.5, less_is_better=True)
#: At most a tenth is lost.
LOSS = Bar(0.9, 0.9)
#: Transactions a second, of four changes each.
RATE = 400
SECONDS = 6.0
CLOSED_SECONDS = 3.0
PROBE_SECONDS = 0.010
LOOK_SECONDS = 0.0005
ALONE = "without migration"
#: What native replication does unless told otherwise; no other contender commits like that.
ASIDE = "native, asynchronous commit"


@dataclass
class Probe:
    """Rows with numbers: when each was committed, and when the other side showed it."""

    source: Database
    target: Database
    committed: dict[int, float] = field(default_factory=dict)
    lags: list[float] = field(default_factory=list)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        stop = threading.Event()
        first = self.source.value("select coalesce(max(id), 0) from probe") + 1
        threads = [
            threading.Thread(target=self._write, args=(stop, first)),
            threading.Thread(target=self._look, args=(stop, first)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _write(self, stop: threading.Event, number: int) -> None:
        with self.source.connect() as connection:
            while not stop.wait(PROBE_SECONDS):
                connection.execute("insert into probe values (%s)", [number])
                self.committed[number] = time.monotonic()
                number += 1

    def _look(self, stop: threading.Event, waiting: int) -> None:
        with self.target.connect() as connection:
            while not stop.wait(LOOK_SECONDS):
                found = connection.execute("select coalesce(max(id), 0) from probe").fetchone()
                now, newest = time.monotonic(), int(found[0]) if found else 0
                while waiting <= newest:
                    # Seen before the writer's thread had its reply: it took less than the look.
                    self.lags.append(max(0.0, now - self.committed.get(waiting, now)))
                    waiting += 1


class Steady:
    """A source under load, and two targets that follow it in turns."""

    def __init__(self, setting: Setting) -> None:
        arena = setting.arena
        self.directory = setting.directory
        self.load: Load = loads(setting.size)["tpcb"]
        self.seconds = max(2.0, SECONDS * min(1.0, setting.size))
        self.source = create(arena.source, "l_source")
        self.load.prepare(self.source, self.directory)
        self.source.run("create table probe (id bigint primary key)")
        self.native = create(arena.target, "l_native")
        copy_by_dump(self.source, self.native, self.directory)
        peers.publish(self.source)
        self.target = create(arena.target, "l_bowline")
        self.product = Product.between(arena, self.source, self.target)
        self.product.prepare()
        # Further from here on: what the first round brings is read by each before it is measured.
        self.slot = peers.make_slot(self.source, "peer_lag", like=self.product.slot)
        self.p99 = Result(name="lag p99", unit="ms", bar=BAR, aside=frozenset([ASIDE]))
        self.steady = Result(
            name="source at steady load",
            unit="transactions/s",
            bar=LOSS,
            aside=frozenset([ASIDE, "native"]),
        )
        self.closed = Result(name="source, one client in a closed loop", unit="transactions/s")
        self.closed.notes.append(
            "No floor: source, target, workers and client have this machine's cores between them."
        )

    def run(self, name: str, target: Database | None) -> float | None:
        """One turn, with the stream running; returns p50 in ms, if there is a target."""
        words = [*self.load.command(self.directory), "--client=2", "--jobs=2", f"--rate={RATE}"]
        seconds = self.seconds + 2
        pgbench = self._pgbench(*words, f"--time={seconds:.0f}")
        p50 = None
        try:
            time.sleep(1.5)  # pgbench reaches its pace
            if target is None:
                time.sleep(self.seconds)
            else:
                probe = Probe(self.source, target)
                with probe.at_work():
                    time.sleep(self.seconds)
                if not probe.lags:
                    raise AssertionError(f"{name}: nothing arrived in {self.seconds:g} s")
                p50 = quantile(probe.lags, 0.5) * 1000
                self.p99.add(name, quantile(probe.lags, 0.99) * 1000)
            output, _ = pgbench.communicate(timeout=60)
        finally:
            pgbench.kill()
            pgbench.wait()
        self.steady.add(name, achieved(output))
        closed = self._pgbench(
            *self.load.command(self.directory), "--client=1", f"--time={CLOSED_SECONDS:.0f}"
        )
        self.closed.add(name, achieved(closed.communicate(timeout=60)[0]))
        return p50

    def _pgbench(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [peers.program("pgbench"), *words, uri(self.source)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def _caught_up(self, target: Database) -> None:
        number = self.source.value(
            "insert into probe select coalesce(max(id), 0) + 1 from probe returning id"
        )
        wait_for(
            "the stream is caught up",
            lambda: target.value("select coalesce(max(id), 0) from probe") >= number,
            120,
        )

    def bowline(self) -> float | None:
        with self.product.capturing(), self.product.applying():
            self._caught_up(self.target)
            return self.run(OURS, self.target)

    def peer(self, native: peers.Subscription, name: str, commit: str) -> float | None:
        self.native.run(f"alter subscription {native.name} set (synchronous_commit = '{commit}')")
        native.enable()
        try:
            self._caught_up(self.native)
            return self.run(name, self.native)
        finally:
            native.disable()

    def close(self) -> None:
        self.product.close()
        self.source.server.drop_database(self.source.name)
        for target in (self.target, self.native):
            target.server.drop_database(target.name)


def measure(setting: Setting) -> None:
    p50 = Result(name="lag p50", unit="ms", bar=BAR, aside=frozenset([ASIDE]))
    p50.notes.append(
        f"{RATE} transactions a second, four changes each; a probe every {PROBE_SECONDS * 1000:g} ms."
    )
    with setting.part(p50):
        steady = Steady(setting)
        setting.results += [steady.p99, steady.steady, steady.closed]
        try:
            with peers.subscription(
                steady.source, steady.native, steady.slot, binary=False
            ) as native:
                turns = {
                    OURS: steady.bowline,
                    "native": lambda: steady.peer(native, "native", "on"),
                    ASIDE: lambda: steady.peer(native, ASIDE, "off"),
                    ALONE: lambda: steady.run(ALONE, None),
                }
                compete(setting, p50, turns)
            if p50.failure:
                steady.p99.failure = steady.steady.failure = p50.failure
        except Exception as error:
            steady.p99.failure = steady.steady.failure = f"{error}"
            raise
        finally:
            steady.close()
