"""The schema's way: pg_dump's two sections at the source, kept in the target's bookkeeping, run from there.

Each statement runs in one transaction with its mark, so a run that was killed goes on where it was, and a second run
at the same time waits for the row and finds it done.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from bowline_worker.endpoints.base import Section, Statement
from bowline_worker.endpoints.postgres import binaries, books, catalog, dump, extent
from bowline_worker.endpoints.postgres.connection import (
    connect,
    connection_error,
    options,
    quote,
    translated,
)
from bowline_worker.endpoints.postgres.definitions import Runner, subject
from bowline_worker.endpoints.site import Site, read_credentials

log = logging.getLogger("bowline")

#: A table that somebody locks for longer than this is being changed: no time to take its shape.
LOCK_WAIT = "60s"
#: What may run side by side, in this order; all else follows one by one, in the order of the dump.
PARALLEL = (frozenset({"INDEX", "CONSTRAINT"}), frozenset({"INDEX ATTACH"}))


# --- export --------------------------------------------------------------------------------------


def export(site: Site, work_dir: str) -> list[Statement]:
    """Dump what the selected tables need, as statements; scripts are left in `work_dir` for people to read."""
    with connect(site) as connection, translated(site, "schema export"):
        chosen = extent.select(connection, [table.name for table in catalog.tables(site)])
        major = connection.info.server_version // 10000
        extensions = extent.extensions(connection)
    program = binaries.find("pg_dump", major)
    before = dump.split(_dump(site, program, chosen, Section.PRE_DATA, work_dir), Section.PRE_DATA)
    after = dump.split(_dump(site, program, chosen, Section.POST_DATA, work_dir), Section.POST_DATA)
    refreshed = [
        Statement(
            section=Section.POST_DATA,
            ordinal=0,
            kind="MATERIALIZED VIEW DATA",
            name=name,
            sql=f"refresh materialized view {name}",
        )
        for name in dump.refreshes(before)
        if name not in chosen.unpopulated
    ]
    return [*_numbered(_schemas_first(before, extensions)), *_numbered([*after, *refreshed])]


def _schemas_first(
    statements: Sequence[Statement], extensions: Sequence[tuple[str, str]]
) -> list[Statement]:
    """Order: schemas with their rights (an owner needs CREATE in it), extensions, all else as dumped."""

    def is_schema(statement: Statement) -> bool:
        return statement.kind == "SCHEMA" or subject(statement) == "SCHEMA"

    made = [
        Statement(
            section=Section.PRE_DATA,
            ordinal=0,
            kind="EXTENSION",
            name=name,
            sql=f"create schema if not exists {quote(schema)};\n"
            f"create extension if not exists {quote(name)} with schema {quote(schema)}",
        )
        for name, schema in extensions
    ]
    first = [statement for statement in statements if is_schema(statement)]
    return [*first, *made, *(statement for statement in statements if not is_schema(statement))]


def _numbered(statements: Iterable[Statement]) -> list[Statement]:
    return [replace(statement, ordinal=index) for index, statement in enumerate(statements)]


def _dump(site: Site, program: Path, chosen: extent.Extent, section: str, work_dir: str) -> str:
    command = [
        str(program), "--schema-only", f"--section={section}", "--no-password", "--no-tablespaces",
        "--no-publications", "--no-subscriptions", f"--lock-wait-timeout={LOCK_WAIT}",
        "--encoding=UTF8",
    ]  # fmt: skip
    command += [f"--schema={quote(schema)}" for schema in chosen.schemas]
    command += [f"--exclude-table={quote(*name)}" for name in chosen.excluded]
    done = subprocess.run(
        command, capture_output=True, check=False, env=_environment(site), stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").replace("pg_dump: ", "").split())
        raise connection_error(site, f"pg_dump {section} failed: {said}")
    script = done.stdout.decode()
    if work_dir:
        (Path(work_dir) / f"{section}.sql").write_text(script, encoding="utf-8")
    return script


def _environment(site: Site) -> dict[str, str]:
    """How pg_dump connects: the password is in no argument, where every user of the machine could read it."""
    connection, credentials = site.connection, read_credentials(site.connection)
    values = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    values |= {
        "PGHOST": connection.host,
        "PGPORT": str(connection.port),
        "PGDATABASE": connection.database,
        "PGUSER": credentials.username,
        "PGPASSWORD": credentials.password.get_secret_value(),
        "PGSSLMODE": str(connection.tls_mode),
        "PGAPPNAME": f"bowline schema {site.migration}"[:63],
        "PGCONNECT_TIMEOUT": "10",
        # pg_dump fixes most of what constants are printed by, and not lc_monetary.
        "PGOPTIONS": options(),
    }
    for variable, name in (
        ("PGSSLROOTCERT", "ca.crt"),
        ("PGSSLCERT", "tls.crt"),
        ("PGSSLKEY", "tls.key"),
    ):
        path = Path(connection.credentials) / name
        if path.exists():
            values[variable] = str(path)
    return values


# --- store ---------------------------------------------------------------------------------------


def store(site: Site, statements: Sequence[Statement]) -> None:
    """Keep the statements, once for this migration: what was begun is finished as it was planned."""
    books.install(site)
    with connect(site, autocommit=False) as connection, translated(site, "schema store"):
        # Two of us would both find nothing: YugabyteDB has no table lock that would do.
        connection.execute(
            "select 1 from bowline.switch where migration = %s for update", [site.migration]
        )
        stored = connection.execute(
            "select 1 from bowline.statement where migration = %s limit 1", [site.migration]
        ).fetchone()
        if stored is not None:
            return
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into bowline.statement (migration, section, ordinal, kind, name, sql)"
                " values (%s, %s, %s, %s, %s, %s)",
                [
                    (site.migration, one.section, one.ordinal, one.kind, one.name, one.sql)
                    for one in statements
                ],
            )


# --- run -----------------------------------------------------------------------------------------


def run(site: Site, section: str, parallelism: int) -> list[str]:
    """Run what has not run of the section; say what was left out. With mode Existing: nothing."""
    if site.config.existing_schema:
        return []
    notes: list[str] = []

    def say(note: str) -> None:
        log.warning(note)
        notes.append(note)

    pending = _pending(site, section)
    if section == Section.PRE_DATA:
        _run_all(site, pending, 1, say)
        return notes
    for kinds in PARALLEL:
        _run_all(site, [one for one in pending if one.kind in kinds], parallelism, say)
    together = frozenset[str]().union(*PARALLEL)
    _run_all(site, [one for one in pending if one.kind not in together], 1, say)
    return notes


def _pending(site: Site, section: str) -> list[Statement]:
    with connect(site) as connection, translated(site, "schema"):
        return _stored(connection, site.migration, section)


def _stored(connection: psycopg.Connection[Any], migration: str, section: str) -> list[Statement]:
    rows = connection.execute(
        "select ordinal, kind, name, sql from bowline.statement"
        " where migration = %s and section = %s and not done order by ordinal",
        [migration, section],
    )
    return [
        Statement(section=section, ordinal=ordinal, kind=kind, name=name, sql=text)
        for ordinal, kind, name, text in rows
    ]


def _run_all(
    site: Site, statements: Sequence[Statement], parallelism: int, say: Callable[[str], None]
) -> None:
    """Run the statements over so many sessions. After the first error the others finish what they have begun."""
    waiting = deque(statements)
    failed = threading.Event()

    def work() -> None:
        try:
            with connect(site) as connection:
                runner = Runner(site, connection, say)
                while not failed.is_set():
                    try:
                        statement = waiting.popleft()
                    except IndexError:
                        return
                    runner.run(statement)
        except BaseException:
            failed.set()
            raise

    workers = min(max(parallelism, 1), len(statements))
    if workers <= 1:
        work()
        return
    with ThreadPoolExecutor(workers, "schema") as pool:
        for future in [pool.submit(work) for _ in range(workers)]:
            future.result()
