"""The online catalogue, as LogMiner asks it: what an object is called now, and which columns it has now (1.7)."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

from oracle.standin.backend import Kind
from oracle.standin.events import ColumnShape, TableShape
from oracle.standin.redolog.lines import Line, Op

_DROP = re.compile(
    r'\s*drop\s+table\s+(?:(?:"[^"]+"|[\w$#]+)\s*\.\s*)?("[^"]+"|[\w$#]+)(.*)',
    re.IGNORECASE | re.DOTALL,
)


class Defined(NamedTuple):
    """What a DDL statement came to."""

    table: TableShape | None
    recycled: bool


@dataclass(slots=True)
class Catalogue:
    """Tables by object id; a dropped one stays as None."""

    tables: dict[int, TableShape | None] = field(default_factory=dict)
    stamp: int = 0  #: counts the changes of what is known

    def learn(self, table: TableShape) -> None:
        """Take a table from a change of its rows, if it was not known in that version."""
        known = self.tables.get(table.object_id)
        if table.object_id not in self.tables or (known and known.version < table.version):
            self._set(table.object_id, table)

    def define(self, sql: str, table: TableShape | None, owner: str, *, recycled: bool) -> Defined:
        """Apply a DDL statement; a drop without PURGE may leave the table under another name."""
        dropped = _DROP.match(sql)
        if dropped is None:
            if table is not None:
                self._set(table.object_id, table)
            return Defined(table, False)
        name, rest = dropped.groups()
        old = self._find(owner, name.strip('"') if name.startswith('"') else name.upper())
        if old is None:
            return Defined(table, False)
        recycled = recycled and not re.search(r"\bpurge\b", rest, re.IGNORECASE)
        bin_name = f"BIN${b64encode(old.object_id.to_bytes(16, 'big')).decode()}$0"
        self._set(old.object_id, replace(old, name=bin_name) if recycled else None)
        return Defined(old, recycled)

    def container_of(self, owner: str, table: TableShape | None) -> str:
        """Tell in which container an owner's tables are."""
        if table is not None:
            return table.container
        for known in self.tables.values():
            if known and known.owner == owner:
                return known.container
        return "CDB$ROOT"

    def _find(self, owner: str, name: str) -> TableShape | None:
        for table in self.tables.values():
            if table and (table.owner, table.name) == (owner, name):
                return table
        return None

    def _set(self, object_id: int, table: TableShape | None) -> None:
        self.tables[object_id] = table
        self.stamp += 1


#: One of the dictionary's own tables, which every DDL statement writes.
OBJ = TableShape(
    owner="SYS",
    name="OBJ$",
    object_id=18,
    columns=(
        ColumnShape("OBJ#", Kind.NUMBER),
        ColumnShape("NAME", Kind.VARCHAR2, 128),
        ColumnShape("STATUS", Kind.NUMBER),
    ),
)


def recursive_lines(table: TableShape | None) -> Iterator[Line]:
    """Tell what a DDL statement does to the dictionary: rows of another owner in its transaction."""
    if table is None:
        return
    key = ((0, Decimal(table.object_id)), (1, table.name))
    yield Line(op=Op.INTERNAL)
    yield Line(
        op=Op.UPDATE,
        table=OBJ,
        rowid="AAAAASAABAAAAAAAAA",
        cells=((2, Decimal(1)),),
        where=(*key, (2, Decimal(1))),
    )
