"""What a role looks after beside its work, a thread for each duty, and how a failure there reaches the role."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bowline_worker.contract import BowlineError, TryAgain

log = logging.getLogger("bowline")

# A database that restarts is back before; longer means that the role had better start anew.
PATIENCE_SECONDS = 30.0

# Ending a thread that waits for a database: the process ends anyway.
JOIN_SECONDS = 2.0


@dataclass(slots=True)
class Duty:
    """Something to do again and again. Errors but TryAgain end the role at once, as does the first where `strict`."""

    name: str  #: as in "could not ...": `write heartbeats`
    act: Callable[[], None]
    every: float
    strict: bool = False
    worked: float = 0.0
    error: str = ""


class Watch:
    """Runs duties in daemon threads. The role calls `check` in its loop, and hears there of what failed.

    A duty that hangs counts as one that fails: `check` looks at the time of its last success.
    """

    def __init__(self, duties: Sequence[Duty], clock: Callable[[], float] = time.monotonic) -> None:
        self._duties, self._clock = duties, clock
        self._stop = threading.Event()
        self._failure: BowlineError | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(duty,), name=duty.name, daemon=True)
            for duty in duties
        ]

    def start(self) -> None:
        for duty in self._duties:
            duty.worked = self._clock()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(JOIN_SECONDS)

    def check(self) -> None:
        """Raise what a duty has failed with."""
        if self._failure is not None:
            raise self._failure
        now = self._clock()
        for duty in self._duties:
            if now - duty.worked > duty.every + PATIENCE_SECONDS:
                raise TryAgain(
                    f"could not {duty.name} for {now - duty.worked:.0f} s: {duty.error or 'no answer'}"
                )

    def _run(self, duty: Duty) -> None:
        while not self._stop.is_set():
            try:
                duty.act()
            except TryAgain as error:
                if duty.strict:
                    self._fail(error)
                    return
                if not duty.error:
                    log.warning("could not %s: %s", duty.name, error)
                duty.error = str(error)
            except BowlineError as error:
                self._fail(error)
                return
            else:
                duty.worked, duty.error = self._clock(), ""
            self._stop.wait(duty.every)

    def _fail(self, error: BowlineError) -> None:
        self._failure = self._failure or error
