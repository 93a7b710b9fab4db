"""Bookkeeping in Oracle: what is put is read back, decided once, and survives two sessions at the same time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import oracledb
import pytest

from bowline_worker.bookkeeping import Backend, LaneRow, MadeObject, SwitchRow
from bowline_worker.contract import FoundSide, Role, Side, TryAgain, Unsafe, Unsupported, Verdict
from bowline_worker.endpoints.base import SequenceState
from bowline_worker.endpoints.oracle import (
    books,
    disabling,
    fence,
    heartbeat,
    made,
    sessions,
    tables,
)
from bowline_worker.endpoints.oracle.connection import connect
from bowline_worker.endpoints.oracle.found import found
from bowline_worker.endpoints.site import Site
from bowline_worker.model import SignalKind, TableName
from oracle.standin.events import Written
from oracle.standin.wire.faults import Call, When
from oracle.world import World, world

TABLES = MadeObject(kind=tables.KIND, name=tables.NAME)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(World, tmp_path) as started:
        yield started


@pytest.fixture
def site(here: World) -> Site:
    books.install(here.site)
    return here.site


def lane(place: int, **change: object) -> LaneRow:
    row = LaneRow(lane=place, number=0, generation=1)
    return replace(row, **change)  # type: ignore[arg-type]


def query(place: Site, statement: str) -> list[tuple[object, ...]]:
    with closing(connect(place)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor)


def run(place: Site, *statements: str) -> None:
    with closing(connect(place)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


def of_another_migration(place: Site) -> Site:
    return Site(place.config.model_copy(update={"migration": "default.other"}), place.side)


def wait_for_a_waiter(place: Site) -> None:
    """Return once a session waits for another's lock."""
    with closing(connect(place)) as connection, connection.cursor() as cursor:
        for _ in range(10_000):
            cursor.execute("select sid from v$session where blocking_session is not null")
            if cursor.fetchone():
                return
    raise AssertionError("nobody waits")


class Waiter:
    """Runs a step in another thread, which is to wait for this one's locks."""

    def __init__(self, place: Site, step: Callable[[books.OracleBooks], object]) -> None:
        self.seen: list[object] = []
        self._thread = threading.Thread(target=self._run, args=(place, step))

    def _run(self, place: Site, step: Callable[[books.OracleBooks], object]) -> None:
        with books.transaction(place) as there:
            self.seen.append(step(there))

    def start(self, place: Site) -> None:
        self._thread.start()
        wait_for_a_waiter(place)

    def join(self) -> None:
        self._thread.join()


# --- installing


def test_installing_twice_changes_nothing(site: Site) -> None:
    with books.transaction(site) as here:
        here.put_switch(SwitchRow(attempt=3))

    books.install(site)

    with books.transaction(site) as here:
        assert here.switch() == SwitchRow(attempt=3)
    assert books.made(site) == [TABLES]


def test_installing_for_a_second_migration_keeps_the_first_ones_row(site: Site) -> None:
    with books.transaction(site) as here:
        here.put_switch(SwitchRow(attempt=3))

    books.install(of_another_migration(site))

    with books.transaction(of_another_migration(site)) as here:
        assert here.switch() == SwitchRow()
    with books.transaction(site) as here:
        assert here.switch() == SwitchRow(attempt=3)


def test_installing_at_the_same_time_succeeds_for_all(here: World) -> None:
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def install() -> None:
        start.wait()
        try:
            books.install(here.site)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=install) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert query(here.site, "select migration from bowline_switch") == [(here.site.migration,)]
    assert books.made(here.site) == [TABLES]


@pytest.mark.parametrize("name", ["BOWLINE_SWITCH", "BOWLINE_SIGNAL"])
def test_a_table_of_that_name_that_is_not_ours_is_refused(here: World, name: str) -> None:
    run(here.site, f"create table {name} (knots number)")

    with pytest.raises(Unsupported, match=f"has {name} in the schema of its user") as caught:
        books.install(here.site)

    assert caught.value.reason == "SchemaTaken"
    assert query(here.site, "select table_name from user_tables") == [(name,)]


@pytest.mark.parametrize("done", [1, 3, 8])
def test_an_installation_that_was_cut_off_is_completed(here: World, done: int) -> None:
    run(here.site, *list(books.TABLES.values())[:done])

    books.install(here.site)

    with books.transaction(here.site) as opened:
        assert opened.switch() == SwitchRow()
    assert set(query(here.site, "select table_name from user_log_groups")) == {
        ("BOWLINE_SIGNAL",),
        ("BOWLINE_HEARTBEAT",),
    }


