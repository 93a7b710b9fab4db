"""The fence on a real server: no way of writing passes it while it is raised, and all do when it is lowered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from demo.servers import Server
from psycopg import errors

from bowline_worker.bookkeeping import SwitchRow
from bowline_worker.contract import Side, TryAgain, Unsupported
from bowline_worker.endpoints.postgres import books, fence, locks
from bowline_worker.endpoints.site import Site
from servers import APPLICATION, MIGRATOR, Database, MakePair, Pair, prepare_roles

Connection = psycopg.Connection[tuple[Any, ...]]

SHOP = (
    "create schema shop",
    "create table shop.customer (id int primary key, name text)",
    "create table shop.address (customer int references shop.customer on delete cascade, street text)",
    "create table shop.orders (id int, at int, primary key (id, at)) partition by range (at)",
    "create table shop.orders_1 partition of shop.orders for values from (0) to (10)",
    "create table shop.orders_2 partition of shop.orders for values from (10) to (20)"
    " partition by range (at)",
    "create table shop.orders_2a partition of shop.orders_2 for values from (10) to (15)",
    "create table shop.bag (what text)",
    "create view shop.names as select id, name from shop.customer",
    "create function shop.add() returns void language sql as"
    " $$insert into shop.customer values (9, 'f')$$",
    "create function shop.as_owner() returns void language sql security definer as"
    " $$insert into shop.customer values (8, 'f')$$",
    "insert into shop.customer values (1, 'a'), (2, 'b')",
    "insert into shop.address values (1, 's')",
    "insert into shop.orders values (1, 1), (2, 11)",
    f"grant usage on schema shop to {APPLICATION}",
    f"grant all on all tables in schema shop to {APPLICATION}",
)
WRITES = {
    "insert": "insert into shop.customer values (3, 'c')",
    "no rows": "insert into shop.customer select 1, 'x' where false",
    "upsert": "insert into shop.customer values (1, 'c') on conflict (id) do update set name = 'c'",
    "update": "update shop.customer set name = 'x' where id = 1",
    "delete": "delete from shop.customer where id = 2",
    "truncate": "truncate shop.bag",
    "truncate a parent": "truncate shop.orders",
    "truncate cascade": "truncate shop.customer cascade",
    "a parent": "insert into shop.orders values (3, 3)",
    "a lower parent": "insert into shop.orders_2 values (3, 12)",
    "a partition": "insert into shop.orders_1 values (4, 4)",
    "a lower partition": "update shop.orders_2a set id = 7",
    "a row that changes its partition": "update shop.orders set at = 12 where id = 1",
    "a table without a key": "insert into shop.bag values ('x')",
    "a cascade": "delete from shop.customer where id = 1",
    "a function": "select shop.add()",
    "its owner's function": "select shop.as_owner()",
    "a view": "update shop.names set name = 'v'",
    "a common table expression": "with w as (delete from shop.bag returning *) select * from w",
    "a copy": "copy shop.bag from stdin",
    "a merge": "merge into shop.customer c using (values (5, 'm')) v (id, name) on c.id = v.id"
    " when matched then update set name = v.name"
    " when not matched then insert values (v.id, v.name)",
}


@pytest.fixture
def site(pair: Pair) -> Site:
    pair.source.run(*SHOP)
    site = pair.site(Side.SOURCE, include=["shop.*"])
    books.install(site)
    return site


@pytest.fixture
def app(site: Site, pair: Pair) -> Iterator[Connection]:
    """An ordinary user's session."""
    with pair.source.connect(APPLICATION, pair.source.server.password) as connection:
        yield connection


@pytest.fixture(scope="module")
def preparing_server() -> Iterator[Server]:
    """A server that allows prepared transactions: the default is that it doesn't."""
    with Server(settings={"max_prepared_transactions": "5"}) as server:
        prepare_roles(server)
        yield server


@pytest.fixture
def prepared(preparing_server: Server, make_pair: MakePair) -> Iterator[Site]:
    """A side with a prepared transaction that wrote to a selected table."""
    with preparing_server.database() as name:
        database = Database(preparing_server, name)
        pair = make_pair(database, database)
        database.run(*SHOP)
        site = pair.site(Side.SOURCE, include=["shop.*"])
        books.install(site)
        database.run(
            "begin; insert into shop.bag values ('x'); prepare transaction 'late'",
        )
        yield site
        database.run("insert into shop.bag values ('y')", "rollback prepared 'late'")


