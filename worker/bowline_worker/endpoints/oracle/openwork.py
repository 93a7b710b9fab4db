"""Transactions that are open: their captured changes, from the first one to the end.

Large ones are put aside in a file when all of them together take too much memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.logrow import Address, Code, LogRow, Xid
from bowline_worker.endpoints.oracle.position import Resume
from bowline_worker.endpoints.oracle.rowchange import Parse, RowChange
from bowline_worker.endpoints.oracle.spill import SpillFile
from bowline_worker.endpoints.oracle.touches import first_touch_of
from bowline_worker.endpoints.oracle.undoing import (
    is_emptied_before,
    undone_by,
    undone_touches,
    with_touches,
)
from bowline_worker.model import TableName

#: Read back at once, when a transaction is given out or a part of it is taken back.
BATCH_CHANGES: Final = 1000


@dataclass(slots=True)
class OpenTransaction:
    """One open transaction. Made at its first captured row, and not at its START, which need not be seen."""

    xid: Xid
    thread: int
    since: int  #: the lowest SCN of its captured rows
    container: str
    user: str
    client: str
    changes: list[RowChange] = field(default_factory=list)  #: the newest ones, in redo order
    size: int = 0  #: of `changes`
    spilled: SpillFile | None = None  #: the older ones
    flaw: Unsafe | None = None  #: why it can't be given out
    touched: set[TableName] = field(default_factory=set)  #: tables with a row that a touch names
    emptied: set[TableName] = field(default_factory=set)  #: tables with a TRUNCATE in it
    first: dict[int, Resume] = field(
        default_factory=dict
    )  #: its captured row of the lowest address, by thread
    reach: dict[int, Address] = field(default_factory=dict)  #: that of the highest

    def __len__(self) -> int:
        return len(self.changes) + (len(self.spilled) if self.spilled else 0)

    def __iter__(self) -> Iterator[RowChange]:
        if self.spilled is not None:
            yield from self.spilled
        yield from self.changes

    def see(self, row: LogRow, address: Address) -> None:
        """Note that a row belongs to it: a restart must not begin behind any. They need not come by address."""
        thread, reach = row.thread, self.reach.get(row.thread)
        self.since = min(self.since, row.scn)
        if reach is None or address < self.first[thread].address:
            self.first[thread] = Resume(address, row.scn)
        if reach is None or address > reach:
            self.reach[thread] = address

    def spoil(self, flaw: Unsafe) -> None:
        """Keep the first reason why it can't be given out, and none of its changes."""
        self.flaw = self.flaw or flaw
        self.changes.clear()
        self.size = 0
        self.close()

    def add(self, change: RowChange, parse: Parse) -> None:
        """Add a change behind the others; a row whose large values came before it goes before them."""
        at = len(self.changes)
        if change.is_touch:
            # A large value is written in many pieces: its row is to be read once.
            if at and _is_same_touch(self.changes[-1], change):
                return
        elif change.code == Code.INSERT:
            at = self._place_of(change, parse)
        self.changes.insert(at, change)
        self.size += change.size

    def undo(self, row: LogRow, table: TableName, parse: Parse) -> bool:
        """Take back what an undo row means. False where there is none."""
        if row.code == Code.UPDATE and self._undo_touches(row, table, parse):
            return True
        while (undone := undone_by(self.changes, row.code, table, row.row_id)) is None:
            if not self._bring_back():
                return False
        kept: list[RowChange] = []
        if self.changes[undone.start].code == Code.INSERT:
            undone = with_touches(self.changes, undone, parse)
            kept = _older_touches(self.changes[undone])
        self.size -= sum(each.size for each in self.changes[undone])
        self.changes[undone] = kept
        self.size += sum(each.size for each in kept)
        return True

    def _undo_touches(self, row: LogRow, table: TableName, parse: Parse) -> bool:
        # The newest changes may be in the file; and what came before the last touches tells what they are of.
        while self._first_of_last_touches() == 0 and self._bring_back():
            pass
        if not self.changes or not self.changes[-1].is_touch:
            return False
        columns = parse(row.sql).set.keys()
        undone = undone_touches(self.changes, table, columns)
        if undone is None:
            return False
        for index in undone:
            self.changes[index] = replace(self.changes[index], is_undone=True)
        before = undone.start - 1
        if before >= 0 and is_emptied_before(
            self.changes[before], self.changes[undone.start], columns, parse
        ):
            self.size -= self.changes.pop(before).size
        return True

    def _bring_back(self) -> bool:
        """Read the newest changes again that were put aside. False where there are none."""
        older = self.spilled.pop() if self.spilled is not None else []
        self.changes[:0] = older
        self.size += sum(each.size for each in older)
        return bool(older)

    def put_aside(self, directory: Path) -> None:
        """Move the changes to a file, but touches at the end, whose row may be still to come."""
        end = max(self._first_of_last_touches(), len(self.changes) - BATCH_CHANGES)
        if end == 0:
            return
        if self.spilled is None:
            self.spilled = SpillFile(directory)
        for at in range(0, end, BATCH_CHANGES):
            self.spilled.push(self.changes[at : min(at + BATCH_CHANGES, end)])
        del self.changes[:end]
        self.size = sum(each.size for each in self.changes)

    def close(self) -> None:
        if self.spilled is not None:
            self.spilled.close()
            self.spilled = None

    def _first_of_last_touches(self) -> int:
        at = len(self.changes)
        while at and self.changes[at - 1].is_touch:
            at -= 1
        return at

    def _place_of(self, insert: RowChange, parse: Parse) -> int:
        start = self._first_of_last_touches()
        touches = self.changes[start:]
        if not any(each.table == insert.table for each in touches):
            return len(self.changes)
        return start + first_touch_of(insert, touches, parse)


