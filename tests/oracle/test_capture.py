"""Capture of an Oracle stream, from the redo to the journal's bytes, by the real driver."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import oracledb
import pytest

from bowline_worker.contract import TryAgain, Unsafe, Unsupported
from bowline_worker.endpoints.base import Lineage
from bowline_worker.endpoints.oracle import books, slots
from bowline_worker.endpoints.oracle import capture as capturing
from bowline_worker.endpoints.oracle.capture import PART_CHANGES, capture
from bowline_worker.endpoints.oracle.heartbeat import beat
from bowline_worker.endpoints.oracle.position import at_scn
from bowline_worker.model import UNCHANGED, Op, Position, SignalKind
from oracle import server
from oracle.capture_rig import EVENT, ITEM, STREAM, TABLES, Consumer, Shop, shop
from oracle.standin.redolog.adversities import Adversities, Chance
from oracle.standin.whole import SERVICE, StandIn
from oracle.standin.wire.faults import Call, When
from oracle.world import APP, BOWLINE, a_secret, a_site


@pytest.fixture(autouse=True)
def _looks_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capturing, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(capturing, "LONGEST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(capturing, "ADVANCE_SECONDS", 0.0)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path) as found:
        yield found


def add(here: Shop, number: int, **more: object) -> None:
    """Insert an item with bound values, of any length."""
    values = {"id": number, **more}
    places = ", ".join(f":{name}" for name in values)
    here.write(f"insert into item ({', '.join(values)}) values ({places})", **values)


def test_what_was_committed_comes_as_it_was_written_and_nothing_else(tmp_path: Path) -> None:
    tables = (
        "create table item (id number(9) primary key, name varchar2(40), price number(12,2))",
        "alter table item add supplemental log data (all) columns",
        *TABLES[2:],
    )
    with shop(tmp_path, tables=tables) as here:
        written_as_it_was(here)


def written_as_it_was(here: Shop) -> None:
    consumer = Consumer(here)
    here.run(
        "insert into item (id, name, price) values (1, 'a ''rope''', 12.5)",
        "insert into event values ('bought', timestamp '2024-02-29 12:00:00.5')",
        "savepoint before",
        "insert into item (id, name) values (2, 'a mistake')",
        "rollback to before",
        "commit",
        "delete from event",
        "rollback",
        "update item set price = 0 where id = 1",
        "delete from item where id = 1",
        "commit",
    )

    consumer.until_quiet()

    assert [(change.op, change.table) for change in consumer.changes] == [
        (Op.INSERT, ITEM),
        (Op.INSERT, EVENT),
        (Op.UPDATE, ITEM),
        (Op.DELETE, ITEM),
    ]
    inserted, event, updated, deleted = consumer.changes
    assert inserted.after == (b"1", b"a 'rope'", b"12.50")
    assert event.after == (b"bought", b"2024-02-29 12:00:00.5")
    assert updated.key == (b"1",)
    assert updated.after == (b"1", UNCHANGED, b"0.00")
    assert updated.before is None
    assert (deleted.key, deleted.before) == ((b"1",), (b"1", None, None))
    positions = [each.position for each in consumer.transactions]
    assert positions == sorted(positions)
    consumer.same()


def test_large_and_binary_values_are_those_of_the_commit(here: Shop) -> None:
    consumer = Consumer(here)
    add(here, 1, note="small", weight=1.5e10, picture=b"\0\xff")
    add(here, 2, note="x" * 9_000, picture=b"\1" * 9_000)
    here.run(
        "insert into item (id, note, picture) values (3, empty_clob(), empty_blob())",
        "insert into item (id) values (4)",
        "update item set weight = -2.5e-300d where id = 2",
        "commit",
    )
    here.write("update item set note = :n, weight = 0.1 where id = 1", n="y" * 20_000)
    here.run("commit", "update item set note = null, picture = null where id = 2", "commit")
    here.write("update item set note = :n where id = 3", n="ü€" * 3_000)
    here.run("commit")

    consumer.until_quiet()

    rows = consumer.rows[ITEM]
    assert rows[(b"1",)][3:] == (b"y" * 20_000, b"0.1", b"\\x00ff")
    assert rows[(b"2",)][3:] == (None, b"-2.5e-300", None)
    assert rows[(b"3",)][3:] == ("ü€".encode() * 3_000, None, b"\\x")
    assert rows[(b"4",)][3:] == (None, None, None)
    consumer.same()


def test_a_row_with_large_values_is_one_insert_however_the_redo_wrote_it(here: Shop) -> None:
    """LogMiner has an INSERT of empty values, and an UPDATE of each, to NULL as well."""
    consumer = Consumer(here)
    add(here, 1, name="a", note="x" * 9_000)
    add(here, 2, name="b")
    here.run("update item set name = 'c', note = 'd' where id = 2", "commit")

    consumer.until_quiet()

    assert [change.op for change in consumer.changes] == [Op.INSERT, Op.INSERT, Op.UPDATE]
    assert consumer.changes[2].after == (b"2", b"c", UNCHANGED, b"d", UNCHANGED, UNCHANGED)
    consumer.same()


def test_a_row_whose_key_changes_is_read_under_its_last_one(here: Shop) -> None:
    consumer = Consumer(here)
    add(here, 1, note="one", weight=1.25)
    add(here, 2, note="two", weight=2.25)
    here.run("commit")
    here.write("update item set note = :n, weight = 9.75 where id = 1", n="z" * 9_000)
    # 1 and 2 change places, by way of 3.
    here.run(
        "update item set id = 3 where id = 1",
        "update item set id = 1 where id = 2",
        "update item set id = 2 where id = 3",
        "update item set weight = 7.5 where id = 1",
        "commit",
    )

    consumer.until_quiet()

    rows = consumer.rows[ITEM]
    assert rows[(b"1",)][3:5] == (b"two", b"7.5")
    assert rows[(b"2",)][3:5] == (b"z" * 9_000, b"9.75")
    consumer.same()


def test_a_row_that_its_own_transaction_deletes_is_nobodys_worry(here: Shop) -> None:
    consumer = Consumer(here)
    add(here, 1, note="kept", weight=1.5)
    here.run("commit")
    add(here, 2, note="x" * 9_000, weight=1.5e10, picture=b"\1" * 9_000)
    here.run(
        "update item set weight = 2.5 where id = 2",
        "update item set id = 5 where id = 2",
        "delete from item where id = 5",
    )
    here.write("update item set note = :n, weight = 3.5 where id = 1", n="y" * 9_000)
    here.run("delete from item where id = 1")
    add(here, 1, note="again", weight=4.5)
    here.run("commit")

    consumer.until_quiet()

    assert [*consumer.rows[ITEM]] == [(b"1",)]
    consumer.same()


def test_a_truncate_comes_in_its_place(here: Shop) -> None:
    consumer = Consumer(here)
    add(here, 1, note="gone")
    here.run("commit", "truncate table item", "insert into event values ('behind', null)")
    add(here, 2, note="there")
    here.run("commit")

    consumer.until_quiet()

    kinds = [change.op for change in consumer.changes if change.op is not Op.UPDATE]
    assert kinds == [Op.INSERT, Op.TRUNCATE, Op.INSERT, Op.INSERT]
    consumer.same()


def test_what_was_not_journalled_is_given_again(here: Shop) -> None:
    here.run("insert into event values ('1', null)", "commit")
    lost = Consumer(here)
    with closing(lost.begin()) as reader:
        while not any(piece.payload for piece in reader.read(0.1)):
            pass

    consumer = Consumer(here)
    consumer.until_quiet()

    assert len(consumer.changes) == 1


def test_what_was_journalled_is_not_given_again(here: Shop) -> None:
    consumer = Consumer(here)
    here.run("insert into event values ('1', null)", "commit")
    consumer.until_quiet()
    here.run("insert into event values ('2', null)", "commit")

    consumer.until_quiet()

    assert [change.after[0] for change in consumer.changes if change.after] == [b"1", b"2"]


def test_a_journal_behind_the_slot_is_refused(here: Shop) -> None:
    consumer = Consumer(here)
    here.run("insert into event values ('1', null)", "commit")
    consumer.until_quiet()

    for journal in (None, Position(1, "0/1")):
        with pytest.raises(Unsafe) as refused:
            capture(here.site, STREAM, journal)
        assert refused.value.reason == "JournalBehindSlot"


def test_signals_and_heartbeats_travel_and_are_no_changes(here: Shop) -> None:
    consumer = Consumer(here)
    here.signal("marker", 7)
    here.signal("marker", 8, migration="default.other")
    first = beat(here.site)
    here.as_bowline("delete from bowline_signal")
    assert beat(here.site) == first + 1

    consumer.until_quiet()

    signals = [(each.kind, each.attempt) for each in consumer.signals]
    assert signals == [
        (SignalKind.MARKER, 7),
        (SignalKind.HEARTBEAT, first),
        (SignalKind.HEARTBEAT, first + 1),
    ]
    assert consumer.changes == []


def test_a_quiet_stream_tells_how_far_it_is(here: Shop) -> None:
    other = "create table bowline.elsewhere (id number)"
    with closing(Consumer(here).begin()) as reader:
        here.run(other, "insert into bowline.elsewhere values (1)", "commit")
        while not (pieces := reader.read(0.1)):
            pass

        assert [piece.payload for piece in pieces] == [b""]
        assert pieces[0].position > at_scn(1)


def test_a_caller_with_something_in_hand_is_not_kept_waiting(here: Shop) -> None:
    with closing(Consumer(here).begin()) as reader:
        here.run("insert into item (id) values (1)", "commit")

        assert reader.read(0.0) == []
        while not (found := [piece for piece in reader.read(0.05) if piece.payload]):
            pass
        assert len(found) == 1


def test_a_huge_transaction_comes_in_parts_that_each_can_be_read(here: Shop) -> None:
    consumer, count = Consumer(here), 2 * PART_CHANGES + 500
    with here.app.cursor() as cursor:
        cursor.executemany(
            "insert into event values (:1, null)", [(str(number),) for number in range(count)]
        )
    add(here, 1, weight=1.5e10)
    here.run("update item set id = 2, weight = 2.5e10", "commit", "delete from item", "commit")

    consumer.until_quiet()

    huge = consumer.transactions[:-1]
    assert [(each.starts, each.ends) for each in huge] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert max(len(each.changes) for each in huge) == PART_CHANGES
    assert len({each.position for each in huge}) == 1
    assert consumer.pieces < 10
    consumer.same()


def test_a_huge_transaction_that_was_cut_by_a_kill_comes_whole(here: Shop) -> None:
    consumer, count = Consumer(here), 2 * PART_CHANGES + 500
    with here.app.cursor() as cursor:
        cursor.executemany(
            "insert into event values (:1, null)", [(str(number),) for number in range(count)]
        )
    here.run("commit", "insert into event values ('behind', null)", "commit")
    for pieces in (1, 2):
        reader = consumer.begin()
        consumer.run(reader, pieces)
        reader.resources.close()

    consumer.until_quiet()

    assert len(consumer.changes) == count + 1
    consumer.same()


def test_an_older_consumer_is_ended(here: Shop) -> None:
    older = Consumer(here).begin()
    here.run("insert into event values ('1', null)", "commit")

    consumer = Consumer(here)
    consumer.until_quiet()

    assert len(consumer.changes) == 1
    with closing(older), pytest.raises(TryAgain):
        older.read(0.1)


def test_an_origin_knows_its_own_log_again(here: Shop) -> None:
    consumer = Consumer(here)
    here.run("insert into item (id) values (1)", "commit")
    with closing(consumer.begin()) as reader:
        consumer.run(reader)
        seen = replace(reader.lineage, beat=beat(here.site))

    with closing(capture(here.site, STREAM, consumer.journalled, seen)) as again:
        assert again.lineage.log == seen.log


def test_an_origin_that_went_back_is_noticed(here: Shop) -> None:
    consumer = Consumer(here)
    here.run("insert into item (id) values (1)", "commit")
    with closing(consumer.begin()) as reader:
        consumer.run(reader)
        log = reader.lineage.log
    number = beat(here.site)
    assert consumer.journalled is not None
    far = Position(at_scn(10**12).order, f"{10**12}")

    for after, seen in (
        (consumer.journalled, Lineage(log=log, beat=number + 1)),
        (consumer.journalled, Lineage(log="1/2", beat=number)),
        (far, Lineage(log=log, beat=number)),
    ):
        with pytest.raises(Unsafe) as refused:
            capture(here.site, STREAM, after, seen)
        assert refused.value.reason == "OriginWentBack"
    here.stand_in.database.resetlogs_scn += 1
    with pytest.raises(Unsafe, match="RESETLOGS") as refused:
        capture(here.site, STREAM, consumer.journalled)
    assert refused.value.reason == "OriginWentBack"


@pytest.fixture
def plugged(tmp_path: Path) -> Iterator[Shop]:
    """Tables in a pluggable database, mined from the root by a common user."""
    common = ("C##BOWLINE", "secret")
    with StandIn([APP, common], containers=("CDB$ROOT", "SHOPPDB")) as stand_in:
        place = f"127.0.0.1:{stand_in.port}/{SERVICE}"
        site = a_site(a_secret(tmp_path, *common), stand_in.port, service_name=SERVICE)
        with closing(oracledb.connect(user=APP[0], password=APP[1], dsn=place)) as app:
            here = Shop(stand_in, app, site, tmp_path)
            here.run(*TABLES)
            here.begin()
            yield here


def test_a_pluggable_database_is_mined_from_the_root(plugged: Shop) -> None:
    """Again: the older session is in the root too."""
    add(plugged, 1, note="in the container")
    plugged.run("commit")
    with closing(Consumer(plugged).begin()) as older:
        consumer = Consumer(plugged)
        consumer.until_quiet()

        consumer.same()
        with pytest.raises(TryAgain):
            older.read(0.1)


def test_a_rollback_in_a_pluggable_database_ends_its_transaction(plugged: Shop) -> None:
    """Its row names no container: passed over, the transaction would hold back for ever what must be kept."""
    with closing(Consumer(plugged).begin()) as capture:
        for statement, left in (("insert into item (id) values (1)", 1), ("rollback", 0)):
            plugged.run(statement)
            for _ in range(20):
                capture.read(0.01)
            assert capture._miner.open_transactions == left


def test_before_19_10_a_user_of_a_pluggable_database_alone_is_refused(tmp_path: Path) -> None:
    with StandIn([APP, BOWLINE], containers=("CDB$ROOT", "SHOPPDB")) as stand_in:
        site = a_site(a_secret(tmp_path, *BOWLINE), stand_in.port, service_name=SERVICE)
        books.install(site)

        with pytest.raises(Unsupported, match="SHOPPDB's own") as refused:
            slots.arm(site, STREAM)
        assert refused.value.reason == "CommonUserNeeded"


def test_a_lost_connection_is_tried_again_and_loses_nothing(here: Shop) -> None:
    consumer = Consumer(here)
    calls = ((Call.EXECUTE, 5), (Call.FETCH, 1), (Call.COMMIT, 1))
    for number, (call, nth) in enumerate(calls):
        add(here, number, note="n" * 9_000)
        here.run("commit")
        reader = consumer.begin()
        fault = here.stand_in.server.faults.drop(call, When.AFTER, nth=nth)
        with closing(reader), pytest.raises(TryAgain):
            consumer.run(reader)
        assert fault.happened.is_set()
        here.stand_in.server.faults.clear()

    consumer.until_quiet()

    consumer.same()


def test_without_undo_rows_are_read_as_they_are_now_and_it_is_said(
    here: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """What is newer comes by its own change as well, so the last one of each row is right."""
    consumer = Consumer(here)
    for number in range(1, 5):
        add(here, number, note="old", weight=1.5)
    here.run("commit")
    here.write("update item set note = :n where id = 1", n="new" * 3_000)
    here.run("commit", "delete from item where id = 2", "commit")
    here.run("update item set id = 30 where id = 3", "commit")
    here.write("update item set note = 'newest', weight = 2.5 where id = 4")
    here.run("commit")
    database = here.stand_in.database
    database.forget_undo(database.current_scn())

    with caplog.at_level(logging.WARNING, "bowline"):
        consumer.until_quiet()

    consumer.same()
    assert ["undo is gone" in record.message for record in caplog.records] == [True]


def test_a_row_that_can_t_be_seen_is_not_taken_for_a_deleted_one(here: Shop) -> None:
    """A policy that hides rows from the migration's user made their large values NULL at the target."""
    consumer = Consumer(here)
    add(here, 1, note="hidden")
    here.run("commit")
    with closing(consumer.begin()) as reader:
        reselect = reader._reselect
        look = type(reselect)._rows
        hide = pytest.MonkeyPatch()
        hide.setattr(type(reselect), "_rows", lambda *given: look(*given) and {})

        with hide.context(), pytest.raises(Unsafe) as refused:
            consumer.run(reader)
        hide.undo()

    assert refused.value.reason == "RowNotFound"
    assert "SHOP.ITEM" in str(refused.value)


