"""PostgreSQL's own types, each with the values that are most likely to suffer: in tables with a key and without."""

from __future__ import annotations

from collections.abc import Sequence

from endpoints.carried import Case, How, Kind

_ARRAY = "array['a', null, 'NULL', '', 'a\"b\\c', '{}']::text[]"


def of(
    name: str,
    type_name: str,
    values: Sequence[str],
    make: Sequence[str] = (),
    note: str = "",
) -> Case:
    """Values in a column of that type, inserted, exchanged, deleted; every row of the keyless table is there twice."""
    short = "".join(sign if sign.isalnum() else "_" for sign in name)
    keyed, keyless = f'"public"."t_{short}"', f'"public"."k_{short}"'
    found = [*(f"({each})::{type_name}" for each in values), "null"]
    rows = ", ".join(f"({{n}} + {at}, {value}, {at})" for at, value in enumerate(found))
    twice = ", ".join(f"({value}, {at}), ({value}, {at})" for at, value in enumerate(found))
    insert = (f"insert into {keyed} values {rows}", f"insert into {keyless} values {twice}")
    change = []
    for at in range(len(found)):
        value = found[(at + 1) % len(found)]
        change.append(f"update {keyed} set v = {value} where id = {{n}} - 1000 + {at}")
        one = f"ctid = (select min(ctid) from {keyless} where n = {at})"
        change.append(f"delete from {keyless} where {one}")
        change.append(f"update {keyless} set v = {value} where {one}")
    change.append(f"update {keyed} set id = id + 500 where id = {{n}} - 1000")
    return Case(
        kind=Kind.TYPE,
        name=name,
        make=(
            *make,
            f"create table {keyed} (id int primary key, v {type_name}, n int)",
            f"create table {keyless} (v {type_name}, n int)",
        ),
        tables=(keyed, keyless),
        before=insert,
        writes=(*insert, "; ".join(change)),
        how=How.NOTE if note else How.CARRIED,
        note=note,
    )


