"""Which rows of the redo are of captured tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from bowline_worker.endpoints.oracle.ddl import reach_of
from bowline_worker.endpoints.oracle.logrow import LogRow
from bowline_worker.model import TableName

#: The captured tables that refer to a table (owner, name) by foreign keys, on their own or through others.
Below: TypeAlias = Callable[[str, str], frozenset[TableName]]


def _nothing_below(owner: str, name: str) -> frozenset[TableName]:
    return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The captured tables, by name and by object.

    A row carries the id of the segment that was written: a partition's, or that of the index that an index-organised
    table lives in. Segments that were dropped since have no name any more, so ids come first.
    """

    tables: Mapping[tuple[str, str], TableName]  #: by owner and name
    objects: Mapping[int, TableName] = field(default_factory=dict)  #: by DATA_OBJ#
    #: A row of a segment that is in neither, and that the dictionary has no name for (any more), stops the stream.
    #: False is safe only where each table that is dropped, and each partition that is added, is known by other means.
    stop_at_nameless: bool = True
    below: Below = _nothing_below

    def of(self, row: LogRow) -> TableName | None:
        """Tell the captured table of a row, if it is of one."""
        table = self.objects.get(row.object_id or 0)
        return table or self.tables.get((row.owner or "", row.table or ""))

    def named(self, row: LogRow) -> TableName | None:
        """Tell the captured table that a DDL statement names."""
        return self.tables.get((row.owner or "", row.table or ""))

    def changed_beside(self, row: LogRow) -> frozenset[TableName]:
        """Tell the captured tables whose rows a DDL statement changes though its row does not name them.

        A name without a schema is looked for in that of the named table and in that of the user: which one the session
        had made its current schema, the redo does not tell.
        """
        reach = reach_of(row.sql)
        places = [(row.owner or "", row.table or "")]
        found: set[TableName] = set()
        if reach.partner is not None:
            schema, name = reach.partner
            schemas = {row.owner or "", row.user} if schema is None else {schema}
            partners = [(each, name) for each in sorted(schemas)]
            found.update(self.tables[each] for each in partners if each in self.tables)
            places += partners
        if reach.cascades:
            for owner, table in places:
                found |= self.below(owner, table)
        return frozenset(found)

    def may_be_ours(self, row: LogRow) -> bool:
        """Tell whether the dictionary has no name for the row's segment, so that it could be a captured table's."""
        return self.stop_at_nameless and (not row.table or row.table.startswith("OBJ# "))
