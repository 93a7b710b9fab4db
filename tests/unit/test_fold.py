"""Folding: what a lane applies as sets leaves the same rows as the changes one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowline_worker.contract import Unsupported
from bowline_worker.fold import Folded, fold, shapes_of
from bowline_worker.model import UNCHANGED, Change, Op
from unit.items import COLUMNS, EVENT, ITEM, delete, insert, update

SHAPES = shapes_of((ITEM, EVENT))
State = dict[bytes, tuple[bytes | None, bytes | None]]


def step(state: State, change: Change) -> None:
    """Apply one change as a database would; a KeyError or assertion is a history that can't be."""
    key = change.key[0] if change.key else None
    assert key is None or isinstance(key, bytes)
    old = state.pop(key) if key is not None else (None, None)
    if change.op is Op.DELETE:
        return
    assert change.after is not None
    new, *values = change.after
    assert isinstance(new, bytes)
    assert new not in state
    a, b = (was if is_ is UNCHANGED else is_ for was, is_ in zip(old, values, strict=True))
    state[new] = (a, b)


def apply(state: State, folded: Folded) -> None:
    """Apply sets with the strictness of a receiver: each row is there, or not there, as it must be."""
    for batch in folded.batches:
        for (key,) in batch.deletes:
            del state[key]  # type: ignore[arg-type]
        for columns, rows in batch.updates.items():
            for key, *values in rows:
                row = dict(zip("ab", state[key], strict=True))  # type: ignore[index]
                row.update(zip(columns, values, strict=True))  # type: ignore[arg-type]
                state[key] = (row["a"], row["b"])  # type: ignore[index]
        for key, a, b in batch.inserts:
            assert key not in state
            state[key] = (a, b)  # type: ignore[index,assignment]
    for change in folded.ordered:
        step(state, change)


VALUES = st.sampled_from([None, b"x", b"y", b"z"])
MAYBE_UNCHANGED = st.one_of(VALUES, st.just(UNCHANGED))
KEYS = st.sampled_from([b"1", b"2", b"3", b"4"])


@st.composite
def histories(draw: st.DrawFn) -> tuple[State, list[Change]]:
    """A starting state and changes that a database could have made from it."""
    start: State = {key: (draw(VALUES), draw(VALUES)) for key in draw(st.sets(KEYS))}
    state, changes = dict(start), []
    for _ in range(draw(st.integers(0, 25))):
        key = draw(KEYS)
        if key not in state:
            change = insert(key, draw(VALUES), draw(VALUES))
        elif draw(st.booleans()):
            change = update(key, draw(MAYBE_UNCHANGED), draw(MAYBE_UNCHANGED))
        elif draw(st.booleans()) and (free := [k for k in (b"1", b"2", b"9") if k not in state]):
            change = update(
                key, draw(MAYBE_UNCHANGED), draw(MAYBE_UNCHANGED), to=draw(st.sampled_from(free))
            )
        else:
            change = delete(key)
        step(state, change)
        changes.append(change)
    return start, changes


@given(histories())
def test_folded_changes_leave_what_the_single_changes_leave(
    history: tuple[State, list[Change]],
) -> None:
    start, changes = history
    expected, state = dict(start), dict(start)
    for change in changes:
        step(expected, change)

    apply(state, fold(changes, SHAPES))

    assert state == expected


@given(histories())
def test_a_key_is_in_one_set_only(history: tuple[State, list[Change]]) -> None:
    for batch in fold(history[1], SHAPES).batches:
        keys = [key for (key,) in batch.deletes] + [row[0] for row in batch.inserts]
        keys += [row[0] for rows in batch.updates.values() for row in rows]

        assert len(keys) == len(set(keys))


def test_two_keys_that_swap_are_updates() -> None:
    swap = [
        update(b"1", b"x", b"x", to=b"9"),
        update(b"2", b"y", b"y", to=b"1"),
        update(b"9", b"x", b"x", to=b"2"),
    ]

    (batch,) = fold(swap, SHAPES).batches

    assert batch.updates == {("a", "b"): [(b"1", b"y", b"y"), (b"2", b"x", b"x")]}
    assert (batch.inserts, batch.deletes) == ([], [])


