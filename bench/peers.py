"""The peers, as their documentation tells to use them."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from demo.servers import find_binaries

from bench.arena import uri, wait_for
from servers import Database

PUBLICATION = "peer"

#: What each needs, and the package of Debian that brings it.
PROGRAMS = {
    "pgbench": "postgresql-contrib",
    "psql": "postgresql-client",
    "pg_dump": "postgresql-client",
    "pg_recvlogical": "postgresql-client",
    "pgcopydb": "pgcopydb",
}


def program(name: str) -> str:
    """Find a program: on PATH, or among the versioned ones of Debian, which keeps some of them off it."""
    if (beside := find_binaries() / name).exists():
        return str(beside)
    return shutil.which(name) or ""


def missing(*, pgcopydb: bool) -> list[str]:
    """Packages to install first."""
    names = [name for name in PROGRAMS if pgcopydb or name != "pgcopydb"]
    absent = {PROGRAMS[name] for name in names if not program(name)}
    # The only plugin by which its 0.10 follows.
    binaries = find_binaries()
    if pgcopydb and not (binaries.parent / "lib" / "wal2json.so").exists():
        absent.add(f"postgresql-{binaries.parent.name}-wal2json")
    return sorted(absent)


def versions() -> list[str]:
    said = []
    for name in filter(program, PROGRAMS):
        done = subprocess.run(
            [program(name), "--version"], capture_output=True, text=True, check=False
        )
        said.append((done.stdout.strip().splitlines() or [name])[0])
    return sorted(set(said))


def publish(source: Database) -> None:
    source.run(f"create publication {PUBLICATION} for tables in schema public")


def make_slot(source: Database, name: str, like: str = "") -> str:
    """A slot from here on, or one from where another stands."""
    if like:
        source.run(
            f"select pg_copy_logical_replication_slot('{like}', '{name}', false, 'pgoutput')"
        )
    else:
        source.run(f"select pg_create_logical_replication_slot('{name}', 'pgoutput')")
    return name


def drop_slot(source: Database, name: str) -> None:
    def gone() -> bool:
        with suppress(psycopg.errors.ObjectInUse):
            source.run(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots "
                f"where slot_name = '{name}'"
            )
            return True
        return False

    wait_for(f"slot {name} is free", gone, 60, pause=0.05)


def is_read(look: psycopg.Connection[tuple[Any, ...]], slot: str) -> bool:
    """Tell whether somebody streams the slot."""
    found = look.execute("select active from pg_replication_slots where slot_name = %s", [slot])
    return found.fetchone() == (True,)


@dataclass(frozen=True, slots=True)
class Subscription:
    """Native logical replication into a database that has the rows already."""

    source: Database
    target: Database
    name: str
    slot: str

    def remote(self) -> int:
        """How far it has applied."""
        found = self.target.rows(
            "select remote_lsn - '0/0' from pg_replication_origin_status s "
            "join pg_subscription b on s.external_id = 'pg_' || b.oid where b.subname = %s",
            self.name,
        )
        return int(found[0][0]) if found and found[0][0] is not None else 0

    def enable(self) -> float:
        """Start it; returns the moment at which its slot is read."""
        self.target.run(f"alter subscription {self.name} enable")
        with self.source.connect() as look:
            return wait_for("the slot is read", lambda: is_read(look, self.slot), 60)

    def disable(self) -> None:
        self.target.run(f"alter subscription {self.name} disable")
        wait_for(
            "the subscription's worker ends",
            lambda: (
                not self.source.value(
                    "select active from pg_replication_slots where slot_name = %s", self.slot
                )
            ),
            60,
        )


@contextmanager
def subscription(
    source: Database, target: Database, slot: str, *, binary: bool
) -> Iterator[Subscription]:
    """Made disabled; removed with its slot."""
    name = f"sub_{secrets.token_hex(4)}"
    target.run(
        f"create subscription {name} connection '{uri(source)}' publication {PUBLICATION} "
        f"with (create_slot = false, slot_name = '{slot}', copy_data = false, enabled = false, "
        f"binary = {str(binary).lower()})"
    )
    try:
        made = Subscription(source, target, name, slot)
        yield made
    finally:
        target.run(f"alter subscription {name} disable")
        target.run(f"alter subscription {name} set (slot_name = none)")
        target.run(f"drop subscription {name}")
        drop_slot(source, slot)