def raise_fence(site: Site, grace: float = 5.0) -> None:
    with books.transaction(site) as here:
        here.raise_fence(grace)


def lower_fence(site: Site) -> None:
    with books.transaction(site) as here:
        here.lower_fence()


def gaps(site: Site) -> list[str]:
    with books.transaction(site) as here:
        return here.fence_gaps()


def write(connection: Connection, statement: str) -> None:
    if statement.startswith("copy"):
        with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.write_row(("row",))
    else:
        connection.execute(statement.encode())


@pytest.mark.parametrize("way", WRITES)
def test_no_way_of_writing_passes_a_raised_fence(
    site: Site, app: Connection, pair: Pair, way: str
) -> None:
    if way == "a merge" and app.info.server_version < 150000:
        pytest.skip("MERGE came with PostgreSQL 15")
    before = contents(pair.source)
    raise_fence(site)

    with pytest.raises(errors.ReadOnlySqlTransaction) as caught:
        write(app, WRITES[way])

    assert contents(pair.source) == before
    assert f"migration {site.migration} has fenced this database" in str(caught.value)
    there = f"127.0.0.1:{pair.target.server.port}/{pair.target.name}"
    assert there in (caught.value.diag.message_hint or "")

    lower_fence(site)
    write(app, WRITES[way])


def contents(database: Database) -> list[list[tuple[Any, ...]]]:
    tables = ("customer", "address", "orders", "bag")
    return [database.rows(f"select * from shop.{table} order by 1") for table in tables]


def test_a_superuser_in_replica_role_meets_the_fence(site: Site, pair: Pair) -> None:
    raise_fence(site)

    with pair.source.connect() as connection:
        connection.execute("set session_replication_role = replica")
        for way in ("insert", "truncate", "a partition"):
            with pytest.raises(errors.ReadOnlySqlTransaction):
                write(connection, WRITES[way])


def test_bowline_itself_passes_in_any_role(site: Site, pair: Pair) -> None:
    raise_fence(site)

    with pair.source.connect(MIGRATOR, pair.source.server.password) as connection:
        connection.execute("set session_replication_role = replica")
        write(connection, WRITES["insert"])
        connection.execute("set session_replication_role = origin")
        write(connection, WRITES["truncate"])


def test_reading_passes(site: Site, app: Connection) -> None:
    raise_fence(site)

    assert app.execute("select count(*) from shop.customer").fetchone() == (2,)


def test_operators_of_a_users_own_do_not_open_the_fence(site: Site, pair: Pair) -> None:
    """The trigger's comparison must not be looked up in the writer's search_path."""
    raise_fence(site)
    pair.source.run(
        "create schema evil",
        "create function evil.yes(text, text) returns bool language sql as 'select true'",
        "create operator evil.= (function = evil.yes, leftarg = text, rightarg = text)",
        f"grant usage on schema evil to {APPLICATION}",
    )

    with pair.source.connect(APPLICATION, pair.source.server.password) as app:
        app.execute("set search_path = evil, pg_catalog")
        with pytest.raises(errors.ReadOnlySqlTransaction):
            write(app, WRITES["insert"])


def test_the_fence_falls_with_the_transaction_that_did_not_commit(
    site: Site, app: Connection
) -> None:
    def fail() -> None:
        with books.transaction(site) as here:
            here.raise_fence(1)
            here.put_switch(SwitchRow(fenced=True))
            raise LookupError

    with pytest.raises(LookupError):
        fail()

    write(app, WRITES["insert"])


def test_an_open_writer_is_waited_for(site: Site, app: Connection, pair: Pair) -> None:
    writer = threading.Event()

    def end_when_waited_for() -> None:
        wait_for(pair, "wait_event_type = 'Lock' and query like 'lock table%'")
        app.execute("commit")
        writer.set()

    app.execute("begin")
    app.execute("insert into shop.customer values (3, 'c')")
    thread = threading.Thread(target=end_when_waited_for)
    thread.start()
    raise_fence(site, grace=30)
    thread.join()

    assert writer.is_set()
    assert pair.source.value("select count(*) from shop.customer") == 3


