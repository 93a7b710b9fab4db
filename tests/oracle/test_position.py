"""Positions: their order, what the journal keeps of them, and where mining goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowline_worker.contract import Unsafe, Unsupported
from bowline_worker.endpoints.oracle.logrow import Address, LogRow, Xid
from bowline_worker.endpoints.oracle.position import CommitKey, Emitted, Place, Resume, at_scn
from bowline_worker.endpoints.oracle.start import Start
from bowline_worker.journal.block import TEXT_BYTES
from bowline_worker.model import Position
from oracle.mining_rows import TWO, Reader, address, commit, first_place, insert, sql_of

SCNS = st.integers(0, 2**48 - 1)
ADDRESSES = st.builds(
    lambda sequence, block, offset, ssn: Address(f"0x{sequence:06x}.{block:08x}.{offset:04x}", ssn),
    st.integers(0, 0xFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(1, 0xFFFF),
    st.integers(0, 999),
)
THREADS = st.integers(1, 99)
XIDS = st.builds(Xid, *(st.integers(0, 2**16) for _ in range(4)))


@st.composite
def emitted(draw: st.DrawFn) -> Emitted:
    """Anything that a miner of one or two threads can have given out."""
    whole = Emitted(
        order=draw(st.integers(0, 2**64 - 1)),
        scn=draw(SCNS),
        floors=draw(st.dictionaries(THREADS, ADDRESSES, max_size=2)),
        bare=draw(st.frozensets(XIDS, max_size=1)),
    )
    if draw(st.booleans()):
        return whole
    return replace(
        whole,
        until=draw(st.dictionaries(THREADS, ADDRESSES, max_size=2)),
        upper=draw(SCNS),
        last=CommitKey(draw(SCNS), draw(THREADS), draw(ADDRESSES | st.just(Address("", 0)))),
    )


@given(emitted())
def test_a_position_is_read_back_from_what_the_journal_keeps(given_out: Emitted) -> None:
    position = given_out.position

    assert Emitted.read(position) == given_out
    assert len(position.text.encode()) <= TEXT_BYTES


def test_a_position_begins_with_the_scn_that_people_know() -> None:
    given_out = Emitted(order=5, scn=5120034, floors={1: address(0x345)})

    assert str(given_out.position) == "5120034 1:12.345.10.0"


def test_too_many_threads_for_the_journal_are_refused() -> None:
    floors = {thread: Address("0xffffff.ffffffff.ffff", 99) for thread in range(1, 20)}

    with pytest.raises(Unsupported, match="in 19 redo threads"):
        _ = Emitted(floors=floors).position


@pytest.mark.parametrize("text", ["", "0/3A10", "5 1:2", "5 ?", "5 x1.2", "5 @1", "5 1:a.b.c.d.e"])
def test_a_position_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(Unsafe, match="can't be read"):
        Emitted.read(Position(1, text))


@given(st.lists(SCNS, max_size=20))
def test_orders_rise_whatever_the_scns(scns: list[int]) -> None:
    given_out = Emitted()
    orders = []
    for scn in scns:
        given_out = replace(given_out, order=given_out.next_order(scn))
        orders.append(given_out.order)

    assert orders == sorted(set(orders))
    assert all(order >= at_scn(scn).order for order, scn in zip(orders, scns, strict=True))


def test_scns_compare_as_positions() -> None:
    assert at_scn(99) < at_scn(100)


# --- places ---

PLACE = Place(
    dbid=42,
    resetlogs=7,
    start=Start(before=5, snapshot=9, listed={Xid(3, 1, 2, 3): 4}),
    position=Position(77, "5 1:12.345.10.0"),
    resume={1: Resume(address(5, 2), 50), 2: Resume(address(9), 40)},
)


def test_a_place_is_read_back() -> None:
    assert Place.loads(PLACE.dumps()) == PLACE


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "{}", PLACE.dumps().replace("rs_id", "rsid")]
)
def test_a_damaged_place_is_refused(text: str) -> None:
    with pytest.raises(Unsafe, match="damaged"):
        Place.loads(text)


def test_a_place_of_another_format_is_refused() -> None:
    with pytest.raises(Unsafe, match="format 99 is not known"):
        Place.loads(PLACE.dumps().replace('"format": 1', '"format": 99'))


@pytest.mark.parametrize("found", [(43, 7), (42, 8)])
def test_another_database_or_incarnation_is_refused(found: tuple[int, int]) -> None:
    PLACE.check_origin(42, 7)

    with pytest.raises(Unsafe, match="began in database 42") as error:
        PLACE.check_origin(*found)

    assert error.value.reason == "OriginWentBack"


def test_a_journal_that_ends_before_the_place_is_refused() -> None:
    """What lies in between may not be mined again."""
    assert PLACE.after(Position(78, "6")).position.order == 78
    for short in (Position(76, "4"), None):
        with pytest.raises(Unsafe, match="the journal ends at"):
            PLACE.after(short)


def test_mining_goes_on_at_the_oldest_row_that_is_needed() -> None:
    assert PLACE.mine_from == 40
    assert first_place(PLACE.start).mine_from == 4


# --- a reader's place ---


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def test_mining_goes_on_with_the_first_row_of_the_oldest_open_transaction(reader: Reader) -> None:
    reader.read(insert(100, 4), insert(101, 5, xid=TWO), commit(102, 6, xid=TWO))

    assert reader.miner.place.resume == {1: Resume(address(4), 100)}

    reader.read(commit(103, 7))

    assert reader.miner.place.resume == {1: Resume(address(7), 103)}


def test_a_thread_goes_on_by_itself(reader: Reader) -> None:
    reader.read(insert(100, 4), commit(90, 9, thread=2, xid=TWO), commit(101, 5))

    assert reader.miner.place.resume == {
        1: Resume(address(5), 101),
        2: Resume(address(9), 90),
    }


def test_the_cursor_is_the_highest_address_in_whatever_order_rows_come(reader: Reader) -> None:
    reader.read(insert(100, 9), insert(101, 4, xid=TWO))

    assert reader.read(insert(100, 8, 1), insert(102, 0xA, 2), commit(103, 0xB)) != []
    assert reader.miner.place.resume[1].address == address(4)


def test_a_commit_that_was_given_out_does_not_come_again(reader: Reader, tmp_path: Path) -> None:
    rows = [insert(100, 4), insert(101, 5, xid=TWO), commit(102, 6, xid=TWO)]
    reader.read(*rows)

    taken = reader.restarted(tmp_path).read(*rows, commit(103, 7))

    assert [each.scn for each in taken] == [103]


def test_a_commit_that_was_written_later_with_a_lower_scn_comes_after_a_restart(
    reader: Reader, tmp_path: Path
) -> None:
    rows = [insert(100, 4), insert(101, 5, xid=TWO), commit(110, 6, xid=TWO)]
    (first,) = reader.read(*rows)
    late = commit(105, 7)

    (second,) = reader.restarted(tmp_path).read(*rows, late)

    assert second.scn == 105
    assert second.transaction.position > first.transaction.position


def step_of_three(tmp_path: Path) -> tuple[Reader, list[tuple[object, ...]]]:
    """Three transactions whose commits lie in another order than they come in."""
    reader = Reader(tmp_path)
    reader.read(insert(99, 3, 9, xid=(9, 9, 9)))
    rows = [insert(100, 4 + at, at, xid=(1, at, at)) for at in range(3)]
    rows += [
        commit(103, 8, xid=(1, 0, 0)),
        commit(101, 9, xid=(1, 1, 1)),
        commit(102, 10, xid=(1, 2, 2)),
    ]
    return reader, rows


@pytest.mark.parametrize("journalled", [1, 2, 3])
def test_a_step_that_was_journalled_in_part_is_given_out_to_its_end(
    tmp_path: Path, journalled: int
) -> None:
    reader, rows = step_of_three(tmp_path)
    before = reader.miner.place
    taken = reader.read(*rows)
    last = taken[journalled - 1].transaction

    again = Reader(tmp_path, place=before.after(last.position))
    upper = again.miner.least_upper
    more = [insert(99, 3, 9, xid=(9, 9, 9)), *rows]
    new = [insert(98, 11, 5), commit(98, 12)]  # written since, with a low SCN
    rest = again.read(*more, *new, upper=max(upper, 103)) + again.read(*new)

    assert [each.scn for each in taken] == [101, 102, 103]
    assert [each.scn for each in rest] == [*[101, 102, 103][journalled:], 98]
    assert all(each.transaction.position > last.position for each in rest)


def test_a_step_that_was_journalled_in_part_is_mined_as_far_as_it_was(tmp_path: Path) -> None:
    reader, rows = step_of_three(tmp_path)
    taken = reader.read(*rows, upper=500)

    again = Reader(tmp_path, place=taken[0].transaction.place)

    assert again.miner.least_upper == 500
    with pytest.raises(ValueError, match="500 is the least"):
        again.miner.step(499)


def test_the_place_of_a_transaction_is_never_ahead_of_it(tmp_path: Path) -> None:
    """What is kept once a transaction is durable must not hide those behind it in the same step."""
    reader, rows = step_of_three(tmp_path)
    taken = reader.read(*rows)

    for each in taken:
        assert each.transaction.place.position == each.transaction.position
    assert taken[0].transaction.place.resume[1].address == address(3)
    assert sql_of(Reader(tmp_path, place=taken[1].transaction.place).read(
        insert(99, 3, 9, xid=(9, 9, 9)), *rows
    )) == [taken[2].sql]  # fmt: skip


def test_a_quiet_database_moves_the_position_on(reader: Reader) -> None:
    before = reader.miner.position
    reader.read(insert(100, 4))
    reader.read(upper=5000)

    assert reader.miner.position > before
    assert reader.miner.position == Position(at_scn(5000).order, "5000 1:12.4.10.0")
    assert reader.miner.place.resume == {1: Resume(address(4), 100)}


def test_an_idle_position_does_not_hide_a_late_commit(reader: Reader, tmp_path: Path) -> None:
    reader.read(insert(100, 4))
    reader.read(upper=5000)
    (taken,) = reader.restarted(tmp_path).read(insert(100, 4), commit(200, 5))

    assert taken.scn == 200
    assert taken.transaction.position > reader.miner.position


def test_a_step_must_be_given_out_before_the_next_one_begins(reader: Reader) -> None:
    step = reader.miner.step(None)
    for row in (insert(100, 4), commit(101, 5)):
        step.add(LogRow.from_row(row))
    next(reader.miner.apply(step))

    with pytest.raises(AssertionError, match="before the last one"):
        reader.miner.step(None)
