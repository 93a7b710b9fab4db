"""The fence on Oracle: who writes is refused, once it is decided and not before; who wrote before is waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import oracledb
import pytest

from bowline_operator.oracle_grants import CAPTURE, DATABASE, END_SESSIONS, ON_TABLES, ROLE
from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import NotPermitted, TryAgain, Unsafe, Unsupported
from bowline_worker.endpoints.oracle import books, fence, made, sessions, triggers, writers
from bowline_worker.endpoints.oracle.altering import Altering
from bowline_worker.endpoints.oracle.connection import connect
from bowline_worker.endpoints.oracle.triggers import standing
from bowline_worker.endpoints.site import Site
from oracle import server
from oracle.standin.engine.rights import DBA_PRIVILEGES, User
from oracle.world import APP, World, world

ODD = 'ODD "x" o\'clock'.replace('"', "")
INSERT = "insert into item (id) values (1)"
INSERT_ODD = f"""insert into "{ODD}" ("Id") values (1)"""
REFUSED = "ORA-20999"


@dataclass
class Fenced(World):
    """Two tables, one of an odd name, with their triggers made."""

    @contextmanager
    def application(self) -> Iterator[oracledb.Connection]:
        """One more session of the application."""
        with closing(oracledb.connect(user=APP[0], password=APP[1], dsn=self.dsn)) as opened:
            yield opened

    def raise_fence(self, grace: float = 5.0) -> None:
        with books.transaction(self.site) as here:
            here.raise_fence(grace)

    def raise_and_take_back(self, before: Callable[[], None] = lambda: None) -> None:
        with suppress(ZeroDivisionError), books.transaction(self.site) as here:
            here.raise_fence(5.0)
            before()
            raise ZeroDivisionError

    def a_second_later(self) -> None:
        """Let the server's clock be in another second than what was done until now."""
        if server.real():
            wait_until(
                self.site, f"select case when sysdate > {self._now()} then 1 else 0 end from dual"
            )
            return
        database = self.stand_in.database
        was = database.clock
        database.clock = lambda: was() + timedelta(seconds=1)

    def _now(self) -> str:
        with self.application() as other, other.cursor() as cursor:
            cursor.execute("select to_char(sysdate, 'YYYYMMDDHH24MISS') from dual")
            ((now,),) = cursor.fetchall()
        return f"to_date('{now}', 'YYYYMMDDHH24MISS')"

    def gaps(self) -> list[str]:
        with books.transaction(self.site) as here:
            return here.fence_gaps()

    def enabled(self) -> list[bool]:
        with closing(connect(self.site)) as connection:
            return [one.enabled for one in standing(connection)]

    def ids(self) -> list[int]:
        with self.application() as other, other.cursor() as cursor:
            cursor.execute("select id from item order by id")
            return [int(row[0]) for row in cursor]


@pytest.fixture(params=[True, False], ids=["triggers wait", "triggers don't wait"])
def here(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fenced]:
    """Whether DDL of a trigger waits for the table's open writers differs between versions."""
    with world(Fenced, tmp_path) as started:
        if not request.param:  # a real server has its own way
            started.stand_in.database.triggers_wait = False
        started.run(
            "create table item (id number(9) primary key, name varchar2(40))",
            f"""create table "{ODD}" ("Id" number(9) primary key)""",
        )
        books.install(started.site)
        fence.make(started.site)
        yield started


