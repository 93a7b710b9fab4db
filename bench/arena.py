"""Two servers that are as durable as in production, databases in them, and what they cost."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.servers import Server, find_binaries
from psycopg import sql

from servers import MIGRATOR, Database, prepare_roles

HZ = os.sysconf("SC_CLK_TCK")

#: The same on both sides. fsync and synchronous_commit stay on: speed without them is nobody's.
SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "16GB",
    "min_wal_size": "2GB",
    "checkpoint_timeout": "30min",
    "wal_compression": "off",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_worker_processes": "16",
    "max_logical_replication_workers": "8",
    "autovacuum": "off",
    "wal_sender_timeout": "5min",
    # The launcher starts one worker per so long, whichever subscription it is of: a round would begin by waiting.
    "wal_retrieve_retry_interval": "10ms",
}


class Late(AssertionError):
    """Something did not come to pass in its time."""


def wait_for(what: str, claim: Callable[[], Any], seconds: float, pause: float = 0.005) -> float:
    """Poll a claim about the world; returns the moment at which it held."""
    end = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > end:
            raise Late(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
    return time.monotonic()


@dataclass
class Arena:
    """A source and a target on one machine."""

    source: Server
    target: Server
    directory: Path

    @classmethod
    def make(cls, parent: Path | None = None) -> Arena:
        directory = Path(tempfile.mkdtemp(prefix="bowline-bench-", dir=parent))
        directory.chmod(0o755)
        servers = [
            Server(binaries=find_binaries(), fsync=True, settings=SETTINGS, parent=directory)
            for _ in range(2)
        ]
        for server in servers:
            server.start()
            prepare_roles(server)
        return cls(*servers, directory)

    def close(self) -> None:
        for server in (self.source, self.target):
            server.destroy()
        shutil.rmtree(self.directory, ignore_errors=True)

    def settings(self) -> list[tuple[str, str]]:
        """What durability and speed depend on, as the servers say it; an error where the two differ."""
        names = [*SETTINGS, "fsync", "wal_level", "wal_sync_method", "server_version"]
        said = []
        for server in (self.source, self.target):
            with server.connect() as connection:
                rows = connection.execute(
                    "select name, current_setting(name) from pg_settings where name = any(%s) order by 1",
                    [names],
                ).fetchall()
                said.append([(str(name), str(value)) for name, value in rows])
        if said[0] != said[1]:
            raise AssertionError(f"the servers differ: {said}")
        durable = dict(said[0])
        if (durable["fsync"], durable["synchronous_commit"]) != ("on", "on"):
            raise AssertionError("fsync and synchronous_commit must be on")
        return said[0]


# --- databases -----------------------------------------------------------------------------------


def create(server: Server, name: str) -> Database:
    server.drop_database(name)
    server.create_database(name)
    return Database(server, name)


def copy(server: Server, template: str, name: str) -> Database:
    """Make a database as a template's files are: every round starts from the same pages."""
    server.drop_database(name)
    with server.connect() as connection:
        connection.execute(
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        connection.execute("checkpoint")
    return Database(server, name)


def uri(database: Database, user: str = MIGRATOR) -> str:
    """For programs that want one."""
    server = database.server
    return f"postgresql://{user}:{server.password}@127.0.0.1:{server.port}/{database.name}"


def digest(database: Database, but: tuple[str, ...] = ()) -> dict[str, tuple[int, str]]:
    """Count and sum of the hashes of all rows, for each table of `public`."""
    found = {}
    tables = database.rows(
        "select c.relname from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace"
    )
    for (name,) in tables:
        if name not in but:
            query = sql.SQL(
                "select count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text from {} t"
            ).format(sql.Identifier("public", name))
            ((rows, hashes),) = database.rows(query.as_string())
            found[str(name)] = (int(rows), str(hashes))
    return found


def require_equal(one: Database, other: Database, but: tuple[str, ...] = ()) -> None:
    """A contender that is fast and wrong has no time."""
    left, right = digest(one, but), digest(other, but)
    if left != right:
        differ = sorted(name for name in {*left, *right} if left.get(name) != right.get(name))
        raise AssertionError(f"rows differ in {', '.join(differ)}")


def wal_position(database: Database) -> int:
    return int(database.value("select pg_current_wal_lsn() - '0/0'::pg_lsn"))


# --- what it costs -------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, and of its children that were waited for."""
    with suppress(FileNotFoundError, ProcessLookupError):
        parts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return sum(map(int, parts[11:15])) / HZ
    return float("nan")


def peak_mib(pid: int) -> float:
    """The most memory that a process has had resident; NaN when it is gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return float("nan")
