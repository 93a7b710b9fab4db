"""What a step of a switch may decide, and the effects it may have: closed unions, interpreted by the roles.

All effects of one act happen in one transaction of one database, except slots, which no transaction covers: those
come first, are named by their attempt, and making or dropping one twice is the same as once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from bowline_worker.bookkeeping import LaneRow, SwitchRow
from bowline_worker.contract import Side, Verdict
from bowline_worker.model import SignalKind


class StepName(StrEnum):
    """The steps in their order; what people read in `status.cutover.step`."""

    GATE = "Gate"
    ARM_REVERSE = "ArmReverse"
    PROBE = "Probe"
    RETURN = "Return"
    CATCH_UP = "CatchUp"
    FENCE = "Fence"
    BARRIER = "Barrier"
    DRAIN = "Drain"
    RETIRE = "Retire"
    VERIFY = "Verify"
    SEQUENCES = "Sequences"
    RESTORE = "Restore"
    CANARY = "Canary"
    ARRIVAL = "Arrival"
    COMMIT = "Commit"
    OPEN = "Open"
    FINISH = "Finish"


# --- effects -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PutSwitch:
    row: SwitchRow


@dataclass(frozen=True, slots=True)
class PutLanes:
    """Replace the lane rows here of the stream that comes from `origin`."""

    origin: Side
    rows: tuple[LaneRow, ...]


@dataclass(frozen=True, slots=True)
class WriteSignal:
    """Add the signal row here, once: it travels with the stream that starts here."""

    kind: SignalKind
    attempt: int


@dataclass(frozen=True, slots=True)
class RaiseFence:
    pass


@dataclass(frozen=True, slots=True)
class LowerFence:
    pass


@dataclass(frozen=True, slots=True)
class RaiseSequences:
    """Move each sequence here up to where the loser's stands; never back."""


@dataclass(frozen=True, slots=True)
class Restore:
    """Enable the application's triggers and constraints here."""


@dataclass(frozen=True, slots=True)
class ArmSlot:
    attempt: int


@dataclass(frozen=True, slots=True)
class DropSlots:
    below: int


Effect: TypeAlias = (
    PutSwitch
    | PutLanes
    | WriteSignal
    | RaiseFence
    | LowerFence
    | RaiseSequences
    | Restore
    | ArmSlot
    | DropSlots
)


# --- acts ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Do:
    """Have these effects, in this order, and go on."""

    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The step's effect is there already: go on."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do yet: read again in a moment."""

    reason: str


@dataclass(frozen=True, slots=True)
class Exit:
    """The attempt is not this process's to go on with; `verdict` is how it ended, NONE where this row can't tell."""

    verdict: Verdict
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class GoTo:
    step: StepName


@dataclass(frozen=True, slots=True)
class Withdraw:
    """What was found forbids to go on: abort the attempt with this reason."""

    reason: str
    message: str


Act: TypeAlias = Do | Done | Wait | Exit | GoTo | Withdraw
