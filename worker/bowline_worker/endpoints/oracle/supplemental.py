"""Supplemental logging: with that of all columns each change in the redo tells its whole row, before and after.

That of the database as a whole, and the archiving of its redo, are not ours to turn on: they are asked for.
"""

from __future__ import annotations

from typing import Final

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import NotPermitted
from bowline_worker.endpoints.oracle import catalog
from bowline_worker.endpoints.oracle.altering import Altering
from bowline_worker.endpoints.oracle.dictionary import reading, records
from bowline_worker.endpoints.site import Site

KIND: Final = "supplemental-log"
DATABASE: Final = "select d.log_mode, d.supplemental_log_data_min as minimal from v$database d"
#: Somebody else added it first; it is there no more, or its table is not.
_THERE: Final = frozenset(("ORA-32588",))
_GONE: Final = frozenset(("ORA-32587", "ORA-00942"))


def make(site: Site) -> None:
    """Log all columns of the selected tables where they are not logged, each noted first."""
    with reading(site) as connection:
        (database,) = records(connection, DATABASE)
    if database["LOG_MODE"] != "ARCHIVELOG":
        raise NotPermitted(
            f"the {site.side} does not archive its redo: log_mode is {database['LOG_MODE']}",
            reason="NotArchiving",
            hint="shutdown immediate; startup mount; alter database archivelog; alter database open",
        )
    if database["MINIMAL"] == "NO":
        raise NotPermitted(
            f"the {site.side} has no minimal supplemental logging",
            reason="NoSupplementalLogging",
            hint="alter database add supplemental log data",
        )
    lacking = [one for one in catalog.tables(site) if not one.logs_all_columns]
    if not lacking:
        return
    with Altering(site) as ddl:
        for table in lacking:
            ddl.note(MadeObject(kind=KIND, name=table.quoted))
            is_ours = ddl.run(
                f"alter table {table.quoted} add supplemental log data (all) columns",
                f"could not add supplemental logging to {table.table.name}",
                done=_THERE,
            )
            if not is_ours:
                ddl.forget(KIND, table.quoted)


def unstreamed(site: Site) -> list[str]:
    """The selected tables whose redo does not tell whole rows."""
    return [str(one.table.name) for one in catalog.tables(site) if not one.logs_all_columns]


def drop(ddl: Altering, thing: MadeObject) -> None:
    """Stop logging all columns of one table where that was our doing; then remove the note."""
    ddl.run(
        f"alter table {thing.name} drop supplemental log data (all) columns",
        f"could not drop the supplemental logging of {thing.name}",
        done=_GONE,
    )
    ddl.forget(KIND, thing.name)
