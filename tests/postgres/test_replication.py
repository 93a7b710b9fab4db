"""Slots and streams of a real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from demo.servers import Server

from bowline_worker.bookkeeping import MadeObject, StreamId
from bowline_worker.contract import NotPermitted, Side, TryAgain, Unsafe, Unsupported
from bowline_worker.endpoints.base import Piece
from bowline_worker.endpoints.postgres import books, lineage, replication, slots
from bowline_worker.endpoints.postgres.frames import position_from
from bowline_worker.endpoints.site import Site
from bowline_worker.model import UNCHANGED, Position, SignalKind
from postgres.origin import STREAM, Reading, prepare, read_until_error, rows_of
from servers import Database, MakePair, Pair, prepare_roles

TABLE = "create table public.item (id int primary key, name text, note text)"
Follow = Callable[..., Reading]


@pytest.fixture
def site(pair: Pair) -> Site:
    """A source with a published table and an armed slot."""
    pair.source.run(TABLE)
    site, _ = prepare(pair, "item")
    replication.arm(site, STREAM)
    return site


@pytest.fixture
def follow(pair: Pair, site: Site) -> Iterator[Follow]:
    """Start to read the stream, as often as wanted."""
    started = []

    def start(after: Position | None = None) -> Reading:
        reading = Reading(site, pair.source, replication.capture(site, STREAM, after))
        started.append(reading)
        return reading

    yield start
    for reading in started:
        reading.capture.close()


def confirmed(pair: Pair, site: Site) -> Position:
    return position_from(
        pair.source.value(
            "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = %s",
            slots.slot_name(site, 0),
        )
    )


def until(wanted: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for what another process will do."""
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_changes_come_as_text_whatever_the_database_prefers(pair: Pair) -> None:
    """The neutral form must not depend on settings that somebody put on the database."""
    pair.source.run(
        "create table public.kind (id int primary key, at timestamptz, b bytea, f float8, i interval)",
        f'alter database "{pair.source.name}" set datestyle = "German"',
        f'alter database "{pair.source.name}" set bytea_output = "escape"',
        f'alter database "{pair.source.name}" set intervalstyle = "iso_8601"',
        f'alter database "{pair.source.name}" set timezone = "Asia/Tokyo"',
        f'alter database "{pair.source.name}" set extra_float_digits = -10',
    )
    site, _ = prepare(pair, "kind")
    replication.arm(site, STREAM)
    pair.source.run(
        "insert into public.kind values (1, '2024-01-02 03:04:05+00', '\\x00ff', 0.1::float8 + 0.2, '1 day')"
    )
    reading = Reading(site, pair.source, replication.capture(site, STREAM, None))

    found = rows_of(reading.rest())

    reading.capture.close()
    assert found == [
        ("I", (b"1", b"2024-01-02 03:04:05+00", b"\\x00ff", b"0.30000000000000004", b"1 day"))
    ]


def test_an_unchanged_toast_value_is_unchanged(pair: Pair, follow: Follow) -> None:
    pair.source.run(
        "alter table public.item alter note set storage external",
        "insert into public.item values (1, 'a', repeat('x', 10000))",
        "update public.item set name = 'b'",
        "update public.item set note = note || 'y'",
    )

    inserted, updated, rewritten = rows_of(follow().rest())

    assert inserted == ("I", (b"1", b"a", b"x" * 10000))
    assert updated == ("U", (b"1", b"b", UNCHANGED))
    assert rewritten == ("U", (b"1", b"b", b"x" * 10000 + b"y"))