def run(connection: oracledb.Connection, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def run_as_bowline(site: Site, *statements: str) -> None:
    with closing(connect(site)) as connection:
        run(connection, *statements)
        connection.commit()


def of_another_migration(site: Site) -> Site:
    return Site(site.config.model_copy(update={"migration": "default.other"}), site.side)


def test_a_fence_that_is_made_refuses_nobody(here: Fenced) -> None:
    here.run(INSERT, INSERT_ODD, "commit")

    assert here.enabled() == [False, False]
    assert here.gaps() == [
        "the fence of migration default.shop is not raised",
        f"shop.{ODD} has its fence trigger disabled",
        "shop.item has its fence trigger disabled",
    ]


def test_every_trigger_is_noted_before_it_is_there(here: Fenced) -> None:
    with closing(connect(here.site)) as connection:
        noted = [thing for thing in made.read(connection, here.site) if thing.kind == fence.KIND]

        assert sorted(noted, key=lambda thing: thing.name) == [
            MadeObject(kind=fence.KIND, name=name)
            for name in sorted(one.quoted for one in standing(connection))
        ]


def test_a_raised_fence_refuses_every_write_and_says_where_to_go(here: Fenced) -> None:
    here.run(INSERT, INSERT_ODD, "commit")

    here.raise_fence()

    assert here.gaps() == []
    for statement in (
        "insert into item (id) values (2)",
        "update item set name = 'x'",
        "delete from item",
        "merge into item i using (select 1 id from dual) d on (i.id = d.id)"
        " when matched then update set name = 'x'",
        f'delete from "{ODD}"',
    ):
        with pytest.raises(oracledb.DatabaseError, match=REFUSED) as refused:
            here.run(statement)
        assert "migration default.shop has fenced this database" in str(refused.value)
        assert f":{here.site.config.source.port}/shop: connect there" in str(refused.value)
    assert here.ids() == [1]


def test_the_migrations_own_user_passes_a_raised_fence(here: Fenced) -> None:
    here.raise_fence()

    run_as_bowline(here.site, "insert into shop.item (id) values (7)")

    assert here.ids() == [7]


def test_a_raise_that_is_rolled_back_leaves_the_application_writing(here: Fenced) -> None:
    here.raise_and_take_back()

    here.run(INSERT, "commit")

    assert here.ids() == [1]
    assert here.gaps() == ["the fence of migration default.shop is not raised"]


def test_preparing_again_disables_what_a_raise_that_was_taken_back_left_enabled(
    here: Fenced,
) -> None:
    here.raise_and_take_back()

    fence.disable_lowered(here.site)

    assert here.enabled() == [False, False]


def test_a_lowered_fence_lets_writers_pass_before_its_triggers_are_disabled(here: Fenced) -> None:
    here.raise_fence()
    with closing(books.durably(here.site)) as connection:
        then = fence.lower_fence(here.site, connection)
        with pytest.raises(oracledb.DatabaseError, match=REFUSED):
            here.run(INSERT)
        connection.commit()

        assert here.enabled() == [True, True]
        here.run(INSERT, "commit")
        then()

    assert here.enabled() == [False, False]
    assert here.ids() == [1]


def test_triggers_are_not_disabled_when_the_fence_was_raised_again_meanwhile(here: Fenced) -> None:
    here.raise_fence()
    with closing(books.durably(here.site)) as connection:
        then = fence.lower_fence(here.site, connection)
        connection.commit()
    here.raise_fence()

    then()

    assert here.gaps() == []


def test_an_open_writer_is_waited_for(here: Fenced) -> None:
    here.run(INSERT)
    began = threading.Event()

    def finish() -> None:
        began.wait()
        here.app.commit()

    thread = threading.Thread(target=finish)
    thread.start()
    with books.transaction(here.site) as step:
        began.set()
        step.raise_fence(60.0)
    thread.join()

    assert here.ids() == [1]
    assert here.gaps() == []


def test_a_writer_that_stays_longer_than_the_grace_is_ended_and_its_rows_are_gone(
    here: Fenced,
) -> None:
    here.run(INSERT)

    here.raise_fence(0.1)

    with pytest.raises(oracledb.DatabaseError, match=r"ORA-00028|DPY-4011"):
        here.app.commit()
    assert here.ids() == []
    assert here.gaps() == []


def test_a_session_that_wrote_behind_a_lowered_fence_is_waited_for_when_it_is_raised(
    here: Fenced,
) -> None:
    """Its triggers were enabled already: then it is the gate that it holds."""
    here.raise_and_take_back()
    here.run(INSERT)

    here.raise_fence(0.1)

    assert here.ids() == []
    assert here.gaps() == []


def test_a_serializable_transaction_that_began_before_the_fence_is_refused_behind_it(
    here: Fenced,
) -> None:
    """It would see the flag as it was, if the flag were not read in a transaction of its own."""
    with here.application() as other:
        run(other, "set transaction isolation level serializable", "select count(*) from item")
        here.raise_fence()

        with pytest.raises(oracledb.DatabaseError, match=REFUSED):
            run(other, INSERT)
        other.rollback()
    assert here.ids() == []


def test_who_writes_while_the_fence_is_raised_waits_and_is_refused(here: Fenced) -> None:
    errors: list[str] = []

    def write(other: oracledb.Connection) -> None:
        try:
            run(other, INSERT)
        except oracledb.DatabaseError as error:
            errors.append(str(error))

    with here.application() as other:
        thread = threading.Thread(target=write, args=(other,))
        with books.transaction(here.site) as step:
            step.raise_fence(5.0)
            thread.start()
            wait_until_waiting(here.site)
        thread.join()
    assert [error[:9] for error in errors] == [REFUSED]
    assert here.ids() == []


def test_who_writes_while_a_raise_is_taken_back_waits_and_passes(here: Fenced) -> None:
    with here.application() as other:
        thread = threading.Thread(target=lambda: run(other, INSERT, "commit"))

        def begin() -> None:
            thread.start()
            wait_until_waiting(here.site)

        here.raise_and_take_back(begin)
        thread.join()
    assert here.ids() == [1]


def wait_until_waiting(site: Site) -> None:
    """Wait until a session of the application waits for another one."""
    wait_until(
        site,
        "select count(*) from gv$session where username = 'SHOP' and blocking_session is not null",
    )


def wait_until(site: Site, counted: str) -> None:
    with closing(connect(site)) as connection, connection.cursor() as cursor:
        while not next(iter(cursor.execute(counted)))[0]:
            pass


def test_a_session_that_holds_one_table_and_waits_for_the_fence_is_ended_at_once(
    here: Fenced,
) -> None:
    """It waits for us and we for it: the grace, here ten minutes, would change nothing."""
    with closing(connect(here.site)) as connection:
        (item,) = [one for one in standing(connection) if one.table_name == "ITEM"]
    run_as_bowline(here.site, f"alter trigger {item.quoted} enable")
    here.run(INSERT_ODD)
    errors: list[str] = []

    def write_more() -> None:
        wait_until(here.site, "select count(*) from gv$locked_object where locked_mode = 6")
        try:
            run(here.app, INSERT)
        except oracledb.DatabaseError as error:
            errors.append(str(error))

    thread = threading.Thread(target=write_more)
    thread.start()
    here.raise_fence(600.0)
    thread.join()

    assert len(errors) == 1
    assert here.gaps() == []
    with here.application() as other, other.cursor() as cursor:
        assert cursor.execute(f'select count(*) from "{ODD}"').fetchone() == (0,)


def trigger_names(here: Fenced) -> list[str]:
    with closing(connect(here.site)) as connection:
        return [one.quoted for one in standing(connection)]


def test_a_table_that_came_later_is_a_gap_and_the_next_raise_closes_it(here: Fenced) -> None:
    here.raise_fence()
    here.run("create table late (id number(9) primary key)")

    assert here.gaps() == ["shop.late has no fence trigger"]

    here.raise_fence()

    assert here.gaps() == []
    with pytest.raises(oracledb.DatabaseError, match=REFUSED):
        here.run("insert into late (id) values (1)")


def test_a_trigger_that_was_made_anew_behind_a_raised_fence_is_raised(here: Fenced) -> None:
    here.raise_fence()
    run_as_bowline(here.site, f"drop trigger {trigger_names(here)[0]}")

    fence.make(here.site)

    assert here.enabled() == [True, True]
    with pytest.raises(oracledb.DatabaseError, match=REFUSED):
        here.run(INSERT)


@pytest.mark.parametrize(
    "statement", ["alter table item {how} all triggers", "alter trigger {name} {how}"]
)
def test_rows_written_while_the_triggers_were_off_for_a_moment_are_a_gap(
    here: Fenced, statement: str
) -> None:
    """All is as it was afterwards, and the winner does not have the row."""
    here.raise_fence()
    here.a_second_later()
    with closing(connect(here.site)) as connection:
        name = next(one.quoted for one in standing(connection) if one.table_name == "ITEM")
    here.run(
        statement.format(how="disable", name=name),
        INSERT,
        "commit",
        statement.format(how="enable", name=name),
    )

    assert here.ids() == [1]
    assert here.gaps() == ["shop.item, which DDL has altered behind the fence"]


def test_a_table_that_nobody_granted_is_a_gap_and_not_left_behind(here: Fenced) -> None:
    tables = {(verb, "SHOP", name) for verb in ON_TABLES for name in ("ITEM", ODD)}
    asked = {*CAPTURE, *DATABASE, ROLE, END_SESSIONS}
    here.stand_in.database.users["BOWLINE"] = User("BOWLINE", asked, tables)
    here.raise_fence()
    assert here.gaps() == []

    here.run(
        "create table late (id number(9) primary key)", "insert into late values (1)", "commit"
    )

    assert here.gaps() == ["shop.late, which the migration's user does not see"]


@pytest.mark.parametrize(
    ("statement", "gap"),
    [
        ("drop trigger {name}", "shop.item has no fence trigger"),
        ("alter trigger {name} disable", "shop.item has its fence trigger disabled"),
        (
            "create or replace trigger {name} before insert or update or delete on shop.item begin null; end;",
            "shop.item has no fence trigger",
        ),
        (
            "create or replace trigger {name} before insert or delete on shop.item\n{body}",
            "shop.item has no fence trigger",
        ),
        (
            "create or replace trigger {name} after insert or update or delete on shop.item\n{body}",
            "shop.item has no fence trigger",
        ),
    ],
)
def test_gaps_are_read_from_the_dictionary(here: Fenced, statement: str, gap: str) -> None:
    here.raise_fence()
    with closing(connect(here.site)) as connection:
        one = next(each for each in standing(connection) if each.table_name == "ITEM")
    run_as_bowline(here.site, statement.replace("{name}", one.quoted).replace("{body}", one.body))

    assert here.gaps() == [gap]

    fence.make(here.site)
    here.raise_fence()

    assert here.gaps() == []


def test_a_flag_that_is_gone_is_a_fence_that_is_up(here: Fenced) -> None:
    here.raise_fence()
    run_as_bowline(here.site, "delete from bowline_switch")

    with pytest.raises(oracledb.DatabaseError, match=REFUSED):
        here.run(INSERT)


def test_a_fence_without_bookkeeping_is_not_raised(here: Fenced) -> None:
    run_as_bowline(here.site, "delete from bowline_switch")

    with pytest.raises(Unsafe) as failure:
        here.raise_fence()

    assert failure.value.reason == "BookkeepingMissing"


def test_tables_of_another_migration_are_refused_while_it_is_under_way(here: Fenced) -> None:
    other = of_another_migration(here.site)
    books.install(other)

    with pytest.raises(Unsupported) as failure:
        fence.make(other)

    assert failure.value.reason == "TableTaken"
    assert f"shop.{ODD} on the source belongs to migration default.shop" in str(failure.value)


def test_the_fence_of_a_completed_migration_is_whoevers_comes(here: Fenced) -> None:
    here.raise_fence()
    with Altering(here.site) as ddl:
        ddl.note(MadeObject(kind=fence.LEFT, name=fence.LEFT))
    other = of_another_migration(here.site)
    books.install(other)

    fence.make(other)

    here.run(INSERT, "commit")
    assert here.ids() == [1]
    with closing(connect(here.site)) as connection:
        assert {one.migration for one in standing(connection)} == {"default.other"}
        assert fence.KIND not in {thing.kind for thing in made.read(connection, here.site)}


def test_what_is_dropped_is_forgotten(here: Fenced) -> None:
    fence.drop(here.site)
    fence.drop(here.site)

    with closing(connect(here.site)) as connection:
        assert standing(connection) == []
        assert fence.KIND not in {thing.kind for thing in made.read(connection, here.site)}


def test_a_trigger_whose_text_was_replaced_does_not_stay_behind(here: Fenced) -> None:
    name = trigger_names(here)[0]
    body = "before insert on shop.item begin raise_application_error(-20001, 'no'); end;"
    run_as_bowline(here.site, f"create or replace trigger {name} {body}")

    fence.drop(here.site)

    assert trigger_names(here) == []
    here.run(INSERT, "commit")
    assert here.ids() == [1]


def test_triggers_are_left_alone_by_who_was_ended_meanwhile(here: Fenced) -> None:
    """A process that stood still, with its lock lost: the fence that was raised since must stay."""
    here.raise_fence()
    with closing(books.durably(here.site)) as held, Altering(here.site, under=held) as ddl:
        with closing(connect(here.site)) as other:
            sessions.end_backends(other, [sessions.own_backend(held)])

        with pytest.raises(TryAgain):
            ddl.run(f"alter trigger {trigger_names(here)[0]} disable", "could not disable")

    assert here.enabled() == [True, True]


def test_a_distributed_transaction_in_doubt_makes_a_fence_impossible(
    here: Fenced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "IN_DOUBT", "select 1 as found from dual")

    with pytest.raises(Unsupported) as failure:
        here.raise_fence()

    assert failure.value.reason == "FenceImpossible"


def test_a_writer_that_does_not_end_blocks_the_fence_and_nothing_is_locked_afterwards(
    here: Fenced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "ENDING_SECONDS", 0.5)

    def stays(*_: Any) -> None:
        """The server takes its time to roll back."""

    monkeypatch.setattr(sessions, "kill", stays)
    here.run(INSERT)

    with pytest.raises(TryAgain) as failure:
        here.raise_fence(0.1)

    assert failure.value.reason in ("FenceBlocked", "TableBusy")
    here.app.commit()
    here.run("insert into item (id) values (2)", "commit")
    assert here.ids() == [1, 2]


def test_a_raise_that_may_not_end_sessions_says_so_and_leaves_the_application_writing(
    here: Fenced,
) -> None:
    rights = set(DBA_PRIVILEGES) - {"ALTER SYSTEM"}
    here.stand_in.database.users["BOWLINE"] = User("BOWLINE", rights)
    here.run(INSERT)

    with pytest.raises(NotPermitted, match="ALTER SYSTEM"):
        here.raise_fence(0.1)

    here.run("insert into item (id) values (2)", "commit")
    assert here.ids() == [1, 2]


def test_a_trigger_that_does_not_compile_is_refused_and_never_enabled(
    here: Fenced, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enabled it would refuse every write with ORA-04098, whatever the flag says."""
    here.run("create table late (id number(9) primary key)")
    monkeypatch.setattr(
        triggers, "INVALID", triggers.INVALID.replace("o.status <> 'VALID' and", "")
    )

    with pytest.raises(Unsupported) as failure:
        here.raise_fence()

    assert failure.value.reason == "FenceImpossible"
    here.run("insert into late (id) values (1)", INSERT, "commit")
    assert here.enabled() == [False] * len(here.enabled())


def test_busy_writers_lose_nothing_that_was_committed_and_commit_nothing_behind_the_fence(
    here: Fenced,
) -> None:
    """What the origin's stream has until the fence is all that it will ever have."""
    committed: list[list[int]] = [[], [], [], []]
    started = threading.Barrier(len(committed) + 1)

    def write(place: int) -> None:
        with here.application() as other, suppress(oracledb.DatabaseError):
            for number in range(place, 4_000_000, len(committed)):
                run(other, f"insert into item (id) values ({number})")
                other.commit()
                committed[place].append(number)
                if len(committed[place]) == 3:
                    started.wait()

    threads = [threading.Thread(target=write, args=(place,)) for place in range(len(committed))]
    for thread in threads:
        thread.start()
    started.wait()
    here.raise_fence(1.0)
    behind = here.ids()
    for thread in threads:
        thread.join()

    assert here.ids() == behind
    assert {number for each in committed for number in each} <= set(behind)