def test_a_writer_that_stays_longer_than_the_grace_is_ended(
    site: Site, app: Connection, pair: Pair
) -> None:
    app.execute("begin")
    app.execute("insert into shop.customer values (3, 'c')")

    started = time.monotonic()
    raise_fence(site, grace=0.3)

    assert 0.3 < time.monotonic() - started < 10
    with pytest.raises(psycopg.OperationalError):
        app.execute("commit")
    assert pair.source.value("select count(*) from shop.customer") == 2
    assert gaps(site) == []


def test_a_transaction_that_began_before_the_fence_can_not_write_after_it(
    site: Site, app: Connection
) -> None:
    app.execute("prepare later as insert into shop.bag values ('x')")
    app.execute("begin isolation level repeatable read")
    app.execute("select * from shop.customer for update")

    raise_fence(site, grace=0)

    with pytest.raises(errors.ReadOnlySqlTransaction):
        app.execute("execute later")


def test_a_writer_that_waits_for_a_locked_table_does_not_wait_for_ever(
    site: Site, app: Connection, pair: Pair
) -> None:
    """It holds what we want next, and wants what we have: nobody should need the deadlock detector."""
    outcome: list[str | None] = []

    def write_the_other() -> None:
        wait_for(pair, "wait_event_type = 'Lock' and query like 'lock table%'")
        try:
            app.execute("insert into shop.address values (2, 'x')")
        except psycopg.Error as error:
            outcome.append(error.sqlstate)
            app.execute("rollback")

    pair.source.run(f"alter role {MIGRATOR} set deadlock_timeout = '1min'")
    app.execute("begin")
    app.execute("insert into shop.customer values (3, 'c')")
    thread = threading.Thread(target=write_the_other)
    thread.start()
    try:
        started = time.monotonic()
        raise_fence(site, grace=60)
        thread.join()
    finally:
        pair.source.run(f"alter role {MIGRATOR} reset deadlock_timeout")

    assert time.monotonic() - started < 10
    assert outcome == [errors.QueryCanceled.sqlstate]
    assert gaps(site) == []


def test_prepared_transactions_are_refused(prepared: Site) -> None:
    with pytest.raises(Unsupported, match="1 prepared transactions") as caught:
        raise_fence(prepared)

    assert caught.value.reason == "FenceImpossible"


