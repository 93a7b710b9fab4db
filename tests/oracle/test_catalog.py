"""The dictionary: which tables are selected, their names, what their rows are known by, and when they changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import oracledb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowline_worker.contract import (
    BadConfig,
    NotPermitted,
    Unsupported,
)
from bowline_worker.endpoints.base import SequenceState
from bowline_worker.endpoints.oracle import catalog, dictionary, naming
from bowline_worker.endpoints.oracle.catalog import OracleTable
from bowline_worker.endpoints.oracle.connection import connect
from bowline_worker.endpoints.oracle.keys import find_key, rules_of
from bowline_worker.endpoints.oracle.logminer import LogMiner
from bowline_worker.endpoints.oracle.mining import Miner
from bowline_worker.endpoints.oracle.position import Place
from bowline_worker.endpoints.oracle.redo import parse
from bowline_worker.endpoints.oracle.sequences import OracleSequence, read_sequences
from bowline_worker.endpoints.oracle.types import OracleType, Terms
from bowline_worker.model import TableName
from oracle.server import only_as
from oracle.standin.backend import Value
from oracle.standin.engine.relations import View
from oracle.standin.engine.session import Session
from oracle.type_cases import column, number, supported
from oracle.world import World
from oracle.world import world as entered

#: A table of every type that can be migrated, as its owner declares it, and what it becomes.
KINDS = {
    "n4 number(4)": "smallint",
    "n9 number(9)": "integer",
    "n18 number(18)": "bigint",
    "n38 integer": "numeric(38,0)",
    "price number(12,2)": "numeric(12,2)",
    "any_number number": "numeric",
    "f float": "numeric",
    "bf binary_float": "real",
    "bd binary_double": "double precision",
    "made date": "timestamp(0) without time zone",
    "ts timestamp(3)": "timestamp(3) without time zone",
    "tz timestamp with time zone": "timestamp(6) with time zone",
    "ltz timestamp(9) with local time zone": "timestamp(6) with time zone",
    "ym interval year to month": "interval year to month",
    "ds interval day to second(3)": "interval day to second(3)",
    "v varchar2(20)": "character varying(20)",
    "vc varchar2(20 char)": "character varying(20)",
    "nv nvarchar2(10)": "character varying(10)",
    "c char(3)": "character(3)",
    "nc nchar(4)": "character(4)",
    "r raw(16)": "bytea",
    "cl clob": "text",
    "ncl nclob": "text",
    "bl blob": "bytea",
    "ri rowid": "text",
}


@dataclass
class Catalogue(World):
    """With what its dictionary shows, also of what the stand-in can't make."""

    def read(self, *include: str, exclude: Sequence[str] = ()) -> dict[str, OracleTable]:
        config = self.site.config.model_copy(
            update={"include": list(include or ("shop.*",)), "exclude": list(exclude)}
        )
        return {
            str(one.table.name): one for one in catalog.tables(replace(self.site, config=config))
        }

    def table(self, name: str = "shop.t") -> OracleTable:
        return self.read()[name]

    def show(self, view: str, **row: Value) -> None:
        """Let a view of the dictionary have one more row: of what the stand-in can't make itself."""
        old = self.stand_in.database.views[view]
        names = [name for name, _ in old.columns]
        assert set(row) <= set(names)

        def fill(session: Session) -> Iterator[Sequence[Value]]:
            yield from old.fill(session)
            yield tuple(row.get(name) for name in names)

        self.stand_in.database.views[view] = View(old.columns, fill)

    def alter(self, view: str, column: str, of: str, **change: Value) -> None:
        """Let a view tell something else of the rows that have `of` in that column."""
        old = self.stand_in.database.views[view]
        names = [name for name, _ in old.columns]
        assert {column, *change} <= set(names)

        def fill(session: Session) -> Iterator[Sequence[Value]]:
            for values in old.fill(session):
                row = dict(zip(names, values, strict=True))
                yield tuple((row | change if row[column] == of else row).values())

        self.stand_in.database.views[view] = View(old.columns, fill)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Catalogue]:
    with entered(Catalogue, tmp_path) as here:
        yield here


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("oracle", "model"),
    [
        ("CUSTOMER", "customer"),
        ("ORDER_2$#", "order_2$#"),
        ("Customer", "Customer"),
        ("customer", "customer"),
        ("ÄRGER", "ärger"),
        ("WITH BLANK", "with blank"),
        ("STRASSE ß", "STRASSE ß"),
        ("4711", "4711"),
    ],
)
def test_a_name_nobody_quoted_is_lower_case_and_another_stays_as_it_is(
    oracle: str, model: str
) -> None:
    assert naming.neutral(oracle) == model


@given(st.text(min_size=1))
def test_a_name_of_the_model_stays_what_it_is(name: str) -> None:
    once = naming.neutral(name)

    assert naming.neutral(once) == once


