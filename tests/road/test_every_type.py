"""Every type of PostgreSQL's own goes over and comes back: by the snapshot, by the stream, and equal to the comparison.

The roles and the databases prefer settings that print values in other ways; none of it may reach a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from psycopg import sql

from bowline_worker.contract import Side, Verdict
from road.by_hand import Road
from servers import APPLICATION, MIGRATOR, Database, Pair

pytestmark = pytest.mark.slow

HOSTILE = {
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "TimeZone": "Asia/Kathmandu",
    "search_path": "nowhere",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "xmloption": "document",
    "xmlbinary": "hex",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "client_encoding": "SQL_ASCII",
    "escape_string_warning": "off",
    "lc_messages": "C",
    "transform_null_equals": "on",
    "enable_indexscan": "off",
    "plan_cache_mode": "force_generic_plan",
}
#: How both sides are read in the end.
EXACT = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "TimeZone": "UTC",
}
MAKE = (
    "create type public.mood as enum ('calm', 'it''s \"wild\"', 'ünïcode')",
    "create domain public.positive as numeric check (value > 0)",
    "create type public.pair as (a int, b text)",
    "create type public.floats as range (subtype = float8)",
)

_ARRAY = "array['a', null, 'NULL', '', 'a\"b\\c', '{}']::text[]"


@dataclass(frozen=True)
class Case:
    """A type and values of it, as SQL writes them."""

    type: str
    values: Sequence[str]


CASES: Mapping[str, Case] = {
    name: Case(type_name, values)
    for name, type_name, values in (
        ("smallint", "smallint", ["-32768", "32767"]),
        ("bigint", "bigint", ["-9223372036854775808", "9223372036854775807"]),
        (
            "numeric",
            "numeric",
            ["'NaN'", "'Infinity'", "'-Infinity'", "1e1000", "repeat('9', 1000)::numeric / 7", "0.00", "-0.10"],
        ),
        ("numeric_scaled", "numeric(5,-2)", ["123400", "-99900"]),
        ("real", "real", ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "1e-45", "3.4028235e38", "0.1"]),
        (
            "double",
            "double precision",
            ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "4.9e-324", "1.7976931348623157e308", "0.1"],
        ),
        ("money", "money", ["-12.34", "92233720368547758.07"]),
        ("text", "text", [r"E'\n\t\\ \b\f\r \u0001 \u00e9'", "''", "'\\N'", "'NULL'", "repeat('x', 300000)"]),
        ("char", "char(6)", ["'a'", "''", "'ab  cd'"]),
        ("onechar", '"char"', [r"'a'", r"'\377'", "''"]),
        ("name", "name", ["'a b'", "''"]),
        ("bytea", "bytea", [r"'\x00ff5c27'", "''", "decode(repeat('00ff', 100000), 'hex')"]),
        ("boolean", "boolean", ["true", "false"]),
        ("date", "date", ["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'", "'2024-02-29'"]),
        ("time", "time", ["'00:00'", "'24:00:00'", "'23:59:59.999999'"]),
        ("timetz", "timetz", ["'00:00+15:59'", "'24:00:00-15:59'", "'12:00:00.5+05:45:12'"]),
        (
            "timestamp",
            "timestamp",
            ["'infinity'", "'-infinity'", "'4713-01-01 00:00:00 BC'", "'294276-12-31 23:59:59.999999'"],
        ),
        (
            "timestamptz",
            "timestamptz",
            ["'infinity'", "'-infinity'", "'4713-01-01 00:00:00+00 BC'", "'2024-10-27 02:30:00 Europe/Paris'"],
        ),
        (
            "interval",
            "interval",
            ["'1 mon -1 day 00:00:00.000001'", "'-178000000 years'", "'0'", "'30 days'", "'1 mon'", "'-1 mon +1 day'"],
        ),
        ("uuid", "uuid", ["'00000000-0000-0000-0000-000000000000'", "gen_random_uuid()"]),
        ("inet", "inet", ["'::1/64'", "'10.0.0.1/8'", "'10.0.0.1'"]),
        ("cidr", "cidr", ["'10.0.0.0/8'", "'2001:db8::/32'"]),
        ("macaddr", "macaddr", ["'08:00:2b:01:02:03'"]),
        ("macaddr8", "macaddr8", ["'08:00:2b:01:02:03:04:05'"]),
        ("bit", "bit(5)", ["B'10101'", "B'00000'"]),
        ("varbit", "varbit", ["B''", "B'1'", "repeat('10', 5000)::varbit"]),
        ("xml", "xml", ["'<a>b &amp; c</a>'", "xmlparse(content 'just text')", "''"]),
        ("json", "json", ["""'{"a": 1, "a":  1e400, "b": "\\u00e9"}'""", "'[ 1 , 2]'", "'null'"]),
        ("jsonb", "jsonb", ["'{\"a\": 1, \"a\": 1e400}'", "'[1.0, 1.00]'", "'null'", "'\"\"'"]),
        ("jsonpath", "jsonpath", ["'$.a[*] ? (@ > 1)'"]),
        ("arrays", "text[]", ["'{}'", _ARRAY, "'[2:3]={a,b}'"]),
        ("matrix", "int[][]", ["'{{1,2},{3,null}}'", "'[0:1][-1:0]={{1,2},{3,4}}'"]),
        ("times", "timestamptz[]", ["array['infinity', '2024-01-01 00:00+00', null]::timestamptz[]"]),
        ("int4range", "int4range", ["'empty'", "'[1,5)'", "'(,)'"]),
        ("numrange", "numrange", ["'(1.0,2.00]'", "'[NaN,NaN]'"]),
        ("tstzrange", "tstzrange", ["'[2024-01-01 00:00+00,infinity)'", "'(,2024-01-01 00:00+00]'"]),
        ("multirange", "int4multirange", ["'{}'", "'{[1,2),[5,)}'"]),
        ("own_range", "public.floats", ["'[0.1,0.3)'", "'[-infinity,NaN]'"]),
        ("enum", "public.mood", ["'calm'", "'it''s \"wild\"'", "'ünïcode'"]),
        ("enums", "public.mood[]", ["array['calm', null, 'it''s \"wild\"']::public.mood[]"]),
        ("domain", "public.positive", ["0.10", "1e-100"]),
        ("composite", "public.pair", ["(1, null)", "(null, 'a\"b,c')", "row(2, '')"]),
        ("composites", "public.pair[]", ["array[row(1, 'x y'), null]::public.pair[]"]),
        ("tsvector", "tsvector", ["to_tsvector('simple', 'a fat ''cat'' \\ sat')", "''"]),
        ("tsquery", "tsquery", ["'a & !b <-> c:*'"]),
        ("point", "point", ["'(0.1,-0)'", "'(NaN,Infinity)'"]),
        ("line", "line", ["'{0.1,2,3}'"]),
        ("lseg", "lseg", ["'[(0.1,0),(1,1)]'"]),
        ("box", "box", ["'(1,1),(0,0)'", "'(2,0.5),(0,0)'"]),
        ("path", "path", ["'[(0,0),(1,1.1)]'", "'((0,0),(1,1))'"]),
        ("polygon", "polygon", ["'((0,0),(1,1),(1,0))'"]),
        ("circle", "circle", ["'<(0.1,0),1>'"]),
        ("pg_lsn", "pg_lsn", ["'FFFFFFFF/FFFFFFFF'"]),
        ("oid", "oid", ["4294967295"]),
        ("snapshot", "pg_snapshot", ["'10:20:10,14,15'"]),
        ("xid8", "xid8", ["'18446744073709551615'"]),
    )
}  # fmt: skip


def keyed(name: str) -> str:
    return f'public."t_{name}"'


def keyless(name: str) -> str:
    return f'public."k_{name}"'


def values(name: str) -> list[str]:
    return [*(f"({each})::{CASES[name].type}" for each in CASES[name].values), "null"]


def make(database: Database) -> None:
    database.run(*MAKE)
    for name, case in CASES.items():
        database.run(
            f"create table {keyed(name)} (id int primary key, v {case.type}, n int)",
            f"create table {keyless(name)} (v {case.type}, n int)",
        )
    database.run(f"grant all on all tables in schema public to {APPLICATION}")
    write(database, 0)


def be_hostile(database: Database) -> None:
    """Whatever sessions prefer here, of the migration's user and of all others."""
    place = sql.SQL("database {}").format(sql.Identifier(database.name))
    user = sql.SQL("role {} in ").format(sql.Identifier(MIGRATOR)) + place
    with database.connect() as connection:
        for name, value in HOSTILE.items():
            for whose in (place, user):
                connection.execute(
                    sql.SQL("alter {} set {} = {}").format(whose, sql.Identifier(name), value)
                )


