"""The roles schema and verify, whole, on real servers."""

from __future__ import annotations

import threading

import pytest

from bowline_worker import comparing
from bowline_worker.bookkeeping import LaneRow
from bowline_worker.contract import Role, Side, TryAgain, Unsafe, Unsupported
from bowline_worker.endpoints.base import Section
from bowline_worker.endpoints.postgres import books
from bowline_worker.reporter import Reporter
from bowline_worker.roles import Context, schema, verify
from road.by_hand import wait_until
from servers import Pair


def context(pair: Pair, role: Role) -> Context:
    config = pair.config(role)
    return Context(config=config, report=Reporter(config))


@pytest.fixture
def migrated(pair: Pair) -> Pair:
    """Two tables, at both sides by the schema role, with the same rows."""
    pair.source.run(
        "create table public.t (id int primary key, a text)",
        "create table public.loose (n int)",
    )
    of_schema = context(pair, Role.SCHEMA)
    schema.run(of_schema)
    of_schema.target.run_schema(Section.POST_DATA, 2)
    for side in (pair.source, pair.target):
        side.run(
            "insert into public.t select i, 'a' || i from generate_series(1, 100) i",
            "insert into public.loose select i % 7 from generate_series(1, 100) i",
        )
    return pair


def test_the_schema_role_may_run_again(migrated: Pair) -> None:
    of_schema = context(migrated, Role.SCHEMA)
    schema.run(of_schema)

    assert of_schema.report.now().message == "2 tables are there"


def test_an_existing_schema_that_lacks_a_column_is_refused(pair: Pair) -> None:
    pair.source.run("create table public.t (id int primary key, a text, b text)")
    pair.target.run("create table public.t (id int primary key, b text)")
    config = pair.config(Role.SCHEMA, existing_schema=True)

    with pytest.raises(Unsupported, match=r"public\.t of the target lacks 1 columns: a"):
        schema.run(Context(config=config, report=Reporter(config)))


def test_equal_sides_are_reported_with_their_rows(migrated: Pair) -> None:
    of_verify = context(migrated, Role.VERIFY)
    verify.run(of_verify)

    found = of_verify.report.now().verify
    assert found is not None
    assert found.equal is True
    assert [(each.name, each.source_rows, each.target_rows) for each in found.tables] == [
        ("public.loose", 100, 100),
        ("public.t", 100, 100),
    ]


@pytest.fixture
def streaming(migrated: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """As if a stream had applied all heartbeats that will ever be."""
    monkeypatch.setattr(comparing, "PAUSE_SECONDS", 0)
    for side in Side:
        books.install(migrated.site(side))
    applied_to(migrated, 1 << 40)
    return migrated


def applied_to(pair: Pair, beat: int) -> None:
    with books.transaction(pair.site(Side.TARGET)) as target:
        target.put_lanes(
            Side.SOURCE, [LaneRow(lane=lane, number=0, generation=1, beat=beat) for lane in (0, 1)]
        )


def test_a_lost_row_is_unsafe_and_named(streaming: Pair) -> None:
    migrated = streaming
    migrated.target.run("delete from public.t where id = 42")
    of_verify = context(migrated, Role.VERIFY)

    with pytest.raises(Unsafe, match=r"public\.t: source 100 rows, target 99 rows") as refused:
        verify.run(of_verify)
    assert refused.value.reason == "RowsDiffer"
    assert "1 missing on the target: (42)" in str(refused.value)
    found = of_verify.report.now().verify
    assert found is not None
    assert found.equal is False


def test_a_verification_that_was_stopped_says_nothing_of_the_rows(migrated: Pair) -> None:
    of_verify = context(migrated, Role.VERIFY)
    of_verify.stop.set()
    verify.run(of_verify)

    found = of_verify.report.now().verify
    assert found is not None
    assert found.equal is None


def test_rows_on_their_way_are_not_called_different(streaming: Pair) -> None:
    """The stream lags by more than all looks take: it is waited for."""
    applied_to(streaming, 0)
    streaming.source.run("insert into public.t values (101, 'late')")
    of_verify = context(streaming, Role.VERIFY)
    looking = threading.Thread(target=verify.run, args=(of_verify,))
    looking.start()
    wait_until("it waits", lambda: streaming.source.rows("select from bowline.heartbeat") != [])

    streaming.target.run("insert into public.t values (101, 'late')")
    applied_to(streaming, 1)
    looking.join(30)

    found = of_verify.report.now().verify
    assert found is not None
    assert found.equal is True


def test_a_stream_that_stands_is_no_difference(
    streaming: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "SETTLE_SECONDS", 0.1)
    applied_to(streaming, 0)
    streaming.source.run("insert into public.t values (101, 'late')")

    with pytest.raises(TryAgain, match=r"the target is more than 0\.1 s behind"):
        verify.run(context(streaming, Role.VERIFY))
