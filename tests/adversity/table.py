"""Each adversity of the redo log, with a naive reader that it harms. A seed and a case tell a history exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

from adversity import believing, commits
from adversity.believing import Straight
from adversity.mining import Mining, log_of, mine
from adversity.receiver import MEASURED, differences, truth
from oracle.standin.events import TableShape
from oracle.standin.redolog.adversities import Adversities, Chance
from oracle.standin.redolog.reader import Rules
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.scribe import Scribe
from oracle.standin.redolog.workload import PLAIN, WITH_LOB, Workload, problems
from oracle.standin.wire.faults import When
from oracle.test_redolog_readers import CARELESS, Careless, everything


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one history."""

    fired: int  #: how often the adversity has struck
    wrong: list[str]  #: what was lost, doubled or came out wrong
    stopped: str = ""  #: the reason and the message of an error that ended the stream


Reading = Callable[[int], Outcome]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One adversity, alone."""

    adversity: str
    naive: str  #: what that reader does wrong; empty: there is none
    read_naively: Reading | None
    read: Reading  #: by Bowline's miner
    stops: str = ""  #: how Bowline stops where it can't go on; in at least one history it must


def _mined(mining: Mining, fires: str, stops: str = "") -> Outcome:
    """Judge what Bowline gave out; a stop that is not for that reason is a failure as well."""
    wrong, stopped = mining.problems(), ""
    if mining.stop is not None:
        stopped = f"{mining.stop.reason}: {mining.stop}"
        if not stops or stops not in stopped:
            wrong = [*wrong, f"stopped by {stopped}"]
    return Outcome(fired=mining.log.adversities.fired[fires], wrong=wrong, stopped=stopped)


def _mine(
    seed: int,
    *,
    chances: Mapping[str, Chance],
    fires: str,
    threads: int = 1,
    kept_archives: int = 40,
    stops: str = "",
) -> Outcome:
    adversities = Adversities(seed=seed)
    adversities.set(chances)
    log = log_of(adversities, threads=threads, kept_archives=kept_archives)
    return _mined(mine(log, Workload(Scribe(log), Random(seed))), fires, stops)


def _read_carelessly(seed: int, *, careless: Careless) -> Outcome:
    reader = careless.run(seed, careless.rules)
    wrong = problems(reader)
    return Outcome(fired=reader.log.adversities.fired[careless.must_fire], wrong=wrong)


def _careless(name: str) -> Case:
    careless = CARELESS[name]
    return Case(
        adversity=careless.must_fire,
        naive=name.removeprefix("it "),
        read_naively=partial(_read_carelessly, careless=careless),
        read=partial(
            _mine, chances=careless.chances, fires=careless.must_fire, threads=careless.threads
        ),
    )


# --- what is told, and not to be believed ---------------------------------------------------------


def _believing(
    table: TableShape,
    fires: str,
    naive: str,
    chances: Mapping[str, Chance],
    *,
    text: believing.Text = believing.number_text,
    **how: Any,
) -> Case:
    """Make a case of statements that don't say what they seem to."""

    def log(seed: int) -> RedoLog:
        adversities = Adversities(seed=seed)
        adversities.set(chances)
        return log_of(adversities)

    def read_naively(seed: int) -> Outcome:
        mined = log(seed)
        db = believing.run(seed, mined, table).db
        rows = believing.believe(mined, table, text, **how)
        return Outcome(fired=mined.adversities.fired[fires], wrong=differences(rows, truth(db)))

    def read(seed: int) -> Outcome:
        mined = log(seed)
        work = Straight(Scribe(mined), Random(seed), table=table)
        return _mined(mine(mined, work), fires)

    return Case(adversity=fires, naive=naive, read_naively=read_naively, read=read)


WIDER = replace(
    PLAIN,
    version=2,
    columns=[replace(each, length=50) if each.name == "V" else each for each in PLAIN.columns],
)
WIDENING = 'alter table "S"."PLAIN" modify ("V" varchar2(50))'
DROP = 'drop table "S"."PLAIN"'
_RECYCLED: Mapping[str, Chance] = {"recycle_bin": "always"}


def _read_with_the_new_dictionary(seed: int) -> Outcome:
    log = log_of(Adversities(seed=seed))
    db = believing.run(seed, log, PLAIN).db
    db.define(WIDENING, WIDER)
    rows = believing.believe(log, PLAIN, believing.plain_text)
    fired = log.adversities.fired["dictionary_lag"]
    return Outcome(fired=fired, wrong=differences(rows, truth(db)))


def _read_by_name(seed: int) -> Outcome:
    adversities = Adversities(seed=seed)
    adversities.set(_RECYCLED)
    log = log_of(adversities)
    db = believing.run(seed, log, PLAIN).db
    db.define(DROP, None)
    rows = believing.believe(log, PLAIN, believing.plain_text, ours=believing.by_name)
    return Outcome(fired=adversities.fired["recycle_bin"], wrong=differences(rows, truth(db)))


