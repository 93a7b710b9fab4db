"""Assess on real servers: every obstacle is named with its remedy, and nothing is made."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.servers import Server

from bowline_worker.bookkeeping import StreamId, SwitchRow
from bowline_worker.contract import (
    Config,
    Finding,
    FoundSide,
    Role,
    Severity,
    Side,
    TryAgain,
    Unsupported,
    Verdict,
)
from bowline_worker.endpoints import open_endpoint
from bowline_worker.endpoints.postgres import books, prepare, slots
from bowline_worker.endpoints.postgres.connection import connect
from bowline_worker.reporter import Reporter
from bowline_worker.roles import Context, role_function
from servers import APPLICATION, Database, MakePair, Pair, prepare_roles

ITEM = "create table public.item (id int primary key, name text)"


def assess(config: Config, side: Side) -> list[Finding]:
    return open_endpoint(config, side).assess(other=open_endpoint(config, side.other))


def reasons(findings: list[Finding], *severities: Severity) -> list[tuple[str, str]]:
    return [
        (finding.reason, finding.object)
        for finding in findings
        if finding.severity in (severities or tuple(Severity))
    ]


def run(config: Config) -> Context:
    context = Context(config=config, report=Reporter(config))
    role_function(config.role)(context)
    return context


def test_an_ordinary_pair_has_nothing_in_its_way(pair: Pair) -> None:
    pair.source.run(ITEM)

    context = run(pair.config(Role.ASSESS))

    report = context.report.now()
    assert report.findings == []
    assert report.found == {Side.SOURCE: FoundSide(), Side.TARGET: FoundSide()}


def test_temporary_tables_of_any_session_are_told(pair: Pair) -> None:
    pair.source.run(ITEM)
    with pair.source.connect() as session:
        session.execute("create temporary table basket (id int primary key)")

        (found,) = assess(pair.config(), Side.SOURCE)

        assert (found.reason, found.severity) == ("Temporary", Severity.NOTE)
        assert ".basket" in found.message


def test_nothing_is_made(pair: Pair) -> None:
    pair.source.run(ITEM)
    query = (
        "select (select count(*) from pg_class), (select count(*) from pg_namespace),"
        " (select count(*) from pg_proc), (select count(*) from pg_publication),"
        " (select count(*) from pg_replication_slots where database = current_database())"
    )
    before = [database.rows(query) for database in (pair.source, pair.target)]

    run(pair.config(Role.ASSESS))

    assert [database.rows(query) for database in (pair.source, pair.target)] == before


SOURCE_CASES = {
    "no tables": (["create view public.v as select 1"], ("NoTables", "")),
    "no key": (["create table public.t (id int)"], ("NoKey", "public.t")),
    "deferrable": (
        ["create table public.t (id int primary key deferrable)"],
        ("NoKey", "public.t"),
    ),
    "unlogged": ([ITEM, "create unlogged table t (id int primary key)"], ("Unlogged", "public.t")),
    "large objects": ([ITEM, "select lo_from_bytea(0, 'x')"], ("LargeObjects", "")),
    "inheritance": (
        [ITEM, "create table public.sub (primary key (id)) inherits (public.item)"],
        ("Inheritance", "public.sub"),
    ),
    "materialized view": (
        [ITEM, "create materialized view public.m as select * from public.item"],
        ("MaterializedView", "public.m"),
    ),
    "extension": (
        [
            ITEM,
            "create table public.theirs (id int primary key)",
            "alter extension plpgsql add table public.theirs",
        ],
        ("ExtensionTable", "public.theirs"),
    ),
    "always trigger": (
        [
            ITEM,
            "create function public.f() returns trigger language plpgsql as"
            " 'begin return new; end'",
            "create trigger t before insert on public.item for each row execute function public.f()",
            "alter table public.item enable always trigger t",
        ],
        ("FiresForReplicatedRows", "public.item"),
    ),
    "a partition alone": (
        [
            "create schema part",
            "create table part.orders (id int primary key) partition by range (id)",
            "create table public.orders_1 partition of part.orders for values from (0) to (9)",
        ],
        ("FenceCoversMore", "part.orders"),
    ),
    "fence left": (
        [
            ITEM,
            "create schema bowline",
            "create function bowline.fence() returns trigger language plpgsql as"
            " 'begin return null; end'",
            "create trigger bowline_fence before insert on public.item"
            " execute function bowline.fence('test.old', 'there', 'bowline')",
        ],
        ("FenceLeft", "test.old"),
    ),
    "subscription": (
        [
            ITEM,
            "create subscription copies connection 'dbname=none' publication p"
            " with (connect = false, slot_name = none)",
            "insert into pg_subscription_rel select oid, 'public.item'::regclass, 'r', null"
            " from pg_subscription where subname = 'copies'",
            "update pg_subscription set subenabled = true where subname = 'copies'",
        ],
        ("FenceImpossible", "copies"),
    ),
}


@pytest.mark.parametrize("case", SOURCE_CASES)
def test_what_the_source_has_that_matters_is_found(pair: Pair, case: str) -> None:
    statements, expected = SOURCE_CASES[case]
    pair.source.run(*statements)
    try:
        findings = assess(pair.config(Role.ASSESS), Side.SOURCE)
    finally:
        if case == "subscription":
            pair.source.run("alter subscription copies disable", "drop subscription copies")

    assert expected in reasons(findings)
    assert all(finding.message for finding in findings)


def test_a_target_that_has_the_tables_already_is_refused(pair: Pair) -> None:
    for database in (pair.source, pair.target):
        database.run(ITEM)

    assert reasons(assess(pair.config(Role.ASSESS), Side.TARGET)) == [
        ("TargetNotEmpty", "public.item")
    ]


def test_an_existing_schema_must_be_empty_of_rows(pair: Pair) -> None:
    for database in (pair.source, pair.target):
        database.run(ITEM)
    config = pair.config(Role.ASSESS, existing_schema=True)
    assert assess(config, Side.TARGET) == []

    pair.target.run("insert into public.item values (1)")

    assert reasons(assess(config, Side.TARGET)) == [("TargetNotEmpty", "public.item")]


def test_rows_that_this_migration_copied_are_no_obstacle(pair: Pair) -> None:
    for database in (pair.source, pair.target):
        database.run(ITEM)
    config = pair.config(Role.ASSESS, existing_schema=True)
    books.install(pair.site(Side.TARGET))
    pair.target.run(
        "insert into public.item values (1)",
        "insert into bowline.copied (migration, table_schema, table_name, position)"
        f" values ('{pair.migration}', 'public', 'item', '0/1')",
    )

    assert assess(config, Side.TARGET) == []


def test_one_database_can_not_be_both_sides(pair: Pair, make_pair: MakePair) -> None:
    pair.source.run(ITEM)
    same = make_pair(pair.source, pair.source).config(Role.ASSESS, existing_schema=True)

    assert ("SameDatabase", "") in reasons(assess(same, Side.TARGET))


def test_a_user_without_privileges_is_told_each_of_them(pair: Pair, make_pair: MakePair) -> None:
    pair.source.run(ITEM, "alter table public.item enable row level security")
    pair.source.run("alter table public.item owner to postgres")
    user = (APPLICATION, pair.source.server.password)
    config = make_pair(pair.source, pair.target, (user, user)).config(Role.ASSESS)

    findings = assess(config, Side.SOURCE)

    messages = [finding.message for finding in findings if finding.severity is Severity.ERROR]
    assert messages == [
        "role app may not replicate",
        "role app may not create schemas in the database",
        "role app may not set session_replication_role",
        "role app is not a member of postgres, which owns 1 tables",
        "row security of public.item hides rows from role app",
    ]
    assert ("CannotEndSessions", "") in reasons(findings)


def test_sessions_of_others_that_use_the_migrations_user_are_seen(pair: Pair) -> None:
    """The fence would let them pass."""
    pair.source.run(ITEM)
    site = pair.site(Side.SOURCE)
    with connect(site), pair.source.connect("bowline", pair.source.server.password):
        findings = assess(pair.config(Role.ASSESS), Side.SOURCE)

    assert reasons(findings) == [("SharedUser", "")]


def test_owners_that_the_target_lacks_are_named(
    pair: Pair, other_pg: Server, make_pair: MakePair
) -> None:
    pair.source.run("create role shop_owner", ITEM, "alter table public.item owner to shop_owner")
    try:
        with other_pg.database() as name:
            across = make_pair(pair.source, Database(other_pg, name))
            findings = assess(across.config(Role.ASSESS), Side.TARGET)
    finally:
        pair.source.run("drop table public.item", "drop role shop_owner")

    assert reasons(findings) == [("OwnerMissing", "shop_owner")]


def test_encodings_must_be_equal(pg: Server, pair: Pair, make_pair: MakePair) -> None:
    pair.source.run(ITEM)
    name = "in_latin1"
    with pg.connect() as connection:
        connection.execute(
            f"create database {name} encoding latin1 template template0 lc_collate 'C' lc_ctype 'C'"
        )
    try:
        across = make_pair(pair.source, Database(pg, name))
        assert ("EncodingDiffers", "") in reasons(assess(across.config(Role.ASSESS), Side.TARGET))
    finally:
        with pg.connect() as connection:
            connection.execute(f"drop database {name}")


@pytest.fixture(scope="module")
def poor_server() -> Iterator[Server]:
    """A server as it comes, with hardly a slot."""
    settings = {"wal_level": "replica", "max_replication_slots": "1", "max_wal_senders": "1"}
    with Server(settings=settings) as server:
        prepare_roles(server)
        yield server


def test_server_settings_are_checked_where_changes_are_streamed_from(
    poor_server: Server, make_pair: MakePair
) -> None:
    with poor_server.database() as one, poor_server.database() as two:
        pair = make_pair(Database(poor_server, one), Database(poor_server, two))
        pair.source.run(ITEM)
        expected = [("LogicalReplicationOff", ""), ("NoFreeSlot", ""), ("NoFreeSender", "")]

        assert reasons(assess(pair.config(Role.ASSESS), Side.SOURCE)) == expected
        assert reasons(assess(pair.config(Role.ASSESS), Side.TARGET)) == expected
        assert reasons(assess(pair.config(Role.ASSESS, fallback=False), Side.TARGET)) == []


def test_a_blocked_start_fails_with_the_first_reason_and_keeps_the_report(pair: Pair) -> None:
    config = pair.config(Role.ASSESS)
    context = Context(config=config, report=Reporter(config))

    with pytest.raises(
        Unsupported, match="1 findings block the migration; first: source"
    ) as caught:
        role_function(Role.ASSESS)(context)

    assert caught.value.reason == "AssessmentFailed"
    assert set(context.report.now().found) == set(Side)
    assert reasons(context.report.now().findings) == [("NoTables", "")]


def test_a_server_that_is_away_is_tried_again(pair: Pair) -> None:
    pair.source.run(ITEM)
    config = pair.config(Role.ASSESS)
    config = config.model_copy(update={"target": config.target.model_copy(update={"port": 1})})

    with pytest.raises(TryAgain) as caught:
        run(config)

    assert caught.value.reason == "Unreachable"


def test_a_wrong_password_is_a_finding(pair: Pair) -> None:
    pair.source.run(ITEM)
    config = pair.config(Role.ASSESS)
    (Path(config.target.credentials) / "password").write_text("wrong", encoding="utf-8")

    with pytest.raises(Unsupported, match="password authentication failed"):
        run(config)


def test_an_earlier_life_is_found_and_not_held_up(pair: Pair) -> None:
    """The status was lost in the middle: what blocks a fresh start must not block now."""
    for database in (pair.source, pair.target):
        database.run(ITEM)
    for side in Side:
        books.install(pair.site(side))
    with books.transaction(pair.site(Side.SOURCE)) as here:
        here.put_switch(SwitchRow(attempt=2, verdict=Verdict.COMMITTED, fenced=True))
    pair.target.run(
        f"insert into bowline.mark (migration, mark) values ('{pair.migration}', 'post-data')"
    )
    pair.target.run("select pg_create_logical_replication_slot('other', 'pgoutput')")
    try:
        report = run(pair.config(Role.ASSESS)).report.now()
    finally:
        pair.target.run("select pg_drop_replication_slot('other')")

    assert report.found[Side.SOURCE] == FoundSide(
        installed=True, attempt=2, verdict=Verdict.COMMITTED, fenced=True
    )
    assert report.found[Side.TARGET] == FoundSide(installed=True, snapshot_complete=True)
    assert reasons(report.findings) == [("TargetNotEmpty", "public.item")]


def test_a_prepared_target_that_was_not_filled_yet_can_start_again(pair: Pair) -> None:
    for database in (pair.source, pair.target):
        database.run(ITEM)
    prepare.prepare_receiver(pair.site(Side.TARGET), fenced=True)

    found = open_endpoint(pair.config(), Side.TARGET).found()

    assert found == FoundSide(installed=True, fenced=True)


def test_a_standby_is_refused(make_pair: MakePair) -> None:
    with Server() as server:
        prepare_roles(server)
        database = Database(server, "postgres")
        database.run(ITEM)
        server.stop(signal.SIGINT)
        (server.data / "standby.signal").touch()
        server.start()

        config = make_pair(database, database).config(Role.ASSESS)
        findings = assess(config, Side.SOURCE)
        # The role looks for an earlier life too, which must not hide what was found.
        with pytest.raises(Unsupported) as caught:
            run(config)

    assert ("Standby", "") in reasons(findings)
    assert caught.value.reason == "AssessmentFailed"


FOREIGN = {
    "physical": "select pg_create_physical_replication_slot('{}')",
    "another plugin": "select pg_create_logical_replication_slot('{}', 'test_decoding')",
    "nobody's": "select pg_create_logical_replication_slot('{}', 'pgoutput')",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_slot_of_our_name_that_is_not_ours_stops_a_start_and_is_not_dropped(
    pair: Pair, kind: str
) -> None:
    """It could be read away under somebody who relies on it; and no finding must pass for that it is there."""
    pair.source.run(ITEM)
    name = slots.slot_name(pair.site(Side.SOURCE), 0)
    pair.source.run(FOREIGN[kind].format(name))
    try:
        with pytest.raises(Unsupported, match=f"slot {name} is there and is not ours"):
            run(pair.config(Role.ASSESS))
        if kind != "nobody's":
            books.install(pair.site(Side.SOURCE))
            with pytest.raises(Unsupported) as caught:
                open_endpoint(pair.config(), Side.SOURCE).hold(StreamId(Side.SOURCE, 0))
            assert caught.value.reason == "ForeignSlot"
            open_endpoint(pair.config(), Side.SOURCE).cleanup(keep_fence=False)
        query = "select count(*) from pg_replication_slots where slot_name = %s"
        assert pair.source.value(query, name) == 1
    finally:
        pair.source.run(f"select pg_drop_replication_slot('{name}')")
