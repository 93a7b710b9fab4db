"""The short way of a span through apply: the same as to decode, sift, assign and fold, or none at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowline_worker.endpoints.base import TableBatch
from bowline_worker.endpoints.postgres.frames import HEARTBEAT_TABLE, position_at
from bowline_worker.endpoints.postgres.pgoutput import PgoutputDecoder
from bowline_worker.fold import fold, shapes_of
from bowline_worker.lanes import assign, spread
from bowline_worker.model import UNCHANGED, Column, Position, Table, TableName, Value
from bowline_worker.sift import Seen, Sieve
from postgres.test_pgoutput import begin, commit, delete, insert, payload, relation, row, update

ITEM, LOG, PAIR = (TableName("public", name) for name in ("item", "log", "pair"))
OURS = "ours"
#: Oids, as the stream names relations.
ITEMS, LOGS, PAIRS, BEATS = 1, 2, 3, 4


def table(name: TableName, columns: tuple[str, ...], *key: str) -> Table:
    kinds = tuple(
        Column(name=column, type_schema="pg_catalog", type_name="text", type_text="text")
        for column in columns
    )
    return Table(name=name, columns=kinds, key=key, one_lane=not key)


TABLES = (
    table(ITEM, ("id", "name", "note"), "id"),
    table(LOG, ("a", "b")),
    table(PAIR, ("x", "y", "z"), "x", "y"),
)
RELATIONS = (
    relation(ITEMS),
    relation(LOGS, LOG, ("a", "b"), (), identity=b"f"),
    relation(PAIRS, PAIR, ("x", "y", "z"), ("x", "y")),
    relation(BEATS, HEARTBEAT_TABLE, ("migration", "beat"), ("migration",)),
)
SEEN = Seen(passed=True, position="0/10")

Sets: TypeAlias = dict[TableName, TableBatch]


def sieve(positions: dict[TableName, Position] | None = None) -> Sieve:
    return Sieve(migration=OURS, number=0, shapes=shapes_of(TABLES), positions=positions)


def general(
    data: bytes, rules: Sieve, lanes: int
) -> tuple[list[Sets], list[int], list[float], Seen]:
    part, after = rules.sift(PgoutputDecoder(OURS).decode(data), SEEN)
    split: list[list[object]] = [[] for _ in range(lanes)]
    for lane, change in zip(
        assign(part.changes, rules.shapes, spread(TABLES, lanes)), part.changes, strict=True
    ):
        split[lane].append(change)
    folded = [fold(changes, rules.shapes) for changes in split]  # type: ignore[arg-type]
    assert not any(each.ordered for each in folded), "what is ordered is not ordinary"
    batches = [by_table(each.batches) for each in folded]
    return batches, [len(each) for each in split], part.commits, after


def short(
    data: bytes, rules: Sieve, lanes: int
) -> tuple[list[Sets], list[int], list[float], Seen] | None:
    found = PgoutputDecoder(OURS).gather(data, rules, spread(TABLES, lanes))
    if found is None:
        return None
    _, after = rules.sift(found.signals, SEEN)
    after = replace(after, position=found.position.text)
    batches = [by_table(lane.batches) for lane in found.lanes]
    return batches, [lane.events for lane in found.lanes], found.commits, after


def by_table(batches: list[TableBatch]) -> Sets:
    return {
        each.table.name: each for each in batches if each.inserts or each.updates or each.deletes
    }


VALUES = st.sampled_from([None, b"", b"x", b"u", b"t\0\0\0\x01n", b"long" * 20])
KEYS = st.sampled_from([b"1", b"2", b"10", b"n", b""])


@st.composite
def messages(draw: st.DrawFn, odd: bool) -> bytes:
    """Transactions that a database could have made; with `odd` also such as are not ordinary."""
    items, pairs, sent = dict[bytes, bool](), dict[tuple[bytes, bytes], bool](), [*RELATIONS]
    for number in range(1, draw(st.integers(1, 6)) + 1):
        sent.append(begin(0x100 * number))
        changes = st.integers(0, 8)
        sent += [draw(one(items, pairs, odd=odd)) for _ in range(draw(changes))]
        sent.append(commit(0x100 * number))
    return payload(*sent)


@st.composite
def one(
    draw: st.DrawFn, items: dict[bytes, bool], pairs: dict[tuple[bytes, bytes], bool], *, odd: bool
) -> bytes:
    kind = draw(st.sampled_from(["item", "item", "pair", "log", "beat", "odd" if odd else "item"]))
    if kind == "log":
        return insert(draw(VALUES), draw(VALUES), oid=LOGS)
    if kind == "beat":
        who = draw(st.sampled_from([OURS.encode(), b"theirs"]))
        return insert(who, b"%d" % draw(st.integers(1, 99)), oid=BEATS)
    key = draw(KEYS)
    if kind == "odd":
        if draw(st.booleans()) or not items.get(key, True):
            return b"T" + bytes([0, 0, 0, 1, 0, 0, 0, 0, ITEMS])
        items[key] = True
        return update((key, draw(VALUES), UNCHANGED))
    if kind == "pair":
        other = (key, draw(KEYS))
        there, pairs[other] = pairs.get(other, draw(st.booleans())), True
        new: tuple[Value, ...] = (*other, draw(VALUES))
        return b"U\0\0\0\x03N" + row(*new) if there else insert(*new, oid=PAIRS)
    there = items.get(key, draw(st.booleans()))
    if there and draw(st.booleans()):
        items[key] = False
        return delete(key, None, None)
    items[key] = True
    values = (key, draw(VALUES), draw(VALUES))
    return update(values) if there else insert(*values)


@given(messages(odd=False), st.integers(1, 3))
def test_an_ordinary_span_comes_to_what_the_general_way_makes_of_it(
    data: bytes, lanes: int
) -> None:
    found = short(data, sieve(), lanes)

    assert found is not None
    assert found == general(data, sieve(), lanes)


@given(messages(odd=True), st.integers(1, 3), st.integers(0, 6))
def test_whatever_comes_the_short_way_loses_nothing(data: bytes, lanes: int, copied: int) -> None:
    """A snapshot shows some of it already; an unlogged value or a TRUNCATE may be in it."""
    positions = {each.name: position_at(0x100 * copied) for each in TABLES}
    found = short(data, sieve(positions), lanes)

    if found is not None:
        assert found == general(data, sieve(positions), lanes)


ORDINARY = (*RELATIONS, begin(), insert(b"1", b"a", None), commit())
CHANGED_KEY = update((b"2", b"b", None), (b"1", None, None), b"K")


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(CHANGED_KEY, id="a key changes"),
        pytest.param(update((b"1", UNCHANGED, None)), id="a value is not logged"),
        pytest.param(update((b"1", b"b", None), (b"1", b"a", None), b"O"), id="full identity"),
        pytest.param(b"T" + bytes([0, 0, 0, 1, 0, 0, 0, 0, ITEMS]), id="truncate"),
        pytest.param(insert(b"1", b"b"), id="a column less"),
        pytest.param(insert(b"1", b"b", b"c") + b"x", id="a byte more"),
        pytest.param(insert(None, b"b", b"c"), id="no key"),
        pytest.param(insert(b"1", b"b", b"c", oid=9), id="an unknown relation"),
        pytest.param(relation(ITEMS, columns=("id", "note", "name")), id="other order"),
        pytest.param(relation(ITEMS, key=("name",)), id="another key"),
    ],
)
def test_what_is_not_ordinary_goes_the_general_way(odd: bytes) -> None:
    assert short(payload(*ORDINARY), sieve(), 2) is not None

    follows = [update((b"1", b"c", b"d"))] if odd[:1] == b"R" else []
    assert short(payload(*RELATIONS, begin(), odd, *follows, commit()), sieve(), 2) is None


def test_a_span_that_ends_within_a_transaction_is_not_taken() -> None:
    for cut in (payload(*ORDINARY)[:-3], payload(*ORDINARY[:-1]), payload(*RELATIONS, commit())):
        assert short(cut, sieve(), 1) is None
