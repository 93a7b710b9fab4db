"""Answer `spec.phase`: what may be done about it, given where the migration stands. A refusal is never a guess."""

from __future__ import annotations

from dataclasses import dataclass

from bowline_operator.api import Request, Spec
from bowline_operator.status import Mode, Phase, Primary, Stage, Status
from bowline_worker.contract import Verdict


@dataclass(frozen=True, slots=True)
class Answer:
    """The goal that is worked for now (None: stay where we are), and why the request is not it, if so."""

    goal: Request | None
    refused: str = ""  #: reason, CamelCase; empty: not refused
    waits: str = ""  #: reason, CamelCase; empty: it does not wait
    message: str = ""


#: How far on the way to Streaming a goal leads: 1 assess, 2 schema, 3 all of it.
DEPTH: dict[Request | None, int] = {None: 0, Request.ASSESS: 1, Request.SCHEMA: 2} | dict.fromkeys(
    (Request.REPLICATE, Request.CUTOVER, Request.SWITCHOVER, Request.COMPLETE), 3
)

#: What goes on when a request is refused: that which was under way.
_STANDING: dict[Phase, Request | None] = {
    Phase.PENDING: None,
    Phase.ASSESSING: Request.ASSESS,
    Phase.MIGRATING_SCHEMA: Request.SCHEMA,
    Phase.SNAPSHOTTING: Request.REPLICATE,
    Phase.STREAMING: Request.REPLICATE,
    Phase.CUTTING_OVER: Request.CUTOVER,
    Phase.CUT_OVER: Request.CUTOVER,
    Phase.FALLBACK_STREAMING: Request.CUTOVER,
    Phase.SWITCHING_OVER: Request.SWITCHOVER,
    Phase.SWITCHED_BACK: Request.SWITCHOVER,
    Phase.COMPLETING: Request.COMPLETE,
    Phase.COMPLETED: Request.COMPLETE,
}

_COMPLETABLE = frozenset(
    {Phase.STREAMING, Phase.CUT_OVER, Phase.FALLBACK_STREAMING, Phase.SWITCHED_BACK}
)


def answer(request: Request, status: Status) -> Answer:  # noqa: PLR0911 (one return per line of the table)
    """Look the request up in the table of ARCHITECTURE section 2."""
    phase, standing = status.phase, _STANDING[status.phase]

    def refuse(reason: str, message: str) -> Answer:
        return Answer(standing, refused=reason, message=message)

    if phase in (Phase.COMPLETING, Phase.COMPLETED):
        if request is Request.COMPLETE:
            return Answer(Request.COMPLETE)
        return refuse(
            "AlreadyCompleted", f"the migration is {phase}: {request} needs a new DatabaseMigration"
        )
    match request:
        case Request.ASSESS if phase not in (Phase.PENDING, Phase.ASSESSING):
            return refuse("TooLate", f"{phase} is beyond Assess: set suspend to pause the workers")
        case Request.SCHEMA if phase not in (
            Phase.PENDING,
            Phase.ASSESSING,
            Phase.MIGRATING_SCHEMA,
        ):
            return refuse("TooLate", f"{phase} is beyond Schema: set suspend to pause the workers")
        case Request.REPLICATE:
            return _replicate(status, refuse_with=standing)
        case Request.CUTOVER:
            if _switched_back(status) and status.active_stream is None:
                return refuse("NotRearmed", "forward streaming was not re-armed at the Switchover")
        case Request.SWITCHOVER:
            return _switchover(status, refuse_with=standing)
        case Request.COMPLETE if phase not in _COMPLETABLE:
            return Answer(
                standing,
                waits="WaitingToComplete",
                message=f"Complete waits while {phase}: it is done from "
                + ", ".join(sorted(_COMPLETABLE)),
            )
    return Answer(request)


def _replicate(status: Status, *, refuse_with: Request | None) -> Answer:
    committed = status.cutover.mode is Mode.CUTOVER and status.cutover.verdict is Verdict.COMMITTED
    if status.primary is Primary.TARGET or committed:
        what = "the cutover is committed" if committed else "the target is primary"
        return Answer(
            refuse_with, refused="AlreadyCutOver", message=f"{what}: ask for Switchover to go back"
        )
    if _switched_back(status) and status.active_stream is None:
        return Answer(
            refuse_with,
            refused="NotRearmed",
            message="forward streaming was not re-armed at the Switchover",
        )
    return Answer(Request.REPLICATE)


def _switchover(status: Status, *, refuse_with: Request | None) -> Answer:
    if status.primary is Primary.SOURCE:
        if _switched_back(status):
            return Answer(Request.SWITCHOVER)
        return Answer(
            refuse_with,
            refused="NotCutOver",
            message="Switchover goes back to the source, which still is primary: ask for Cutover",
        )
    if status.active_stream is None:
        return Answer(
            refuse_with,
            refused="NoFallback",
            message="there is no fall-back: the cutover was made with spec.cutover.fallback: false",
        )
    return Answer(Request.SWITCHOVER)


def _switched_back(status: Status) -> bool:
    return status.primary is Primary.SOURCE and status.epoch > 1


def asks_for_abort(spec: Spec, status: Status) -> str:
    """Tell why the attempt under way is to be taken back; empty: it is not."""
    if spec.cutover.abort:
        return "spec.cutover.abort is true"
    former = {Request.CUTOVER}
    if status.cutover.loser is Primary.SOURCE:
        former = {Request.REPLICATE, *((Request.SWITCHOVER,) if status.epoch > 1 else ())}
    return f"spec.phase is {spec.phase} again" if spec.phase in former else ""


def asks_for_switch(goal: Request | None, status: Status) -> bool:
    """Tell whether the goal wants another primary than there is."""
    if goal is Request.CUTOVER:
        return status.primary is Primary.SOURCE and status.has(Stage.SNAPSHOT_COMPLETE)
    return goal is Request.SWITCHOVER and status.primary is Primary.TARGET
