"""Both sides' databases, as those see them who strike at a migration and judge it: whatever the engine is."""

from __future__ import annotations

import random
import signal
from collections.abc import Mapping
from typing import Protocol

import psycopg
from demo.servers import Server

from demo import checker, remains

SESSIONS = """
select pid, application_name from pg_stat_activity
where datname = current_database() and application_name like 'bowline %' order by backend_start"""


class Place(Protocol):
    """One side."""

    can_crash: bool

    def refusal(self) -> str:
        """Write as the application would and take it back: the refusal's code, empty when it was accepted."""
        ...

    def ledger(self) -> Mapping[tuple[int, int], int]:
        """How often the row of each transaction is there."""
        ...

    def end_session(self, chance: random.Random) -> str:
        """Have the server end one of Bowline's sessions; which one it was, empty when there was none."""
        ...

    def crash(self) -> None:
        """Kill the server's processes and start it again."""
        ...

    def remains(self) -> list[str]:
        """Name what is Bowline's and still there."""
        ...

    def schema(self) -> list[str]:
        """Everything that a migration must leave as it was."""
        ...


class PostgresPlace:
    """A database of a PostgreSQL server."""

    can_crash = True

    def __init__(self, server: Server, database: str, application: str) -> None:
        self.server, self.database = server, database
        self.application = server.dsn(database, application, server.password)

    def refusal(self) -> str:
        return refusal(self.application)

    def ledger(self) -> Mapping[tuple[int, int], int]:
        return checker.ledger_of(self.server.dsn(self.database))

    def end_session(self, chance: random.Random) -> str:
        with self.server.connect(self.database) as connection:
            found = connection.execute(SESSIONS).fetchall()
            if not found:
                return ""
            pid, name = chance.choice(found)
            connection.execute("select pg_terminate_backend(%s)", [pid])
        return f"{pid} ({name})"

    def crash(self) -> None:
        self.server.restart(signal.SIGQUIT)

    def remains(self) -> list[str]:
        return remains.remains(self.server, self.database)

    def schema(self) -> list[str]:
        return remains.schema_of(self.server, self.database)


def refusal(dsn: str, ledger: str = "ledger") -> str:
    """See Place.refusal."""
    try:
        with psycopg.connect(dsn) as connection:
            connection.execute(f"insert into {ledger} values (0, 0, 'asked')".encode())
            connection.rollback()
    except psycopg.Error as error:
        return error.sqlstate or "no answer"
    return ""