def test_a_key_stored_apart_is_known_in_an_update_of_another_column(pair: Pair) -> None:
    pair.source.run(
        "create table public.wide (id text primary key, n int)",
        "alter table public.wide alter id set storage external",
    )
    site, _ = prepare(pair, "wide")
    replication.arm(site, STREAM)
    pair.source.run(
        "insert into public.wide values (repeat('k', 2500), 1)", "update public.wide set n = 2"
    )
    reading = Reading(site, pair.source, replication.capture(site, STREAM, None))

    found = reading.rest()

    reading.capture.close()
    updated = found[-1].changes[0]
    assert updated.key == (b"k" * 2500,)
    assert updated.after == (b"k" * 2500, b"2")


def test_a_table_without_a_key_tells_whole_rows(pair: Pair) -> None:
    pair.source.run(
        "create table public.event (what text, at text)",
        "alter table public.event replica identity full",
        "alter table public.event alter at set storage external",
    )
    site, _ = prepare(pair, "event")
    replication.arm(site, STREAM)
    pair.source.run(
        "insert into public.event values ('a', repeat('x', 5000)), (null, 'b')",
        "update public.event set what = 'c' where what = 'a'",
        "delete from public.event where what is null",
    )
    reading = Reading(site, pair.source, replication.capture(site, STREAM, None))

    changes = [change for each in reading.rest() for change in each.changes]

    reading.capture.close()
    updated, deleted = changes[2:]
    assert (updated.key, updated.before) == ((), (b"a", b"x" * 5000))
    assert updated.after == (b"c", b"x" * 5000)
    assert (deleted.key, deleted.before) == ((), (None, b"b"))


def test_truncate_names_each_table(pair: Pair) -> None:
    pair.source.run(
        TABLE, "create table public.part (id int references public.item, primary key (id))"
    )
    site, _ = prepare(pair, "item", "part")
    replication.arm(site, STREAM)
    pair.source.run("truncate public.item cascade")
    reading = Reading(site, pair.source, replication.capture(site, STREAM, None))

    changes = [change for each in reading.rest() for change in each.changes]

    reading.capture.close()
    assert sorted((str(each.op), str(each.table)) for each in changes) == [
        ("T", "public.item"),
        ("T", "public.part"),
    ]


def test_an_altered_table_is_told_before_its_rows(pair: Pair, follow: Follow) -> None:
    """Each piece is decoded alone: the first of the new shape, and the one with both shapes."""
    reading = follow()
    pair.source.run("insert into public.item values (1)")
    before = reading.rest()
    with pair.source.connect() as connection, connection.transaction():
        connection.execute("insert into public.item values (2)")
        connection.execute("alter table public.item add more int default 5")
        connection.execute("insert into public.item values (3)")
    pair.source.run(
        "insert into public.item values (4)",
        "alter table public.item drop name",
        "insert into public.item values (5)",
    )

    both, wider, narrower = reading.rest()

    assert [len(change.columns) for change in before[0].changes] == [3]
    assert [len(change.columns) for change in both.changes] == [3, 4]
    assert wider.changes[0].columns == ("id", "name", "note", "more")
    assert narrower.changes[0].columns == ("id", "note", "more")


def test_a_piece_that_redefines_a_table_says_so(pair: Pair, follow: Follow) -> None:
    reading = follow()
    pair.source.run("insert into public.item values (1)")
    reading.rest()
    pair.source.run("alter table public.item add more int", "insert into public.item values (2)")

    pieces: list[Piece] = []

    def come() -> bool:
        pieces.extend(piece for piece in reading.capture.read(0.1) if piece.changes)
        return bool(pieces)

    until(come)
    assert [piece.redefines for piece in pieces] == [True]


def test_a_huge_transaction_comes_in_parts_that_make_it_whole(pair: Pair, follow: Follow) -> None:
    reading = follow()
    pair.source.run(
        "insert into public.item select g, 'n' || g, repeat('x', 50) from generate_series(1, 30000) g"
    )

    found = reading.rest()

    assert len(found) > 3
    assert [each.starts for each in found] == [True] + [False] * (len(found) - 1)
    assert [each.ends for each in found] == [False] * (len(found) - 1) + [True]
    assert len({(each.position, each.committed_at) for each in found}) == 1
    assert [change.after[0] for each in found for change in each.changes if change.after] == [
        str(number).encode() for number in range(1, 30001)
    ]


