"""Where a raised fence does not stop a write, or may not have: read from the dictionary now, not from what was made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import oracledb

from bowline_worker.endpoints.oracle import made, swaps
from bowline_worker.endpoints.oracle.fence import wanted_triggers
from bowline_worker.endpoints.oracle.hidden import hidden
from bowline_worker.endpoints.oracle.triggers import standing
from bowline_worker.endpoints.site import Site

FLAG: Final = "select s.raised, s.attempt from bowline_switch s where s.migration = :migration"
#: Disabling and enabling a trigger leaves it as it was but for LAST_DDL_TIME, of it or of its table. Whole seconds: DDL
#: in the very second of the raise, after it, is not seen.
ALTERED: Final = """
select o.owner, o.object_name, o.object_type from all_objects o
where o.object_type in ('TABLE', 'TRIGGER')
  and o.last_ddl_time > (select s.raised_at from bowline_switch s where s.migration = :migration)"""


def gaps(site: Site, connection: oracledb.Connection) -> list[str]:
    """Say where a write would pass, or may have passed since the fence was raised."""
    flag = made.rows(connection, FLAG, migration=site.migration)
    is_raised = bool(flag and flag[0]["raised"])
    problems = [] if is_raised else [f"the fence of migration {site.migration} is not raised"]
    problems += _of_triggers(site, connection, is_raised=is_raised)
    problems += (
        f"{one}, which the migration's user does not see" for one in hidden(site, connection)
    )
    return problems + (swaps.behind_fence(site, connection, flag[0]["attempt"]) if flag else [])


def _of_triggers(site: Site, connection: oracledb.Connection, *, is_raised: bool) -> Iterator[str]:
    found = {here.quoted: here for here in standing(connection)}
    altered = {
        (row["object_type"], row["owner"], row["object_name"])
        for row in made.rows(connection, ALTERED, migration=site.migration)
    }
    for one in wanted_triggers(site, connection):
        here = found.get(one.quoted)
        places = {("TABLE", one.table.owner, one.table.name), ("TRIGGER", one.owner, one.name)}
        if here is None or not here.fits(one):
            yield f"{one.table.table.name} has no fence trigger"
        elif not here.enabled:
            yield f"{one.table.table.name} has its fence trigger disabled"
        elif is_raised and places & altered:
            yield f"{one.table.table.name}, which DDL has altered behind the fence"
