"""Large transactions are put aside, and come back whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowline_worker.contract import TryAgain
from bowline_worker.endpoints.oracle import openwork
from bowline_worker.endpoints.oracle.rowchange import OVERHEAD_BYTES, RowChange
from bowline_worker.endpoints.oracle.spill import SpillFile
from oracle.mining_rows import (
    PLACEHOLDER,
    TWO,
    Reader,
    Row,
    T,
    address,
    commit,
    insert,
    rollback,
    sql_of,
    undo_insert,
)
from oracle.test_mining_touches import lob_insert, piece

SCRATCH = Path(tempfile.gettempdir())
BUDGET = 20 * (OVERHEAD_BYTES + 60)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openwork, "BATCH_CHANGES", 7)


def inserts(count: int, *, first: int = 0x10) -> list[Row]:
    return [
        insert(100 + at, first + at, at, row_id=f"AAAR3sAAEAAAACX{at:03}") for at in range(count)
    ]


def changes(count: int) -> list[RowChange]:
    return [
        RowChange(1, T, 9, "A", f"insert '{at}' \N{EURO SIGN}", at, address(at), ("C",) * (at % 2))
        for at in range(count)
    ]


@given(st.lists(st.integers(1, 5), max_size=5), st.data())
def test_what_was_put_aside_comes_back(sizes: list[int], data: st.DataObject) -> None:
    all_changes = changes(sum(sizes))
    spill = SpillFile(SCRATCH)
    at = 0
    for size in sizes:
        spill.push(all_changes[at : at + size])
        at += size
    for size in reversed(sizes[data.draw(st.integers(0, len(sizes))) :]):
        assert spill.pop() == all_changes[at - size : at]
        at -= size

    assert list(spill) == all_changes[:at]
    assert len(spill) == at
    spill.close()


def test_the_file_is_gone_with_its_process(tmp_path: Path) -> None:
    spill = SpillFile(tmp_path)
    spill.push(changes(3))

    assert list(tmp_path.iterdir()) == []
    assert len(list(spill)) == 3
    spill.close()


def test_a_directory_that_takes_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TryAgain, match="could not put changes of a large transaction aside"):
        SpillFile(tmp_path / "gone")


@pytest.mark.usefixtures("small_batches")
def test_a_large_transaction_is_given_out_whole(tmp_path: Path) -> None:
    reader = Reader(tmp_path, budget=BUDGET)
    reader.read(*inserts(50), insert(100, 0x80, 99, xid=TWO))
    large, small = reader.miner._work
    in_memory = len(large.changes)
    (taken,) = reader.read(commit(200, 0x90))

    assert in_memory <= 20
    assert small.spilled is None  # the largest one makes room
    assert [change.scn for change in taken.changes] == list(range(100, 150))


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("undone", [1, 30, 49, 50])
def test_what_was_put_aside_is_taken_back(tmp_path: Path, undone: int) -> None:
    reader = Reader(tmp_path, budget=BUDGET)
    rows = inserts(50)
    undos = [
        undo_insert(200 + at, 0x60 + at, str(row[15])) for at, row in enumerate(reversed(rows))
    ]
    taken = reader.read(*rows, *undos[:undone], commit(300, 0xA0))

    assert [change.scn for each in taken for change in each.changes] == list(
        range(100, 150 - undone)
    )


@pytest.mark.usefixtures("small_batches")
def test_a_row_that_was_put_aside_with_a_placeholder_is_taken_back(tmp_path: Path) -> None:
    reader = Reader(tmp_path, budget=0)
    rows = [insert(100, 4, 1, row_id=PLACEHOLDER), undo_insert(101, 5), commit(102, 6)]

    assert reader.read(*rows) == []


@pytest.mark.usefixtures("small_batches")
def test_pieces_that_were_put_aside_still_go_behind_their_insert(tmp_path: Path) -> None:
    reader = Reader(tmp_path, budget=0)
    (taken,) = reader.read(insert(99, 3), piece(4), lob_insert(100, 5), commit(101, 6))

    assert [change.is_touch for change in taken.changes] == [False, False, True]


@pytest.mark.usefixtures("small_batches")
def test_a_large_transaction_that_is_rolled_back_is_nothing(tmp_path: Path) -> None:
    reader = Reader(tmp_path, budget=BUDGET)

    assert reader.read(*inserts(50), rollback(200, 0x90)) == []
    assert reader.miner.open_transactions == 0


@pytest.mark.usefixtures("small_batches")
@given(st.integers(0, 3000), st.lists(st.sampled_from("abc"), min_size=1, max_size=60))
def test_the_budget_changes_nothing_that_is_given_out(budget: int, order: list[str]) -> None:
    xids = {name: (1, at, at + 1) for at, name in enumerate("abc")}
    rows = [insert(100 + at, 4 + at, at, xid=xids[name]) for at, name in enumerate(order)]
    rows += [commit(200 + at, 0x80 + at, xid=xid) for at, xid in enumerate(xids.values())]
    small, large = Reader(SCRATCH, budget=budget), Reader(SCRATCH)

    assert sql_of(small.read(*rows)) == sql_of(large.read(*rows))
