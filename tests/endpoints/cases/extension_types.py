"""Types of the extensions that come with PostgreSQL; the schema's import makes an extension on the target."""

from __future__ import annotations

from endpoints.columns import column, key

EXT = "create schema if not exists ext"

CASES = (
    column(
        "hstore",
        "hstore",
        ['\'a=>1, b=>NULL, "c d"=>"e\\"f"\'', "''", "hstore('ü', '')"],
        make=["create extension hstore"],
    ),
    column("citext", "citext", ["'Ab'", "'aB'", "''"], make=["create extension citext"]),
    column(
        "ltree",
        "ext.ltree",
        ["'Top.Science'", "''", "'a.b_1'"],
        make=[EXT, "create extension ltree with schema ext"],
    ),
    column("lquery", "ext.lquery", ["'Top.*{1,2}.!b@'", "'*'"]),
    column("cube", "cube", ["'(0.1,2),(3,-0)'", "'(1)'"], make=["create extension cube"]),
    column("seg", "seg", ["'1.50 .. 2.0'", "'~6.5'", "'7(+-)1'"], make=["create extension seg"]),
    column(
        "isbn of isn",
        "ext.isbn",
        ["'978-0-11-000533-1'", "'1-4398-7138-2!'"],
        make=[EXT, "create extension isn with schema ext"],
    ),
    column(
        "query_int of intarray",
        "query_int",
        ["'1&!(2|3)'"],
        make=["create extension intarray"],
    ),
    key("citext", "citext", ["'a'", "'B'", "'c'"], ("'B'", "'b'")),
    key("hstore", "hstore", ["'a=>1'", "'b=>NULL'", "''"]),
    key("ltree", "ext.ltree", ["'a.b'", "''", "'a.b.c'"]),
    key(
        "domain over citext",
        "public.email",
        ["'a@b'", "'C@d'", "'e@f'"],
        ("'C@d'", "'c@D'"),
        make=["create domain public.email as citext check (value ~ '@')"],
    ),
)