def test_tables_and_columns_have_names_of_postgresql_and_lead_back_to_oracles(
    world: Catalogue,
) -> None:
    world.run(
        "create table customer (id number(9) primary key, full_name varchar2(9))",
        'create table "Odd One" ("Id" number(9) primary key, "N" number(1))',
    )

    tables = world.read()

    assert list(tables) == ["shop.Odd One", "shop.customer"]
    assert tables["shop.customer"].quoted == '"SHOP"."CUSTOMER"'
    assert tables["shop.customer"].columns == {"ID": "id", "FULL_NAME": "full_name"}
    assert tables["shop.Odd One"].quoted == '"SHOP"."Odd One"'
    assert tables["shop.Odd One"].columns == {"Id": "Id", "N": "n"}
    assert tables["shop.Odd One"].table.key == ("Id",)


def test_two_tables_that_would_become_one_are_refused_by_name(world: Catalogue) -> None:
    world.run("create table item (id number(9))", 'create table "item" (id number(9))')

    with pytest.raises(Unsupported, match=r"SHOP\.ITEM and SHOP\.item would both be shop\.item"):
        world.read()


def test_one_of_two_tables_that_would_become_one_can_be_excluded_by_oracles_spelling(
    world: Catalogue,
) -> None:
    world.run("create table item (id number(9))", 'create table "item" (v number(9))')

    tables = world.read("shop.*", exclude=["SHOP.item"])

    assert tables["shop.item"].name == "ITEM"


def test_two_columns_that_would_become_one_are_refused_by_name(world: Catalogue) -> None:
    world.run('create table t (id number(9), "id" number(9))')

    with pytest.raises(Unsupported, match=r"columns of SHOP\.T .* ID and id would both be id"):
        world.read()


# --- selection -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("include", "exclude", "found"),
    [
        (["shop.*"], [], ["shop.Order", "shop.item", "shop.item_1", "shop.item_2"]),
        (["SHOP.*"], [], ["shop.Order", "shop.item", "shop.item_1", "shop.item_2"]),
        (["*.*"], ["shop.item_?"], ["shop.Order", "shop.item"]),
        (["*.*"], ["SHOP.ITEM_?"], ["shop.Order", "shop.item"]),
        (["shop.ITEM"], [], []),
        (["shop.order"], [], []),
        (["shop.Order", "SHOP.ITEM_1"], [], ["shop.Order", "shop.item_1"]),
        (["other.*"], [], []),
    ],
)
def test_patterns_match_the_models_names_and_oracles(
    world: Catalogue, include: list[str], exclude: list[str], found: list[str]
) -> None:
    world.run(
        *(f"create table {name} (id number(9))" for name in ("item", "item_1", "item_2", '"Order"'))
    )

    assert list(world.read(*include, exclude=exclude)) == found


def test_a_pattern_without_schema_is_refused(world: Catalogue) -> None:
    with pytest.raises(BadConfig, match=r"not of the form schema\.table"):
        world.read("item")


def test_tables_of_oracles_own_schemas_are_never_selected(world: Catalogue) -> None:
    world.run("create table t (id number(9))", "create table sys.job_queue (id number(9))")

    assert list(world.read("*.*")) == ["shop.t"]


def test_bowlines_books_are_left_out_in_the_schema_of_its_user_alone(world: Catalogue) -> None:
    only_as("BOWLINE")
    world.run(
        "create table bowline.bowline_switch (id number(9))",
        "create table bowline.t (id number(9))",
        "create table bowline_items (id number(9))",
    )

    assert list(world.read("*.*")) == ["bowline.t", "shop.bowline_items"]


@pytest.mark.parametrize(
    "name", ["MLOG$_ITEM", "RUPD$_ITEM", "AQ$_ITEM_L", "DR$ITEM$I", "SYS_IOT_OVER_1", "BIN$x==$0"]
)
def test_what_oracle_made_for_itself_is_left_out(world: Catalogue, name: str) -> None:
    world.run("create table item (id number(9))", f'create table "{name}" (id number(9))')

    assert list(world.read()) == ["shop.item"]


@pytest.mark.parametrize(
    "change",
    [
        {"NESTED": "YES"},
        {"SECONDARY": "Y"},
        {"DROPPED": "YES"},
        {"IOT_TYPE": "IOT_OVERFLOW", "IOT_NAME": "ITEM"},
        {"IOT_TYPE": "IOT_MAPPING", "IOT_NAME": "ITEM"},
    ],
)
def test_what_the_dictionary_calls_no_table_of_its_own_is_left_out(
    world: Catalogue, change: dict[str, Value]
) -> None:
    world.run("create table item (id number(9))", "create table t (id number(9))")
    world.alter("ALL_TABLES", "TABLE_NAME", "T", **change)

    assert list(world.read()) == ["shop.item"]


