"""What YugabyteDB alone asks of an endpoint, tried on the server that stands in for it."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from bowline_worker.bookkeeping import LaneRow
from bowline_worker.conflicts import in_books
from bowline_worker.contract import Conflict, Engine, Side, TryAgain, Unsupported
from bowline_worker.endpoints.base import TableBatch
from bowline_worker.endpoints.postgres.connection import connect
from bowline_worker.endpoints.postgres.flavour import POSTGRESQL, YUGABYTEDB, flavour_of
from bowline_worker.model import UNCHANGED, Transaction
from endpoints.rig import ITEM, insert, update
from endpoints.test_conformance import LANES, STREAM, Captured
from endpoints.yugabytedb import BehindStandin, YugabyteRig
from servers import Database, MakePair, Pair
from yugabyte_standin.chance import FLOOR, LEAST_SHARE, Chance
from yugabyte_standin.process import Standin
from yugabyte_standin.refusals import LEFT_OUT, REFUSALS, refused

#: A statement for each refusal, in their order.
REFUSED = (
    "select ctid from pg_class",
    "select xmin from pg_class",
    "lock table pg_class in share row exclusive mode",
    "select pg_advisory_xact_lock(1)",
    "select pg_current_wal_lsn()",
    "IDENTIFY_SYSTEM",
    "CREATE_REPLICATION_SLOT s TEMPORARY LOGICAL yboutput",
    "select * from pg_logical_slot_get_changes('s', null, null)",
    "alter table t replica identity using index i",
    "create table c () inherits (t)",
    "create table c (r int4range, exclude using gist (r with &&))",
    "create index on t using gist (r)",
    "listen c",
    "prepare transaction 'p'",
)


@pytest.fixture
def rig(standin: Standin, databases: tuple[Database, Database], make_pair: MakePair) -> YugabyteRig:
    return YugabyteRig(standin, databases, make_pair)


@pytest.fixture
def receiver(rig: YugabyteRig) -> YugabyteRig:
    rig.target.install()
    in_books(rig.target, lambda books: books.put_lanes(Side.SOURCE, LANES))
    return rig


def behind(rig: YugabyteRig, side: Side) -> BehindStandin:
    found = rig.database(side)
    assert isinstance(found, BehindStandin)
    return found


def test_the_flavour_is_what_the_server_says_it_is(rig: YugabyteRig, pair: Pair) -> None:
    with connect(rig.target.site) as there, connect(pair.site(Side.TARGET)) as here:
        said = there.execute("select version()").fetchone()

        assert flavour_of(there) is YUGABYTEDB
        assert flavour_of(here) is POSTGRESQL
    assert said is not None
    assert "-YB-" in str(said[0])
    assert rig.target.site.connection.engine is Engine.YUGABYTEDB


@pytest.mark.parametrize(
    ("statement", "refusal"),
    list(zip(REFUSED, REFUSALS, strict=True)),
    ids=[r.what for r in REFUSALS],
)
def test_each_refusal_is_known_by_its_statement_and_says_where_it_is_from(
    statement: str, refusal: object
) -> None:
    assert refused(statement) is refusal
    assert refused(f"select '{statement.replace(chr(39), '')}'") is None
    assert all(each.source.startswith("https://") for each in (*REFUSALS, *LEFT_OUT))


def test_the_server_refuses_what_is_refused(rig: YugabyteRig) -> None:
    with connect(rig.target.site) as connection:
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="ctid"):
            connection.execute("select ctid from shop.item")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="ctid"):
            connection.execute("select ctid from shop.item where id = %s", (1,))


def test_no_fewer_transactions_fail_than_the_least_share() -> None:
    chance = Chance(seed=1)

    for number in range(1, 2000):
        chance.doom()
        assert chance.failed >= LEAST_SHARE * number

    assert FLOOR > LEAST_SHARE


def test_the_application_still_finds_its_rows_when_a_commit_was_undone(
    receiver: YugabyteRig,
) -> None:
    """A transaction that the server undid at COMMIT is not taken for one that stands."""
    lane = receiver.target.lane(STREAM)
    undone = done = 0
    row = LANES[0]
    while not (undone and done):
        row_after = replace(row, block=row.block + 1)
        try:
            lane.begin()
            lane.advance(Side.SOURCE, row_after, since=row.block)
            lane.write(TableBatch(table=ITEM, inserts=[(str(row.block).encode(), b"n", None)]))
            lane.commit()
        except Conflict:
            lane.rollback()
            undone += 1
            continue
        done += 1
        row = row_after
    lane.close()

    assert len(receiver.rows(Side.TARGET, ITEM)) == done == row.block
    assert _lane_row(receiver).block == done


def test_a_commit_whose_reply_was_lost_is_read_back_and_not_done_twice(
    receiver: YugabyteRig, standin: Standin
) -> None:
    """As an apply does: TryAgain ends it, and the next one reads the lane's row before it goes on."""
    batch = TableBatch(table=ITEM, inserts=[(b"1", b"n", None)])
    after = replace(LANES[0], block=1)
    attempts = 0
    is_lost = False
    while (row := _lane_row(receiver)).block == 0:
        attempts += 1
        lane = receiver.target.lane(STREAM)
        try:
            lane.begin()
            lane.advance(Side.SOURCE, after, since=row.block)
            lane.write(batch)
            standin.lose_next_reply()
            lane.commit()
        except Conflict:
            standin.keep_replies()
        except TryAgain as error:
            is_lost = error.reason == "ConnectionLost"
        finally:
            lane.close()

    assert is_lost
    assert receiver.rows(Side.TARGET, ITEM) == [(b"1", b"n", None)]


