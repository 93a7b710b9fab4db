"""Cutover and switchover: walks the steps of `saga.SAGA`, each one transaction, and starts over wherever it was killed.

Between Fence and Commit the losing side is closed, so a clock aborts the attempt when the budget is used up, even
while a step hangs in a call; so does any error that will not mend itself. After Commit there are only forward steps.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bowline_worker.bookkeeping import SwitchRow
from bowline_worker.contract import (
    BowlineError,
    FencedOut,
    Role,
    SwitchReport,
    TryAgain,
    Unsafe,
    Unsupported,
    Verdict,
)
from bowline_worker.deadline import Deadline, Either, time_left
from bowline_worker.endpoints.base import Books, Endpoint
from bowline_worker.roles import Context
from bowline_worker.roles.abort import withdraw
from bowline_worker.saga import SAGA, Look, Step, View, Where, standing, steps
from bowline_worker.saga_acts import (
    Act,
    Do,
    Done,
    Exit,
    GoTo,
    PutSwitch,
    StepName,
    Wait,
    Withdraw,
)
from bowline_worker.saga_checks import (
    compare_behind_fence,
    forget_journals,
    rows_difference,
    schema_difference,
)
from bowline_worker.saga_effects import Means, carry_out, change_slots

POLL_SECONDS = 0.02
#: Before the fence nobody waits for us.
IDLE_POLL_SECONDS = 0.2
#: How long a probe may take: the processes of the way back start meanwhile.
PROBE_SECONDS = 600.0
#: An abort opens the old side at once: its report should not say otherwise for long.
LOOK_SECONDS = 1.0
#: How long errors that may mend themselves are borne; behind the fence the budget rules.
PATIENCE_SECONDS = 30.0

ORDER = [step.name for step in SAGA]
FENCE_AT = ORDER.index(StepName.FENCE)

log = logging.getLogger("bowline")


def run(context: Context) -> None:
    """Carry attempt n to its end: opened (Committed), or taken back (Aborted); the report's verdict tells which."""
    walk = Cutover(context)
    try:
        walk.run()
    finally:
        walk.budget.cancel()


