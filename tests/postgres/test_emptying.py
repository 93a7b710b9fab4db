"""A target that was not empty, emptied because the spec asks for it: once, and nothing that is somebody else's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Finding, Role, Severity, Side, TargetNotEmpty, Unsupported
from bowline_worker.endpoints import open_endpoint
from bowline_worker.endpoints.postgres import books, emptying, prepare
from bowline_worker.reporter import Reporter
from bowline_worker.roles import Context, role_function
from servers import APPLICATION, MIGRATOR, Pair

TABLES = (
    "create table public.customer (id int primary key)",
    "create table public.item (id int primary key, customer int references public.customer)",
    "create table public.part (id int primary key) partition by range (id)",
    "create table public.part_1 partition of public.part for values from (0) to (10)",
    "create table public.note (part int references public.part) partition by range (part)",
    "create table public.note_1 partition of public.note for values from (0) to (10)",
    f"grant all on all tables in schema public to {APPLICATION}",
)
ROWS = (
    "insert into public.customer values (1), (2)",
    "insert into public.item values (1, 1)",
    "insert into public.part values (1)",
    "insert into public.note values (1)",
)
ALL = ("public.customer", "public.item", "public.note_1", "public.part_1")
COUNT = " + ".join(f"(select count(*) from {table})" for table in ALL)


@pytest.fixture
def shop(pair: Pair) -> Pair:
    for database in (pair.source, pair.target):
        database.run(*TABLES)
    pair.target.run(*ROWS)
    return pair


def context(pair: Pair, role: Role = Role.PREPARE) -> Context:
    config = pair.config(
        role, existing_schema=True, target_not_empty=TargetNotEmpty.TRUNCATE, include=["public.*"]
    )
    return Context(config=config, report=Reporter(config))


def run(pair: Pair) -> str:
    here = context(pair)
    role_function(Role.PREPARE)(here)
    return here.report.now().message


def assess(pair: Pair) -> list[Finding]:
    config = context(pair, Role.ASSESS).config
    return open_endpoint(config, Side.TARGET).assess(other=open_endpoint(config, Side.SOURCE))


def rows(pair: Pair) -> int:
    return int(pair.target.value(f"select {COUNT}"))


def test_rows_are_announced_deleted_and_told(shop: Pair) -> None:
    found = [(each.reason, each.object, each.severity) for each in assess(shop)]
    assert found == [("TargetIsEmptied", table, Severity.WARNING) for table in ALL]
    assert rows(shop) == 5

    assert run(shop) == f"prepared; emptied on the target: {', '.join(ALL)}"

    assert rows(shop) == 0


def test_without_being_asked_nothing_is_deleted(shop: Pair) -> None:
    config = shop.config(Role.PREPARE, existing_schema=True)
    role_function(Role.PREPARE)(Context(config=config, report=Reporter(config)))

    assert rows(shop) == 5


def test_what_was_copied_since_is_never_deleted(shop: Pair) -> None:
    """Killed and run again, or run twice at once."""
    run(shop)
    with shop.target.connect(MIGRATOR, shop.target.server.password) as copier:
        copier.execute("insert into public.customer values (7)")

    assert run(shop) == "prepared"

    assert rows(shop) == 1


def test_nothing_is_deleted_once_the_ledger_has_an_entry(shop: Pair) -> None:
    prepare.prepare_receiver(shop.site(Side.TARGET), fenced=True)
    shop.target.run(
        "insert into bowline.copied (migration, table_schema, table_name, position)"
        f" values ('{shop.migration}', 'public', 'item', '0/1')"
    )

    assert run(shop) == "prepared"

    assert rows(shop) == 5


def test_nothing_is_deleted_once_the_source_has_a_slot(shop: Pair) -> None:
    """The target's bookkeeping may be gone: what the stream brought is not."""
    books.install(shop.site(Side.SOURCE))
    open_endpoint(shop.config(), Side.SOURCE).arm(StreamId(Side.SOURCE, 0))

    assert run(shop) == "prepared"

    assert rows(shop) == 5


@pytest.mark.parametrize("side", list(Side))
def test_nothing_is_deleted_once_a_switch_was_tried(shop: Pair, side: Side) -> None:
    books.install(shop.site(side))
    with books.transaction(shop.site(side)) as here:
        here.put_switch(replace(here.switch(), attempt=1))

    assert run(shop) == "prepared"

    assert rows(shop) == 5


def test_a_table_that_others_refer_to_is_not_emptied(shop: Pair) -> None:
    shop.target.run(
        "create schema other",
        "create table other.invoice (customer int references public.customer)",
        "insert into other.invoice values (2)",
    )
    assert ("ReferencedByOthers", "public.customer") in [(f.reason, f.object) for f in assess(shop)]

    with pytest.raises(Unsupported, match=r"of other\.invoice, which is not selected") as caught:
        run(shop)

    assert caught.value.reason == "ReferencedByOthers"
    assert rows(shop) == 5


def test_a_target_that_somebody_writes_to_is_not_for_emptying(shop: Pair) -> None:
    with shop.target.connect(
        APPLICATION, shop.target.server.password, autocommit=False
    ) as application:
        application.execute("insert into public.customer values (3)")
        found = [(each.reason, each.object, each.severity) for each in assess(shop)]

    assert ("TargetInUse", "public.customer", Severity.ERROR) in found


def test_tables_of_another_migration_are_not_emptied(shop: Pair) -> None:
    open_endpoint(shop.config(migration="test.other"), Side.TARGET).prepare_origin()

    assert ("TableTaken", "public.customer", Severity.ERROR) in [
        (each.reason, each.object, each.severity) for each in assess(shop)
    ]


def test_a_target_that_is_not_fenced_is_not_emptied(shop: Pair) -> None:
    site = shop.site(Side.TARGET)
    books.install(site)

    with pytest.raises(Exception, match="not emptied while applications can write"):
        emptying.empty(site)

    assert rows(shop) == 5
