"""The soak's application: writers that keep their own ledger, and a stray that writes to the side it should not."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from demo.record import Outcome, Recorder
from demo.workload import SIDES, TURN_SECONDS

#: The stray's transactions carry this as their writer.
STRAY_WRITER = 99
STRAY_SECONDS = 0.4


@dataclass
class Shared:
    """What all writers have in common."""

    recorder: Recorder
    pause: float  #: between one writer's transactions
    stop: threading.Event = field(default_factory=threading.Event)
    streaming: threading.Event = field(default_factory=threading.Event)
    side: str = SIDES[0]  #: where a transaction was acknowledged last


class Kind(Protocol):
    """A kind of transaction."""

    @property
    def name(self) -> str: ...
    @property
    def share(self) -> int: ...
    @property
    def only_streaming(self) -> bool: ...


K = TypeVar("K", bound=Kind)
K_contra = TypeVar("K_contra", bound=Kind, contravariant=True)


class Client(Protocol[K_contra]):
    """See demo.workload."""

    side: str

    def do(self, kind: K_contra, values: Mapping[str, Any]) -> tuple[Outcome, str]: ...
    def disconnect(self) -> None: ...


class Writer(Generic[K]):
    """One client, and what it does."""

    def __init__(
        self,
        shared: Shared,
        number: int,
        chance: random.Random,
        client: Client[K],
        kinds: Sequence[K],
    ) -> None:
        self._shared, self._number, self._random = shared, number, chance
        self._client, self._kinds = client, kinds
        self._n = 0

    def run(self) -> None:
        while not self._shared.stop.wait(self._shared.pause * 2 * self._random.random()):
            outcome = self._one(self._choose())
            if outcome is Outcome.OK:
                self._shared.side = self._client.side
            elif outcome is not Outcome.ROLLED_BACK:
                time.sleep(TURN_SECONDS)
        self._client.disconnect()

    def _choose(self) -> K:
        weights = [kind.share for kind in self._kinds]
        while True:
            kind = self._random.choices(self._kinds, weights=weights)[0]
            if not kind.only_streaming or self._shared.streaming.is_set():
                return kind

    def _one(self, kind: K) -> Outcome:
        """Do one transaction; its intent is written before, its outcome after."""
        self._n += 1
        record, side = self._shared.recorder, self._client.side
        record.intent(self._number, self._n, kind.name, side, time.time())
        values = {
            "writer": self._number,
            "n": self._n,
            "kind": kind.name,
            "a": self._random.randrange(1 << 30),
            "b": self._random.randrange(1 << 30),
        }
        outcome, sqlstate = self._client.do(kind, values)
        record.outcome(self._number, self._n, outcome, side, time.time(), sqlstate)
        return outcome


class Stray(Writer[K]):
    """Writes to the side where the others are not. What is accepted there is a second writer, or a switch just made."""

    def run(self) -> None:
        while not self._shared.stop.wait(STRAY_SECONDS):
            self._client.disconnect()
            self._client.side = SIDES[1 - SIDES.index(self._shared.side)]
            self._one(self._kinds[0])
        self._client.disconnect()


class Crowd:
    """Writers, each a thread."""

    def __init__(self, shared: Shared, writers: Sequence[Writer[Any]]) -> None:
        self.shared = shared
        self._threads = [threading.Thread(target=writer.run, daemon=True) for writer in writers]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End them; every outcome is written when they are gone."""
        self.shared.stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(60)
