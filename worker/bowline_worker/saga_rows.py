"""What the rows of a switch say, and which slots are dead: pure, explored with the saga."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bowline_worker.bookkeeping import LaneRow, SwitchRow
from bowline_worker.contract import Side, Verdict


def standing(row: SwitchRow, attempt: int) -> Verdict:
    """Say how an attempt stands by the losing side's row; NONE where the row does not know it (any more)."""
    if row.attempt == attempt:
        return row.verdict
    return Verdict.ABORTED if attempt in row.aborted else Verdict.NONE


def is_primary(side: Side, row: SwitchRow) -> bool:
    """Tell whether this side may be left: it was opened after it lost last; the source is open from the start."""
    if row.verdict is Verdict.COMMITTED:
        return row.opened > row.attempt
    return side is Side.SOURCE or row.opened > 0


def over(row: SwitchRow) -> frozenset[int]:
    """The attempts that can never commit once this row's attempt is replaced by a newer one."""
    return row.aborted | ({row.attempt} if row.verdict is Verdict.ARMED else set())


def ended(row: LaneRow) -> LaneRow:
    """End a lane's generation; one that never ran ends too, so that a late apply can't start it."""
    return replace(row, generation=-max(abs(row.generation), 1))


def is_live(rows: Iterable[LaneRow]) -> bool:
    return all(row.generation > 0 for row in rows)


def is_retired(rows: Sequence[LaneRow], attempt: int) -> bool:
    """Tell whether that attempt ended the lanes and no generation came since: a revived lane says `retired` too."""
    return bool(rows) and all(row.retired == attempt and row.generation < 0 for row in rows)


# --- apply, and cleanup --------------------------------------------------------------------------


def may_disable_triggers(receiver: SwitchRow) -> bool:
    """Decide whether an apply may disable the application's triggers: never where an abort may open the side."""
    return receiver.fenced and receiver.verdict is not Verdict.ARMED


def dead_slots(own: SwitchRow, other: SwitchRow, slots: Iterable[int]) -> tuple[int, ...]:
    """Name the slots of a side whose attempt is over for good: aborted, lost since, or older than its last opening."""
    lost = own.attempt if own.verdict is Verdict.COMMITTED else 0
    return tuple(k for k in sorted(slots) if k in other.aborted or k < max(lost, own.opened))
