"""The comparison sees every way in which rows may differ, and nothing where they don't."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from bowline_worker import comparing
from bowline_worker.contract import Config, NotPermitted, Side, VerifyReport
from bowline_worker.endpoints.base import BucketDigest
from bowline_worker.endpoints.postgres import catalog, digest
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Table
from servers import Pair


class Rows:
    """What a comparison asks of an endpoint."""

    def __init__(self, config: Config, side: Side) -> None:
        self.site = Site(config, side)
        self.side = side

    def tables(self) -> tuple[Table, ...]:
        return catalog.tables(self.site)

    def digests(self, table: Table, buckets: int) -> dict[int, BucketDigest]:
        return dict(digest.digests(self.site, table, buckets))

    def bucket_rows(self, table: Table, buckets: int, bucket: int) -> dict[str, list[str]]:
        return {
            key: list(rows)
            for key, rows in digest.bucket_rows(self.site, table, buckets, bucket).items()
        }


def compare(pair: Pair, *, looks: int = 1) -> VerifyReport:
    config = pair.config()
    return comparing.compare(
        Rows(config, Side.SOURCE),  # type: ignore[arg-type]
        Rows(config, Side.TARGET),  # type: ignore[arg-type]
        parallelism=2,
        stop=threading.Event(),
        looks=looks,
    )


@pytest.fixture
def alike(pair: Pair) -> Pair:
    """The same rows on both sides; the target's columns stand in another order."""
    keyed = "id int primary key, a text, n numeric, at timestamptz, c char(4), j json"
    pair.source.run(f"create table public.keyed ({keyed}, extra int)")
    pair.target.run(
        "create table public.keyed (j json, c char(4), at timestamptz, n numeric, a text, extra int, "
        "id int primary key)"
    )
    for side in (pair.source, pair.target):
        side.run(
            "create table public.loose (a text, n numeric)",
            """insert into public.keyed (id, a, n, at, c, j)
               select i, case i % 3 when 0 then 'a' || i when 1 then '' end, i + 0.5,
                      timestamptz '2025-01-01' + i * interval '1 second', 'x', '{"a":  1}'
               from generate_series(1, 500) i""",
            "insert into public.loose select 'same', 1.0 from generate_series(1, 3)",
            "insert into public.loose select 'row ' || i, i from generate_series(1, 300) i",
        )
    return pair


def test_equal_rows_are_equal_whatever_the_order_of_columns_and_rows(alike: Pair) -> None:
    alike.target.run("alter role bowline set datestyle = 'German'", "update public.keyed set a = a")
    report = compare(alike)
    alike.target.run("alter role bowline reset datestyle")

    assert report.equal is True
    assert [(table.name, table.source_rows, table.target_rows) for table in report.tables] == [
        ("public.keyed", 500, 500),
        ("public.loose", 303, 303),
    ]


@pytest.mark.parametrize(
    ("change", "table", "detail"),
    [
        ("delete from keyed where id = 7", "keyed", "1 missing on the target: (7)"),
        ("insert into keyed (id) values (777)", "keyed", "1 extra on the target: (777)"),
        ("update keyed set a = 'A3' where id = 3", "keyed", "1 different: (3)"),
        ("update keyed set a = null where id = 1", "keyed", "1 different: (1)"),
        ("update keyed set a = '' where id = 2", "keyed", "1 different: (2)"),
        ("update keyed set n = n * 1.00 where id = 9", "keyed", "1 different: (9)"),
        ("update keyed set at = at + interval '1 us' where id = 9", "keyed", "1 different: (9)"),
        ("update keyed set j = '{\"a\": 1}' where id = 9", "keyed", "1 different: (9)"),
        ("update keyed set extra = 0 where id = 9", "keyed", "1 different: (9)"),
        (
            "update keyed set n = case id when 5 then 6.5 else 5.5 end where id in (5, 6)",
            "keyed",
            "2 different: (5), (6)",
        ),
        ("insert into loose values ('same', 1.0)", "loose", "1 different"),
        (
            "delete from loose where ctid = (select min(ctid) from loose where a = 'same')",
            "loose",
            "1 different",
        ),
        ("delete from loose where a = 'row 3'", "loose", "1 missing on the target"),
        ("update loose set n = 3.0 where a = 'row 3'", "loose", "1 missing on the target"),
        ("update loose set n = null where a = 'row 3'", "loose", "1 extra on the target"),
    ],
)
def test_every_difference_is_seen_and_named(
    alike: Pair, change: str, table: str, detail: str
) -> None:
    with alike.target.connect() as connection:
        connection.execute("set search_path = public")
        connection.execute(change.encode())

    report = compare(alike)
    assert report.equal is False
    unequal = [each for each in report.tables if not each.equal]
    assert [each.name for each in unequal] == [f"public.{table}"]
    assert detail in unequal[0].detail


