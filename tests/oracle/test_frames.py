"""The journal's frames of an Oracle stream: what goes in comes out, and damage never passes for something else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle import frames
from bowline_worker.endpoints.oracle.frames import OracleDecoder, encode, encode_relation
from bowline_worker.endpoints.oracle.position import at_scn
from bowline_worker.model import (
    UNCHANGED,
    Change,
    Op,
    Row,
    Signal,
    SignalKind,
    TableName,
    Transaction,
)

MIGRATION = "default.shop"
ITEM, EVENT = TableName("shop", "item"), TableName("Größe", "evént")
ITEM_COLUMNS, EVENT_COLUMNS = ("name", "id", "lané", "note"), ("what", "at")
#: The key's columns are in another order than the table's.
ITEM_KEY = (2, 1)
RELATIONS = encode_relation(1, ITEM, ITEM_COLUMNS, ("lané", "id")) + encode_relation(
    300, EVENT, EVENT_COLUMNS, ()
)

known = st.one_of(st.none(), st.binary(max_size=80))
key_value = st.binary(max_size=20)


@st.composite
def changes(draw: st.DrawFn) -> Change:
    op = draw(st.sampled_from(Op))
    if draw(st.booleans()):
        rows = st.tuples(known, known)
        before = draw(rows) if op in (Op.UPDATE, Op.DELETE) else None
        after = draw(rows) if op in (Op.INSERT, Op.UPDATE) else None
        return Change(op, EVENT, EVENT_COLUMNS, (), before, after)
    key, lane = draw(key_value), draw(key_value)
    old = (lane, key)
    value = st.one_of(known, st.just(UNCHANGED))
    named: Row = (None, key, lane, None)
    if op is Op.INSERT:
        return Change(op, ITEM, ITEM_COLUMNS, (), None, (draw(known), key, lane, draw(known)))
    if op is Op.DELETE:
        return Change(op, ITEM, ITEM_COLUMNS, old, named, None)
    if op is Op.TRUNCATE:
        return Change(op, ITEM, ITEM_COLUMNS)
    if draw(st.booleans()):
        return Change(op, ITEM, ITEM_COLUMNS, old, None, (draw(value), key, lane, draw(value)))
    new = (draw(value), draw(key_value), lane, draw(value))
    return Change(op, ITEM, ITEM_COLUMNS, old, named, new)


@st.composite
def transactions(draw: st.DrawFn) -> Transaction:
    numbers = st.integers(0, 2**63 - 1)
    return Transaction(
        position=at_scn(draw(st.integers(0, 2**48 - 1))),
        committed_at=draw(st.floats(allow_nan=False)),
        changes=draw(st.lists(changes(), max_size=5)),
        signals=draw(
            st.lists(
                st.builds(Signal, st.sampled_from(SignalKind), numbers, st.just(MIGRATION)),
                max_size=2,
            )
        ),
        starts=draw(st.booleans()),
        ends=draw(st.booleans()),
    )


def encoded(transaction: Transaction) -> bytes:
    content: list[list[Any]] = []
    for change in transaction.changes:
        number, key = (1, ITEM_KEY) if change.table == ITEM else (300, ())
        content.append(frames.change(number, change, key))
    return encode(
        int(transaction.position.text),
        transaction.committed_at,
        transaction.signals,
        content,
        starts=transaction.starts,
        ends=transaction.ends,
    )


def decoded(payload: bytes) -> list[Transaction]:
    return list(OracleDecoder(MIGRATION).decode(payload))


@given(st.lists(transactions(), max_size=4))
def test_what_goes_in_comes_out(given_: list[Transaction]) -> None:
    assert decoded(RELATIONS + b"".join(map(encoded, given_))) == given_


@given(transactions(), st.data())
def test_a_payload_that_was_cut_is_never_read_to_its_end(
    transaction: Transaction, data: st.DataObject
) -> None:
    payload = RELATIONS + encoded(transaction)
    end = data.draw(st.integers(len(RELATIONS) + 1, len(payload) - 1))

    with pytest.raises(Unsafe) as refused:
        decoded(payload[:end])

    assert refused.value.reason == "UnreadableStream"


@settings(max_examples=500)
@given(transactions(), st.data())
def test_damage_is_refused_or_changes_a_value_and_nothing_else_happens(
    transaction: Transaction, data: st.DataObject
) -> None:
    """Block checksums catch damage; here no other error may come of it, and no row of another width."""
    payload = bytearray(RELATIONS + encoded(transaction))
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] ^= data.draw(st.integers(1, 255))
    found = []
    with suppress(Unsafe):
        found = decoded(bytes(payload))
    for change in (change for each in found for change in each.changes):
        for row in (change.before, change.after):
            assert row is None or len(row) == len(change.columns)


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    if noise:
        with pytest.raises(Unsafe):
            decoded(noise)


def test_a_change_of_a_table_that_was_not_described_is_refused() -> None:
    change = Change(Op.INSERT, ITEM, ITEM_COLUMNS, (), None, (b"a", b"1", b"2", None))
    payload = encode(5, 1.0, (), [frames.change(1, change, ITEM_KEY)])

    with pytest.raises(Unsafe, match="relation 1, which was not described"):
        decoded(payload)


def test_another_format_is_named() -> None:
    payload = bytearray(encode(5, 1.0, (), []))
    payload[4] = 9

    with pytest.raises(Unsafe, match="format 9, wanted 1"):
        decoded(bytes(payload))


@pytest.mark.parametrize(
    "change",
    [
        [0x49, 1, (b"a", b"1", b"2")],  # a value is missing
        [0x49, 1, (b"a", b"1", b"2", UNCHANGED)],  # an INSERT knows its values
        [0x49, 1, (b"a", b"1", b"2", 7)],
        [0x49, 1, (b"a", b"1", b"2", None), (b"1", b"2")],
        [0x55, 1, (b"a", None, b"2", None)],  # the key is not known
        [0x55, 1, (b"a", UNCHANGED, b"2", None)],
        [0x55, 1, (b"a", b"1", b"2", None), (b"1", None)],
        [0x55, 300, (b"a", b"b")],  # without a key the old row finds it
        [0x44, 1, (b"a", b"1", b"2", None)],
        [0x44, 1],
        [0x54, 1, ()],
        [0x58, 1],
        [0x49],
        [],
    ],
)
def test_a_change_of_a_form_that_is_not_known_is_refused(change: list[Any]) -> None:
    with pytest.raises(Unsafe) as refused:
        decoded(RELATIONS + encode(5, 1.0, (), [change]))

    assert refused.value.reason == "UnreadableStream"


def test_a_decoder_takes_the_blocks_of_another_process_with_other_numbers() -> None:
    change = Change(Op.INSERT, EVENT, EVENT_COLUMNS, (), None, (b"a", None))
    decoder = OracleDecoder(MIGRATION)
    assert list(decoder.decode(RELATIONS)) == []

    again = encode_relation(1, EVENT, EVENT_COLUMNS, ())
    payload = again + encode(5, 1.0, (), [frames.change(1, change, ())])

    assert [each.changes for each in decoder.decode(payload)] == [[change]]
