"""The apply role on real servers: nothing lost, nothing doubled, nothing by a process that was replaced."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bowline_worker.bookkeeping import LaneRow, SwitchRow
from bowline_worker.contract import FencedOut, Report, Side, TryAgain, Unsafe, Unsupported, Verdict
from bowline_worker.endpoints.postgres import books
from bowline_worker.endpoints.postgres.lane import PostgresLane
from bowline_worker.journal import read_applied
from bowline_worker.model import SignalKind
from postgres.apply_rig import Stream
from servers import Pair

MANY = "insert into public.item select n, 'n' || n, 'note' from generate_series(1, 40) n"


@pytest.fixture
def stream(pair: Pair) -> Iterator[Stream]:
    made = Stream(pair)
    yield made
    made.close()


class Crash(Exception):
    """The process is gone at this point."""


class CommitOf:
    """Die around the commit of one lane's session, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, lane: int, after: bool) -> None:
        self.died = False
        commit, advance = PostgresLane.commit, PostgresLane.advance
        at: dict[int, int] = {}

        def remember(session: PostgresLane, origin: Side, row: LaneRow, *, since: int) -> None:
            at[id(session)] = row.lane
            advance(session, origin, row, since=since)

        def die(session: PostgresLane) -> None:
            is_it = at[id(session)] == lane and not self.died
            if not is_it or after:
                commit(session)
            if is_it:
                self.died = True
                raise Crash

        monkeypatch.setattr(PostgresLane, "advance", remember)
        monkeypatch.setattr(PostgresLane, "commit", die)


def test_the_receiver_becomes_what_the_source_is(stream: Stream) -> None:
    stream.write(
        MANY,
        "insert into public.event values ('a', now()), ('a', now()), ('b', null)",
        "insert into public.account (email) values ('x'), ('y'), (null)",
    )
    stream.write("update public.item set name = name || '!' where id % 3 = 0")
    stream.write(
        "update public.item set id = id + 100 where id < 10",
        "delete from public.item where id = 20",
        "insert into public.item values (20, 'again', null)",
        "delete from public.event where what = 'b'",
        "update public.event set what = 'c' where ctid = (select min(ctid) from public.event)",
    )
    stream.apply()
    assert stream.differences() == []

    stream.write("truncate public.item", "insert into public.item values (1, 'only', null)")
    report = stream.apply()

    assert stream.differences() == []
    assert report.stream is not None
    assert report.stream.remaining == 0
    assert report.stream.block == stream.newest
    assert report.stream.lag.current is not None
    assert report.stream.imported is not None
    assert report.stream.imported.total == sum(row.events for row in stream.rows())
    assert read_applied(stream.directory) == stream.newest


def test_a_long_value_that_was_not_logged_again_is_kept(stream: Stream) -> None:
    # Not compressible, so it lies outside of the row, and an update leaves it there.
    stream.write(
        "insert into public.item select n, 'a', (select string_agg(md5(m::text), '') from"
        " generate_series(n, n + 300) m) from generate_series(1, 3) n"
    )
    stream.apply()
    stream.write("update public.item set name = 'b'", "update public.item set id = 9 where id = 2")
    stream.apply()

    assert stream.differences() == []


def test_both_lanes_work_on_a_span(stream: Stream) -> None:
    stream.write(MANY)
    stream.apply()

    assert all(row.events > 5 for row in stream.rows())
    assert stream.pair.target.value("select count(distinct tx) from bowline.audit") == 2


def test_two_lanes_are_faster_than_one_where_rows_take_their_time(stream: Stream) -> None:
    """A row of a distributed database costs milliseconds, in which another lane can work."""
    stream.pair.target.run(
        "create function bowline.slow() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(0.003); return new; end $$",
        "create trigger slow before insert or update on public.item"
        " for each row execute function bowline.slow()",
        "alter table public.item enable always trigger slow",
    )
    seconds = {}
    for lanes in (1, 2):
        stream.resize(lanes)
        stream.write(
            "insert into public.item select n, 'n' from"
            f" generate_series({lanes} * 1000, {lanes} * 1000 + 299) n"
        )
        began = time.monotonic()
        stream.apply(lanes=lanes)
        seconds[lanes] = time.monotonic() - began

    assert stream.differences() == []
    assert seconds[1] > seconds[2] * 1.3


