"""The catalogue: which tables are selected, what identifies their rows, and when their shape has changed."""

from __future__ import annotations

from typing import Any

import pytest

from bowline_worker.contract import BadConfig, Side, Unsupported
from bowline_worker.endpoints import open_endpoint
from bowline_worker.endpoints.patterns import Pattern
from bowline_worker.endpoints.postgres import catalog
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Table, TableName
from bowline_worker.saga_checks import require_equal_shapes
from servers import Database, Pair

PARTITIONED = (
    "create schema part",
    "create table public.orders (id int not null, at date not null, primary key (id, at))"
    " partition by range (at)",
    "create table part.orders_25 partition of public.orders for values from ('2025-01-01') to ('2026-01-01')",
    "create table part.orders_26 partition of public.orders for values from ('2026-01-01') to ('2027-01-01')"
    " partition by list (id)",
    "create table part.orders_26_1 partition of part.orders_26 for values in (1)",
)


def found(site: Site) -> dict[str, Table]:
    return {str(table.name): table for table in catalog.tables(site)}


def source(pair: Pair, *statements: str, **change: Any) -> Site:
    pair.source.run(*statements)
    return pair.site(Side.SOURCE, **change)


def test_patterns_select_tables_and_tell_upper_from_lower_case(pair: Pair) -> None:
    site = source(
        pair,
        "create schema shop",
        'create schema "Shop"',
        "create table shop.item (id int primary key)",
        'create table "Shop".item (id int primary key)',
        "create table shop.item_log (id int primary key)",
        "create table shop.tmp_1 (id int primary key)",
        "create table public.item (id int primary key)",
        "create view shop.items as select * from shop.item",
        include=["shop.*"],
        exclude=["shop.tmp_?"],
    )

    assert list(found(site)) == ["shop.item", "shop.item_log"]


@pytest.mark.parametrize("pattern", ["item", ".item", "shop.", ""])
def test_a_pattern_without_schema_and_table_is_refused(pattern: str) -> None:
    with pytest.raises(BadConfig, match=r"not of the form schema\.table"):
        Pattern(pattern)


def test_a_bracket_in_a_pattern_is_only_a_bracket() -> None:
    assert Pattern("a.b[c]").matches(TableName("a", "b[c]"))
    assert not Pattern("a.b[c]").matches(TableName("a", "bc"))


def test_own_and_system_schemas_are_never_selected(pair: Pair) -> None:
    site = source(
        pair,
        "create schema bowline",
        "create table bowline.switch (id int primary key)",
        include=["*.*"],
    )

    assert found(site) == {}


def test_a_partition_is_selected_by_its_ancestors_name_and_parents_are_not_listed(
    pair: Pair,
) -> None:
    tables = found(source(pair, *PARTITIONED, include=["public.orders"]))

    assert list(tables) == ["part.orders_25", "part.orders_26_1"]
    assert tables["part.orders_25"].parent == TableName("public", "orders")
    assert tables["part.orders_26_1"].parent == TableName("part", "orders_26")
    assert tables["part.orders_26_1"].key == ("id", "at")


def test_excluding_a_partitioned_table_excludes_its_partitions(pair: Pair) -> None:
    site = source(pair, *PARTITIONED, include=["*.*"], exclude=["public.orders"])

    assert found(site) == {}


def test_columns_come_in_the_order_of_the_table_without_dropped_ones(pair: Pair) -> None:
    site = source(
        pair,
        "create schema shop",
        "create type shop.size as enum ('s', 'l')",
        "create table public.item (gone int, id int generated always as identity primary key,"
        " price numeric(12,2) not null, size shop.size, tags text[],"
        " twice numeric generated always as (price * 2) stored)",
        "alter table public.item drop gone",
    )

    columns = {column.name: column for column in found(site)["public.item"].columns}
    written = [column.name for column in found(site)["public.item"].written]

    assert list(columns) == ["id", "price", "size", "tags", "twice"]
    assert written == ["id", "price", "size", "tags"]
    assert columns["id"].identity_always
    assert columns["price"].not_null
    assert columns["price"].type_text == "numeric(12,2)"
    assert columns["price"].type_name == "numeric"
    assert columns["size"].type_text == "shop.size"
    assert (columns["size"].type_schema, columns["size"].type_name) == ("shop", "size")
    assert columns["tags"].type_name == "_text"