def write(database: Database, first: int) -> None:
    """Insert all values of each type, and change some of those that were there before."""
    with database.connect(APPLICATION, database.server.password) as connection:
        for name in ("search_path", "default_transaction_read_only", "array_nulls", "xmloption"):
            connection.execute(f"reset {name}".encode())
        connection.execute("set default_transaction_read_only = off")
        connection.execute("set array_nulls = on; set xmloption = content; set datestyle = 'ISO'")
        connection.execute("set standard_conforming_strings = on")
        connection.execute("set client_encoding = 'UTF8'")
        for name in CASES:
            found = values(name)
            for at, value in enumerate(found):
                rows = f"({first + at}, {value}, {at})"
                connection.execute(f"insert into {keyed(name)} values {rows}".encode())
                twice = f"({value}, {at}), ({value}, {at})"
                connection.execute(f"insert into {keyless(name)} values {twice}".encode())
            if first:
                change(connection.execute, name, found, first - 1000)


def change(run: Callable[[bytes], object], name: str, found: Sequence[str], before: int) -> None:
    """Each row of before gets its neighbour's value; one changes its key; a keyless duplicate goes, another changes."""
    for at in range(len(found)):
        value = found[(at + 1) % len(found)]
        run(f"update {keyed(name)} set v = {value} where id = {before + at}".encode())
        one = f"ctid = (select min(ctid) from {keyless(name)} where n = {at})"
        run(f"delete from {keyless(name)} where {one}".encode())
        run(f"update {keyless(name)} set v = {value} where {one}".encode())
    run(f"update {keyed(name)} set id = id + 500 where id = {before}".encode())


