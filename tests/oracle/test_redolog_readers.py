"""Who reads the log by the rules of the facts gets each committed change once; who leaves a rule out does not.

So the log can be read, and each of its adversities is real.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from threading import Thread

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from adversity.careless import CARELESS, everything, run
from oracle.standin.redolog.adversities import NAMES, Adversities, Chance
from oracle.standin.redolog.reader import GapError, Reader, Rules
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.scribe import EPOCH, Scribe
from oracle.standin.redolog.workload import FLOATS, Workload, problems


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.integers(0, 10**9), st.sampled_from([0.05, 0.25, 0.6]), st.sampled_from([1, 2]))
def test_a_reader_that_minds_all_rules_gets_each_change_once(
    seed: int, chance: float, threads: int
) -> None:
    reader = run(seed, everything(seed, chance), threads=threads)

    assert problems(reader) == []
    assert not reader.unreadable


@pytest.mark.parametrize("name", CARELESS)
def test_a_careless_reader_loses_doubles_or_invents_a_row(name: str) -> None:
    careless = CARELESS[name]
    for seed in range(20):
        reader = careless.run(seed, careless.rules)
        if problems(reader):
            assert reader.log.adversities.fired[careless.must_fire]
            assert problems(careless.run(seed, Rules())) == []
            return

    pytest.fail(f"20 histories, and nobody noticed that {name}")


@pytest.mark.parametrize("name", [name for name, c in CARELESS.items() if c.chances])
def test_a_careless_reader_is_right_as_long_as_its_adversity_does_not_strike(name: str) -> None:
    careless = CARELESS[name]
    for seed in range(5):
        assert problems(careless.run(seed, careless.rules, peace=True)) == []


@pytest.mark.parametrize("adversity", ["purged_archive", "missing_file"])
def test_a_reader_that_comes_too_late_stops_instead_of_going_on_behind_the_gap(
    adversity: str,
) -> None:
    adversities = Adversities(seed=1, switch=0.3)
    adversities.set({adversity: "always"})
    log = RedoLog(adversities, at=EPOCH, scn=1000, kept_archives=2)
    db = Scribe(log)
    reader = Reader(log, db)
    work = Workload(db, Random(1))
    for _ in range(200):
        work.act()
    assert adversities.fired[adversity]

    if adversity == "purged_archive":
        with pytest.raises(GapError, match="thread 1: log 18 is gone"):
            reader.step()
    else:
        assert reader.step() == -1, "ORA-01284: the catalogue does not know that it is gone"
    assert reader.emitted == []


def test_a_reader_that_does_not_mind_gaps_loses_what_lay_there() -> None:
    adversities = Adversities(seed=1, switch=0.3, purged_archive="always")
    log = RedoLog(adversities, at=EPOCH, scn=1000, kept_archives=2)
    db = Scribe(log)
    reader = Reader(log, db, Rules(minds_gaps=False))
    work = Workload(db, Random(1))
    for _ in range(200):
        work.act()
    work.finish()
    reader.step()

    assert any(problem.startswith("lost") for problem in problems(reader))


def test_every_adversity_strikes_within_a_few_histories() -> None:
    fired: Counter[str] = Counter()
    for seed in range(4):
        chances: dict[str, Chance] = {"purged_archive": 0.05, "missing_file": 0.05}
        chances |= {"lossy_binary": "always", "recycle_bin": "always"}
        adversities = everything(seed, 0.3, **chances)
        log = RedoLog(
            adversities, at=EPOCH, threads=2, file_bytes=3000, kept_archives=2, csf_bytes=90
        )
        db = Scribe(log)
        work = Workload(db, Random(seed))
        for _ in range(300):
            work.act()
        db.begin().insert(FLOATS, (0.1 + 0.2,))
        db.define('drop table "S"."FLOATS"', None)
        Reader(log, db, Rules(minds_gaps=False)).step()
        fired += adversities.fired

    assert [name for name in NAMES if not fired[name]] == []


def test_a_log_can_be_read_while_it_is_written() -> None:
    adversities = everything(3, 0.1)
    log = RedoLog(adversities, at=EPOCH, scn=1000, file_bytes=4000, kept_archives=10_000)
    db = Scribe(log)
    reader = Reader(log, db)
    work = Workload(db, Random(3))

    def write() -> None:
        for _ in range(600):
            work.act()
        work.finish()

    writer = Thread(target=write)
    writer.start()
    while writer.is_alive():
        reader.step()
    writer.join()
    settled = [reader.step() for _ in range(8)]

    assert settled[-1] >= 0
    assert problems(reader) == []
