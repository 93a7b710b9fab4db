"""Decide every step of a switch of primary, an abort, and which slots are dead.

Pure: each function sees what was read, and locked, inside its own transaction, and answers with an `Act`. A step
recognises its own effect, so running it again after a crash or a lost reply is safe. `loser` is the side that stops
being primary; `out` streams loser -> winner, `back` the other way; n is the attempt. `tests/model` explores all
interleavings of exactly these functions with crashes, lost replies, stalled copies, aborts and lost databases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from bowline_worker.bookkeeping import Backend, LaneRow, SwitchRow
from bowline_worker.contract import Side, Verdict
from bowline_worker.model import SignalKind
from bowline_worker.saga_acts import (
    Act,
    ArmSlot,
    Do,
    Done,
    DropSlots,
    Effect,
    Exit,
    GoTo,
    LowerFence,
    PutLanes,
    PutSwitch,
    RaiseFence,
    RaiseSequences,
    Restore,
    StepName,
    Wait,
    Withdraw,
    WriteSignal,
)
from bowline_worker.saga_rows import (
    dead_slots,
    ended,
    is_live,
    is_primary,
    is_retired,
    may_disable_triggers,
    over,
    standing,
)

__all__ = [
    "ABORT_LOCKS",
    "SAGA",
    "Look",
    "Step",
    "View",
    "Where",
    "abort",
    "dead_slots",
    "is_retired",
    "may_disable_triggers",
    "standing",
    "steps",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a step knows: its Job's arguments, and what it read in the database where it acts."""

    attempt: int  #: this and the losing side are arguments of the Job: a process never picks them
    loser: Side
    fallback: bool = True
    lane_count: int = 1
    switch: SwitchRow = field(default_factory=SwitchRow)
    lanes: tuple[LaneRow, ...] = ()  #: in the winner those of `out`, in the loser those of `back`
    slots: tuple[int, ...] = ()
    gaps: tuple[str, ...] = ()  #: tables here that a raised fence would not cover
    difference: str = ""  #: what differs between the sides: table shapes (Barrier), rows (Verify)
    now: datetime | None = None
    backend: Backend | None = None  #: the session of this transaction
    reason: str = ""  #: of an abort

    @property
    def winner(self) -> Side:
        return self.loser.other


# --- the steps -----------------------------------------------------------------------------------


def gate(v: View) -> Act:
    """Loser: an older attempt's row becomes Armed(n), and `back` gets new lane rows. A restart finds its place here."""
    row, n = v.switch, v.attempt
    if row.attempt >= n:
        return _armed(v) or Done()
    if not is_primary(v.loser, row):
        return _exit("NotPrimary", f"the {v.loser} is not the primary: attempt {n} can't leave it")
    if row.fenced:
        return _exit(
            "AttemptUnderWay", f"the {v.loser} is fenced by attempt {row.attempt}: abort it first"
        )
    armed = replace(
        row,
        attempt=n,
        verdict=Verdict.ARMED,
        aborted=over(row),
        fenced_at=None,
        committed_at=None,
        reason="",
        cutover=v.backend,
    )
    if not v.fallback:
        return Do((PutSwitch(armed),))
    lanes = tuple(LaneRow(lane=i, number=n, generation=0) for i in range(v.lane_count))
    return Do((PutSwitch(armed), PutLanes(v.winner, lanes)))


def arm_reverse(v: View) -> Act:
    """Winner: make slot n, then send a probe. What a late copy makes here is found by `dead_slots`."""
    probe = WriteSignal(SignalKind.PROBE, v.attempt)
    # A newer attempt's slot is never joined by an older one's: the fence will end this copy.
    if max(v.slots, default=-1) >= v.attempt:
        return Do((probe,))
    return Do((ArmSlot(v.attempt), probe))


def probe(v: View) -> Act:
    """Loser: send a probe through `out` too, so that nothing is fenced while that stream does not flow."""
    return _armed(v) or Do((WriteSignal(SignalKind.PROBE, v.attempt),))


def returned(v: View) -> Act:
    """Loser, a read: the winner's probe has come through `back`."""
    return _armed(v) or _seen(v, v.attempt, [row.probe for row in v.lanes], "the probe to return")


def catch_up(v: View) -> Act:
    """Winner, a read: the loser's probe has come through `out`, whose lanes are running.

    A restart behind Retire finds them ended by its own attempt: they had caught up.
    """
    if is_retired(v.lanes, v.attempt):
        return Done()
    if taken := _taken(v):
        return taken
    if not is_live(v.lanes):
        return Wait("the apply to run")
    return _seen(v, None, [row.probe for row in v.lanes], "the apply to catch up")


def fence(v: View) -> Act:
    """Loser, Armed(n): raise the fence; no transaction that wrote before it is left when it stands."""
    if not_ours := _armed(v):
        return not_ours
    if v.switch.fenced:
        return Done()
    return Do((RaiseFence(), PutSwitch(replace(v.switch, fenced=True, fenced_at=v.now))))