def test_nothing_made_is_known_before_installing(here: World) -> None:
    assert books.made(here.site) == []
    assert found(here.site) == FoundSide()


def test_missing_bookkeeping_is_unsafe(here: World) -> None:
    """A database restored from a backup must not pass for one where nothing was decided."""
    with books.transaction(here.site) as opened:
        with pytest.raises(Unsafe, match="no bookkeeping") as caught:
            opened.switch()
        with pytest.raises(Unsafe):
            opened.lanes(Side.TARGET)
    assert caught.value.reason == "BookkeepingMissing"

    books.install(here.site)
    with (
        books.transaction(of_another_migration(here.site)) as opened,
        pytest.raises(Unsafe, match=r"default\.other"),
    ):
        opened.switch(lock=False)


# --- rows


@pytest.mark.parametrize(
    "row",
    [
        SwitchRow(),
        SwitchRow(
            attempt=7,
            verdict=Verdict.COMMITTED,
            aborted=frozenset({2, 5, 11}),
            opened=4,
            fenced=True,
            fenced_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
            committed_at=datetime(2026, 1, 2, 3, 4, 6, 999_999, tzinfo=UTC),
            opened_at=datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
            reason="BudgetSpent",
            cutover=Backend(pid=12, started="345,2,2026-01-02 03:04:05"),
        ),
        SwitchRow(attempt=1 << 40, verdict=Verdict.ABORTED, aborted=frozenset(range(2000))),
        SwitchRow(verdict=Verdict.ARMED, fenced_at=datetime(2026, 1, 1, tzinfo=UTC)),
    ],
    ids=["empty", "full", "aborted very often", "armed"],
)
def test_a_switch_row_is_read_back_as_it_was_put(site: Site, row: SwitchRow) -> None:
    for _ in range(2):
        with books.transaction(site) as here:
            here.put_switch(row)

        for lock in (False, True):
            with books.transaction(site) as here:
                assert here.switch(lock=lock) == row

    with books.transaction(site) as here:
        here.put_switch(SwitchRow())
    with books.transaction(site) as here:
        assert here.switch() == SwitchRow()


def test_a_time_of_another_zone_is_the_same_instant(site: Site) -> None:
    at = datetime(2026, 6, 1, 12, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))

    with books.transaction(site) as here:
        here.put_switch(SwitchRow(opened_at=at))

    with books.transaction(site) as here:
        assert here.switch().opened_at == at


def test_a_switch_row_that_is_put_leaves_the_fences_flag(site: Site) -> None:
    """It is the fence that refuses or lets pass: nobody else may lower it."""
    run(site, "update bowline_switch set raised = 1")

    with books.transaction(site) as here:
        here.put_switch(SwitchRow(attempt=3))

    assert query(site, "select raised, attempt from bowline_switch") == [(1, 3)]


def test_an_exception_rolls_back_all_of_the_transaction(site: Site) -> None:
    def fail() -> None:
        with books.transaction(site) as here:
            here.put_switch(SwitchRow(attempt=1))
            here.put_lanes(Side.TARGET, [lane(0)])
            here.signal(SignalKind.BARRIER, 1)
            here.after_commit.append(lambda: pytest.fail("nothing was committed"))
            raise LookupError

    with pytest.raises(LookupError):
        fail()

    with books.transaction(site) as here:
        assert here.switch() == SwitchRow()
        assert here.lanes(Side.TARGET) == ()
    assert query(site, "select count(*) from bowline_signal") == [(0,)]


def test_a_session_that_dies_within_leaves_nothing(here: World, site: Site) -> None:
    def die() -> None:
        with books.transaction(site) as opened:
            opened.put_switch(SwitchRow(attempt=1))
            opened.put_lanes(Side.TARGET, [lane(0)])

    here.stand_in.server.faults.drop(
        Call.EXECUTE, When.BEFORE, containing="insert into bowline_lane"
    )
    with pytest.raises(TryAgain) as caught:
        die()

    assert caught.value.reason == "Unreachable"
    with books.transaction(site) as opened:
        assert opened.switch() == SwitchRow()


@pytest.mark.parametrize(("when", "attempt"), [(When.BEFORE, 0), (When.AFTER, 1)])
def test_an_error_around_the_commit_is_read_back_and_not_tried_again(
    here: World, site: Site, when: When, attempt: int
) -> None:
    followed: list[int] = []

    def commit() -> None:
        with books.transaction(site) as opened:
            opened.put_switch(SwitchRow(attempt=1))
            opened.after_commit.append(lambda: followed.append(1))

    fault = here.stand_in.server.faults.drop(Call.COMMIT, when)
    with pytest.raises(TryAgain):
        commit()

    assert fault.happened.is_set()
    assert followed == []
    with books.transaction(site) as opened:
        assert opened.switch() == SwitchRow(attempt=attempt)


