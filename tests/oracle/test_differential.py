"""What `make differential` claims, with few seeds; and that it would notice a stream that is wrong."""

from __future__ import annotations

from collections import Counter

import pytest

from bowline_worker.endpoints.oracle import logminer
from bowline_worker.model import Change, Op
from differential import __main__ as harness
from differential.__main__ import differential
from differential.receiver import Receiver


@pytest.mark.parametrize("seed", range(1, 9))
def test_what_the_stream_brings_is_what_the_source_has(seed: int) -> None:
    assert differential(seed, Counter()) == []


@pytest.mark.parametrize("seed", [5, 9, 11])
def test_a_log_at_a_time_inside_a_pluggable_database_loses_nothing(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range of SCNs cuts through the logs of other threads: with a bound that is too low, rows are passed over."""
    monkeypatch.setattr(harness, "EVERY", 1)
    monkeypatch.setitem(harness.CALM, "switch", 0.1)
    monkeypatch.setattr(logminer, "FILES_IN_A_STEP", 1)

    assert differential(seed, Counter()) == []


@pytest.mark.parametrize("op", [Op.INSERT, Op.UPDATE, Op.DELETE])
def test_a_stream_that_loses_a_change_is_noticed(op: Op, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[Change] = []
    keyed = Receiver._keyed

    def lose(self: Receiver, change: Change) -> None:
        if change.op is op and not lost:
            lost.append(change)
        else:
            keyed(self, change)

    monkeypatch.setattr(Receiver, "_keyed", lose)

    found = [wrong for seed in (1, 2, 3) for wrong in differential(seed, Counter())]

    assert lost
    assert found
