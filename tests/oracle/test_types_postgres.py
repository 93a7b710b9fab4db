"""PostgreSQL itself prints every text as we made it: only so may a verification compare texts."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from random import Random

import psycopg
import pytest
from demo.servers import Server
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import pq, sql

from bowline_worker.endpoints.oracle.floats import float_text
from bowline_worker.endpoints.oracle.types import RESELECT, ValueRefused
from bowline_worker.endpoints.postgres.connection import SETTINGS
from oracle.test_types import TYPES
from oracle.type_cases import BINARIES, CASES, Case, Stamp, column, stamps, supported

#: `printed(type, texts)`: what the server makes of the texts.
Printed = Callable[[str, Sequence[str]], list[str]]


@pytest.fixture(scope="module")
def connection(pg: Server) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with pg.connect() as opened:
        for name, value in SETTINGS.items():
            opened.execute("select set_config(%s, %s, false)", [name, value])
        yield opened


@pytest.fixture(scope="module")
def printed(connection: psycopg.Connection[tuple[object, ...]]) -> Printed:
    def ask(shown_type: str, texts: Sequence[str]) -> list[str]:
        query = (
            f"select t::{shown_type} from unnest(%s::text[]) with ordinality u (t, n) order by n"
        )
        cursor = connection.execute(sql.SQL(query), [list(texts)])
        result = cursor.pgresult
        assert isinstance(result, pq.PGresult)
        values = [result.get_value(row, 0) for row in range(result.ntuples)]
        return [value.decode() for value in values if value is not None]

    return ask


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_postgresql_prints_the_text_that_we_made(
    printed: Printed, case: Case, data: st.DataObject
) -> None:
    kind = supported(case.column)
    stored = data.draw(st.lists(case.stored, min_size=20, max_size=40))
    texts = [kind.from_driver(case.driver(value)) for value in stored]
    redone = [kind.from_redo(case.redo(value)) for value in stored]
    shown = [text.decode() for text in texts if text is not None]

    assert printed(kind.postgres.text, shown) == shown
    assert [b for a, b in zip(texts, redone, strict=True) if b is not RESELECT and a != b] == []


@settings(max_examples=20, deadline=None)
@given(st.lists(stamps(6, offsets=True), min_size=20, max_size=40))
def test_an_instant_is_the_one_that_postgresql_computes(
    printed: Printed, stored: list[Stamp]
) -> None:
    kind = supported(column("TIMESTAMP(6) WITH TIME ZONE"))
    shown = [kind.from_driver(value.masked(zone=f" {value.zone}")) for value in stored]
    theirs = [
        f"{each.date} {each.clock}.{each.nanos // 1000:06d}{each.zone}{' BC' if each.sign else ''}"
        for each in stored
    ]

    assert printed(kind.postgres.text, theirs) == [text.decode() for text in shown if text]


@pytest.mark.parametrize("year", [-4711, -4, -3, 0, 1, 4, 100, 400, 1500, 1582, 1900, 2000, 2023])
@pytest.mark.parametrize("day", ["02-28", "02-29", "04-30", "04-31", "12-31", "12-32", "13-01"])
def test_a_day_is_refused_where_postgresql_has_none(
    connection: psycopg.Connection[tuple[object, ...]], year: int, day: str
) -> None:
    sign, date = "-" if year < 1 else " ", f"{abs(year - (year < 1)):04d}-{day} 00:00:00"
    kind = supported(column("DATE"))
    try:
        connection.execute("select %s::text::timestamp", [date + (" BC" if year < 1 else "")])
    except psycopg.errors.DatetimeFieldOverflow:
        with pytest.raises(ValueRefused, match="no date of postgresql's calendar"):
            kind.from_driver(sign + date)
    else:
        assert kind.to_oracle(kind.from_driver(sign + date)) == sign + date


def test_the_names_of_types_are_the_catalogue_s(
    connection: psycopg.Connection[tuple[object, ...]],
) -> None:
    for of, name, shown in TYPES:
        ddl = supported(of).postgres.text
        connection.execute(f"create temporary table t (c {ddl})".encode())
        found = connection.execute(
            """select n.nspname::text, t.typname::text, format_type(a.atttypid, a.atttypmod)
               from pg_attribute a join pg_type t on t.oid = a.atttypid
               join pg_namespace n on n.oid = t.typnamespace
               where a.attrelid = 't'::regclass and a.attname = 'c'"""
        ).fetchone()
        connection.execute("drop table pg_temp.t")

        assert found == ("pg_catalog", name, shown)


def _singles() -> list[float]:
    """Every power of two and its neighbours, where the spacing of numbers changes."""
    bits = [exponent << 23 for exponent in range(255)] + [1 << shift for shift in range(23)]
    near = {each + step for each in bits for step in (-1, 0, 1)} - {-1, 0}
    return [struct.unpack("<f", struct.pack("<I", each))[0] for each in sorted(near)]


def _doubles() -> list[float]:
    bits = [exponent << 52 for exponent in range(2047)] + [1 << shift for shift in range(52)]
    near = {each + step for each in bits for step in (-1, 0, 1)} - {-1, 0}
    # Numbers of few digits that lie half-way between two doubles, where PostgreSQL takes more digits.
    ties = [float(f"{digits}e{exponent}") for digits in range(1, 100) for exponent in range(15, 26)]
    return [struct.unpack("<d", struct.pack("<Q", each))[0] for each in sorted(near)] + ties


@pytest.mark.parametrize(
    ("shown_type", "values"), [("real", _singles()), ("double precision", _doubles())]
)
def test_floats_where_the_spacing_changes_are_printed_alike(
    printed: Printed, shown_type: str, values: list[float]
) -> None:
    texts = [float_text(value, is_single=shown_type == "real") for value in values]
    exact = [format(Decimal(value), "f") for value in values]

    assert printed(shown_type, texts) == texts
    assert printed(shown_type, exact) == texts


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_floats_of_any_bits_are_printed_alike(printed: Printed, random: Random) -> None:
    bits = [random.getrandbits(63) for _ in range(500)]
    doubles = [struct.unpack("<d", struct.pack("<Q", each))[0] for each in bits]
    doubles += [float(random.getrandbits(54)) / 8 for _ in bits]
    singles = [struct.unpack("<f", struct.pack("<I", each & 0x7FFFFFFF))[0] for each in bits]
    singles += [float(random.getrandbits(24)) / 8 for _ in bits]
    for case, values in zip(reversed(BINARIES), (doubles, singles), strict=True):
        kind = supported(case.column)
        texts = [text.decode() for value in values if (text := kind.from_driver(value)) is not None]

        assert printed(kind.postgres.text, texts) == texts
        assert printed(kind.postgres.text, list(map(repr, values))) == texts
