"""Times on conditions, and what becomes of conditions that nobody keeps up to date."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bowline_operator.conditions import Claim
from bowline_operator.status import Condition, ConditionType, JobState, Phase, Status, Truth


def stamp(
    old: Iterable[Condition], claims: Iterable[Claim], *, generation: int, now: datetime
) -> list[Condition]:
    """Turn claims into conditions: the transition time moves only when the status does."""
    before = {condition.type: condition for condition in old}
    stamped = []
    for claim in claims:
        last = before.get(claim.type)
        kept = last is not None and last.status is claim.truth
        stamped.append(
            Condition(
                type=claim.type,
                status=claim.truth,
                reason=claim.reason,
                message=claim.message,
                observed_generation=generation,
                last_transition_time=last.last_transition_time if last and kept else now,
            )
        )
    return stamped


#: What can be known only from workers that report now.
_LIVE = frozenset(
    {
        ConditionType.READY,
        ConditionType.RECONCILING,
        ConditionType.CAUGHT_UP,
        ConditionType.CUTOVER_READY,
        ConditionType.FALLBACK_READY,
        ConditionType.SOURCE_AT_RISK,
    }
)


def aged(status: Status, message: str) -> Status:
    """Return the status as it must be shown when nobody keeps it up to date: stale is not fresh."""
    status = doubted(status, message)
    for job in status.jobs:
        if job.state is JobState.RUNNING:
            job.state = JobState.UNKNOWN
    return status


def doubted(status: Status, message: str) -> Status:
    """Return the status without what only workers that report now can say."""
    status = status.model_copy(deep=True)
    for condition in status.conditions:
        if condition.type in _LIVE and status.phase is not Phase.COMPLETED:
            condition.status, condition.reason = Truth.UNKNOWN, "NoRunner"
            condition.message = message
    return status
