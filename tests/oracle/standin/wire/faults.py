"""Connections that drop at a chosen call, before its work is done or after it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random


class Call(StrEnum):
    """Kinds of calls. A first execution that brings rows along is EXECUTE, even though it fetches."""

    EXECUTE = "execute"
    FETCH = "fetch"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    PING = "ping"
    LOB = "lob"
    LOGOFF = "logoff"


class When(StrEnum):
    BEFORE = "before"  #: nothing is done, and the session ends
    AFTER = "after"  #: it is done, the reply is lost, and the session ends: what exactly-once must survive


@dataclass(slots=True)
class Fault:
    """One drop that is to happen, once."""

    call: Call
    when: When
    left: int  #: calls until then, this one included
    containing: str  #: in lower case; the statement's text has it
    happened: threading.Event = field(default_factory=threading.Event)


class Faults:
    """The drops of one server, over all its sessions; to be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[Fault] = []

    def drop(self, call: Call, when: When, *, nth: int = 1, containing: str = "") -> Fault:
        """Plan a drop at the nth such call from now, counting executions only of statements with that text.

        An `executemany` is one execution. The answer's `happened` is set when the connection is dropped.
        """
        fault = Fault(call, when, nth, containing.lower())
        with self._lock:
            self._planned.append(fault)
        return fault

    def clear(self) -> None:
        """Plan nothing any more."""
        with self._lock:
            self._planned.clear()

    def due(self, call: Call, text: str) -> Fault | None:
        """Count a call, and tell the drop that it is to suffer."""
        with self._lock:
            concerned = [
                fault
                for fault in self._planned
                if fault.call is call and fault.containing in text.lower()
            ]
            for fault in concerned:
                fault.left -= 1
            due = next((fault for fault in concerned if fault.left <= 0), None)
            if due is not None:
                self._planned.remove(due)
            return due


class RandomDrops(Faults):
    """Besides what is planned: some commits are never heard, and of some nobody hears."""

    def __init__(self, seed: int, chance: float, kinds: Sequence[When] = tuple(When)) -> None:
        super().__init__()
        self._random = Random(seed)
        self._kinds = kinds
        self.chance = chance  #: of each kind, per commit
        self.fired: Counter[str] = Counter()

    def due(self, call: Call, text: str) -> Fault | None:
        planned = super().due(call, text)
        if planned is not None or call is not Call.COMMIT:
            return planned
        with self._lock:
            drawn = self._random.random()
            for kind in self._kinds:
                if drawn < self.chance:
                    self.fired[f"drop_{kind}_commit"] += 1
                    return Fault(call, kind, 0, "")
                drawn -= self.chance
            return None