@pytest.mark.parametrize("after", [False, True], ids=["before it", "reply lost"])
@pytest.mark.parametrize("lane", [0, 1])
def test_a_crash_around_a_lane_s_commit_loses_and_doubles_nothing(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, lane: int, after: bool
) -> None:
    stream.write(MANY)
    stream.write("delete from public.item where id > 30", "update public.item set note = id::text")
    first = stream.newest
    with monkeypatch.context() as patch:
        CommitOf(patch, lane=lane, after=after)
        with pytest.raises(Crash):
            stream.apply()
    expected = [first, first]
    if not after:
        expected[lane] = 0
    assert stream.blocks() == expected

    stream.write("insert into public.item values (99, 'later', null)")
    stream.apply()

    assert stream.differences() == []
    # Folded: 30 rows came with their last note, 10 came and went, one came later.
    assert stream.audit() == sorted([("I", str(key)) for key in (*range(1, 31), 99)])


@pytest.mark.parametrize("lane", [0, 1])
def test_lanes_that_stand_apart_finish_their_span_as_it_was_spread(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, lane: int
) -> None:
    """A unique index made in between would send the rest of the span to one lane, which may have committed."""
    stream.write(MANY)
    with monkeypatch.context() as patch:
        CommitOf(patch, lane=lane, after=False)
        with pytest.raises(Crash):
            stream.apply()
    stream.pair.target.run("create unique index on public.item (name)")
    stream.apply()

    assert stream.differences() == []
    assert len(stream.audit()) == 40


