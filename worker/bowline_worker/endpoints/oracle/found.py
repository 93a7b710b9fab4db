"""What an earlier life of a migration left in Oracle, for a lost status to be rebuilt from."""

from __future__ import annotations

from typing import Final

import oracledb

from bowline_worker.contract import FoundSide, Verdict
from bowline_worker.endpoints.oracle.connection import code_of, translated
from bowline_worker.endpoints.oracle.dictionary import Records
from bowline_worker.endpoints.oracle.made import NO_TABLE, rows
from bowline_worker.endpoints.oracle.tables import session
from bowline_worker.endpoints.site import Site

#: A fence that was left behind for good is no life of the migration.
SWITCH: Final = """
select s.attempt, s.verdict, s.opened, s.fenced from bowline_switch s where s.migration = :migration
and not exists (select 1 from bowline_made m where m.migration = s.migration and m.kind = 'fence-left')"""
SLOTS: Final = """
select number_ from bowline_slot where migration = :migration order by number_"""


def found(site: Site) -> FoundSide:
    """Tell what is left here. No snapshot is ever complete: none is copied into Oracle."""
    with translated(site, "could not read the bookkeeping"), session(site) as connection:
        switch = _if_there(connection, site, SWITCH)
        slots = [row["number_"] for row in _if_there(connection, site, SLOTS)]
    if not switch:
        return FoundSide(slots=slots)
    (row,) = switch
    return FoundSide(
        installed=True,
        attempt=row["attempt"],
        verdict=Verdict(row["verdict"] or ""),
        opened=row["opened"],
        fenced=bool(row["fenced"]),
        slots=slots,
    )


def _if_there(connection: oracledb.Connection, site: Site, query: str) -> Records:
    try:
        return rows(connection, query, migration=site.migration)
    except oracledb.DatabaseError as error:
        if code_of(error) != NO_TABLE:
            raise
        return []