class Cutover:
    """One process's walk. All that it keeps in memory, a restart reads again."""

    def __init__(self, context: Context) -> None:
        self.context, self.config = context, context.config
        self.attempt = self.config.attempt
        self.loser = context.side(self.config.loser)
        self.winner = context.side(self.config.loser.other)
        self.steps = {step.name: step for step in steps(fallback=self.config.fallback)}
        self.report = SwitchReport(attempt=self.attempt, loser=self.config.loser)
        self.budget = Deadline(self._out_of_time)
        self.row = SwitchRow()  #: the losing side's, as read or written last
        self.opened_at: datetime | None = None
        self.cleared: set[Where] = set()
        self.difference: str | None = None  #: what the comparison behind the fence has found
        self.withdrawn: SwitchReport | None = None
        self.looked = 0.0  #: at the losing side's row, while waiting for the winner

    def run(self) -> None:
        order = list(self.steps)
        name: StepName | None = order[0]
        while name is not None:
            step = self.steps[name]
            self._tell(step=str(name))
            match self._settled(step):
                case Do() | Done():
                    self._has_done(step)
                    name = next(iter(order[order.index(name) + 1 :]), None)
                case GoTo(there):
                    if there is StepName.OPEN:  # Committed: whatever comes before it was done
                        self._tell(done=[str(each) for each in order[: order.index(there)]])
                        self._tell_row()
                    name = there
                case Withdraw(reason, message):
                    name = self._withdraw(reason, message)
                case Exit() as act:
                    name = self._leave(step, act)
                case None | Wait():
                    return

    # --- one step --------------------------------------------------------------------------------

    def _settled(self, step: Step) -> Act | None:
        """Take the step until it is decided; None: told to stop. What may mend itself is read again."""
        idle, began, failing_since = ORDER.index(step.name) < FENCE_AT, time.monotonic(), 0.0
        while not self.context.stop.is_set():
            if self.budget.over.is_set() and not self._says(Verdict.COMMITTED):
                return Withdraw("BudgetExceeded", self._lateness())
            try:
                act = self._take(step)
                if isinstance(act, Wait):
                    act = self._overtaken(step) or act
            except TryAgain as error:
                failing_since = failing_since or time.monotonic()
                is_patient = self.budget.runs and not self._says(Verdict.COMMITTED)
                if time.monotonic() - failing_since > PATIENCE_SECONDS and not is_patient:
                    raise
                fields = {"step": str(step.name), "error": str(error)}
                log.warning("step is tried again", extra={"fields": fields})
                self.context.stop.wait(IDLE_POLL_SECONDS)
                continue
            except BowlineError as error:
                if isinstance(error, FencedOut) or not self._says(Verdict.ARMED):
                    raise
                return Withdraw(error.reason, "; ".join(filter(None, (str(error), error.hint))))
            failing_since = 0.0
            if not isinstance(act, Wait):
                return act
            if idle and time.monotonic() - began > PROBE_SECONDS:
                raise TryAgain(
                    f"{step.name} has waited {PROBE_SECONDS:g} s for {act.reason}",
                    reason="ProbeLost",
                    hint="look at the capture and the apply of both streams",
                )
            self.context.stop.wait(IDLE_POLL_SECONDS if idle else POLL_SECONDS)
        return None

    def _overtaken(self, step: Step) -> Act | None:
        """Hear, at times, of an abort: who waits for the winner does not look at the losing side's row."""
        if step.where is Where.LOSER or time.monotonic() - self.looked < LOOK_SECONDS:
            return None
        self.looked = time.monotonic()
        act = self._take(self.steps[StepName.GATE])
        return act if isinstance(act, Exit | GoTo) else None

    def _take(self, step: Step) -> Act:
        """Look, decide, and have the effects: one transaction in one database. Safe to die in, and to run again."""
        endpoint = self.loser if step.where is Where.LOSER else self.winner
        self._end_older_copies(step.where, endpoint)
        if Look.SLOTS in step.reads:
            act = step.decide(replace(self._view(), slots=tuple(endpoint.slots())))
            if isinstance(act, Do):
                change_slots(act.effects, endpoint)
                with endpoint.books() as books:
                    carry_out(act.effects, books)
            return act
        if step.name in (StepName.GATE, StepName.RETIRE, StepName.OPEN):
            act = self._clear_the_way(step, endpoint)
            if not isinstance(act, Do):
                return act
        means, difference = self._means(step), self._difference(step)
        if step.name is StepName.FENCE:
            self.budget.start(self.config.budget.total_seconds())
        with endpoint.books() as books:
            view = replace(self._look(step, endpoint, books, lock=True), difference=difference)
            act = step.decide(view)
            if isinstance(act, Do):
                carry_out(act.effects, books, means)
        self._remember(step, view, act)
        return act

    def _view(self) -> View:
        return View(
            attempt=self.attempt,
            loser=self.config.loser,
            fallback=self.config.fallback,
            lane_count=self.config.lanes,
            now=datetime.now(UTC),
        )

    def _look(self, step: Step, endpoint: Endpoint, books: Books, *, lock: bool) -> View:
        """Read, in the order switch row, lane rows, so that no two processes wait for each other."""
        view = self._view()
        if Look.SWITCH in step.locks | step.reads:
            view = replace(view, switch=books.switch(lock=lock and Look.SWITCH in step.locks))
        if Look.LANES in step.locks | step.reads:
            lanes = books.lanes(endpoint.side.other, lock=lock and Look.LANES in step.locks)
            view = replace(view, lanes=lanes)
        if Look.GAPS in step.reads:
            view = replace(view, gaps=tuple(books.fence_gaps()))
        return replace(view, backend=books.own_backend()) if step.name is StepName.GATE else view

    def _clear_the_way(self, step: Step, endpoint: Endpoint) -> Act:
        """Where the step has work to do: end whoever may hold the rows, since a stopped process keeps them.

        What is left of an apply into the winner, whose lanes have ended by then, may hold the row that opens it.
        """
        with endpoint.books() as books:
            view = self._look(step, endpoint, books, lock=False)
            act = step.decide(view)
            if isinstance(act, Do):
                books.end_backends([row.backend for row in view.lanes if row.backend is not None])
                if step.name is StepName.OPEN:
                    books.end_sessions(Role.APPLY)
        if isinstance(act, Do) and step.name is StepName.GATE:
            difference = schema_difference(self.loser, self.winner)
            if difference:
                raise Unsupported(difference, reason="SchemaChanged")
        self._remember(step, view, None if isinstance(act, Do) else act)
        return act

    def _end_older_copies(self, where: Where, endpoint: Endpoint) -> None:
        """End, once a side, what an older process of this role may have left there with its locks."""
        if where not in self.cleared:
            with endpoint.books() as books:
                recorded = books.switch(lock=False).cutover
                books.end_backends([recorded] if recorded else [])
                books.end_sessions(Role.CUTOVER)
            self.cleared.add(where)

    def _means(self, step: Step) -> Means:
        if step.name is not StepName.SEQUENCES:
            return Means(grace_seconds=self.config.writer_grace.total_seconds())
        with self.loser.books() as books:
            return Means(sequences=books.sequences())

    def _difference(self, step: Step) -> str:
        if step.name is StepName.BARRIER:
            return schema_difference(self.loser, self.winner)
        if step.name is not StepName.VERIFY or not self.config.verify:
            return ""
        if self.difference is None:
            found = compare_behind_fence(
                self.context.source,
                self.context.target,
                parallelism=self.config.parallelism,
                stop=Either(self.context.stop, self.budget.over),
            )
            self.context.report.update(verify=found)
            self.difference = rows_difference(found)
        return self.difference

    # --- what follows ----------------------------------------------------------------------------

    def _remember(self, step: Step, view: View, act: Act | None) -> None:
        """Keep what the rows say now, for the report and the clock; the databases are asked again before any act."""
        if Look.SWITCH not in step.locks | step.reads:
            return
        put = (
            [e.row for e in act.effects if isinstance(e, PutSwitch)] if isinstance(act, Do) else []
        )
        row = put[0] if put else view.switch
        if step.where is Where.LOSER:
            self.row = row
        else:
            self.opened_at = row.opened_at

    def _says(self, verdict: Verdict) -> bool:
        return standing(self.row, self.attempt) is verdict

    def _has_done(self, step: Step) -> None:
        done = [name for name in self.report.done if name != step.name] + [str(step.name)]
        if step.name is StepName.GATE and self.row.fenced and self.row.fenced_at is not None:
            # An earlier process raised the fence: its clock goes on.
            left = time_left(self.config.budget, self.row.fenced_at, datetime.now(UTC))
            self.budget.start(left.total_seconds())
        if step.name is StepName.COMMIT:
            self.budget.cancel()
        if step.name is StepName.OPEN:
            self._tell(opened=True, opened_at=self.opened_at)
        if step.name is StepName.FINISH:
            forget_journals(self.config.journal, self.config.loser, self.attempt)
        fields = {"step": str(step.name), "attempt": self.attempt, "loser": str(self.config.loser)}
        log.info("step is done", extra={"fields": fields})
        self._tell(done=done)
        self._tell_row()

    def _leave(self, step: Step, act: Exit) -> StepName | None:
        """Say how the attempt ended. Where the winner refused, the losing side's row tells why."""
        if act.verdict is Verdict.NONE and step.where is Where.WINNER:
            now = self._settled(self.steps[StepName.GATE])
            if isinstance(now, GoTo):
                return now.step
            if isinstance(now, Exit):
                return self._leave(self.steps[StepName.GATE], now)
            if now is None:
                return None
        if act.verdict is Verdict.NONE:
            error = Unsafe if act.reason == "NotPrimary" else FencedOut
            raise error(act.message, reason=act.reason)
        self._tell(
            verdict=act.verdict,
            opened=act.verdict is Verdict.COMMITTED,
            reason=act.reason if act.verdict is Verdict.ABORTED else "",
            message=act.message,
        )
        return None

    def _withdraw(self, reason: str, message: str) -> StepName | None:
        """Abort by the same transaction as the abort role; where another copy committed, go on forward."""
        if self.budget.over.is_set():
            self.budget.cancel(wait=True)
        if self.withdrawn is None:
            self.withdrawn = withdraw(
                self.loser, self.attempt, reason=reason, message=message, stop=self.context.stop
            )
        self._tell_withdrawn(self.withdrawn)
        return StepName.OPEN if self.withdrawn.verdict is Verdict.COMMITTED else None

    def _out_of_time(self) -> None:
        """In the clock's thread: the walk itself may hang in a call to a server that is away."""
        try:
            self.withdrawn = withdraw(
                self.loser,
                self.attempt,
                reason="BudgetExceeded",
                message=self._lateness(),
                stop=self.context.stop,
            )
        except BowlineError as error:
            log.warning("could not abort in time", extra={"fields": {"error": str(error)}})
        else:
            self._tell_withdrawn(self.withdrawn)

    def _lateness(self) -> str:
        budget = self.config.budget.total_seconds()
        return f"the fence stood for {budget:g} s and {self.report.step} was not done"

    def _tell_withdrawn(self, outcome: SwitchReport) -> None:
        if outcome.verdict is Verdict.ABORTED:
            self._tell(verdict=outcome.verdict, reason=outcome.reason, message=outcome.message)

    def _tell_row(self) -> None:
        self._tell(
            verdict=standing(self.row, self.attempt),
            fenced_at=self.row.fenced_at,
            committed_at=self.row.committed_at,
        )

    def _tell(self, **change: Any) -> None:
        self.report = self.report.model_copy(update=change)
        self.context.report.update(switch=self.report)
