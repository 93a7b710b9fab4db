"""What one capture reads: the selected tables and Bowline's own, by name and by object, as they are at its start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import oracledb

from bowline_worker.contract import Unsupported
from bowline_worker.endpoints.oracle import catalog, redo
from bowline_worker.endpoints.oracle.below import Below
from bowline_worker.endpoints.oracle.changes import Relation, relations
from bowline_worker.endpoints.oracle.dictionary import Place, reading
from bowline_worker.endpoints.oracle.naming import neutral_table
from bowline_worker.endpoints.oracle.rowchange import Parsed
from bowline_worker.endpoints.oracle.selection import Selection
from bowline_worker.endpoints.oracle.signals import HEARTBEAT, SIGNAL
from bowline_worker.endpoints.oracle.types import Terms
from bowline_worker.endpoints.site import Site
from bowline_worker.model import TableName

_OWN: Final = """
select user, o.object_name, o.object_id from all_objects o
where o.owner = user and o.object_type = 'TABLE' and o.object_name in ('BOWLINE_SIGNAL', 'BOWLINE_HEARTBEAT')"""
_CHARSET: Final = """
select n.value from nls_database_parameters n where n.parameter = 'NLS_CHARACTERSET'"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What is captured, as the dictionary has it at the start: DDL that changes it ends the stream."""

    relations: Mapping[TableName, Relation]
    own: Mapping[TableName, str]  #: Bowline's own tables whose rows travel
    places: Mapping[Place, TableName]  #: the selected tables, by Oracle's owner and name
    owners: tuple[str, ...]
    selection: Selection

    @classmethod
    def read(cls, site: Site) -> Tables:
        """Unsupported where a selected table's changes can't be carried, or can't be told from others."""
        with reading(site) as connection:
            charset = one(connection, _CHARSET)
            terms = Terms(charset=str(charset)) if charset else Terms()
            found = catalog.read_tables(
                connection, site.config.include, site.config.exclude, terms=terms
            )
            with connection.cursor() as cursor:
                own = list(cursor.execute(_OWN) or ())
        if {name for _, name, _ in own} != {SIGNAL, HEARTBEAT}:
            raise Unsupported(
                f"{site.side}: the bookkeeping tables are not there", reason="BookkeepingMissing"
            )
        names = {neutral_table(user, name): name for user, name, _ in own}
        selected = catalog.selection(found)
        places = {(one.owner, one.name): one.table.name for one in found}
        return cls(
            relations=relations(found),
            own=names,
            places=places,
            owners=tuple(sorted({one.owner for one in found} | {user for user, _, _ in own})),
            selection=replace(
                selected,
                tables={**selected.tables, **{(u, n): neutral_table(u, n) for u, n, _ in own}},
                objects={**selected.objects, **{int(i): neutral_table(u, n) for u, n, i in own}},
                below=Below(site, places),
                # All segments are known here, and a TRUNCATE keeps their ids; but new partitions come by themselves,
                # and one that is gone again had a name nobody heard.
                stop_at_nameless=any(
                    "PARTITION" in segment.kind for one in found for segment in one.segments
                ),
            ),
        )

    @property
    def parse(self) -> Callable[[str], Parsed]:
        """Read any captured table's statement."""
        is_relaxed = any(isinstance(each.parse, partial) for each in self.relations.values())
        return partial(redo.parse, relaxed_quotes=is_relaxed)


def one(connection: oracledb.Connection, query: str, **binds: object) -> Any:
    """The only value of a query's first row; None without one."""
    with connection.cursor() as cursor:
        cursor.execute(query, binds)
        row = cursor.fetchone()
        return row[0] if row else None
