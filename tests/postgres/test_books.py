"""Bookkeeping: what is put is read back, decided once, and survives two sessions at the same time."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest

from bowline_worker.bookkeeping import Backend, LaneRow, MadeObject, SwitchRow
from bowline_worker.contract import Side, TryAgain, Unsafe, Unsupported, Verdict
from bowline_worker.endpoints.postgres import books, made, sessions
from bowline_worker.endpoints.postgres.connection import connect
from bowline_worker.endpoints.site import Site
from bowline_worker.model import SignalKind
from servers import Pair


@pytest.fixture
def site(pair: Pair) -> Site:
    site = pair.site(Side.SOURCE)
    books.install(site)
    return site


def lane(number: int, **change: object) -> LaneRow:
    row = LaneRow(lane=number, number=0, generation=1)
    return replace(row, **change)  # type: ignore[arg-type]


def test_installing_twice_changes_nothing(pair: Pair, site: Site) -> None:
    with books.transaction(site) as here:
        here.put_switch(SwitchRow(attempt=3))

    books.install(site)

    with books.transaction(site) as here:
        assert here.switch() == SwitchRow(attempt=3)
    assert books.made(site) == [MadeObject(kind="schema", name="bowline")]


def test_installing_at_the_same_time_succeeds_for_all(pair: Pair) -> None:
    site = pair.site(Side.SOURCE)
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def install() -> None:
        start.wait()
        try:
            books.install(site)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=install) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_a_schema_of_that_name_that_is_not_ours_is_refused(pair: Pair) -> None:
    pair.source.run("create schema bowline", "create table bowline.knots (id int)")

    with pytest.raises(Unsupported, match="schema bowline that is not") as caught:
        books.install(pair.site(Side.SOURCE))

    assert caught.value.reason == "SchemaTaken"


def test_nothing_made_is_known_before_installing(pair: Pair) -> None:
    assert books.made(pair.site(Side.SOURCE)) == []


def test_missing_bookkeeping_is_unsafe(pair: Pair, site: Site) -> None:
    """A database restored from a backup must not pass for one where nothing was decided."""
    with books.transaction(pair.site(Side.TARGET)) as there, pytest.raises(Unsafe):
        there.switch()

    other = pair.site(Side.SOURCE, migration="test.other")
    with books.transaction(other) as here, pytest.raises(Unsafe, match=r"test\.other"):
        here.switch()


def test_a_switch_row_is_read_back_as_it_was_put(site: Site) -> None:
    row = SwitchRow(
        attempt=7,
        verdict=Verdict.COMMITTED,
        aborted=frozenset({2, 5}),
        opened=4,
        fenced=True,
        fenced_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        committed_at=datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
        opened_at=datetime(2026, 1, 2, 3, 4, 7, tzinfo=UTC),
        reason="BudgetSpent",
        cutover=Backend(pid=12, started="2026-01-02 03:04:05.678+00"),
    )

    with books.transaction(site) as here:
        here.put_switch(row)

    with books.transaction(site) as here:
        assert here.switch(lock=False) == row


def test_an_exception_rolls_back_all_of_the_transaction(site: Site) -> None:
    def fail() -> None:
        with books.transaction(site) as here:
            here.put_switch(SwitchRow(attempt=1))
            here.put_lanes(Side.SOURCE, [lane(0)])
            here.signal(SignalKind.BARRIER, 1)
            raise LookupError

    with pytest.raises(LookupError):
        fail()

    with books.transaction(site) as here:
        assert here.switch() == SwitchRow()
        assert here.lanes(Side.SOURCE) == ()


def test_lane_rows_are_replaced_and_streams_kept_apart(site: Site) -> None:
    backend = Backend(pid=9, started="x")
    rows = (
        lane(0, generation=-4, block=17, passed=True, retired=2, backend=backend, position="0/1A"),
        lane(1, barrier=3, probe=2, canary=1, events=1 << 40, discarded=5),
        lane(2),
    )
    with books.transaction(site) as here:
        here.put_lanes(Side.TARGET, [lane(0, block=1)])
        here.put_lanes(Side.SOURCE, rows)
        assert here.lanes(Side.SOURCE) == rows
        here.put_lanes(Side.SOURCE, rows[:2])

    with books.transaction(site) as here:
        assert here.lanes(Side.SOURCE, lock=False) == rows[:2]
        assert here.lanes(Side.TARGET) == (lane(0, block=1),)


def test_who_waited_for_the_lanes_sees_all_that_were_put_meanwhile(site: Site, pair: Pair) -> None:
    """Retire ends the generation of the lanes that it read: one that it missed would go on applying."""
    with books.transaction(site) as here:
        here.put_lanes(Side.SOURCE, [lane(0), lane(1)])
    seen: list[tuple[LaneRow, ...]] = []

    def wait() -> None:
        with books.transaction(site) as there:
            seen.append(there.lanes(Side.SOURCE))

    new = (lane(1, generation=2), lane(2, generation=2), lane(3, generation=2))
    with books.transaction(site) as here:
        here.lanes(Side.SOURCE)
        thread = threading.Thread(target=wait)
        thread.start()
        wait_for_a_waiter(pair)
        here.put_lanes(Side.SOURCE, new)
    thread.join()

    assert seen == [new]


def test_a_locked_switch_row_makes_the_next_step_wait(site: Site, pair: Pair) -> None:
    seen: list[int] = []

    def wait() -> None:
        with books.transaction(site) as there:
            seen.append(there.switch().attempt)

    with books.transaction(site) as here:
        here.switch()
        thread = threading.Thread(target=wait)
        thread.start()
        wait_for_a_waiter(pair)
        here.put_switch(SwitchRow(attempt=2))
    thread.join()

    assert seen == [2]


def test_a_signal_is_added_once(site: Site, pair: Pair) -> None:
    for _ in range(2):
        with books.transaction(site) as here:
            here.signal(SignalKind.BARRIER, 1)

    assert pair.source.rows("select migration, kind, attempt from bowline.signal") == [
        (site.migration, "barrier", 1)
    ]


def test_a_decision_is_durable_where_the_database_does_not_ask_for_it(
    site: Site, pair: Pair
) -> None:
    pair.source.run(f'alter database "{pair.source.name}" set synchronous_commit = off')
    pair.source.run(f'alter database "{pair.source.name}" set default_transaction_read_only = on')

    with books.transaction(site) as here:
        here.put_switch(SwitchRow(attempt=1))
        (row,) = here._read("show synchronous_commit")

    assert row == {"synchronous_commit": "on"}


def test_ending_a_session_frees_the_rows_that_it_locked(site: Site, pair: Pair) -> None:
    zombie = connect(site, autocommit=False)
    zombie.execute("select from bowline.switch for update")

    with books.transaction(site) as here:
        here.end_backends([sessions.own_backend(zombie)])
        here.switch()

    with pytest.raises(psycopg.OperationalError):
        zombie.execute("select 1")
    zombie.close()


def test_a_session_that_only_has_the_same_pid_is_left_alone(site: Site) -> None:
    with connect(site) as other:
        backend = sessions.own_backend(other)

        with books.transaction(site) as here:
            here.end_backends([replace(backend, started="2001-01-01 00:00:00+00")])

        assert other.execute("select 1").fetchone() == (1,)


def test_a_session_that_stays_is_an_error(site: Site) -> None:
    with connect(site) as other, books.transaction(site) as here:
        backend = sessions.own_backend(other)
        with pytest.raises(TryAgain, match=str(backend.pid)):
            here.end_backends([backend], timeout=-1)


def test_a_note_of_something_made_keeps_what_was_before(site: Site) -> None:
    """The second run of Prepare must not take our own setting for the user's."""
    with connect(site) as connection:
        for before in ("d", "f"):
            thing = MadeObject(kind="replica-identity", name="public.t", before=before)
            made.record(connection, site, thing)

        assert MadeObject(kind="replica-identity", name="public.t", before="d") in books.made(site)

        made.forget(connection, site, "replica-identity", "public.t")

    assert [thing.kind for thing in books.made(site)] == ["schema"]


def wait_for_a_waiter(pair: Pair) -> None:
    """Return once a session of this database waits for a lock."""
    deadline = time.monotonic() + 20
    with pair.source.connect() as connection:
        while not connection.execute(
            "select 1 from pg_stat_activity where wait_event_type = 'Lock'"
            " and datname = current_database()"
        ).fetchone():
            assert time.monotonic() < deadline, "nobody waits"
