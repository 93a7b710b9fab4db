"""Lanes: no two of them may ever need the same row."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bowline_worker.fold import shapes_of
from bowline_worker.lanes import assign, spread
from bowline_worker.model import Change, Column, Op, TableName
from unit.items import COLUMNS, EVENT, ITEM, delete, insert, update

SHAPES = shapes_of((ITEM, EVENT))
MOVES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40)


def moves(pairs: list[tuple[int, int]]) -> list[Change]:
    return [update(b"%d" % old, b"x", b"y", to=b"%d" % new) for old, new in pairs]


@given(MOVES, st.integers(1, 5))
def test_every_key_is_in_one_lane(pairs: list[tuple[int, int]], lanes: int) -> None:
    changes = [change for pair in moves(pairs) for change in (pair, delete(b"%d" % 7))]
    seen: dict[object, int] = {}
    for change, lane in zip(changes, assign(changes, SHAPES, spread((ITEM,), lanes)), strict=True):
        for row in (change.before, change.after):
            if row is not None:
                assert seen.setdefault(row[0], lane) == lane


def test_changes_spread_over_all_lanes() -> None:
    changes = [insert(b"%d" % number, b"x", b"y") for number in range(200)]

    found = assign(changes, SHAPES, spread((ITEM,), 4))

    assert {lane: found.count(lane) > 20 for lane in range(4)} == dict.fromkeys(range(4), True)


def test_the_same_key_stays_in_its_lane_from_span_to_span() -> None:
    """Python's own hash differs per process: a laggard would apply another part after a restart."""
    found = assign(
        [insert(b"%d" % number, None, None) for number in range(9)], SHAPES, spread((ITEM,), 2)
    )

    assert found == [0, 0, 0, 0, 1, 1, 1, 1, 0]


def test_a_table_with_further_unique_values_is_one_lane() -> None:
    unique = replace(ITEM, one_lane=True)
    changes = [insert(b"%d" % number, b"x", b"y") for number in range(50)]

    assert len(set(assign(changes, shapes_of((unique,)), spread((unique,), 4)))) == 1


def test_a_key_that_can_be_written_in_two_ways_is_one_lane() -> None:
    for type_schema, type_name, type_text, whole in (
        ("pg_catalog", "numeric", "numeric", True),
        ("pg_catalog", "numeric", "numeric(12,2)", False),
        ("pg_catalog", "float8", "double precision", True),
        ("public", "text", "public.text", True),
        ("pg_catalog", "uuid", "uuid", False),
    ):
        key = Column(name="id", type_schema=type_schema, type_name=type_name, type_text=type_text)
        table = replace(ITEM, columns=(key, *ITEM.columns[1:]))

        assert (table.name in spread((table,), 2).whole) is whole, type_text


def test_a_truncate_puts_the_span_in_one_lane() -> None:
    changes = [insert(b"%d" % number, b"x", b"y") for number in range(50)]
    changes.append(Change(Op.TRUNCATE, TableName("public", "event"), ()))

    assert set(assign(changes, SHAPES, spread((ITEM, EVENT), 4))) == {0}


def test_keys_that_look_alike_when_joined_are_two_keys() -> None:
    pair = replace(ITEM, key=("id", "a"))
    changes = [
        Change(Op.INSERT, ITEM.name, COLUMNS, after=(b"1" * n, b"1" * (9 - n), None))
        for n in range(1, 9)
    ]

    assert len(set(assign(changes, shapes_of((pair,)), spread((pair,), 64)))) > 1
