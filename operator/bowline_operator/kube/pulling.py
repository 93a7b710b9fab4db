"""The workers' reports, asked for over HTTP. No answer is no report, never an error."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import aiohttp

from bowline_operator.kube import metrics
from bowline_worker.contract import Report

TIMEOUT = aiohttp.ClientTimeout(total=2.0)
#: A pass does not wait longer than this: a stopped worker must not slow down an abort.
PATIENCE_SECONDS = 0.4


@dataclass(slots=True)
class Pulls:
    """What the workers of one migration have said last, by Job uid."""

    reports: dict[str, Report] = field(default_factory=dict)
    known: dict[str, tuple[str, ...]] = field(default_factory=dict)  #: addresses, by Job uid
    deaf: set[str] = field(default_factory=set)  #: Jobs whose last pull got no answer
    _tasks: dict[str, asyncio.Task[Report | None]] = field(default_factory=dict)

    async def pull(self, session: aiohttp.ClientSession, running: Iterable[str]) -> None:
        """Ask the Jobs of these uids; who does not answer in time is heard in a later pass."""
        alive = set(running)
        for uid in {*self.known, *self.reports, *self._tasks} - alive:
            self._forget(uid)
        for uid in alive:
            if uid not in self._tasks and self.known.get(uid):
                self._tasks[uid] = asyncio.create_task(_newest(session, self.known[uid]))
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=PATIENCE_SECONDS)
        for uid, task in [*self._tasks.items()]:
            if task.done():
                del self._tasks[uid]
                self._take(uid, task.result())

    def _take(self, uid: str, report: Report | None) -> None:
        is_ours = report is not None and report.job_uid == uid
        metrics.PULLS.labels("answered" if is_ours else "silent").inc()
        if report is None or not is_ours:  # somebody else may have the address by now
            self.deaf.add(uid)
            return
        self.deaf.discard(uid)
        before = self.reports.get(uid)
        if before is None or before.observed_at <= report.observed_at:
            self.reports[uid] = report

    def _forget(self, uid: str) -> None:
        self.known.pop(uid, None)
        self.reports.pop(uid, None)
        self.deaf.discard(uid)
        task = self._tasks.pop(uid, None)
        if task is not None:
            task.cancel()

    def locate(self, found: Mapping[str, Iterable[str]]) -> None:
        """Note where the workers are now."""
        self.known = {uid: tuple(places) for uid, places in found.items()}

    def are_all_heard(self, running: Iterable[str]) -> bool:
        """Tell whether every Job has an address, and answered when it was asked last."""
        return all(self.known.get(uid) and uid not in self.deaf for uid in running)

    def close(self) -> None:
        for uid in [*self._tasks]:
            self._forget(uid)


async def _newest(session: aiohttp.ClientSession, places: Iterable[str]) -> Report | None:
    """Ask all pods of a Job; each says the same of the whole, at its own time."""
    answers = await asyncio.gather(*(_pull(session, place) for place in places))
    reports = [report for report in answers if report is not None]
    return max(reports, key=lambda report: report.observed_at, default=None)


async def _pull(session: aiohttp.ClientSession, place: str) -> Report | None:
    try:
        async with session.get(f"http://{place}/status", timeout=TIMEOUT) as answer:
            body = await answer.read()
            return Report.model_validate_json(body) if answer.status == 200 else None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None
