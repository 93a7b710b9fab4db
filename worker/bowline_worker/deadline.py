"""A clock that acts when time is up, whatever the rest of the process is stuck in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

POLL_SECONDS = 0.05


def time_left(budget: timedelta, since: datetime, now: datetime) -> timedelta:
    """What is left of a budget that began at `since`, by another process's clock: never less than 0 nor more than all.

    A clock that is behind that one's would lengthen it: the databases would stay closed.
    """
    return min(budget, max(timedelta(0), budget - (now - since)))


class Deadline:
    """Runs `act` in a thread of its own once the time is used up, unless cancelled before."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.over = threading.Event()
        self._act = act
        self._timer: threading.Timer | None = None

    @property
    def runs(self) -> bool:
        return self._timer is not None

    def start(self, seconds: float) -> None:
        """Start the clock; a second call changes nothing."""
        if self._timer is None:
            self._timer = threading.Timer(seconds, self._expire)
            self._timer.daemon = True
            self._timer.start()

    def cancel(self, *, wait: bool = False) -> None:
        """Stop the clock; an act that has begun goes on, and may be waited for."""
        if self._timer is not None:
            self._timer.cancel()
            if wait:
                self._timer.join()

    def _expire(self) -> None:
        self.over.set()
        self._act()


class Either(threading.Event):
    """Is set when any of the others is: for code that takes one event to stop at."""

    def __init__(self, *events: threading.Event) -> None:
        super().__init__()
        self._events = events

    def is_set(self) -> bool:
        return super().is_set() or any(event.is_set() for event in self._events)

    def wait(self, timeout: float | None = None) -> bool:
        ends_at = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = (
                POLL_SECONDS if ends_at is None else min(POLL_SECONDS, ends_at - time.monotonic())
            )
            if left <= 0:
                break
            super().wait(left)
        return self.is_set()
