"""The writers' ledger file: an intent before each operation, an outcome after it. Nothing in it is Bowline's word.

A line is a JSON array: ["I", writer, n, op, side, time] or ["O", writer, n, outcome, side, time, sqlstate].
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

#: The file is synced at most this long after a line was written; the line itself survives our own death at once.
SYNC_SECONDS = 0.05


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "failed"  #: the server said no, or was never asked
    ROLLED_BACK = "rolled back"  #: on purpose
    UNKNOWN = "unknown"  #: the connection was lost before the answer


class Recorder:
    """Appends lines from any thread, syncs them in the background."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._dirty = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sync, name="sync", daemon=True)
        self._thread.start()

    def intent(self, writer: int, n: int, op: str, side: str, at: float) -> None:
        self._write(["I", writer, n, op, side, at])

    def outcome(
        self, writer: int, n: int, outcome: Outcome, side: str, at: float, sqlstate: str
    ) -> None:
        self._write(["O", writer, n, outcome, side, at, sqlstate])

    def close(self) -> None:
        self._stop.set()
        self._dirty.set()
        self._thread.join()
        os.fdatasync(self._file)
        os.close(self._file)

    def _write(self, line: list[object]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")  # one write: lines never mix
        self._dirty.set()

    def _sync(self) -> None:
        while not self._stop.wait(SYNC_SECONDS):
            self._dirty.wait()
            self._dirty.clear()
            os.fdatasync(self._file)


@dataclass(slots=True)
class Operation:
    writer: int
    n: int
    op: str
    side: str
    at: float
    outcome: Outcome = Outcome.UNKNOWN  #: also where the writer died before it wrote one
    answered: float = 0.0
    sqlstate: str = ""


@dataclass(slots=True)
class Switch:
    """The writers' move from one side to the other."""

    old: str
    new: str
    last_ok: float
    first_ok: float

    @property
    def seconds(self) -> float:
        return self.first_ok - self.last_ok


@dataclass(slots=True)
class Record:
    """A whole file, read back."""

    operations: dict[tuple[int, int], Operation] = field(default_factory=dict)

    def of(self, *outcomes: Outcome) -> list[Operation]:
        return [each for each in self.operations.values() if each.outcome in outcomes]

    def acknowledged(self) -> list[Operation]:
        """What was acknowledged, in the order of the answers."""
        return sorted(self.of(Outcome.OK), key=lambda each: each.answered)

    def switches(self) -> list[Switch]:
        """Where the acknowledged operations change sides."""
        found = []
        before: Operation | None = None
        for each in self.acknowledged():
            if before is not None and before.side != each.side:
                found.append(Switch(before.side, each.side, before.answered, each.answered))
            before = each
        return found

    def between(self, start: float, end: float) -> int:
        return sum(start <= each.answered < end for each in self.of(Outcome.OK))


def read(path: Path) -> Record:
    """Read a file back; an intent without an outcome is unknown, a torn last line is cut."""
    record = Record()
    for kind, writer, n, *rest in _lines(path):
        if kind == "I":
            op, side, at = rest
            record.operations[writer, n] = Operation(writer, n, op, side, at)
        else:
            outcome, _, at, sqlstate = rest
            operation = record.operations[writer, n]
            operation.outcome = Outcome(outcome)
            operation.answered = at
            operation.sqlstate = sqlstate
    return record


def _lines(path: Path) -> Iterator[list[Any]]:
    text = path.read_bytes()
    for line in text[: text.rfind(b"\n") + 1].splitlines():
        yield json.loads(line)
