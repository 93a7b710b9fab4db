"""One seed: the whole road of a migration, with kill -9 of every role in every phase where it lives."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from demo.checker import Verdict
from demo.control import Control
from demo.record import Record, Recorder, read
from demo.workload import FENCED

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
from soak.places import Place
from soak.prey import RUNNER, Prey
from soak.writers import Crowd, Shared, Stray, Writer

LONG_BUDGET, SHORT_BUDGET = "60s", "12s"
LEAST_KILLS = 20


class Setting(Protocol):
    """Where a road is walked: both sides' databases, with an application at work in them."""

    @property
    def pause(self) -> float:
        """Between one writer's transactions, in seconds."""
        ...

    @property
    def places(self) -> Mapping[str, Place]: ...

    def manifest(self, *, budget: str) -> str:
        """The migration; its draws come from the seed."""
        ...

    def prepare(self, control: Control) -> None:
        """Make the tables with rows, and the migration's users."""
        ...

    def schemas(self) -> Mapping[str, list[str]]:
        """What each side's schema must be in the end; asked for before the migration begins."""
        ...

    def writer(self, shared: Shared, number: int) -> Writer[Any]: ...
    def stray(self, shared: Shared) -> Stray[Any]: ...

    def came_to(self, stage: str) -> None:
        """Be told where the road is: before anything is applied to a side, and before it ends."""
        ...

    def judge(self, record: Record, expected: list[str], *, servers_crashed: bool) -> list[Verdict]:
        """Look at everything that must hold when the writers have stopped and both sides are still there."""
        ...

    def revoke(self, control: Control) -> None:
        """Remove the migration's users again."""
        ...

    def keep(self, directory: Path) -> None:
        """Lay down what the databases hold and said, for who looks for a cause."""
        ...

    def clean(self) -> None:
        """Remove what this seed made."""
        ...


class Road:
    """One seed, from empty databases to its verdicts."""

    def __init__(
        self,
        seed: int,
        setting: Callable[[random.Random], Setting],
        directory: Path,
        tell: Callable[[str], None],
        *,
        short: bool = False,
    ) -> None:
        self.seed, self.directory = seed, directory
        self.short = short  #: one switch, fewer kills: for a test among many
        self.chance = random.Random(seed)
        self.setting = setting(self.chance)
        self.places = self.setting.places
        self.verdicts: list[Verdict] = []
        manifest = directory / "soak.yaml"
        budget = self.chance.choice((LONG_BUDGET, LONG_BUDGET, SHORT_BUDGET))
        manifest.write_text(self.setting.manifest(budget=budget), encoding="utf-8")
        self.manifest = manifest
        self.prey = Prey(manifest, directory / "state", directory / "bowline.log", tell)
        self.hunt = Hunt(self.prey, self.chance, self.places)
        self.history = History(directory / "state" / "status.json")
        self.control = Control(manifest, directory / "state", directory / "unused.log")
        self.record_file = directory / "writers.jsonl"
        self.recorder = Recorder(self.record_file)
        self.shared = Shared(self.recorder, pause=self.setting.pause)
        writers = [self.setting.writer(self.shared, number) for number in (1, 2)]
        self.crowd = Crowd(self.shared, writers)
        self.stray = Crowd(self.shared, [self.setting.stray(self.shared)])
        self.sides = ["source"]  #: where the writers were, in order

    # --- the road --------------------------------------------------------------------------------

    def go(self) -> None:
        """Walk it; Stuck where it does not go on. What was wrong is in the verdicts."""
        self.setting.prepare(self.control)
        schemas = self.setting.schemas()
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
        self._complete(schemas)

    def _to_streaming(self) -> None:
        more = [] if self.short else [RUNNER]
        self.hunt.through("Assess", ["assess", *more], lambda now: now.get("stage") == "Assessed")
        self.prey.phase("Schema")
        self.hunt.through("Schema", ["schema"], lambda now: now.get("stage") == "SchemaReady")
        self.setting.came_to("SchemaReady")
        self.prey.phase("Replicate")
        self.hunt.through("Prepare", ["prepare"], lambda now: now.get("stage") == "Prepared")
        self.setting.came_to("Prepared")
        self.stray.start()
        # The snapshot first: the copy may be done before anything else is killed.
        aims = ["snapshot", *self._shuffled(["capture", *([RUNNER, "snapshot"] if more else [])])]
        self.hunt.through("Snapshot", aims, is_in("Streaming"))
        self.setting.came_to("Streaming")
        self._caught_up("Streaming")
        self.setting.came_to("CaughtUp")
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
            self.setting.came_to(request)
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
                self.setting.came_to(phase)
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

    def _complete(self, schemas: Mapping[str, list[str]]) -> None:
        self.setting.came_to("Complete")
        self.prey.phase("Complete")
        self.hunt.through("Complete", ["cleanup", RUNNER], is_in("Completed"))
        until = time.monotonic() + 30
        while self.prey.exit_code() is None and time.monotonic() < until:
            self.hunt.keep_running()
            time.sleep(LOOK_SECONDS)
        left = Verdict("nothing is left behind")
        if self.prey.exit_code() != 0:
            left.wrong.append(f"bowline run ended with {self.prey.exit_code()}")
        for side, place in self.places.items():
            left.wrong += [f"{side}: {what}" for what in place.remains()]
            before, after = schemas[side], place.schema()
            lines = sorted(set(before) ^ set(after)) or (["order of lines"] * (before != after))
            left.wrong += [f"{side}: schema differs: {line}" for line in lines[:3]]
            if refused := place.refusal():
                left.wrong.append(f"{side}: a write was refused with {refused}")
        self.setting.revoke(self.control)
        self.verdicts.append(left)

    # --- looking ---------------------------------------------------------------------------------

    def _check(self) -> None:
        """Stop the writers, wait until the last change is there, and judge."""
        self.crowd.stop()
        self.stray.stop()
        self.recorder.close()
        until = time.monotonic() + 60

        def is_equal(_: Status) -> bool:
            one, other = (len(place.ledger()) for place in self.places.values())
            return one == other or time.monotonic() > until

        self.hunt.through("the last change", [], is_equal)
        self._caught_up(self.prey.status()["phase"])
        self.verdicts += self.setting.judge(
            read(self.record_file), self.sides, servers_crashed=self.hunt.servers_crashed
        )

    def _quiet(self, phase: str, side: str) -> None:
        """Right after a switch: who takes writes is who the status says."""
        now = self.prey.status()
        verdict = Verdict(f"{phase}: the {side} takes writes, and the other side does not")
        if now["phase"] != phase or now["primary"].lower() != side:
            verdict.wrong.append(f"the status says {now['phase']}, {now['primary']}")
        for each, place in self.places.items():
            answer = place.refusal()
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
