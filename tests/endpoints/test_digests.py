"""Digests across engines: what is computed here is what PostgreSQL computes, for any row."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal

import pytest
from demo.servers import Server
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bowline_worker.contract import Config, Connection, Engine, Role, Side, Unsafe, Unsupported
from bowline_worker.endpoints import origins
from bowline_worker.endpoints.digests import (
    Values,
    bucket_of,
    crosses_engines,
    record,
    rows_of_bucket,
    seeded,
    summed,
)
from bowline_worker.endpoints.oracle.position import at_scn
from bowline_worker.endpoints.postgres import books, catalog, digest
from bowline_worker.endpoints.postgres.frames import position_at
from bowline_worker.endpoints.postgres.ledger import PostgresLedger, positions
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Column, Table, TableName
from servers import Database, MakePair, Pair

BUCKETS = 16
NAMES = itertools.count(1)
#: Each example has a table of its own.
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

SIGNS = st.sampled_from([*"\"\\(), \t\n\v\f\r'{}a", "\x1c", "\x85", "\xa0", "\u2028", "é", "😀"])
TEXTS = st.one_of(
    st.none(),
    st.text(SIGNS, max_size=4),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9),
)
ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.tuples(*[TEXTS] * width), min_size=1, max_size=30)
)


@pytest.fixture(scope="module")
def one_database(pg: Server) -> Iterator[Database]:
    with pg.database() as name:
        yield Database(pg, name)


def crossing(pair: Pair, engine: Engine = Engine.ORACLE) -> Site:
    """The target of a migration whose source is of another engine."""
    config = pair.config()
    source = config.source.model_copy(update={"engine": engine})
    return Site(config.model_copy(update={"source": source}), Side.TARGET)


def values_of(row: Sequence[str | None]) -> Values:
    return tuple(None if value is None else value.encode() for value in row)


def table_of(name: str, width: int, key: Sequence[str] = ()) -> Table:
    columns = tuple(
        Column(name=f"c{at}", type_schema="pg_catalog", type_name="text", type_text="text")
        for at in range(width)
    )
    return Table(name=TableName("public", name), columns=columns, key=tuple(key), one_lane=False)


def filled(database: Database, rows: Sequence[Sequence[str | None]]) -> str:
    name, width = f"t{next(NAMES)}", len(rows[0])
    columns = ", ".join(f"c{at} text" for at in range(width))
    database.run(f"create table public.{name} ({columns})")
    with database.connect() as connection, connection.cursor() as cursor:
        places = ", ".join(["%s"] * width)
        cursor.executemany(f"insert into public.{name} values ({places})".encode(), list(rows))
    return name


# --- the text of a record, and its hash -----------------------------------------------------------


@settings(SLOW, max_examples=60)
@given(row=st.lists(TEXTS, min_size=1, max_size=5))
@example(row=[""])
@example(row=[None])
@example(row=[None, ""])
@example(row=["\\", '"', "a b", "(", ")", ",", "NULL"])
def test_a_record_is_printed_as_postgresql_prints_it(
    one_database: Database, row: list[str | None]
) -> None:
    places = ", ".join(["%s::text"] * len(row))

    assert record(values_of(row)).decode() == one_database.value(
        f"select row({places})::text", *row
    )


def test_no_other_byte_needs_quotes(one_database: Database) -> None:
    """A locale's white space would: PostgreSQL asks the C library."""
    texts = [chr(code) for code in range(1, 0x3100)]
    with one_database.connect() as connection:
        found = connection.execute(
            "select row(t)::text from unnest(%s::text[]) with ordinality u (t, n) order by n",
            [texts],
        ).fetchall()

    assert [record((text.encode(),)).decode() for text in texts] == [text for (text,) in found]


@given(text=st.binary(), seed=st.sampled_from([0, 7]))
def test_a_hash_has_the_sign_and_size_of_a_bigint(text: bytes, seed: int) -> None:
    assert -(2**63) <= seeded(seed, text) < 2**63
    assert 0 <= bucket_of(text, BUCKETS) < BUCKETS