def test_a_fence_that_can_not_end_a_writer_leaves_the_tables_open(
    prepared: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that was prepared since we looked: the fixture writes again afterwards."""
    monkeypatch.setattr(fence, "refuse_bypasses", lambda *_: None)

    with pytest.raises(Unsupported, match="prepared transaction") as caught:
        raise_fence(prepared, grace=10)

    assert caught.value.reason == "FenceImpossible"


def test_a_fence_that_waits_too_long_says_for_whom(
    site: Site, app: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "ENDING_SECONDS", -9.7)
    app.execute("begin")
    app.execute("insert into shop.bag values ('x')")

    with pytest.raises(TryAgain, match=str(app.info.backend_pid)) as caught:
        raise_fence(site, grace=10)

    assert caught.value.reason == "FenceBlocked"


def test_an_active_subscription_is_refused(site: Site, pair: Pair) -> None:
    pair.source.run(
        "create subscription copies connection 'dbname=none' publication p"
        " with (connect = false, slot_name = none)",
        "insert into pg_subscription_rel select oid, 'shop.bag'::regclass, 'r', null"
        " from pg_subscription where subname = 'copies'",
        "update pg_subscription set subenabled = true where subname = 'copies'",
    )
    try:
        with pytest.raises(Unsupported, match="copies") as caught:
            raise_fence(site)
        assert caught.value.reason == "FenceImpossible"
    finally:
        pair.source.run(
            "alter subscription copies disable",
            "drop subscription copies",
        )


def test_gaps_name_what_is_not_covered(site: Site, pair: Pair) -> None:
    raise_fence(site)
    assert gaps(site) == []

    pair.source.run(
        "create table shop.late (id int primary key)",
        "create table shop.orders_2b partition of shop.orders_2 for values from (15) to (20)",
        "alter table shop.bag disable trigger all",
        "drop trigger bowline_fence_truncate on shop.address",
        "alter table shop.customer enable trigger bowline_fence",
    )

    assert gaps(site) == [
        "shop.address has no fence trigger",
        "shop.bag has its fence trigger disabled",
        "shop.customer has its fence trigger disabled",
        "shop.late has no fence trigger",
        "shop.orders_2b has no fence trigger",
    ]

    raise_fence(site)
    assert gaps(site) == []


def test_a_fence_function_that_was_replaced_is_a_gap(site: Site, pair: Pair) -> None:
    raise_fence(site)
    pair.source.run(
        "create or replace function bowline.fence() returns trigger language plpgsql"
        " as 'begin return null; end'"
    )

    assert gaps(site) == ["bowline.fence() is not the product's"]


def test_everything_is_a_gap_before_the_fence_was_raised(site: Site) -> None:
    lower_fence(site)

    assert "shop.orders_1 has no fence trigger" in gaps(site)


def test_raising_and_lowering_again_changes_nothing(site: Site, app: Connection) -> None:
    for _ in range(2):
        raise_fence(site)
        raise_fence(site)
        assert gaps(site) == []
        lower_fence(site)
        lower_fence(site)
    write(app, WRITES["insert"])


def test_a_new_user_of_bowline_passes_after_the_fence_was_made_again(
    site: Site, pair: Pair
) -> None:
    raise_fence(site)
    pair.source.run("create role bowline_two superuser login", "grant bowline_two to bowline")
    try:
        renamed = pair.source.rows("select session_user")
        assert renamed
        with books.transaction(site) as here:
            here._db.execute(b"set session authorization bowline_two")
            here.raise_fence(1)
        assert gaps(site) == []
        with pair.source.connect() as connection:
            connection.execute("set session authorization bowline_two")
            write(connection, WRITES["insert"])
    finally:
        pair.source.run(
            "reassign owned by bowline_two to bowline",
            "drop owned by bowline_two",
            "drop role bowline_two",
        )


def test_a_table_of_another_migration_is_refused_until_that_one_is_complete(
    site: Site, pair: Pair
) -> None:
    raise_fence(site)
    other = pair.site(Side.SOURCE, migration="test.second", include=["shop.*"])
    books.install(other)

    with pytest.raises(Unsupported, match=site.migration) as caught:
        raise_fence(other)
    assert caught.value.reason == "TableTaken"
    assert gaps(site) == []

    pair.source.run(f"delete from bowline.switch where migration = '{site.migration}'")
    raise_fence(other)

    assert gaps(other) == []
    assert not [made for made in books.made(site) if made.kind == "trigger"]


def test_each_table_is_noted_before_its_triggers_are_made(site: Site) -> None:
    raise_fence(site)

    noted = {thing.name for thing in books.made(site) if thing.kind == "trigger"}

    assert noted == {
        f'"shop"."{table}"'
        for table in (
            "customer",
            "address",
            "orders",
            "orders_1",
            "orders_2",
            "orders_2a",
            "bag",
        )
    }


def test_a_gentle_lock_gives_way_to_writers_and_gives_up_in_the_end(
    site: Site, app: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SLICE_SECONDS", 0.05)
    monkeypatch.setattr(locks, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(locks, "GENTLE_SECONDS", 0.1)
    app.execute("begin")
    app.execute("insert into shop.bag values ('x')")

    def lock(connection: Connection) -> None:
        connection.execute("lock table shop.bag")

    with pytest.raises(TryAgain, match=r"could not lock: .*lock timeout"):
        locks.gently(site, "could not lock", lock)

    app.execute("commit")
    locks.gently(site, "could not lock", lock)


def wait_for(pair: Pair, condition: str) -> None:
    """Return once a session of this database is in that state."""
    deadline = time.monotonic() + 20
    with pair.source.connect() as connection:
        while not connection.execute(
            f"select 1 from pg_stat_activity where {condition} and pid <> pg_backend_pid()"
            " and datname = current_database()".encode()
        ).fetchone():
            assert time.monotonic() < deadline, "nobody is"