def test_a_row_that_came_and_went_is_nothing() -> None:
    (batch,) = fold([insert(b"1", b"x", None), delete(b"1")], SHAPES).batches

    assert (batch.inserts, batch.updates, batch.deletes) == ([], {}, [])


def test_unlogged_values_are_left_alone() -> None:
    changes = [update(b"1", b"x", UNCHANGED), update(b"2", UNCHANGED, UNCHANGED)]

    (batch,) = fold(changes, SHAPES).batches

    assert batch.updates == {("a",): [(b"1", b"x")], (): [(b"2",)]}


def test_an_incomplete_row_that_moves_goes_one_by_one_with_its_whole_table() -> None:
    changes = [update(b"5", b"x", b"x"), update(b"1", b"x", UNCHANGED, to=b"2")]

    folded = fold(changes, SHAPES)

    assert folded == Folded(ordered=changes)


def test_a_moved_row_takes_unlogged_values_from_what_was_folded() -> None:
    changes = [insert(b"1", b"x", b"long"), update(b"1", b"y", UNCHANGED, to=b"2")]

    (batch,) = fold(changes, SHAPES).batches

    assert batch.inserts == [(b"2", b"y", b"long")]


def test_a_truncated_table_goes_one_by_one_and_others_don_t() -> None:
    truncate = Change(Op.TRUNCATE, ITEM.name, ())
    event = Change(Op.INSERT, EVENT.name, ("what",), after=(b"e",))
    changes = [insert(b"1", None, None), event, truncate]

    folded = fold(changes, SHAPES)

    assert folded.ordered == [changes[0], truncate]
    assert [batch.table for batch in folded.batches] == [EVENT]


def test_without_a_key_only_inserts_are_a_set() -> None:
    inserts = [Change(Op.INSERT, EVENT.name, ("what",), after=(b"e",))] * 2
    removal = Change(Op.DELETE, EVENT.name, ("what",), before=(b"e",))

    assert fold(inserts, SHAPES).batches[0].inserts == [(b"e",), (b"e",)]
    assert fold([*inserts, removal], SHAPES) == Folded(ordered=[*inserts, removal])


def test_rows_are_put_in_the_order_of_the_receiver_s_columns() -> None:
    change = Change(Op.INSERT, ITEM.name, ("b", "id", "a"), after=(b"B", b"1", b"A"))

    (batch,) = fold([change], SHAPES).batches

    assert batch.inserts == [(b"1", b"A", b"B")]


def test_a_column_that_the_receiver_lacks_is_refused_by_name() -> None:
    change = Change(Op.INSERT, ITEM.name, (*COLUMNS, "new"), after=(b"1", b"A", b"B", b"C"))

    with pytest.raises(Unsupported, match=r"item: columns differ.*new") as refused:
        fold([change], SHAPES)

    assert refused.value.reason == "SchemaChanged"


def test_an_origin_that_knows_rows_by_other_columns_is_refused() -> None:
    change = replace(update(b"1", b"x", b"y"), key=(b"x",))

    with pytest.raises(Unsupported, match="by other columns than id"):
        fold([change], SHAPES)


def test_a_key_in_another_order_of_columns_is_found_by_name() -> None:
    table = replace(ITEM, key=("b", "id"))
    change = Change(Op.DELETE, ITEM.name, COLUMNS, (b"1", b"B"), before=(b"1", None, b"B"))

    (batch,) = fold([change], shapes_of((table,))).batches

    assert batch.deletes == [(b"B", b"1")]


def test_a_long_key_that_was_not_logged_again_is_known_from_before() -> None:
    change = Change(
        Op.UPDATE, ITEM.name, COLUMNS, (b"1",), (b"1", None, None), (UNCHANGED, b"x", b"y")
    )

    (batch,) = fold([change], SHAPES).batches

    assert batch.updates == {("a", "b"): [(b"1", b"x", b"y")]}
