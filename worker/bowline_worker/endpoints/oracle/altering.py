"""DDL on tables that applications are using: in a session of its own, since it commits, and without pushing.

A statement that finds its table busy waits a second for it, lets the others work, and tries again. What it makes or
changes is noted before, and the note is committed: whoever dies in between leaves a note of something that is as it
was, never something without a note.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import oracledb

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import TryAgain
from bowline_worker.endpoints.oracle import made
from bowline_worker.endpoints.oracle.connection import code_of, one_line, translate, translated
from bowline_worker.endpoints.oracle.tables import durably
from bowline_worker.endpoints.site import Site

GENTLE_SECONDS: Final = 30.0
#: While we queue for a table, its writers queue behind us. Whole seconds are all that Oracle knows.
WAITING: Final = "alter session set ddl_lock_timeout = 1"
#: Between two tries the writers have the table for themselves.
PAUSE_SECONDS: Final = 0.2

#: The table is locked (54, and 30006 after a wait), a deadlock or a timeout of what the dictionary keeps in memory
#: (4020, 4021), two DDL statements on one object at once (14411), a deadlock of rows or tables (60).
BUSY: Final = frozenset(
    ("ORA-00054", "ORA-30006", "ORA-04020", "ORA-04021", "ORA-14411", "ORA-00060", "DPY-4024")
)


class Altering:
    """A session for DDL statements and for the notes of them; closed when its block ends.

    `under`: the session whose lock allows them. It is asked for a sign of life before each statement: whoever ended it,
    to do otherwise, has ended this one by then too, or will have no statement of it after that.
    """

    def __init__(self, site: Site, *, under: oracledb.Connection | None = None) -> None:
        self._site = site
        self._under = under
        self.connection = durably(site)
        try:
            with translated(site, "could not prepare the session"):
                self._execute(WAITING)
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def limit(self, seconds: float) -> None:
        """Give up any single statement after that time, whatever it waits for."""
        self.connection.call_timeout = round(seconds * 1000)

    def run(
        self,
        statement: str,
        what: str,
        *,
        seconds: float = GENTLE_SECONDS,
        done: frozenset[str] = frozenset(),
        meanwhile: Callable[[], None] = lambda: None,
    ) -> bool:
        """Run one statement; `what` says what could not be done. TryAgain (TableBusy) when the time is up.

        `done`: errors that say that there is nothing to do, or nothing to do it to (any more); False then. `meanwhile`
        is called between two tries, and may raise.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._check()
            try:
                self._execute(statement)
            except oracledb.Error as error:
                if code_of(error) in done:
                    return False
                if code_of(error) not in BUSY:
                    raise translate(self._site, error, what) from error
                if time.monotonic() >= deadline:
                    raise TryAgain(
                        f"{self._site.side} at {self._site.place}: {what}: it is in use for"
                        f" {seconds:g} s: {one_line(error)}",
                        reason="TableBusy",
                    ) from error
            else:
                return True
            meanwhile()
            time.sleep(PAUSE_SECONDS)

    def _check(self) -> None:
        if self._under is not None:
            with translated(self._site, "the session that holds the bookkeeping is gone"):
                made.rows(self._under, "select 1 from dual")

    def note(self, thing: MadeObject) -> None:
        """Note what is about to be made or changed, durably; a note that is there stays as it is."""
        with translated(self._site, "could not write the bookkeeping"):
            made.record(self.connection, self._site, thing)
            self.connection.commit()

    def forget(self, kind: str, name: str) -> None:
        """Remove a note: not before the object is gone, or is as it was."""
        with translated(self._site, "could not write the bookkeeping"):
            made.forget(self.connection, self._site, kind, name)
            self.connection.commit()

    def _execute(self, statement: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)

    def _close(self) -> None:
        with suppress(oracledb.Error):
            self.connection.close()


def alter(site: Site, statement: str, what: str, *, seconds: float = GENTLE_SECONDS) -> None:
    """Run one DDL statement in a session of its own, as `Altering.run` does."""
    with Altering(site) as ddl:
        ddl.run(statement, what, seconds=seconds)
