"""Pieces become blocks: of whole transactions, or of a part of one; each readable by itself."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.base import Piece
from bowline_worker.journal import Draft
from bowline_worker.journal.grouping import (
    BLOCK_BYTES,
    BLOCK_CHANGES,
    BLOCK_SECONDS,
    IDLE_STEP,
    PART_BYTES,
    Grouper,
)
from bowline_worker.model import Position
from journal_rig import at


def piece(
    order: int,
    payload: bytes = b"x",
    *,
    starts: bool = True,
    ends: bool = True,
    changes: int = 1,
    relations: frozenset[int] = frozenset(),
    redefines: bool = False,
) -> Piece:
    return Piece(
        payload=payload,
        position=at(order),
        starts=starts,
        ends=ends,
        changes=changes,
        committed_at=float(order),
        relations=relations,
        redefines=redefines,
    )


def explain(relations: Iterable[int]) -> bytes:
    return b"".join(b"[%d]" % each for each in relations)


def grouped(*stream: Piece, last: Position | None = None) -> list[Draft]:
    grouper = Grouper(last, explain)
    found = [draft for each in stream for draft in grouper.add(each)]
    return [*found, *grouper.flush()]


def test_small_transactions_share_a_block() -> None:
    (block,) = grouped(piece(1, b"a"), piece(2, b"b"), piece(3, b"c"))

    assert block == Draft(
        payload=b"abc", first=at(1), last=at(3), transactions=3, changes=3, committed_at=3.0
    )


@pytest.mark.parametrize(
    "full", [piece(1, changes=BLOCK_CHANGES), piece(1, b"x" * BLOCK_BYTES)], ids=["count", "size"]
)
def test_a_full_block_is_closed(full: Piece) -> None:
    assert [block.transactions for block in grouped(full, piece(2))] == [1, 1]


def test_a_block_is_due_when_it_is_old() -> None:
    now = [0.0]
    grouper = Grouper(None, explain, clock=lambda: now[0])
    list(grouper.add(piece(1)))

    assert grouper.is_open
    assert not grouper.is_due

    now[0] = BLOCK_SECONDS

    assert grouper.is_due


def test_a_huge_transaction_has_blocks_of_its_own() -> None:
    half = b"h" * (PART_BYTES // 2)
    blocks = grouped(
        piece(1, b"before"),
        piece(9, half, ends=False),
        piece(9, half, starts=False, ends=False),
        piece(9, b"end", starts=False),
        piece(10, b"behind"),
    )

    assert [(len(b.payload), b.starts, b.ends, b.transactions) for b in blocks] == [
        (6, True, True, 1),
        (PART_BYTES, True, False, 0),
        (3, False, True, 1),
        (6, True, True, 1),
    ]


def test_each_block_explains_the_relations_it_names_before_it_names_them() -> None:
    one, two = frozenset({1}), frozenset({1, 2})
    blocks = grouped(
        piece(1, b"a", relations=one),
        piece(2, b"b", relations=two, changes=BLOCK_CHANGES),
        piece(3, b"c", relations=one),
    )

    assert [block.payload for block in blocks] == [b"[1]a[2]b", b"[1]c"]


def test_a_relation_that_changed_its_shape_starts_a_block() -> None:
    one = frozenset({1})
    blocks = grouped(
        piece(1, b"a", relations=one),
        piece(2, b"b", relations=one, redefines=True),
        piece(3, b"c", relations=one),
    )

    assert [block.payload for block in blocks] == [b"[1]a", b"[1]bc"]


def test_an_unfinished_transaction_is_not_given_out_early() -> None:
    grouper = Grouper(None, explain)

    assert list(grouper.add(piece(9, ends=False))) == []
    assert not grouper.is_open
    assert list(grouper.flush()) == []


def test_what_the_journal_has_is_dropped() -> None:
    blocks = grouped(piece(1), piece(2), piece(3, b"new"), last=at(2))

    assert [block.payload for block in blocks] == [b"new"]


def test_a_transaction_in_parts_that_begins_where_the_journal_ends_is_not_dropped() -> None:
    """Its parts carry the start of its commit record, which may be the end of the one before."""
    blocks = grouped(piece(20, b"a", ends=False), piece(30, b"b", starts=False), last=at(20))

    assert [block.payload for block in blocks] == [b"ab"]


def test_parts_that_were_taken_for_journalled_ones_by_mistake_are_not_lost_silently() -> None:
    with pytest.raises(Unsafe, match="taken for journalled"):
        grouped(piece(5, ends=False), piece(30, starts=False), last=at(20))


def test_a_stream_that_goes_back_within_a_session_is_refused() -> None:
    with pytest.raises(Unsafe, match="from 0/A back to 0/A"):
        grouped(piece(10), piece(10))


def test_an_idle_position_is_recorded_when_it_is_worth_it() -> None:
    blocks = grouped(
        piece(10),
        piece(10 + IDLE_STEP - 1, b""),
        piece(10 + IDLE_STEP, b""),
        piece(11 + IDLE_STEP, b""),
    )

    assert [(block.last.order, block.transactions) for block in blocks] == [
        (10, 1),
        (10 + IDLE_STEP, 0),
    ]


def test_an_idle_position_is_refused_while_a_transaction_is_open() -> None:
    with pytest.raises(Unsafe, match="inside another"):
        grouped(piece(10, ends=False), piece(IDLE_STEP * 2, b""))
