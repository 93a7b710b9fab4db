"""The table of types: what a dictionary's row becomes, and what is refused and why."""

from __future__ import annotations

from typing import Any

import oracledb
import pytest

from bowline_worker.endpoints.oracle.types import OracleColumn, Refusal, kind_of
from bowline_worker.model import Column, TableName
from oracle.type_cases import CASES, TABLE, column, number, supported, text

TYPES: list[tuple[OracleColumn, str, str]] = [
    (number(1, 0), "int2", "smallint"),
    (number(4, 0), "int2", "smallint"),
    (number(5, 0), "int4", "integer"),
    (number(9, 0), "int4", "integer"),
    (number(10, 0), "int8", "bigint"),
    (number(18, 0), "int8", "bigint"),
    (number(19, 0), "numeric", "numeric(19,0)"),
    (number(38, 0), "numeric", "numeric(38,0)"),
    (number(4, None), "int2", "smallint"),
    (number(12, 2), "numeric", "numeric(12,2)"),
    (number(4, 2), "numeric", "numeric(4,2)"),
    (number(38, 38), "numeric", "numeric(38,38)"),
    (number(5, 7), "numeric", "numeric(7,7)"),
    (number(1, 127), "numeric", "numeric(127,127)"),
    (number(5, -2), "numeric", "numeric(7,0)"),
    (number(38, -84), "numeric", "numeric(122,0)"),
    (number(None, 0), "numeric", "numeric(38,0)"),
    (number(None, 5), "numeric", "numeric(38,5)"),
    (number(None, None), "numeric", "numeric"),
    (column("FLOAT", data_precision=126), "numeric", "numeric"),
    (column("FLOAT", data_precision=63), "numeric", "numeric"),
    (column("BINARY_FLOAT"), "float4", "real"),
    (column("BINARY_DOUBLE"), "float8", "double precision"),
    (column("DATE"), "timestamp", "timestamp(0) without time zone"),
    (column("TIMESTAMP(0)"), "timestamp", "timestamp(0) without time zone"),
    (column("TIMESTAMP(6)"), "timestamp", "timestamp(6) without time zone"),
    (column("TIMESTAMP(7)"), "timestamp", "timestamp(6) without time zone"),
    (column("TIMESTAMP(3) WITH TIME ZONE"), "timestamptz", "timestamp(3) with time zone"),
    (column("TIMESTAMP(9) WITH LOCAL TIME ZONE"), "timestamptz", "timestamp(6) with time zone"),
    (column("INTERVAL YEAR(2) TO MONTH"), "interval", "interval year to month"),
    (column("INTERVAL DAY(2) TO SECOND(3)"), "interval", "interval day to second(3)"),
    (column("INTERVAL DAY(9) TO SECOND(9)"), "interval", "interval day to second(6)"),
    (text("VARCHAR2", 20), "varchar", "character varying(20)"),
    (text("VARCHAR2", 20, "B"), "varchar", "character varying(20)"),
    (text("NVARCHAR2", 20, per_character=2), "varchar", "character varying(20)"),
    (text("VARCHAR2", 32767, "B"), "varchar", "character varying(32767)"),
    (text("CHAR", 1), "bpchar", "character(1)"),
    (text("NCHAR", 7, per_character=2), "bpchar", "character(7)"),
    (column("LONG"), "text", "text"),
    (column("CLOB"), "text", "text"),
    (column("NCLOB"), "text", "text"),
    (column("RAW", data_length=16), "bytea", "bytea"),
    (column("BLOB"), "bytea", "bytea"),
    (column("ROWID"), "text", "text"),
]


@pytest.mark.parametrize(("of", "name", "shown"), TYPES)
def test_a_column_of_oracle_becomes_one_of_postgresql(
    of: OracleColumn, name: str, shown: str
) -> None:
    expected = Column(name="c", type_schema="pg_catalog", type_name=name, type_text=shown)

    assert supported(of).as_column("c") == expected


