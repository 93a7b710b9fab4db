"""From Oracle to PostgreSQL: copied by flashback and ledger, compared by digests, of one shape in both catalogues."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from demo.servers import Server

from bowline_worker import comparing
from bowline_worker.contract import Side, VerifyReport
from bowline_worker.endpoints.base import BucketDigest
from bowline_worker.endpoints.oracle import catalog as oracle_catalog
from bowline_worker.endpoints.oracle import digest as oracle_digest
from bowline_worker.endpoints.postgres import catalog, digest, ledger
from bowline_worker.endpoints.site import Site
from bowline_worker.journal import shapes
from bowline_worker.model import Table
from oracle.pair_rig import Mixed, ddl
from oracle.test_catalog import KINDS
from oracle.world import World, world
from servers import Database

#: Values as an application writes them, for the columns of KINDS.
WRITTEN = (
    ["-9999", "-999999999", "-999999999999999999", "12345678901234567890123456789012345678", "1.50",
     "0.000000001", "1.25", "1.5e10", "-2.5e-300", "date '1999-12-31'", "timestamp '2024-02-29 23:59:58.125'",
     "timestamp '2024-02-29 23:59:58.000001 +05:30'", "timestamp '2024-02-29 23:59:58.123456789'",
     "interval '-3-7' year to month", "interval '1 02:03:04.5' day to second", "'a, (b)'", "'\"x\\y'", "'ü€'",
     "'x'", "'é'", "hextoraw('00FF')", "'a long one'", "'another'", "hextoraw('DEADBEEF')", "null"],
    ["0"] * 3 + ["1", "0", "-1e100", "0", "0", "0", "date '0001-01-01'", "timestamp '1970-01-01 00:00:00'",
     "timestamp '2000-01-01 00:00:00 -12:00'", "timestamp '1970-01-01 00:00:00'",
     "interval '0-0' year to month", "interval '0 00:00:00' day to second", "' '", "'a''b'", "' x '",
     "'abc'", "'wxyz'", "hextoraw('00')", "empty_clob()", "empty_clob()", "empty_blob()", "null"],
    ["null"] * len(KINDS),
)  # fmt: skip


@dataclass
class Rows:
    """What a comparison asks of an endpoint."""

    site: Site

    @property
    def side(self) -> Side:
        return self.site.side

    @property
    def is_oracle(self) -> bool:
        return self.side is Side.SOURCE

    def tables(self) -> tuple[Table, ...]:
        if self.is_oracle:
            return tuple(one.table for one in oracle_catalog.tables(self.site))
        return catalog.tables(self.site)

    def digests(self, table: Table, buckets: int) -> Mapping[int, BucketDigest]:
        if self.is_oracle:
            return oracle_digest.digests(self.site, table, buckets)
        return digest.digests(self.site, table, buckets)

    def bucket_rows(self, table: Table, buckets: int, bucket: int) -> Mapping[str, Sequence[str]]:
        if self.is_oracle:
            return oracle_digest.bucket_rows(self.site, table, buckets, bucket)
        return digest.bucket_rows(self.site, table, buckets, bucket)


def compare(mixed: Mixed, *, back: bool = False) -> VerifyReport:
    sides = [Rows(mixed.source), Rows(mixed.target)]
    first, second = reversed(sides) if back else sides
    return comparing.compare(
        first,  # type: ignore[arg-type]
        second,  # type: ignore[arg-type]
        parallelism=2,
        stop=threading.Event(),
        looks=1,
    )


@pytest.fixture
def mixed(pg: Server, tmp_path: Path) -> Iterator[Mixed]:
    with world(World, tmp_path) as here, pg.database() as name:
        yield Mixed.between(here, Database(pg, name), tmp_path)


@pytest.fixture
def copied(mixed: Mixed) -> Mixed:
    """A table of every type, a keyless one with duplicates, and one with an odd name, copied to the target."""
    columns = ", ".join(["id number(9) primary key", *KINDS])
    mixed.world.run(
        f"create table every ({columns})",
        "create table loose (what varchar2(20), n number)",
        'create table "Odd One" ("Id" number(9) not null primary key, "from" varchar2(9))',
    )
    for number, values in enumerate(WRITTEN):
        mixed.world.run(f"insert into every values ({number}, {', '.join(values)})")
    mixed.world.run(
        *["insert into loose values ('same', 1)"] * 3,
        *[f"insert into loose values ('row {n}', {n} / 8)" for n in range(300)],
        *[f"insert into \"Odd One\" values ({n}, 'r{n}')" for n in range(50)],
        "commit",
    )
    mixed.make_targets()
    assert mixed.copy(rows=20) >= 5
    return mixed


# --- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [False, True])
def test_what_was_copied_is_equal_whichever_side_is_looked_at_first(
    copied: Mixed, back: bool
) -> None:
    report = compare(copied, back=back)

    assert [(t.name, t.source_rows, t.target_rows, t.detail) for t in report.tables] == [
        ("shop.Odd One", 50, 50, ""),
        ("shop.every", 3, 3, ""),
        ("shop.loose", 303, 303, ""),
    ]
    assert report.equal is True
    progress = ledger.progress(copied.target)
    assert progress.complete
    assert sum(table.rows for table in progress.tables) == 356


def test_a_value_that_is_gone_from_any_column_is_one_different_row(copied: Mixed) -> None:
    (every,) = [one for one in Rows(copied.source).tables() if one.name.name == "every"]
    source, target = Rows(copied.source), Rows(copied.target)
    copied.database.run("create table public.kept as table shop.every")
    here = source.digests(every, 64)
    assert target.digests(every, 64) == here

    for column in (declared.split()[0] for declared in KINDS):
        gone = "'AAAAAAAAAAAAAAAAAA'" if column == "ri" else "null"
        copied.database.run(f"update shop.every set {column} = {gone} where id = 0")
        (bucket,) = comparing.unequal_buckets(here, target.digests(every, 64))
        rows = [side.bucket_rows(every, 64, bucket) for side in (source, target)]

        assert (column, comparing.unequal_keys(*rows)) == (column, {"(0)"})
        copied.database.run(
            "truncate shop.every", "insert into shop.every select * from public.kept"
        )
    assert target.digests(every, 64) == here


@pytest.mark.parametrize(
    ("change", "name", "detail"),
    [
        ("update every set v = 'other' where id = 1", "every", "1 different: (1)"),
        ("update every set cl = null where id = 1", "every", "1 different: (1)"),
        ("update every set bl = null where id = 1", "every", "1 different: (1)"),
        ("update every set c = 'X' where id = 0", "every", "1 different: (0)"),
        ("update every set made = made + 1/86400 where id = 0", "every", "1 different: (0)"),
        ("delete from every where id = 2", "every", "1 extra on the target: (2)"),
        ("insert into every (id) values (7)", "every", "1 missing on the target: (7)"),
        ('delete from "Odd One" where "Id" = 7', "Odd One", "1 extra on the target: (7)"),
        ("insert into loose values ('same', 1)", "loose", "1 different"),
        ("delete from loose where what = 'same' and rownum = 1", "loose", "1 different"),
        ("update loose set n = null where what = 'row 8'", "loose", "1 missing on the target"),
    ],
)
def test_every_difference_is_seen_and_named(
    copied: Mixed, change: str, name: str, detail: str
) -> None:
    copied.world.run(change, "commit")

    (verdict,) = [table for table in compare(copied).tables if not table.equal]

    assert verdict.name == f"shop.{name}"
    assert detail in verdict.detail


def test_a_changed_row_gives_its_bucket_and_its_key_and_no_other(copied: Mixed) -> None:
    (odd,) = [one for one in Rows(copied.source).tables() if one.name.name == "Odd One"]
    copied.world.run('update "Odd One" set "from" = \'!\' where "Id" = 33', "commit")
    source, target = Rows(copied.source), Rows(copied.target)

    here, there = source.digests(odd, 1024), target.digests(odd, 1024)
    (bucket,) = comparing.unequal_buckets(here, there)
    rows = [side.bucket_rows(odd, 1024, bucket) for side in (source, target)]

    assert here[bucket].rows == there[bucket].rows
    assert comparing.unequal_keys(*rows) == {"(33)"}


# --- shapes ---------------------------------------------------------------------------------------


def fingerprints(mixed: Mixed) -> tuple[str, str]:
    tables = oracle_catalog.tables(mixed.source)
    return oracle_catalog.fingerprint(tables), catalog.fingerprint(mixed.target)


def described(mixed: Mixed) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """As saga_checks tells which tables differ."""
    tables = oracle_catalog.tables(mixed.source)
    neutral = [one.table for one in tables]
    return (
        shapes.describe(oracle_catalog.shapes(tables), neutral),
        shapes.describe(catalog.shapes(mixed.target), catalog.tables(mixed.target)),
    )


def test_equal_shapes_have_one_fingerprint(mixed: Mixed) -> None:
    every = ", ".join(
        f"{declared} not null" if n % 2 else declared for n, declared in enumerate(KINDS)
    )
    mixed.world.run(
        f"create table every ({every})",
        "create table loose (what varchar2(20), n number)",
        'create table "Odd One" ("Id" number(9) primary key, "from" varchar2(9), "ÄB c" number(1))',
        "create table counted (id number(9) generated always as identity primary key, n number(4))",
        "create table lesser (id number(18) generated by default as identity primary key)",
        "create table computed (id number(9) primary key, twice number(12,2) as (id * 2), z varchar2(9))",
        "create table part (id number(9), hid number(4) invisible, z varchar2(3))",
    )  # fmt: skip
    for one in mixed.tables().values():
        identity = {"counted": "always", "lesser": "by default"}.get(one.table.name.name)
        text = ddl(one.table, generated_as="id * 2")
        if identity:
            text = text.replace(" not null", f" generated {identity} as identity", 1)
        mixed.database.run(text)

    here, there = fingerprints(mixed)

    assert described(mixed)[0] == described(mixed)[1]
    assert here == there


@pytest.mark.parametrize(
    "statement",
    [
        "alter table shop.t add c int",
        "alter table shop.t drop column v",
        "alter table shop.t rename column v to w",
        "alter table shop.t alter v type varchar(9)",
        "alter table shop.t alter v type text",
        "alter table shop.t alter id type bigint",
        "alter table shop.t alter n type numeric(10,2)",
        "alter table shop.t alter at type timestamp",
        "create table shop.more (id int)",
        "drop table shop.t",
    ],
)
def test_another_shape_has_another_fingerprint(mixed: Mixed, statement: str) -> None:
    mixed.world.run("create table t (id number(9) primary key, v varchar2(5), n number, at date)",
                    "create table last (id number(9))")  # fmt: skip
    mixed.make_targets()
    before = fingerprints(mixed)
    assert before[0] == before[1]

    mixed.database.run(statement)

    assert fingerprints(mixed)[1] != before[0]


@pytest.mark.parametrize(
    "statement",
    [
        "alter table shop.t alter v set not null",
        "create index on shop.t (v)",
        "alter table shop.t drop constraint t_pkey",
    ],
)
def test_what_no_row_carries_leaves_the_fingerprints_equal(mixed: Mixed, statement: str) -> None:
    mixed.world.run("create table t (id number(9) primary key, v varchar2(5))")
    mixed.make_targets()

    mixed.database.run(statement)

    here, there = fingerprints(mixed)
    assert here == there
