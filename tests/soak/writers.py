"""The soak's application: writers that keep their own ledger, and a stray that writes to the side it should not."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from demo.record import Outcome, Recorder
from demo.workload import FENCED, SIDES, TURN_SECONDS

from soak.shape import KINDS, STRAY, Kind

#: The stray's transactions carry this as their writer.
STRAY_WRITER = 99
STRAY_SECONDS = 0.4


@dataclass
class Shared:
    """What all writers have in common."""

    dsns: Mapping[str, str]
    recorder: Recorder
    pause: float  #: between one writer's transactions
    stop: threading.Event = field(default_factory=threading.Event)
    streaming: threading.Event = field(default_factory=threading.Event)
    side: str = SIDES[0]  #: where a transaction was acknowledged last


class Writer:
    """One client: one connection to the side it believes in."""

    def __init__(self, shared: Shared, number: int, chance: random.Random) -> None:
        self._shared, self._number, self._random = shared, number, chance
        self._side = SIDES[0]
        self._connection: psycopg.Connection[Any] | None = None
        self._n = 0

    def run(self) -> None:
        while not self._shared.stop.wait(self._shared.pause * 2 * self._random.random()):
            outcome = self._one(self._choose())
            if outcome is Outcome.OK:
                self._shared.side = self._side
            elif outcome is not Outcome.ROLLED_BACK:
                time.sleep(TURN_SECONDS)
        self._disconnect()

    def _choose(self) -> Kind:
        while True:
            kind = self._random.choices(KINDS, weights=[kind.share for kind in KINDS])[0]
            if not kind.only_streaming or self._shared.streaming.is_set():
                return kind

    def _one(self, kind: Kind) -> Outcome:
        """Do one transaction; its intent is written before, its outcome after."""
        self._n += 1
        record, side = self._shared.recorder, self._side
        record.intent(self._number, self._n, kind.name, side, time.time())
        outcome, sqlstate = self._try(kind)
        record.outcome(self._number, self._n, outcome, side, time.time(), sqlstate)
        return outcome

    def _try(self, kind: Kind) -> tuple[Outcome, str]:
        try:
            if self._connection is None:
                dsn = self._shared.dsns[self._side]
                self._connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=0)
        except psycopg.OperationalError:
            self._turn()
            return Outcome.FAILED, ""
        connection = self._connection
        values = {
            "writer": self._number,
            "n": self._n,
            "kind": kind.name,
            "a": self._random.randrange(1 << 30),
            "b": self._random.randrange(1 << 30),
        }
        try:
            return _execute(connection, kind, values), ""
        except psycopg.Error as error:
            if connection.closed or error.sqlstate is None:
                # The transaction may be committed, and its reply lost. Nobody can tell by now.
                self._turn()
                return Outcome.UNKNOWN, error.sqlstate or ""
            if error.sqlstate == FENCED:
                self._turn()
            return Outcome.FAILED, error.sqlstate

    def _turn(self) -> None:
        """Believe in the other side from now on."""
        self._disconnect()
        self._side = SIDES[1 - SIDES.index(self._side)]

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Stray(Writer):
    """Writes to the side where the others are not. What is accepted there is a second writer, or a switch just made."""

    def run(self) -> None:
        while not self._shared.stop.wait(STRAY_SECONDS):
            self._disconnect()
            self._side = SIDES[1 - SIDES.index(self._shared.side)]
            self._one(STRAY)
        self._disconnect()


def _execute(connection: psycopg.Connection[Any], kind: Kind, values: Mapping[str, Any]) -> Outcome:
    """Run one transaction; any error leaves nothing of it."""
    if len(kind.statements) == 1:
        connection.execute(kind.statements[0].encode(), values)
        return Outcome.OK
    with connection.transaction(force_rollback=kind.rolls_back):
        for statement in kind.statements:
            connection.execute(statement.encode(), values if "%(" in statement else None)
    return Outcome.ROLLED_BACK if kind.rolls_back else Outcome.OK


class Crowd:
    """Writers, each a thread."""

    def __init__(self, shared: Shared, writers: list[Writer]) -> None:
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
