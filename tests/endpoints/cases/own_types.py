"""Types that a database makes itself: enums, domains, composites, ranges."""

from __future__ import annotations

from dataclasses import replace

from endpoints.columns import column

SHRUNK = column(
    "composite with a dropped attribute",
    "public.shrunk",
    ["(1, 'b')", "(null, null)", "row(2, '')"],
    make=[
        "create type public.shrunk as (a int, gone text, b text)",
        "create table public.was_shrunk (id int primary key, v public.shrunk)",
        "insert into public.was_shrunk values (1, (1, 'gone', 'b')), (2, (2, null, 'c'))",
        "alter type public.shrunk drop attribute gone",
        "alter type public.shrunk add attribute c numeric",
        "alter type public.shrunk drop attribute c",
    ],
)

CASES = (
    column(
        "enum",
        "public.mood",
        ["'calm'", "'it''s \"wild\"'", "'ünïcode'", "''", "'first'"],
        make=[
            "create type public.mood as enum ('calm', 'it''s \"wild\"', 'ünïcode', '')",
            "alter type public.mood add value 'first' before 'calm'",
            "alter type public.mood rename value 'calm' to 'was calm'",
            "alter type public.mood add value 'calm' after 'first'",
        ],
    ),
    column(
        "domain",
        "public.positive",
        ["0.10", "1e-100"],
        make=["create domain public.positive as numeric check (value > 0)"],
    ),
    column(
        "domain of a domain with a length",
        "public.shorter",
        ["'abc'", "''"],
        make=[
            "create domain public.short as varchar(5) default 'x'",
            "create domain public.shorter as public.short check (length(value) < 4)",
        ],
    ),
    column(
        "domain over an array",
        "public.tags",
        ["'{}'", "array['a', 'NULL', null]", "'[3:4]={a,b}'"],
        make=["create domain public.tags as text[] check (cardinality(value) < 9)"],
    ),
    column(
        "domain over a composite",
        "public.known_place",
        ["row(1, 'x')", "row(2, null)"],
        make=[
            "create type public.place as (a int, b text)",
            "create domain public.known_place as public.place check ((value).a is not null or value is null)",
        ],
    ),
    column(
        "domain over an enum",
        "public.bright",
        ["'red'", "'blue'"],
        make=[
            "create type public.colour as enum ('red', 'black', 'blue')",
            "create domain public.bright as public.colour check (value <> 'black')",
        ],
    ),
    column(
        "domain over a range",
        "public.span",
        ["'[1,3)'", "'empty'"],
        make=["create domain public.span as int4range check (not upper_inf(value))"],
    ),
    column(
        "composite",
        "public.pair",
        ["(1, null)", "(null, 'a\"b,c')", "row(2, '')", "row(3, E'\\\\ \\n (x)')", "(null, null)"],
        make=["create type public.pair as (a int, b text)"],
    ),
    column(
        "composite of composites, arrays and domains",
        "public.outer_kind",
        [
            "row(row(1.10, array['a', null])::public.inner_kind, array[row(0, '{}'), null]::public.inner_kind[],"
            " 5, '{[1,2)}', '-0')",
            "row(null, '{}', 1, null, 'NaN')",
        ],
        make=[
            "create type public.inner_kind as (x numeric, y text[])",
            "create domain public.counted as int check (value > 0)",
            "create type public.outer_kind as (i public.inner_kind, many public.inner_kind[], n public.counted,"
            " m int4multirange, f float8)",
        ],
    ),
    replace(SHRUNK, tables=(*SHRUNK.tables, '"public"."was_shrunk"')),
    column(
        "row of a table",
        "public.part",
        ["row(1, 'x', now()::date)", "row(null, '', null)"],
        make=["create table public.part (a int, b text, c date)", "insert into public.part values (1, 'a', null)"],
    ),
    column(
        "range of its own",
        "public.floats",
        ["'[0.1,0.3)'", "'[-infinity,NaN]'", "'empty'"],
        make=["create type public.floats as range (subtype = float8)"],
    ),
    column(
        "multirange of its own",
        "public.many_words",
        ["'{[a,b),[\"c d\",)}'", "'{}'"],
        make=[
            "create type public.words as range (subtype = text, collation = \"C\","
            " multirange_type_name = public.many_words)"
        ],
    ),
)  # fmt: skip