def test_what_was_not_acknowledged_comes_again_and_the_rest_does_not(
    pair: Pair, site: Site, follow: Follow
) -> None:
    first = follow()
    pair.source.run("insert into public.item values (1)")
    first.rest()
    durable = first.end
    assert durable is not None
    pair.source.run("insert into public.item values (2)")
    first.rest()
    first.capture.acknowledge(durable)
    until(lambda: confirmed(pair, site) == durable)

    again = follow(durable)

    assert rows_of(again.rest()) == [("I", (b"2", None, None))]


def test_nothing_is_acknowledged_that_was_only_read(pair: Pair, site: Site, follow: Follow) -> None:
    """The journal may lose it in a crash: the server must still have it."""
    started = confirmed(pair, site)
    reading = follow()
    pair.source.run("insert into public.item values (1)")
    reading.rest()
    reading.capture._send_status(answer=True)
    for _ in range(5):
        reading.capture.read(0.1)

    assert confirmed(pair, site) == started


def test_a_journal_behind_its_slot_is_refused(pair: Pair, site: Site, follow: Follow) -> None:
    reading = follow()
    started = confirmed(pair, site)
    pair.source.run("insert into public.item values (1)")
    reading.rest()
    assert reading.end is not None
    reading.capture.acknowledge(reading.end)
    until(lambda: confirmed(pair, site) == reading.end)

    for after, said in ((started, f"the journal ends at {started}"), (None, "no journal")):
        with pytest.raises(Unsafe, match=said) as refused:
            replication.capture(site, STREAM, after)
        assert refused.value.reason == "JournalBehindSlot"


def test_an_idle_slot_follows_what_other_databases_write(
    pair: Pair, site: Site, follow: Follow
) -> None:
    """Else the server keeps all WAL of a busy neighbour for us."""
    reading = follow()
    reading.rest()
    with pair.target.connect() as neighbour:
        neighbour.execute("create table busy (a text)")
        neighbour.execute(
            "insert into busy select repeat('x', 1000) from generate_series(1, 20000)"
        )
        written = position_from(
            str(neighbour.execute("select pg_current_wal_insert_lsn()::text").fetchall()[0][0])
        )

    idle: list[Piece] = []

    def follows() -> bool:
        for piece in reading.capture.read(0.1):
            assert piece.payload == b""
            reading.capture.acknowledge(piece.position)
            idle.append(piece)
        return confirmed(pair, site) >= written

    until(follows)
    assert [piece.position.order for piece in idle] == sorted(
        piece.position.order for piece in idle
    )


def test_idle_positions_do_not_chase_each_other(follow: Follow) -> None:
    """Acknowledging one must not bring the next: two processes would be busy with nothing."""
    reading = follow()
    reading.rest()
    for piece in reading.capture.read(0.3):
        reading.capture.acknowledge(piece.position)
    deadline = time.monotonic() + 1
    came = 0
    while time.monotonic() < deadline:
        for piece in reading.capture.read(0.2):
            reading.capture.acknowledge(piece.position)
            came += 1

    assert came < 5


def test_keepalives_are_answered_while_nothing_happens(pair: Pair, site: Site, pg: Server) -> None:
    pg.reload(wal_sender_timeout="1s")
    try:
        reading = Reading(site, pair.source, replication.capture(site, STREAM, None))
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            reading.capture.read(0.5)
        pair.source.run("insert into public.item values (1)")

        assert rows_of(reading.rest()) == [("I", (b"1", None, None))]

        reading.capture.close()
    finally:
        pg.reload(wal_sender_timeout="60s")