def test_the_hashes_are_those_that_other_versions_compute() -> None:
    """Both sides of one migration may run another release of ours."""
    assert [seeded(0, b"(1,a)"), seeded(7, b"(1,a)"), seeded(0, b"()")] == [
        -7077456548794588659,
        2310817793408138746,
        8633407610475668634,
    ]


@SLOW
@given(rows=ROWS, is_keyed=st.booleans())
def test_digests_of_any_rows_are_the_servers(
    one_database: Database, make_pair: MakePair, rows: list[tuple[str | None, ...]], is_keyed: bool
) -> None:
    site = crossing(make_pair(one_database, one_database))
    width = len(rows[0])
    key = [f"c{at}" for at in reversed(range(width))][:2] if is_keyed else []
    places = [int(name[1:]) for name in key]
    table = table_of(filled(one_database, rows), width, key)
    texts = [values_of(row) for row in rows]

    assert summed(texts, places, BUCKETS) == digest.digests(site, table, BUCKETS)
    for bucket in range(BUCKETS):
        expected = digest.bucket_rows(site, table, BUCKETS, bucket)
        assert rows_of_bucket(texts, places, BUCKETS, bucket) == expected


@SLOW
@given(rows=ROWS, data=st.data())
def test_the_order_of_rows_does_not_matter_and_their_number_does(
    rows: list[tuple[str | None, ...]], data: st.DataObject
) -> None:
    texts = [values_of(row) for row in rows]
    shuffled = data.draw(st.permutations(texts))

    assert summed(texts, [], BUCKETS) == summed(shuffled, [], BUCKETS)
    assert summed(texts, [], BUCKETS) != summed([*texts, texts[0]], [], BUCKETS)
    assert sum(each.rows for each in summed(texts, [], BUCKETS).values()) == len(texts)


# --- values that PostgreSQL may print in several ways ---------------------------------------------


@pytest.mark.parametrize(
    ("column", "written", "expected"),
    [
        ("numeric", ["1.50", "1.5", "1.500"], "1.5"),
        ("numeric", ["100", "100.0", "1e2"], "100"),
        ("numeric", ["0", "0.00", "-0.0"], "0"),
        ("numeric", ["-12.340", "-12.34"], "-12.34"),
        ("numeric", ["NaN"], "NaN"),
        ("numeric(6,2)", ["1.5", "1.50"], "1.50"),
        ("integer", ["100"], "100"),
        ("interval day to second(6)", ["25:00:00", "1 day 01:00:00"], "1 day 01:00:00"),
        ("interval day to second(6)", ["1 day -01:00:00", "23:00:00"], "23:00:00"),
        ("interval day to second(6)", ["-1 day +01:00:00", "-23:00:00"], "-23:00:00"),
        ("interval year to month", ["1 year -1 mon", "11 mons"], "11 mons"),
        ("double precision", ["-0", "0", "0.0"], "0"),
        ("double precision", ["NaN"], "NaN"),
        ("double precision", ["-Infinity"], "-Infinity"),
        ("real", ["-0", "0"], "0"),
        ("real", ["1.1"], "1.1"),
        ("character(4)", ["a", "a  "], "a   "),
    ],
)
def test_equal_values_that_print_differently_have_one_digest(
    pair: Pair, column: str, written: list[str], expected: str
) -> None:
    """What an application writes after the switch reaches Oracle without its trailing zeros."""
    pair.target.run(f"create table public.t (id int, c {column})")
    for place, value in enumerate(written):
        pair.target.run(f"insert into public.t values ({place}, '{value}')")
    site = crossing(pair)
    (table,) = catalog.tables(site)

    texts = [(expected.encode(), b"%d" % place) for place in range(len(written))]

    assert digest.digests(site, table, BUCKETS) == summed(texts, [], BUCKETS)


def test_a_key_that_prints_differently_is_in_the_same_bucket_under_the_same_name(
    pair: Pair,
) -> None:
    pair.target.run(
        "create table public.t (id numeric primary key, v numeric)",
        "insert into public.t values (7.10, 1), (8.0, 2.0)",
    )
    site = crossing(pair)
    (table,) = catalog.tables(site)
    texts: list[Values] = [(b"7.1", b"1"), (b"8", b"2")]

    found: dict[str, Sequence[str]] = {}
    for bucket in range(BUCKETS):
        found |= digest.bucket_rows(site, table, BUCKETS, bucket)

    assert sorted(found) == ["(7.1)", "(8)"]
    assert digest.digests(site, table, BUCKETS) == summed(texts, [0], BUCKETS)