@pytest.mark.parametrize(
    ("definition", "more", "key", "one_lane"),
    [
        ("id int primary key, v text", "", ("id",), False),
        ("a int, b int, v text, primary key (b, a)", "", ("b", "a"), False),
        ("id int primary key, v text unique", "", ("id",), True),
        ("id int, v text", "", (), True),
        ("id int unique, v text", "", (), True),
        ("id int primary key deferrable, v text", "", (), True),
        ("id int primary key, v int4range, exclude using gist (v with &&)", "", ("id",), True),
        ("id int primary key, v text", "create unique index on t (lower(v))", ("id",), True),
        ("id int primary key, v text", "create index on t (v)", ("id",), False),
        ("id int primary key, v text", "alter table t replica identity full", ("id",), False),
        (
            "id int primary key, v text not null",
            "create unique index u on t (v); alter table t replica identity using index u",
            ("v",),
            True,
        ),
        (
            "id int, v text not null",
            "create unique index u on t (v); alter table t replica identity using index u",
            ("v",),
            False,
        ),
        ("a int primary key generated always as (1) stored, v text", "", (), True),
        ("id int, v text, primary key (id) include (v)", "", ("id",), False),
    ],
)
def test_the_key_is_what_the_stream_identifies_rows_by(
    pair: Pair, definition: str, more: str, key: tuple[str, ...], one_lane: bool
) -> None:
    site = source(pair, f"create table t ({definition})", *filter(None, more.split("; ")))

    table = found(site)["public.t"]

    assert (table.key, table.one_lane) == (key, one_lane)


@pytest.mark.parametrize(
    ("type_text", "one_lane"),
    [
        ("bigint", False),
        ("text", False),
        ('text collate "C"', False),
        ("text collate blind", True),
        ("varchar(9) collate blind", True),
        ("uuid", False),
        ("timestamptz", False),
        ("char(3)", False),
        ("bpchar", True),
        ("numeric", True),
        ("numeric(12, 2)", False),
        ("double precision", True),
        ("interval", True),
        ("jsonb", True),
        ("text[]", True),
        ("mood", False),
        ("fixed", False),
        ("nested", False),
        ("loose", True),
        ("blindly", True),
    ],
)
def test_a_key_whose_equal_values_differ_as_text_is_one_lanes(
    pair: Pair, type_text: str, one_lane: bool
) -> None:
    """Two lanes would change one row at once, or in the wrong order."""
    blind = []
    if "blind" in type_text:
        if not pair.source.rows("select from pg_collation where collprovider = 'i'"):
            pytest.skip("this server was built without ICU")
        blind = [
            "create collation blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            "create domain blindly as text collate blind",
        ]
    site = source(
        pair,
        *blind,
        "create type mood as enum ('calm', 'wild')",
        "create domain fixed as numeric(9, 3)",
        "create domain nested as fixed check (value > 0)",
        "create domain loose as numeric",
        f"create table t (id {type_text} primary key, v text)",
    )

    assert found(site)["public.t"].one_lane is one_lane


def test_unlogged_tables_are_marked_and_temporary_ones_left_out(pair: Pair) -> None:
    with pair.source.connect() as connection:
        connection.execute("create temp table t (id int primary key)")
        tables = found(source(pair, "create unlogged table public.u (id int primary key)"))

    assert {name: table.persistent for name, table in tables.items()} == {"public.u": False}


def test_a_table_that_an_extension_made_is_left_out(pair: Pair) -> None:
    site = source(
        pair,
        "create table public.t (id int primary key)",
        "create table public.theirs (id int primary key)",
        "alter extension plpgsql add table public.theirs",
    )

    assert list(found(site)) == ["public.t"]


def test_rows_are_estimated_for_tables_that_were_never_analysed(pair: Pair) -> None:
    site = source(
        pair,
        "create table public.t (id int primary key, v text) with (autovacuum_enabled = false)",
        "insert into public.t select i, 'some text of a row' from generate_series(1, 10000) i",
    )

    table = found(site)["public.t"]

    assert 5_000 < table.estimated_rows < 20_000
    assert table.estimated_bytes > 10_000 * 30


