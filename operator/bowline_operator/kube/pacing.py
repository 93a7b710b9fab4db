"""What wakes a migration's passes, and how long they rest in between."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

from bowline_operator.plan import RESYNC

Place: TypeAlias = tuple[str, str]  #: namespace and name

#: Passes in a row without a rest, before they slow down: something hangs then, and asking faster does not mend it.
EAGER_PASSES = 300
SLOW = timedelta(seconds=2)
HURRIED = timedelta(seconds=1)


@dataclass(slots=True)
class Bell:
    """One migration's alarm and its lock: passes and the end of its deletion never overlap."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _rung: asyncio.Event = field(default_factory=asyncio.Event)
    _hurried: int = 0
    _quiet: int = 0
    _seen: object = None

    @property
    def has_rung(self) -> bool:
        """Whether something has happened since the world was read."""
        return self._rung.is_set()

    def ring(self) -> None:
        self._rung.set()

    def ring_if_new(self, seen: object) -> None:
        """Ring unless this was seen last time: our own writes wake nobody."""
        if seen != self._seen:
            self._seen = seen
            self.ring()

    def silence(self) -> None:
        """Before the world is read: what happens from here on causes another pass."""
        self._rung.clear()

    async def rest(self, pause: timedelta, *, quiet: bool) -> None:
        """Wait until it rings, or so long."""
        pause = self.pause(pause, quiet=quiet)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), pause.total_seconds())

    def pause(self, pause: timedelta, *, quiet: bool) -> timedelta:
        """Choose how long to rest: longer and longer while passes are quiet, that is, change nothing.

        A pass in a hurry is repeated soon all the same, for some minutes.
        """
        self._quiet = self._quiet + 1 if quiet else 0
        if pause < HURRIED:
            self._hurried += 1
            return max(pause, SLOW) if self._hurried > EAGER_PASSES else pause
        self._hurried = 0
        return max(pause, min(pause * (1 << min(self._quiet, 4)), RESYNC))


class Bells:
    """All migrations' bells."""

    def __init__(self) -> None:
        self._bells: dict[Place, Bell] = {}

    def __len__(self) -> int:
        return len(self._bells)

    def of(self, place: Place) -> Bell:
        return self._bells.setdefault(place, Bell())

    def ring(self, place: Place) -> None:
        """Ring for a migration that is looked after; for any other there is nobody to wake."""
        if place in self._bells:
            self._bells[place].ring()

    def drop(self, place: Place) -> None:
        self._bells.pop(place, None)
