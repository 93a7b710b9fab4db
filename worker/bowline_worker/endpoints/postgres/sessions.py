"""Other sessions of the same server: told apart by pid and start, ended, and waited for."""

from __future__ import annotations

import time
from collections.abc import Iterable

from bowline_worker.bookkeeping import Backend
from bowline_worker.contract import TryAgain
from bowline_worker.endpoints.postgres.catalog import Db, records

OWN_BACKEND = """
select pid, backend_start::text as started from pg_stat_activity where pid = pg_backend_pid()"""
BACKENDS = """
select pid, backend_start::text as started from pg_stat_activity where pid = any (%s::int[])"""
NAMED = """
select pid, backend_start::text as started from pg_stat_activity
where application_name = %s and datname = current_database() and usename = current_user
  and pid <> pg_backend_pid()"""
POLL_SECONDS = 0.05


def own_backend(connection: Db) -> Backend:
    """Identify a session so that `end_backends` ends it, and no other that got its pid later."""
    (row,) = records(connection, OWN_BACKEND)
    return Backend(**row)


def end_backends(connection: Db, backends: Iterable[Backend], timeout: float = 5.0) -> None:
    """End those sessions where they are still the same ones; TryAgain if one is there after `timeout` seconds."""
    wanted = {backend.pid: backend.started for backend in backends}
    deadline = time.monotonic() + timeout
    while wanted:
        # Within a transaction the view shows its first look for ever, unless told not to.
        connection.execute(b"select pg_stat_clear_snapshot()")
        alive = [
            row["pid"]
            for row in records(connection, BACKENDS, (list(wanted),))
            # Another user's start is hidden: its pid is a recorded one's that came again, for those were our own.
            if row["started"] == wanted[row["pid"]]
        ]
        if not alive:
            return
        if time.monotonic() >= deadline:
            raise TryAgain(
                f"sessions {', '.join(map(str, alive))} do not end within {timeout:g} s",
                reason="BackendStays",
            )
        connection.execute(b"select pg_terminate_backend(pid) from unnest(%s::int[]) pid", (alive,))
        time.sleep(POLL_SECONDS)


def end_sessions(
    connection: Db, application: str, timeout: float = 5.0, *, but: Backend | None = None
) -> None:
    """End the other sessions of this database that have that application's name: a stopped process keeps its locks."""
    found = [Backend(**row) for row in records(connection, NAMED, (application,))]
    end_backends(connection, [each for each in found if each != but], timeout)
