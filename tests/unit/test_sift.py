"""Which changes reach the receiver: nothing before the marker, nothing twice, nothing unknown."""

from __future__ import annotations

import pytest

from bowline_worker.contract import Unsupported
from bowline_worker.fold import shapes_of
from bowline_worker.model import (
    Change,
    Op,
    Position,
    Signal,
    SignalKind,
    TableName,
    Transaction,
)
from bowline_worker.sift import KEY_CHARACTERS, Seen, Sieve, name_change
from unit.items import COLUMNS, ITEM, insert, update

SHAPES = shapes_of((ITEM,))


def transaction(order: int, *changes: Change, signals: tuple[Signal, ...] = ()) -> Transaction:
    return Transaction(
        position=Position(order, f"0/{order:X}"),
        committed_at=float(order),
        changes=list(changes),
        signals=list(signals),
    )


def signal(kind: SignalKind, attempt: int, migration: str = "a.b") -> tuple[Signal, ...]:
    return (Signal(kind, attempt, migration),)


def sieve(copied: int | None = None) -> Sieve:
    positions = None if copied is None else {ITEM.name: Position(copied, "")}
    return Sieve(migration="a.b", number=3, shapes=SHAPES, positions=positions)


def test_rows_up_to_the_marker_s_own_transaction_are_discarded() -> None:
    rows = [insert(b"%d" % number, None, None) for number in range(4)]
    part, seen = sieve().sift(
        [
            transaction(1, rows[0]),
            transaction(2, rows[1], signals=signal(SignalKind.MARKER, 3)),
            transaction(3, rows[2], rows[3]),
        ],
        Seen(passed=False),
    )

    assert part.changes == rows[2:]
    assert part.discarded == 2
    assert seen.passed


@pytest.mark.parametrize(
    "other", [signal(SignalKind.MARKER, 2), signal(SignalKind.MARKER, 3, "a.c")]
)
def test_another_marker_opens_nothing(other: tuple[Signal, ...]) -> None:
    part, seen = sieve().sift(
        [transaction(1, signals=other), transaction(2, insert(b"1", None, None))],
        Seen(passed=False),
    )

    assert (part.changes, part.discarded, seen.passed) == ([], 1, False)


def test_signals_pass_before_the_marker_and_never_fall() -> None:
    _, seen = sieve().sift(
        [
            transaction(1, signals=signal(SignalKind.BARRIER, 5)),
            transaction(2, signals=signal(SignalKind.PROBE, 3)),
            transaction(3, signals=signal(SignalKind.CANARY, 3)),
            transaction(4, signals=signal(SignalKind.BARRIER, 4)),
            transaction(5, signals=signal(SignalKind.BARRIER, 9, "a.c")),
            transaction(6, signals=signal(SignalKind.HEARTBEAT, 8)),
        ],
        Seen(passed=False),
    )

    assert seen == Seen(passed=False, barrier=5, probe=3, canary=3, beat=8, position="0/6")


def test_what_the_snapshot_shows_is_not_applied_again() -> None:
    rows = [insert(b"%d" % number, None, None) for number in (1, 2, 3)]
    part, _ = sieve(copied=2).sift(
        [transaction(1, rows[0]), transaction(2, rows[1]), transaction(3, rows[2])],
        Seen(passed=True),
    )

    assert part.changes == rows[1:]
    assert [position.order for position in part.positions] == [2, 3]


def test_a_table_that_the_snapshot_does_not_have_is_refused() -> None:
    bare = Sieve(migration="a.b", number=0, shapes=SHAPES, positions={})

    with pytest.raises(Unsupported, match="the snapshot does not have it"):
        bare.sift([transaction(1, insert(b"1", None, None))], Seen(passed=True))


def test_a_table_that_nobody_knows_is_refused_unless_it_is_discarded() -> None:
    stranger = transaction(1, Change(Op.INSERT, TableName("public", "new"), ("a",), after=(b"1",)))
    part, _ = sieve().sift([stranger], Seen(passed=False))
    assert part.discarded == 1

    with pytest.raises(Unsupported, match=r"public\.new changed at 0/1"):
        sieve().sift([stranger], Seen(passed=True))


def test_a_change_is_named_by_table_key_and_position_alone() -> None:
    named = name_change(update(b"1", b"secret", None), SHAPES[ITEM.name], Position(255, "0/FF"))
    moved = name_change(update(b"1", None, None, to=b"2"), SHAPES[ITEM.name], Position(1, "0/1"))

    assert named == "UPDATE of public.item, key id=1, in the transaction at 0/FF"
    assert moved == "UPDATE of public.item, key id=1 to id=2, in the transaction at 0/1"


def test_a_long_key_is_cut() -> None:
    change = Change(Op.INSERT, ITEM.name, COLUMNS, after=(b"x" * 999, None, None))

    named = name_change(change, SHAPES[ITEM.name], Position(1, "0/1"))

    assert "id=xxx" in named
    assert len(named) < KEY_CHARACTERS + 80
