"""Abort: takes an attempt to switch back, in one transaction of the losing side. The winner may be down."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace

from bowline_worker import saga
from bowline_worker.contract import (
    BowlineError,
    FencedOut,
    Role,
    Side,
    SwitchReport,
    TryAgain,
    Unsafe,
    Verdict,
)
from bowline_worker.endpoints.base import Books, Endpoint
from bowline_worker.roles import Context
from bowline_worker.saga import Look, View
from bowline_worker.saga_acts import Act, Do, Exit
from bowline_worker.saga_effects import carry_out, report_of
from bowline_worker.sweeping import sweep

#: A lost reply is read back at once, and a server that restarts is waited for, this long in all.
PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.2

log = logging.getLogger("bowline")


def run(context: Context) -> None:
    """Abort attempt n, wherever it stands before its commit point; the report tells the verdict that holds."""
    config = context.config
    context.report.update(
        switch=SwitchReport(attempt=config.attempt, loser=config.loser, step="Abort")
    )
    switch = withdraw(
        context.side(config.loser), config.attempt, reason="Requested", stop=context.stop
    )
    context.report.update(switch=switch, message=f"attempt {config.attempt} is {switch.verdict}")
    # The side is open. What the attempt made in the winner is dropped now if it answers, else by a later sweep.
    with suppress(BowlineError):
        sweep(context.side(config.loser.other), context.side(config.loser))


def withdraw(
    loser: Endpoint, attempt: int, *, reason: str, stop: threading.Event, message: str = ""
) -> SwitchReport:
    """Make the attempt Aborted unless it is Committed, and open the losing side again; say which it is.

    Any process may do this at any instant, more than once: the row's lock and compare-and-set decide. Raises
    FencedOut where the row belongs to a newer attempt, Unsafe where this side is not the primary.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return _withdraw_once(loser, attempt, reason, message)
        except TryAgain as error:
            if stop.is_set() or time.monotonic() >= deadline:
                raise
            log.warning("abort tries again", extra={"fields": {"error": str(error)}})
            stop.wait(RETRY_SECONDS)


def _withdraw_once(loser: Endpoint, attempt: int, reason: str, message: str) -> SwitchReport:
    with loser.books() as books:
        view = _look(books, attempt, loser.side, reason, lock=False)
        act = saga.abort(view)
        if isinstance(act, Do):
            # A stopped process keeps its row locks: end its sessions before waiting for any.
            recorded = [row.backend for row in view.lanes if row.backend is not None]
            if view.switch.cutover is not None:
                recorded.append(view.switch.cutover)
            books.end_backends(recorded)
            books.end_sessions(Role.CUTOVER)
            if view.lanes:
                books.end_sessions(Role.APPLY)
    if isinstance(act, Do):
        with loser.books() as books:
            view = _look(books, attempt, loser.side, reason, lock=True)
            act = saga.abort(view)
            if isinstance(act, Do):
                carry_out(act.effects, books)
    return _outcome(act, view, message)


def _look(books: Books, attempt: int, loser: Side, reason: str, *, lock: bool) -> View:
    return View(
        attempt=attempt,
        loser=loser,
        switch=books.switch(lock=lock and Look.SWITCH in saga.ABORT_LOCKS),
        lanes=books.lanes(loser.other, lock=lock and Look.LANES in saga.ABORT_LOCKS),
        reason=reason,
    )


def _outcome(act: Act, view: View, message: str) -> SwitchReport:
    match act:
        case Exit(Verdict.NONE, "NotPrimary" as reason, why):
            raise Unsafe(why, reason=reason, hint="look at the switch rows of both sides")
        case Exit(Verdict.NONE, reason, why):
            raise FencedOut(why, reason=reason)
        case Exit():
            said = message if view.switch.reason == view.reason else ""
            return report_of(view.switch, view.attempt, view.loser, said)
    log.info("aborted", extra={"fields": {"attempt": view.attempt, "reason": view.reason}})
    row = replace(view.switch, attempt=view.attempt, verdict=Verdict.ABORTED, reason=view.reason)
    return report_of(row, view.attempt, view.loser, message)
