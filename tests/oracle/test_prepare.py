"""Preparing an Oracle side and leaving it: all that is made is noted, and nothing of it stays that should not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import oracledb
import pytest

from bowline_operator.oracle_grants import ANY_TABLE, CAPTURE, DATABASE, END_SESSIONS, ROLE
from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.contract import NotPermitted, Side, TryAgain, Unsupported, Verdict
from bowline_worker.endpoints.oracle import books, catalog, fence, leave, slots, supplemental
from bowline_worker.endpoints.oracle.altering import Altering
from bowline_worker.endpoints.oracle.connection import connect
from bowline_worker.endpoints.oracle.disabling import disable
from bowline_worker.endpoints.oracle.prepare import cleanup, prepare_origin, prepare_receiver
from bowline_worker.endpoints.site import Site
from oracle.standin.engine.rights import User
from oracle.world import World, world

INSERT = "insert into item (id) values (1)"
REFUSED = "ORA-20999"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(World, tmp_path) as started:
        started.run(
            "alter database add supplemental log data",
            "create table item (id number(9) primary key, name varchar2(40))",
            "create table plain (what varchar2(40))",
            "alter table plain add supplemental log data (all) columns",
        )
        yield started


def ours(here: World) -> list[str]:
    """Whatever the migration's user has."""
    query = (
        "select object_type || ' ' || object_name from user_objects"
        " where object_type in ('TABLE', 'TRIGGER') order by 1"
    )
    with closing(connect(here.site)) as connection, connection.cursor() as cursor:
        return [row[0] for row in cursor.execute(query)]


def logged(here: World) -> set[str]:
    return {str(one.table.name) for one in catalog.tables(here.site) if one.logs_all_columns}


def begin_applying(site: Site) -> None:
    with books.transaction(site) as step:
        step.put_lanes(Side.TARGET, [LaneRow(lane=0, number=1, generation=1)])


def without_user(told: list[str]) -> list[str]:
    assert told[-1].startswith("source at 127.0.0.1:")
    assert "the user BOWLINE" in told[-1]
    return told[:-1]


def of_another_migration(site: Site) -> Site:
    return Site(site.config.model_copy(update={"migration": "default.other"}), site.side)


def test_an_origin_has_fence_logging_and_bookkeeping_and_its_application_works(here: World) -> None:
    for _ in range(2):
        prepare_origin(here.site)

    here.run(INSERT, "commit")
    assert logged(here) == {"shop.item", "shop.plain"}
    with closing(connect(here.site)) as connection:
        assert fence.unmade(here.site, connection) == []
    made = [(thing.kind, thing.name) for thing in books.made(here.site)]
    assert (supplemental.KIND, '"SHOP"."ITEM"') in made
    assert (supplemental.KIND, '"SHOP"."PLAIN"') not in made


def test_a_table_with_a_column_that_cant_be_carried_is_refused_before_anything_is_made(
    here: World,
) -> None:
    here.run("create table odd (id number(9) primary key, place long raw)")

    for prepare in (prepare_origin, lambda site: prepare_receiver(site, fenced=True)):
        with pytest.raises(Unsupported) as failure:
            prepare(here.site)

        assert "SHOP.ODD.PLACE has the type LONG RAW" in str(failure.value)
    assert ours(here) == []


@pytest.mark.parametrize(
    ("query", "reason", "hint"),
    [
        ("'NOARCHIVELOG' as log_mode, 'YES' as minimal", "NotArchiving", "archivelog"),
        (
            "'ARCHIVELOG' as log_mode, 'NO' as minimal",
            "NoSupplementalLogging",
            "alter database add supplemental log data",
        ),
    ],
)
def test_what_is_the_administrators_is_asked_for(
    here: World, monkeypatch: pytest.MonkeyPatch, query: str, reason: str, hint: str
) -> None:
    monkeypatch.setattr(supplemental, "DATABASE", f"select {query} from dual")

    with pytest.raises(NotPermitted) as failure:
        prepare_origin(here.site)

    assert failure.value.reason == reason
    assert hint in failure.value.hint


