"""Names that need quotes, in every place that a name can have."""

from __future__ import annotations

from bowline_worker.endpoints.postgres.connection import quote
from endpoints.cases.shapes import shape

#: 63 bytes, the longest that there is.
LONG = "é" * 31 + "x"
#: What a careless program splits at, unescapes, substitutes or trims.
SPECIAL = " we\"ird\\ $1 %s {x},.;:'(\n\t)[*]?-- /*&|`~ "

_SPECIAL_TABLE = f"{quote(SPECIAL)}.{quote(SPECIAL)}"
_LONG_TABLE = f"{quote(LONG)}.{quote(LONG)}"

CASES = (
    shape(
        "names in mixed case, of reserved words, in Unicode",
        make=[
            'create schema "Größe"',
            'create type "Größe"."Typ" as enum (\'Ä\', \'"\')',
            'create table "Größe"."Order" ("Select" int primary key, "from" text, "Ünï" "Größe"."Typ",'
            ' constraint "Unique" unique ("from"))',
            'create table "Größe"."order" ("select" text)',
            'create index "Index" on "Größe"."Order" ("Ünï")',
        ],
        tables=['"Größe"."Order"', '"Größe"."order"'],
        writes=[
            "insert into \"Größe\".\"Order\" values ({n}, 'a{n}', 'Ä'), ({n} + 1, null, '\"')",
            'update "Größe"."Order" set "from" = \'b{n}\' where "Select" = {n}',
            'delete from "Größe"."Order" where "Select" = {n} + 1',
            "insert into \"Größe\".\"order\" values ('x{n}'), ('x{n}'), ('y{n}')",
            'update "Größe"."order" set "select" = null where "select" = \'y{n}\'',
        ],
    ),
    shape(
        "names of 63 bytes",
        make=[
            f"create schema {quote(LONG)}",
            f"create table {_LONG_TABLE} ({quote(LONG)} int primary key, v text,"
            f" constraint {quote(LONG[1:])} unique (v))",
        ],
        tables=[_LONG_TABLE],
        writes=[
            f"insert into {_LONG_TABLE} values ({{n}}, 'a{{n}}'), ({{n}} + 1, null)",
            f"update {_LONG_TABLE} set v = 'b{{n}}' where {quote(LONG)} = {{n}}",
        ],
    ),
    shape(
        "names with every special character",
        note="in spec.tables, ? stands for a dot in a schema's name",
        make=[
            f"create schema {quote(SPECIAL)}",
            f"create table {_SPECIAL_TABLE} ({quote(SPECIAL)} int, v text,"
            f" constraint {quote(SPECIAL + 'k')} primary key ({quote(SPECIAL)}))",
            f"create unique index {quote(SPECIAL + 'i')} on {_SPECIAL_TABLE} (v)",
        ],
        tables=[_SPECIAL_TABLE],
        writes=[
            f"insert into {_SPECIAL_TABLE} values ({{n}}, 'a{{n}}'), ({{n}} + 1, null)",
            f"update {_SPECIAL_TABLE} set v = 'b{{n}}' where {quote(SPECIAL)} = {{n}}",
            f"delete from {_SPECIAL_TABLE} where {quote(SPECIAL)} = {{n}} + 1",
        ],
    ),
    shape(
        "equal names in two schemas",
        make=[
            "create schema twin_a",
            "create schema twin_b",
            "create type twin_a.kind as enum ('a')",
            "create type twin_b.kind as enum ('b', 'a')",
            "create sequence twin_a.next",
            "create sequence twin_b.next increment -1",
            "create table twin_a.item (id int primary key default nextval('twin_a.next'), v twin_a.kind)",
            "create table twin_b.item (v twin_b.kind, id int primary key default nextval('twin_b.next'))",
        ],
        tables=['"twin_a"."item"', '"twin_b"."item"'],
        writes=[
            "insert into twin_a.item (v) values ('a'), (null)",
            "begin; insert into twin_b.item (v) values ('a'), ('b');"
            " update twin_a.item set v = null; update twin_b.item set v = 'b' where v = 'a'; commit",
        ],
    ),
)