def test_temporary_tables_are_left_out(world: Catalogue) -> None:
    world.run("create global temporary table t (id number(9)) on commit delete rows")

    assert world.read() == {}


def test_external_tables_and_materialized_views_are_left_out(world: Catalogue) -> None:
    world.run(*(f"create table {name} (id number(9))" for name in ("t", "loaded", "summary")))
    world.show("ALL_EXTERNAL_TABLES", OWNER="SHOP", TABLE_NAME="LOADED")
    world.show("ALL_MVIEWS", OWNER="SHOP", MVIEW_NAME="TOTALS", CONTAINER_NAME="SUMMARY")

    assert list(world.read()) == ["shop.t"]


def test_a_table_that_was_dropped_while_the_dictionary_was_read_is_left_out(
    world: Catalogue,
) -> None:
    world.run("create table t (id number(9))")
    world.show(
        "ALL_TABLES", OWNER="SHOP", TABLE_NAME="GONE", TEMPORARY="N", NESTED="NO", SECONDARY="N", DROPPED="NO"
    )  # fmt: skip

    assert list(world.read()) == ["shop.t"]


def test_a_table_that_bowline_may_not_read_is_not_seen(world: Catalogue) -> None:
    world.run("create table t (id number(9))")
    assert list(world.read()) == ["shop.t"]

    world.stand_in.database.users["BOWLINE"].privileges = {"SELECT ANY DICTIONARY"}

    assert world.read() == {}


def test_a_session_without_v_database_is_told_what_it_lacks(world: Catalogue) -> None:
    world.run("create table t (id number(9))")
    del world.stand_in.database.views["V$DATABASE"]

    with pytest.raises(NotPermitted, match="could not read the dictionary"):
        world.read()


