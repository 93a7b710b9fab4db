"""Count events and tell their rate over a sliding window: what reports call `per_second_3m` and `per_second_10m`."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from bowline_worker.contract import Flow

# The longest window that a report shows: what is older is forgotten.
LONGEST_SECONDS = 600.0

# Counts are kept per bucket of this length: at most 601 of them, and a 3 minute rate is off by 0.3 % at most.
BUCKET_SECONDS = 1.0


class Meter:
    """Counts of this run. Any thread may add and read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._lock = threading.Lock()
        self._buckets: deque[list[float]] = deque()  # [when it began, count]
        self.run = 0

    @property
    def seconds(self) -> float:
        """Age of this run."""
        return self._clock() - self._started

    def add(self, count: int) -> None:
        """Count events that happened now."""
        now = self._clock()
        with self._lock:
            self.run += count
            if self._buckets and now - self._buckets[-1][0] < BUCKET_SECONDS:
                self._buckets[-1][1] += count
            else:
                self._buckets.append([now, count])
            while self._buckets[0][0] < now - LONGEST_SECONDS - BUCKET_SECONDS:
                self._buckets.popleft()

    def per_second(self, window: float) -> float:
        """Tell the rate over the last `window` seconds, or over the whole run while it is shorter."""
        now = self._clock()
        with self._lock:
            counted = sum(count for began, count in self._buckets if began > now - window)
        # A run of milliseconds has no rate worth showing: one bucket is the shortest divisor.
        return counted / max(min(window, now - self._started), BUCKET_SECONDS)

    def flow(self, total: int, last_at: float | None) -> Flow:
        """Put the figures of this run in the form of the report; `last_at` is seconds since the epoch."""
        return Flow(
            total=total,
            run=self.run,
            per_second_3m=round(self.per_second(180), 2),
            per_second_10m=round(self.per_second(600), 2),
            seconds=round(self.seconds, 3),
            last_at=datetime.fromtimestamp(last_at, UTC) if last_at else None,
        )
