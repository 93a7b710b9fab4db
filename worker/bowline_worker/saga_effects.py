"""Carries the effects of a step of a switch out, in the transaction in which the step was decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from bowline_worker.bookkeeping import StreamId, SwitchRow
from bowline_worker.contract import Side, SwitchReport, Verdict
from bowline_worker.endpoints.base import Books, Endpoint, SequenceState
from bowline_worker.model import TableName
from bowline_worker.saga import standing
from bowline_worker.saga_acts import (
    ArmSlot,
    DropSlots,
    Effect,
    LowerFence,
    PutLanes,
    PutSwitch,
    RaiseFence,
    RaiseSequences,
    Restore,
    WriteSignal,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What effects need and no decision is made of."""

    grace_seconds: float = 0.0  #: for writers that are open when the fence is raised
    sequences: Mapping[TableName, SequenceState] = field(default_factory=dict)


def carry_out(effects: Iterable[Effect], books: Books, means: Means | None = None) -> None:
    """Have the effects in the transaction of `books`; those on slots are none of it."""
    means = means or Means()
    for effect in effects:
        match effect:
            case PutSwitch(row):
                books.put_switch(row)
            case PutLanes(origin, rows):
                books.put_lanes(origin, rows)
            case WriteSignal(kind, attempt):
                books.signal(kind, attempt)
            case RaiseFence():
                books.raise_fence(means.grace_seconds)
            case LowerFence():
                books.lower_fence()
            case RaiseSequences():
                books.raise_sequences(means.sequences)
            case Restore():
                books.restore()
            case ArmSlot() | DropSlots():
                continue
            case _:
                assert_never(effect)


def change_slots(effects: Iterable[Effect], endpoint: Endpoint) -> None:
    """Make and drop slots: before the transaction of the other effects, since making one waits for writers."""
    for effect in effects:
        match effect:
            case ArmSlot(attempt):
                endpoint.prepare_origin()
                endpoint.arm(StreamId(endpoint.side, attempt))
            case DropSlots(below):
                endpoint.disarm(below)


def report_of(row: SwitchRow, attempt: int, loser: Side, message: str = "") -> SwitchReport:
    """Say how an attempt stands, as its losing side's row tells it."""
    verdict, own = standing(row, attempt), row.attempt == attempt
    return SwitchReport(
        attempt=attempt,
        loser=loser,
        verdict=verdict,
        reason=row.reason if own and verdict is Verdict.ABORTED else "",
        message=message,
        fenced_at=row.fenced_at if own else None,
        committed_at=row.committed_at if own else None,
    )
