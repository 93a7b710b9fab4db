"""The whole migration of pgbench's tables under load, by `bowline run`, against `pgcopydb clone --follow`.

Done is what a watcher sees from outside, by the same rule for both: the target shows a row that the source committed
less than two seconds ago, three such rows in a row, so that a copy's own row does not count. All indexes are there by
then in both.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import psycopg
from demo.control import Control

from bench import peers
from bench.arena import Late, copy, create, uri
from bench.figures import OURS, Bar, Result
from bench.loads import TPCB, Load
from bench.rounds import Setting, compete
from servers import MIGRATOR, Database

BAR = Bar(1.1, 1.5)
SCALE = 100
#: Transactions a second, of four changes each.
RATE = 200
SECONDS = 240.0
FRESH_SECONDS = 2.0
FRESH_ROWS = 3
#: For a peer behind its copy: 0.10 stops at errors of its own under load, and would never be done.
PATIENCE_SECONDS = 15.0
PULSE_SECONDS = 0.1
LOOK_SECONDS = 0.1
INDEXES = 3

MANIFEST = """apiVersion: bowline.dev/v1alpha1
kind: DatabaseMigration
metadata: {{name: bench}}
spec:
  phase: Replicate
  source:
    engine: PostgreSQL
    host: 127.0.0.1
    port: {source.server.port}
    database: {source.name}
    tls: {{mode: disable}}
    credentialsSecretRef: {{name: source}}
  target:
    engine: PostgreSQL
    host: 127.0.0.1
    port: {target.server.port}
    database: {target.name}
    tls: {{mode: disable}}
    credentialsSecretRef: {{name: target}}
  tables: {{include: ["public.*"]}}
