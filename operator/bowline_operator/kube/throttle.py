"""Which changes of a status can wait: figures move all the time, and every write wakes everybody who watches."""

from __future__ import annotations

from datetime import datetime, timedelta

from bowline_operator.status import Status, StreamStatus

#: Figures alone are written no more often than this.
EVERY = timedelta(seconds=10)


def may_wait(old: Status, new: Status, *, since: datetime | None, now: datetime) -> bool:
    """Tell whether only figures have changed, and were written a moment ago."""
    recent = since is not None and now - since < EVERY
    return recent and essence(old) == essence(new)


def without_lists(status: Status) -> Status:
    """Return the status without what may make it too large for the API server."""
    found = status.model_copy(update={"findings": [], "left_behind": [], "snapshot": None})
    if found.verification is not None:
        found.verification = found.verification.model_copy(update={"tables": []})
    return found


def essence(status: Status) -> Status:
    """Return the status without figures and the texts that carry them."""
    found = status.model_copy(deep=True)
    found.message, found.snapshot, found.cutover.blockers = "", None, []
    for condition in found.conditions:
        condition.message = ""
    found.streams = [
        StreamStatus(
            origin=stream.origin,
            number=stream.number,
            active=stream.active,
            at_risk=stream.at_risk,
            marker=stream.marker,
            canary=stream.canary,
        )
        for stream in found.streams
    ]
    return found