def test_a_receiver_is_fenced_before_any_attempt_and_says_so(here: World) -> None:
    prepare_receiver(here.site, fenced=True)

    with pytest.raises(oracledb.DatabaseError, match=REFUSED):
        here.run(INSERT)
    with books.transaction(here.site) as step:
        assert step.fence_gaps() == []
        row = step.switch()
    assert row.fenced
    assert row.fenced_at is not None


def test_a_receiver_that_an_attempt_has_touched_is_left_as_it_is(here: World) -> None:
    prepare_receiver(here.site, fenced=False)
    with books.transaction(here.site) as step:
        step.put_switch(replace(step.switch(), attempt=1, verdict=Verdict.ABORTED))

    prepare_receiver(here.site, fenced=True)

    here.run(INSERT, "commit")


def test_preparing_again_leaves_a_raised_fence_raised(here: World) -> None:
    prepare_origin(here.site)  # its DDL: none comes behind the fence
    prepare_receiver(here.site, fenced=True)

    prepare_origin(here.site)
    prepare_receiver(here.site, fenced=False)

    with books.transaction(here.site) as step:
        assert step.fence_gaps() == []


def test_leaving_takes_everything_away_and_can_be_run_again(here: World) -> None:
    prepare_origin(here.site)
    prepare_receiver(here.site, fenced=True)
    slots.arm(here.site, StreamId(Side.SOURCE, 0))
    begin_applying(here.site)
    disable(here.site)

    for _ in range(2):
        assert without_user(cleanup(here.site, keep_fence=False)) == []

        assert ours(here) == []
        assert logged(here) == {"shop.plain"}
    here.run(INSERT, "commit")


def test_leaving_where_nothing_was_made_tells_of_the_user_alone(here: World) -> None:
    assert without_user(cleanup(here.site, keep_fence=False)) == []
    assert without_user(cleanup(here.site, keep_fence=True)) == []
    assert ours(here) == []


def test_leaving_puts_back_what_was_disabled_for_the_stream(here: World) -> None:
    here.run(
        "create table line (id number(9) generated always as identity primary key,"
        " item number(9) constraint line_item references item (id))",
        "create trigger worker before insert on line begin insert into plain (what) values ('x'); end;",
    )
    prepare_origin(here.site)
    begin_applying(here.site)
    disable(here.site)
    here.run("insert into line (id, item) values (5, 5)", "commit")

    (told,) = without_user(cleanup(here.site, keep_fence=False))

    assert "foreign key LINE_ITEM of SHOP.LINE is NOVALIDATE: 1 rows have no parent" in told
    assert ours(here) == []
    with here.app.cursor() as cursor:
        assert cursor.execute("select count(*) from plain").fetchone() == (0,)
        cursor.execute(INSERT)
        cursor.execute("insert into line (item) values (1)")
        assert cursor.execute("select count(*) from plain").fetchone() == (1,)