def test_lane_rows_are_replaced_and_streams_kept_apart(site: Site) -> None:
    backend = Backend(pid=9, started="1,1,2026-01-02 03:04:05")
    rows = (
        lane(0, generation=-4, block=17, passed=True, retired=2, backend=backend, position="0/1A"),
        lane(1, number=3, barrier=3, probe=2, canary=1, beat=9, events=1 << 40, discarded=5),
        lane(2, block=(1 << 62), position="x" * 256),
    )
    with books.transaction(site) as here:
        here.put_lanes(Side.TARGET, [lane(0, block=1)])
        here.put_lanes(Side.SOURCE, rows)
        assert here.lanes(Side.SOURCE) == rows
        here.put_lanes(Side.SOURCE, [rows[1], rows[0]])

    with books.transaction(site) as here:
        assert here.lanes(Side.SOURCE, lock=False) == rows[:2]
        assert here.lanes(Side.TARGET) == (lane(0, block=1),)
        here.put_lanes(Side.SOURCE, [lane(1)])
        here.put_lanes(Side.TARGET, [])
    with books.transaction(site) as here:
        assert here.lanes(Side.SOURCE) == (lane(1),)
        assert here.lanes(Side.TARGET) == ()


def test_lanes_of_another_migration_are_not_touched(site: Site) -> None:
    other = of_another_migration(site)
    books.install(other)
    with books.transaction(other) as here:
        here.put_lanes(Side.SOURCE, [lane(0), lane(1)])

    with books.transaction(site) as here:
        here.put_lanes(Side.SOURCE, [])
        assert here.lanes(Side.SOURCE) == ()

    with books.transaction(other) as here:
        assert here.lanes(Side.SOURCE) == (lane(0), lane(1))


# --- two at the same time


def test_who_waited_for_the_lanes_sees_all_that_were_put_meanwhile(site: Site) -> None:
    """Retire ends the generation of the lanes that it read: one that it missed would go on applying."""
    with books.transaction(site) as here:
        here.put_lanes(Side.TARGET, [lane(0), lane(1)])
    waiter = Waiter(site, lambda there: there.lanes(Side.TARGET))

    new = (lane(1, generation=2), lane(2, generation=2), lane(3, generation=2))
    with books.transaction(site) as here:
        here.lanes(Side.TARGET)
        waiter.start(site)
        here.put_lanes(Side.TARGET, new)
    waiter.join()

    assert waiter.seen == [new]


def test_a_locked_switch_row_makes_the_next_step_wait(site: Site) -> None:
    waiter = Waiter(site, lambda there: there.switch().attempt)

    with books.transaction(site) as here:
        here.switch()
        waiter.start(site)
        here.put_switch(SwitchRow(attempt=2))
    waiter.join()

    assert waiter.seen == [2]


def test_to_look_without_a_lock_waits_for_nobody(site: Site) -> None:
    with books.transaction(site) as here:
        here.put_switch(SwitchRow(attempt=2))
        here.put_lanes(Side.TARGET, [lane(0)])

        with books.transaction(site) as there:
            assert there.switch(lock=False) == SwitchRow()
            assert there.lanes(Side.TARGET, lock=False) == ()


def test_nobody_waits_for_a_row_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "_LOCKING", " for update wait 0")
    with books.transaction(site) as here:
        here.switch()

        with (
            books.transaction(site) as there,
            pytest.raises(TryAgain, match="holds the bookkeeping") as caught,
        ):
            there.switch()

    assert caught.value.reason == "BookkeepingLocked"


def test_ending_a_session_frees_the_rows_that_it_locked(site: Site) -> None:
    with closing(connect(site)) as zombie:
        with zombie.cursor() as cursor:
            cursor.execute("select attempt from bowline_switch for update")
        backend = sessions.own_backend(zombie)

        with books.transaction(site) as here:
            here.end_backends([backend])
            assert here.own_backend() != backend
            assert here.switch() == SwitchRow()

        with pytest.raises(oracledb.DatabaseError, match="ORA-00028"):
            zombie.commit()


def test_ending_a_roles_sessions_frees_what_they_never_recorded(site: Site) -> None:
    config = site.config.model_copy(update={"role": Role.CUTOVER})
    with closing(connect(Site(config, site.side))) as zombie:
        with zombie.cursor() as cursor:
            cursor.execute("select attempt from bowline_switch for update")

        with books.transaction(site) as here:
            here.end_sessions(Role.APPLY)
            sessions.own_backend(zombie)
            here.end_sessions(Role.CUTOVER)
            assert here.switch() == SwitchRow()