---
apiVersion: v1
kind: Secret
metadata: {{name: source}}
stringData: {{username: {user}, password: "{source.server.password}"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: target}}
stringData: {{username: {user}, password: "{target.server.password}"}}
"""


class Whole:
    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.scale = max(1, round(SCALE * setting.size))
        self.load = Load("tpcb", TPCB, self.scale, 0)
        self.late = 0  #: rounds of a peer that did not catch up
        template = create(setting.arena.source, "w_template")
        self.load.prepare(template, setting.directory)
        template.run(
            "create table pulse (id int primary key, at timestamptz not null)",
            "insert into pulse values (1, clock_timestamp())",
            "vacuum analyze",
        )

    def turn(
        self, migrate: Callable[[Database, Database, Path], Running], patience: float = SECONDS
    ) -> float:
        """Seconds from the start to the third fresh row.

        Where none comes within `patience` seconds behind the last index, to that index: it can't be caught up before.
        """
        source = copy(self.setting.arena.source, "w_template", "w_source")
        target = create(self.setting.arena.target, "w_target")
        directory = self.setting.directory / "migration"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        with self._load(source), pulsing(source):
            start = time.monotonic()
            running = migrate(source, target, directory)
            try:
                done = self._caught_up(target, running, patience)
            except BaseException:
                running.stop()
                raise
            running.finish()
        if (there := indexes(target)) != INDEXES:
            raise AssertionError(f"{there} of {INDEXES} indexes are there")
        self._forget()
        return done - start

    def _caught_up(self, target: Database, running: Running, patience: float) -> float:
        copied = time.monotonic() + SECONDS

        def check() -> None:
            nonlocal copied
            running.check()
            now = time.monotonic()
            if copied > now and indexes(target) == INDEXES:
                copied = now
            if now > copied + patience:
                raise Late("no fresh rows behind the copy")

        try:
            return until_fresh(target, check)
        except Late:
            if patience >= SECONDS:
                raise
            self.late += 1
            return copied

    @contextmanager
    def _load(self, source: Database) -> Iterator[None]:
        words = [*self.load.command(self.setting.directory), "--client=2", f"--rate={RATE}"]
        process = subprocess.Popen(
            [peers.program("pgbench"), *words, f"--time={SECONDS:.0f}", uri(source)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def _forget(self) -> None:
        arena = self.setting.arena
        arena.source.drop_database("w_source")
        arena.target.drop_database("w_target")
        with arena.target.connect() as connection:
            connection.execute(
                "select pg_replication_origin_drop(roname) from pg_replication_origin"
            )

    def close(self) -> None:
        self._forget()
        self.setting.arena.source.drop_database("w_template")


def indexes(target: Database) -> int:
    return int(
        target.value(
            "select count(*) from pg_index i join pg_class c on c.oid = i.indrelid "
            "where c.relname like 'pgbench%' and i.indisvalid"
        )
    )


@contextmanager
def pulsing(source: Database) -> Iterator[None]:
    stop = threading.Event()

    def pulse() -> None:
        with source.connect() as connection:
            while not stop.wait(PULSE_SECONDS):
                connection.execute("update pulse set at = clock_timestamp()")

    thread = threading.Thread(target=pulse)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def until_fresh(target: Database, check: Callable[[], None]) -> float:
    """The moment at which the target has shown so many fresh rows; there may be no table, nor anything, before."""
    end, seen = time.monotonic() + SECONDS, set[str]()
    while time.monotonic() < end:
        with suppress(psycopg.Error), target.connect() as connection:
            while time.monotonic() < end:
                row = connection.execute(
                    "select at::text from pulse where at > clock_timestamp() - make_interval(secs => %s)",
                    [FRESH_SECONDS],
                ).fetchone()
                if row is None:
                    seen.clear()
                else:
                    seen.add(row[0])
                if len(seen) >= FRESH_ROWS:
                    return time.monotonic()
                check()
                time.sleep(LOOK_SECONDS)
        check()
        time.sleep(LOOK_SECONDS)
    raise Late(f"the target shows no fresh rows within {SECONDS:g} s")


class Running(Protocol):
    """A migration under way."""

    def check(self) -> None:
        """Raise when it has ended."""

    def finish(self) -> None:
        """End it; complain where it does not think that it is caught up."""

    def stop(self) -> None: ...


class Bowline:
    def __init__(self, source: Database, target: Database, directory: Path) -> None:
        manifest = directory / "bench.yaml"
        manifest.touch(mode=0o600)
        text = MANIFEST.format(source=source, target=target, user=MIGRATOR)
        manifest.write_text(text, encoding="utf-8")
        self._control = Control(manifest, directory / "state", directory / "log")
        self._control.start()

    def check(self) -> None:
        if self._control.end(seconds=0) is not None:
            raise RuntimeError(f"bowline run ended: {' '.join(self._control.said)}")

    def finish(self) -> None:
        try:
            self._control.wait("condition=CaughtUp", 60)
        finally:
            self.stop()

    def stop(self) -> None:
        self._control.stop()


class Pgcopydb:
    def __init__(self, source: Database, target: Database, directory: Path) -> None:
        command = [peers.program("pgcopydb"), "clone", "--follow", "--dir", str(directory / "work")]
        command += ["--table-jobs", "2", "--index-jobs", "2"]
        command += ["--source", uri(source), "--target", uri(target)]
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )

    def check(self) -> None:
        if (code := self._process.poll()) is not None:
            said = self._log.read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"pgcopydb ended with {code}: {said[-800:]}")

    def finish(self) -> None:
        try:
            self.check()
        finally:
            self.stop()

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)


def measure(setting: Setting) -> None:
    result = Result(name="whole migration", unit="migrations/hour", bar=BAR)
    with setting.part(result):
        whole = Whole(setting)
        result.notes.append(
            f"pgbench scale {whole.scale}, {RATE} transactions a second meanwhile; "
            "start to caught up, seen from outside."
        )
        try:
            compete(
                setting,
                result,
                {
                    OURS: lambda: 3600 / whole.turn(Bowline),
                    "pgcopydb clone --follow": lambda: (
                        3600 / whole.turn(Pgcopydb, PATIENCE_SECONDS)
                    ),
                },
            )
        finally:
            if whole.late:
                result.notes.append(
                    f"pgcopydb showed no fresh rows within {PATIENCE_SECONDS:g} s behind its copy in {whole.late} "
                    "rounds: there its time ends with its last index, before it is caught up."
                )
            whole.close()
