"""The demo's checker finds what it is there to find: else its verdict is worth nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from demo.record import Outcome, Record, Recorder, read

from demo import checker
from servers import Database

DDL = (
    "create table public.keyed (id serial primary key, a text)",
    "create table public.loose (a text, n numeric)",
    "insert into public.keyed (a) select nullif('a' || i, 'a5') from generate_series(1, 20) i",
    "insert into public.loose select 'same', 1.0 from generate_series(1, 3)",
)


@pytest.fixture
def alike(databases: tuple[Database, Database]) -> tuple[Database, Database]:
    for database in databases:
        database.run(*DDL)
    return databases


def compare(databases: tuple[Database, Database]) -> checker.Verdict:
    verdict, _ = checker.compare_rows(
        *(database.server.dsn(database.name) for database in databases)
    )
    return verdict


def test_equal_databases_hold(alike: tuple[Database, Database]) -> None:
    verdict = compare(alike)

    assert verdict.held
    assert verdict.seen == "23 rows, 2 tables"


@pytest.mark.parametrize(
    "change",
    [
        "delete from public.keyed where id = 3",
        "update public.keyed set a = 'b' where id = 3",
        "update public.keyed set a = '' where id = 5",
        "update public.keyed set a = case id when 1 then 'a2' else 'a1' end where id in (1, 2)",
        "insert into public.loose values ('same', 1.0)",
        "update public.loose set n = 1.00 where ctid = '(0,1)'",
        "create table public.more ()",
        "alter table public.loose add column b int",
    ],
)
def test_each_difference_is_found(alike: tuple[Database, Database], change: str) -> None:
    alike[1].run(change)

    assert not compare(alike).held


def test_a_sequence_that_would_collide_is_found(database: Database) -> None:
    database.run(*DDL)
    assert checker.check_sequences(database.server.dsn(database.name)).held
    database.run("select setval('public.keyed_id_seq', 7)")
    assert checker.check_sequences(database.server.dsn(database.name)).wrong == [
        "keyed_id_seq gives 8, and 20 is in use"
    ]


def record_of(tmp_path: Path, *outcomes: tuple[Outcome | None, str]) -> Record:
    """Writer 1's operations, one a second."""
    path = tmp_path / "record"
    recorder = Recorder(path)
    for n, (outcome, side) in enumerate(outcomes, 1):
        recorder.intent(1, n, "op", side, float(n))
        if outcome is not None:
            recorder.outcome(1, n, outcome, side, n + 0.5, "")
    recorder.close()
    return read(path)


OK, FAILED, ROLLED_BACK, UNKNOWN = Outcome


def broken(record: Record, source: set[int], target: set[int]) -> list[str]:
    ledgers = {
        side: {(1, n): 1 for n in numbers}
        for side, numbers in (("source", source), ("target", target))
    }
    return [each.claim for each in checker.check_record(record, ledgers) if not each.held]


def test_a_record_that_fits_both_ledgers_holds(tmp_path: Path) -> None:
    record = record_of(
        tmp_path,
        (OK, "source"),
        (FAILED, "source"),
        (ROLLED_BACK, "source"),
        (UNKNOWN, "source"),
        (None, "source"),
    )

    assert broken(record, {1}, {1}) == []
    assert broken(record, {1, 4}, {1, 4}) == []
    assert broken(record, {1, 5}, {1, 5}) == []


@pytest.mark.parametrize(
    ("source", "target", "claim"),
    [
        ({1}, set[int](), "each acknowledged transaction is on both sides"),
        (set[int](), set[int](), "each acknowledged transaction is on both sides"),
        ({1, 2}, {1, 2}, "no failed or rolled-back transaction is anywhere"),
        ({1, 3}, {1}, "no failed or rolled-back transaction is anywhere"),
        ({1, 9}, {1, 9}, "no transaction is there that nobody sent"),
        ({1, 4}, {1}, "a transaction whose answer was lost is on both sides or on none"),
    ],
)
def test_each_broken_promise_is_found(
    tmp_path: Path, source: set[int], target: set[int], claim: str
) -> None:
    record = record_of(
        tmp_path, (OK, "source"), (FAILED, "source"), (ROLLED_BACK, "source"), (UNKNOWN, "source")
    )

    assert claim in broken(record, source, target)


def test_a_transaction_that_is_there_twice_is_found(tmp_path: Path) -> None:
    record = record_of(tmp_path, (OK, "source"))

    verdicts = checker.check_record(record, {"source": {(1, 1): 1}, "target": {(1, 1): 2}})
    assert [each.claim for each in verdicts if not each.held] == ["its rows are there once"]


def test_two_sides_that_took_writes_in_turns_are_found(tmp_path: Path) -> None:
    clean = record_of(tmp_path, (OK, "source"), (FAILED, "source"), (OK, "target"))
    (tmp_path / "record").unlink()
    torn = record_of(tmp_path, (OK, "source"), (OK, "target"), (OK, "source"), (OK, "target"))

    assert checker.check_single_writer(clean, ["source", "target"]).held
    assert not checker.check_single_writer(torn, ["source", "target"]).held
    assert [switch.seconds for switch in clean.switches()] == [2.0]


def test_a_torn_last_line_is_cut(tmp_path: Path) -> None:
    record_of(tmp_path, (OK, "source"))
    with (tmp_path / "record").open("ab") as file:
        file.write(b'["O", 1, 1, "fai')

    assert [each.outcome for each in read(tmp_path / "record").operations.values()] == [OK]