# --- signals and heartbeats


def test_a_signal_is_added_once(site: Site) -> None:
    for attempt in (1, 1, 2):
        with books.transaction(site) as here:
            here.signal(SignalKind.BARRIER, attempt)
            here.signal(SignalKind.BARRIER, attempt)

    assert query(site, "select migration, kind, attempt from bowline_signal order by attempt") == [
        (site.migration, "barrier", 1),
        (site.migration, "barrier", 2),
    ]


def test_a_signal_that_two_add_is_there_once(site: Site) -> None:
    waiter = Waiter(site, lambda there: there.signal(SignalKind.MARKER, 1))

    with books.transaction(site) as here:
        here.signal(SignalKind.MARKER, 1)
        waiter.start(site)
    waiter.join()

    assert query(site, "select kind, attempt from bowline_signal") == [("marker", 1)]


def test_heartbeats_count_on_and_never_back(site: Site) -> None:
    assert [heartbeat.beat(site) for _ in range(3)] == [1, 2, 3]
    books.install(of_another_migration(site))
    assert heartbeat.beat(of_another_migration(site)) == 1
    assert heartbeat.beat(site) == 4

    rows = query(site, "select migration, beat from bowline_heartbeat order by migration")
    assert rows == [("default.other", 1), (site.migration, 4)]


def test_two_first_heartbeats_are_two(site: Site) -> None:
    with closing(connect(site)) as other:
        made.once(other, heartbeat.FIRST, migration=site.migration)
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(heartbeat.beat(site)))
        thread.start()
        wait_for_a_waiter(site)
        other.commit()
        thread.join()

    assert seen == [2]


def test_without_its_table_a_heartbeat_is_an_error(here: World) -> None:
    with pytest.raises(Unsafe, match="no bookkeeping"):
        heartbeat.beat(here.site)