@pytest.mark.parametrize(
    ("of", "select", "bind"),
    [
        (number(4, 0), 't."C"', ":1"),
        (column("BINARY_DOUBLE"), 't."C"', ":1"),
        (text("VARCHAR2", 5), 't."C"', ":1"),
        (column("CLOB"), 't."C"', ":1"),
        (
            column("DATE"),
            "TO_CHAR(t.\"C\", 'SYYYY-MM-DD HH24:MI:SS')",
            "TO_DATE(:1, 'SYYYY-MM-DD HH24:MI:SS')",
        ),
        (
            column("TIMESTAMP(3)"),
            "TO_CHAR(t.\"C\", 'SYYYY-MM-DD HH24:MI:SS.FF9')",
            "TO_TIMESTAMP(:1, 'SYYYY-MM-DD HH24:MI:SS.FF9')",
        ),
        *(
            (
                column(data_type),
                "TO_CHAR(t.\"C\", 'SYYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM')",
                "TO_TIMESTAMP_TZ(:1, 'SYYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM')",
            )
            for data_type in (
                "TIMESTAMP(6) WITH TIME ZONE",
                "TIMESTAMP(6) WITH LOCAL TIME ZONE",
            )
        ),
        (column("INTERVAL YEAR(2) TO MONTH"), 'TO_CHAR(t."C")', "TO_YMINTERVAL(:1)"),
        (column("INTERVAL DAY(2) TO SECOND(6)"), 'TO_CHAR(t."C")', "TO_DSINTERVAL(:1)"),
        (column("ROWID"), 'ROWIDTOCHAR(t."C")', "CHARTOROWID(:1)"),
    ],
)
def test_values_are_selected_and_bound_without_the_session_s_formats(
    of: OracleColumn, select: str, bind: str
) -> None:
    kind = supported(of)

    assert (kind.select('t."C"'), kind.bind(":1")) == (select, bind)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_driver_knows_the_type_of_every_bind(case: Any) -> None:
    assert hasattr(oracledb, supported(case.column).bind_type)


@pytest.mark.parametrize(
    ("of", "lost"),
    [
        (column("TIMESTAMP(6)"), ""),
        (column("TIMESTAMP(7)"), "of 7 digits of the second 6 are kept"),
        (column("TIMESTAMP(6) WITH TIME ZONE"), "its offset or region's name is not"),
        (column("TIMESTAMP(9) WITH TIME ZONE"), "6 are kept, the others cut off; the instant"),
        (column("TIMESTAMP(6) WITH LOCAL TIME ZONE"), ""),
        (column("INTERVAL DAY(2) TO SECOND(6)"), ""),
        (column("INTERVAL DAY(2) TO SECOND(9)"), "of 9 digits of the second 6 are kept"),
        (column("ROWID"), "names no row of the other side"),
        (number(None, None), ""),
    ],
)
def test_what_is_lost_is_told(of: OracleColumn, lost: str) -> None:
    loss = supported(of).loss

    assert lost in loss
    assert bool(loss) is bool(lost)


@pytest.mark.parametrize(
    "of",
    [
        *map(column, ("BINARY_FLOAT", "BINARY_DOUBLE", "CLOB", "NCLOB", "BLOB", "LONG")),
        text("VARCHAR2", 4001, "B"),
        text("NVARCHAR2", 2001, per_character=2),
        column("RAW", data_length=2001),
    ],
)
def test_what_the_redo_does_not_tell_exactly_must_be_read_again(of: OracleColumn) -> None:
    kind = supported(of)

    assert kind.needs_reselect
    assert not kind.can_be_key


@pytest.mark.parametrize("data_type", ["TIMESTAMP(9)", "INTERVAL DAY(2) TO SECOND(7)"])
def test_a_key_that_would_lose_digits_is_none(data_type: str) -> None:
    """Two rows could become one."""
    kind = supported(column(data_type))

    assert not kind.needs_reselect
    assert not kind.can_be_key


LONG_NAME = "N" * 31


