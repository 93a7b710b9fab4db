"""The clock of a switch that another process, on another machine, has begun."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bowline_worker.deadline import time_left

FENCED_AT = datetime(2026, 1, 1, tzinfo=UTC)
BUDGET = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("used", "left"),
    [(0, 30), (12, 18), (30, 0), (3600, 0), (-3600, 30)],
    ids=["nothing", "some", "all", "more, or a clock that is ahead", "a clock that is behind"],
)
def test_no_clock_keeps_the_fence_up_for_longer_than_the_budget(used: float, left: float) -> None:
    assert time_left(BUDGET, FENCED_AT, FENCED_AT + timedelta(seconds=used)) == timedelta(
        seconds=left
    )
