"""One seed: the whole road of a migration, with kill -9 of every role in every phase where it lives."""

from __future__ import annotations

import random
import secrets
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from demo.checker import Verdict
from demo.control import Control
from demo.record import Recorder, read
from demo.servers import Server
from demo.workload import FENCED
from psycopg import sql

from demo import checker, remains
from soak import shape
from soak.history import History
from soak.judge import judge, refusal
from soak.prey import RUNNER, Life, Prey
from soak.writers import STRAY_WRITER, Crowd, Shared, Stray, Writer

LOOK_SECONDS = 0.05
STAGE_SECONDS = 150
#: A migration that waits for a human for so long will not go on.
STALLED_SECONDS = 25
STEPS = (
    *("Gate", "ArmReverse", "Probe", "Return", "CatchUp", "Fence", "Barrier", "Drain", "Retire"),
    *("Verify", "Sequences", "Restore", "Canary", "Arrival", "Commit", "Open", "Finish"),
)
#: How long after it listens a worker may live, at most, before it is killed.
LIFE_SECONDS = {"snapshot": 1.5, "cutover": 2.0, "capture": 2.0, "apply": 2.0}
ANY = "any"
STOP = "stop"
SESSION = "session"  #: one of Bowline's in a database, ended by the server
SERVER = "server"  #: one of the two, killed as a crash would and started again
LONG_BUDGET, SHORT_BUDGET = "60s", "12s"
SESSIONS = """
select pid, application_name from pg_stat_activity
where datname = current_database() and application_name like 'bowline %' order by backend_start"""
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

Status: TypeAlias = Mapping[str, Any]
Reached: TypeAlias = Callable[[Status], bool]


class Stuck(Exception):
    """The road does not go on; the message says where."""