CASES = (
    of("smallint", "smallint", ["-32768", "32767"]),
    of("bigint", "bigint", ["-9223372036854775808", "9223372036854775807"]),
    of(
        "numeric",
        "numeric",
        ["'NaN'", "'Infinity'", "'-Infinity'", "1e1000", "repeat('9', 1000)::numeric / 7", "0.00", "-0.10"],
    ),
    of("numeric_scaled", "numeric(5,-2)", ["123400", "-99900"]),
    of("real", "real", ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "1e-45", "3.4028235e38", "0.1"]),
    of(
        "double",
        "double precision",
        ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "4.9e-324", "1.7976931348623157e308", "0.1"],
    ),
    of("money", "money", ["-12.34", "92233720368547758.07"]),
    of("text", "text", [r"E'\n\t\\ \b\f\r \u0001 \u00e9'", "''", "'\\N'", "'NULL'", "repeat('x', 300000)"]),
    of("char", "char(6)", ["'a'", "''", "'ab  cd'"]),
    of("onechar", '"char"', [r"'a'", r"'\377'", "''"]),
    of("name", "name", ["'a b'", "''"]),
    of("bytea", "bytea", [r"'\x00ff5c27'", "''", "decode(repeat('00ff', 100000), 'hex')"]),
    of("boolean", "boolean", ["true", "false"]),
    of("date", "date", ["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'", "'2024-02-29'"]),
    of("time", "time", ["'00:00'", "'24:00:00'", "'23:59:59.999999'"]),
    of("timetz", "timetz", ["'00:00+15:59'", "'24:00:00-15:59'", "'12:00:00.5+05:45:12'"]),
    of(
        "timestamp",
        "timestamp",
        ["'infinity'", "'-infinity'", "'4713-01-01 00:00:00 BC'", "'294276-12-31 23:59:59.999999'"],
    ),
    of(
        "timestamptz",
        "timestamptz",
        ["'infinity'", "'-infinity'", "'4713-01-01 00:00:00+00 BC'", "'2024-10-27 02:30:00 Europe/Paris'"],
    ),
    of(
        "interval",
        "interval",
        ["'1 mon -1 day 00:00:00.000001'", "'-178000000 years'", "'0'", "'30 days'", "'1 mon'", "'-1 mon +1 day'"],
    ),
    of("uuid", "uuid", ["'00000000-0000-0000-0000-000000000000'", "gen_random_uuid()"]),
    of("inet", "inet", ["'::1/64'", "'10.0.0.1/8'", "'10.0.0.1'"]),
    of("cidr", "cidr", ["'10.0.0.0/8'", "'2001:db8::/32'"]),
    of("macaddr", "macaddr", ["'08:00:2b:01:02:03'"]),
    of("macaddr8", "macaddr8", ["'08:00:2b:01:02:03:04:05'"]),
    of("bit", "bit(5)", ["B'10101'", "B'00000'"]),
    of("varbit", "varbit", ["B''", "B'1'", "repeat('10', 5000)::varbit"]),
    of("xml", "xml", ["'<a>b &amp; c</a>'", "xmlparse(content 'just text')", "''"]),
    of("json", "json", ["""'{"a": 1, "a":  1e400, "b": "\\u00e9"}'""", "'[ 1 , 2]'", "'null'"]),
    of("jsonb", "jsonb", ["'{\"a\": 1, \"a\": 1e400}'", "'[1.0, 1.00]'", "'null'", "'\"\"'"]),
    of("jsonpath", "jsonpath", ["'$.a[*] ? (@ > 1)'"]),
    of("arrays", "text[]", ["'{}'", _ARRAY, "'[2:3]={a,b}'"]),
    of("matrix", "int[][]", ["'{{1,2},{3,null}}'", "'[0:1][-1:0]={{1,2},{3,4}}'"]),
    of("times", "timestamptz[]", ["array['infinity', '2024-01-01 00:00+00', null]::timestamptz[]"]),
    of("int4range", "int4range", ["'empty'", "'[1,5)'", "'(,)'"]),
    of("numrange", "numrange", ["'(1.0,2.00]'", "'[NaN,NaN]'"]),
    of("tstzrange", "tstzrange", ["'[2024-01-01 00:00+00,infinity)'", "'(,2024-01-01 00:00+00]'"]),
    of("multirange", "int4multirange", ["'{}'", "'{[1,2),[5,)}'"]),
    of(
        "own range",
        "public.floats",
        ["'[0.1,0.3)'", "'[-infinity,NaN]'"],
        make=["create type public.floats as range (subtype = float8)"],
    ),
    of(
        "enum",
        "public.mood",
        ["'calm'", "'it''s \"wild\"'", "'ünïcode'"],
        make=["create type public.mood as enum ('calm', 'it''s \"wild\"', 'ünïcode')"],
    ),
    of(
        "enum[]",
        "public.moods[]",
        ["array['calm', null, 'it''s \"wild\"']::public.moods[]"],
        make=["create type public.moods as enum ('calm', 'it''s \"wild\"')"],
    ),
    of(
        "domain",
        "public.positive",
        ["0.10", "1e-100"],
        make=["create domain public.positive as numeric check (value > 0)"],
    ),
    of(
        "composite",
        "public.pair",
        ["(1, null)", "(null, 'a\"b,c')", "row(2, '')"],
        make=["create type public.pair as (a int, b text)"],
    ),
    of(
        "composite[]",
        "public.pairs[]",
        ["array[row(1, 'x y'), null]::public.pairs[]"],
        make=["create type public.pairs as (a int, b text)"],
    ),
    of("tsvector", "tsvector", ["to_tsvector('simple', 'a fat ''cat'' \\ sat')", "''"]),
    of("tsquery", "tsquery", ["'a & !b <-> c:*'"]),
    of("point", "point", ["'(0.1,-0)'", "'(NaN,Infinity)'"]),
    of("line", "line", ["'{0.1,2,3}'"]),
    of("lseg", "lseg", ["'[(0.1,0),(1,1)]'"]),
    of("box", "box", ["'(1,1),(0,0)'", "'(2,0.5),(0,0)'"]),
    of("path", "path", ["'[(0,0),(1,1.1)]'", "'((0,0),(1,1))'"]),
    of("polygon", "polygon", ["'((0,0),(1,1),(1,0))'"]),
    of("circle", "circle", ["'<(0.1,0),1>'"]),
    of("pg_lsn", "pg_lsn", ["'FFFFFFFF/FFFFFFFF'"]),
    of("oid", "oid", ["4294967295"]),
    of("snapshot", "pg_snapshot", ["'10:20:10,14,15'"]),
    of("xid8", "xid8", ["'18446744073709551615'"]),
)  # fmt: skip