def test_all_tables_are_read_with_as_many_statements_as_one(
    world: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    records = dictionary.records

    def counted(
        connection: oracledb.Connection, query: str, binds: dict[str, str] | None = None
    ) -> dictionary.Records:
        asked.append(query)
        return records(connection, query, binds)

    monkeypatch.setattr(dictionary, "records", counted)
    monkeypatch.setattr(catalog, "records", counted)
    world.run("create table t1 (id number(9))")
    world.read()
    of_one = len(asked)
    world.run(*(f"create table t{at} (id number(9))" for at in range(2, 20)))
    asked.clear()

    assert len(world.read()) == 19
    assert len(asked) == of_one < 10


def test_owners_beyond_what_one_statement_takes_are_read_by_further_ones(
    world: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_as("BOWLINE")
    monkeypatch.setattr(dictionary, "OWNERS_AT_ONCE", 1)
    world.run(
        "create table t (id number(9) primary key)",
        "create table bowline.t (v varchar2(9) primary key)",
    )

    keys = {name: one.table.key for name, one in world.read("*.*").items()}

    assert keys == {"bowline.t": ("v",), "shop.t": ("id",)}


# --- columns -------------------------------------------------------------------------------------


def test_a_column_of_every_supported_type_has_the_type_that_it_becomes(world: Catalogue) -> None:
    world.run(f"create table t ({', '.join(KINDS)})")

    one = world.table()

    assert {c.name: c.type_text for c in one.table.columns} == {
        declared.split()[0]: text for declared, text in KINDS.items()
    }
    assert {c.type_schema for c in one.table.columns} == {"pg_catalog"}
    assert list(one.kinds) == [c.name for c in one.table.columns]
    assert one.refusals == ()


def test_a_shop_is_read_as_its_owner_made_it(world: Catalogue) -> None:
    world.run(
        "create table customer (id number(9) generated always as identity primary key,"
        " name varchar2(40 char) not null, joined date default sysdate not null)",
        "create table item (sku varchar2(12) primary key, price number(10,2) not null, picture blob)",
        "create table orders (id number(18) generated by default as identity primary key,"
        " customer number(9) not null references customer, at timestamp(6) not null, note clob)",
        "create table order_line (orders number(18) references orders, line number(4), sku varchar2(12) not null"
        " references item, pieces number(5) not null, total as (pieces * 2), primary key (orders, line))",
        "create table visit (at timestamp, page varchar2(200))",
    )

    tables = {name: one.table for name, one in world.read().items()}

    assert {name: (table.key, table.one_lane) for name, table in tables.items()} == {
        "shop.customer": (("id",), False),
        "shop.item": (("sku",), False),
        "shop.order_line": (("orders", "line"), False),
        "shop.orders": (("id",), False),
        "shop.visit": ((), True),
    }
    customer = {c.name: c for c in tables["shop.customer"].columns}
    assert customer["id"].identity_always
    assert customer["name"].not_null
    assert not {c.name: c for c in tables["shop.orders"].columns}["id"].identity_always
    assert [c.name for c in tables["shop.order_line"].written] == [
        "orders",
        "line",
        "sku",
        "pieces",
    ]
    assert tables["shop.order_line"].columns[-1].generated
    assert all(table.persistent and table.parent is None for table in tables.values())


def test_columns_come_in_their_order_with_invisible_and_without_dropped_and_oracles_own_ones(
    world: Catalogue,
) -> None:
    world.run(
        "create table t (gone number(9), b number(9), hid number(9) invisible, a number(9))",
        "alter table t drop column gone",
    )
    own = {"OWNER": "SHOP", "TABLE_NAME": "T", "DATA_TYPE": "NUMBER", "VIRTUAL_COLUMN": "NO"}
    own |= {"NULLABLE": "Y", "HIDDEN_COLUMN": "YES"}
    world.show(
        "ALL_TAB_COLS", **own | {"VIRTUAL_COLUMN": "YES"}, COLUMN_NAME="SYS_NC00004$",
        INTERNAL_COLUMN_ID=Decimal(4), USER_GENERATED="NO",
    )  # fmt: skip
    world.show(
        "ALL_TAB_COLS", **own, COLUMN_NAME="SYS_C00005_26112320:44:10$",
        INTERNAL_COLUMN_ID=Decimal(5), USER_GENERATED="YES",
    )  # fmt: skip

    table = world.table().table

    assert [c.name for c in table.columns] == ["b", "hid", "a"]


def test_a_column_that_can_not_be_migrated_is_refused_and_stays_in_the_shape(
    world: Catalogue,
) -> None:
    world.run("create table t (id number(9) primary key, doc clob, photo long raw)")
    world.alter("ALL_TAB_COLS", "COLUMN_NAME", "DOC", DATA_TYPE="XMLTYPE", DATA_TYPE_OWNER="SYS")

    one = world.table()

    assert [c.name for c in one.table.columns] == ["id"]
    assert [(r.column.name, r.reason) for r in one.refusals] == [
        ("DOC", "UnsupportedType"),
        ("PHOTO", "UnsupportedType"),
    ]
    assert [(c.name, c.type_text) for c in one.shape] == [
        ("id", "integer"),
        ("doc", "XMLTYPE"),
        ("photo", "LONG RAW"),
    ]


def test_a_reference_to_an_object_is_refused_whatever_its_type(world: Catalogue) -> None:
    world.run("create table t (id number(9) primary key, who number)")
    world.alter("ALL_TAB_COLS", "COLUMN_NAME", "WHO", DATA_TYPE_MOD="REF")

    ((refusal,),) = (one.refusals for one in world.read().values())

    assert "REF NUMBER" in refusal.message


def test_a_name_that_log_miner_tells_no_changes_of_is_refused(world: Catalogue) -> None:
    world.run(f"create table {'t' * 31} (id number(9) primary key)")

    ((refusal,),) = (one.refusals for one in world.read().values())

    assert refusal.reason == "NameTooLong"


def test_the_terms_of_the_migration_are_those_of_every_column(world: Catalogue) -> None:
    world.run("create table t (id number(9), v varchar2(9))")
    terms = Terms()

    (one,) = catalog.tables(world.site, terms=terms)

    assert all(kind.terms is terms for kind in one.kinds.values())


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "more", "key", "one_lane"),
    [
        ("id number(9) primary key, v varchar2(9)", "", ("id",), False),
        ("a number(9), b number(9), primary key (b, a)", "", ("b", "a"), False),
        ("id number(9) primary key, v varchar2(9) unique", "", ("id",), True),
        (
            "id number(9) primary key, v varchar2(9)",
            "create unique index u on t (v)",
            ("id",),
            True,
        ),
        ("id number(9) primary key, v varchar2(9)", "create index i on t (v)", ("id",), False),
        ("id number(9), v varchar2(9)", "", (), True),
        ("id number(9) unique, v varchar2(9)", "", (), True),
        ("id number(9) not null unique, v varchar2(9)", "", ("id",), False),
        ("id number(9) not null", "create unique index u on t (id)", ("id",), False),
        ("a number(9) not null, b number(9)", "create unique index u on t (a, b)", (), True),
        (
            "a number(9) not null, b number(9) not null, c number(9) not null",
            "create unique index u on t (a, b);create unique index v on t (c)",
            ("c",),
            True,
        ),
        ("id number(9) primary key disable, v varchar2(9)", "", (), True),
        ("id number(9) not null, v varchar2(9), unique (id) disable", "", (), True),
        ("id number(9) primary key, o number(9) references t", "", ("id",), False),
        ("d binary_double primary key, v varchar2(9)", "", (), True),
        ("d binary_double primary key, v varchar2(9) not null unique", "", ("v",), True),
        ("at timestamp(9) primary key, v varchar2(9)", "", (), True),
    ],
)
def test_the_key_is_what_rows_can_be_known_by(
    world: Catalogue, definition: str, more: str, key: tuple[str, ...], one_lane: bool
) -> None:
    world.run(f"create table t ({definition})", *filter(None, more.split(";")))

    table = world.table().table

    assert (table.key, table.one_lane) == (key, one_lane)


