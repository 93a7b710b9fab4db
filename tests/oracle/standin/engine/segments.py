"""Where a table's rows are: TRUNCATE, along foreign keys too, and EXCHANGE PARTITION.

Partitions are not modelled: every table takes EXCHANGE PARTITION, and has one, of any name, which is all of it. What
Oracle does to the dictionary is: each OBJECT_ID stays where it is, and the DATA_OBJECT_IDs are swapped, with the rows.
No row of redo is written; the row of DDL names the table behind ALTER TABLE, or TRUNCATE TABLE, alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from oracle.standin.backend import OraError
from oracle.standin.engine.catalog import Catalog
from oracle.standin.engine.storage import Table


def truncated(catalog: Catalog, table: Table, *, cascade: bool) -> list[Table]:
    """The tables that TRUNCATE empties, this one first. ORA-02266, or ORA-14705 with CASCADE, where it may not."""
    found = [table]
    for one in found:
        found += [child for child in _children(catalog, one, cascade=cascade) if child not in found]
    return found


def _children(catalog: Catalog, table: Table, *, cascade: bool) -> Iterator[Table]:
    for key in table.constraints.values():
        for child, reference in catalog.children(key):
            if not reference.enabled:
                continue
            if not cascade:
                raise OraError(
                    2266, "unique/primary keys in table referenced by enabled foreign keys"
                )
            if reference.delete_rule != "CASCADE":
                raise OraError(14705, "unique or primary keys referenced by enabled foreign keys")
            yield child


def empty(tables: list[Table], next_object: Callable[[], int], scn: int) -> None:
    """Give each a new segment, which is empty. Flashback begins anew at that SCN."""
    for table in tables:
        table.empty(next_object())
        table.defined_scn = scn


def exchange(one: Table, other: Table, scn: int) -> None:
    """Swap the rows of two tables of one form. Flashback of both begins anew at that SCN."""
    if [(c.name, c.type) for c in one.columns] != [(c.name, c.type) for c in other.columns]:
        raise OraError(14097, "column type or size mismatch in ALTER TABLE EXCHANGE PARTITION")
    one.trade_segments(other)
    for table in (one, other):
        table.defined_scn = scn
