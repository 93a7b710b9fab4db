"""Steps: what is taken of a query's rows, and where they are cut."""

from __future__ import annotations

from typing import Any

import pytest

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.logrow import Code, LogRow
from bowline_worker.endpoints.oracle.steps import Bound, Step
from oracle.mining_rows import TWO, Row, address, commit, delete, insert, raw, rollback, start

#: As the redo shows it where it does not tell.
PARTIAL = 0xFFFFFFFF


def staged(*rows: Row, **more: Any) -> Step:
    step = Step(more.pop("bounds", {}), **more)
    for row in rows:
        step.add(LogRow.from_row(row))
    return step


def blocks(step: Step) -> list[int | None]:
    """The blocks of the rows that are taken; None: a row without an address."""
    return [int(row.address.rs_id[9:17], 16) if row.address else None for row in step.take()]


# --- continued statements ---


def test_pieces_of_a_statement_are_joined_before_anything_looks_at_it() -> None:
    whole = """insert into "S"."T"("ID","V") values ('7','it''s')"""
    cut = whole.index("''") + 1  # between the two quotes
    first = raw(100, 5, Code.INSERT, whole[:cut], csf=True)
    second = raw(100, 5, Code.INSERT, whole[cut:])

    (row,) = staged(first, second).take()

    assert row.sql == whole
    assert not row.continues


def test_pieces_of_two_threads_may_come_in_turns() -> None:
    rows = [
        raw(100, 5, Code.INSERT, "a", csf=True),
        raw(100, 5, Code.INSERT, "1", csf=True, thread=2, xid=TWO),
        raw(100, 5, Code.INSERT, "b", csf=True),
        raw(100, 5, Code.INSERT, "2", thread=2, xid=TWO),
        raw(100, 5, Code.INSERT, "c"),
    ]

    assert [row.sql for row in staged(*rows).take()] == ["12", "abc"]


def test_a_statement_without_its_end_is_an_error() -> None:
    with pytest.raises(Unsafe, match=r"S\.T at SCN 100.*its end never came"):
        staged(insert(100, 5, csf=True)).take()


def test_a_statement_that_another_row_interrupts_is_an_error() -> None:
    with pytest.raises(Unsafe, match="came instead"):
        staged(insert(100, 5, csf=True), insert(101, 6, xid=TWO))


def test_a_piece_of_a_row_that_was_read_before_does_not_come_again() -> None:
    rows = [insert(100, 5, csf=True), insert(100, 5), insert(101, 6)]

    assert blocks(staged(*rows, bounds={1: Bound(address(5), inclusive=False)})) == [6]


# --- where a step begins ---


def test_rows_up_to_the_cursor_of_their_thread_are_left_out() -> None:
    rows = [insert(100, 4), insert(101, 5), insert(90, 6)]

    assert blocks(staged(*rows, bounds={1: Bound(address(5), inclusive=False)})) == [6]
    assert blocks(staged(*rows, bounds={1: Bound(address(5), inclusive=True)})) == [5, 6]


def test_a_late_row_with_an_old_scn_is_taken_by_its_address() -> None:
    """Redo of an open transaction is written late, with the SCNs of when it was made."""
    late = insert(80, 6)

    assert blocks(staged(late, bounds={1: Bound(address(5), inclusive=False)})) == [6]


def test_a_cursor_says_nothing_of_another_thread() -> None:
    rows = [insert(100, 2, thread=2), insert(100, 4)]

    assert blocks(staged(*rows, bounds={1: Bound(address(5), inclusive=False)})) == [2]


def test_array_deletes_share_an_address_and_are_all_taken() -> None:
    rows = [delete(100, 5, key, row_id=f"AAAR3sAAEAAAACXAA{key}") for key in (1, 2, 3)]

    assert [row.row_id[-1] for row in staged(*rows).take()] == ["1", "2", "3"]


# --- rows without an address ---


def test_ends_without_an_address_are_taken_whatever_the_cursor() -> None:
    rows = [start(100, None), rollback(101, None), commit(102, None)]

    assert len(staged(*rows, bounds={1: Bound(address(5), inclusive=False)}).take()) == 3


@pytest.mark.parametrize(
    "code", [Code.INSERT, Code.DELETE, Code.LOB_WRITE, Code.DDL, Code.UNSUPPORTED, 199]
)
def test_a_change_without_an_address_stops(code: int) -> None:
    with pytest.raises(Unsafe, match="no redo address"):
        staged(raw(100, None, code, "x"))


def test_an_internal_row_without_an_address_is_nothing() -> None:
    assert not staged(raw(100, None, 0)).take()


# --- where a step ends ---


def test_a_step_without_a_bound_ends_with_its_rows() -> None:
    assert blocks(staged(insert(100, 4), insert(900, 5))) == [4, 5]