@pytest.mark.parametrize(
    ("type_text", "one_lane"),
    [
        ("number(9)", False),
        ("number(38)", False),
        ("number(12,2)", False),
        ("number", True),
        ("float", True),
        ("varchar2(9)", False),
        ("char(3)", False),
        ("raw(16)", False),
        ("date", False),
        ("timestamp(6)", False),
        ("interval day to second", True),
    ],
)
def test_a_key_whose_equal_values_may_differ_as_text_is_one_lanes(
    world: Catalogue, type_text: str, one_lane: bool
) -> None:
    world.run(f"create table t (id {type_text} primary key, v varchar2(9))")

    table = world.table().table

    assert table.key == ("id",)
    assert table.one_lane is one_lane


@pytest.mark.parametrize(
    "change",
    [{"DEFERRABLE": "DEFERRABLE"}, {"VALIDATED": "NOT VALIDATED"}],
)
def test_a_key_that_waits_for_the_commit_or_was_never_checked_is_none(
    world: Catalogue, change: dict[str, Value]
) -> None:
    """Such a constraint has an index that is not unique."""
    world.run("create table t (id number(9) constraint k primary key, v varchar2(9))")
    world.alter("ALL_CONSTRAINTS", "CONSTRAINT_NAME", "K", **change)
    world.alter("ALL_INDEXES", "INDEX_NAME", "K", UNIQUENESS="NONUNIQUE")

    table = world.table().table

    assert (table.key, table.one_lane) == ((), True)


def test_the_columns_of_a_key_come_in_the_order_of_its_index(world: Catalogue) -> None:
    world.run(
        "create table t (a number(9) not null, b number(9) not null)",
        "create unique index u on t (b, a)",
    )
    view = world.stand_in.database.views["ALL_IND_COLUMNS"]
    world.stand_in.database.views["ALL_IND_COLUMNS"] = View(
        view.columns, lambda session: reversed(list(view.fill(session)))
    )

    assert world.table().table.key == ("b", "a")


def test_a_constraint_on_an_index_that_is_not_unique_is_a_key_all_the_same(
    world: Catalogue,
) -> None:
    world.run(
        "create table t (id number(9) constraint k primary key, v varchar2(9) constraint u unique)"
    )
    world.alter("ALL_INDEXES", "TABLE_NAME", "T", UNIQUENESS="NONUNIQUE")

    table = world.table().table

    assert (table.key, table.one_lane) == (("id",), True)


@pytest.mark.parametrize(
    "change",
    [
        {"INDEX_TYPE": "FUNCTION-BASED NORMAL"},
        {"STATUS": "UNUSABLE"},
    ],
)
def test_an_index_on_an_expression_or_out_of_use_is_no_key_and_keeps_rows_apart(
    world: Catalogue, change: dict[str, Value]
) -> None:
    world.run(
        "create table t (id number(9) primary key)",
        "create table u (id number(9) not null)",
        "create unique index i_u on u (id)",
        "create table w (id number(9) primary key, v number(9) not null)",
        "create unique index i_w on w (v)",
    )
    world.alter("ALL_INDEXES", "INDEX_NAME", "I_U", **change)
    world.alter("ALL_INDEXES", "INDEX_NAME", "I_W", **change)

    found = {name: (one.table.key, one.table.one_lane) for name, one in world.read().items()}

    assert found == {"shop.t": (("id",), False), "shop.u": ((), True), "shop.w": (("id",), True)}


def test_the_index_of_a_lob_keeps_no_rows_apart(world: Catalogue) -> None:
    world.run("create table t (id number(9) primary key, doc clob)")
    world.show(
        "ALL_INDEXES", OWNER="SHOP", INDEX_NAME="SYS_IL01$$", INDEX_TYPE="LOB", TABLE_OWNER="SHOP", TABLE_NAME="T",
        UNIQUENESS="UNIQUE", STATUS="VALID",
    )  # fmt: skip
    world.show(
        "ALL_IND_COLUMNS", INDEX_OWNER="SHOP", INDEX_NAME="SYS_IL01$$", TABLE_OWNER="SHOP", TABLE_NAME="T",
        COLUMN_NAME="DOC", COLUMN_POSITION=Decimal(1),
    )  # fmt: skip

    assert not world.table().table.one_lane


def test_a_computed_column_makes_no_key(world: Catalogue) -> None:
    world.run(
        "create table t (id number(9) not null, twice number(9) as (id * 2) not null)",
        "create unique index u on t (twice)",
    )

    table = world.table().table

    assert (table.key, table.one_lane) == ((), True)


def kinds_of(**columns: OracleType) -> dict[str, OracleType]:
    return {name.upper(): kind for name, kind in columns.items()}


