"""The start of a stream: each transaction is in the snapshot, or in the stream, and never in both or in parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.logrow import Xid
from bowline_worker.endpoints.oracle.start import Start
from oracle.mining_rows import (
    ONE,
    TWO,
    Reader,
    Row,
    commit,
    first_place,
    insert,
    rollback,
    start,
    update,
)
from oracle.test_mining_stops import ddl

Q, S = 100, 200
OPEN = Start(before=Q, snapshot=S, listed={Xid(3, *ONE): 50, Xid(3, 9, 9, 9): 0})
CLOSE = commit(S + 1, 0x90, xid=(9, 9, 9))


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path, place=first_place(OPEN))


def test_mining_begins_with_the_oldest_open_transaction() -> None:
    assert OPEN.mine_from == 50
    assert Start(before=Q, snapshot=S).mine_from == Q
    assert Start(before=Q, snapshot=S, listed={Xid(3, *ONE): 150}).mine_from == Q


def test_a_snapshot_before_its_list_is_refused() -> None:
    with pytest.raises(ValueError, match="is less"):
        Start(before=S, snapshot=Q)


@pytest.mark.parametrize(
    ("rows", "scns"),
    [
        pytest.param([insert(60, 4), insert(210, 5), commit(220, 6)], [60, 210], id="it was listed"),
        pytest.param([insert(60, 4), commit(S + 1, 6)], [60], id="it commits after the snapshot"),
        pytest.param([insert(60, 4), commit(S, 6)], [], id="the snapshot has it"),
        pytest.param([insert(60, 4), rollback(220, 6)], [], id="it is rolled back"),
        pytest.param([start(Q, 3, xid=TWO), insert(110, 4, xid=TWO), commit(220, 6, xid=TWO)], [110],
                     id="it began after the first read"),
        pytest.param([insert(110, 4, xid=TWO, start_scn=Q), commit(220, 6, xid=TWO)], [110],
                     id="a row tells that it did"),
        pytest.param([start(Q, 3, xid=TWO), insert(110, 4, xid=TWO), commit(120, 6, xid=TWO)], [],
                     id="it began and committed before the snapshot"),
        pytest.param([insert(60, 4, xid=TWO), commit(90, 6, xid=TWO)], [], id="it was over before"),
        pytest.param([start(90, 3, xid=TWO), insert(95, 4, xid=TWO), commit(150, 6, xid=TWO)], [],
                     id="it was over before it could be listed"),
        pytest.param([insert(S, 4, xid=TWO), commit(220, 6, xid=TWO)], [S], id="after the snapshot"),
        pytest.param([ddl(150, 4, "truncate table t"), ddl(151, 5, "alter table t add x int")], [],
                     id="DDL before the snapshot"),
    ],
)  # fmt: skip
def test_a_transaction_is_in_the_snapshot_or_in_the_stream(
    reader: Reader, rows: list[Row], scns: list[int]
) -> None:
    taken = reader.read(*rows)

    assert [change.scn for each in taken for change in each.changes] == scns


def test_a_transaction_that_should_have_been_listed_stops(reader: Reader) -> None:
    """Without its rows from before, the stream would give a part of it."""
    rows = [start(90, 3, xid=TWO), insert(95, 4, xid=TWO), insert(210, 5, xid=TWO)]

    with pytest.raises(Unsafe, match=r"5\.2\.2002 commits at SCN 220.*not among those"):
        reader.read(*rows, commit(220, 6, xid=TWO))


def test_the_rule_holds_after_a_restart(reader: Reader, tmp_path: Path) -> None:
    rows = [insert(60, 4), start(Q, 5, xid=TWO), insert(110, 6, xid=TWO)]
    reader.read(*rows)

    taken = reader.restarted(tmp_path).read(
        *rows, commit(210, 7), commit(211, 8, xid=TWO), insert(150, 9, xid=(4, 4, 4))
    )

    assert [change.scn for each in taken for change in each.changes] == [60, 110]


def test_a_late_row_of_a_transaction_that_began_before_the_restart_is_kept(
    reader: Reader, tmp_path: Path
) -> None:
    """Its START row is not mined again, and its redo was written late."""
    reader.read(start(Q, 3, xid=TWO), commit(150, 4, xid=(8, 8, 8)))

    taken = reader.restarted(tmp_path).read(insert(110, 5, xid=TWO), commit(211, 6, xid=TWO))

    assert [change.scn for each in taken for change in each.changes] == [110]


def test_the_lists_are_forgotten_when_all_of_them_are_over(reader: Reader) -> None:
    reader.read(insert(60, 4), start(Q, 5, xid=TWO))
    reader.read(commit(210, 6), rollback(211, 7, xid=TWO))

    assert not reader.miner.place.start.is_settled

    reader.read(CLOSE)

    assert reader.miner.place.start == Start(before=Q, snapshot=S, is_settled=True)


def test_the_lists_are_kept_until_all_threads_are_beyond_the_snapshot(reader: Reader) -> None:
    reader.read(commit(210, 6), CLOSE, insert(150, 4, thread=2, xid=TWO))

    assert not reader.miner.place.start.is_settled


def test_a_late_commit_from_before_the_snapshot_is_never_given_out(reader: Reader) -> None:
    reader.read(commit(210, 6), CLOSE)

    assert reader.read(insert(150, 0x91, xid=TWO), commit(160, 0x92, xid=TWO)) == []

    late = [insert(170, 0x93, xid=TWO), update(300, 0x94, xid=TWO), commit(301, 0x95, xid=TWO)]

    assert len(reader.read(*late)) == 1


@pytest.mark.parametrize(
    "begin",
    [
        OPEN,
        Start(before=Q, snapshot=S, begun=frozenset({Xid(0, *TWO)})),
        Start(before=Q, snapshot=S, is_settled=True),
    ],
)
def test_a_start_is_read_back(begin: Start) -> None:
    assert Start.from_json(json.loads(json.dumps(begin.to_json()))) == begin


@pytest.mark.parametrize("damaged", [None, {}, {"before": 1}, {**OPEN.to_json(), "listed": [[1]]}])
def test_a_damaged_start_is_refused(damaged: object) -> None:
    with pytest.raises(Unsafe, match="can't be read"):
        Start.from_json(damaged)
