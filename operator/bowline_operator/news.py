"""Events: what differs between two statuses that a user would want to be told, once."""

from __future__ import annotations

from collections.abc import Iterator

from bowline_operator.observed import Event
from bowline_operator.status import ConditionType, Mode, Status, Truth
from bowline_worker.contract import Verdict


def news(old: Status, new: Status) -> Iterator[Event]:
    """Tell what has happened from one pass to the next."""
    if old.phase is not new.phase:
        yield Event(False, "PhaseChanged", f"{old.phase} -> {new.phase}")
    yield from _switch_news(old, new)
    yield from _changed_values(old, new)
    for kind, reason in (
        (ConditionType.STALLED, "Stalled"),
        (ConditionType.REQUEST_REFUSED, "RequestRefused"),
        (ConditionType.SOURCE_AT_RISK, "SourceAtRisk"),
    ):
        before, after = old.condition(kind), new.condition(kind)
        if after is None or after.status is not Truth.TRUE:
            continue
        if before is None or before.status is not Truth.TRUE or before.reason != after.reason:
            yield Event(True, reason, f"{after.reason}: {after.message}")


def _switch_news(old: Status, new: Status) -> Iterator[Event]:
    before, after = old.cutover, new.cutover
    if after.attempt != before.attempt and after.mode is Mode.CUTOVER:
        yield Event(False, "CutoverStarted", f"attempt {after.attempt}, {after.loser} loses")
    if after.mode is Mode.ABORT and before.mode is not Mode.ABORT:
        yield Event(True, "CutoverTakenBack", f"attempt {after.attempt}: {after.message}")
    if after.verdict is Verdict.COMMITTED and (
        before.verdict is not Verdict.COMMITTED or before.attempt != after.attempt
    ):
        yield Event(False, "CutoverCommitted", f"attempt {after.attempt}")
    last = after.last_attempt
    if last is not None and last != before.last_attempt and last.verdict is Verdict.ABORTED:
        yield Event(True, "CutoverAborted", f"attempt {last.number}: {last.message or last.reason}")


def _changed_values(old: Status, new: Status) -> Iterator[Event]:
    """The first time that the policy changed values of a kind, and where."""
    known = {each.kind for stream in old.streams for each in stream.changed_values}
    for stream in new.streams:
        for each in stream.changed_values:
            if each.kind not in known:
                known.add(each.kind)
                where = f"{each.table}.{each.column}"
                told = f"{where}: {each.kind}: at least {each.values} changed by spec.values"
                yield Event(True, "ValuesChanged", told)