INDEX = {"INDEX_OWNER": "SHOP", "INDEX_NAME": "I", "INDEX_TYPE": "NORMAL", "STATUS": "VALID"}
CONSTRAINT = {
    "OWNER": "SHOP", "INDEX_OWNER": "SHOP", "INDEX_NAME": "I", "DEFERRABLE": "NOT DEFERRABLE",
    "VALIDATED": "VALIDATED",
}  # fmt: skip


def test_two_constraints_that_one_index_serves_are_two() -> None:
    """The index on (A, B) serves the primary key on A as well."""
    constraints = [
        {**CONSTRAINT, "CONSTRAINT_NAME": "P", "CONSTRAINT_TYPE": "P", "COLUMN_NAME": "A"},
        {**CONSTRAINT, "CONSTRAINT_NAME": "U", "CONSTRAINT_TYPE": "U", "COLUMN_NAME": "A"},
        {**CONSTRAINT, "CONSTRAINT_NAME": "U", "CONSTRAINT_TYPE": "U", "COLUMN_NAME": "B"},
    ]

    rules = rules_of([], constraints)
    a = supported(replace(number(9, 0), nullable=False))

    assert [rule.columns for rule in rules] == [("A",), ("A", "B")]
    assert find_key(rules, kinds_of(a=a, b=a)) == rules[0]


def test_a_constraint_whose_index_has_no_owner_in_the_dictionary_is_told_once() -> None:
    constraint = {
        **CONSTRAINT,
        "INDEX_OWNER": None,
        "CONSTRAINT_NAME": "P",
        "CONSTRAINT_TYPE": "P",
        "COLUMN_NAME": "A",
    }

    rules = rules_of([{**INDEX, "COLUMN_NAME": "A"}], [constraint])

    assert [(rule.columns, rule.is_primary, rule.is_certain) for rule in rules] == [
        (("A",), True, True)
    ]


def test_no_key_has_a_column_that_was_refused_or_is_not_told_by_the_redo() -> None:
    rules = rules_of([{**INDEX, "COLUMN_NAME": "DOC"}], [])
    doc = supported(replace(column("CLOB"), nullable=False))

    assert find_key(rules, {}) is None
    assert find_key(rules, kinds_of(doc=doc)) is None


# --- sizes, logging, segments --------------------------------------------------------------------


def test_rows_and_bytes_are_estimated_from_the_statistics(world: Catalogue) -> None:
    world.run("create table t (id number(9))", "create table fresh (id number(9))")
    world.alter("ALL_TABLES", "TABLE_NAME", "T", NUM_ROWS=Decimal(1_000), BLOCKS=Decimal(16))

    tables = {name: one.table for name, one in world.read().items()}

    assert (tables["shop.t"].estimated_rows, tables["shop.t"].estimated_bytes) == (1_000, 131_072)
    assert (tables["shop.fresh"].estimated_rows, tables["shop.fresh"].estimated_bytes) == (0, 0)


def test_a_table_tells_whether_all_its_columns_are_logged(world: Catalogue) -> None:
    world.run(
        "create table t (id number(9))",
        "create table keyed (id number(9) primary key)",
        "alter table t add supplemental log data (all) columns",
        "alter table keyed add supplemental log data (primary key) columns",
    )

    before = {name: one.logs_all_columns for name, one in world.read().items()}
    world.run("alter database add supplemental log data (all) columns")
    after = {name: one.logs_all_columns for name, one in world.read().items()}

    assert before == {"shop.t": True, "shop.keyed": False}
    assert after == {"shop.t": True, "shop.keyed": True}


def test_truncate_leaves_the_object_and_gives_it_another_segment(world: Catalogue) -> None:
    world.run("create table t (id number(9))")
    (before,) = world.table().segments
    world.run("truncate table t")
    (after,) = world.table().segments

    assert before.object_id == before.data_object_id == after.object_id
    assert after.data_object_id != after.object_id
    assert world.table().table.identity == str(after.object_id)


def test_partitions_are_segments_of_one_table(world: Catalogue) -> None:
    world.run("create table t (id number(9) primary key)")
    (whole,) = world.table().segments
    world.alter("ALL_OBJECTS", "OBJECT_NAME", "T", DATA_OBJECT_ID=None)
    for at, data in ((901, 955), (902, 902)):
        world.show(
            "ALL_OBJECTS", OWNER="SHOP", OBJECT_NAME="T", SUBOBJECT_NAME=f"P{at}", OBJECT_ID=Decimal(at),
            DATA_OBJECT_ID=Decimal(data), OBJECT_TYPE="TABLE PARTITION",
        )  # fmt: skip

    one = world.table()

    assert [(s.name, s.object_id, s.data_object_id) for s in one.segments] == [
        ("P901", 901, 955),
        ("P902", 902, 902),
        ("T", whole.object_id, None),
    ]
    assert one.table.identity == str(whole.object_id)
    assert dict(catalog.selection([one]).objects) == {
        901: one.table.name,
        902: one.table.name,
        whole.object_id: one.table.name,
    }