def test_signals_and_heartbeats_travel_once_and_whole(
    here: World, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one change in the redo, nothing is taken back there, and all columns are logged."""
    seen: list[tuple[str, str, bool, bool]] = []
    written = here.stand_in.log.written

    def told(change: Written) -> None:
        logged = change.table.all_columns
        seen.append((change.table.name, str(change.action), change.undo, logged))
        written(change)

    monkeypatch.setattr(here.stand_in.log, "written", told)
    for _ in range(2):
        heartbeat.beat(site)
        with books.transaction(site) as opened:
            opened.signal(SignalKind.BARRIER, 1)
            opened.signal(SignalKind.BARRIER, 1)

    assert seen == [
        ("BOWLINE_HEARTBEAT", "INSERT", False, True),
        ("BOWLINE_SIGNAL", "INSERT", False, True),
        ("BOWLINE_HEARTBEAT", "UPDATE", False, True),
    ]


# --- what is decided with the rows


@pytest.fixture
def fenced(here: World, site: Site) -> Site:
    """The application has a table, and the fence stands there, lowered."""
    here.run("create table item (id number(9) primary key)", "create sequence ids")
    fence.make(site)
    return site


def buy(here: World, number: int) -> None:
    here.run(f"insert into item values ({number})")
    here.app.commit()


def test_a_fence_holds_once_it_is_committed_and_no_earlier_step_is_lost(
    here: World, fenced: Site
) -> None:
    buy(here, 1)
    with books.transaction(fenced) as opened:
        opened.put_switch(replace(opened.switch(), attempt=1))
        opened.raise_fence(1.0)
        opened.signal(SignalKind.BARRIER, 1)

    with pytest.raises(oracledb.DatabaseError, match=r"ORA-20999.*default\.shop"):
        buy(here, 2)
    with books.transaction(fenced) as opened:
        assert opened.fence_gaps() == []
        opened.lower_fence()
    buy(here, 2)

    with books.transaction(fenced) as opened:
        assert opened.switch().attempt == 1
        assert opened.fence_gaps() != []
    enabled = "select count(*) from all_triggers where status = 'ENABLED'"
    assert query(fenced, enabled) == [(0,)]


def test_a_fence_whose_step_failed_lets_everybody_pass(here: World, fenced: Site) -> None:
    def step() -> None:
        with books.transaction(fenced) as opened:
            opened.put_switch(replace(opened.switch(), attempt=9))
            opened.raise_fence(1.0)
            raise LookupError

    with pytest.raises(LookupError):
        step()

    buy(here, 1)
    with books.transaction(fenced) as opened:
        assert opened.switch().attempt == 0


def test_sequences_rise_and_never_fall(here: World, fenced: Site) -> None:
    name = TableName("shop", "ids")
    for last in (100, 50):
        with books.transaction(fenced) as opened:
            opened.raise_sequences({name: SequenceState(last, 1)})

    with books.transaction(fenced) as opened:
        assert opened.sequences()[name].last >= 100
    assert query(fenced, "select shop.ids.nextval from dual") == [(101,)]


def test_what_was_disabled_for_the_stream_is_put_back_by_a_step(here: World, fenced: Site) -> None:
    here.run("create table part (id number(9) primary key, item number(9) references item)")
    with books.transaction(fenced) as opened:
        opened.put_lanes(Side.TARGET, [lane(0)])
    disabling.disable(fenced)
    here.run("insert into part values (1, 77)")
    here.app.rollback()

    with books.transaction(fenced) as opened:
        opened.switch()
        opened.restore()

    with pytest.raises(oracledb.IntegrityError, match="ORA-02291"):
        here.run("insert into part values (1, 77)")


# --- commits, and what follows them


def test_a_decision_is_durable_where_the_database_does_not_ask_for_it(
    here: World, site: Site
) -> None:
    with books.transaction(site) as opened:
        session = here.stand_in.database.sessions[opened.own_backend().pid]
        chosen = dict(session.parameters)

    assert (chosen["COMMIT_WAIT"], chosen["COMMIT_LOGGING"]) == ("WAIT", "IMMEDIATE")


def test_what_follows_a_commit_finds_it_committed(site: Site) -> None:
    seen: list[int] = []

    def look() -> None:
        with books.transaction(site) as there:
            seen.append(there.switch().attempt)

    with books.transaction(site) as here:
        here.put_switch(SwitchRow(attempt=2))
        here.after_commit.append(look)

    assert seen == [2]


def test_what_follows_a_commit_may_fail(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    followed: list[int] = []

    def fail() -> None:
        raise TryAgain("the table is busy")

    with caplog.at_level(logging.WARNING, "bowline"), books.transaction(site) as here:
        here.put_switch(SwitchRow(attempt=2))
        here.after_commit += [fail, lambda: followed.append(1)]

    assert followed == [1]
    assert [record.message for record in caplog.records] == ["what follows a commit was not done"]
    with books.transaction(site) as here:
        assert here.switch().attempt == 2


# --- notes, and what is found


def test_a_note_of_something_made_keeps_what_was_before(site: Site) -> None:
    """The second run of Prepare must not take our own setting for the user's."""
    with closing(books.durably(site)) as connection:
        for before in ("ENABLED", "DISABLED"):
            thing = MadeObject(kind="foreign-key", name='"SHOP"."Odd name"', before=before)
            made.record(connection, site, thing)
        made.record(connection, site, MadeObject(kind="trigger", name="t"))
        connection.commit()

    assert books.made(site) == [
        TABLES,
        MadeObject(kind="foreign-key", name='"SHOP"."Odd name"', before="ENABLED"),
        MadeObject(kind="trigger", name="t"),
    ]

    with closing(books.durably(site)) as connection:
        made.forget(connection, site, "foreign-key", '"SHOP"."Odd name"')
        made.forget(connection, site, "foreign-key", "t")
        connection.commit()

    assert [thing.kind for thing in books.made(site)] == [tables.KIND, "trigger"]
    assert books.made(of_another_migration(site)) == []


def test_a_note_is_no_note_before_it_is_committed(site: Site) -> None:
    with closing(books.durably(site)) as connection:
        made.record(connection, site, MadeObject(kind="trigger", name="t"))

    assert books.made(site) == [TABLES]


def test_without_its_table_there_are_no_notes_to_forget(here: World) -> None:
    with closing(connect(here.site)) as connection:
        assert not made.is_installed(connection)
        made.forget(connection, here.site, "trigger", "t")

    books.install(here.site)

    with closing(connect(here.site)) as connection:
        assert made.is_installed(connection)


def test_what_an_earlier_life_left_is_found(site: Site) -> None:
    assert found(site) == FoundSide(installed=True)
    with books.transaction(site) as here:
        row = SwitchRow(attempt=4, verdict=Verdict.ABORTED, opened=3, fenced=True)
        here.put_switch(row)
    for number in (4, 3):
        run(
            site,
            "insert into bowline_slot (migration, number_, place, orders)"
            f" values ('{site.migration}', {number}, '{{}}', 0)",
        )

    assert found(site) == FoundSide(
        installed=True, attempt=4, verdict=Verdict.ABORTED, opened=3, fenced=True, slots=[3, 4]
    )
    assert found(of_another_migration(site)) == FoundSide()
