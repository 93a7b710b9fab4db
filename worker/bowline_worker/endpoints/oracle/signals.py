"""Bowline's own rows in the redo of an Oracle origin: signals, and heartbeats with their numbers. No I/O."""

from __future__ import annotations

from bowline_worker.endpoints.oracle import redo
from bowline_worker.endpoints.oracle.changes import At, unreadable
from bowline_worker.endpoints.oracle.logrow import Code
from bowline_worker.endpoints.oracle.rowchange import RowChange
from bowline_worker.model import Signal, SignalKind

SIGNAL, HEARTBEAT = "BOWLINE_SIGNAL", "BOWLINE_HEARTBEAT"


def signal_of(change: RowChange, table: str, migration: str) -> Signal | None:
    """Read a row of Bowline's own; None: it is another migration's, or tells nothing."""
    if change.is_truncate or change.is_touch or change.code == Code.DELETE:
        return None
    found = redo.parse(change.sql)
    row = {**found.where, **found.set}
    number_of = "BEAT" if table == HEARTBEAT else "ATTEMPT"
    where = At(table, change)
    if "MIGRATION" not in row:
        unreadable(where, "it does not say of which migration: supplemental logging is off")
    if row["MIGRATION"] != migration:
        return None
    if change.code == Code.UPDATE and (table != HEARTBEAT or number_of not in found.set):
        return None
    kind = SignalKind.HEARTBEAT.value if table == HEARTBEAT else row.get("KIND")
    number = row.get(number_of)
    try:
        return Signal(SignalKind(str(kind)), int(str(number)), migration)
    except ValueError:
        unreadable(where, "its kind or its number is not known")
