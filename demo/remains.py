"""What a migration leaves in a database, seen from outside."""

from __future__ import annotations

import os
import re
import subprocess

import psycopg

from demo.servers import Server

#: Things of Bowline's, by name or by nature, and replica identities that nobody asked for.
REMAINS = """
select 'slot ' || slot_name from pg_replication_slots where database = current_database()
union all select 'publication ' || pubname from pg_publication
union all select 'schema ' || nspname from pg_namespace where nspname like '%bowline%'
union all select format('trigger %s on %s', tgname, tgrelid::regclass) from pg_trigger where tgname like '%bowline%'
union all select 'function ' || proname from pg_proc where proname like '%bowline%'
union all select format('replica identity %s of %s', relreplident, oid::regclass) from pg_class
    where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace and relreplident <> 'd'
order by 1"""
USERS = "select rolname from pg_roles where rolname like '%bowline%' order by 1"


def remains(server: Server, database: str) -> list[str]:
    """Whatever of Bowline's is still in there; its users are told apart."""
    with server.connect(database) as connection:
        return [what for (what,) in connection.execute(REMAINS).fetchall()]


def users(server: Server) -> list[str]:
    with server.connect() as connection:
        return [name for (name,) in connection.execute(USERS).fetchall()]


def schema_of(server: Server, database: str) -> list[str]:
    """The whole schema as pg_dump prints it, rights of the migration's user left out."""
    done = subprocess.run(
        [str(server.binaries / "pg_dump"), "--schema-only", f"--dbname={server.dsn(database)}"],
        check=True,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
    )
    return [line for line in done.stdout.splitlines() if not re.match(r"\\(un)?restrict ", line)]


def stray_write(dsn: str) -> tuple[str, str]:
    """Write to a side as the application would: (SQLSTATE, message); an empty pair when it was accepted."""
    try:
        with psycopg.connect(dsn) as connection:
            connection.execute("insert into page_views (path, at) values ('/stray', now())")
            connection.rollback()
    except psycopg.Error as error:
        return error.sqlstate or "?", error.diag.message_primary or str(error)
    return "", ""
