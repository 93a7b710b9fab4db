"""The stand-in as tests have it: in a process of its own, for the driver may hold this interpreter while it waits."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

from demo.servers import Server

TESTS = Path(__file__).resolve().parents[1]

#: What a database of YugabyteDB has, and one of PostgreSQL has not. A table with a primary key has identity CHANGE as
#: soon as it is made: FULL, below the relay.
FURNISH = (
    """
create function public.standin_identity() returns event_trigger language plpgsql
security definer set search_path = pg_catalog as $$
declare made record;
begin
    for made in select d.objid::regclass as name from pg_event_trigger_ddl_commands() d
                join pg_index i on i.indrelid = d.objid and i.indisprimary
                join pg_class c on c.oid = d.objid and c.relkind = 'r' and c.relreplident = 'd'
                where d.classid = 'pg_class'::regclass loop
        execute format('alter table %s replica identity full', made.name);
    end loop;
end $$""",
    """
create event trigger standin_identity on ddl_command_end when tag in ('CREATE TABLE')
execute function public.standin_identity()""",
)


class Standin:
    """A server that stands in for YugabyteDB, with two nodes, in front of `server`."""

    def __init__(self, server: Server, seed: int = 0) -> None:
        self.server = server
        self._seed = seed
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "yugabyte_standin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TESTS,
        )
        self._tell([self.server.port, self.server.dsn(), self._seed])
        self.ports: tuple[int, int] = tuple(self._ask("ports"))
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def counts(self) -> tuple[int, int]:
        """How many transactions were made to fail by 40001, of how many."""
        failed, transactions = self._ask("counts")
        return failed, transactions

    def lose_next_reply(self) -> None:
        """Let the next COMMIT happen, and nobody hear of it."""
        self._ask("lose")

    def keep_replies(self) -> None:
        """Take back what `lose_next_reply` asked for, if it has not happened."""
        self._ask("keep")

    def furnish(self, database: str) -> None:
        """Make what the relay needs in a database. Afterwards its tables with a key have identity CHANGE."""
        with self.server.connect(database) as connection:
            for statement in FURNISH:
                connection.execute(statement.encode())

    def _ask(self, question: str) -> Any:
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def _tell(self, what: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
