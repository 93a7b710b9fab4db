"""Tables that the spec names and that the migration's user can't see: ALL_TABLES shows what one may read, no more."""

from __future__ import annotations

from typing import Final

import oracledb

from bowline_worker.endpoints.oracle import made, naming
from bowline_worker.endpoints.oracle.catalog import selected
from bowline_worker.endpoints.oracle.connection import code_of
from bowline_worker.endpoints.oracle.dictionary import records
from bowline_worker.endpoints.oracle.triggers import own_user
from bowline_worker.endpoints.site import Site

SEES_ALL: Final = "select 1 from session_privs p where p.privilege = 'SELECT ANY TABLE'"
HIDDEN: Final = """
select t.owner, t.table_name from dba_tables t
where t.temporary = 'N' and t.nested = 'NO' and t.secondary = 'N' and t.dropped = 'NO'
  and (t.iot_type is null or t.iot_type = 'IOT')
  and t.owner in (select u.username from all_users u where u.oracle_maintained = 'N')
  and not exists (select 1 from dba_external_tables e where e.owner = t.owner and e.table_name = t.table_name)
  and not exists (select 1 from dba_mviews m where m.owner = t.owner and m.container_name = t.table_name)
  and not exists (select 1 from all_tables a where a.owner = t.owner and a.table_name = t.table_name)
order by t.owner, t.table_name"""


def hidden(site: Site, connection: oracledb.Connection) -> list[str]:
    """Their names; [] where the user may not read DBA_TABLES, which Assess asks for."""
    if records(connection, SEES_ALL):
        return []
    try:
        found = records(connection, HIDDEN)
    except oracledb.DatabaseError as error:
        if code_of(error) != made.NO_TABLE:
            raise
        return []
    user = own_user(connection)
    places = [(row["OWNER"], row["TABLE_NAME"]) for row in found]
    return [
        str(naming.neutral_table(*place))
        for place in selected(places, site.config.include, site.config.exclude)
        if not naming.is_oracles_own(place[1]) and not naming.is_bowlines_own(*place, user=user)
    ]
