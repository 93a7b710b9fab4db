"""The notes of what Bowline made in a database: written before it is made, removed after it is gone."""

from __future__ import annotations

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.endpoints.postgres.catalog import Db, records
from bowline_worker.endpoints.site import Site

READ_MADE = """
select kind, name, before from bowline.made
where migration = %(migration)s order by at, kind, name"""


def is_installed(connection: Db) -> bool:
    """Tell whether there are notes here, of any migration."""
    return connection.execute(b"select to_regclass('bowline.made')").fetchone() != (None,)


def read(connection: Db, site: Site) -> list[MadeObject]:
    """What this migration made here, oldest first; [] where nothing is installed."""
    if not is_installed(connection):
        return []
    rows = records(connection, READ_MADE, {"migration": site.migration})
    return [MadeObject(**row) for row in rows]


def record(connection: Db, site: Site, thing: MadeObject) -> None:
    """Note what is about to be made; a note that is there stays, with what it says of the time before.

    Whoever makes what no transaction can take back (a slot) commits this first.
    """
    connection.execute(
        b"insert into bowline.made (migration, kind, name, before) values (%s, %s, %s, %s)"
        b" on conflict do nothing",
        (site.migration, thing.kind, thing.name, thing.before),
    )


def forget(connection: Db, site: Site, kind: str, name: str) -> None:
    """Remove a note: not before the object is gone."""
    if not is_installed(connection):
        return
    connection.execute(
        b"delete from bowline.made where migration = %s and kind = %s and name = %s",
        (site.migration, kind, name),
    )
