"""Collations that differ are found, and stop a migration only where what is equal differs."""

from __future__ import annotations

import pytest
from demo.servers import Server

from bowline_worker.contract import Finding, Role, Severity, Side
from bowline_worker.endpoints import open_endpoint
from servers import Database, MakePair, Pair

LOOSE = "create collation public.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
TABLE = "create table public.item (id int primary key, name text{} not null, more text{})"
DIFFERS = "CollationDiffers"


def assess(pair: Pair) -> list[Finding]:
    config = pair.config(Role.ASSESS, existing_schema=True)
    return open_endpoint(config, Side.TARGET).assess(other=open_endpoint(config, Side.SOURCE))


@pytest.mark.parametrize(
    ("there", "here", "index", "expected"),
    [
        ("", "", "(name)", None),
        ("", ' collate "POSIX"', "(name)", None),
        ("", ' collate "und-x-icu"', "(name)", Severity.WARNING),
        ("", " collate public.loose", "(id)", Severity.WARNING),
        ("", " collate public.loose", "(name)", Severity.ERROR),
        (" collate public.loose", "", "(name)", Severity.ERROR),
        (" collate public.loose", " collate public.loose", "(name)", None),
    ],
)
def test_a_column_stops_it_only_where_it_is_unique_and_equal_to_more(
    pair: Pair, there: str, here: str, index: str, expected: Severity | None
) -> None:
    for database, collation in ((pair.source, there), (pair.target, here)):
        database.run(LOOSE, TABLE.format(collation, ""))
        database.run(f"create unique index on public.item {index}")

    found = assess(pair)

    if expected is None:
        assert found == []
        return
    (finding,) = found
    assert (finding.reason, finding.severity, finding.object) == (
        DIFFERS,
        expected,
        "public.item.name",
    )
    assert "the database's (C)" in finding.message
    assert "loose (not deterministic)" in finding.message or "und-x-icu" in finding.message


def test_an_index_of_another_collation_than_its_column_is_seen(pair: Pair) -> None:
    for database in (pair.source, pair.target):
        database.run(LOOSE, TABLE.format("", ""))
    pair.source.run("create unique index on public.item (name)")
    pair.target.run("create unique index on public.item (name collate public.loose)")

    assert [(f.reason, f.severity) for f in assess(pair)] == [(DIFFERS, Severity.ERROR)]


def test_columns_of_one_difference_are_one_finding(pair: Pair) -> None:
    pair.source.run(TABLE.format("", ""))
    pair.target.run(TABLE.format(' collate "und-x-icu"', ' collate "und-x-icu"'))

    (finding,) = assess(pair)

    assert finding.message.startswith("collation of public.item.more and 1 more columns: ")


@pytest.mark.parametrize(
    ("locale", "reason"),
    [
        ("lc_collate 'C' lc_ctype 'C.UTF-8'", "LettersDiffer"),
        ("lc_collate 'C.UTF-8' lc_ctype 'C'", DIFFERS),
        ("locale_provider icu icu_locale 'und' lc_collate 'C' lc_ctype 'C'", DIFFERS),
    ],
)
def test_a_database_of_another_collation_is_told(
    pg: Server, pair: Pair, make_pair: MakePair, locale: str, reason: str
) -> None:
    name = "of_other_order"
    with pg.connect() as connection:
        connection.execute(f"create database {name} template template0 {locale}".encode())
    try:
        other = Database(pg, name)
        for database in (pair.source, other):
            database.run(TABLE.format("", ""))
        found = assess(make_pair(pair.source, other))
    finally:
        pg.drop_database(name)

    assert [(f.reason, f.severity) for f in found] == [(reason, Severity.WARNING)]
