"""Run again what a database undid for another transaction's sake, with growing pauses.

PostgreSQL does so at a deadlock only. YugabyteDB does it to any transaction, and expects its client to come again:
https://docs.yugabyte.com/stable/develop/learn/transactions/transactions-retries-ysql/

Nothing of an undone transaction has happened. Whatever is run here is safe to run again from its start all the same: a
role may be killed in it at any instant.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from bowline_worker.contract import Conflict
from bowline_worker.endpoints.base import Books, Endpoint

#: Longer than a node of YugabyteDB needs to take over from one that died.
PATIENCE_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 1.0

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")
Self = TypeVar("Self")

log = logging.getLogger("bowline")


def through_conflicts(
    work: Callable[[], Answer],
    *,
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """Run `work` until it meets no conflict; the last one is raised when patience is over."""
    deadline, longest = clock() + PATIENCE_SECONDS, FIRST_PAUSE_SECONDS
    while True:
        try:
            return work()
        except Conflict as conflict:
            if clock() >= deadline:
                raise
            log.debug("run again", extra={"fields": {"conflict": str(conflict)}})
        # Two that met once must not come back at the same time.
        pause(longest * random.uniform(0.5, 1.0))  # noqa: S311
        longest = min(2 * longest, LONGEST_PAUSE_SECONDS)


def again(
    method: Callable[Concatenate[Self, Arguments], Answer],
) -> Callable[Concatenate[Self, Arguments], Answer]:
    """Make a method run again at a conflict."""

    @wraps(method)
    def patient(self: Self, /, *args: Arguments.args, **options: Arguments.kwargs) -> Answer:
        return through_conflicts(lambda: method(self, *args, **options))

    return patient


def in_books(endpoint: Endpoint, step: Callable[[Books], Answer]) -> Answer:
    """Run a step in one transaction of an endpoint's books; all of it again at a conflict."""

    def once() -> Answer:
        with endpoint.books() as books:
            return step(books)

    return through_conflicts(once)
