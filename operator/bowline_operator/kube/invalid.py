"""The status of a resource whose spec this operator can't read: an older operator may meet newer values."""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from bowline_operator.api import FORCE_DELETE
from bowline_operator.conditions import Claim
from bowline_operator.stamps import stamp
from bowline_operator.status import ConditionType, Status, Truth
from bowline_operator.validation import explain

REASON = "SpecInvalid"


def invalid(
    before: Status, error: ValidationError, generation: int, now: datetime, *, deleting: bool
) -> Status:
    """Say what is wrong. All else stays as it was: nothing is known to have changed."""
    status = before.model_copy(deep=True)
    message = "; ".join(str(explain(each)) for each in error.errors())
    if deleting:
        message += (
            f"; mend it, or delete without a look at the databases: annotation {FORCE_DELETE}=true"
        )
    told = [
        Claim(type=ConditionType.READY, truth=Truth.FALSE, reason=REASON, message=message),
        Claim(type=ConditionType.STALLED, truth=Truth.TRUE, reason=REASON, message=message),
    ]
    kinds = {claim.type for claim in told} | {ConditionType.RECONCILING}
    kept = [each for each in status.conditions if each.type not in kinds]
    status.conditions = [*stamp(before.conditions, told, generation=generation, now=now), *kept]
    status.message, status.observed_generation = message, generation
    return status
