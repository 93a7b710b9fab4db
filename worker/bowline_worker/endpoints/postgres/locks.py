"""Locks on tables that applications are using: gently while a migration is prepared, by policy for a fence."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from psycopg import errors

from bowline_worker.contract import BowlineError, TryAgain, Unsupported
from bowline_worker.endpoints.postgres.catalog import Db, records
from bowline_worker.endpoints.postgres.connection import connect, translated
from bowline_worker.endpoints.site import Site

#: While we queue for a lock, all writers of the table queue behind us: not for longer than this.
SLICE_SECONDS = 0.5
#: Between two tries the writers have the table for themselves.
PAUSE_SECONDS = 0.2
GENTLE_SECONDS = 30.0

POLL_SECONDS = 0.03
#: From the end of the grace: sessions that we end need a moment to roll back.
ENDING_SECONDS = 20.0

#: Everyone that session `pid` waits for, directly or through others. Prepared transactions are pid 0.
WAITED_FOR = """
with recursive waited (pid) as (
    select unnest(pg_blocking_pids(%(pid)s))
    union
    select unnest(pg_blocking_pids(pid)) from waited where pid not in (0, %(pid)s)
)
select pid, pid = any (pg_blocking_pids(%(pid)s)) as direct,
       %(pid)s = any (pg_blocking_pids(pid)) as cyclic
from waited where pid <> %(pid)s"""

log = logging.getLogger("bowline")


def gently(site: Site, what: str, work: Callable[[Db], None]) -> None:
    """Run `work` in a transaction of its own that waits for locks in short slices, until it succeeds or time is up."""
    deadline = time.monotonic() + GENTLE_SECONDS
    while True:
        try:
            with translated(site, what), connect(site, autocommit=False) as connection:
                connection.execute(
                    b"select set_config('lock_timeout', %s, true)", (_milliseconds(SLICE_SECONDS),)
                )
                return work(connection)
        except TryAgain as error:
            busy = isinstance(error.__cause__, errors.LockNotAvailable | errors.DeadlockDetected)
            if not busy or time.monotonic() >= deadline:
                raise
        time.sleep(PAUSE_SECONDS)


def keep_writers_out(
    site: Site, connection: Db, tables: Sequence[str], grace: float, *, patient: bool = False
) -> None:
    """Lock the (quoted) tables against writers until this transaction ends, and never lose our place in the queue.

    New writers wait behind us. Older ones have `grace` seconds; then their sessions are ended. One that waits for a
    table that we have is cancelled at once: it would wait for us while we wait for it, and its write is refused anyway.
    A session that we may not end (a superuser's VACUUM) is an error at once, unless we are `patient`.
    """
    if not tables:
        return
    watcher = _Watcher(site, connection, grace, patient)
    names = ", ".join(f"only {table}" for table in tables)
    try:
        with watcher:
            limit = _milliseconds(grace + ENDING_SECONDS)
            connection.execute(b"select set_config('statement_timeout', %s, true)", (limit,))
            connection.execute(f"lock table {names} in share row exclusive mode".encode())
            connection.execute(b"select set_config('statement_timeout', '0', true)")
    except errors.QueryCanceled as error:
        raise watcher.error or TryAgain(
            f"{site.side}: sessions {watcher.blockers} still hold locks after {grace:g} s"
            f" and {ENDING_SECONDS:g} s to end them",
            reason="FenceBlocked",
            hint="end those sessions",
        ) from error
    if watcher.error:
        raise watcher.error


class _Watcher:
    """Looks, from a second session, who keeps the first one waiting, and does something about it."""

    def __init__(self, site: Site, connection: Db, grace: float, patient: bool) -> None:
        self.error: BowlineError | None = None
        self.blockers: list[int] = []
        self._site = site
        self._waiting = connection
        self._pid = connection.info.backend_pid
        self._grace, self._patient = grace, patient
        self._locked = threading.Event()
        self._watch = connect(site)  # before the wait begins: afterwards it could be refused
        self._thread = threading.Thread(target=self._run, name="fence-watcher", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._locked.set()
        self._thread.join()
        self._watch.close()

    def _run(self) -> None:
        deadline = time.monotonic() + self._grace
        try:
            with translated(self._site, "could not end the writers that hold up the fence"):
                while not self._locked.wait(POLL_SECONDS):
                    self._look(end=time.monotonic() >= deadline)
        except BowlineError as error:
            # Without us the wait could last for ever.
            self.error = error
            self._waiting.cancel()

    def _look(self, *, end: bool) -> None:
        found = records(self._watch, WAITED_FOR, {"pid": self._pid})
        self.blockers = sorted(row["pid"] for row in found if row["direct"])
        if 0 in self.blockers:
            raise Unsupported(
                f"{self._site.side}: a prepared transaction holds locks on the selected tables",
                reason="FenceImpossible",
                hint="commit or roll back what pg_prepared_xacts shows",
            )
        for row in found:
            if row["cyclic"]:
                self._stop("cancelled", b"select pg_cancel_backend(%s)", row["pid"])
            elif row["direct"] and end:
                self._stop("ended", b"select pg_terminate_backend(%s)", row["pid"])

    def _stop(self, how: str, query: bytes, pid: int) -> None:
        try:
            done = self._watch.execute(query, (pid,)).fetchone()
        except errors.InsufficientPrivilege:
            if not self._patient:
                raise
            return
        if done == (True,):
            log.info("%s a writer", how, extra={"fields": {"pid": pid}})


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