def test_a_writer_that_saw_the_fence_lowered_is_ended_at_the_other_node(
    receiver: YugabyteRig,
) -> None:
    """Its snapshot is from before the flag was raised: it would never see it, and write behind the fence."""
    receiver.target.prepare_receiver(fenced=False)
    with behind(receiver, Side.TARGET).as_application() as writer:
        writer.execute("begin isolation level repeatable read")
        while True:
            try:
                writer.execute("select count(*) from shop.item")
                break
            except psycopg.errors.SerializationFailure:
                writer.execute("rollback")
                writer.execute("begin isolation level repeatable read")
        in_books(receiver.target, lambda books: books.raise_fence(0.1))

        with pytest.raises(psycopg.OperationalError) as ended:
            writer.execute("insert into shop.item values (1, 'late')")

    assert not isinstance(ended.value, psycopg.errors.SerializationFailure)
    assert receiver.rows(Side.TARGET, ITEM) == []
    assert in_books(receiver.target, lambda books: books.fence_gaps()) == []


def test_a_lowered_fence_is_a_gap(receiver: YugabyteRig) -> None:
    receiver.target.prepare_receiver(fenced=False)

    gaps = in_books(receiver.target, lambda books: books.fence_gaps())

    assert len(gaps) == 2


def test_a_truncate_that_no_stream_would_tell_is_refused(rig: YugabyteRig) -> None:
    rig.to_stream()
    rig.source.prepare_origin()
    rig.write(Side.SOURCE, [insert(1)])

    with (
        behind(rig, Side.SOURCE).as_application() as application,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match="TRUNCATE"),
    ):
        _until_done(application, "truncate shop.item")

    assert len(rig.rows(Side.SOURCE, ITEM)) == 1


def test_only_changed_columns_are_sent_and_the_others_are_kept(rig: YugabyteRig) -> None:
    rig.to_stream()
    rig.source.prepare_origin()
    rig.source.arm(STREAM)
    stream = Captured(rig)
    rig.write(Side.SOURCE, [insert(1, b"a", b"note")])
    rig.write(Side.SOURCE, [update(1, b"b")])

    found: list[Transaction] = stream.until(1)

    last = found[-1].changes[0]
    assert (last.key, last.before) == ((b"1",), None)
    # `update` sets both: the name to b, the note to NULL.
    assert last.after == (b"1", b"b", None)
    stream.capture.close()
    with behind(rig, Side.SOURCE).as_application() as application:
        _until_done(application, "update shop.item set name = 'c'")

    (change,) = [
        c for t in Captured(rig).until(2) for c in t.changes if c.after and c.after[1] == b"c"
    ]
    assert change.after == (b"1", b"c", UNCHANGED)


def test_a_table_without_a_key_can_not_be_streamed_and_assess_says_so(rig: YugabyteRig) -> None:
    with pytest.raises(Unsupported) as refused_:
        rig.source.prepare_origin()

    assert refused_.value.reason == "KeylessUnstreamable"
    found = {f.reason: f for f in rig.source.assess(other=None)}
    assert "shop.event" in found["KeylessUnstreamable"].message
    assert "no fall-back" in found["KeylessUnstreamable"].message


def _lane_row(rig: YugabyteRig) -> LaneRow:
    return in_books(rig.target, lambda books: books.lanes(Side.SOURCE))[0]


def _until_done(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> None:
    while True:
        try:
            connection.execute(statement.encode())
        except psycopg.errors.SerializationFailure:
            continue
        return