@pytest.mark.parametrize(
    "ddl",
    [
        "alter table public.item add c int",
        "alter table public.item drop v",
        "alter table public.item rename v to w",
        "alter table public.item alter v type varchar(9)",
        "alter table public.item rename to item2",
        "create table public.more (id int)",
        "alter table public.orders detach partition part.orders_25",
        "drop table part.orders_25",
        "create table part.orders_27 partition of public.orders for values from ('2027-01-01') to ('2028-01-01')",
    ],
)
def test_ddl_that_changes_a_selected_shape_changes_the_fingerprint(pair: Pair, ddl: str) -> None:
    site = source(
        pair,
        *PARTITIONED,
        "create table public.item (id int primary key, v text)",
        include=["public.*", "part.*"],
    )
    before = catalog.fingerprint(site)
    assert catalog.fingerprint(site) == before

    pair.source.run(ddl)

    assert catalog.fingerprint(site) != before


@pytest.mark.parametrize(
    "ddl",
    [
        "create schema other create table t (id int)",
        "alter table public.item alter v set not null",
        "alter table public.item replica identity full",
        "create index on public.item (v)",
        "alter table public.item alter v set default 'x'",
        "insert into public.item values (1)",
    ],
)
def test_other_ddl_leaves_the_fingerprint(pair: Pair, ddl: str) -> None:
    site = source(pair, "create table public.item (id int primary key, v text)")
    before = catalog.fingerprint(site)

    pair.source.run(ddl)

    assert catalog.fingerprint(site) == before


OWN_TYPES = (
    "create type public.two as (a int, n numeric(9,4))",
    "create domain public.price as numeric(9,4)",
    "create type public.mood as enum ('calm')",
    "create type public.nest as (inner_two public.two[], p public.price)",
    "create domain public.nested as public.nest",
    "create table public.own (id int primary key, v public.nested[], r int4range, m public.mood)",
)


@pytest.mark.parametrize(
    "ddl",
    [
        "alter type public.two add attribute c int",
        "alter type public.two drop attribute a",
        "alter type public.two rename attribute a to b",
        "alter type public.nest add attribute x int",
    ],
)
def test_an_altered_composite_is_noticed_however_deep_it_is(pair: Pair, ddl: str) -> None:
    site = source(pair, *OWN_TYPES)
    before = catalog.fingerprint(site)
    assert catalog.fingerprint(site) == before

    pair.source.run(ddl)

    assert catalog.fingerprint(site) != before


def test_a_value_added_to_an_enum_leaves_the_fingerprint(pair: Pair) -> None:
    site = source(pair, *OWN_TYPES)
    before = catalog.fingerprint(site)

    pair.source.run("alter type public.mood add value 'wild'")

    assert catalog.fingerprint(site) == before


@pytest.mark.parametrize(
    "narrower",
    ["create type public.two as (a int, n numeric(9,2))", "create domain public.price as numeric(9,2)"],
    ids=["composite", "domain"],
)  # fmt: skip
def test_a_type_that_would_round_what_it_is_given_is_refused_by_name(
    pair: Pair, narrower: str
) -> None:
    """It is no error to the server: 1.2345 would be 1.23 there."""
    (wider,) = (each for each in OWN_TYPES if each.startswith(narrower.partition(" as ")[0]))
    pair.source.run(*OWN_TYPES)
    pair.target.run(*(narrower if each is wider else each for each in OWN_TYPES))
    source, target = (open_endpoint(pair.config(), side) for side in Side)

    with pytest.raises(Unsupported) as refused:
        require_equal_shapes(source, target)

    assert refused.value.reason == "SchemaDiffers"
    assert "public.own: column v is public.nested[]" in str(refused.value)
    assert "numeric(9,2)" in str(refused.value)


def test_shapes_say_what_the_fingerprint_is_made_of(pair: Pair) -> None:
    site = source(pair, "create table public.item (id int primary key, v text)")

    shapes = catalog.shapes(site)

    assert [c.name for c in shapes[TableName("public", "item")]] == ["id", "v"]


def test_the_parents_of_selected_leaves_must_be_fenced_too(database: Database, pair: Pair) -> None:
    """A statement on a parent fires no trigger of the leaves that it writes."""
    site = source(
        pair,
        *PARTITIONED,
        "create table public.base (id int)",
        "create table part.child () inherits (public.base)",
        include=["part.orders_26_1", "part.child"],
    )

    with pair.source.connect() as connection:
        fenced = [str(r.table) for r in catalog.select(connection, site.config).fenced]

    assert fenced == [
        "part.child",
        "part.orders_26",
        "part.orders_26_1",
        "public.base",
        "public.orders",
    ]
