"""The figures of an apply: rates, backlog, and lag, which is measured, from commit to commit."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from bowline_worker.applying import Outcome
from bowline_worker.contract import Flow, Lag
from bowline_worker.journal import Block, Reader
from bowline_worker.rates import Meter

LAG_WINDOW_SECONDS = 60.0
#: Commit times that one span adds to the window, spread evenly over it.
LAG_SAMPLES = 50
#: Heartbeats come every second: this long without anything, what was measured last is not true any more.
LAG_STALE_SECONDS = 3.0
#: A commit may seem to be this far in the future: clocks differ, and some origins tell whole seconds.
CLOCKS_APART_SECONDS = 10.0
#: A backlog that shrinks by less than this share of what is applied has no end worth telling.
GAIN_SHARE = 0.05


class Figures:
    """What the report says. One thread."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._wall = clock, wall
        self._events = Meter(clock)
        self._drained, self._grown = Meter(clock), Meter(clock)  # in the journal's changes
        self._applied_total: int | None = None
        self._journal_total: int | None = None
        self._samples: deque[tuple[float, float]] = deque()  # (when, lag)
        self._last_at: float | None = None
        self._is_ahead = False  # the origin's clock, by so much that it hides a lag
        self._measured = clock()

    def add(self, outcome: Outcome, blocks: Sequence[Block]) -> None:
        now, wall = self._clock(), self._wall()
        self._events.add(outcome.events)
        self._drained.add(sum(block.changes for block in blocks))
        self._applied_total = blocks[-1].total
        if outcome.commits:
            self._last_at, self._measured = outcome.commits[-1], now
            self._is_ahead = max(outcome.commits) - wall > CLOCKS_APART_SECONDS
            if self._is_ahead:
                self._samples.clear()
                return
            step = max(1, len(outcome.commits) // LAG_SAMPLES)
            # From the newest backwards, so that it is always among them.
            for committed_at in reversed(outcome.commits[::-step]):
                self._samples.append((now, max(0.0, wall - committed_at)))

    def flow(self, total: int) -> Flow:
        return self._events.flow(total, self._last_at)

    def remaining(self, reader: Reader, block: int) -> int | None:
        """Changes in the journal behind that block; None while nobody knows."""
        end = reader.end()
        if self._journal_total is not None:
            self._grown.add(max(0, end.total - self._journal_total))
        self._journal_total = end.total
        if end.block == block:
            return 0
        if self._applied_total is None or end.block < block:
            return None
        return max(0, end.total - self._applied_total)

    def eta(self, remaining: int | None) -> float | None:
        """Seconds until the backlog is gone, at the rates of the last three minutes; None: never, or not known."""
        if not remaining:
            return 0.0 if remaining == 0 else None
        rate = self._drained.per_second(180)
        if rate <= 0:
            return None
        if remaining <= rate:
            return round(remaining / rate, 1)  # what is under way, no backlog
        gain = rate - self._grown.per_second(180)
        return round(remaining / gain, 1) if gain > rate * GAIN_SHARE else None

    def lag(self) -> Lag:
        """What was measured; nothing while the origin's clock is ahead: rows of long ago would look like new ones."""
        if self._is_ahead:
            return Lag()
        now = self._clock()
        while self._samples and self._samples[0][0] < now - LAG_WINDOW_SECONDS:
            self._samples.popleft()
        current = self._samples[-1][1] if self._samples else None
        silence = now - self._measured
        if self._last_at is not None and silence > LAG_STALE_SECONDS:
            # The silence counts by itself: by clocks that differ or jump, the last commit may not be over yet.
            current = max(current or 0.0, self._wall() - self._last_at, silence)
        if not self._samples:
            return Lag(current=_rounded(current))
        ordered = sorted(lag for _, lag in self._samples)
        return Lag(
            current=_rounded(current),
            p50=_rounded(ordered[len(ordered) // 2]),
            p99=_rounded(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]),
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
