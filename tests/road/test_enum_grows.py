"""A value that one side added to an enum stops the stream by the type's name; it is carried once it is there too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bowline_worker.contract import Exit, Role, Side, Verdict
from road.by_hand import Road, Worker, wait_until
from servers import APPLICATION, Database, Pair

pytestmark = pytest.mark.slow

MAKE = (
    'create type public."Mood, odd" as enum (\'calm\')',
    'create type public.mood as enum (\'calm\')',
    'create type public.felt as (at int, moods public."Mood, odd"[])',
    'create table public.day (id int primary key, m public.mood, f public.felt)',
    f"grant all on public.day to {APPLICATION}",
    "insert into public.day values (1, 'calm', row(1, array['calm']::public.\"Mood, odd\"[]))",
)  # fmt: skip


@pytest.fixture
def road(pair: Pair) -> Iterator[Road]:
    pair.source.run(*MAKE)
    road = Road(pair)
    yield road
    road.close()


def add(database: Database, type_name: str, value: str) -> None:
    database.run(f"alter type {type_name} add value '{value}' before 'calm'")


def write(database: Database, *statements: str) -> None:
    with database.connect(APPLICATION, database.server.password) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def stops(worker: Worker, side: Side, type_name: str) -> None:
    """Wait for its end: it names the type, and shows no row's values."""
    wait_until("the role stops", lambda: worker.process.poll() is not None)
    report = worker.report()

    assert report is not None
    assert report.failure is not None, worker.log()
    assert (report.failure.exit_code, report.failure.reason) == (
        Exit.UNSUPPORTED,
        "EnumValueMissing",
    )
    assert report.failure.message.startswith(f"{side}: ")
    assert "public.day" in report.failure.message
    assert f"type {type_name} has no such value here" in report.failure.message
    assert "secret" not in worker.log()


def same(road: Road) -> None:
    query = "select id, m::text, f::text from public.day order by id"

    assert road.pair.source.rows(query) == road.pair.target.rows(query)


def test_a_value_that_was_added_to_an_enum_is_never_lost(road: Road) -> None:
    source, target = road.pair.source, road.pair.target
    for role in (Role.ASSESS, Role.SCHEMA, Role.PREPARE):
        road.run(role)
    add(source, "public.mood", "secret 1")
    write(source, "insert into public.day values (2, 'secret 1', null)")
    road.start(Role.CAPTURE)
    stops(road.start(Role.SNAPSHOT), Side.TARGET, "public.mood")
    add(target, "public.mood", "secret 1")
    road.run(Role.SNAPSHOT)
    apply = road.start(Role.APPLY)
    road.caught_up(apply)
    same(road)

    # So many rows come by COPY; before them, one that could be applied.
    add(source, 'public."Mood, odd"', "secret 2")
    write(
        source,
        "update public.day set m = 'secret 1' where id = 1",
        "insert into public.day select n, 'calm', row(n, array['secret 2']::public.\"Mood, odd\"[])::public.felt"
        " from generate_series(10, 500) n",
    )
    stops(apply, Side.TARGET, 'public."Mood, odd"')
    stops(road.start(Role.APPLY), Side.TARGET, 'public."Mood, odd"')
    add(target, 'public."Mood, odd"', "secret 2")
    apply = road.start(Role.APPLY)
    road.caught_up(apply)
    same(road)

    switch = road.switch(1, Side.SOURCE)
    assert switch.verdict is Verdict.COMMITTED, switch.message
    back = road.workers[-1]
    add(target, "public.mood", "secret 3")
    write(target, "update public.day set m = 'secret 3' where id = 1")
    stops(back, Side.SOURCE, "public.mood")
    add(source, "public.mood", "secret 3")
    road.caught_up(road.start(Role.APPLY, origin=Side.TARGET, number=1))
    same(road)