def barrier(v: View) -> Act:
    """Loser, Armed(n): barrier row n behind the fence, if the fence and the shapes of tables are still whole."""
    if not_ours := _armed(v):
        return not_ours
    if not v.switch.fenced:
        return GoTo(StepName.FENCE)
    if v.gaps:
        return Withdraw("FenceGaps", f"the fence does not cover {', '.join(v.gaps[:5])}")
    if v.difference:
        return Withdraw("SchemaChanged", v.difference)
    return Do((WriteSignal(SignalKind.BARRIER, v.attempt),))


def drain(v: View) -> Act:
    """Winner, a read: all lanes of `out` have applied barrier n."""
    return _taken(v) or _seen(
        v, None, [row.barrier for row in v.lanes], "the barrier to be applied"
    )


def retire(v: View) -> Act:
    """Winner, all lane rows of `out`: end their generation, and marker row n in the same transaction.

    Refuses lanes that a newer attempt retired, and lanes of a stream numbered n or above (it is younger than n).
    """
    n, rows = v.attempt, v.lanes
    if taken := _taken(v):
        return taken
    if is_retired(rows, n):
        return Done()
    if any(row.retired == n for row in rows):
        return _exit(
            "LanesRevived", f"the lanes that attempt {n} retired run again: it was aborted"
        )
    if any(row.barrier < n for row in rows):
        return Wait("the barrier to be applied")
    lanes = tuple(replace(ended(row), retired=n) for row in rows)
    return Do((PutLanes(v.loser, lanes), WriteSignal(SignalKind.MARKER, n)))


def verify(v: View) -> Act:
    """Loser, Armed(n), after the comparison: gates Commit, but safety does not rest on it."""
    if not_ours := _armed(v):
        return not_ours
    return Withdraw("RowsDiffer", v.difference) if v.difference else Done()


def sequences(v: View) -> Act:
    """Winner, lanes retired by n: its sequences rise to the loser's. Run again, they stay."""
    return _retired(v) or Do((RaiseSequences(),))


def restore(v: View) -> Act:
    """Winner, lanes retired by n: the application's triggers and constraints work again."""
    return _retired(v) or Do((Restore(),))


def canary(v: View) -> Act:
    """Winner: canary row n, which comes after marker n in `back`."""
    return Do((WriteSignal(SignalKind.CANARY, v.attempt),))


def arrival(v: View) -> Act:
    """Loser, a read: lanes of `back` have seen canary n, and apply what comes after marker n."""
    if not_ours := _armed(v):
        return not_ours
    if not all(row.passed for row in v.lanes):
        return Wait("the marker to pass")
    return _seen(v, v.attempt, [row.canary for row in v.lanes], "the canary to arrive")


def commit(v: View) -> Act:
    """Loser: Armed(n) becomes Committed(n), the commit point. After any error it is read back by this very check."""
    if v.switch.attempt == v.attempt and v.switch.verdict is Verdict.COMMITTED:
        return Done()
    if not_ours := _armed(v):
        return not_ours
    if not v.switch.fenced:
        return Withdraw("NotFenced", f"the {v.loser} is not fenced at the commit point")
    if v.gaps:
        return Withdraw("FenceGaps", f"the fence does not cover {', '.join(v.gaps[:5])} any more")
    return Do((PutSwitch(replace(v.switch, verdict=Verdict.COMMITTED, committed_at=v.now)),))


def open_winner(v: View) -> Act:
    """Winner, opened by an older attempt: lower its fence."""
    if v.switch.opened >= v.attempt:
        return Done()
    opened = replace(v.switch, opened=v.attempt, opened_at=v.now, fenced=False)
    return Do((LowerFence(), PutSwitch(opened)))


def finish(v: View) -> Act:
    """Loser: drop the slot of `out`, by number: a later epoch's slot stays."""
    return Do((DropSlots(v.attempt),)) if any(k < v.attempt for k in v.slots) else Done()


def abort(v: View) -> Act:
    """Loser, one transaction: Armed(n) or an older row becomes Aborted(n), `back` ends, the fence falls.

    It takes the number even where Gate has not run, so that a late role finds it taken. Nothing of the winner is
    needed. Where the row says Committed(n), or a newer attempt, nothing is done.
    """
    row, n = v.switch, v.attempt
    if row.attempt > n or (row.attempt == n and row.verdict is not Verdict.ARMED):
        return _not_ours(v)
    if row.attempt < n and not is_primary(v.loser, row):
        return _exit("NotPrimary", f"the {v.loser} is not the primary: its fence stays")
    aborted = replace(
        row,
        attempt=n,
        verdict=Verdict.ABORTED,
        aborted=over(row) | {n},
        fenced=False,
        reason=v.reason,
        cutover=None,
    )
    effects: list[Effect] = [PutSwitch(aborted)]
    if v.lanes:
        effects.append(PutLanes(v.winner, tuple(ended(row) for row in v.lanes)))
    # Even where no fence is noted: an attempt that ended in the middle of its raise has left some of it behind.
    return Do((*effects, LowerFence()))