def test_ddl_that_changes_a_table_ends_the_stream_behind_what_came_before(here: Shop) -> None:
    consumer = Consumer(here)
    here.run(
        "insert into event values ('before', null)", "commit", "alter table event add (more number)",
        "insert into event values ('behind', null, 1)", "commit",
    )  # fmt: skip

    with pytest.raises(Unsafe) as stopped:
        consumer.until_quiet()

    assert stopped.value.reason == "SchemaChanged"


def test_a_table_that_can_t_be_carried_is_refused_before_anything_is_streamed(
    tmp_path: Path,
) -> None:
    with shop(tmp_path, tables=("create table event (what varchar2(40), note clob)",)) as here:
        with pytest.raises(Unsupported, match=r"SHOP\.EVENT") as refused:
            capture(here.site, STREAM, None)
        assert refused.value.reason == "ReselectWithoutKey"


def test_a_log_that_is_gone_is_told(tmp_path: Path) -> None:
    adversities = Adversities()
    adversities.set({"purged_archive": "always"})
    with shop(tmp_path, adversities, groups=2, kept_archives=1) as here:
        here.run("insert into item (id) values (1)", "commit")
        for _ in range(6):
            here.run("alter system switch logfile")

        assert "is still to be mined" in slots.retention(here.site, STREAM).at_risk


