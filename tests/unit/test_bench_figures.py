"""The bench's verdicts: a median below its floor is never called met."""

from __future__ import annotations

import pytest
from bench.figures import OURS, Bar, Result, quantile


def result(bar: Bar, **values: list[float]) -> Result:
    made = Result(name="x", unit="y", bar=bar, aside=frozenset(["shown"]))
    for name, samples in values.items():
        for value in samples:
            made.add(name, value)
    return made


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [([9.9, 9.0, 99.0], "BELOW FLOOR"), ([10.0, 9.0, 11.0], "floor met"), ([20.0], "goal met")],
)
def test_medians_decide_and_the_best_peer_is_the_measure(ours: list[float], verdict: str) -> None:
    found = result(Bar(1.0, 2.0), bowline=ours, slow=[1.0], fast=[10.0, 2.0, 90.0], shown=[1e9])

    assert found.best_peer == "fast"
    assert found.verdict == verdict
    assert found.is_held == (verdict != "BELOW FLOOR")


@pytest.mark.parametrize(
    ("ours", "verdict"), [(26.0, "BELOW FLOOR"), (25.0, "floor met"), (15.0, "goal met")]
)
def test_where_less_is_better_the_lowest_peer_is_the_measure(ours: float, verdict: str) -> None:
    bar = Bar(2.5, 1.5, less_is_better=True)

    assert result(bar, bowline=[ours], slow=[99.0], fast=[10.0]).verdict == verdict


def test_a_measure_that_failed_is_not_held_whatever_its_ratio() -> None:
    found = result(Bar(1.0, 1.0), bowline=[9.0], peer=[1.0])
    assert found.is_held
    found.failure = "time was up"

    assert not found.is_held


def test_without_a_peer_there_is_no_ratio() -> None:
    assert result(Bar(1.0, 1.0), bowline=[9.0]).ratio is None
    assert result(Bar(1.0, 1.0), bowline=[9.0], peer=[0.0]).ratio is None
    assert OURS not in result(Bar(1.0, 1.0), peer=[1.0]).series


def test_a_quantile_is_a_sample_that_so_many_do_not_exceed() -> None:
    assert quantile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert quantile([1.0, 2.0, 3.0], 0.99) == 3.0
    assert quantile([7.0], 0.0) == 7.0
