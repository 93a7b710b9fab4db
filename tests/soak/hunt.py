"""Kills: whom, when, and how the road goes on meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from soak.places import Place
from soak.prey import RUNNER, Life, Prey

LOOK_SECONDS = 0.05
STAGE_SECONDS = 150
#: A migration that waits for a human for so long will not go on.
STALLED_SECONDS = 25
STEPS = (
    *("Gate", "ArmReverse", "Probe", "Return", "CatchUp", "Fence", "Barrier", "Drain", "Retire"),
    *("Verify", "Sequences", "Restore", "Canary", "Arrival", "Commit", "Open", "Finish"),
)
#: How long after it listens a worker may live, at most, before it is killed.
LIFE_SECONDS = {"snapshot": 1.0, "cutover": 2.0, "capture": 2.0, "apply": 2.0}
ANY = "any"
STOP = "stop"
SESSION = "session"  #: one of Bowline's in a database, ended by the server
SERVER = "server"  #: one of the two, killed as a crash would and started again

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


class Hunt:
    """Strikes at the processes of one migration while it goes on, at instants that the seed picks."""

    def __init__(
        self,
        prey: Prey,
        chance: random.Random,
        places: Mapping[str, Place],
    ) -> None:
        self._places = places
        self.prey, self.chance = prey, chance
        self.servers_crashed = False
        self._restart_at = 0.0

    def through(
        self, stage: str, roles: Sequence[str], reached: Reached, *, wait: bool = False
    ) -> None:
        """Kill those roles, one after another, until the stage is done; on `wait`, each of them in any case."""
        began, stalled = time.monotonic(), 0.0
        left = [Aim(role) for role in roles]
        pause_until = 0.0
        while True:
            self.keep_running()
            now, at = self.prey.status(), time.monotonic()
            if at >= pause_until and left and self._take(left[0], at):
                left.pop(0)
                pause_until = at + self.chance.uniform(0.0, 1.2)
            if reached(now) and not (wait and left) and not self.prey.runner_is_dead():
                break
            stalled = (stalled or at) if holds("Stalled")(now) else 0.0
            if at - began > STAGE_SECONDS or (stalled and at - stalled > STALLED_SECONDS):
                raise Stuck(f"{stage}: {now.get('phase')}: {now.get('message') or 'no message'}")
            time.sleep(LOOK_SECONDS)
        for aim in left:
            self.prey.say(f"{stage} was done before {aim.role} was killed")

    def keep_running(self) -> None:
        self.prey.thaw()
        if (code := self.prey.exit_code()) is not None:
            if code == 0 and self.prey.status().get("phase") == "Completed":
                return
            raise Stuck(f"bowline run ended by itself, with {code}")
        if self.prey.runner_is_dead() and time.monotonic() >= self._restart_at:
            self.prey.start()
            self.prey.say("bowline run is started again")

    def _take(self, aim: Aim, at: float) -> bool:
        """Strike when the moment has come; True: this aim is done with."""
        if aim.role == RUNNER:
            aim.due = aim.due or at + self.chance.uniform(0.0, 1.5)
            if at < aim.due or self.prey.runner_is_dead() or self.prey.exit_code() is not None:
                return False
            self.prey.kill_runner()
            self._restart_at = time.monotonic() + self.chance.uniform(0.0, 1.0)
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
        if at < aim.due and not (aim.step and has_come(aim.life.step(), aim.step)):
            return False
        if aim.role == STOP:
            return self.prey.freeze(aim.life, self.chance.uniform(1.0, 4.0))
        return self.prey.kill(aim.life)

    def _end_session(self, aim: Aim, at: float) -> bool:
        """Have a server end one of Bowline's sessions, as an administrator or a lost connection would."""
        aim.due = aim.due or at + self.chance.uniform(0.0, 1.0)
        side = self.chance.choice(sorted(self._places))
        if at < aim.due:
            return False
        ended = self._places[side].end_session(self.chance)
        if ended:
            self.prey.say(f"ended session {ended} of the {side}")
        return bool(ended)

    def _crash_server(self, aim: Aim, at: float) -> bool:
        """Kill a server's processes and start it again: what was committed is there, answers are lost."""
        aim.due = aim.due or at + self.chance.uniform(0.0, 1.0)
        if at < aim.due:
            return False
        side = self.chance.choice(
            sorted(side for side, place in self._places.items() if place.can_crash)
        )
        self.servers_crashed = True
        self.prey.say(f"the server of the {side} crashes")
        self._places[side].crash()
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


def is_in(phase: str) -> Reached:
    return lambda now: now.get("phase") == phase


def holds(condition: str) -> Reached:
    return lambda now: any(
        each["type"] == condition and each.get("status") == "True"
        for each in now.get("conditions", [])
    )


def compared(now: Status) -> int:
    return int((now.get("verification") or {}).get("request", 0))


def attempt_of(now: Status) -> int:
    return int((now.get("cutover") or {}).get("attempt", 0))


def is_idle(now: Status) -> bool:
    return (now.get("cutover") or {}).get("mode") == "Idle"


def has_come(step: str, wanted: str) -> bool:
    return step in STEPS and STEPS.index(step) >= STEPS.index(wanted)