@pytest.mark.parametrize(("threads", "forgets"), [(1, False), (2, False), (1, True)])
def test_whatever_the_redo_does_and_whenever_capture_dies_no_row_is_lost_or_doubled(
    tmp_path: Path, threads: int, forgets: bool
) -> None:
    """Also where the undo is gone again and again, so that rows are read as they are later."""
    fired: Counter[str] = Counter()
    for seed in range(4):
        fired += one_history(tmp_path / str(seed), seed, threads, forgets=forgets)

    # How often each strikes hangs on how often the redo is looked at: only the frequent ones are certain.
    expected = {"late_redo", "late_commit", "partial_xid", "lob_write", "null_lob"}
    assert server.real() or expected <= fired.keys(), fired


@pytest.mark.parametrize("advance_seconds", [0.0, 1e9])
def test_a_capture_that_dies_behind_each_piece_goes_on_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, advance_seconds: float
) -> None:
    """Whether the slot's place is that of the piece before, or an old one."""
    monkeypatch.setattr(capturing, "ADVANCE_SECONDS", advance_seconds)
    adversities = Adversities(seed=7, equal_scns=0.5, late_redo=0.5, second_thread=0.5)
    with shop(tmp_path, adversities, strand_records=8, threads=2) as here:
        consumer, draw = Consumer(here), Random(7)
        work(here, draw)
        work(here, draw)
        is_more = True
        while is_more:
            reader = consumer.begin()
            is_more = consumer.run(reader, 1, flush=True)
            reader.resources.close()

        consumer.same()