def test_a_new_consumer_ends_the_old_one(pair: Pair, follow: Follow) -> None:
    old = follow()
    pair.source.run("insert into public.item values (1)")
    old.rest()

    new = follow()

    with pytest.raises(TryAgain):
        read_until_error(old.capture)
    assert rows_of(new.rest()) == [("I", (b"1", None, None))]


def test_a_server_with_one_wal_sender_is_enough_to_take_over(make_pair: MakePair) -> None:
    """A stopped capture keeps the only one: whoever follows must end it before it connects."""
    with Server(settings={"max_wal_senders": "1"}) as server:
        prepare_roles(server)
        with server.database() as one:
            site, _ = prepare(make_pair(Database(server, one), Database(server, one)))
            replication.arm(site, STREAM)
            stopped = replication.capture(site, STREAM, None)

            replication.capture(site, STREAM, None).close()

            stopped.close()


def test_a_dropped_slot_is_named(pair: Pair, site: Site) -> None:
    replication.disarm(site, below=1)

    with pytest.raises(Unsafe, match=slots.slot_name(site, 0)) as refused:
        replication.capture(site, STREAM, None)

    assert refused.value.reason == "SlotLost"
    with pytest.raises(Unsafe):
        replication.retention(site, STREAM)


def test_a_slot_that_the_server_gave_up_is_named(
    make_pair: MakePair,
) -> None:
    with Server(settings={"max_slot_wal_keep_size": "2MB", "min_wal_size": "32MB"}) as server:
        prepare_roles(server)
        with server.database() as one, server.database() as two:
            pair = make_pair(Database(server, one), Database(server, two))
            pair.source.run(TABLE)
            site, _ = prepare(pair, "item")
            replication.arm(site, STREAM)
            assert replication.retention(site, STREAM).at_risk == ""
            pair.target.run("create table busy (a int)")
            for _ in range(6):
                pair.target.run("insert into busy values (1)", "select pg_switch_wal()")

            assert "max_slot_wal_keep_size" in replication.retention(site, STREAM).at_risk or (
                "drops" in replication.retention(site, STREAM).at_risk
            )
            pair.target.run("checkpoint")
            with pytest.raises(Unsafe, match="invalidated") as refused:
                replication.capture(site, STREAM, None)

            assert refused.value.reason == "SlotLost"
            assert "invalidated" in replication.retention(site, STREAM).at_risk


def test_retention_tells_what_is_held_back(pair: Pair, site: Site) -> None:
    before = replication.retention(site, STREAM)
    pair.target.run("create table busy as select repeat('x', 1000) from generate_series(1, 3000)")

    after = replication.retention(site, STREAM)

    assert after.acknowledged == confirmed(pair, site) == before.acknowledged
    assert after.retained_bytes - before.retained_bytes > 3_000_000


def test_arming_again_keeps_the_slot_and_drops_older_ones(pair: Pair, site: Site) -> None:
    replication.arm(site, StreamId(Side.SOURCE, 3))
    started = position_from(
        pair.source.value("select confirmed_flush_lsn::text from pg_replication_slots")
    )

    replication.arm(site, StreamId(Side.SOURCE, 3))

    assert replication.slots(site) == [3]
    name = slots.slot_name(site, 3)
    noted = [each for each in books.made(site) if each.kind == "slot"]
    assert noted == [MadeObject(kind="slot", name=name, before=started.text)]


def test_a_consumer_does_not_keep_its_slot_from_being_dropped(site: Site, follow: Follow) -> None:
    reading = follow()

    replication.disarm(site, below=1)

    assert replication.slots(site) == []
    with pytest.raises(TryAgain):
        read_until_error(reading.capture)


def test_slots_of_other_migrations_and_numbers_stay(
    pair: Pair, site: Site, make_pair: MakePair
) -> None:
    other = make_pair(pair.source, pair.target).site(Side.SOURCE)
    books.install(other)
    replication.arm(other, STREAM)

    replication.disarm(site, below=9)

    assert (replication.slots(site), replication.slots(other)) == ([], [0])
    replication.disarm(other, below=9)