def test_rows_of_an_index_organised_table_are_known_by_its_index_and_its_overflow(
    world: Catalogue,
) -> None:
    world.run(
        "create table t (id number(9) constraint pk_t primary key, v varchar2(9))",
        "create table sys_iot_over_7 (id number(9))",
    )
    world.alter("ALL_TABLES", "TABLE_NAME", "T", IOT_TYPE="IOT")
    world.alter("ALL_TABLES", "TABLE_NAME", "SYS_IOT_OVER_7", IOT_TYPE="IOT_OVERFLOW", IOT_NAME="T")
    world.alter("ALL_INDEXES", "INDEX_NAME", "PK_T", INDEX_TYPE="IOT - TOP")

    one = world.table()
    chosen = catalog.selection([one])

    assert [segment.kind for segment in one.segments] == ["TABLE", "INDEX"]
    assert one.table.key == ("id",)
    assert not one.table.one_lane
    assert chosen.tables == {("SHOP", "T"): one.table.name, ("SHOP", "T,PK_T"): one.table.name}
    assert set(chosen.objects) == {s.object_id for s in one.segments + one.overflow}
    assert len(chosen.objects) == 3


def test_the_rows_of_a_selected_table_come_under_its_name_in_the_model(
    world: Catalogue, tmp_path: Path
) -> None:
    world.run(
        "create table t (id number(9))",
        "create table other (id number(9))",
        "alter database add supplemental log data (all) columns",
    )
    chosen = catalog.selection(world.read("shop.t").values())
    with closing(connect(world.site)) as connection:
        session = LogMiner(world.site, connection, ["SHOP"])
        origin, start = session.origin(), session.begin()
        world.run("insert into t values (1)", "insert into other values (2)", "commit")
        place = Place(dbid=origin.dbid, resetlogs=origin.resetlogs, start=start)
        with closing(Miner(place, chosen, parse=parse, directory=tmp_path)) as miner:
            step = session.mine(miner)
            assert step is not None
            changes = [(c.table, c.sql) for one in miner.apply(step) for c in one.changes]

    assert changes == [(TableName("shop", "t"), """insert into "SHOP"."T"("ID") values ('1')""")]


# --- the fingerprint -----------------------------------------------------------------------------

SHAPE = (
    "create table item (id number(9) constraint item_pk primary key, v varchar2(5))",
    "create table last (id number(9))",
)


def fingerprints(world: Catalogue) -> tuple[str, str]:
    tables = list(world.read().values())
    return catalog.fingerprint(tables), catalog.fingerprint(tables, own=True)


@pytest.mark.parametrize(
    "ddl",
    [
        "alter table item add c number(9)",
        "alter table item drop column v",
        "alter table item rename column v to w",
        "alter table item modify v varchar2(9)",
        "alter table item add c long raw",
        "create table more (id number(9))",
        "drop table last",
    ],
)
def test_ddl_that_changes_a_selected_shape_changes_both_fingerprints(
    world: Catalogue, ddl: str
) -> None:
    only_as("BOWLINE")
    world.run(*SHAPE)
    before = fingerprints(world)
    assert fingerprints(world) == before

    world.run(ddl)

    assert all(now != then for now, then in zip(fingerprints(world), before, strict=True))


@pytest.mark.parametrize(
    "ddl",
    [
        "alter table item modify v not null",
        "alter table item modify v default 'x'",
        "alter table item add supplemental log data (all) columns",
        "create index i on item (v)",
        "insert into item values (1, 'x')",
        "truncate table item",
        "create table bowline.t (id number(9))",
    ],
)
def test_other_ddl_leaves_both_fingerprints(world: Catalogue, ddl: str) -> None:
    world.run(*SHAPE)
    before = fingerprints(world)

    world.run(ddl)

    assert fingerprints(world) == before


@pytest.mark.parametrize(
    "ddl",
    [
        ("drop table last purge", "create table last (id number(9))"),
        ("alter table last modify id number(8)",),
        # Two rows may have one key from then on, and the statement does not say that it was the key.
        ("alter table item drop constraint item_pk",),
    ],
)
def test_what_becomes_the_same_changes_oracles_own_fingerprint_alone(
    world: Catalogue, ddl: tuple[str, ...]
) -> None:
    world.run(*SHAPE)
    shared, own = fingerprints(world)

    world.run(*ddl)

    assert fingerprints(world)[0] == shared
    assert fingerprints(world)[1] != own


def test_a_partition_that_oracle_adds_by_itself_leaves_both_fingerprints(world: Catalogue) -> None:
    world.run(*SHAPE)
    before = fingerprints(world)

    world.show(
        "ALL_OBJECTS", OWNER="SHOP", OBJECT_NAME="ITEM", SUBOBJECT_NAME="SYS_P1", OBJECT_ID=Decimal(901),
        DATA_OBJECT_ID=Decimal(901), OBJECT_TYPE="TABLE PARTITION",
    )  # fmt: skip

    assert fingerprints(world) == before