def _mine_across_ddl(
    seed: int,
    *,
    fires: str = "dictionary_lag",
    chances: Mapping[str, Chance] | None = None,
    ddl: str = WIDENING,
    table: TableShape | None = WIDER,
) -> Outcome:
    adversities = Adversities(seed=seed)
    adversities.set(chances or {})
    log = log_of(adversities)
    work = Workload(Scribe(log), Random(seed))

    def between(turn: int) -> None:
        if turn != 10:
            return
        for _ in range(20):  # of which nothing is mined before the dictionary has changed
            work.act()
        work.db.define(ddl, table)

    mining = mine(log, work, between=between)
    outcome = _mined(mining, fires, "SchemaChanged")
    if mining.stop is None:
        return replace(outcome, wrong=[*outcome.wrong, "went on behind a DDL statement"])
    return outcome


# --- what is applied, and perhaps committed --------------------------------------------------------


def _committing(when: When, naive: str, *, is_repeated: bool) -> Case:
    def read_naively(seed: int) -> Outcome:
        fired, wrong = commits.apply_naively(seed, when, is_repeated=is_repeated)
        return Outcome(fired=fired, wrong=wrong)

    def read(seed: int) -> Outcome:
        fired, wrong = commits.apply(seed, when)
        return Outcome(fired=fired, wrong=wrong)

    return Case(adversity=f"drop_{when}_commit", naive=naive, read_naively=read_naively, read=read)


# --- the list -------------------------------------------------------------------------------------

_PURGED: Mapping[str, Chance] = {"purged_archive": 0.5, "switch": 0.2}
_VANISHED: Mapping[str, Chance] = {"missing_file": 0.5, "switch": 0.2}


def _mine_everything(seed: int) -> Outcome:
    log = log_of(everything(seed), threads=1 + seed % 2)
    mining = mine(log, Workload(Scribe(log), Random(seed)))
    outcome = _mined(mining, "")
    return replace(outcome, fired=log.adversities.fired.total())


CASES = (
    _careless("it advances by SCN"),
    _careless("it takes what is below the bound from behind what is above"),
    _careless("it takes a lower commit for an old one"),
    _careless("it takes ORA-00310 for the end"),
    Case(
        adversity="purged_archive",
        naive="passes over the gap that a deleted archive leaves",
        read_naively=partial(_read_carelessly, careless=Careless(Rules(minds_gaps=False), _PURGED)),
        read=partial(
            _mine,
            chances=_PURGED,
            fires="purged_archive",
            kept_archives=4,
            stops="PositionLost: log sequence",
        ),
        stops="PositionLost",
    ),
    Case(
        adversity="missing_file",
        naive="begins behind a log that can't be opened",
        read_naively=partial(
            _read_carelessly, careless=Careless(Rules(minds_missing_files=False), _VANISHED)
        ),
        read=partial(
            _mine, chances=_VANISHED, fires="missing_file", kept_archives=4, stops="PositionLost"
        ),
        stops="PositionLost",
    ),
    _careless("it passes over logs that are not archived yet"),
    _careless("it reads continued statements one by one"),
    _careless("it drops undo rows"),
    _careless("it undoes by ROW_ID alone"),
    _careless("it knows partial XIDs for others"),
    _careless("it opens transactions at their START"),
    _careless("it takes zeros for an address"),
    _careless("it takes a slot for a transaction"),
    _careless("it takes an SCN for an identity"),
    _careless("it takes an address for an identity"),
    _careless("it has one cursor for two threads"),
    _careless("it reads one thread of two"),
    _believing(
        WITH_LOB,
        "null_lob",
        "takes EMPTY_CLOB() for the value that a row was inserted with",
        {},
        skips_echo=True,
    ),
    _believing(
        PLAIN,
        "joined_text",
        "takes the first piece of a text for all of it",
        {"joined_text": 0.5},
        read=believing.first_piece,
    ),
    _believing(
        PLAIN,
        "noise",
        "takes the dictionary's own rows for the application's",
        {"noise": 0.5},
        text=believing.plain_text,
        ours=believing.of_anybody,
    ),
    Case(
        adversity="recycle_bin",
        naive="knows a table by the name that it has now",
        read_naively=_read_by_name,
        read=partial(
            _mine_across_ddl, fires="recycle_bin", chances=_RECYCLED, ddl=DROP, table=None
        ),
        stops="SchemaChanged",
    ),
    Case(
        adversity="dictionary_lag",
        naive="takes the bytes of HEXTORAW for values, after DDL",
        read_naively=_read_with_the_new_dictionary,
        read=_mine_across_ddl,
        stops="SchemaChanged",
    ),
    _believing(
        MEASURED,
        "lossy_binary",
        "takes the text of a BINARY_DOUBLE for its value",
        {"lossy_binary": "always"},
    ),
    _committing(When.BEFORE, "takes a commit that nobody answered for done", is_repeated=False),
    _committing(When.AFTER, "repeats a commit that nobody answered", is_repeated=True),
    Case(adversity="all_together", naive="", read_naively=None, read=_mine_everything),
)