def test_between_servers_of_postgresql_every_form_is_another_value(pair: Pair) -> None:
    """There the stream keeps 1.50 apart from 1.5, and so does the comparison."""
    pair.target.run("create table public.t (c numeric)", "insert into public.t values (1.5)")
    (table,) = catalog.tables(site := pair.site(Side.TARGET))
    before = digest.digests(site, table, 1)
    pair.target.run("update public.t set c = 1.50")

    assert digest.digests(site, table, 1) != before


def test_a_sum_beyond_a_bigint_is_exact(pair: Pair) -> None:
    pair.target.run(
        "create table public.t (c int primary key)",
        "insert into public.t select generate_series(1, 5000)",
    )
    site = crossing(pair)
    (table,) = catalog.tables(site)
    texts = [(str(number).encode(),) for number in range(1, 5001)]

    found = digest.digests(site, table, 1)

    assert found == summed(texts, [0], 1)
    assert abs(Decimal(found[0].digest)) > 2**63


def test_a_server_without_sha256_is_refused(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.target.run("create table public.t (c int primary key)")
    site = crossing(pair)
    (table,) = catalog.tables(site)
    monkeypatch.setattr(digest, "SHA256_SINCE", 990000)

    with pytest.raises(Unsupported, match=r"has no sha256\(\)"):
        digest.digests(site, table, 1)
    assert digest.digests(pair.site(Side.TARGET), table, 1) == {}


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (Engine.ORACLE, Engine.POSTGRESQL, True),
        (Engine.ORACLE, Engine.YUGABYTEDB, True),
        (Engine.POSTGRESQL, Engine.ORACLE, True),
        (Engine.POSTGRESQL, Engine.POSTGRESQL, False),
        (Engine.POSTGRESQL, Engine.YUGABYTEDB, False),
    ],
)
def test_both_sides_ask_the_same_question(source: Engine, target: Engine, expected: bool) -> None:
    sides = [
        Connection(engine=engine, host="h", port=1, database="d", credentials="/nowhere")
        for engine in (source, target)
    ]
    config = Config(
        migration="a.b", job="j", job_uid="u", role=Role.VERIFY, source=sides[0], target=sides[1]
    )

    assert crosses_engines(config) is expected


# --- positions ------------------------------------------------------------------------------------


@given(number=st.integers(0, 2**47))
def test_a_position_that_was_written_down_is_read_as_its_origins(number: int) -> None:
    assert origins.position(Engine.ORACLE, at_scn(number).text) == at_scn(number)
    for engine in (Engine.POSTGRESQL, Engine.YUGABYTEDB):
        assert origins.position(engine, position_at(number).text) == position_at(number)


@pytest.mark.parametrize(
    ("engine", "text"),
    [(Engine.ORACLE, "0/16B3748"), (Engine.ORACLE, ""), (Engine.POSTGRESQL, "4711"),
     (Engine.POSTGRESQL, ""), (Engine.YUGABYTEDB, "x/y")],
)  # fmt: skip
def test_another_engines_position_is_not_guessed_at(engine: Engine, text: str) -> None:
    with pytest.raises(Unsafe, match="none of"):
        origins.position(engine, text)


def test_a_ledger_keeps_scns_and_compares_them_as_numbers(pair: Pair) -> None:
    """As text, 10 would be older than 9: the table would be emptied, or kept, at the wrong time."""
    pair.target.run("create table public.t (id int primary key)")
    site = crossing(pair)
    books.install(site)
    (table,) = catalog.tables(site)
    ledger = PostgresLedger(site)

    taken = [ledger.plan(table, at_scn(scn), ["a"]) for scn in (9, 9, 8, 10, 9, 2**40, 11)]

    ledger.close()
    assert taken == [True, False, False, True, False, True, False]
    assert positions(site) == {table.name: at_scn(2**40)}
