"""Measures the delay of a stream from outside: when the receiver shows what a writer was told to be committed."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from demo.record import Outcome, Record

PAUSE_SECONDS = 0.1
NEWEST = """
select w, coalesce((select max(n) from public.ledger where writer = w), 0)
from generate_series(1, %s) w"""


@dataclass(frozen=True, slots=True)
class Sample:
    """The newest transaction of each writer that the receiver showed at a moment."""

    at: float
    newest: Mapping[int, int]


class Probe:
    """Looks at one receiver until stopped."""

    def __init__(self, dsn: str, writers: int) -> None:
        self._dsn = dsn
        self._writers = writers
        self._stop = threading.Event()
        self.samples: list[Sample] = []
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)
        self._thread.start()

    def stop(self) -> Sequence[Sample]:
        self._stop.set()
        self._thread.join()
        return self.samples

    def _run(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            while not self._stop.wait(PAUSE_SECONDS):
                at = time.time()
                rows = connection.execute(NEWEST, [self._writers]).fetchall()
                self.samples.append(Sample(at, dict(rows)))


def delays(samples: Sequence[Sample], record: Record) -> list[float]:
    """Per sample and writer: for how long the oldest transaction that is not shown yet had been acknowledged."""
    acknowledged: dict[int, list[tuple[int, float]]] = {}
    for each in record.of(Outcome.OK):
        acknowledged.setdefault(each.writer, []).append((each.n, each.answered))
    for done in acknowledged.values():
        done.sort()
    found = []
    for sample in samples:
        for writer, newest in sample.newest.items():
            done = acknowledged.get(writer, [])
            following = bisect_right(done, (newest, float("inf")))
            waited = sample.at - done[following][1] if following < len(done) else 0.0
            found.append(max(0.0, waited))
    return found


def quantile(values: Sequence[float], share: float) -> float | None:
    """A value that this share of them does not exceed; None of nothing."""
    if not values:
        return None
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
