"""Slots and views of an Oracle origin: where a stream goes on, what a snapshot reads, and when either is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Side, TryAgain, Unsafe
from bowline_worker.endpoints.oracle import books, capture, catalog, slots, view
from bowline_worker.endpoints.oracle.connection import connect
from bowline_worker.endpoints.oracle.logrow import Xid
from bowline_worker.endpoints.oracle.position import at_scn
from bowline_worker.model import Position, Table, TableName
from oracle.capture_rig import EVENT, ITEM, STREAM, TABLES, Consumer, Shop
from oracle.standin.redolog.adversities import Adversities
from oracle.world import world

LATER = StreamId(Side.SOURCE, 3)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Shop]:
    """Installed, and not armed."""
    with world(Shop, tmp_path) as found:
        found.run(*TABLES)
        books.install(found.site)
        yield found


def tables(here: Shop) -> dict[TableName, Table]:
    return {one.table.name: one.table for one in catalog.tables(here.site)}


def rows(reader: view.OracleReader, table: Table) -> list[bytes]:
    found: list[bytes] = []
    for chunk in reader.chunks(table, 2):
        found += b"".join(reader.read(table, chunk, binary=False)).splitlines()
    return sorted(found)


def test_arming_makes_one_slot_and_drops_older_ones(here: Shop) -> None:
    slots.arm(here.site, STREAM)
    for _ in range(2):
        slots.arm(here.site, LATER)

        assert slots.slots(here.site) == [3]


def test_arming_again_leaves_the_stream_where_it_began(here: Shop) -> None:
    slots.arm(here.site, STREAM)
    here.run("insert into event values ('between', null)", "commit")
    slots.arm(here.site, STREAM)

    consumer = Consumer(here)
    consumer.until_quiet()

    assert len(consumer.changes) == 1


def test_disarming_drops_lower_numbers_and_ends_their_readers(here: Shop) -> None:
    slots.arm(here.site, STREAM)
    reader = Consumer(here).begin()

    slots.disarm(here.site, 1)

    assert slots.slots(here.site) == []
    with closing(reader), pytest.raises(TryAgain):
        reader.read(0.1)
    with pytest.raises(Unsafe) as lost:
        capture.capture(here.site, STREAM, None)
    assert lost.value.reason == "SlotLost"
    with pytest.raises(Unsafe) as lost:
        slots.retention(here.site, STREAM)
    assert lost.value.reason == "SlotLost"


def test_where_nothing_is_installed_there_are_no_slots(tmp_path: Path) -> None:
    with world(Shop, tmp_path) as here:
        slots.disarm(here.site, 9)

        assert slots.slots(here.site) == []


def test_a_place_moves_on_and_never_back(here: Shop) -> None:
    slots.arm(here.site, STREAM)
    with closing(connect(here.site)) as connection:
        place = slots.require(connection, here.site, STREAM).place
        for order in (7, 5, 9):
            moved = replace(place, position=Position(order, str(order)))
            slots.advance(connection, here.site, STREAM, moved)
            kept = slots.require(connection, here.site, STREAM).place
            assert kept.position.order == max(order, 7)

        slots.disarm(here.site, 1)
        with pytest.raises(Unsafe) as lost:
            slots.advance(connection, here.site, STREAM, place)
    assert lost.value.reason == "SlotLost"


def test_a_place_with_many_open_transactions_is_kept_whole(here: Shop) -> None:
    slots.arm(here.site, STREAM)
    with closing(connect(here.site)) as connection:
        place = slots.require(connection, here.site, STREAM).place
        listed = {Xid(3, number, 1, 77): 2_000_000 + number for number in range(2_000)}
        long = replace(place, start=replace(place.start, listed=listed))
        assert len(long.dumps()) > 32_767

        slots.advance(connection, here.site, STREAM, long)

        assert slots.require(connection, here.site, STREAM).place == long


def test_retention_counts_the_logs_from_the_place_on_and_does_not_cry_wolf(here: Shop) -> None:
    slots.arm(here.site, STREAM)
    before = slots.retention(here.site, STREAM)
    for _ in range(3):
        here.run("insert into event values ('a', null)", "commit", "alter system switch logfile")

    after = slots.retention(here.site, STREAM)

    assert after.retained_bytes > before.retained_bytes > 0
    assert (before.at_risk, after.at_risk) == ("", "")
    assert before.acknowledged == Position(0, "0")


def test_a_place_whose_log_is_the_next_to_go_is_at_risk(tmp_path: Path) -> None:
    adversities = Adversities()
    adversities.set({"purged_archive": "always"})
    with world(Shop, tmp_path, adversities, groups=2, kept_archives=3) as here:
        books.install(here.site)
        here.run(TABLES[2])
        for _ in range(5):
            here.run("alter system switch logfile")
        here.run("insert into event values ('a', null)", "commit")
        slots.arm(here.site, STREAM)
        told = [slots.retention(here.site, STREAM).at_risk]
        for _ in range(5):
            here.run("alter system switch logfile")
            told.append(slots.retention(here.site, STREAM).at_risk)

    assert told[0] == ""
    assert any("the next one to go" in each for each in told)
    assert "is still to be mined" in told[-1]


def test_the_snapshot_and_the_stream_meet_without_a_gap(here: Shop) -> None:
    """Rows of before are in the view, rows of after in the stream, and none in both."""
    here.run(
        *(f"insert into item (id, note) values ({number}, 'n')" for number in range(7)),
        "insert into event values ('a', null)",
        "insert into event values ('a', null)",
        "commit",
        "insert into event values ('open when it began', null)",
    )
    hold = view.hold(here.site, STREAM)
    here.run(
        "insert into event values ('b', null)", "commit", "insert into item (id) values (7)",
        "delete from item where id = 0", "commit",
    )  # fmt: skip

    with closing(view.reader(here.site, STREAM)) as reader:
        assert reader.position == hold.position
        held = {name: rows(reader, table) for name, table in tables(here).items()}
    assert [line.split(b"\t")[0] for line in held[ITEM]] == [b"%d" % n for n in range(7)]
    assert held[EVENT] == [b"a\t\\N", b"a\t\\N"]
    consumer = Consumer(here)
    consumer.rows[ITEM] = {
        (line.split(b"\t")[0],): (line.split(b"\t")[0], None, None, b"n", None, None)
        for line in held[ITEM]
    }
    consumer.until_quiet()

    assert all(each.position >= hold.position for each in consumer.transactions)
    assert consumer.rows[ITEM].keys() == {(b"%d" % n,) for n in range(1, 8)}
    assert sum(consumer.multisets[EVENT].values()) == 2
    hold.check()
    hold.close()
    hold.check()


def test_a_view_is_joined_and_survives_its_holder(here: Shop) -> None:
    with pytest.raises(TryAgain) as none:
        view.reader(here.site, STREAM)
    assert none.value.reason == "NoSnapshot"
    first = view.hold(here.site, STREAM)
    first.close()
    here.run("insert into event values ('later', null)", "commit")

    again = view.hold(here.site, STREAM)

    assert again.position == first.position
    with closing(view.reader(here.site, STREAM)) as reader:
        assert rows(reader, tables(here)[EVENT]) == []


def test_a_slot_that_was_armed_without_a_view_gets_a_later_one(here: Shop) -> None:
    slots.arm(here.site, STREAM)
    here.run("insert into event values ('in both', null)", "commit")

    hold = view.hold(here.site, STREAM)

    consumer = Consumer(here)
    consumer.until_quiet()
    (transaction,) = consumer.transactions
    assert transaction.position < hold.position
    with closing(view.reader(here.site, STREAM)) as reader:
        assert len(rows(reader, tables(here)[EVENT])) == 1


def test_a_view_that_can_t_be_read_any_more_is_renewed(here: Shop) -> None:
    here.run("insert into event values ('a', null)", "commit")
    hold = view.hold(here.site, STREAM)
    event = tables(here)[EVENT]
    here.run("update event set what = 'b'", "commit")
    here.stand_in.database.forget_undo(here.stand_in.database.current_scn())

    with closing(view.reader(here.site, STREAM)) as reader, pytest.raises(TryAgain) as lost:
        rows(reader, event)
    assert lost.value.reason == "SnapshotTooOld"

    with pytest.raises(TryAgain):
        hold.check()
    with pytest.raises(TryAgain):
        view.reader(here.site, STREAM)
    renewed = view.hold(here.site, STREAM)
    assert renewed.position > hold.position
    with closing(view.reader(here.site, STREAM)) as reader:
        assert rows(reader, event) == [b"b\t\\N"]


def test_disarming_takes_the_views_along(here: Shop) -> None:
    view.hold(here.site, STREAM)

    slots.disarm(here.site, 1)

    with pytest.raises(TryAgain):
        view.reader(here.site, STREAM)
    assert at_scn(1) < view.hold(here.site, STREAM).position
