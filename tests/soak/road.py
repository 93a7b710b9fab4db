"""One seed: the whole road of a migration, with kill -9 of every role in every phase where it lives."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from demo.checker import Verdict
from demo.control import Control
from demo.record import Recorder, read
from demo.servers import Server
from demo.workload import FENCED
from psycopg import sql

from demo import checker, remains
from soak import shape
from soak.history import History
from soak.hunt import (
    ANY,
    LOOK_SECONDS,
    SERVER,
    SESSION,
    STEPS,
    STOP,
    Hunt,
    Status,
    Stuck,
    attempt_of,
    compared,
    has_come,
    holds,
    is_idle,
    is_in,
)
from soak.judge import judge, refusal
from soak.prey import RUNNER, Prey
from soak.writers import STRAY_WRITER, Crowd, Shared, Stray, Writer

LONG_BUDGET, SHORT_BUDGET = "60s", "12s"
LEAST_KILLS = 20

MANIFEST = """\
apiVersion: bowline.dev/v1alpha1
kind: DatabaseMigration
metadata: {{name: soak}}
spec:
  phase: Assess
  source: {{engine: PostgreSQL, host: 127.0.0.1, port: {source}, database: {database},
    credentialsSecretRef: {{name: soak-source}}, tls: {{mode: disable}}}}
  target: {{engine: PostgreSQL, host: 127.0.0.1, port: {target}, database: {database},
    credentialsSecretRef: {{name: soak-target}}, tls: {{mode: disable}}}}
  tables: {{include: ["public.*"]}}
  snapshot: {{parallelism: {parallelism}, chunkRows: 500}}
  stream: {{lanes: {lanes}}}
  completion: {{losingSide: Released}}
  verification: {{request: 0}}
  cutover: {{budget: {budget}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: soak-source}}
