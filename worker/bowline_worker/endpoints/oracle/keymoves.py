"""Keys that one statement passes on from row to row.

Oracle looks at keys when a statement ends: `update t set id = id + 1` is legal, and so is a swap. Its redo then has two
rows with one key for a moment, and what follows of that key may mean either. A change that was taken for the other
row's would give it that row's values, or lose a row. So a transaction that does it is not given out.

ROW_ID tells the rows apart. Where it tells nothing (statements with LOBs, index-organised tables), a key that was given
to a row by an update, and is given up again, is taken for passed on: to change a row's key twice in one transaction is
rare, and to mix up two rows is never seen by anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.changes import Relation
from bowline_worker.endpoints.oracle.logrow import Code
from bowline_worker.endpoints.oracle.rowchange import RowChange
from bowline_worker.model import Row, TableName


def check_keys(changes: Iterable[RowChange], relations: Mapping[TableName, Relation]) -> None:
    """Unsafe where a row gets a key that another one still has. `changes` are one transaction's; walked twice."""
    moving = {change.table for change in changes if _may_move(change, relations)}
    if not moving:
        return
    arrived: dict[tuple[TableName, Row], RowChange] = {}
    for change in changes:
        if change.table not in moving or change.is_touch:
            continue
        if change.is_truncate:
            arrived = {place: each for place, each in arrived.items() if place[0] != change.table}
            continue
        relation = relations[change.table]
        old, new = relation.keys(change)
        if old == new:
            continue
        if old is not None:
            last = arrived.pop((change.table, old), None)
            if last is not None and not _is_one_row(last, change):
                raise _passed_on(relation, change)
        if new is not None:
            arrived[change.table, new] = change


def _may_move(change: RowChange, relations: Mapping[TableName, Relation]) -> bool:
    """Tell whether an UPDATE may set a column of its key, without reading it: WHERE has each of them once."""
    relation = relations.get(change.table)
    return (
        relation is not None
        and change.code == Code.UPDATE
        and not change.is_touch
        and any(change.sql.count(name) > 1 for name in relation.key_texts)
    )


def _is_one_row(arrived: RowChange, left: RowChange) -> bool:
    if arrived.has_placeholder or left.has_placeholder:
        return arrived.code == Code.INSERT
    return arrived.row_id == left.row_id


def _passed_on(relation: Relation, change: RowChange) -> Unsafe:
    return Unsafe(
        f"a statement gave rows of {relation} keys that others of them still had (SCN {change.scn}, RS_ID"
        f" {change.address.rs_id}): which row each change of them is of can't be told",
        reason="KeysPassedOn",
        hint="ask for Complete and migrate anew; meanwhile change keys by way of free ones, one statement for each"
        " of the two ways",
    )
