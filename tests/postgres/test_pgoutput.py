"""Decoding pgoutput: what a damaged or cut stream of messages becomes, without a server."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.base import Piece
from bowline_worker.endpoints.postgres import pieces
from bowline_worker.endpoints.postgres.frames import frame, position_at, position_from
from bowline_worker.endpoints.postgres.pgoutput import PgoutputDecoder
from bowline_worker.endpoints.postgres.pieces import PieceMaker
from bowline_worker.model import (
    UNCHANGED,
    Change,
    Op,
    Signal,
    SignalKind,
    TableName,
    Transaction,
    Value,
)

ITEM = TableName("public", "item")
COLUMNS = ("id", "name", "note")


def begin(position: int = 0x100) -> bytes:
    return b"B" + struct.pack(">QqI", position, 0, 7)


def commit(position: int = 0x100) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, position, position + 8, 0)


def relation(
    oid: int = 1,
    table: TableName = ITEM,
    columns: Iterable[str] = COLUMNS,
    key: Iterable[str] = ("id",),
    identity: bytes = b"d",
) -> bytes:
    columns = tuple(columns)
    described = b"".join(
        bytes([column in key]) + column.encode() + b"\0" + struct.pack(">Ii", 25, -1)
        for column in columns
    )
    names = table.schema.encode() + b"\0" + table.name.encode() + b"\0"
    return (
        b"R"
        + struct.pack(">I", oid)
        + names
        + identity
        + struct.pack(">H", len(columns))
        + described
    )


def row(*values: Value) -> bytes:
    def one(value: Value) -> bytes:
        if value is None:
            return b"n"
        return b"u" if value is UNCHANGED else b"t" + struct.pack(">I", len(value)) + value

    return struct.pack(">H", len(values)) + b"".join(map(one, values))


def insert(*values: Value, oid: int = 1) -> bytes:
    return b"I" + struct.pack(">I", oid) + b"N" + row(*values)


def update(new: tuple[Value, ...], old: tuple[Value, ...] = (), form: bytes = b"") -> bytes:
    before = form + row(*old) if form else b""
    return b"U" + struct.pack(">I", 1) + before + b"N" + row(*new)


def delete(*values: Value, form: bytes = b"K") -> bytes:
    return b"D" + struct.pack(">I", 1) + form + row(*values)


def payload(*messages: bytes) -> bytes:
    return b"".join(map(frame, messages))


def decode(*messages: bytes) -> list[Transaction]:
    return list(PgoutputDecoder("ours").decode(payload(*messages)))


def one(*messages: bytes) -> Transaction:
    (found,) = decode(begin(), *messages, commit())
    return found


def change(*messages: bytes, shape: bytes = relation()) -> Change:
    (found,) = one(shape, *messages).changes
    return found


def test_a_transaction_tells_its_commit() -> None:
    found = one(relation(), insert(b"1", None, b""))

    assert found.position == position_from("0/100")
    assert found.committed_at == 946_684_800
    assert (found.starts, found.ends) == (True, True)
    assert found.changes == [Change(Op.INSERT, ITEM, COLUMNS, after=(b"1", None, b""))]


def test_an_update_finds_its_row_by_the_new_key_where_the_old_is_not_told() -> None:
    found = change(update((b"1", b"a", UNCHANGED)))

    assert found == Change(Op.UPDATE, ITEM, COLUMNS, (b"1",), None, (b"1", b"a", UNCHANGED))


def test_a_changed_key_is_told_from_before() -> None:
    found = change(update((b"2", b"a", UNCHANGED), (b"1", None, None), b"K"))

    assert found.key == (b"1",)
    assert found.before == (b"1", None, None)
    assert found.after == (b"2", b"a", UNCHANGED)


def test_a_key_that_is_stored_apart_is_taken_from_the_old_row() -> None:
    """The server tells such a key in the old row only: else the row would not be found."""
    found = change(update((UNCHANGED, b"a", UNCHANGED), (b"long", None, None), b"K"))

    assert found.key == (b"long",)
    assert found.after == (b"long", b"a", UNCHANGED)


def test_full_identity_tells_the_whole_row_before() -> None:
    shape = relation(key=COLUMNS, identity=b"f")

    found = change(update((b"1", b"a", UNCHANGED), (b"1", b"b", b"toast"), b"O"), shape=shape)

    assert found.key == ()
    assert found.before == (b"1", b"b", b"toast")
    assert found.after == (b"1", b"a", b"toast")


def test_a_delete_tells_the_key_or_the_whole_row() -> None:
    by_key = change(delete(b"1", None, None))
    by_row = change(delete(b"1", None, b"x", form=b"O"), shape=relation(key=COLUMNS, identity=b"f"))

    assert (by_key.key, by_key.before) == ((b"1",), (b"1", None, None))
    assert (by_row.key, by_row.before) == ((), (b"1", None, b"x"))


def test_a_key_of_several_columns_keeps_their_order_in_the_table() -> None:
    found = change(delete(b"1", None, b"x"), shape=relation(key=("note", "id")))

    assert found.key == (b"1", b"x")


def test_truncate_is_one_change_per_table() -> None:
    other = TableName("public", "event")
    message = b"T" + struct.pack(">IBII", 2, 0, 1, 2)

    found = one(relation(), relation(2, other, ("a",), ()), message)

    assert [(each.op, each.table) for each in found.changes] == [
        (Op.TRUNCATE, ITEM),
        (Op.TRUNCATE, other),
    ]


def signal_shape() -> bytes:
    return relation(
        9, TableName("bowline", "signal"), ("migration", "kind", "attempt", "at"), ("migration",)
    )


def test_signals_of_this_migration_are_told_apart_from_changes() -> None:
    found = one(
        signal_shape(),
        insert(b"other", b"barrier", b"3", b"now", oid=9),
        insert(b"ours", b"barrier", b"4", b"now", oid=9),
    )

    assert found.signals == [Signal(SignalKind.BARRIER, 4, "ours")]
    assert found.changes == []


def test_a_removed_signal_is_no_signal() -> None:
    message = b"D" + struct.pack(">I", 9) + b"K" + row(b"ours", None, None, None)

    found = one(signal_shape(), message)

    assert (found.signals, found.changes) == ([], [])


def test_heartbeats_are_signals_whether_inserted_or_updated() -> None:
    shape = relation(
        8, TableName("bowline", "heartbeat"), ("migration", "beat", "at"), ("migration",)
    )
    update = b"U" + struct.pack(">I", 8) + b"N" + row(b"ours", b"2", b"now")

    found = one(shape, insert(b"ours", b"1", b"now", oid=8), update)

    assert found.signals == [Signal(SignalKind.HEARTBEAT, beat, "ours") for beat in (1, 2)]


def test_a_signal_of_an_unknown_kind_is_not_passed_over() -> None:
    with pytest.raises(Unsafe, match="can't be read"):
        one(signal_shape(), insert(b"ours", b"magic", b"4", b"now", oid=9))


def test_shapes_outside_of_transactions_hold_for_what_follows() -> None:
    found = decode(relation(), begin(), insert(b"1", None, None), commit())

    assert len(found[0].changes) == 1


def test_messages_that_say_nothing_of_rows_are_passed_over() -> None:
    origin = b"O" + struct.pack(">Q", 1) + b"name\0"
    logical = b"M" + struct.pack(">BQ", 0, 1) + b"p\0" + struct.pack(">I", 0)
    kind = b"Y" + struct.pack(">I", 7) + b"public\0mood\0"

    assert one(origin, kind, logical).changes == []


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([begin(), insert(b"1", None, None), commit()], id="not described"),
        pytest.param([relation(), insert(b"1", None, None)], id="outside of a transaction"),
        pytest.param([begin(), relation(), insert(b"1", None), commit()], id="a value is missing"),
        pytest.param(
            [begin(), relation(), insert(b"1", None, None) + b"x", commit()], id="bytes follow"
        ),
        pytest.param([begin(), relation() + b"x", commit()], id="bytes follow a shape"),
        pytest.param([begin()], id="no end"),
        pytest.param([begin(), begin(), commit()], id="two begins"),
        pytest.param([begin(), commit(0x200)], id="another commit"),
        pytest.param([commit()], id="no begin"),
        pytest.param([begin(), b"Z", commit()], id="unknown type"),
        pytest.param([begin(), b"\0x", commit()], id="unknown part"),
        pytest.param([b""], id="empty frame"),
        pytest.param(
            [begin(), relation(), update((UNCHANGED, b"a", None)), commit()], id="key not told"
        ),
        pytest.param(
            [begin(), relation(key=()), update((b"1", b"a", None)), commit()], id="no identity"
        ),
        pytest.param([begin(), relation(), delete(b"1", None, None, form=b"N"), commit()], id="D"),
    ],
)
def test_what_is_not_understood_is_never_guessed(messages: list[bytes]) -> None:
    with pytest.raises(Unsafe) as refused:
        decode(*messages)

    assert refused.value.reason == "UnreadableStream"


WHOLE = (
    begin(),
    relation(),
    insert(b"1", b"a", None),
    update((b"2", b"b", UNCHANGED), (b"1", None, None), b"K"),
    delete(b"2", None, None),
    commit(),
)


@given(st.data())
def test_a_payload_that_is_cut_anywhere_is_refused(data: st.DataObject) -> None:
    """A torn journal must not look like a shorter transaction."""
    whole = payload(*WHOLE)
    cut = data.draw(st.integers(1, len(whole) - 1))

    with pytest.raises(Unsafe):
        list(PgoutputDecoder("ours").decode(whole[:cut]))


@given(st.data())
def test_damage_is_an_error_of_ours_or_no_error(data: st.DataObject) -> None:
    whole = bytearray(payload(*WHOLE))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))

    with suppress(Unsafe):
        list(PgoutputDecoder("ours").decode(bytes(whole)))


def make_pieces(messages: Iterable[bytes], maker: PieceMaker) -> list[Piece]:
    found = []
    for message in messages:
        piece = maker.take(memoryview(message))
        if piece is not None:
            found.append(piece)
            if piece.redefines:
                maker.turn()
    return found


@given(st.integers(1, 40), st.integers(1, 7))
def test_parts_of_a_huge_transaction_decode_to_the_whole(count: int, at_most: int) -> None:
    messages = [
        begin(),
        relation(),
        *(insert(str(number).encode(), b"x", None) for number in range(count)),
        commit(),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PART_CHANGES", at_most)
        maker = PieceMaker(0, 0)
        parts = make_pieces(messages, maker)

    (whole,) = decode(*messages)
    # Each part alone in a block, read by a new decoder.
    decoded = [
        transaction
        for part in parts
        for transaction in PgoutputDecoder("ours").decode(
            maker.describe(part.relations) + part.payload
        )
    ]
    assert [each for part in decoded for each in part.changes] == whole.changes
    assert {(each.position, each.committed_at) for each in decoded} == {
        (whole.position, whole.committed_at)
    }
    assert [each.starts for each in decoded] == [True] + [False] * (len(parts) - 1)
    assert [each.ends for each in decoded] == [False] * (len(parts) - 1) + [True]
    assert [(each.starts, each.ends) for each in parts] == [
        (each.starts, each.ends) for each in decoded
    ]
    assert [part.position for part in parts] == [whole.position] * (len(parts) - 1) + [
        position_at(whole.position.order + 8)
    ]
    assert sum(part.changes for part in parts) == count
    # All of them in one block.
    together = PgoutputDecoder("ours").decode(b"".join(part.payload for part in parts))
    assert [each for part in together for each in part.changes] == whole.changes


def test_a_shape_that_changes_in_a_transaction_is_described_as_it_was_before() -> None:
    """A block that starts with such a piece holds rows of both shapes."""
    maker = PieceMaker(0, 0)
    wider = relation(columns=(*COLUMNS, "more"))
    make_pieces([begin(1), relation(), insert(b"1", None, None), commit(1)], maker)
    altered = [insert(b"2", None, None), wider, insert(b"3", None, None, b"x")]

    piece = [maker.take(memoryview(each)) for each in (begin(2), *altered, commit(2))][-1]

    assert piece is not None
    assert piece.redefines
    (found,) = PgoutputDecoder("ours").decode(maker.describe(piece.relations) + piece.payload)
    assert [len(each.after or ()) for each in found.changes] == [3, 4]
    maker.turn()
    (after,) = make_pieces([begin(3), insert(b"4", None, None, b"y"), commit(3)], maker)
    (found,) = PgoutputDecoder("ours").decode(maker.describe(after.relations) + after.payload)
    assert found.changes[0].columns == (*COLUMNS, "more")
    assert not after.redefines


def test_a_shape_told_again_redefines_nothing() -> None:
    maker = PieceMaker(0, 0)
    messages = [begin(), relation(), insert(b"1", None, None), commit()]

    assert [piece.redefines for piece in make_pieces(messages * 2, maker)] == [False, False]


def test_no_idle_position_is_told_while_a_transaction_is_open() -> None:
    """Its commit may lie behind: a start from there would lose it."""
    maker = PieceMaker(0, 0)
    maker.take(memoryview(begin(0x100)))

    assert maker.idle(0x50) is None
    maker.take(memoryview(commit(0x100)))
    assert maker.idle(0x108) is None
    idle = maker.idle(0x109)
    assert idle is not None
    assert (idle.payload, idle.position) == (b"", position_at(0x109))


def test_what_the_journal_has_is_not_made_a_piece_again() -> None:
    maker = PieceMaker(0x100, 0x100)
    old = make_pieces([begin(0x90), relation(), insert(b"1", None, None), commit(0x90)], maker)
    (new,) = make_pieces([begin(0x100), insert(b"2", None, None), commit(0x100)], maker)

    assert old == []
    (found,) = PgoutputDecoder("ours").decode(maker.describe(new.relations) + new.payload)
    assert found.changes[0].after == (b"2", None, None)


def test_a_transaction_without_messages_is_only_a_position() -> None:
    (piece,) = make_pieces([begin(), commit()], PieceMaker(0, 0))

    assert (piece.payload, piece.position) == (b"", position_at(0x108))


@given(st.integers(0, 2**64 - 1))
def test_positions_are_printed_as_the_server_reads_them(order: int) -> None:
    assert position_from(position_at(order).text) == position_at(order)
