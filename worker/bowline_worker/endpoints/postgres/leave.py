"""Leave: remove everything that was made in a database, each note after its object, and say what stays on purpose."""

from __future__ import annotations

from functools import partial

from psycopg import errors

from bowline_worker.contract import Engine, Side
from bowline_worker.endpoints.postgres import (
    books,
    fence,
    identity,
    locks,
    made,
    publication,
    slots,
)
from bowline_worker.endpoints.postgres.catalog import Db, records
from bowline_worker.endpoints.postgres.connection import connect, translated
from bowline_worker.endpoints.postgres.flavour import flavour_of
from bowline_worker.endpoints.postgres.validate import validate
from bowline_worker.endpoints.site import Site, read_credentials

#: Above the number of any slot.
ALL_SLOTS = 1 << 31

#: `made` last: it is what tells a later run that there is work left.
TABLES = (
    "chunk", "copied", "mark", "statement", "held", "signal", "heartbeat", "gate", "lane", "switch", "made",
)  # fmt: skip


def cleanup(site: Site, *, keep_fence: bool) -> list[str]:
    """Remove what this migration made here; with `keep_fence` its triggers, and what they need, stay.

    Killed at any instant and run again, it goes on. The bookkeeping goes last, in one transaction.
    """
    slots.disarm(site, ALL_SLOTS)
    locks.gently(site, "could not drop the publication", partial(publication.drop, site))
    with translated(site, "could not read the bookkeeping"), connect(site) as connection:
        noted = made.read(connection, site)
        standing = fence.of_migration(site, connection)
    for thing in noted:
        if thing.kind == identity.KIND:
            what = f"could not restore the replica identity of {thing.name}"
            locks.gently(site, what, partial(identity.restore, site, thing))
    if not keep_fence:
        for here in standing:
            what = f"could not drop the fence of {here.schema}.{here.name}"
            locks.gently(site, what, partial(fence.drop, site, here))
    unvalidated = validate(site)
    with translated(site, "could not remove the bookkeeping"), books.durably(site) as connection:
        left = remove_books(site, connection, keep_fence=keep_fence)
    return [*unvalidated, *left, _user_left(site)]


def remove_books(site: Site, connection: Db, *, keep_fence: bool) -> list[str]:
    """Remove this migration's rows, and the schema with the last migration's; say what stays."""
    if flavour_of(connection).has_advisory_locks:
        connection.execute(books.LOCK)
    if not made.is_installed(connection):
        return []
    there = [table for table in TABLES if _is_there(connection, table)]
    kept = fence.of_migration(site, connection) if keep_fence else []
    for table in there:
        keep = "and kind not in ('trigger', 'schema')" if table == "made" and kept else ""
        connection.execute(
            f"delete from bowline.{table} where migration = %s {keep}".encode(), (site.migration,)
        )
    is_used = "switch" in there and records(connection, "select 1 from bowline.switch limit 1")
    if not is_used:
        # Fences that completed migrations left behind need the function, and the notes of them.
        is_fenced = bool(fence.standing(connection))
        for table in there:
            if table != "made" or not is_fenced:
                connection.execute(f"drop table bowline.{table}".encode())
        if not is_fenced:
            connection.execute(b"drop function if exists bowline.fence()")
            return _drop_schema(site, connection)
    return [_fence_left(site, kept)] if kept else []


def _drop_schema(site: Site, connection: Db) -> list[str]:
    try:
        with connection.transaction():
            connection.execute(b"drop schema if exists bowline")
    except errors.DependentObjectsStillExist:
        return [f"{site.side}: schema bowline: it holds objects that others made"]
    return []


def _is_there(connection: Db, table: str) -> bool:
    found = connection.execute(b"select to_regclass(%s)", (f"bowline.{table}",)).fetchone()
    return found != (None,)


def _fence_left(site: Site, kept: list[fence.Standing]) -> str:
    raised = sum(here.is_raised for here in kept)
    return (
        f"{site.side} at {site.place}: the fence: {raised} of {len(kept)} tables refuse writes;"
        f" `drop schema bowline cascade` removes it"
    )


def _user_left(site: Site) -> str:
    user = read_credentials(site.connection).username
    engine = "yugabytedb" if site.connection.engine is Engine.YUGABYTEDB else "postgresql"
    side = Side(site.side)
    return (
        f"{side} at {site.place}: the user {user}:"
        f" `bowline grants --engine {engine} --side {side} --user {user} --revoke` prints how to remove it"
    )
