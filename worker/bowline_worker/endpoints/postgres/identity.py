"""Replica identities: every published row must be told by something, or the application's own updates fail."""

from __future__ import annotations

from dataclasses import dataclass

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import Config
from bowline_worker.endpoints.postgres import made
from bowline_worker.endpoints.postgres.catalog import Db, read_tables, records, select
from bowline_worker.endpoints.postgres.connection import quote
from bowline_worker.endpoints.postgres.flavour import flavour_of
from bowline_worker.endpoints.site import Site

KIND = "replica-identity"

#: By relreplident; the old identity is noted in this form, with `i:` and the index's name for an index.
CLAUSES = {"d": "default", "n": "nothing", "f": "full"}

CURRENT = """
select c.oid::int8 as oid, c.relreplident::text as identity,
       (select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid
        where i.indrelid = c.oid and i.indisreplident) as index
from pg_class c where c.oid = any (%s::oid[])"""

RESTORABLE = """
select c.relreplident::text as identity,
       exists (select from pg_index i join pg_class x on x.oid = i.indexrelid
               where i.indrelid = c.oid and x.relname = %(index)s) as has_index
from pg_class c where c.oid = to_regclass(%(table)s)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIdentity:
    oid: int
    table: str  #: quoted
    before: str
    clause: str


def needed(connection: Db, config: Config) -> list[NewIdentity]:
    """Find the tables whose identity tells no row: FULL where there is no key, DEFAULT where one is not used.

    Unlogged tables are in no stream.
    """
    tables = {table.name: table for table in read_tables(connection, config)}
    leaves = {
        leaf.oid: leaf
        for leaf in select(connection, config).leaves
        if leaf.persistence == "p" and leaf.table in tables
    }
    identities = flavour_of(connection).identities
    found = []
    for row in records(connection, CURRENT, (list(leaves),)):
        leaf = leaves[row["oid"]]
        has_key = bool(tables[leaf.table].key)
        is_enough = (
            row["identity"] == "f"
            or (has_key and row["identity"] in identities)
            or (has_key and row["identity"] == "i" and row["index"] is not None)
        )
        if not is_enough:
            index = row["index"] if row["identity"] == "i" else None
            found.append(
                NewIdentity(
                    oid=leaf.oid,
                    table=leaf.quoted,
                    before=f"i:{index}" if index else row["identity"].replace("i", "n"),
                    clause=CLAUSES["d" if has_key else "f"],
                )
            )
    return sorted(found, key=lambda each: each.table)


def unpublishable(connection: Db, config: Config) -> list[str]:
    """Find the tables whose updates the server would refuse once they are published.

    From version 18 on, that is where all columns identify a row, and generated ones are among them.
    """
    if connection.info.server_version < 180000:
        return []
    full = {leaf.table for leaf in select(connection, config).leaves if leaf.identity == "f"}
    return [
        str(table.name)
        for table in read_tables(connection, config)
        if (not table.key or table.name in full) and len(table.written) < len(table.columns)
    ]


def unstreamable(connection: Db, config: Config) -> list[str]:
    """Find the tables of whose rows no stream from this server would tell."""
    if flavour_of(connection).streams_keyless:
        return []
    return [str(table.name) for table in read_tables(connection, config) if not table.key]


def change(site: Site, new: NewIdentity, connection: Db) -> None:
    """Note the identity that the table has, and change it."""
    made.record(connection, site, MadeObject(kind=KIND, name=new.table, before=new.before))
    connection.execute(f"alter table only {new.table} replica identity {new.clause}".encode())


def restore(site: Site, noted: MadeObject, connection: Db) -> None:
    """Give the table its identity back, if it is there and nobody has changed it since; then remove the note."""
    kind, _, index = noted.before.partition(":")
    found = records(connection, RESTORABLE, {"table": noted.name, "index": index})
    if found and found[0]["identity"] in ("f", "d") and found[0]["identity"] != kind:
        clause = f"using index {quote(index)}" if found[0]["has_index"] else CLAUSES.get(kind, "")
        connection.execute(
            f"alter table only {noted.name} replica identity {clause or 'nothing'}".encode()
        )
    made.forget(connection, site, KIND, noted.name)
