"""The notes of what Bowline made in a database: written before it is made, removed after it is gone.

Nothing here commits. DDL can't be taken back: whoever is about to run some commits the note first.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import oracledb

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.endpoints.oracle.connection import code_of
from bowline_worker.endpoints.oracle.dictionary import Records
from bowline_worker.endpoints.site import Site

IS_INSTALLED: Final = "select 1 from user_tables where table_name = 'BOWLINE_MADE'"
READ_MADE: Final = """
select kind, name, before_ as before from bowline_made
where migration = :migration order by at, kind, name"""
#: Not by the error alone: an insert that fails is in the redo, and again as it is taken back.
RECORD: Final = """
insert into bowline_made (migration, kind, name, before_)
select :migration, :kind, :name, :before from dual
where not exists (select 1 from bowline_made where migration = :migration and kind = :kind and name = :name)"""
FORGET: Final = """
delete from bowline_made where migration = :migration and kind = :kind and name = :name"""

NO_TABLE: Final = "ORA-00942"
IS_THERE: Final = "ORA-00001"


def is_installed(connection: oracledb.Connection) -> bool:
    """Tell whether there are notes here, of any migration."""
    return bool(rows(connection, IS_INSTALLED))


def read(connection: oracledb.Connection, site: Site) -> list[MadeObject]:
    """What this migration made here, oldest first; [] where nothing is installed."""
    try:
        found = rows(connection, READ_MADE, migration=site.migration)
    except oracledb.DatabaseError as error:
        if code_of(error) != NO_TABLE:
            raise
        return []
    return [
        MadeObject(kind=row["kind"], name=row["name"], before=row["before"] or "") for row in found
    ]


def record(connection: oracledb.Connection, site: Site, thing: MadeObject) -> None:
    """Note what is about to be made; a note that is there stays, with what it says of the time before."""
    once(
        connection,
        RECORD,
        migration=site.migration,
        kind=thing.kind,
        name=thing.name,
        before=thing.before,
    )


def forget(connection: oracledb.Connection, site: Site, kind: str, name: str) -> None:
    """Remove a note: not before the object is gone."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(FORGET, {"migration": site.migration, "kind": kind, "name": name})
        except oracledb.DatabaseError as error:
            if code_of(error) != NO_TABLE:
                raise


def once(connection: oracledb.Connection, insert: str, **binds: object) -> bool:
    """Insert a row unless it is there, and tell which; waits for another session that inserts it."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(insert, binds)
        except oracledb.DatabaseError as error:
            if code_of(error) != IS_THERE:
                raise
            return False
        return bool(cursor.rowcount)


def rows(connection: oracledb.Connection, query: str, **binds: object) -> Records:
    """Read rows of the bookkeeping as dictionaries, by the columns' names in lower case; its numbers are whole."""
    with connection.cursor() as cursor:
        cursor.execute(query, binds)
        names = [column.name.lower() for column in cursor.description]
        return [dict(zip(names, map(_whole, row), strict=True)) for row in cursor]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) else value