def test_each_thread_is_cut_at_its_first_row_above_the_bound() -> None:
    there: dict[str, Any] = {"thread": 2, "xid": TWO}
    rows = [insert(100, 4), insert(100, 7, **there), insert(106, 8, **there), insert(105, 5)]

    assert blocks(staged(*rows, upper=105)) == [4, 7, 5]


def test_a_row_below_the_bound_waits_for_one_above_it_that_was_written_before() -> None:
    """A cursor behind both would never come back for the one above the bound."""
    rows = [insert(100, 4), insert(99, 6, xid=TWO), insert(105, 5)]

    assert blocks(staged(*rows, upper=100)) == [4]


def test_a_commit_waits_for_rows_of_its_transaction() -> None:
    """Strands that are flushed together are not sorted: a row may lie behind its commit."""
    rows = [insert(97, 3), insert(98, 4, xid=TWO), commit(99, 5, xid=TWO)]
    rows += [commit(105, 6), insert(98, 7, xid=TWO)]

    assert blocks(staged(*rows, upper=100)) == [3, 4]


def test_a_row_waits_for_an_earlier_one_of_its_transaction() -> None:
    """A session's redo may be spread over strands."""
    rows = [insert(97, 3), insert(98, 7, xid=TWO), insert(105, 6), insert(99, 4, xid=TWO)]

    assert blocks(staged(*rows, upper=100)) == [3]


def test_a_commit_waits_for_an_older_one_that_is_left() -> None:
    """Who committed later may have read what the older one wrote."""
    rows = [commit(98, 3), commit(100, 4, xid=TWO), insert(105, 5, xid=(9, 9, 9))]
    rows.append(commit(99, 6, xid=(8, 8, 8)))

    assert blocks(staged(*rows, upper=100)) == [3]


def test_a_slot_that_is_used_again_holds_nobody_up() -> None:
    """On a busy server each slot is soon another transaction's: if that held the first up, nothing would ever come."""
    next_one = (*TWO[:2], TWO[2] + 1)
    rows = [insert(97, 3, xid=TWO), commit(98, 4, xid=TWO)]
    rows += [insert(105, 5, xid=next_one), insert(106, 6, xid=(*TWO[:2], PARTIAL))]

    assert blocks(staged(*rows, upper=100)) == [3, 4]


def test_a_commit_waits_for_a_row_that_may_be_of_its_transaction() -> None:
    rows = [insert(97, 3), insert(98, 4, xid=TWO), commit(99, 5, xid=TWO)]
    rows += [insert(105, 6), insert(99, 7, xid=(*TWO[:2], PARTIAL))]

    assert blocks(staged(*rows, upper=100)) == [3, 4]


def test_an_old_end_of_nobody_does_not_hold_a_busy_slot_up_for_ever() -> None:
    """It tells no transaction, and the slot has always a younger one that is not read to its end: nothing of that
    one, whose redo was made later, can be what it ends. Each step gave nothing, and the stream stood still."""
    old = rollback(97, 3, xid=(*TWO[:2], PARTIAL))
    next_one = [insert(98, 4, xid=TWO), insert(105, 5, xid=TWO)]

    assert blocks(staged(old, *next_one, upper=100)) == [3, 4]


def test_an_end_does_not_wait_for_a_row_that_was_written_after_it() -> None:
    rows = [insert(97, 3), insert(98, 4, xid=TWO), commit(99, 5, xid=TWO)]
    rows.append(insert(105, 6, xid=(*TWO[:2], PARTIAL)))

    assert blocks(staged(*rows, upper=100)) == [3, 4, 5]


def test_an_end_of_nobody_waits_for_rows_that_it_may_end() -> None:
    rows = [insert(97, 3), rollback(99, 4, xid=(*TWO[:2], PARTIAL))]
    rows += [insert(105, 5), insert(98, 6, xid=TWO)]

    assert blocks(staged(*rows, upper=100)) == [3]


def test_an_end_without_an_address_waits_for_what_came_before_it() -> None:
    rows = [insert(100, 4), insert(105, 5), rollback(100, None)]

    assert blocks(staged(*rows, upper=100)) == [4]
    assert blocks(staged(insert(100, 4), rollback(100, None), upper=100)) == [4, None]


def test_a_step_that_is_taken_again_ends_where_it_ended() -> None:
    rows = [insert(100, 4), insert(300, 5), insert(100, 6), insert(100, 4, thread=2)]

    assert blocks(staged(*rows, upper=200, until={1: address(5)})) == [4, 5]


def test_a_step_that_fails_has_told_nobody() -> None:
    """What failed in the middle of a fetch is thrown away: rows before the error may have gaps."""
    half = staged(insert(100, 4))

    assert half.size == len(insert(100, 4)[-1])
    assert blocks(staged(insert(100, 4), insert(100, 5))) == [4, 5]
