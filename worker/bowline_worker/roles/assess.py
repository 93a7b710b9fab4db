"""Assess: look at both sides, and say what stands in the way. Nothing is made."""

from __future__ import annotations

import logging

from bowline_worker.contract import Finding, FoundSide, Severity, Side, TryAgain, Unsupported
from bowline_worker.roles import Context

#: Reasons that may be gone in a moment.
PASSING = frozenset({"Unreachable", "TryAgain"})

log = logging.getLogger("bowline")


def run(context: Context) -> None:
    """Report findings of both sides, and what an earlier life left there; Unsupported if any blocks a fresh start."""
    findings = [
        *context.source.assess(other=context.target),
        *context.target.assess(other=context.source),
    ]
    context.report.update(findings=findings, message=_count(findings))
    blocking = [finding for finding in findings if finding.severity is Severity.ERROR]
    if blocking and all(finding.reason in PASSING for finding in blocking):
        raise TryAgain(blocking[0].message, reason=blocking[0].reason, hint=blocking[0].remedy)
    if any(finding.reason in _UNREADABLE for finding in blocking):
        raise _failed(blocking)
    found = {side: context.side(side).found() for side in Side}
    context.report.update(found=found)
    log.info("assessed", extra={"fields": {"findings": len(findings), "errors": len(blocking)}})
    # A migration that is on its way is not held up by what only matters before the first step.
    if blocking and not any(_has_lived(side) for side in found.values()):
        raise _failed(blocking)


#: Reasons of findings after which nothing more can be read.
_UNREADABLE = PASSING | {"ConnectionRefused", "BadConfig"}


def _has_lived(found: FoundSide) -> bool:
    # Without bookkeeping beside it, a slot of such a name may be anybody's.
    has_slots = found.installed and found.slots
    return bool(found.snapshot_complete or found.attempt or found.opened or has_slots)


def _failed(blocking: list[Finding]) -> Unsupported:
    first = blocking[0]
    return Unsupported(
        f"{len(blocking)} findings block the migration; first: {first.side}: {first.message}",
        reason="AssessmentFailed",
        hint=first.remedy,
    )


def _count(findings: list[Finding]) -> str:
    counts = {
        severity: sum(finding.severity is severity for finding in findings) for severity in Severity
    }
    return ", ".join(f"{count} {str(severity).lower()}s" for severity, count in counts.items())
