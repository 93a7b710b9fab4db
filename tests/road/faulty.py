"""The worker program, made to die, stop, or lose a reply at one named place of a switch. For tests only.

Run as a program it is a nursery: it imports the worker once, and forks a process for each line that it reads, so that
a test that starts hundreds pays for the imports once. It tells, a line each, who began, stopped, and ended how.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from types import FrameType
from typing import Any

import psycopg

from bowline_worker import main as worker
from bowline_worker.contract import TryAgain
from bowline_worker.endpoints import postgres
from bowline_worker.endpoints.base import Books, Endpoint
from bowline_worker.roles import abort, apply, capture, cutover
from bowline_worker.saga import Look, Step, View
from bowline_worker.saga_acts import Act, Done, Effect
from bowline_worker.saga_effects import Means

#: Imported here so that no child has to.
PRELOADED = (abort, apply, capture, postgres)


#: In a worker's environment: so often it compares the schema, in seconds, and not as often as the product does.
SHAPES_PACE = "TEST_SHAPES_SECONDS"
#: In a worker's environment: it never compares the schema, as if the first row of a new form came quicker.
BLIND = "TEST_SHAPES_UNSEEN"


PR_SET_PDEATHSIG = 1


class Place(StrEnum):
    """Where in a step's one transaction."""

    BEFORE = "before"  #: nothing was done
    WITHIN = "within"  #: its effects are there, with their locks, and not committed
    AFTER = "after"  #: they are committed, and nobody here knows


class Harm(StrEnum):
    KILL = "kill"
    STOP = "stop"
    LOSE = "lose"  #: the connection is lost before the reply comes


@dataclass(frozen=True, slots=True)
class Fault:
    """One harm, once, to the process that takes that step."""

    step: str
    place: Place
    harm: Harm

    def dump(self) -> str:
        return json.dumps(asdict(self))


class Faulty:
    """The seams of the cutover role, with one fault in them."""

    def __init__(self, fault: Fault) -> None:
        self._fault: Fault | None = fault
        self._step: Step | None = None
        self._is_due = False  #: the transaction that commits next is the one
        self._main = threading.get_ident()

    def install(self) -> None:
        cutover.Cutover._take = self._wrap_take(cutover.Cutover._take)  # type: ignore[method-assign]
        cutover.carry_out = self._wrap_carry_out(cutover.carry_out)  # type: ignore[attr-defined]
        cutover.change_slots = self._wrap_change_slots(cutover.change_slots)  # type: ignore[attr-defined]
        psycopg.Connection.commit = self._wrap_commit(psycopg.Connection.commit)  # type: ignore[method-assign]

    def _wrap_take(self, take: Callable[..., Act]) -> Callable[..., Act]:
        def faulty(walk: cutover.Cutover, step: Step) -> Act:
            self._step, self._is_due = step, False
            self._strike(Place.BEFORE)
            return take(walk, replace(step, decide=self._wrap_decide(step.decide)))

        return faulty

    def _wrap_decide(self, decide: Callable[[View], Act]) -> Callable[[View], Act]:
        def faulty(view: View) -> Act:
            act = decide(view)
            if isinstance(act, Done):  # a read has no other effect than to be over
                self._had_effects()
            return act

        return faulty

    def _wrap_carry_out(self, carry_out: Callable[..., None]) -> Callable[..., None]:
        def faulty(effects: Iterable[Effect], books: Books, means: Means | None = None) -> None:
            carry_out(effects, books, means)
            self._had_effects()

        return faulty

    def _wrap_change_slots(self, change: Callable[..., None]) -> Callable[..., None]:
        def faulty(effects: Iterable[Effect], endpoint: Endpoint) -> None:
            change(effects, endpoint)
            # Slots are made outside any transaction: a reply that is lost is lost here.
            self._strike(Place.WITHIN)
            try:
                self._strike(Place.AFTER, harms=(Harm.LOSE,))
            except psycopg.OperationalError as error:
                raise TryAgain(str(error), reason="Unreachable") from error

        return faulty

    def _had_effects(self) -> None:
        if self._step is not None and Look.SLOTS not in self._step.reads:
            self._strike(Place.WITHIN)
        self._is_due = True

    def _wrap_commit(self, commit: Callable[..., None]) -> Callable[..., None]:
        def faulty(connection: psycopg.Connection[Any]) -> None:
            commit(connection)
            if self._is_due and threading.get_ident() == self._main:
                self._is_due = False
                self._strike(Place.AFTER, connection.close)

        return faulty

    def _strike(
        self,
        place: Place,
        lose: Callable[[], None] = lambda: None,
        harms: Sequence[Harm] = tuple(Harm),
    ) -> None:
        fault = self._fault
        if fault is None or self._step is None or fault.harm not in harms:
            return
        if (fault.step, fault.place) != (str(self._step.name), place):
            return
        self._fault = None
        match fault.harm:
            case Harm.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Harm.STOP:
                os.kill(os.getpid(), signal.SIGSTOP)
            case Harm.LOSE:
                lose()
                raise psycopg.OperationalError("server closed the connection unexpectedly")


# --- the nursery ---------------------------------------------------------------------------------


def nurse() -> None:
    """Fork a worker for each line of the standard input; its end ends us, and all of them."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.signal(signal.SIGCHLD, _wake)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    children: set[int] = set()
    left = b""
    while True:
        ready, _, _ = select.select([0, read_end], [], [])
        if read_end in ready:
            os.read(read_end, 4096)
            _tell_changes(children)
        if 0 not in ready:
            continue
        more = os.read(0, 65536)
        if not more:
            break
        *lines, left = (left + more).split(b"\n")
        for line in lines:
            order = json.loads(line)
            child = os.fork()
            if not child:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(read_end)
                os.close(write_end)
                become(order)
                return
            children.add(child)
            _tell(pid=child, began=order["number"])
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _wake(number: int, frame: FrameType | None) -> None:
    """Only the wake-up pipe is wanted."""


def _tell_changes(children: set[int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if not pid:
                return
            if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
                _tell(pid=pid, stopped=os.WIFSTOPPED(status))
            else:
                children.discard(pid)
                _tell(pid=pid, ended=os.waitstatus_to_exitcode(status))


def _tell(**what: int) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def become(order: dict[str, Any]) -> None:
    """Be the worker from here on, as if it had been started with these arguments."""
    if sys.platform == "linux":
        # Die with the nursery, even when stopped: whoever kills a test's run leaves nothing behind.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    null = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((null, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    os.environ.update(order["env"])
    if pace := os.environ.get(SHAPES_PACE):
        capture.SHAPES_SECONDS = float(pace)
    if os.environ.get(BLIND):
        capture.check_shapes = lambda origin, directory: None
    if order["fault"]:
        fault = json.loads(order["fault"])
        Faulty(Fault(fault["step"], Place(fault["place"]), Harm(fault["harm"]))).install()
    sys.argv = ["bowline-worker", *order["arguments"]]
    worker.main()


if __name__ == "__main__":
    nurse()
