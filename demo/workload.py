"""The shop's application: writers that know both sides, write to the one that takes it, and keep their own ledger.

`python -m demo.workload` reads its orders (JSON) from standard input, so that no password is an argument, prints a
line of figures (JSON) now and then, and stops at SIGTERM with every outcome written.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psycopg

from demo.operations import Ranges, choose, parameters
from demo.record import Outcome, Recorder

SIDES = ("source", "target")
#: How the fence says no: the error of a read-only server.
FENCED = "25006"
#: A fenced writer asks the other side next, after a moment.
TURN_SECONDS = 0.01
FIGURES_SECONDS = 0.25


@dataclass
class Figures:
    """What the writers have done so far."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    surprises: Counter[str] = field(
        default_factory=Counter
    )  #: by SQLSTATE: not a fence, not a lost connection
    side: str = SIDES[0]


@dataclass
class Shared:
    """What all writers have in common."""

    dsns: Mapping[str, str]
    ranges: Ranges
    recorder: Recorder
    pause: float  #: between one writer's transactions
    stop: threading.Event = field(default_factory=threading.Event)
    figures: Figures = field(default_factory=Figures)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Transactional(Protocol):
    """What `execute` must know of a kind of transaction."""

    @property
    def statements(self) -> tuple[str, ...]: ...
    @property
    def rolls_back(self) -> bool: ...


class Client:
    """One connection, to the side it believes in."""

    def __init__(self, dsns: Mapping[str, str]) -> None:
        self._dsns = dsns
        self._connection: psycopg.Connection[Any] | None = None
        self.side = SIDES[0]

    def do(self, kind: Transactional, values: Mapping[str, Any]) -> tuple[Outcome, str]:
        """Do one transaction; its outcome, and the SQLSTATE where the server gave one."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(
                    self._dsns[self.side], autocommit=True, prepare_threshold=0
                )
        except psycopg.OperationalError:
            self.turn()
            return Outcome.FAILED, ""
        connection = self._connection
        try:
            return execute(connection, kind, values), ""
        except psycopg.Error as error:
            if connection.closed or error.sqlstate is None:
                # The transaction may be committed, and its reply lost. Nobody can tell by now.
                self.turn()
                return Outcome.UNKNOWN, error.sqlstate or ""
            if error.sqlstate == FENCED:
                self.turn()
            return Outcome.FAILED, error.sqlstate

    def turn(self) -> None:
        """Believe in the other side from now on."""
        self.disconnect()
        self.side = SIDES[1 - SIDES.index(self.side)]

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Writer:
    """One client, and what it does."""

    def __init__(self, shared: Shared, number: int) -> None:
        self._shared = shared
        self._number = number
        self._random = random.Random(number)
        self._client = Client(shared.dsns)
        self._n = 0

    def run(self) -> None:
        """Write until told to stop, at the pace asked for; what a pause cost is not caught up on."""
        due = time.monotonic() + self._random.random() * self._shared.pause
        while not self._shared.stop.wait(max(0.0, due - time.monotonic())):
            outcome = self._one()
            due += self._shared.pause
            if outcome in (Outcome.FAILED, Outcome.UNKNOWN):
                due = time.monotonic() + TURN_SECONDS
            elif due < time.monotonic() - 1:
                due = time.monotonic()
        self._client.disconnect()

    def _one(self) -> Outcome:
        """Do one transaction; its intent is written before, its outcome after."""
        self._n += 1
        kind = choose(self._random)
        values = parameters(self._random, self._shared.ranges, self._number, self._n, kind)
        side = self._client.side
        self._shared.recorder.intent(self._number, self._n, kind.name, side, time.time())
        outcome, sqlstate = self._client.do(kind, values)
        if outcome is Outcome.UNKNOWN:
            sqlstate = ""  # why the connection went is no surprise of the transaction's
        self._shared.recorder.outcome(self._number, self._n, outcome, side, time.time(), sqlstate)
        with self._shared.lock:
            figures = self._shared.figures
            figures.outcomes[outcome] += 1
            if outcome is Outcome.OK:
                figures.side = side
            elif sqlstate not in ("", FENCED):
                figures.surprises[sqlstate] += 1
        return outcome


def execute(
    connection: psycopg.Connection[Any], kind: Transactional, values: Mapping[str, Any]
) -> Outcome:
    """Run one transaction; any error leaves nothing of it."""
    if len(kind.statements) == 1:
        connection.execute(kind.statements[0].encode(), values)
        return Outcome.OK
    with connection.transaction(force_rollback=kind.rolls_back):
        for statement in kind.statements:
            connection.execute(statement.encode(), values if "%(" in statement else None)
    return Outcome.ROLLED_BACK if kind.rolls_back else Outcome.OK


def main() -> None:
    orders = json.load(sys.stdin)
    recorder = Recorder(Path(orders["record"]))
    shared = Shared(
        dsns=orders["dsns"],
        ranges=Ranges.of(orders["scale"]),
        recorder=recorder,
        pause=orders["writers"] / orders["rate"],
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: shared.stop.set())
    threads = [
        threading.Thread(target=Writer(shared, number).run, name=f"writer {number}")
        for number in range(1, orders["writers"] + 1)
    ]
    for thread in threads:
        thread.start()
    try:
        while not shared.stop.wait(FIGURES_SECONDS):
            print_figures(shared)
    finally:  # also when nobody reads the figures any more: whoever started us is gone
        shared.stop.set()
        for thread in threads:
            thread.join()
        recorder.close()
    print_figures(shared)


def print_figures(shared: Shared) -> None:
    with shared.lock:
        line = {
            "at": time.time(),
            "side": shared.figures.side,
            "outcomes": dict(shared.figures.outcomes),
            "surprises": dict(shared.figures.surprises),
        }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
