"""Who reads the log by the rules of the facts gets each committed change once; who leaves a rule out does not.

So the log can be read, and each of its adversities is real.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from threading import Thread

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from oracle.standin.redolog.adversities import NAMES, Adversities, Chance
from oracle.standin.redolog.lines import LobLimits
from oracle.standin.redolog.reader import GapError, Reader, Rules
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.scribe import EPOCH, Scribe
from oracle.standin.redolog.workload import FLOATS, Workload, problems


def run(
    seed: int,
    adversities: Adversities,
    rules: Rules | None = None,
    *,
    threads: int = 1,
    steps: int = 20,
    csf_bytes: int = 90,
) -> Reader:
    """Let a reader read while transactions run, and then until nothing is left."""
    limits = LobLimits(inline_bytes=20, piece=10)
    log = RedoLog(
        adversities,
        at=EPOCH,
        scn=1000,
        threads=threads,
        file_bytes=4000,
        strand_records=12,
        csf_bytes=csf_bytes,
        lobs=limits,
        kept_archives=4,
        dests=2,
    )
    db = Scribe(log)
    draw = Random(seed)
    work = Workload(db, draw)
    reader = Reader(log, db, rules or Rules())

    def meanwhile() -> None:
        for _ in range(draw.choice((0,) * 6 + (1, 4))):
            work.act()

    for _ in range(steps):
        for _ in range(draw.randint(0, 12)):
            work.act()
        reader.step(meanwhile)
    work.finish()
    read_to_the_end(reader)
    return reader


def read_to_the_end(reader: Reader) -> None:
    """Until four steps in a row were read whole: any one of them may be hit by a log switch."""
    quiet = 0
    for _ in range(200):
        quiet = quiet + 1 if reader.step() >= 0 else 0
        if quiet > 3:
            return
    raise AssertionError("the reader never comes to an end")


def everything(seed: int, chance: float = 0.25, **others: Chance) -> Adversities:
    """All at once, but for archives that go before they were read: that is a stop, not a reading."""
    gone: dict[str, Chance] = {"purged_archive": "never", "missing_file": "never", "switch": 0.02}
    return Adversities.all(seed, chance, **(gone | others))


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.integers(0, 10**9), st.sampled_from([0.05, 0.25, 0.6]), st.sampled_from([1, 2]))
def test_a_reader_that_minds_all_rules_gets_each_change_once(
    seed: int, chance: float, threads: int
) -> None:
    reader = run(seed, everything(seed, chance), threads=threads)

    assert problems(reader) == []
    assert not reader.unreadable


@dataclass(frozen=True)
class Careless:
    """A reader that leaves a rule out, and the adversity that it does not survive."""

    rules: Rules
    chances: Mapping[str, Chance]
    threads: int = 1
    fired: str = ""  #: what must have happened; else the first of the chances

    @property
    def must_fire(self) -> str:
        return self.fired or next(iter(self.chances))

    def run(self, seed: int, rules: Rules, *, peace: bool = False) -> Reader:
        adversities = Adversities(seed=seed)
        adversities.set(dict.fromkeys(self.chances, "never") if peace else self.chances)
        csf_bytes = 4000 if peace else 90
        return run(seed, adversities, rules, threads=self.threads, csf_bytes=csf_bytes)


CARELESS = {
    "it advances by SCN": Careless(Rules(reads_by_address=False), {"late_redo": 0.5}),
    "it takes what is below the bound from behind what is above": Careless(
        Rules(stops_at_bound=False), {"late_redo": 0.5}
    ),
    "it takes ORA-00310 for the end": Careless(
        Rules(discards_failed_steps=False, reads_by_address=False), {"overwrite": 0.7}
    ),
    "it reads continued statements one by one": Careless(
        Rules(joins_parts=False), {"quote_split": 0.5}
    ),
    "it takes an address for an identity": Careless(
        Rules(keeps_equal_addresses=False), {"array_deletes": 0.7}
    ),
    "it takes an SCN for an identity": Careless(Rules(keeps_equal_scns=False), {"equal_scns": 0.7}),
    "it drops undo rows": Careless(Rules(undoes=False), {}, fired="undo_by_rowid"),
    "it undoes by ROW_ID alone": Careless(
        Rules(undoes_placeholders=False), {}, fired="undo_of_placeholder"
    ),
    "it knows partial XIDs for others": Careless(
        Rules(resolves_partial_xids=False), {"partial_xid": 0.5}
    ),
    "it has one cursor for two threads": Careless(
        Rules(cursor_per_thread=False), {"second_thread": 0.4}, threads=2
    ),
    "it reads one thread of two": Careless(
        Rules(reads_all_threads=False), {"second_thread": 0.4}, threads=2
    ),
    "it takes zeros for an address": Careless(Rules(zero_is_no_address=False), {"zero_rs_id": 0.7}),
    "it takes a slot for a transaction": Careless(
        Rules(keys_by_sequence=False), {"zero_rs_id": 0.7}, fired="xid_reuse"
    ),
    "it takes a lower commit for an old one": Careless(
        Rules(commits_by_address=False), {"late_commit": 0.5}
    ),
    "it opens transactions at their START": Careless(
        Rules(opens_at_any_row=False), {"zero_xid": 0.5}
    ),
    "it passes over logs that are not archived yet": Careless(
        Rules(reads_all_online=False, minds_gaps=False), {"slow_archiver": 0.8, "switch": 0.05}
    ),
}


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
        # Two views are not read at one instant: a log that was switched between them is in neither.
        with suppress(GapError):
            reader.step()
    writer.join()
    read_to_the_end(reader)

    assert problems(reader) == []
