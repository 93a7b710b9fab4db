"""The whole road: Replicate, Cutover, Switchover, Cutover again, Complete, with writers at work all the time."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import sql

from demo import checker, claims, remains, shop
from demo.control import Control, RoadBlocked
from demo.probe import Probe, Sample, delays
from demo.record import Record, read
from demo.report import Report, Window, outcomes
from demo.servers import Server
from demo.view import Scene

DRAIN_SECONDS = 60

MANIFEST = Path(__file__).parent / "manifest.yaml"
#: The migration's user, on both sides.
USER = "bowline"


@dataclass(frozen=True, slots=True)
class Options:
    scale: float = 1.0  #: of a million rows
    seconds: float = 9.0  #: of load in each streaming phase
    writers: int = 4
    rate: float = 620.0  #: transactions a second that the writers try for
    least_rate: float = claims.LEAST_RATE  #: and that there must have been


@dataclass
class Writers:
    """The shop's application, a process of its own."""

    process: subprocess.Popen[str]
    figures: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def start(cls, orders: Mapping[str, Any]) -> Writers:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo.workload"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=Path(__file__).parents[1],
        )
        assert process.stdin is not None
        json.dump(orders, process.stdin)
        process.stdin.close()
        writers = cls(process)
        threading.Thread(target=writers._listen, name="writers", daemon=True).start()
        return writers

    def stop(self) -> None:
        """End them; every outcome is written when they are gone."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.figures = json.loads(line)


@dataclass
class Road:
    """One run of the demo, from empty servers to its report."""

    options: Options
    directory: Path
    source: Server
    target: Server
    scene: Scene
    report: Report = field(default_factory=Report)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    host: str = "127.0.0.1"  #: where the migration's workers find both servers
    #: Makes what drives the migration, from its manifest: `bowline run`, unless another is given.
    driver: Callable[[Path], Control] | None = None
    control: Control | None = None
    writers: Writers | None = None
    samples: dict[str, Sequence[Sample]] = field(default_factory=dict)
    strays: checker.Verdict = field(
        default_factory=lambda: checker.Verdict("the passive side refused the application's writes")
    )

    @property
    def servers(self) -> dict[str, Server]:
        return {"source": self.source, "target": self.target}

    @property
    def record_file(self) -> Path:
        return self.directory / "writers.jsonl"

    def dsn(self, side: str, *, application: bool = True) -> str:
        server = self.servers[side]
        if application:
            return server.dsn(shop.DATABASE, shop.APPLICATION, self.password)
        return server.dsn(shop.DATABASE)

    def go(self) -> None:
        """Walk it. RoadBlocked where it does not go on; what broke is in the report."""
        control = self.prepare()
        schema = remains.schema_of(self.source, shop.DATABASE)
        self.begin("start the writers, replicate")
        self.start_writers()
        control.start()
        started = time.monotonic()
        control.wait("phase=Streaming", 150)
        self.report.copy_seconds = time.monotonic() - started
        self.load(control, "Streaming", "source")
        self.switch(control, "Cutover", "FallbackStreaming", "target")
        self.switch(control, "Switchover", "SwitchedBack", "source")
        self.switch(control, "Cutover", "FallbackStreaming", "target", again=True)
        self.stop_writers()
        self.begin("compare every row")
        self.check_all(read(self.record_file))
        self.complete(control, schema)

    def end(self) -> None:
        """Give back what is not a server's or a process's, whatever came before."""

    # --- stages ----------------------------------------------------------------------------------

    def begin(self, stage: str) -> None:
        self.scene.begin(stage)

    def prepare(self) -> Control:
        """Servers with the shop, users made by the SQL of `bowline grants`, and the manifest."""
        self.begin("start two servers")
        for server in self.servers.values():
            server.start()
            shop.make_roles(server, self.password)
            server.create_database(shop.DATABASE, owner=shop.OWNER)
        self.begin("load the shop")
        shop.make_shop(self.source, shop.DATABASE, scale=self.options.scale)
        with self.source.connect(shop.DATABASE) as connection:
            self.report.types = _number(connection.execute(TYPES).fetchone())
        manifest = self.directory / "shop.yaml"
        manifest.touch(mode=0o600)
        text = MANIFEST.read_text(encoding="utf-8")
        for word, value in (
            ("HOST", self.host),
            ("SOURCE_PORT", str(self.source.port)),
            ("TARGET_PORT", str(self.target.port)),
            ("PASSWORD", self.password),
        ):
            text = text.replace(word, value)
        manifest.write_text(text, encoding="utf-8")
        control = self.drive(manifest)
        self.control = control
        self.scene.status = lambda: control.status
        for side, server in self.servers.items():
            grants = control.grants(side, *self.grant_options)
            with server.connect(shop.DATABASE) as connection:
                connection.execute(grants.encode())
                connection.execute(
                    sql.SQL("alter role {} login password {}").format(
                        sql.Identifier(USER), self.password
                    )
                )
        return control

    def drive(self, manifest: Path) -> Control:
        if self.driver is not None:
            return self.driver(manifest)
        return Control(manifest, self.directory / "state", self.directory / "bowline.log")

    @property
    def grant_options(self) -> tuple[str, ...]:
        return ("--user", USER, "--owner", shop.OWNER, "--database", shop.DATABASE)

    def start_writers(self) -> None:
        writers = Writers.start(
            {
                "record": str(self.record_file),
                "dsns": {side: self.dsn(side) for side in self.servers},
                "scale": self.options.scale,
                "writers": self.options.writers,
                "rate": self.options.rate,
            }
        )
        self.writers = writers
        self.scene.figures = lambda: writers.figures

    def stop_writers(self) -> None:
        if self.writers is not None:
            self.writers.stop()

    def switch(
        self, control: Control, request: str, phase: str, primary: str, *, again: bool = False
    ) -> None:
        """Ask for a switch, wait for it, and load the new primary for a while."""
        self.begin(f"{request.lower()}{' again' if again else ''}")
        control.phase(request)
        control.wait(f"phase={phase}", 90)
        status = control.now()
        self.report.verifications.append(_verification(request, status))
        self.load(control, f"{phase}{' again' if again else ''}", primary)

    def load(self, control: Control, name: str, primary: str) -> None:
        """Let the writers work for a while, with the other side looked at from outside."""
        passive = "target" if primary == "source" else "source"
        control.wait("condition=CaughtUp", 60)
        self.begin(f"{name}, under load")
        self.stray(passive)
        window = Window(name, time.time(), 0.0)
        probe = Probe(self.dsn(passive, application=False), self.options.writers)
        time.sleep(self.options.seconds)
        window.end = time.time()
        self.samples[name] = probe.stop()
        lag = active_stream(control.now()).get("lag") or {}
        window.p50, window.p99 = lag.get("p50"), lag.get("p99")
        self.report.windows.append(window)
        if self.writers is None or self.writers.process.poll() is not None:
            raise RoadBlocked("the writers ended by themselves")

    def stray(self, side: str) -> None:
        claims.is_refused(self.strays, side, self.dsn(side))

    def complete(self, control: Control, schema: list[str]) -> None:
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
        self.report.verdicts += [
            claims.nothing_remains(self.servers),
            claims.same_schemas(self.servers, schema),
            claims.both_open({side: self.dsn(side) for side in self.servers}),
        ]
        self.report.revoke = "".join(
            f"-- {side}\n{control.grants(side, *self.grant_options, '--revoke')}"
            for side in self.servers
        )

    # --- checks ----------------------------------------------------------------------------------

    def check_all(self, record: Record) -> None:
        """Everything but what only Complete can show."""
        self.wait_for_the_last_change()
        ledgers = {
            side: checker.ledger_of(self.dsn(side, application=False)) for side in self.servers
        }
        rows, self.report.counts = checker.compare_rows(
            *(self.dsn(side, application=False) for side in self.servers)
        )
        self.measure(record)
        self.report.outcomes = outcomes(record)
        self.report.switches = record.switches()
        self.report.verdicts += [
            rows,
            *checker.check_record(record, ledgers),
            checker.check_single_writer(record, ["source", "target", "source", "target"]),
            self.strays,
            checker.check_sequences(self.dsn("target", application=False)),
            claims.no_surprises(record),
            claims.fast_enough(self.report.windows, self.options.least_rate),
        ]

    def measure(self, record: Record) -> None:
        """What was done in each window, and how late it was on the other side."""
        for window in self.report.windows:
            window.transactions = record.between(window.start, window.end)
            window.delays = delays(self.samples[window.name], record)

    def wait_for_the_last_change(self) -> None:
        """The writers have stopped: sooner or later both sides have the same ledger."""
        until = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < until:
            one, other = (
                len(checker.ledger_of(self.dsn(side, application=False))) for side in self.servers
            )
            if one == other:
                return
            time.sleep(0.3)


TYPES = """
select count(distinct a.atttypid) from pg_attribute a join pg_class c on c.oid = a.attrelid
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped"""


def active_stream(status: Mapping[str, Any]) -> Mapping[str, Any]:
    streams: Sequence[Mapping[str, Any]] = status.get("streams", [])
    return next((stream for stream in streams if stream.get("active")), {})


def _verification(request: str, status: Mapping[str, Any]) -> str:
    cutover = status.get("cutover") or {}
    found = status.get("verification") or {}
    tables = found.get("tables", [])
    rows = sum(table.get("sourceRows", 0) for table in tables)
    behind = "behind the fence" if found.get("behindFence") or cutover.get("verified") else ""
    word = "equal" if found.get("equal") or cutover.get("verified") else "not verified"
    seen = f", {rows} rows in {len(tables)} tables" if tables else ""
    return f"{request} (attempt {cutover.get('attempt', '?')}): {word} {behind}{seen}"


def _number(row: tuple[Any, ...] | None) -> int:
    return int(row[0]) if row else 0