def test_a_slot_of_that_name_that_is_not_ours_is_refused(pair: Pair, site: Site) -> None:
    replication.disarm(site, below=1)
    name = slots.slot_name(site, 0)
    with pair.source.connect() as admin:
        admin.execute("select pg_create_logical_replication_slot(%s, 'test_decoding')", (name,))

        with pytest.raises(Unsupported, match="not ours"):
            replication.arm(site, STREAM)

        admin.execute("select pg_drop_replication_slot(%s)", (name,))


def test_a_slot_that_a_dead_process_is_making_is_made_anew(pair: Pair) -> None:
    """Its session waits for an open transaction in the server, long after the process is gone."""
    site, _ = prepare(pair)
    name = slots.slot_name(site, 0)
    with pair.source.connect() as writer:
        with writer.transaction():
            writer.execute("create table public.late (a int)")
            zombie = threading.Thread(target=_arm_quietly, args=(site,))
            zombie.start()
            until(
                lambda: (
                    pair.source.rows(
                        "select from pg_replication_slots where slot_name = %s and active", name
                    )
                    != []
                )
            )
            newer = threading.Thread(target=_arm_quietly, args=(site,))
            newer.start()
            zombie.join(10)
        newer.join(10)

    assert not zombie.is_alive()
    assert not newer.is_alive()
    assert replication.slots(site) == [0]
    replication.disarm(site, below=1)


def _arm_quietly(site: Site) -> None:
    try:
        replication.arm(site, STREAM)
    except TryAgain:
        return


def test_a_server_without_a_free_slot_says_what_to_set(make_pair: MakePair) -> None:
    with Server(settings={"max_replication_slots": "1"}) as server:
        prepare_roles(server)
        with server.database() as one, server.database() as two:
            pair = make_pair(Database(server, one), Database(server, two))
            site, other = prepare(pair)
            replication.arm(site, STREAM)

            with pytest.raises(NotPermitted) as refused:
                replication.arm(other, StreamId(Side.TARGET, 1))

            assert "max_replication_slots" in refused.value.hint
            # The note of a slot that was not made harms nobody, and one that was dropped leaves none.
            replication.disarm(site, below=1)
            replication.arm(other, StreamId(Side.TARGET, 1))
            assert replication.slots(other) == [1]
            replication.disarm(other, below=2)


def test_heartbeats_travel_and_are_counted(pair: Pair, site: Site, follow: Follow) -> None:
    reading = follow()
    assert [lineage.beat(site), lineage.beat(site)] == [1, 2]

    found = reading.rest()

    assert [signal.kind for each in found for signal in each.signals] == [
        SignalKind.HEARTBEAT,
        SignalKind.HEARTBEAT,
    ]
    assert pair.source.value("select beat from bowline.heartbeat") == 2


def test_a_server_that_goes_away_is_worth_another_try(make_pair: MakePair) -> None:
    with Server() as server:
        prepare_roles(server)
        with server.database() as one, server.database() as two:
            pair = make_pair(Database(server, one), Database(server, two))
            site, _ = prepare(pair)
            replication.arm(site, STREAM)
            capture = replication.capture(site, STREAM, None)
            server.stop()
            with pytest.raises(TryAgain):
                read_until_error(capture)
            capture.close()

            with pytest.raises(TryAgain):
                replication.capture(site, STREAM, None)
            server.start()


def test_a_missing_publication_is_named(pair: Pair) -> None:
    pair.source.run(TABLE)
    site = pair.site(Side.SOURCE)
    books.install(site)
    replication.arm(site, STREAM)
    capture = replication.capture(site, STREAM, None)
    pair.source.run("insert into public.item values (1)")

    with pytest.raises(Unsafe) as refused:
        read_until_error(capture)

    capture.close()
    assert refused.value.reason == "PublicationLost"
