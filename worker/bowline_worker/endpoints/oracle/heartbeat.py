"""The heartbeat of an origin: one row that capture updates, so that its stream moves where nothing else is written."""

from __future__ import annotations

from typing import Final

import oracledb

from bowline_worker.contract import TryAgain
from bowline_worker.endpoints.oracle.connection import code_of, translated
from bowline_worker.endpoints.oracle.made import NO_TABLE, once
from bowline_worker.endpoints.oracle.tables import missing, session
from bowline_worker.endpoints.site import Site

BEAT: Final = """
update bowline_heartbeat set beat = beat + 1, at = sys_extract_utc(systimestamp)
where migration = :migration returning beat into :beat"""
#: Its number at once: inserted first and counted then, the row would be two heartbeats to the stream.
FIRST: Final = """
insert into bowline_heartbeat (migration, beat) select :migration, 1 from dual
where not exists (select 1 from bowline_heartbeat where migration = :migration)"""


def beat(site: Site) -> int:
    """Write a heartbeat row, durably; tell its number. A connection each time: nothing to go stale."""
    with translated(site, "could not write a heartbeat"), session(site) as connection:
        number = _next(connection, site)
        if number is None and once(connection, FIRST, migration=site.migration):
            number = 1
        if number is None:
            number = _next(connection, site)
        if number is None:
            raise TryAgain(
                f"{site.side} at {site.place}: the heartbeat's row was deleted meanwhile"
            )
        connection.commit()
        return number


def _next(connection: oracledb.Connection, site: Site) -> int | None:
    with connection.cursor() as cursor:
        told = cursor.var(int)
        try:
            cursor.execute(BEAT, {"migration": site.migration, "beat": told})
        except oracledb.DatabaseError as error:
            if code_of(error) == NO_TABLE:
                raise missing(site) from None
            raise
        numbers = told.getvalue()
        return int(numbers[0]) if numbers else None
