"""The figures by which people decide to cut over: wrong ones are worse than none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pytest

from bowline_worker.applying import Outcome
from bowline_worker.contract import Lag
from bowline_worker.figures import Figures
from bowline_worker.journal import Block, Mark, Reader


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Journal:
    """What the figures read of a journal and of a block."""

    block: int
    total: int
    changes: int = 0

    def end(self) -> Mark:
        return Mark(block=self.block, total=self.total)


def reader(block: int, total: int) -> Reader:
    return cast("Reader", Journal(block, total))  # only `end` is asked


def blocks(number: int, total: int, changes: int) -> Sequence[Block]:
    return [cast("Block", Journal(number, total, changes))]  # only its counts are asked


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def figures(clock: Clock) -> Figures:
    return Figures(clock, clock)


def test_a_lag_that_nobody_measured_is_not_shown(figures: Figures) -> None:
    assert figures.lag().current is None
    assert figures.lag().p99 is None


def test_the_lag_is_from_commit_to_commit(figures: Figures, clock: Clock) -> None:
    figures.add(Outcome(commits=[clock.now - 0.3, clock.now - 0.1]), blocks(1, 2, 2))

    lag = figures.lag()

    assert (lag.current, lag.p50, lag.p99) == pytest.approx((0.1, 0.3, 0.3))


def test_a_lag_grows_while_nothing_comes(figures: Figures, clock: Clock) -> None:
    """A stream that stands still must not look like one that keeps up."""
    figures.add(Outcome(commits=[clock.now - 0.1]), blocks(1, 1, 1))
    clock.now += 30

    assert figures.lag().current == pytest.approx(30.1)

    clock.now += 60

    assert figures.lag().p50 is None


def test_a_stream_that_stands_still_is_not_called_current_by_a_clock_that_is_ahead(
    figures: Figures, clock: Clock
) -> None:
    figures.add(Outcome(commits=[clock.now + 9]), blocks(1, 1, 1))
    clock.now += 8

    assert figures.lag().current == pytest.approx(8)


def test_an_origin_whose_clock_jumped_ahead_does_not_hide_a_lag(
    figures: Figures, clock: Clock
) -> None:
    """Half an hour behind, a clock that is an hour ahead: each commit looks half an hour younger than now."""
    figures.add(Outcome(commits=[clock.now - 0.1]), blocks(1, 1, 1))
    figures.add(Outcome(commits=[clock.now - 0.1, clock.now + 1800]), blocks(2, 3, 2))

    assert figures.lag() == Lag()

    clock.now += 3600
    figures.add(Outcome(commits=[clock.now - 0.2]), blocks(3, 4, 1))

    assert figures.lag().current == pytest.approx(0.2)


def test_the_clock_of_the_apply_that_jumps_back_does_not_hide_a_lag(clock: Clock) -> None:
    wall = Clock()
    figures = Figures(clock, wall)
    figures.add(Outcome(commits=[wall.now - 0.1]), blocks(1, 1, 1))
    clock.now += 30
    wall.now -= 3600

    assert figures.lag().current == pytest.approx(30)


def test_the_backlog_is_what_is_journalled_and_not_applied(figures: Figures) -> None:
    assert figures.remaining(reader(9, 90), 4) is None
    assert figures.remaining(reader(9, 90), 9) == 0

    figures.add(Outcome(events=10), blocks(5, 50, 10))

    assert figures.remaining(reader(9, 90), 5) == 40


def test_a_backlog_that_grows_as_fast_as_it_is_drained_has_no_end(
    figures: Figures, clock: Clock
) -> None:
    total = 10_000
    for number in range(1, 30):
        clock.now += 1
        total += 100
        figures.add(Outcome(events=100), blocks(number, number * 100, 100))
        remaining = figures.remaining(reader(200, total), number)

    assert figures.eta(remaining) is None


def test_a_backlog_that_shrinks_has_an_end(figures: Figures, clock: Clock) -> None:
    for number in range(1, 31):
        clock.now += 1
        figures.add(Outcome(events=100), blocks(number, number * 100, 100))
        remaining = figures.remaining(reader(60, 6000), number)

    assert remaining == 3000
    assert figures.eta(remaining) == pytest.approx(30, rel=0.1)
    assert figures.eta(0) == 0
    assert figures.eta(None) is None