def _exit(reason: str, message: str) -> Exit:
    return Exit(Verdict.NONE, reason, message)


def _not_ours(v: View) -> Exit:
    row, verdict = v.switch, standing(v.switch, v.attempt)
    message = f"attempt {v.attempt} is {verdict or 'unknown'} here"
    if row.attempt != v.attempt:
        message += f", the {v.loser} is at attempt {row.attempt} ({row.verdict or 'none'})"
    return Exit(verdict, row.reason if verdict is Verdict.ABORTED else "AttemptOver", message)


def _armed(v: View) -> Exit | GoTo | None:
    """Check Armed(n). Where another copy committed it, only forward steps are left."""
    row = v.switch
    if row.attempt == v.attempt and row.verdict is Verdict.ARMED:
        return None
    committed = row.attempt == v.attempt and row.verdict is Verdict.COMMITTED
    return GoTo(StepName.OPEN) if committed and row.opened < v.attempt else _not_ours(v)


def _retired(v: View) -> Exit | None:
    if is_retired(v.lanes, v.attempt):
        return None
    return _exit("LanesRevived", f"the lanes into the {v.winner} are not retired by {v.attempt}")


def _taken(v: View) -> Exit | None:
    n = v.attempt
    if v.lanes and not any(row.retired > n or row.number >= n for row in v.lanes):
        return None
    return _exit("LanesTaken", f"the lanes into the {v.winner} belong to a newer attempt than {n}")


def _seen(v: View, number: int | None, seen: list[int], what: str) -> Done | Wait:
    whole = bool(seen) and all(number in (None, row.number) for row in v.lanes)
    return Done() if whole and min(seen) >= v.attempt else Wait(what)


# --- the table -----------------------------------------------------------------------------------


class Where(StrEnum):
    LOSER = "loser"
    WINNER = "winner"


class Look(StrEnum):
    """What a step reads where it acts."""

    SWITCH = "switch"
    LANES = "lanes"
    SLOTS = "slots"  #: read and changed outside any transaction
    GAPS = "gaps"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: one transaction in one database. What it locks there stays as it was decided on until its commit."""

    name: StepName
    where: Where
    decide: Callable[[View], Act]
    locks: frozenset[Look] = frozenset()
    reads: frozenset[Look] = frozenset()
    both: bool = False  #: the other database is read too, before the transaction
    reverse: bool = False  #: only where `back` is wanted


def _step(
    name: StepName,
    where: Where,
    decide: Callable[[View], Act],
    *,
    locks: Sequence[Look] = (),
    reads: Sequence[Look] = (),
    both: bool = False,
    reverse: bool = False,
) -> Step:
    return Step(name, where, decide, frozenset(locks), frozenset(reads), both, reverse)


_LOSER, _WINNER = Where.LOSER, Where.WINNER
_SWITCH, _LANES, _SLOTS, _GAPS = Look.SWITCH, Look.LANES, Look.SLOTS, Look.GAPS

SAGA: tuple[Step, ...] = (
    _step(StepName.GATE, _LOSER, gate, locks=(_SWITCH, _LANES)),
    _step(StepName.ARM_REVERSE, _WINNER, arm_reverse, reads=(_SLOTS,), reverse=True),
    _step(StepName.PROBE, _LOSER, probe, reads=(_SWITCH,)),
    _step(StepName.RETURN, _LOSER, returned, reads=(_SWITCH, _LANES), reverse=True),
    _step(StepName.CATCH_UP, _WINNER, catch_up, reads=(_LANES,)),
    _step(StepName.FENCE, _LOSER, fence, locks=(_SWITCH,)),
    _step(StepName.BARRIER, _LOSER, barrier, locks=(_SWITCH,), reads=(_GAPS,), both=True),
    _step(StepName.DRAIN, _WINNER, drain, reads=(_LANES,)),
    _step(StepName.RETIRE, _WINNER, retire, locks=(_LANES,)),
    _step(StepName.VERIFY, _LOSER, verify, locks=(_SWITCH,), both=True),
    _step(StepName.SEQUENCES, _WINNER, sequences, locks=(_LANES,), both=True),
    _step(StepName.RESTORE, _WINNER, restore, locks=(_LANES,)),
    _step(StepName.CANARY, _WINNER, canary, reverse=True),
    _step(StepName.ARRIVAL, _LOSER, arrival, reads=(_SWITCH, _LANES), reverse=True),
    _step(StepName.COMMIT, _LOSER, commit, locks=(_SWITCH,), reads=(_GAPS,)),
    _step(StepName.OPEN, _WINNER, open_winner, locks=(_SWITCH,)),
    _step(StepName.FINISH, _LOSER, finish, reads=(_SLOTS,)),
)
ABORT_LOCKS = frozenset((Look.SWITCH, Look.LANES))


def steps(*, fallback: bool) -> tuple[Step, ...]:
    """The steps of a switch, in order, with or without a way back."""
    return tuple(step for step in SAGA if fallback or not step.reverse)
