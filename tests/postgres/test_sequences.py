"""Sequences: the new primary must never give out a value that the old one gave."""

from __future__ import annotations

import pytest

from bowline_worker.contract import Side, Unsupported
from bowline_worker.endpoints.base import SequenceState
from bowline_worker.endpoints.postgres import books
from bowline_worker.model import TableName
from servers import Database, Pair


def carry_over(pair: Pair, **change: object) -> None:
    """Do what the switch does: read here, raise there."""
    for side in Side:
        books.install(pair.site(side))
    with books.transaction(pair.site(Side.SOURCE, **change)) as here:  # type: ignore[arg-type]
        states = here.sequences()
    with books.transaction(pair.site(Side.TARGET, **change)) as there:  # type: ignore[arg-type]
        there.raise_sequences(states)


def both(pair: Pair, *statements: str) -> tuple[Database, Database]:
    for database in (pair.source, pair.target):
        database.run(*statements)
    return pair.source, pair.target


@pytest.mark.parametrize(
    ("definition", "use", "first"),
    [
        ("", "nextval('public.s')", 2),
        ("", "setval('public.s', 41)", 42),
        ("", "setval('public.s', 41, false)", 41),
        ("", "1", 1),
        ("increment 5", "nextval('public.s')", 6),
        ("increment -1", "nextval('public.s')", -2),
        ("increment -3 minvalue -100", "setval('public.s', -50)", -53),
        ("start 7 minvalue 7", "1", 7),
        ("start 7 minvalue 5", "setval('public.s', 5, false)", 7),
        ("cache 10", "nextval('public.s')", 11),
        ("as smallint maxvalue 9", "setval('public.s', 8)", 9),
        ("minvalue 0 start 0", "nextval('public.s')", 1),
    ],
)
def test_the_next_value_is_one_that_was_not_given_out(
    pair: Pair, definition: str, use: str, first: int
) -> None:
    source, target = both(
        pair,
        "create table public.t (id int primary key)",
        f"create sequence public.s {definition}",
    )
    source.run(f"select {use}")

    carry_over(pair)
    carry_over(pair)

    assert target.value("select nextval('public.s')") == first


@pytest.mark.parametrize(("sign", "there"), [("", 100), ("-", -100)])
def test_a_sequence_that_is_further_is_never_moved_back(pair: Pair, sign: str, there: int) -> None:
    source, target = both(
        pair,
        "create table public.t (id int primary key)",
        f"create sequence public.s increment {sign}1",
    )
    source.run("select nextval('public.s')")
    target.run(f"select setval('public.s', {there})")

    carry_over(pair)

    assert target.value("select last_value from public.s") == there


def test_an_exhausted_sequence_stays_exhausted(pair: Pair) -> None:
    source, target = both(
        pair,
        "create table public.t (id int primary key)",
        "create sequence public.s maxvalue 3",
    )
    source.run("select setval('public.s', 3)")

    carry_over(pair)

    assert target.rows("select last_value, is_called from public.s") == [(3, True)]


def test_sequences_of_selected_tables_come_along_from_any_schema(pair: Pair) -> None:
    statements = (
        "create schema shop",
        "create schema ids",
        "create sequence ids.used",
        "create sequence ids.unused",
        "create sequence shop.free",
        "create table shop.item (id int generated always as identity primary key, n serial,"
        " u int default nextval('ids.used'))",
        "create table shop.log (id serial primary key)",
    )
    pair.source.run(*statements)
    site = pair.site(Side.SOURCE, include=["shop.*"], exclude=["shop.log"])

    with books.transaction(site) as here:
        found = sorted(map(str, here.sequences()))

    assert found == ["ids.used", "shop.free", "shop.item_id_seq", "shop.item_n_seq"]


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        ("", "SequenceMissing"),
        ("create sequence public.s increment -1", "SequenceDiffers"),
        ("create sequence public.s maxvalue 40", "SequenceDiffers"),
    ],
)
def test_a_sequence_that_can_not_be_raised_is_an_error(pair: Pair, there: str, reason: str) -> None:
    pair.source.run(
        "create table public.t (id int primary key)",
        "create sequence public.s",
        "select setval('public.s', 41)",
    )
    pair.target.run(*filter(None, [there]))

    with pytest.raises(Unsupported, match=r"public\.s") as caught:
        carry_over(pair)

    assert caught.value.reason == reason


def test_names_are_quoted(pair: Pair) -> None:
    _, target = both(
        pair,
        "create table public.t (id int primary key)",
        'create sequence public."Od""d \'s"',
    )
    with books.transaction(pair.site(Side.TARGET)) as there:
        there.raise_sequences({TableName("public", "Od\"d 's"): SequenceState(9, 1)})

    assert target.value('select last_value from public."Od""d \'s"') == 9