def test_a_change_of_lanes_waits_for_lanes_that_stand_apart(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.write(MANY)
    with monkeypatch.context() as patch:
        CommitOf(patch, lane=1, after=False)
        with pytest.raises(Crash):
            stream.apply()
    newest = stream.newest

    stream.apply(lanes=3, until=lambda: stream.blocks() == [newest] * 3)
    stream.write("update public.item set note = 'x'")
    stream.apply(lanes=3)
    stream.apply(lanes=1, until=lambda: len(stream.rows()) == 1)

    assert stream.differences() == []
    assert [row.events for row in stream.rows()] == [80]


def test_swapped_unique_values_are_applied_without_help(
    stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    stream.write("insert into public.account (email) values ('a'), ('b'), ('c')")
    stream.apply()
    stream.write(
        "update public.account set email = 'free' where email = 'a'",
        "update public.account set email = 'a' where email = 'b'",
        "update public.account set email = 'b' where email = 'free'",
    )
    with caplog.at_level(logging.WARNING, "bowline"):
        stream.apply()

    assert stream.differences() == []
    assert [record.message for record in caplog.records] == ["a set form did not fit"]


def test_a_missing_row_stops_the_stream_and_is_named(stream: Stream) -> None:
    stream.write(MANY)
    stream.apply()
    before = stream.blocks()
    stream.pair.target.run("delete from public.item where id = 7")
    stream.write(
        "update public.item set note = 'secret' where id in (6, 7, 8)",
        "update public.item set note = 'later' where id = 6",
    )

    with pytest.raises(Unsafe) as refused:
        stream.apply()

    assert refused.value.reason == "RowMissing"
    message = str(refused.value)
    assert message.startswith("UPDATE of public.item, key id=7, in the transaction at 0/")
    assert "secret" not in message
    assert before[0] in stream.blocks()
    found = "select count(*) from public.item where id = 7 or (id in (6, 8) and note = 'later')"
    assert stream.pair.target.value(found) in (0, 1)


def test_a_row_that_is_there_already_is_named(stream: Stream) -> None:
    stream.pair.target.run("insert into public.item values (5, 'stray', null)")
    stream.write("insert into public.item values (5, 'ours', null)")

    with pytest.raises(Unsafe, match=r"INSERT of public\.item, key id=5.*item_pkey") as refused:
        stream.apply()

    assert refused.value.reason == "RowConflict"


def test_a_huge_transaction_is_one_transaction(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.write("insert into public.item select n, 'n', null from generate_series(1, 20000) n")
    assert stream.newest > 2
    with monkeypatch.context() as patch:
        CommitOf(patch, lane=1, after=False)
        with pytest.raises(Crash):
            stream.apply()
    assert len(set(stream.blocks())) == 2

    stream.apply()

    assert stream.differences() == []
    assert stream.pair.target.rows("select count(*), count(distinct tx) from bowline.audit") == [
        (20000, 1)
    ]
    assert [row.events for row in stream.rows()] == [20000, 0]


def test_a_huge_transaction_is_applied_in_the_form_that_fits(stream: Stream) -> None:
    stream.write("insert into public.account (email) select n from generate_series(1, 9000) n")
    stream.apply()
    # Each row takes the value that another has just given up: as a set they collide.
    stream.write(
        "do $$ begin for n in reverse 9000..1 loop"
        " update public.account set email = n + 1 where email = n::text; end loop; end $$"
    )

    stream.apply()

    assert stream.differences() == []


def test_rows_before_the_marker_are_discarded_and_signals_are_not(pair: Pair) -> None:
    stream = Stream(pair, passed=False)
    for database in (pair.source, pair.target):
        database.run("insert into public.item values (1, 'both have it', null)")
    stream.signal(SignalKind.PROBE, 1)
    stream.signal(SignalKind.MARKER, 7)
    stream.write("insert into public.item values (2, 'own write', null)")
    report = stream.apply()
    assert report.stream is not None
    assert (report.stream.marker, report.stream.probe) == (False, 1)

    stream.signal(SignalKind.MARKER, 1)
    stream.signal(SignalKind.CANARY, 1)
    stream.write("insert into public.item values (3, 'application', null)")
    report = stream.apply()
    stream.close()

    assert report.stream is not None
    assert (report.stream.marker, report.stream.canary) == (True, 1)
    assert pair.target.rows("select id from public.item order by 1") == [(1,), (3,)]
    rows = stream.rows()
    assert sum(row.discarded for row in rows) == 2
    assert {(row.passed, row.barrier, row.canary) for row in rows} == {(True, 2, 1)}


def test_the_snapshot_of_a_table_says_from_where_it_is_streamed(pair: Pair) -> None:
    stream = Stream(pair, number=0)
    stream.write("insert into public.item values (1, 'in the snapshot', null)")
    position = pair.source.value("select pg_current_wal_lsn()::text")
    pair.target.run("insert into public.item values (1, 'in the snapshot', null)")
    stream.write(
        "update public.item set note = 'after it'", "insert into public.event values ('e')"
    )
    with pytest.raises(TryAgain, match="snapshot is not complete"):
        stream.apply()
    with pair.target.connect() as connection:
        for table, at in (("item", position), ("event", "0/0"), ("account", "0/0")):
            connection.execute(
                "insert into bowline.copied values (%s, 'public', %s, %s, 0, 0, true)",
                (pair.migration, table, at),
            )
        for mark in ("snapshot", "post-data"):
            connection.execute("insert into bowline.mark values (%s, %s)", (pair.migration, mark))

    stream.apply()
    stream.close()

    assert stream.differences() == []
    assert stream.audit() == [("I", "1"), ("U", "1")]


def test_a_replaced_apply_writes_nothing_more(stream: Stream) -> None:
    stream.write(MANY)
    replaced: list[Report] = []

    def take_over() -> bool:
        """Runs once the first process has its lanes, and before its first step."""
        if not replaced and stream.rows()[0].generation == 1:
            replaced.append(stream.apply())
            stream.write("update public.item set note = 'by the second'")
        return False

    with pytest.raises(FencedOut) as refused:
        stream.apply(until=take_over)

    assert refused.value.reason == "Superseded"
    assert stream.rows()[0].generation == 2
    assert len(stream.audit()) == 40
    assert len(set(stream.blocks())) == 1


def test_a_lane_whose_session_survived_is_stopped_by_its_generation(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a session could not be ended, the compare-and-set is what is left."""
    stream.write(MANY)
    begin = PostgresLane.begin

    def bump(session: PostgresLane) -> None:
        stream.change_rows(generation=5)
        begin(session)

    monkeypatch.setattr(PostgresLane, "begin", bump)
    with pytest.raises(FencedOut):
        stream.apply()

    assert stream.audit() == []
    assert stream.blocks() == [0, 0]


def test_an_idle_apply_notices_that_it_was_retired(stream: Stream) -> None:
    stream.write(MANY)
    stream.apply()
    ended: list[bool] = []

    def retire() -> bool:
        if not ended:
            ended.append(True)
            stream.end_generation(retired=4)
        return False

    with pytest.raises(FencedOut, match="ended by attempt 4") as refused:
        stream.apply(until=lambda: stream.rows()[0].generation == 2 and retire())

    assert refused.value.reason == "Retired"


def test_a_retired_stream_lives_again_only_after_the_origin_s_abort(stream: Stream) -> None:
    stream.write(MANY)
    stream.apply()
    stream.end_generation(retired=4)
    origin = replace(switch_of(stream, Side.SOURCE), attempt=4)
    for verdict in (Verdict.ARMED, Verdict.COMMITTED):
        put_switch(stream, Side.SOURCE, replace(origin, verdict=verdict))
        with pytest.raises(FencedOut) as refused:
            stream.apply(until=lambda: False)
        assert refused.value.reason == "Retired"
        assert stream.rows()[0].generation == -1

    put_switch(
        stream, Side.SOURCE, replace(origin, verdict=Verdict.ABORTED, aborted=frozenset({4}))
    )
    stream.write("update public.item set note = 'alive'")
    stream.apply()

    assert stream.differences() == []
    assert stream.rows()[0].generation == 2


def test_a_stream_of_an_aborted_attempt_never_starts(stream: Stream) -> None:
    """The abort may have come before the first generation, when there was none to end."""
    stream.write(MANY)
    aborted = replace(switch_of(stream, Side.TARGET), attempt=1, verdict=Verdict.ABORTED)
    put_switch(stream, Side.TARGET, replace(aborted, aborted=frozenset({1})))

    with pytest.raises(FencedOut, match="attempt 1 was aborted"):
        stream.apply()

    assert stream.audit() == []


def test_a_stream_without_lanes_is_waited_for(stream: Stream) -> None:
    with pytest.raises(TryAgain, match="not armed yet"):
        stream.apply(number=2, until=lambda: False)
    stream.change_rows(number=3)
    with pytest.raises(FencedOut) as refused:
        stream.apply(until=lambda: False)

    assert refused.value.reason == "Superseded"


def test_a_table_that_the_receiver_lacks_stops_the_stream(stream: Stream) -> None:
    stream.write("insert into public.event values ('e', null)")
    stream.pair.target.run("drop table public.event")

    with pytest.raises(Unsupported, match=r"public\.event") as refused:
        stream.apply()

    assert refused.value.reason == "SchemaChanged"
    assert stream.blocks() == [0, 0]


def test_a_journal_that_is_gone_is_never_taken_for_an_empty_one(stream: Stream) -> None:
    stream.change_rows(block=50)

    with pytest.raises(Unsafe) as refused:
        stream.apply(until=lambda: False)

    assert refused.value.reason == "JournalMissing"


def switch_of(stream: Stream, side: Side) -> SwitchRow:
    with books.transaction(stream.pair.site(side)) as transaction:
        return transaction.switch()


def put_switch(stream: Stream, side: Side, row: SwitchRow) -> None:
    with books.transaction(stream.pair.site(side)) as transaction:
        transaction.put_switch(row)
