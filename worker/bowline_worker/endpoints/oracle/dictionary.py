"""The dictionary's views as they are asked: for all tables of some owners at once. Reads only.

A session sees in the ALL_ views what it may read: with SELECT ANY TABLE all tables, with SELECT ANY SEQUENCE all
sequences.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final, TypeAlias

import oracledb

from bowline_worker.endpoints.oracle.connection import connect, translated
from bowline_worker.endpoints.site import Site

Records: TypeAlias = list[dict[str, Any]]
Place: TypeAlias = tuple[str, str]  #: owner and name, as Oracle has them

#: An IN list may hold a thousand (ORA-01795).
OWNERS_AT_ONCE: Final = 500
ROWS_AT_ONCE: Final = 1000

#: ALL_TABLES.EXTERNAL came with 12.2, the view of external tables is older. ORACLE_MAINTAINED is of 12.1.
TABLES: Final = """
select t.owner, t.table_name, t.iot_type, t.iot_name, t.temporary, t.nested, t.secondary, t.dropped,
       t.num_rows, t.blocks, user as session_user
from all_tables t
where t.owner in (select u.username from all_users u where u.oracle_maintained = 'N')
  and not exists (select 1 from all_external_tables e where e.owner = t.owner and e.table_name = t.table_name)
  and not exists (select 1 from all_mviews m where m.owner = t.owner and m.container_name = t.table_name)"""

#: COLUMN_ID is none for invisible columns, and changes when one is shown; INTERNAL_COLUMN_ID only when one is dropped.
COLUMNS: Final = """
select c.owner, c.table_name, c.column_name, c.data_type, c.data_type_owner, c.data_type_mod, c.data_length,
       c.data_precision, c.data_scale, c.char_length, c.char_used, c.nullable, c.virtual_column, c.hidden_column,
       c.user_generated, c.data_default
from all_tab_cols c where c.owner in ({owners})
order by c.owner, c.table_name, c.internal_column_id"""

IDENTITIES: Final = """
select i.owner, i.table_name, i.column_name, i.generation_type
from all_tab_identity_cols i where i.owner in ({owners})"""

CONSTRAINTS: Final = """
select c.owner, c.table_name, c.constraint_name, c.constraint_type, c.deferrable, c.validated, c.index_owner,
       c.index_name, k.column_name
from all_constraints c
join all_cons_columns k on k.owner = c.owner and k.constraint_name = c.constraint_name
where c.constraint_type in ('P', 'U') and c.status = 'ENABLED' and c.owner in ({owners})
order by c.owner, c.constraint_name, k.position"""

#: Each LOB has an index that is called unique, and keeps no rows apart.
INDEXES: Final = """
select i.table_owner as owner, i.table_name, i.owner as index_owner, i.index_name, i.index_type, i.status,
       k.column_name
from all_indexes i
join all_ind_columns k on k.index_owner = i.owner and k.index_name = i.index_name
where i.uniqueness = 'UNIQUE' and i.index_type <> 'LOB' and i.table_owner in ({owners})
order by i.owner, i.index_name, k.column_position"""

OBJECTS: Final = """
select o.owner, o.object_name as table_name, o.object_name, o.subobject_name, o.object_type, o.object_id,
       o.data_object_id
from all_objects o
where o.object_type in ('TABLE', 'TABLE PARTITION', 'TABLE SUBPARTITION') and o.owner in ({owners})
order by o.object_id"""

#: The rows of an index-organised table are in its index.
TOPS: Final = """
select i.table_owner as owner, i.table_name, o.object_name, o.subobject_name, o.object_type, o.object_id,
       o.data_object_id
from all_indexes i
join all_objects o on o.owner = i.owner and o.object_name = i.index_name
where i.index_type = 'IOT - TOP' and o.object_type like 'INDEX%' and i.table_owner in ({owners})
order by o.object_id"""

LOGGED: Final = """
select g.owner, g.table_name from all_log_groups g
where g.log_group_type = 'ALL COLUMN LOGGING' and g.owner in ({owners})"""
ALL_LOGGED: Final = "select d.supplemental_log_data_all from v$database d"


@contextmanager
def reading(site: Site) -> Iterator[oracledb.Connection]:
    """Open a session in which all queries see one dictionary; closing it ends it. V$DATABASE is that of now."""
    with (
        translated(site, "could not read the dictionary"),
        closing(connect(site)) as connection,
    ):
        with connection.cursor() as cursor:
            cursor.execute("set transaction read only")
        yield connection


def by_table(rows: Iterable[dict[str, Any]]) -> defaultdict[Place, Records]:
    found: defaultdict[Place, Records] = defaultdict(list)
    for row in rows:
        found[row["OWNER"], row["TABLE_NAME"]].append(row)
    return found


def of_owners(connection: oracledb.Connection, query: str, owners: Sequence[str]) -> Records:
    """Read the rows of these owners, with one statement for all of them unless they are very many."""
    found: Records = []
    for start in range(0, len(owners), OWNERS_AT_ONCE):
        binds = {f"o{at}": owner for at, owner in enumerate(owners[start:][:OWNERS_AT_ONCE])}
        listed = ", ".join(f":{name}" for name in binds)
        found += records(connection, query.format(owners=listed), binds)
    return found


def records(
    connection: oracledb.Connection, query: str, binds: Mapping[str, str] | None = None
) -> Records:
    """Read rows as dictionaries, by the columns' names in upper case."""
    with connection.cursor() as cursor:
        cursor.outputtypehandler = _integers
        cursor.arraysize = cursor.prefetchrows = ROWS_AT_ONCE
        cursor.execute(query, dict(binds or {}))
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def _integers(cursor: oracledb.Cursor, metadata: oracledb.FetchInfo) -> oracledb.Var | None:
    """Fetch NUMBERs as int: all that are asked for here are whole."""
    if metadata.type_code is oracledb.DB_TYPE_NUMBER:
        return cursor.var(int, arraysize=cursor.arraysize)
    return None