@pytest.mark.parametrize(
    ("of", "reason", "message"),
    [
        *(
            (column(data_type), "UnsupportedType", f"SHOP.ITEM.C has the type {data_type}: ")
            for data_type in ("BFILE", "LONG RAW", "UROWID", "JSON", "BOOLEAN", "VECTOR")
        ),
        (column("UROWID(4000)"), "UnsupportedType", "log miner"),
        (
            column("XMLTYPE", data_type_owner="PUBLIC"),
            "UnsupportedType",
            "PUBLIC.XMLTYPE: its redo",
        ),
        (column("SDO_GEOMETRY", data_type_owner="MDSYS"), "UnsupportedType", "MDSYS.SDO_GEOMETRY"),
        (column("ANYDATA", data_type_owner="SYS"), "UnsupportedType", "SYS.ANYDATA"),
        (column("ADDRESS", data_type_owner="SHOP"), "UnsupportedType", "nested tables"),
        (
            column("ADDRESS", data_type_owner="SHOP", data_type_mod="REF"),
            "UnsupportedType",
            "REF SHOP.ADDRESS: it points to a row",
        ),
        (column("DATE", name=LONG_NAME), "NameTooLong", f"{LONG_NAME} has 31"),
        (column("DATE", name="Ä" * 16), "NameTooLong", "has 32"),
        (column("DATE", table=TableName("SHOP", LONG_NAME)), "NameTooLong", "30 bytes"),
        (column("MADE_UP"), "UnknownType", "the type MADE_UP, which is not known"),
        (column(""), "UnknownType", "not known"),
    ],
)
def test_a_refusal_has_a_reason_and_a_remedy(of: OracleColumn, reason: str, message: str) -> None:
    refusal = kind_of(of)

    assert isinstance(refusal, Refusal)
    assert (refusal.column, refusal.reason) == (of, reason)
    assert message in refusal.message
    assert refusal.remedy


def test_a_name_of_thirty_bytes_is_not_too_long() -> None:
    assert supported(column("DATE", name="N" * 30))


def test_a_number_of_one_digit_can_be_a_boolean() -> None:
    kind = supported(number(1, 0), as_boolean=True)

    assert kind.as_column("c").type_text == "boolean"
    assert [kind.from_redo("1"), kind.from_redo("0")] == [b"t", b"f"]
    assert [kind.to_oracle(b"t"), kind.to_oracle(b"f"), kind.to_oracle(None)] == [1, 0, None]


@pytest.mark.parametrize("of", [number(2, 0), number(1, 1), number(None, None), column("DATE")])
def test_nothing_else_can_be_a_boolean(of: OracleColumn) -> None:
    refusal = kind_of(of, as_boolean=True)

    assert isinstance(refusal, Refusal)
    assert refusal.reason == "NoBoolean"


def test_the_dictionary_s_row_is_read_by_its_names() -> None:
    row = {
        "OWNER": "SHOP",
        "TABLE_NAME": "ITEM",
        "COLUMN_NAME": "ID",
        "DATA_TYPE": "NUMBER",
        "DATA_LENGTH": 22,
        "DATA_PRECISION": 10,
        "DATA_SCALE": 0,
        "NULLABLE": "N",
        "VIRTUAL_COLUMN": "NO",
        "HIDDEN_COLUMN": "NO",
        "USER_GENERATED": "YES",
        "GENERATION_TYPE": "ALWAYS",
        "DATA_DEFAULT": '"SHOP"."ISEQ$$_1".nextval',
    }
    of = OracleColumn.of(row)
    expected = OracleColumn(
        table=TABLE,
        name="ID",
        data_type="NUMBER",
        data_length=22,
        data_precision=10,
        data_scale=0,
        nullable=False,
        identity="ALWAYS",
        default='"SHOP"."ISEQ$$_1".nextval',
    )

    assert of == expected
    assert supported(of).as_column("id") == Column(
        name="id",
        type_schema="pg_catalog",
        type_name="int8",
        type_text="bigint",
        not_null=True,
        identity_always=True,
    )


@pytest.mark.parametrize(
    ("change", "carried"),
    [
        ({}, True),
        ({"VIRTUAL_COLUMN": "YES"}, False),
        ({"HIDDEN_COLUMN": "YES", "USER_GENERATED": "YES"}, True),
        ({"HIDDEN_COLUMN": "YES", "USER_GENERATED": "NO"}, False),
    ],
)
def test_computed_columns_and_oracle_s_own_are_not_carried(
    change: dict[str, str], carried: bool
) -> None:
    row = {"OWNER": "S", "TABLE_NAME": "T", "COLUMN_NAME": "C", "DATA_TYPE": "DATE"}

    assert OracleColumn.of(row | change).is_carried is carried