def content(database: Database) -> dict[str, list[tuple[object, ...]]]:
    found = {}
    with database.connect() as connection:
        for setting, value in EXACT.items():
            connection.execute("select set_config(%s, %s, false)", [setting, value])
        for name in CASES:
            for table in (keyed(name), keyless(name)):
                query = f'select t::text from {table} t order by t::text collate "C"'
                found[table] = connection.execute(query.encode()).fetchall()
    return found


@pytest.fixture
def road(pair: Pair) -> Iterator[Road]:
    make(pair.source)
    for database in (pair.source, pair.target):
        be_hostile(database)
    road = Road(pair, {"parallelism": 2, "chunk_rows": 1000})
    yield road
    road.close()


def same(road: Road) -> None:
    source, target = content(road.pair.source), content(road.pair.target)
    assert {name for name in source if source[name] != target[name]} == set()
    assert all(source.values())


def test_every_type_goes_over_and_comes_back(road: Road) -> None:
    source, target = road.pair.source, road.pair.target
    _, apply = road.to_streaming()
    same(road)
    write(source, 1000)
    road.caught_up(apply)
    same(road)

    switch = road.switch(1, Side.SOURCE)
    assert switch.verdict is Verdict.COMMITTED, switch.message
    write(target, 2000)
    road.caught_up(road.workers[-1])
    same(road)

    switch = road.switch(2, Side.TARGET)
    assert switch.verdict is Verdict.COMMITTED, switch.message
    write(source, 3000)
    road.caught_up(road.workers[-1])
    same(road)
