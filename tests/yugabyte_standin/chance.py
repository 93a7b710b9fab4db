"""Which transactions fail by 40001, and where in them: by a seed, and never fewer than a share."""

from __future__ import annotations

import random
import re
import threading
from dataclasses import dataclass

#: What the acceptance asks for, and what is aimed at.
LEAST_SHARE = 0.05
FLOOR, CHANCE = 0.06, 0.08

_NAME = re.compile(r"\s*(\w+)(?:\s+(\w+))?")
#: Settings, and what only a session is asked, conflict with nobody's work.
_QUIET = frozenset(
    ("set", "show", "reset", "deallocate", "discard", "savepoint", "release", "rollback")
)
_WORK = re.compile(r"\b(?:from|into|update|copy|create|alter|drop|truncate|lock)\b", re.IGNORECASE)


def kind_of(statement: str) -> str:
    """begin, commit, rollback, view (an imported snapshot), quiet or work."""
    found = _NAME.match(statement)
    first, second = (found[1].lower(), (found[2] or "").lower()) if found else ("", "")
    if first in ("begin", "commit"):
        return first
    if first == "rollback" and second != "to":
        return "rollback"
    if first == "set" and "snapshot" in statement.lower():
        return "view"
    if first in _QUIET or not _WORK.search(statement) or "pg_create_logical" in statement:
        return "quiet"
    return "work"


class Chance:
    """Counts transactions that work, and dooms some of them. Shared by all connections."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.transactions = self.failed = 0

    def doom(self) -> int | None:
        """A transaction begins to work: None where it may pass; else which of its statements fails (beyond: COMMIT)."""
        with self._lock:
            self.transactions += 1
            if self.failed >= FLOOR * self.transactions and self._random.random() >= CHANCE:
                return None
            self.failed += 1
            return self._random.choice((1, 1, 2, 3, 1000))

    def spared(self) -> None:
        """A doomed transaction was rolled back by its own client before it came so far."""
        with self._lock:
            self.failed -= 1


@dataclass(slots=True)
class Fate:
    """The transaction that a session is in."""

    fails_at: int | None = None
    has_worked: bool = False
    statements: int = 0
    is_view: bool = False
