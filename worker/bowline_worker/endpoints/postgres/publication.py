"""The publication: the selected tables by their own names, and Bowline's signals and heartbeats."""

from __future__ import annotations

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import Unsupported
from bowline_worker.endpoints.postgres import made, names
from bowline_worker.endpoints.postgres.catalog import Db, records, select
from bowline_worker.endpoints.postgres.connection import connect, quote, translated
from bowline_worker.endpoints.postgres.slots import slot_name
from bowline_worker.endpoints.site import Site

KIND = "publication"
OWN = (("bowline", "signal"), ("bowline", "heartbeat"))

PUBLISHED = """
select n.nspname::text as schema, c.relname::text as name
from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
join pg_class c on c.oid = r.prrelid join pg_namespace n on n.oid = c.relnamespace
where p.pubname = %s"""


def make(site: Site, connection: Db) -> None:
    """Make the publication, or make its list of tables right.

    Refuses to change the list once there is a slot: rows of a table that joined later would be missing, silently.
    """
    name = names.publication(site.migration)
    wanted = {
        (leaf.schema, leaf.name)
        for leaf in select(connection, site.config).leaves
        if leaf.persistence == "p"
    } | set(OWN)
    found = {(row["schema"], row["name"]) for row in records(connection, PUBLISHED, (name,))}
    if found == wanted:
        return
    tables = ", ".join(f"only {quote(*table)}" for table in sorted(wanted))
    if not is_there(connection, name):
        made.record(connection, site, MadeObject(kind=KIND, name=name))
        options = "publish = 'insert, update, delete, truncate'"
        if connection.info.server_version >= 130000:  # before, there was no other way
            options += ", publish_via_partition_root = false"
        connection.execute(
            f"create publication {quote(name)} for table {tables} with ({options})".encode()
        )
        return
    if _has_slot(site, connection):
        differing = ", ".join(".".join(table) for table in sorted(wanted ^ found))
        raise Unsupported(
            f"{site.side}: the selected tables are not those that are streamed: {differing}",
            reason="SchemaChanged",
            hint="exclude new tables, or start a new migration",
        )
    connection.execute(f"alter publication {quote(name)} set table {tables}".encode())


def unstreamed(site: Site) -> list[str]:
    """Selected tables that the publication does not have; where there is none, the stream itself says so.

    One that was dropped and made again, or swapped for another, has the name and is not the table that was published.
    """
    name = names.publication(site.migration)
    with translated(site, "could not read the publication"), connect(site) as connection:
        if not is_there(connection, name):
            return []
        found = {(row["schema"], row["name"]) for row in records(connection, PUBLISHED, (name,))}
        leaves = select(connection, site.config).leaves
    return [
        str(leaf.table)
        for leaf in leaves
        if leaf.persistence == "p" and (leaf.schema, leaf.name) not in found
    ]


def drop(site: Site, connection: Db) -> None:
    """Drop the publication if it is there; then its note."""
    name = names.publication(site.migration)
    connection.execute(f"drop publication if exists {quote(name)}".encode())
    made.forget(connection, site, KIND, name)


def is_there(connection: Db, name: str) -> bool:
    return bool(records(connection, "select 1 from pg_publication where pubname = %s", (name,)))


def _has_slot(site: Site, connection: Db) -> bool:
    prefix = slot_name(site, 0)[:-1]
    return bool(
        records(
            connection,
            "select 1 from pg_replication_slots where starts_with(slot_name::text, %s)",
            (prefix,),
        )
    )