def test_the_hidden_column_of_an_index_leaves_both_fingerprints(world: Catalogue) -> None:
    """It takes a number among the columns, and the others' change when it goes."""
    world.run(*SHAPE)
    before = fingerprints(world)

    world.show(
        "ALL_TAB_COLS", OWNER="SHOP", TABLE_NAME="ITEM", COLUMN_NAME="SYS_NC00002$", DATA_TYPE="VARCHAR2",
        VIRTUAL_COLUMN="YES", HIDDEN_COLUMN="YES", USER_GENERATED="NO", INTERNAL_COLUMN_ID=Decimal(2),
    )  # fmt: skip
    world.alter("ALL_TAB_COLS", "COLUMN_NAME", "V", INTERNAL_COLUMN_ID=Decimal(3))

    assert fingerprints(world) == before


def test_the_order_in_which_tables_are_given_leaves_the_fingerprint(world: Catalogue) -> None:
    world.run(*SHAPE)
    tables = list(world.read().values())

    assert catalog.fingerprint(tables[::-1]) == catalog.fingerprint(tables)


def test_equal_shapes_have_the_digest_that_postgresql_gives_them(world: Catalogue) -> None:
    """The form is that of endpoints/postgres/catalog.py: the two are compared before a switch."""
    world.run(
        "create table item (id number(9) primary key, v varchar2(5), twice number(12,2) as (id * 2))"
    )
    columns = [
        ["id", "integer", False],
        ["v", "character varying(5)", False],
        ["twice", "numeric(12,2)", True],
    ]
    text = json.dumps([["shop.item", [], columns, []]])

    assert fingerprints(world)[0] == hashlib.sha256(text.encode()).hexdigest()


def test_shapes_say_what_the_fingerprint_is_made_of(world: Catalogue) -> None:
    world.run(*SHAPE)

    shapes = catalog.shapes(world.read().values())

    assert [c.name for c in shapes[TableName("shop", "item")]] == ["id", "v"]


def test_all_queries_see_one_dictionary(world: Catalogue) -> None:
    world.run("create table t (id number(9))")
    with (
        dictionary.reading(world.site) as connection,
        pytest.raises(oracledb.DatabaseError, match="ORA-01456"),
        connection.cursor() as cursor,
    ):
        cursor.execute("insert into shop.t values (1)")


# --- sequences -----------------------------------------------------------------------------------


def sequences(world: Catalogue, *owners: str) -> dict[str, OracleSequence]:
    with dictionary.reading(world.site) as connection:
        return {str(one.sequence): one for one in read_sequences(connection, owners or ["SHOP"])}


def test_sequences_tell_how_they_count_and_how_far_they_are(world: Catalogue) -> None:
    world.run(
        "create sequence order_id start with 100 increment by 5 cache 10",
        "create sequence down start with -1 increment by -1 minvalue -9 maxvalue -1 cycle nocache",
    )

    found = sequences(world)

    assert list(found) == ["shop.down", "shop.order_id"]
    assert (found["shop.order_id"].owner, found["shop.order_id"].name) == ("SHOP", "ORDER_ID")
    assert (found["shop.order_id"].increment, found["shop.order_id"].cache) == (5, 10)
    assert not found["shop.order_id"].cycles
    assert found["shop.order_id"].state == SequenceState(95, 5)
    assert found["shop.down"].cycles
    assert (found["shop.down"].lowest, found["shop.down"].highest) == (-9, -1)
    assert (found["shop.down"].last_number, found["shop.down"].increment) == (-1, -1)


def test_numbers_in_a_cache_count_as_given_out(world: Catalogue) -> None:
    world.run("create sequence s cache 10", "create table t (id number(9))")
    world.run("insert into t values (s.nextval)", "commit")

    assert sequences(world)["shop.s"].state == SequenceState(10, 1)


def test_the_sequences_of_identity_columns_and_of_others_are_left_out(world: Catalogue) -> None:
    only_as("BOWLINE")
    world.run(
        "create table t (id number(9) generated always as identity)",
        "create sequence s",
        "create sequence bowline.s",
        "create sequence bowline.bowline_beat",
    )

    assert list(sequences(world)) == ["shop.s"]
    assert list(sequences(world, "BOWLINE", "SHOP", "SHOP")) == ["bowline.s", "shop.s"]
    assert sequences(world, "NOBODY") == {}


def test_two_sequences_that_would_become_one_are_refused_by_name(world: Catalogue) -> None:
    world.run("create sequence s", 'create sequence "s"')

    with pytest.raises(Unsupported, match=r"SHOP\.S and SHOP\.s would both be shop\.s"):
        sequences(world)
