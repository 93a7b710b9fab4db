"""What an endpoint promises, for every engine: `make conformance ENDPOINT=memory|postgresql|yugabytedb|oracle`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import pytest

from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.conflicts import in_books, through_conflicts
from bowline_worker.contract import FencedOut, Side, Unsafe, Verdict
from bowline_worker.endpoints.base import (
    Books,
    LaneSession,
    RowConflict,
    RowMissing,
    SequenceState,
    TableBatch,
)
from bowline_worker.model import (
    Change,
    Op,
    Position,
    SignalKind,
    TableName,
    Transaction,
)
from endpoints.rig import (
    EVENT,
    ITEM,
    ITEM_COLUMNS,
    SEQUENCE,
    Rig,
    WriteRefused,
    delete,
    event,
    insert,
    update,
)

STREAM = StreamId(Side.SOURCE, 0)
LANES = tuple(LaneRow(lane=lane, number=0, generation=1, passed=True) for lane in (0, 1))


class Captured:
    """Reads a stream until a signal comes, as capture and apply do."""

    def __init__(self, rig: Rig, after: Position | None = None) -> None:
        self.capture = rig.source.capture(STREAM, after)
        self.rig = rig
        self.end: Position | None = None

    def until(self, attempt: int) -> list[Transaction]:
        """Write a barrier and return all transactions before it; each piece must decode by itself."""
        in_books(self.rig.source, lambda books: books.signal(SignalKind.BARRIER, attempt))
        found: list[Transaction] = []
        for _ in range(200):
            for piece in self.capture.read(0.1):
                self.end = piece.position
                if not piece.payload:
                    continue
                block = self.capture.describe(piece.relations) + piece.payload
                for transaction in self.rig.source.decoder().decode(block):
                    if any(
                        each.kind is SignalKind.BARRIER and each.attempt == attempt
                        for each in transaction.signals
                    ):
                        return found
                    found.append(transaction)
        raise AssertionError("the barrier did not come")


def changes(transactions: list[Transaction]) -> list[tuple[str, str, object]]:
    return [
        (str(change.op), str(change.table), change.after or change.key)
        for transaction in transactions
        for change in transaction.changes
    ]


class Killed(Exception):
    """A process that ends in the middle of a transaction."""


def die() -> None:
    raise Killed


def transact(lane: LaneSession, *steps: Callable[[], object]) -> None:
    """Run the steps as one transaction, as an apply does: rolled back at an error, run again at a conflict."""

    def once() -> None:
        lane.begin()
        try:
            for step in steps:
                step()
            lane.commit()
        except BaseException:
            lane.rollback()
            raise

    through_conflicts(once)


def raise_sequences(states: Mapping[TableName, SequenceState], books: Books) -> None:
    books.raise_sequences(states)


def lane_rows(rig: Rig) -> tuple[LaneRow, ...]:
    return in_books(rig.target, lambda books: books.lanes(Side.SOURCE))


@pytest.fixture
def origin(rig: Rig) -> Rig:
    """The source is ready to be captured from."""
    rig.to_stream()
    rig.source.install()
    rig.source.prepare_origin()
    rig.source.arm(STREAM)
    return rig


@pytest.fixture
def receiver(rig: Rig) -> Rig:
    """The target has lane rows of the first stream."""
    rig.target.install()
    in_books(rig.target, lambda books: books.put_lanes(Side.SOURCE, LANES))
    return rig


def test_the_catalogue_tells_columns_and_keys(rig: Rig) -> None:
    tables = {table.name: table for table in rig.source.tables()}

    assert set(tables) == {ITEM.name, EVENT.name}
    assert tables[ITEM.name].key == ("id",)
    assert tables[EVENT.name].key == ()
    assert tables[EVENT.name].one_lane
    assert [column.name for column in tables[ITEM.name].written] == list(ITEM_COLUMNS)


def test_equal_shapes_have_one_fingerprint_on_both_sides(rig: Rig) -> None:
    assert rig.source.fingerprint() == rig.target.fingerprint()


def test_a_committed_transaction_is_captured_as_it_was_written(origin: Rig) -> None:
    stream = Captured(origin)
    events = [event(b"bought")] if origin.streams_keyless else []
    origin.write(Side.SOURCE, [insert(1, b"\xc3\xa9\t\\n", b""), *events])
    origin.write(Side.SOURCE, [update(1, None), delete(1)])

    found = stream.until(1)

    assert changes(found) == [
        ("I", "shop.item", (b"1", b"\xc3\xa9\t\\n", b"")),
        *[("I", "shop.event", (b"bought", None)) for _ in events],
        ("U", "shop.item", (b"1", None, None)),
        ("D", "shop.item", (b"1",)),
    ]
    orders = [transaction.position.order for transaction in found]
    assert orders == sorted(orders)


def test_what_was_not_acknowledged_is_sent_again(origin: Rig) -> None:
    stream = Captured(origin)
    origin.write(Side.SOURCE, [insert(1)])
    first = stream.until(1)
    stream.capture.close()

    again = Captured(origin).until(2)

    assert changes(again)[: len(changes(first))] == changes(first)


def test_what_was_acknowledged_is_not_sent_again(origin: Rig) -> None:
    stream = Captured(origin)
    origin.write(Side.SOURCE, [insert(1)])
    stream.until(1)
    assert stream.end is not None
    stream.capture.acknowledge(stream.end)
    stream.capture.close()
    origin.write(Side.SOURCE, [insert(2)])

    again = Captured(origin, stream.end).until(2)

    assert changes(again) == [("I", "shop.item", (b"2", b"n", None))]


def test_a_journal_behind_the_slot_is_refused(origin: Rig) -> None:
    stream = Captured(origin)
    origin.write(Side.SOURCE, [insert(1)])
    stream.until(1)
    assert stream.end is not None
    stream.capture.acknowledge(stream.end)
    stream.capture.close()

    with pytest.raises(Unsafe) as refused:
        origin.source.capture(STREAM, Position(1, "0/1"))

    assert refused.value.reason == "JournalBehindSlot"


def test_a_lost_slot_is_named(origin: Rig) -> None:
    origin.source.disarm(1)

    with pytest.raises(Unsafe) as refused:
        origin.source.capture(STREAM, None)

    assert refused.value.reason == "SlotLost"


def test_signals_and_heartbeats_travel_once_and_are_no_changes(origin: Rig) -> None:
    stream = Captured(origin)
    for _ in range(2):
        in_books(origin.source, lambda books: books.signal(SignalKind.MARKER, 7))
    first = origin.source.beat()

    found = stream.until(8)

    signals = [(each.kind, each.attempt) for transaction in found for each in transaction.signals]
    assert signals == [(SignalKind.MARKER, 7), (SignalKind.HEARTBEAT, first)]
    assert changes(found) == []
    assert origin.source.beat() == first + 1


def test_an_origin_knows_its_own_log_again(origin: Rig) -> None:
    stream = Captured(origin)
    origin.write(Side.SOURCE, [insert(1)])
    stream.until(1)
    stream.capture.close()
    seen = replace(stream.capture.lineage, beat=origin.source.beat())

    again = origin.source.capture(STREAM, stream.end, seen)

    assert again.lineage.log == seen.log
    again.close()


def test_arming_drops_older_slots_and_keeps_its_own(origin: Rig) -> None:
    for _ in range(2):
        origin.source.arm(StreamId(Side.SOURCE, 3))

        assert origin.source.slots() == [3]


def test_the_snapshot_and_the_stream_meet_without_a_gap(rig: Rig) -> None:
    """Rows of before are in the view, rows of after in the stream, and none in both."""
    rig.to_stream()
    events = [b"a", b"a"] if rig.streams_keyless else []
    rig.source.install()
    rig.sink.install()
    rig.source.prepare_origin()
    rig.write(Side.SOURCE, [insert(number) for number in range(7)] + list(map(event, events)))
    hold = rig.source.hold(STREAM)
    rig.write(Side.SOURCE, [insert(7), delete(0), *map(event, events[:1])])

    tables = {table.name: table for table in rig.source.tables()}
    reader, ledger = rig.source.reader(STREAM), rig.sink.ledger()
    for table in tables.values():
        assert ledger.plan(table, reader.position, reader.chunks(table, 2))
        assert not ledger.plan(table, reader.position, reader.chunks(table, 2))
    while ledger.copy(reader, tables, binary=frozenset()):
        pass
    assert ledger.unfinished() == []
    ledger.finish()
    for each in (reader, ledger, hold):
        each.close()

    assert [row[0] for row in rig.sunk(ITEM)] == [str(number).encode() for number in range(7)]
    assert rig.sunk(EVENT) == [(what, None) for what in events]
    positions = rig.sink.snapshot_positions()
    late = [
        change
        for transaction in Captured(rig).until(1)
        for change in transaction.changes
        if transaction.position >= positions[change.table]
    ]
    assert [str(change.op) for change in late] == ["I", "D", *("I" for _ in events[:1])]


def test_a_lane_applies_sets_and_its_place_together(receiver: Rig) -> None:
    lane = receiver.target.lane(STREAM)
    table = {table.name: table for table in receiver.target.tables()}[ITEM.name]
    transact(
        lane,
        lambda: lane.write(
            TableBatch(table=table, inserts=[(b"1", b"a", None), (b"2", b"b", b"")])
        ),
        lambda: lane.advance(Side.SOURCE, replace(LANES[0], block=1), since=0),
    )
    transact(
        lane,
        lambda: lane.write(
            TableBatch(table=table, updates={("name",): [(b"1", b"z")]}, deletes=[(b"2",)])
        ),
        lambda: lane.advance(Side.SOURCE, replace(LANES[0], block=2, events=4), since=1),
    )
    lane.close()

    assert receiver.rows(Side.TARGET, ITEM) == [(b"1", b"z", None)]
    assert lane_rows(receiver)[0] == replace(LANES[0], block=2, events=4)


def test_a_rolled_back_lane_leaves_nothing(receiver: Rig) -> None:
    lane = receiver.target.lane(STREAM)
    with pytest.raises(Killed):
        transact(
            lane,
            lambda: lane.write(TableBatch(table=ITEM, inserts=[(b"1", b"a", None)])),
            lambda: lane.advance(Side.SOURCE, replace(LANES[0], block=1), since=0),
            die,
        )
    lane.close()

    assert receiver.rows(Side.TARGET, ITEM) == []
    assert lane_rows(receiver)[0].block == 0


@pytest.mark.parametrize(
    "batch",
    [
        TableBatch(table=ITEM, updates={("name",): [(b"9", b"z")]}),
        TableBatch(table=ITEM, deletes=[(b"9",)]),
    ],
    ids=["update", "delete"],
)
def test_a_row_that_was_not_there_is_never_silent(receiver: Rig, batch: TableBatch) -> None:
    lane = receiver.target.lane(STREAM)

    with pytest.raises(RowMissing):
        transact(lane, lambda: lane.write(batch))

    lane.close()


def test_a_row_that_was_there_already_is_never_silent(receiver: Rig) -> None:
    lane = receiver.target.lane(STREAM)
    batch = TableBatch(table=ITEM, inserts=[(b"1", b"a", None)])
    written: list[int] = []

    def twice() -> None:
        lane.write(batch)
        written.append(1)
        lane.write(batch)

    with pytest.raises(RowConflict):
        transact(lane, twice)

    assert written
    lane.close()


def test_single_changes_find_one_row_of_a_table_without_a_key(receiver: Rig) -> None:
    lane = receiver.target.lane(STREAM)
    transact(
        lane,
        lambda: lane.one(event(b"a", b"1"), EVENT),
        lambda: lane.one(event(b"a", b"1"), EVENT),
        lambda: lane.one(Change(Op.DELETE, EVENT.name, ("what", "at"), before=(b"a", b"1")), EVENT),
    )
    lane.close()

    assert receiver.rows(Side.TARGET, EVENT) == [(b"a", b"1")]


@pytest.mark.parametrize("stale", [replace(LANES[0], generation=2), replace(LANES[0], number=1)])
def test_a_lane_of_another_generation_cannot_advance(receiver: Rig, stale: LaneRow) -> None:
    lane = receiver.target.lane(STREAM)

    with pytest.raises(FencedOut):
        transact(lane, lambda: lane.advance(Side.SOURCE, replace(stale, block=1), since=0))

    lane.close()


def test_a_block_is_recorded_once(receiver: Rig) -> None:
    lane = receiver.target.lane(STREAM)
    transact(lane, lambda: lane.advance(Side.SOURCE, replace(LANES[0], block=1), since=0))

    with pytest.raises(FencedOut):
        transact(lane, lambda: lane.advance(Side.SOURCE, replace(LANES[0], block=1), since=0))

    lane.close()


def test_bookkeeping_is_there_again_as_it_was_put(receiver: Rig) -> None:
    in_books(
        receiver.target,
        lambda books: books.put_switch(
            replace(books.switch(), attempt=3, verdict=Verdict.ABORTED, aborted=frozenset({2, 3}))
        ),
    )
    row = in_books(receiver.target, lambda books: books.switch())

    assert (row.attempt, row.verdict, row.aborted) == (3, Verdict.ABORTED, frozenset({2, 3}))


def test_an_error_rolls_the_whole_step_back(receiver: Rig) -> None:
    def step(books: Books) -> None:
        books.put_switch(replace(books.switch(), attempt=9))
        books.put_lanes(Side.SOURCE, [])
        books.raise_fence(1.0)
        raise Killed

    receiver.target.prepare_receiver(fenced=False)
    with pytest.raises(Killed):
        in_books(receiver.target, step)

    assert in_books(receiver.target, lambda books: books.switch()).attempt == 0
    assert len(lane_rows(receiver)) == 2
    receiver.write(Side.TARGET, [insert(1)])


def test_a_fenced_side_refuses_applications_and_takes_the_stream(receiver: Rig) -> None:
    receiver.target.prepare_receiver(fenced=True)

    with pytest.raises(WriteRefused):
        receiver.write(Side.TARGET, [insert(1)])
    lane = receiver.target.lane(STREAM)
    transact(lane, lambda: lane.write(TableBatch(table=ITEM, inserts=[(b"2", None, None)])))
    lane.close()
    assert in_books(receiver.target, lambda books: books.fence_gaps()) == []
    in_books(receiver.target, lambda books: books.lower_fence())
    receiver.write(Side.TARGET, [insert(1)])

    assert [row[0] for row in receiver.rows(Side.TARGET, ITEM)] == [b"1", b"2"]


def test_sequences_rise_and_never_fall(receiver: Rig) -> None:
    for last in (100, 50):
        state = {SEQUENCE: SequenceState(last, 1)}
        in_books(receiver.target, partial(raise_sequences, state))

    assert receiver.next_value(Side.TARGET) == 101


def test_digests_agree_on_equal_rows_and_name_the_key_that_differs(rig: Rig) -> None:
    for side in Side:
        rig.write(side, [insert(1, b"a", b""), insert(2), event(b"a"), event(b"a")])

    assert rig.source.digests(ITEM, 8) == rig.target.digests(ITEM, 8)
    assert rig.source.digests(EVENT, 8) == rig.target.digests(EVENT, 8)
    rig.write(Side.TARGET, [update(1, b"a"), event(b"a")])
    assert rig.source.digests(EVENT, 8) != rig.target.digests(EVENT, 8)
    ours, theirs = rig.source.digests(ITEM, 8), rig.target.digests(ITEM, 8)
    (bucket,) = [bucket for bucket in ours if ours[bucket] != theirs.get(bucket)]
    here, there = rig.source.bucket_rows(ITEM, 8, bucket), rig.target.bucket_rows(ITEM, 8, bucket)
    assert [key for key in here if here[key] != there.get(key)] == [
        key for key in here if "1" in key
    ]


def test_cleanup_leaves_nothing_and_can_be_run_again(origin: Rig) -> None:
    for _ in range(2):
        assert not [left for left in origin.source.cleanup(keep_fence=False) if "fence" in left]

        assert origin.source.slots() == []
        assert not origin.source.found().installed
    origin.write(Side.SOURCE, [insert(1)])


def test_two_transactions_of_one_step_exclude_each_other(receiver: Rig) -> None:
    """Who locks the switch row decides alone; the other one sees what was decided."""
    seen: list[int] = []

    def second() -> None:
        seen.append(in_books(receiver.target, lambda books: books.switch().attempt))

    threads: list[threading.Thread] = []

    def first(books: Books) -> None:
        row = books.switch()
        if not threads:
            threads.append(threading.Thread(target=second))
            threads[0].start()
        books.put_switch(replace(row, attempt=4))

    in_books(receiver.target, first)
    threads[0].join(20)

    assert seen == [4]