def test_a_keyless_row_is_not_told(alike: Pair) -> None:
    alike.target.run("insert into public.loose values ('secret', 4711)")

    report = compare(alike)
    assert report.equal is False
    assert "secret" not in report.model_dump_json()


def test_ten_keys_are_named_and_all_are_counted(alike: Pair) -> None:
    alike.target.run("delete from public.keyed where id <= 3 or id = 100 or id = 200")

    detail = compare(alike).tables[0].detail
    assert detail.startswith("5 missing on the target: (")
    alike.target.run("delete from public.keyed where id between 300 and 400")
    assert compare(alike).tables[0].detail.count("(") == comparing.BUCKETS_TAKEN_APART


@pytest.mark.parametrize("side", list(Side))
def test_a_table_that_one_side_lacks_is_a_difference(alike: Pair, side: Side) -> None:
    (alike.source if side is Side.SOURCE else alike.target).run("drop table public.loose")

    report = compare(alike)
    assert report.equal is False
    assert report.tables[1].detail == f"the table is only on the {side.other}"


def test_a_row_in_flight_is_looked_at_again(alike: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise no busy table could ever be verified."""
    alike.source.run("update public.keyed set a = 'new' where id = 4")
    arrive = once(lambda: alike.target.run("update public.keyed set a = 'new' where id = 4"))
    monkeypatch.setattr(comparing, "PAUSE_SECONDS", 0)
    digests = Rows.digests

    def after_a_look(self: Rows, table: Table, buckets: int) -> dict[int, BucketDigest]:
        found = digests(self, table, buckets)
        if self.side is Side.TARGET and table.name.name == "keyed":
            arrive()
        return found

    monkeypatch.setattr(Rows, "digests", after_a_look)
    assert compare(alike, looks=2).equal is True


def test_a_row_that_never_stands_still_is_neither_equal_nor_different(
    alike: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "PAUSE_SECONDS", 0)
    look = Rows.bucket_rows
    alike.source.run("update public.keyed set n = -1 where id = 4")

    def between_looks(self: Rows, table: Table, buckets: int, bucket: int) -> dict[str, list[str]]:
        if self.side is Side.SOURCE:
            alike.source.run("update public.keyed set n = n - 1 where id = 4")
        return look(self, table, buckets, bucket)

    monkeypatch.setattr(Rows, "bucket_rows", between_looks)
    report = compare(alike, looks=3)
    assert report.equal is False
    assert report.tables[0].detail == f"1 {comparing.MOVING}"


def test_row_security_hides_no_rows_from_the_comparison(alike: Pair) -> None:
    """A policy that filtered both sides alike would make a wrong green."""
    with alike.source.server.connect() as connection:
        connection.execute(
            b"create role plain login password '%b'" % alike.source.server.password.encode()
        )
    for side in (alike.source, alike.target):
        side.run(
            "grant select on all tables in schema public to plain",
            "alter table public.keyed enable row level security",
            "create policy a_few on public.keyed for select using (id < 10)",
        )
    user = ("plain", alike.source.server.password)
    plain = Pair(alike.source, alike.target, alike.migration, alike.directory, (user, user))
    site = plain.site(Side.SOURCE)
    keyed = next(table for table in catalog.tables(site) if table.name.name == "keyed")

    with pytest.raises(NotPermitted, match="row-level security"):
        digest.digests(site, keyed, 1)
    for side in (alike.source, alike.target):
        side.run("drop owned by plain")
    alike.source.run("drop role plain")


def test_a_stopped_comparison_has_no_verdict(alike: Pair) -> None:
    stop = threading.Event()
    stop.set()
    config = alike.config()

    report = comparing.compare(
        Rows(config, Side.SOURCE),  # type: ignore[arg-type]
        Rows(config, Side.TARGET),  # type: ignore[arg-type]
        parallelism=1,
        stop=stop,
    )
    assert report.equal is None


def once(action: Callable[[], None]) -> Callable[[], None]:
    left = [action]

    def run() -> None:
        if left:
            left.pop()()

    return run