def test_what_can_not_be_validated_is_told_by_whoever_ends_it(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.run(
        "create table line (id number(9), item number(9) constraint line_item references item)"
    )
    prepare_origin(here.site)
    begin_applying(here.site)
    disable(here.site)
    here.run("insert into line values (5, 5)", "commit")

    def busy(site: Site) -> None:
        raise TryAgain("another migration is at work", reason="BookkeepingLocked")

    with monkeypatch.context() as locked:
        locked.setattr(leave, "_remove_tables", busy)
        with pytest.raises(TryAgain):
            cleanup(here.site, keep_fence=False)
    (told,) = without_user(cleanup(here.site, keep_fence=False))

    assert "foreign key LINE_ITEM of SHOP.LINE is NOVALIDATE" in told
    assert ours(here) == []


def test_a_fence_that_is_kept_refuses_writes_and_says_how_it_is_removed(here: World) -> None:
    prepare_receiver(here.site, fenced=True)

    for _ in range(2):
        (told,) = without_user(cleanup(here.site, keep_fence=True))

    assert "the fence: 2 of 2 tables refuse writes" in told
    assert ours(here)[:3] == [
        "TABLE BOWLINE_GATE",
        "TABLE BOWLINE_MADE",
        "TABLE BOWLINE_SWITCH",
    ]
    assert [name[:22] for name in ours(here)[3:]] == ["TRIGGER BOWLINE_FENCE_"] * 2
    with pytest.raises(oracledb.DatabaseError, match=REFUSED):
        here.run(INSERT)
    statement = told.split("`")[1].split(";")[0]
    with closing(connect(here.site)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        connection.commit()
    here.run(INSERT, "commit")


def test_a_fence_that_was_kept_can_be_removed_later(here: World) -> None:
    prepare_receiver(here.site, fenced=True)
    cleanup(here.site, keep_fence=True)

    assert without_user(cleanup(here.site, keep_fence=False)) == []

    assert ours(here) == []
    here.run(INSERT, "commit")


def test_a_new_migration_takes_the_tables_whose_fence_was_kept(here: World) -> None:
    prepare_receiver(here.site, fenced=True)
    cleanup(here.site, keep_fence=True)
    other = of_another_migration(here.site)

    prepare_origin(other)

    here.run(INSERT, "commit")


def test_the_same_migration_begins_anew_where_its_fence_was_kept(here: World) -> None:
    prepare_receiver(here.site, fenced=True)
    with books.transaction(here.site) as step:
        step.put_switch(replace(step.switch(), attempt=3, opened=3, aborted=frozenset({1, 2})))
    cleanup(here.site, keep_fence=True)

    prepare_receiver(here.site, fenced=True)

    with books.transaction(here.site) as step:
        row = step.switch()
        assert step.fence_gaps() == []
    assert (row.attempt, row.opened, row.aborted, row.fenced) == (0, 0, frozenset(), True)


def test_the_bookkeeping_of_another_migration_stays(here: World) -> None:
    prepare_origin(here.site)
    other = of_another_migration(here.site)
    books.install(other)

    assert without_user(cleanup(here.site, keep_fence=False)) == []

    with books.transaction(other) as step:
        assert step.switch().attempt == 0
    assert books.made(here.site) == []


class Killed(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("keep_fence", [False, True])
def test_leaving_goes_on_wherever_it_was_killed(
    here: World, monkeypatch: pytest.MonkeyPatch, keep_fence: bool
) -> None:
    prepare_receiver(here.site, fenced=True)
    prepare_origin(here.site)
    begin_applying(here.site)
    disable(here.site)
    works, left = Altering.run, 0

    def dying(ddl: Altering, *arguments: object, **named: object) -> bool:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return works(ddl, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Altering, "run", dying)
    told: list[str] | None = None
    lives = 0
    while told is None:
        lives += 1
        left = 1  # each life does one statement
        try:
            told = cleanup(here.site, keep_fence=keep_fence)
        except Killed:
            continue

    assert lives > 5
    if keep_fence:
        assert "2 of 2 tables refuse writes" in told[0]
    else:
        assert ours(here) == []
    assert logged(here) == {"shop.plain"}


def test_the_tables_that_go_are_those_that_are_made() -> None:
    assert set(leave.TABLES) == set(books.TABLES)


def test_all_of_it_is_done_with_the_privileges_that_are_asked_for(here: World) -> None:
    asked = {*CAPTURE, *DATABASE, *ANY_TABLE, ROLE, END_SESSIONS}
    here.stand_in.database.users["BOWLINE"] = User("BOWLINE", asked)
    here.run(
        "create table line (id number(9) generated always as identity primary key,"
        " item number(9) constraint line_item references item (id))",
        "create trigger worker before insert on line begin insert into plain (what) values ('x'); end;",
    )

    prepare_origin(here.site)
    prepare_receiver(here.site, fenced=True)
    begin_applying(here.site)
    disable(here.site)
    with books.transaction(here.site) as step:
        assert step.fence_gaps() == []
        step.restore()
        step.lower_fence()
    assert without_user(cleanup(here.site, keep_fence=False)) == []

    assert ours(here) == []
    here.run(INSERT, "insert into line (item) values (1)", "commit")
