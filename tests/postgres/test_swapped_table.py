"""A table of the right name and shape may not be the published one: its changes would be missing without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from bowline_worker.contract import Role, Side, Unsupported
from bowline_worker.endpoints import open_endpoint
from bowline_worker.reporter import Reporter
from bowline_worker.roles import Context, prepare
from bowline_worker.roles.capture import check_shapes
from bowline_worker.saga_checks import schema_difference, shapes_difference
from servers import Pair

SHOP = ("create table public.item (id int primary key, name text)",)
#: As online schema changes do it: the new table has the old one's name, form and rows, and another identity.
SWAP = """
begin;
create table public.item_new (like public.item including all);
insert into public.item_new table public.item;
alter table public.item rename to item_old;
alter table public.item_new rename to item;
drop table public.item_old;
commit"""


@pytest.fixture
def prepared(pair: Pair) -> Pair:
    for database in (pair.source, pair.target):
        database.run(*SHOP)
    config = pair.config(Role.PREPARE)
    prepare.run(Context(config=config, report=Reporter(config)))
    return pair


def test_changes_of_a_table_that_was_swapped_for_another_are_not_lost_silently(
    prepared: Pair, tmp_path: Path
) -> None:
    origin = open_endpoint(prepared.config(Role.CAPTURE), Side.SOURCE)
    check_shapes(origin, tmp_path)
    check_shapes(origin, tmp_path)

    prepared.source.run(SWAP)

    with pytest.raises(Unsupported, match=r"public\.item is another table than it was"):
        check_shapes(origin, tmp_path)


SAME_SHAPE = {
    "tables that swap their names": (
        "alter table public.item rename to passing; alter table public.twin rename to item;"
        " alter table public.passing rename to twin",
        r"public\.item is another table than it was",
    ),
    "a column that is made anew": (
        "alter table public.item drop name; alter table public.item add name text default 'x'",
        r"public\.item\.name was column 2, text, is column 3, text",
    ),
}


@pytest.mark.parametrize("what", SAME_SHAPE)
def test_other_rows_under_an_old_name_are_noticed(pair: Pair, tmp_path: Path, what: str) -> None:
    """The shape is the same afterwards, and what it holds is not: no stream tells."""
    ddl, told = SAME_SHAPE[what]
    for database in (pair.source, pair.target):
        database.run(*SHOP, "create table public.twin (id int primary key, name text)")
    config = pair.config(Role.PREPARE)
    prepare.run(Context(config=config, report=Reporter(config)))
    origin = open_endpoint(pair.config(Role.CAPTURE), Side.SOURCE)
    check_shapes(origin, tmp_path)

    pair.source.run(*ddl.split("; "))

    with pytest.raises(Unsupported, match=told):
        check_shapes(origin, tmp_path)


def test_a_table_made_on_both_sides_before_the_stream_began_is_not_left_out_silently(
    prepared: Pair, tmp_path: Path
) -> None:
    for database in (prepared.source, prepared.target):
        database.run("create table public.late (id int primary key)")

    with pytest.raises(Unsupported, match=r"public\.late are not in the stream"):
        check_shapes(open_endpoint(prepared.config(), Side.SOURCE), tmp_path)


def test_a_switch_is_taken_back_when_the_losing_side_has_a_swapped_table(prepared: Pair) -> None:
    source, target = (open_endpoint(prepared.config(), side) for side in Side)
    assert schema_difference(source, target) == ""

    prepared.source.run(SWAP)

    assert shapes_difference(source, target) == ""
    assert schema_difference(source, target) == "not in the stream from the source: public.item"
