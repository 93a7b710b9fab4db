"""Which rows of the redo are of captured tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bowline_worker.endpoints.oracle.logrow import LogRow
from bowline_worker.model import TableName


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

    def of(self, row: LogRow) -> TableName | None:
        """Tell the captured table of a row, if it is of one."""
        table = self.objects.get(row.object_id or 0)
        return table or self.tables.get((row.owner or "", row.table or ""))

    def named(self, row: LogRow) -> TableName | None:
        """Tell the captured table that a DDL statement names."""
        return self.tables.get((row.owner or "", row.table or ""))

    def may_be_ours(self, row: LogRow) -> bool:
        """Tell whether the dictionary has no name for the row's segment, so that it could be a captured table's."""
        return self.stop_at_nameless and (not row.table or row.table.startswith("OBJ# "))
