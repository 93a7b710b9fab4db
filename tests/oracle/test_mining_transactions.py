"""Transactions: what a commit gives out, and what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.logrow import Code
from bowline_worker.model import TableName
from oracle.mining_rows import (
    AT,
    ONE,
    PARTIAL,
    PLACEHOLDER,
    ROW_A,
    ROW_B,
    T_ID,
    TWO,
    Reader,
    Row,
    T,
    address,
    commit,
    delete,
    insert,
    raw,
    rollback,
    sql_of,
    start,
    undo_delete,
    undo_insert,
    undo_update,
    update,
)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


# --- commits ---


def test_a_commit_gives_its_transaction_out(reader: Reader) -> None:
    (taken,) = reader.read(start(99, 3), insert(100, 4), update(101, 5), commit(102, 6))
    transaction, (first, second) = taken.transaction, taken.changes

    assert (transaction.xid, transaction.container, transaction.thread) == ((3, *ONE), "PDB1", 1)
    assert (transaction.scn, transaction.at, transaction.address) == (102, AT, address(6))
    assert (transaction.user, transaction.client) == ("APP", "")
    assert (first.code, first.table, first.object_id, first.row_id) == (Code.INSERT, T, T_ID, ROW_A)
    assert (second.code, second.scn, second.address) == (Code.UPDATE, 101, address(5))
    assert first.sql == """insert into "S"."T"("ID","V") values ('7','x')"""


def test_a_commit_of_an_unknown_transaction_is_nothing(reader: Reader) -> None:
    assert reader.read(commit(102, 6)) == []


def test_an_open_transaction_waits_over_steps(reader: Reader) -> None:
    assert reader.read(insert(100, 4)) == []
    assert reader.read() == []

    (taken,) = reader.read(update(101, 5), commit(102, 6))

    assert [change.code for change in taken.changes] == [Code.INSERT, Code.UPDATE]


def test_a_rollback_discards_its_transaction(reader: Reader) -> None:
    assert reader.read(insert(100, 4), rollback(101, 5), commit(102, 6)) == []
    assert reader.miner.open_transactions == 0


def test_interleaved_transactions_with_equal_scns_stay_apart(reader: Reader) -> None:
    taken = reader.read(
        insert(100, 4, 1),
        insert(100, 5, 2, xid=TWO),
        update(100, 6, 1),
        commit(100, 7, xid=TWO),
        commit(100, 8),
    )

    assert [(each.xid, len(each.changes)) for each in taken] == [(TWO, 1), (ONE, 2)]


def test_transactions_come_in_the_order_of_their_commits(reader: Reader) -> None:
    """Strands that are flushed together are not sorted, and threads are not either."""
    taken = reader.read(
        insert(100, 4),
        insert(100, 5, xid=TWO),
        insert(100, 4, xid=(1, 1, 1), thread=2),
        commit(103, 6),
        commit(101, 7, xid=TWO),
        commit(102, 5, xid=(1, 1, 1), thread=2),
    )

    assert [each.scn for each in taken] == [101, 102, 103]


def test_transactions_of_two_containers_with_one_xid_stay_apart(reader: Reader) -> None:
    taken = reader.read(
        insert(100, 4, 1, container=3),
        insert(100, 5, 2, container=4),
        commit(101, 6, container=4),
        rollback(102, 7, container=3),
    )

    assert sql_of(taken) == [["""insert into "S"."T"("ID","V") values ('2','x')"""]]


def test_an_xid_is_used_again(reader: Reader) -> None:
    rows = [insert(100, 4, 1), commit(101, 5), insert(102, 6, 2), rollback(103, 7)]
    taken = reader.read(*rows, insert(104, 8, 3), commit(105, 9))

    assert [change.scn for each in taken for change in each.changes] == [100, 104]


def test_a_start_row_of_zeros_is_nothing(reader: Reader) -> None:
    zero = (0, 0, 0)
    taken = reader.read(
        start(99, 3, xid=zero), insert(100, 4), start(101, None, xid=zero), commit(102, 6)
    )

    assert len(taken) == 1


def test_a_commit_without_an_address_gives_its_transaction_out_once(
    reader: Reader, tmp_path: Path
) -> None:
    rows = [insert(90, 2, xid=TWO), insert(100, 4), commit(101, None)]
    (taken,) = reader.read(*rows)

    assert taken.transaction.address is None
    assert reader.read(*rows) == []
    assert reader.restarted(tmp_path).read(*rows) == []

    reader.read(commit(102, 8, xid=TWO))

    assert reader.miner.position.text == "102 1:12.8.10.0"  # remembered no longer than needed


def test_rows_of_other_tables_are_passed_over(reader: Reader) -> None:
    other = raw(100, 4, Code.UNSUPPORTED, table="OTHER", object_id=99, status=2, info="x")

    assert reader.read(other, commit(101, 5)) == []


def test_a_partition_s_rows_are_known_by_their_object(reader: Reader) -> None:
    (taken,) = reader.read(insert(100, 4, table="T,SYS_IOT_TOP_4711"), commit(101, 5))

    assert taken.changes[0].table == TableName("S", "T")


def test_rows_that_say_nothing_are_passed_over(reader: Reader) -> None:
    silent = [
        raw(100, 4, 0),
        raw(100, 5, Code.SELECT_FOR_UPDATE, "select"),
        raw(100, 6, Code.SELECT_LOB_LOCATOR, None),
        raw(100, 7, Code.INSERT, "/* No SQL_REDO for temporary tables */"),
    ]

    assert reader.read(*silent, commit(101, 8)) == []


# --- partial XIDs ---


def test_a_partial_xid_means_the_transaction_that_has_the_slot(reader: Reader) -> None:
    partial = (*ONE[:2], PARTIAL)
    (taken,) = reader.read(
        insert(100, 4, 1),
        insert(100, 5, 2, row_id=ROW_B),
        undo_insert(101, 6, ROW_B, xid=partial),
        insert(100, 7, 3, xid=TWO),
        commit(102, 8),
        rollback(103, None, xid=(*TWO[:2], PARTIAL)),
    )

    assert taken.sql == ["""insert into "S"."T"("ID","V") values ('1','x')"""]


def test_a_partial_xid_means_nobody_in_another_container(reader: Reader) -> None:
    partial = (*ONE[:2], PARTIAL)
    rows = [insert(100, 4), rollback(101, 5, xid=partial, container=4), commit(102, 6)]

    assert len(reader.read(*rows)) == 1


def test_a_partial_xid_of_a_transaction_that_is_over_is_dropped(reader: Reader) -> None:
    partial = (*ONE[:2], PARTIAL)

    assert reader.read(undo_insert(100, 4, xid=partial), rollback(101, 5, xid=partial)) == []


def test_an_old_rollback_of_the_slot_does_not_end_its_next_transaction(reader: Reader) -> None:
    """Rows without an address come again with every step."""
    old = rollback(100, None, xid=(*ONE[:2], PARTIAL))
    reader.read(old, insert(100, 4))

    assert len(reader.read(old, commit(101, 5))) == 1


def test_a_partial_xid_means_the_transaction_that_had_the_slot_then(reader: Reader) -> None:
    """Of strands that are flushed together, one may show the next transaction before the end of the last one."""
    following = (*ONE[:2], ONE[2] + 1)
    rows = [insert(100, 4, 1), insert(105, 5, 2, xid=following)]
    rows += [rollback(103, 6, xid=(*ONE[:2], PARTIAL)), commit(106, 7, xid=following)]

    assert [each.xid for each in reader.read(*rows)] == [following]
    assert reader.miner.open_transactions == 0


@pytest.mark.parametrize("more", [[], [insert(105, 7, 2)]], ids=["commit", "change and commit"])
def test_a_transaction_that_goes_on_behind_its_rollback_stops(
    reader: Reader, more: list[Row]
) -> None:
    """The slot was all that the rollback named: it meant another one, and changes were thrown away."""
    rows = [insert(100, 4), rollback(103, 6, xid=(*ONE[:2], PARTIAL)), *more]

    with pytest.raises(Unsafe, match=r"3\.7\.1001, which a ROLLBACK without"):
        reader.read(*rows, commit(106, 8))


def test_a_change_that_names_no_transaction_stops(reader: Reader) -> None:
    with pytest.raises(Unsafe, match="names no transaction"):
        reader.read(insert(100, 4, xid=(*ONE[:2], PARTIAL)))


# --- undo ---

INSERT_A, INSERT_B = insert(100, 4, 1, row_id=ROW_A), insert(101, 5, 2, row_id=ROW_B)


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        pytest.param([INSERT_A, undo_insert(102, 6)], [], id="an insert"),
        pytest.param([delete(100, 4), undo_delete(102, 6)], [], id="a delete"),
        pytest.param([INSERT_A, update(101, 5), undo_update(102, 6)], [4], id="the newest of a row"),
        pytest.param([INSERT_A, INSERT_B, undo_insert(102, 6, ROW_A)], [5], id="by ROW_ID"),
        pytest.param(
            [update(100, 4), update(101, 5), undo_update(102, 6), undo_update(102, 7)], [], id="two in turn"
        ),
        pytest.param(
            [update(100, 4), undo_update(101, 5), update(102, 6)], [6], id="and done again"
        ),
        pytest.param(
            [INSERT_A, raw(101, 5, 1, "i", table="U", object_id=9), undo_insert(102, 6)], [5], id="by table"
        ),
        pytest.param(
            [insert(100, 4, row_id=PLACEHOLDER), undo_insert(101, 5, ROW_B)], [], id="a placeholder"
        ),
        pytest.param(
            [insert(100, 4, row_id=PLACEHOLDER), INSERT_B, undo_insert(102, 6, ROW_B)], [4], id="not the placeholder"
        ),
        pytest.param(
            [insert(100, 4, row_id=PLACEHOLDER), undo_insert(101, 5, PLACEHOLDER)], [], id="both placeholders"
        ),
        pytest.param(
            [
                insert(100, 4, row_id=PLACEHOLDER),
                update(101, 5, row_id=ROW_A),
                undo_update(102, 6, ROW_A),
                undo_insert(103, 7, ROW_A),
            ],
            [],
            id="a placeholder below the newest",
        ),
        pytest.param(
            [
                update(100, 4, row_id=ROW_A),
                insert(101, 5, row_id=PLACEHOLDER),
                undo_insert(102, 6, ROW_B),
                undo_update(103, 7, ROW_A),
            ],
            [],
            id="a real one below a placeholder",
        ),
        pytest.param(  # its LOB came as an update of the same statement
            [insert(100, 4, row_id=PLACEHOLDER), update(100, 5), undo_insert(101, 6)],
            [],
            id="an insert with its LOB",
        ),
        pytest.param(
            [
                insert(100, 4, row_id=PLACEHOLDER),
                update(100, 5, row_id=ROW_B),
                insert(100, 6, row_id=PLACEHOLDER),
                update(100, 7),
                update(100, 8),
                undo_insert(101, 9),
            ],
            [4, 5],
            id="an insert with two LOBs",
        ),
        pytest.param(  # as recorded by another reader of LogMiner
            [
                insert(100, 4, row_id=ROW_B),
                insert(101, 5, row_id=ROW_A),
                update(102, 6, row_id=ROW_A),
                update(103, 7, row_id=ROW_A),
                undo_update(104, 8, ROW_A),
                undo_update(104, 9, ROW_A),
                undo_insert(104, 10, ROW_A),
                undo_insert(104, 11, ROW_B),
            ],
            [],
            id="a whole transaction",
        ),
    ],
)  # fmt: skip
def test_an_undo_takes_back(reader: Reader, rows: list[Row], left: list[int]) -> None:
    taken = reader.read(*rows, commit(110, 0x20))

    assert [change.address for each in taken for change in each.changes] == [
        address(b) for b in left
    ]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([undo_insert(101, 5)], id="nothing before"),
        pytest.param([INSERT_B, undo_insert(102, 6, ROW_A)], id="another row"),
        pytest.param([update(100, 4), undo_insert(101, 5)], id="another operation"),
        pytest.param([insert(100, 4, xid=TWO), undo_insert(101, 5)], id="another transaction"),
        pytest.param(
            [update(100, 4, row_id=PLACEHOLDER), undo_insert(101, 5)], id="no reverse of the placeholder"
        ),
        pytest.param([INSERT_A, undo_insert(101, 5), undo_insert(101, 6)], id="more than there was"),
        pytest.param([INSERT_A, update(101, 5), undo_insert(101, 6)], id="an insert below an update"),
    ],
)  # fmt: skip
def test_an_undo_of_what_was_not_seen_stops_when_it_commits(
    reader: Reader, rows: list[Row]
) -> None:
    with pytest.raises(Unsafe, match="takes back a change that was not seen"):
        reader.read(*rows, commit(110, 0x20))


def test_an_undo_of_what_was_not_seen_does_no_harm_when_all_is_rolled_back(reader: Reader) -> None:
    assert reader.read(undo_insert(101, 5), rollback(102, 6)) == []


def test_what_comes_before_a_stop_is_given_out(reader: Reader) -> None:
    taken, _ = reader.read_until(
        Unsafe,
        insert(100, 4),
        undo_insert(101, 5, xid=TWO),
        commit(102, 6),
        commit(103, 7, xid=TWO),
    )

    assert [each.scn for each in taken] == [102]
