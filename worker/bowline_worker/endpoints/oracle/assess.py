"""Assess: all that stands in the way on an Oracle side, and between the two. Reads only, and never stops at the first.

A check whose query is refused or fails is a finding itself, and an error: what was not looked at may be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import oracledb

from bowline_worker.contract import BowlineError, Finding, NotPermitted, Severity
from bowline_worker.endpoints.base import Endpoint
from bowline_worker.endpoints.oracle import (
    assess_pair,
    assess_rights,
    assess_server,
    assess_streamable,
    assess_tables,
)
from bowline_worker.endpoints.oracle.connection import one_line, translate
from bowline_worker.endpoints.oracle.dictionary import reading
from bowline_worker.endpoints.oracle.looking import GRANTS, Look
from bowline_worker.endpoints.site import Site

#: Of the server alone, and of what is selected in it.
SERVER = (*assess_server.CHECKS, *assess_rights.SERVER_CHECKS)
SELECTED = (
    *assess_tables.CHECKS,
    *assess_streamable.CHECKS,
    *assess_rights.TABLE_CHECKS,
    *assess_pair.CHECKS,
)


def assess(site: Site, other: Endpoint | None) -> list[Finding]:
    """List what stands in the way here; that the server can't be reached is a finding too."""
    try:
        with reading(site) as here:
            return _check(Look(site, here, other))
    except BowlineError as error:
        return [
            Finding(
                severity=Severity.ERROR,
                reason=error.reason,
                side=site.side,
                message=str(error),
                remedy=error.hint,
            )
        ]


def _check(look: Look) -> list[Finding]:
    findings = [finding for check in SERVER for finding in _found(look, check)]
    unreadable = _found(look, selected_tables)
    if unreadable:
        return findings + unreadable
    return findings + [finding for check in SELECTED for finding in _found(look, check)]


def selected_tables(look: Look) -> Iterator[Finding]:
    """Read them before the checks that are about them, so that their failure is told once."""
    try:
        _ = look.tables
    except BowlineError as error:
        yield look.error(error.reason, str(error), error.hint)


def _found(look: Look, check: Callable[[Look], Iterator[Finding]]) -> list[Finding]:
    """Run one check. One that fails must not take the others with it; a session that is lost takes them all."""
    found: list[Finding] = []
    what = check.__name__.replace("_", " ")
    try:
        found.extend(check(look))
    except BowlineError as error:  # of a session of its own, or of the other side's
        found.append(look.error(error.reason, f"could not check {what}: {error}", error.hint))
    except oracledb.Error as error:
        met = translate(look.site, error, f"could not check {what}")
        if met.reason == "Unreachable":
            raise met from error
        is_refused = isinstance(met, NotPermitted)
        found.append(
            look.error(
                "NotPermitted" if is_refused else "CheckFailed",
                f"could not check {what}: {one_line(error)}",
                GRANTS if is_refused else "mend what the message says, or report it",
            )
        )
    return found