def one_history(place: Path, seed: int, threads: int, *, forgets: bool) -> Counter[str]:
    """Work and capture by turns; each capture is killed after some pieces. What went wrong meanwhile."""
    place.mkdir()
    gone: dict[str, Chance] = {"purged_archive": "never", "missing_file": "never"}
    adversities = Adversities.all(seed, 0.3, **gone)
    with shop(
        place, adversities, file_bytes=60_000, csf_bytes=120, strand_records=8, threads=threads
    ) as here:
        consumer, draw = Consumer(here), Random(seed)
        for _ in range(8):
            work(here, draw)
            if forgets and draw.random() < 0.5:
                here.stand_in.database.forget_undo(here.stand_in.database.current_scn())
            reader = consumer.begin()
            consumer.run(reader, draw.randint(1, 4))
            # Killed: not even the last place is kept.
            reader.resources.close()

        consumer.until_quiet()

        consumer.same()
    return adversities.fired


def work(here: Shop, draw: Random) -> None:
    """Some transactions, some of them taken back in part or whole."""
    for _ in range(draw.randint(1, 5)):
        for _ in range(draw.randint(1, 5)):
            one(here, draw)
        if draw.random() < 0.3:
            here.run("savepoint s")
            one(here, draw)
            one(here, draw)
            here.run("rollback to s")
        here.run("rollback" if draw.random() < 0.2 else "commit")


def one(here: Shop, draw: Random) -> None:
    key = draw.randint(1, 20)
    text = draw.choice(["", "a''b", "ü x" * 9])
    long = "ab" * draw.choice([0, 1, 3_000])
    match draw.randint(0, 7):
        case 0:
            here.run(f"delete from item where id between {key} and {key + 1}")
        case 1:
            here.run(
                f"update item set weight = {draw.random()!r}, name = '{text}' where id = {key}"
            )
        case 2:
            here.write(f"update item set note = :n where id = {key}", n=long)
        case 3:
            # Twenty are the work's own: these are free, or were.
            here.run(
                f"delete from item where id = {key + 100}",
                f"update item set id = {key + 100} where id = {key}",
            )
        case 4:
            here.run(f"insert into event values ('{text}', systimestamp)")
        case 5:
            here.run(f"update event set what = '{key}' where rownum = 1")
        case _:
            here.run(f"delete from item where id = {key}")
            add(here, key, name="n", note=long, weight=draw.random(), picture=b"\1" * len(long))
