"""The figures that people judge a migration by."""

from __future__ import annotations

import pytest

from bowline_worker.rates import Meter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_covers_its_window_only() -> None:
    clock = Clock()
    meter = Meter(clock)
    for _ in range(1200):
        clock.now += 1
        meter.add(10)
    clock.now += 90

    assert meter.per_second(180) == pytest.approx(5, rel=0.02)
    assert meter.per_second(600) == pytest.approx(10 * 510 / 600, rel=0.01)
    assert meter.run == 12_000


def test_a_young_run_is_not_divided_by_the_whole_window() -> None:
    clock = Clock()
    meter = Meter(clock)
    clock.now += 10
    meter.add(1000)

    assert meter.per_second(180) == pytest.approx(100)


def test_a_stream_that_stopped_falls_to_zero() -> None:
    clock = Clock()
    meter = Meter(clock)
    meter.add(1000)
    clock.now += 601

    assert meter.per_second(600) == 0
    assert meter.flow(5000, 1.0).total == 5000
    assert meter.flow(5000, 1.0).run == 1000


def test_what_is_older_than_the_longest_window_takes_no_memory() -> None:
    clock = Clock()
    meter = Meter(clock)
    for _ in range(5000):
        clock.now += 1
        meter.add(1)

    assert len(meter._buckets) <= 602
