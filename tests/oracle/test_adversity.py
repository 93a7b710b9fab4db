"""What `make adversity` claims, with few seeds; and that it would notice a miner that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from adversity.__main__ import judge, tell
from adversity.mining import Mining, log_of, mine
from adversity.table import CASES, Case, Outcome
from oracle.standin.redolog.adversities import Adversities
from oracle.standin.redolog.scribe import Scribe
from oracle.standin.redolog.workload import Workload

FEW = range(1, 4)
#: A history in which the naive reader is wrong may take more seeds than these.
MANY = range(1, 21)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.adversity}: {case.naive or 'all'}")
def test_an_adversity_harms_its_naive_reader_and_not_bowline(case: Case) -> None:
    verdict = judge(case, FEW)

    assert not verdict.wrong
    assert not verdict.slept
    if case.read_naively is not None:
        assert any(case.read_naively(seed).wrong for seed in MANY)
    assert bool(verdict.stopped) == bool(case.stops)


def test_a_stop_at_a_deleted_archive_names_thread_and_sequence() -> None:
    (case,) = (case for case in CASES if case.adversity == "purged_archive")

    told = " ".join(case.read(seed).stopped for seed in FEW)

    assert "log sequence " in told
    assert "of redo thread 1 is not there" in told


def mined(seed: int = 1) -> Mining:
    log = log_of(Adversities(seed=seed))
    return mine(log, Workload(Scribe(log), Random(seed)))


BREAKS: dict[str, tuple[Callable[[Mining], object], str]] = {
    "a transaction is lost": (lambda mining: mining.given.pop(), "lost"),
    "one comes twice": (lambda mining: mining.given.append(mining.given[0]), "doubled"),
    "one comes without its changes": (lambda mining: mining.given[0][2].clear(), "came as"),
    "a row is not applied": (lambda mining: mining.receiver.rows.popitem(), "is None instead of"),
    "positions fall": (lambda mining: mining.orders.reverse(), "positions do not rise"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_miner_that_is_wrong_would_be_noticed(name: str) -> None:
    mining = mined()
    assert mining.problems() == []
    spoil, told = BREAKS[name]

    spoil(mining)

    assert any(told in problem for problem in mining.problems())


CALM = Case(
    adversity="calm",
    naive="reads well",
    read_naively=lambda seed: Outcome(fired=1, wrong=["lost"]),
    read=lambda seed: Outcome(fired=1, wrong=[]),
)


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (replace(CALM, read_naively=lambda seed: Outcome(fired=1, wrong=[])), "lost nothing"),
        (replace(CALM, read=lambda seed: Outcome(fired=0, wrong=[])), "never struck"),
        (replace(CALM, read=lambda seed: Outcome(fired=1, wrong=["lost 3.1"])), "SEED=2"),
        (replace(CALM, stops="PositionLost"), "never stopped"),
    ],
)
def test_a_claim_that_does_not_hold_is_told_and_fails(
    case: Case, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell([CALM], FEW)
    assert not tell([case], FEW)
    assert told in capsys.readouterr().out
