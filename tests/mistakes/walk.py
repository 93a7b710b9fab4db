"""One mistake, from when it is made until the migration goes on without it; what was told meanwhile is judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.control import RoadBlocked
from demo.servers import Server

from mistakes.setting import NotHere, Setting, setting

TOLD_SECONDS = 90
GOES_ON_SECONDS = 180
LOOK_SECONDS = 0.1
#: What is observed when a request is met.
REACHED = {"Cutover": "FallbackStreaming", "Switchover": "SwitchedBack"}
#: A message that a phone shows whole.
LONGEST = 500

Do = Callable[[Setting], None]


def nothing(_: Setting) -> None:
    """The mistake is in what others did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A mistake. `reason`: what the status calls it; empty where nothing of it may be met at all."""

    name: str
    reason: str
    says: str  #: words of the message: what is wrong, as one would name it
    make: Do
    mend: Do
    settings: Mapping[str, str] | None = None  #: of a source of its own
    own_target: bool = False  #: what is done to the server would disturb others
    before: Do = nothing  #: what is not wrong yet, and must be there from the beginning
    since: str = ""  #: the phase at which it is made; empty: from the beginning
    road: tuple[str, ...] = ()  #: what is asked for, one after the other, before it is made
    ends: str = "condition=CaughtUp"  #: what is reached once it is mended
    leaves_nothing: bool = True  #: it is found before anything is made


class Wrong(Exception):
    """Not as it must be; the message says what."""


@dataclass(frozen=True, slots=True)
class Told:
    reason: str
    message: str


def walk(case: Case, servers: Mapping[str, Server], directory: Path) -> Told:
    """Make the mistake, hear of it, mend it, and see the migration go on and leave nothing. Wrong if one fails."""
    with setting(servers, directory) as here:
        try:
            return _walk(case, here)
        except RoadBlocked as error:
            said = "; ".join(f"{reason}: {message}" for reason, message in here.told() if message)
            raise Wrong(f"{error}; the status says: {said}") from error
        except NotHere as error:
            raise Wrong(str(error)) from error


def _walk(case: Case, here: Setting) -> Told:
    case.before(here)
    is_late = case.since or case.road
    if not is_late:
        case.make(here)
    here.control.start()
    for asked in case.road:
        here.control.wait("condition=CaughtUp", GOES_ON_SECONDS)
        here.ask(asked)
        here.control.wait(f"phase={REACHED[asked]}", GOES_ON_SECONDS)
    if case.since:
        here.control.wait(f"phase={case.since}", GOES_ON_SECONDS)
    if is_late:
        case.make(here)
    told = _told(case, here) if case.reason else Told("", "is no obstacle")
    if case.leaves_nothing and case.reason and (left := here.remains()):
        raise Wrong(f"left behind while it is refused: {', '.join(left)}")
    case.mend(here)
    if case.ends:
        here.control.wait(case.ends, GOES_ON_SECONDS)
        _check_rows(here)
    here.ask("Complete")
    if here.control.end(seconds=GOES_ON_SECONDS) != 0:
        raise Wrong(f"it does not end: {here.control.status.get('message')}")
    if left := [*here.remains(), *here.files()]:
        raise Wrong(f"left behind at the end: {', '.join(left)}")
    _refuse_traces(here)
    return told


def _told(case: Case, here: Setting) -> Told:
    """Wait until the status names the mistake."""
    until = time.monotonic() + TOLD_SECONDS
    while time.monotonic() < until:
        for reason, message in here.told():
            if reason == "InternalError":
                raise Wrong(f"a stack trace, for {case.name}: {message}")
            is_it = reason == case.reason and case.says in message
            if is_it and here.condition("Ready") == "False":
                _check_message(message)
                _refuse_traces(here)  # the logs of old tries are thrown away
                return Told(reason, message)
        time.sleep(LOOK_SECONDS)
    said = "; ".join(f"{reason}: {message}" for reason, message in here.told() if message)
    raise Wrong(f"it is not called {case.reason} ({case.says}) but: {said}")


def _refuse_traces(here: Setting) -> None:
    if traces := here.traces():
        raise Wrong(f"a stack trace: {traces[0]}")


def _check_message(message: str) -> None:
    if len(message) > LONGEST or "\n" in message:
        raise Wrong(f"not one line of at most {LONGEST} characters: {message}")


def _check_rows(here: Setting) -> None:
    if here.content("source") != here.content("target"):
        raise Wrong("the rows differ")