def _older_touches(undone: Sequence[RowChange]) -> list[RowChange]:
    """Those that came before their insert: they may be of a row that has the key already, why the insert failed.

    To read that row again is right in any case; where none is there at the commit, they say nothing.
    """
    insert = undone[0]
    return [
        replace(each, is_undone=True)
        for each in undone
        if each.is_touch and each.address < insert.address
    ]


def _is_same_touch(one: RowChange, other: RowChange) -> bool:
    return one.is_touch and not one.is_undone and (one.table, one.sql) == (other.table, other.sql)


class OpenWork:
    """All open transactions, by container and XID."""

    def __init__(self, directory: Path, budget: int, parse: Parse) -> None:
        self._directory, self._budget, self._parse = directory, budget, parse
        self._open: dict[Xid, OpenTransaction] = {}
        self._slots: dict[tuple[int, int, int], list[Xid]] = {}
        self._size = 0  # of what is in memory

    def __iter__(self) -> Iterator[OpenTransaction]:
        return iter(self._open.values())

    def __len__(self) -> int:
        return len(self._open)

    def get(self, xid: Xid) -> OpenTransaction | None:
        return self._open.get(xid)

    def resolve(self, xid: Xid, scn: int) -> Xid | None:
        """Complete a partial XID: the open transaction that had its slot at that SCN. None where there is none.

        Strands that are flushed together may show the next one's rows before the last one's end.
        """
        if not xid.is_partial:
            return xid
        for each in reversed(self._slots.get(xid[:3], ())):
            if self._open[each].since <= scn:
                return each
        return None

    def enter(self, xid: Xid, row: LogRow, address: Address) -> OpenTransaction:
        """Give the transaction of a captured row, made at its first one."""
        entry = self._open.get(xid)
        if entry is None:
            entry = OpenTransaction(xid, row.thread, row.scn, row.container, row.user, row.client)
            self._open[xid] = entry
            self._slots.setdefault(xid[:3], []).append(xid)
        entry.see(row, address)
        return entry

    def add(self, entry: OpenTransaction, change: RowChange) -> None:
        """Add a change; puts the largest transactions aside where all together are too large."""
        if entry.flaw is not None:
            return
        before = entry.size
        try:
            entry.add(change, self._parse)
        except Unsafe as unreadable:
            entry.spoil(unreadable)
        self._size += entry.size - before
        if self._size > self._budget:
            self._put_aside()

    def undo(self, entry: OpenTransaction, row: LogRow, table: TableName) -> bool:
        """Take back what an undo row means; False where that was not seen."""
        before = entry.size
        try:
            is_found = entry.undo(row, table, self._parse)
        except Unsafe as unreadable:
            entry.spoil(unreadable)
            is_found = True
        # What came back from the file stays until the next change: more of it is likely to be taken back.
        self._size += entry.size - before
        return is_found

    def spoil(self, entry: OpenTransaction, flaw: Unsafe) -> None:
        """Keep why a transaction can't be given out; it is told when it commits."""
        before = entry.size
        entry.spoil(flaw)
        self._size += entry.size - before

    def end(self, xid: Xid) -> OpenTransaction | None:
        """Take a transaction out, to be given out or closed; None: nothing of it was captured."""
        entry = self._open.pop(xid, None)
        if entry is not None:
            self._size -= entry.size
            slot = self._slots[xid[:3]]
            slot.remove(xid)
            if not slot:
                del self._slots[xid[:3]]
        return entry

    def close(self) -> None:
        for entry in self._open.values():
            entry.close()

    def _put_aside(self) -> None:
        for entry in sorted(self._open.values(), key=lambda each: each.size, reverse=True):
            before = entry.size
            entry.put_aside(self._directory)
            self._size += entry.size - before
            if self._size <= self._budget:
                return
