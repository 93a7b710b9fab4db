"""Find out from the databases where a migration stands whose status was lost.

Both sides' switch rows tell: the side that is not fenced is primary; a side that says Committed(n), while the other
was not opened by n, has a switch to finish. One number more than any that is recorded may have been given to a role
that nobody tracks any more; that number (or the attempt that is still Armed) is burnt by an abort before anything else.

The epoch can't be read off exactly: switch rows keep only the newest attempts. What is certain is who is primary and
whether each side was ever opened by a switch, so the smallest epoch that fits is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bowline_operator.status import Mode, Primary, Stage, Status, StreamRef
from bowline_worker.contract import FoundSide, Side, Verdict


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The databases don't fit to any state of a migration: a human decides."""

    reason: str
    message: str


def is_fresh_start(found: Mapping[Side, FoundSide]) -> bool:
    """Tell whether there is nothing to rebuild: no snapshot was finished, so no switch was ever started."""
    return not any(
        side.snapshot_complete or side.attempt or side.opened or any(side.slots)
        for side in found.values()
    )


def rebuild(found: Mapping[Side, FoundSide], status: Status) -> Contradiction | None:
    """Fill in what the databases say; Contradiction when they can't be understood, and then nothing is changed."""
    source, target = found[Side.SOURCE], found[Side.TARGET]
    missing = [str(side) for side in Side if not found[side].installed]
    if missing:
        return Contradiction(
            "BookkeepingIncomplete",
            f"an earlier life of this migration is recorded, but not on the {' and '.join(missing)}",
        )
    unfinished = _committed_not_opened(found)
    if not source.fenced and not target.fenced:
        return Contradiction("BothSidesOpen", "neither side is fenced: both may have taken writes")
    if unfinished is not None:
        primary = Primary.of(unfinished)  # it loses, once the switch is finished
    elif source.fenced and target.fenced:
        armed = [side for side in Side if found[side].verdict is Verdict.ARMED]
        if len(armed) != 1:
            return Contradiction("BothSidesFenced", "both sides are fenced, and no attempt is open")
        primary = Primary.of(armed[0])
    else:
        primary = Primary.TARGET if source.fenced else Primary.SOURCE

    here = found[primary.side]
    status.stage = Stage.SNAPSHOT_COMPLETE
    status.primary = primary
    status.epoch = _least_epoch(primary, was_opened_back=source.opened > 0)
    # The attempt that opened this side made the stream that leaves it, if it had a fall-back.
    number = here.opened
    has_stream = number == 0 or number in here.slots
    status.active_stream = StreamRef(origin=primary, number=number) if has_stream else None
    switch = status.cutover
    switch.loser = primary
    switch.reason = "StatusLost"
    if unfinished is not None:
        switch.mode, switch.attempt, switch.verdict = Mode.CUTOVER, here.attempt, Verdict.COMMITTED
        switch.fallback = here.attempt in found[unfinished.other].slots
        switch.reverse_armed = switch.fallback
        switch.message = f"attempt {here.attempt} is committed and not opened: it is finished"
        return None
    switch.mode, switch.burn = Mode.ABORT, True
    if here.verdict is Verdict.ARMED:
        # It has not ended, so no later number was ever given out; and it must be this one that is
        # aborted: lanes that it retired come back only when its own abort is recorded.
        switch.attempt = here.attempt
    else:
        rows = (source.attempt, target.attempt, source.opened, target.opened)
        switch.attempt = max(*rows, *source.slots, *target.slots) + 1
    switch.message = (
        f"the status was lost: attempt {switch.attempt} is aborted, a late role may hold it"
    )
    return None


def _committed_not_opened(found: Mapping[Side, FoundSide]) -> Side | None:
    for side in Side:
        row, other = found[side], found[side.other]
        if row.verdict is Verdict.COMMITTED and row.attempt > max(other.opened, row.opened):
            return side
    return None


def _least_epoch(primary: Primary, *, was_opened_back: bool) -> int:
    if primary is Primary.SOURCE:
        return 3 if was_opened_back else 1
    return 4 if was_opened_back else 2
