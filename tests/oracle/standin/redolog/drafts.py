"""From a change to its redo records, with all that is drawn for them: once, so that every reader meets the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from oracle.standin.events import TableShape, Written, Xid
from oracle.standin.redolog.adversities import Adversities
from oracle.standin.redolog.files import Origin, Record
from oracle.standin.redolog.lines import (
    PLACEHOLDER,
    Line,
    LobLimits,
    Op,
    lines_of,
    opaque_line,
    undo_line,
)
from oracle.standin.redolog.literals import Style, survives
from oracle.standin.redolog.transactions import Transaction

PARTIAL = 0xFFFFFFFF  #: the XIDSQN of a partial XID
NO_XID = Xid(0, 0, 0)


class Drafts:
    """Makes lines and records; knows nothing of files."""

    def __init__(self, adversities: Adversities, lobs: LobLimits) -> None:
        self._adversities = adversities
        self._lobs = lobs
        #: As (owner, name): see RedoLog.
        self.unsupported: set[tuple[str, str]] = set()
        self.temporary: set[tuple[str, str]] = set()
        self._slots: set[tuple[int, int]] = set()
        self._last_change: tuple[Xid, int] | None = None

    def lines(self, change: Written) -> list[Line]:
        """Tell the lines of a change; each is a record of its own, but for rows of one statement."""
        opaque = self._opaque(change, undo=False)
        if opaque is not None:
            return [opaque]
        lines = lines_of(change, self._lobs)
        for line in lines:
            if line.op in (Op.LOB_WRITE, Op.LOB_TRIM):
                self._adversities.happened(line.op.name.lower())
        if len(lines) > 1 and lines[-1].op is Op.UPDATE:
            self._adversities.fired["null_lob"] += any(v is None for _, v in lines[-1].cells)
        return lines

    def undo(self, done: Written) -> Line:
        """Tell the line that takes a change back."""
        opaque = self._opaque(done, undo=True)
        if opaque is not None:
            return opaque
        named = all(line.rowid != PLACEHOLDER for line in lines_of(done, self._lobs))
        self._adversities.happened("undo_by_rowid" if named else "undo_of_placeholder")
        return undo_line(done, self._lobs)

    def _opaque(self, change: Written, *, undo: bool) -> Line | None:
        names = (change.table.owner, change.table.name)
        if names in self.temporary:
            return opaque_line(change, temporary=True, undo=undo)
        if names in self.unsupported:
            self._adversities.happened("unsupported")
            return opaque_line(change, temporary=False, undo=undo)
        return None

    def record(
        self, origin: Origin, xid: Xid, scn: int, at: datetime, lines: Sequence[Line]
    ) -> Record:
        """Make a record, with what is drawn for its text."""
        return Record(
            origin=origin,
            xid=xid,
            scn=scn,
            at=at,
            lines=list(lines),
            lossy=self._lossy(lines),
            joined=self._joined(lines),
            split=self._adversities.wants("quote_split"),
        )

    def started(self, xid: Xid) -> Xid:
        """Tell the XID that a START row shows."""
        slot = (xid.usn, xid.slot)
        if slot in self._slots:
            self._adversities.happened("xid_reuse")
        self._slots.add(slot)
        return NO_XID if self._adversities.strikes("zero_xid") else xid

    def disguise_undo(self, record: Record) -> None:
        """Take the sequence from an undo row's XID, perhaps."""
        if self._adversities.strikes("partial_xid"):
            record.xid = record.xid._replace(sequence=PARTIAL)

    def disguise_rollback(self, record: Record) -> None:
        """Take the sequence from a ROLLBACK row's XID, or its address, perhaps."""
        self.disguise_undo(record)
        if record.xid.sequence != PARTIAL:
            record.hidden_address = self._adversities.strikes("zero_rs_id")

    def shared_scn(self, now: Transaction, change: Written) -> int:
        """Give a change the SCN of another transaction's last one: never less than its own transaction's before."""
        last, self._last_change = self._last_change, (now.origin.xid, change.scn)
        if last is None or last[0] == now.origin.xid or not now.last_scn <= last[1] < change.scn:
            return change.scn
        if not self._adversities.strikes("equal_scns"):
            return change.scn
        self._last_change = (now.origin.xid, last[1])
        return last[1]

    def noise(self, beside: Record) -> Record | None:
        """Make a record of the kind that every log is full of, perhaps: a block's cleanout, without a transaction."""
        if not self._adversities.strikes("noise"):
            return None
        origin = Origin(NO_XID, beside.origin.container, beside.scn)
        lines = [Line(op=Op.INTERNAL)]
        return Record(origin=origin, xid=NO_XID, scn=beside.scn, at=beside.at, lines=lines)

    def _lossy(self, lines: Sequence[Line]) -> bool:
        if not self._adversities.wants("lossy_binary"):
            return False
        if any(
            line.table and not survives(value, line.table.columns[place].kind, Style())
            for line in lines
            for place, value in line.cells
        ):
            self._adversities.happened("lossy_binary")
        return True

    def _joined(self, lines: Sequence[Line]) -> bool:
        national = any(
            line.table and line.table.columns[place].national and isinstance(value, str)
            for line in lines
            for place, value in line.cells
        )
        return national and self._adversities.strikes("joined_text")


def groupable(lines: Sequence[Line]) -> bool:
    """Tell whether further rows of the same statement may lie in the same record."""
    return (
        len(lines) == 1 and lines[0].op in (Op.INSERT, Op.DELETE) and lines[0].rowid != PLACEHOLDER
    )


def control(op: Op, text: str) -> Line:
    """Make a line that begins or ends a transaction."""
    return Line(op=op, text=text)


def ddl_line(sql: str, table: TableShape | None) -> Line:
    """Make the line of a DDL statement (53)."""
    return Line(op=Op.DDL, table=table, text=sql, info="USER DDL (PlSql=0 RecDep=0)")