@dataclass(slots=True)
class Aim:
    """Whom to kill next, and when."""

    role: str
    life: Life | None = None
    due: float = 0.0
    step: str = ""
    since: float = field(default_factory=time.monotonic)


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
        self.restart_at = 0.0
        self.servers_crashed = False

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
        self._through("Assess", ["assess", *more], lambda now: now.get("stage") == "Assessed")
        self.prey.phase("Schema")
        self._through("Schema", ["schema"], lambda now: now.get("stage") == "SchemaReady")
        # Before anything can be applied there. Only what an apply writes is counted.
        shape.begin_audit(self.servers["target"], self.database)
        self.prey.phase("Replicate")
        self._through("Prepare", ["prepare"], lambda now: now.get("stage") == "Prepared")
        self.stray.start()
        aims = self._shuffled(["snapshot", "capture", *([RUNNER, "snapshot"] if more else [])])
        self._through("Snapshot", aims, _is("Streaming"))
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
            self._through(
                "Verify",
                ["verify"] if request == 1 else [],
                lambda now, request=request: _compared(now) == request,  # type: ignore[misc]
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
        before = _attempt(self.prey.status())
        self._caught_up("Streaming")
        self.prey.phase("Cutover")
        self._through("CuttingOver", [], lambda now: _attempt(now) > before and self._has_cutover())
        step = self.chance.choice(STEPS[: STEPS.index("Commit") + 1])
        self._through("CuttingOver", [], lambda now: self._is_at(step) or _is_idle(now))
        if self.chance.random() < 0.4:
            for life in self.prey.alive("cutover"):
                self.prey.freeze(life, 8.0)
        self.prey.phase("Replicate")
        asked = time.monotonic()
        self._through("Abort", ["abort"], lambda now: _attempt(now) > before and _is_idle(now))
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
        return any(_has_come(life.step(), step) for life in self.prey.alive("cutover"))

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
            before = _attempt(was)
            self._through(
                request,
                aims if again == 0 else [],
                lambda now, before=before: _attempt(now) > before and _is_idle(now),  # type: ignore[misc]
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
            self._through(former, [], lambda now: not now["cutover"].get("blockers"))
        raise Stuck(f"{request}: four attempts were aborted")

    def _dwell(self, where: str, roles: list[str]) -> None:
        """Stream for a while, and kill meanwhile."""
        if not self.short:
            roles = [
                *roles,
                *(each for each in (STOP, SESSION, SERVER) if self.chance.random() < 0.4),
            ]
        until = time.monotonic() + 2.0
        self._through(where, self._shuffled(roles), lambda _: time.monotonic() > until, wait=True)

    def _complete(self, schema: list[str]) -> None:
        for server in self.servers.values():
            shape.end_audit(server, self.database)
        self.prey.phase("Complete")
        self._through("Complete", ["cleanup", RUNNER], _is("Completed"))
        until = time.monotonic() + 30
        while self.prey.exit_code() is None and time.monotonic() < until:
            self._keep_running()
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

        self._through("the last change", [], is_equal)
        self._caught_up(self.prey.status()["phase"])
        record = read(self.record_file)
        self.verdicts += judge(
            record,
            self.servers,
            self.database,
            self.sides,
            self.streaming_since,
            servers_crashed=self.servers_crashed,
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
        self._through(f"{phase}, caught up", [], _holds("CaughtUp"))

    # --- killing ---------------------------------------------------------------------------------

    def _shuffled(self, roles: Sequence[str]) -> list[str]:
        return self.chance.sample(list(roles), len(roles))

    def _through(
        self, stage: str, roles: Sequence[str], reached: Reached, *, wait: bool = False
    ) -> None:
        """Kill those roles, one after another, until the stage is done; on `wait`, each of them in any case."""
        began, stalled = time.monotonic(), 0.0
        left = [Aim(role) for role in roles]
        pause_until = 0.0
        while True:
            self._keep_running()
            now, at = self.prey.status(), time.monotonic()
            if at >= pause_until and left and self._take(left[0], at):
                left.pop(0)
                pause_until = at + self.chance.uniform(0.0, 1.2)
            if reached(now) and not (wait and left) and not self.prey.runner_is_dead():
                break
            stalled = (stalled or at) if _holds("Stalled")(now) else 0.0
            if at - began > STAGE_SECONDS or (stalled and at - stalled > STALLED_SECONDS):
                raise Stuck(f"{stage}: {now.get('phase')}: {now.get('message') or 'no message'}")
            time.sleep(LOOK_SECONDS)
        for aim in left:
            self.prey.say(f"{stage} was done before {aim.role} was killed")

    def _keep_running(self) -> None:
        self.prey.thaw()
        if (code := self.prey.exit_code()) is not None:
            if code == 0 and self.prey.status().get("phase") == "Completed":
                return
            raise Stuck(f"bowline run ended by itself, with {code}")
        if self.prey.runner_is_dead() and time.monotonic() >= self.restart_at:
            self.prey.start()
            self.prey.say("bowline run is started again")

    def _take(self, aim: Aim, at: float) -> bool:
        """Strike when the moment has come; True: this aim is done with."""
        if aim.role == RUNNER:
            aim.due = aim.due or at + self.chance.uniform(0.0, 1.5)
            if at < aim.due or self.prey.runner_is_dead() or self.prey.exit_code() is not None:
                return False
            self.prey.kill_runner()
            self.restart_at = time.monotonic() + self.chance.uniform(0.0, 1.0)
            return True
        if aim.role == SESSION:
            return self._end_session(aim, at)
        if aim.role == SERVER:
            return self._crash_server(aim, at)
        if aim.life is None or not any(each.pid == aim.life.pid for each in self._prey_of(aim)):
            found = self._prey_of(aim)
            aim.life = self.chance.choice(found) if found else None
            aim.due = 0.0
            return False
        if not aim.due:
            early = self.chance.random() < 0.15
            if not early and not aim.life.address:
                return False
            most = LIFE_SECONDS.get(aim.life.role, 0.8)
            aim.due = at + self.chance.uniform(0.0, most)
            aim.step = ""
            if aim.life.role == "cutover" and self.chance.random() < 0.6:
                aim.step, aim.due = self.chance.choice(STEPS), at + 10
        if at < aim.due and not (aim.step and _has_come(aim.life.step(), aim.step)):
            return False
        if aim.role == STOP:
            return self.prey.freeze(aim.life, self.chance.uniform(1.0, 4.0))
        return self.prey.kill(aim.life)

    def _end_session(self, aim: Aim, at: float) -> bool:
        """Have a server end one of Bowline's sessions, as an administrator or a lost connection would."""
        aim.due = aim.due or at + self.chance.uniform(0.0, 1.0)
        side = self.chance.choice(sorted(self.servers))
        if at < aim.due:
            return False
        with self.servers[side].connect(self.database) as connection:
            found = connection.execute(SESSIONS).fetchall()
            if not found:
                return False
            pid, name = self.chance.choice(found)
            connection.execute("select pg_terminate_backend(%s)", [pid])
        self.prey.say(f"ended session {pid} ({name}) of the {side}")
        return True

    def _crash_server(self, aim: Aim, at: float) -> bool:
        """Kill a server's processes and start it again: what was committed is there, answers are lost."""
        aim.due = aim.due or at + self.chance.uniform(0.0, 1.0)
        if at < aim.due:
            return False
        side = self.chance.choice(sorted(self.servers))
        self.servers_crashed = True
        self.prey.say(f"the server of the {side} crashes")
        self.servers[side].restart(signal.SIGQUIT)
        self.prey.say(f"the server of the {side} is up again")
        return True

    def _prey_of(self, aim: Aim) -> list[Life]:
        if aim.role in (ANY, STOP):
            return sorted(
                (each for role in ("capture", "apply", "cutover", "snapshot", "abort")
                 for each in self.prey.alive(role)),
                key=lambda life: life.name,
            )  # fmt: skip
        return self.prey.alive(aim.role)

    def end(self) -> None:
        """Stop whatever still runs; what was said stays."""
        self.crowd.stop()
        self.stray.stop()
        self.prey.end()
        self.history.stop()
        held = Verdict("the status never claimed what can't be", f"{len(self.history.lines)} seen")
        held.wrong = self.history.wrong[:5]
        self.verdicts.append(held)


def _is(phase: str) -> Reached:
    return lambda now: now.get("phase") == phase


def _holds(condition: str) -> Reached:
    return lambda now: any(
        each["type"] == condition and each.get("status") == "True"
        for each in now.get("conditions", [])
    )


def _compared(now: Status) -> int:
    return int((now.get("verification") or {}).get("request", 0))


def _attempt(now: Status) -> int:
    return int((now.get("cutover") or {}).get("attempt", 0))


def _is_idle(now: Status) -> bool:
    return (now.get("cutover") or {}).get("mode") == "Idle"


def _has_come(step: str, wanted: str) -> bool:
    return step in STEPS and STEPS.index(step) >= STEPS.index(wanted)