stringData: {{username: {user}, password: "{password}"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: soak-target}}
stringData: {{username: {user}, password: "{password}"}}
"""


class Road:
    """One seed, from empty databases to its verdicts."""

    def __init__(
        self,
        seed: int,
        servers: Mapping[str, Server],
        directory: Path,
        tell: Callable[[str], None],
        *,
        short: bool = False,
    ) -> None:
        self.seed, self.servers, self.directory = seed, servers, directory
        self.short = short  #: one switch, fewer kills: for a test among many
        self.chance = random.Random(seed)
        self.database = f"soak_{seed}_{secrets.token_hex(2)}"
        self.user = f"bowline_{self.database}"
        self.verdicts: list[Verdict] = []
        self.password = secrets.token_urlsafe(12)
        manifest = directory / "soak.yaml"
        manifest.write_text(self._manifest(), encoding="utf-8")
        self.manifest = manifest
        self.prey = Prey(manifest, directory / "state", directory / "bowline.log", tell)
        self.hunt = Hunt(self.prey, self.chance, servers, self.database)
        self.history = History(directory / "state" / "status.json")
        self.control = Control(manifest, directory / "state", directory / "unused.log")
        self.record_file = directory / "writers.jsonl"
        self.recorder = Recorder(self.record_file)
        self.shared = Shared(self._dsns(), self.recorder, pause=0.025)
        self.crowd = Crowd(self.shared, [self._writer(number) for number in (1, 2)])
        stray = Stray(self.shared, STRAY_WRITER, random.Random(f"{seed}/stray"))
        self.stray = Crowd(self.shared, [stray])
        self.streaming_since = float("inf")
        self.sides = ["source"]  #: where the writers were, in order

    def _manifest(self) -> str:
        return MANIFEST.format(
            source=self.servers["source"].port,
            target=self.servers["target"].port,
            database=self.database,
            user=self.user,
            password=self.password,
            lanes=self.chance.choice((1, 2, 3)),
            parallelism=self.chance.choice((1, 2)),
            budget=self.chance.choice((LONG_BUDGET, LONG_BUDGET, SHORT_BUDGET)),
        )

    def _dsns(self) -> dict[str, str]:
        return {
            side: server.dsn(self.database, shape.APPLICATION, server.password)
            for side, server in self.servers.items()
        }

    def _writer(self, number: int) -> Writer:
        return Writer(self.shared, number, random.Random(f"{self.seed}/{number}"))

    # --- the road --------------------------------------------------------------------------------

    def go(self) -> None:
        """Walk it; Stuck where it does not go on. What was wrong is in the verdicts."""
        self._prepare()
        schema = remains.schema_of(self.servers["source"], self.database)
        self.crowd.start()
        self.history.start()
        self.prey.start()
        self._to_streaming()
        self._cutover()
        if not self.short:
            self._dwell("fall-back", ["capture", "apply", RUNNER])
            self._switch("Switchover", "SwitchedBack", "source", self._aims())
            self._dwell("switched back", [ANY, "apply", "capture"])
            self._switch("Cutover", "FallbackStreaming", "target", self._aims())
        missing = (3 if self.short else LEAST_KILLS - 2) - self.prey.kills
        self._dwell("fall-back", ["capture", "apply", *[ANY] * max(0, missing - 2)])
        self._check()
        self._complete(schema)

    def _prepare(self) -> None:
        for server in self.servers.values():
            server.create_database(self.database, owner=shape.OWNER)
        shape.make_tables(self.servers["source"], self.database)
        for side, server in self.servers.items():
            grants = self.control.grants(side, *self._grant_options)
            with server.connect(self.database) as connection:
                connection.execute(grants.encode())
                connection.execute(
                    sql.SQL("alter role {} password {}").format(
                        sql.Identifier(self.user), self.password
                    )
                )

    @property
    def _grant_options(self) -> tuple[str, ...]:
        return ("--user", self.user, "--owner", shape.OWNER, "--database", self.database)

    def _to_streaming(self) -> None:
        more = [] if self.short else [RUNNER]
        self.hunt.through("Assess", ["assess", *more], lambda now: now.get("stage") == "Assessed")
        self.prey.phase("Schema")
        self.hunt.through("Schema", ["schema"], lambda now: now.get("stage") == "SchemaReady")
        # Before anything can be applied there. Only what an apply writes is counted.
        shape.begin_audit(self.servers["target"], self.database)
        self.prey.phase("Replicate")
        self.hunt.through("Prepare", ["prepare"], lambda now: now.get("stage") == "Prepared")
        self.stray.start()
        # The snapshot first: the copy may be done before anything else is killed.
        aims = ["snapshot", *self._shuffled(["capture", *([RUNNER, "snapshot"] if more else [])])]
        self.hunt.through("Snapshot", aims, is_in("Streaming"))
        shape.begin_audit(self.servers["source"], self.database)
        self._caught_up("Streaming")
        self.streaming_since = time.time()
        self.shared.streaming.set()
        self._dwell("Streaming", [ANY] if self.short else ["capture", "apply", RUNNER])

    def _cutover(self) -> None:
        if not self.short and self.chance.random() < 0.5:
            self._verify()
        if not self.short and self.chance.random() < 0.6:
            self._take_back()
        if self.prey.status().get("primary") == "Source":
            self._switch("Cutover", "FallbackStreaming", "target", self._aims())

    def _aims(self) -> list[str]:
        if self.short:
            return ["cutover"]
        often = self.chance.randint(1, 3)
        others = [
            self.chance.choice((ANY, RUNNER, "capture", "apply", SESSION, SERVER)) for _ in range(2)
        ]
        return self._shuffled([*["cutover"] * often, *others])

    def _verify(self) -> None:
        """Have all rows compared while the stream runs, and kill who compares.

        Where the stream lags, rows that are on their way may be called different: then it is asked for again.
        """
        for request in (1, 2, 3):
            self._caught_up("Streaming")
            self._edit(f"{{request: {request - 1}}}", f"{{request: {request}}}")
            self.prey.say("asked for a comparison")
            self.hunt.through(
                "Verify",
                ["verify"] if request == 1 else [],
                lambda now, request=request: compared(now) == request,  # type: ignore[misc]
            )
            found = self.prey.status()["verification"]
            if found["equal"]:
                return
            unequal = [table["detail"] for table in found["tables"] if not table["equal"]]
            self.prey.say(f"the comparison found a difference: {unequal}")
        raise Stuck("three comparisons found rows that differ")

    def _edit(self, old: str, new: str) -> None:
        text = self.manifest.read_text(encoding="utf-8")
        part = self.manifest.with_suffix(".part")
        part.write_text(text.replace(old, new), encoding="utf-8")
        part.replace(self.manifest)

    def _take_back(self) -> None:
        """Ask for a cutover and change our mind; whichever wins, the road goes on from there."""
        before = attempt_of(self.prey.status())
        self._caught_up("Streaming")
        self.prey.phase("Cutover")
        self.hunt.through(
            "CuttingOver", [], lambda now: attempt_of(now) > before and self._has_cutover()
        )
        step = self.chance.choice(STEPS[: STEPS.index("Commit") + 1])
        self.hunt.through("CuttingOver", [], lambda now: self._is_at(step) or is_idle(now))
        if self.chance.random() < 0.4:
            for life in self.prey.alive("cutover"):
                self.prey.freeze(life, 8.0)
        self.prey.phase("Replicate")
        asked = time.monotonic()
        self.hunt.through("Abort", ["abort"], lambda now: attempt_of(now) > before and is_idle(now))
        now = self.prey.status()
        verdict = (now["cutover"].get("lastAttempt") or {}).get("verdict")
        self.prey.say(f"{verdict}, {time.monotonic() - asked:.1f}s after the change of mind")
        if now["primary"] == "Target":
            self.sides.append("target")
            self.prey.phase("Cutover")
        else:
            self._quiet("Streaming", "source")

    def _has_cutover(self) -> bool:
        return bool(self.prey.alive("cutover"))

    def _is_at(self, step: str) -> bool:
        """The role has come as far as that step, as it says itself."""
        return any(has_come(life.step(), step) for life in self.prey.alive("cutover"))

    def _switch(self, request: str, phase: str, side: str, aims: list[str]) -> None:
        """Ask for a switch until it is made: an attempt that aborts itself is asked for again."""
        for again in range(4):
            was = self.prey.status()
            former = (
                "Replicate"
                if was["epoch"] == 1
                else "Cutover"
                if side == "source"
                else "Switchover"
            )
            self._caught_up(was["phase"])
            self.prey.phase(request)
            before = attempt_of(was)
            self.hunt.through(
                request,
                aims if again == 0 else [],
                lambda now, before=before: attempt_of(now) > before and is_idle(now),  # type: ignore[misc]
            )
            now = self.prey.status()
            last = now["cutover"].get("lastAttempt") or {}
            self.prey.say(
                f"attempt {last.get('number')}: {last.get('verdict')} {last.get('message', '')}"
            )
            if now["phase"] == phase:
                self.sides.append(side)
                self._quiet(phase, side)
                return
            self._edit(SHORT_BUDGET, LONG_BUDGET)
            self.prey.phase(former)
            self.hunt.through(former, [], lambda now: not now["cutover"].get("blockers"))
        raise Stuck(f"{request}: four attempts were aborted")

    def _dwell(self, where: str, roles: list[str]) -> None:
        """Stream for a while, and kill meanwhile."""
        if not self.short:
            roles = [
                *roles,
                *(each for each in (STOP, SESSION, SERVER) if self.chance.random() < 0.4),
            ]
        until = time.monotonic() + 2.0
        self.hunt.through(
            where, self._shuffled(roles), lambda _: time.monotonic() > until, wait=True
        )

    def _complete(self, schema: list[str]) -> None:
        for server in self.servers.values():
            shape.end_audit(server, self.database)
        self.prey.phase("Complete")
        self.hunt.through("Complete", ["cleanup", RUNNER], is_in("Completed"))
        until = time.monotonic() + 30
        while self.prey.exit_code() is None and time.monotonic() < until:
            self.hunt.keep_running()
            time.sleep(LOOK_SECONDS)
        left = Verdict("nothing is left behind")
        if self.prey.exit_code() != 0:
            left.wrong.append(f"bowline run ended with {self.prey.exit_code()}")
        for side, server in self.servers.items():
            left.wrong += [f"{side}: {what}" for what in remains.remains(server, self.database)]
            after = remains.schema_of(server, self.database)
            lines = sorted(set(schema) ^ set(after)) or (["order of lines"] * (schema != after))
            left.wrong += [f"{side}: schema differs: {line}" for line in lines[:3]]
            if refused := refusal(self.shared.dsns[side]):
                left.wrong.append(f"{side}: a write was refused with {refused}")
            revoke = self.control.grants(side, *self._grant_options, "--revoke")
            with server.connect(self.database) as connection:
                connection.execute(revoke.encode())
        self.verdicts.append(left)

    # --- looking ---------------------------------------------------------------------------------

    def _check(self) -> None:
        """Stop the writers, wait until the last change is there, and judge."""
        self.crowd.stop()
        self.stray.stop()
        self.recorder.close()
        dsns = {side: server.dsn(self.database) for side, server in self.servers.items()}
        until = time.monotonic() + 60

        def is_equal(_: Status) -> bool:
            one, other = (len(checker.ledger_of(dsn)) for dsn in dsns.values())
            return one == other or time.monotonic() > until

        self.hunt.through("the last change", [], is_equal)
        self._caught_up(self.prey.status()["phase"])
        record = read(self.record_file)
        self.verdicts += judge(
            record,
            self.servers,
            self.database,
            self.sides,
            self.streaming_since,
            servers_crashed=self.hunt.servers_crashed,
        )

    def _quiet(self, phase: str, side: str) -> None:
        """Right after a switch: who takes writes is who the status says."""
        now = self.prey.status()
        verdict = Verdict(f"{phase}: the {side} takes writes, and the other side does not")
        if now["phase"] != phase or now["primary"].lower() != side:
            verdict.wrong.append(f"the status says {now['phase']}, {now['primary']}")
        for each, dsn in self.shared.dsns.items():
            answer = refusal(dsn)
            if answer != ("" if each == side else FENCED):
                verdict.wrong.append(f"the {each} answered {answer or 'ok'}")
        self.verdicts.append(verdict)

    def _caught_up(self, phase: str) -> None:
        self.hunt.through(f"{phase}, caught up", [], holds("CaughtUp"))

    def _shuffled(self, roles: Sequence[str]) -> list[str]:
        return self.chance.sample(list(roles), len(roles))

    def end(self) -> None:
        """Stop whatever still runs; what was said stays."""
        self.crowd.stop()
        self.stray.stop()
        self.prey.end()
        self.history.stop()
        held = Verdict("the status never claimed what can't be", f"{len(self.history.lines)} seen")
        held.wrong = self.history.wrong[:5]
        self.verdicts.append(held)
