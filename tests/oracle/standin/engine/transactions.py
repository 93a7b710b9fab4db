"""Transactions: what they wrote, hold and wait for, and how they end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from oracle.standin.backend import Moment, OraError
from oracle.standin.engine.evaluation import Key
from oracle.standin.engine.storage import Index, Row, Table, Values
from oracle.standin.events import Action, TableShape, Xid

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session

#: Tables and the modes in which they are held.
Locks: TypeAlias = dict[Table, int]

ROW_SHARE, ROW_EXCLUSIVE, SHARE, SHARE_ROW_EXCLUSIVE, EXCLUSIVE = 2, 3, 4, 5, 6
_COMPATIBLE = {
    ROW_SHARE: {ROW_SHARE, ROW_EXCLUSIVE, SHARE, SHARE_ROW_EXCLUSIVE},
    ROW_EXCLUSIVE: {ROW_SHARE, ROW_EXCLUSIVE},
    SHARE: {ROW_SHARE, SHARE},
    SHARE_ROW_EXCLUSIVE: {ROW_SHARE},
    EXCLUSIVE: set[int](),
}


class Blocked(Exception):
    """The statement has to wait for other transactions; it is taken back and begins anew when one has ended."""

    def __init__(
        self, holders: Iterable[Transaction], wait: float | None = None, code: int = 54
    ) -> None:
        super().__init__("blocked")
        self.holders = list(holders)
        self.wait = wait  #: seconds; None: for ever
        self.code = code


class Undo(NamedTuple):
    """How to take one change of a row back."""

    table: Table
    shape: TableShape
    row: Row
    previous: Values | None
    action: Action | None  #: None: it was only locked
    first: bool  #: the row was nobody's before
    statement: int


class Transaction:
    """One transaction. It has no XID until it first writes or locks a row."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.xid: Xid | None = None
        self.start_scn = 0
        self.started: Moment | None = None
        self.undo: list[Undo] = []
        self.savepoints: list[tuple[str, int, Locks]] = []
        self.tables: Locks = {}
        self.rows: dict[Row, Table] = {}
        self.queues: set[Table] = set()
        self.claims: set[tuple[Index, tuple[Key, ...]]] = set()
        self.ended = False

    def lock(self, table: Table, mode: int, wait: float | None = None, code: int = 54) -> None:
        """Lock a table. Raises Blocked while others hold it, or came before us and wait for it, in a mode that does
        not go with ours.
        """
        own = self.tables.get(table, 0)
        wanted = max(own, mode)
        if {own, mode} == {ROW_EXCLUSIVE, SHARE}:
            wanted = SHARE_ROW_EXCLUSIVE
        if wanted == own:
            return
        holders = [
            other
            for other, held in table.holders.items()
            if other is not self and held not in _COMPATIBLE[wanted]
        ]
        for other, asked in table.queue.items():
            if other is self:
                break
            if asked not in _COMPATIBLE[wanted]:
                holders.append(other)
        if holders:
            if wait != 0:
                table.queue.setdefault(self, wanted)
                self.queues.add(table)
            raise Blocked(holders, wait, code)
        table.queue.pop(self, None)
        self.tables[table] = table.holders[self] = wanted

    def savepoint(self, name: str) -> None:
        self.savepoints = [one for one in self.savepoints if one[0] != name]
        self.savepoints.append((name, len(self.undo), dict(self.tables)))

    def savepoint_at(self, name: str) -> tuple[int, Locks]:
        """Where a savepoint is, and what was locked; later ones are forgotten. ORA-01086 if there is none."""
        for place, (known, mark, locks) in enumerate(self.savepoints):
            if known == name:
                del self.savepoints[place + 1 :]
                return mark, locks
        raise OraError(1086, f"savepoint '{name}' never established in this session or is invalid")

    def give_up(self) -> None:
        """Wait for no table any more."""
        for table in self.queues:
            table.queue.pop(self, None)
        self.queues.clear()

    def unlock_to(self, locks: Locks) -> None:
        """Give back the locks of tables that were taken since."""
        for table in [table for table in self.tables if table not in locks]:
            del self.tables[table], table.holders[self]
        for table, mode in locks.items():
            if table in self.tables:
                self.tables[table] = table.holders[self] = mode

    def release(self) -> None:
        """Give back all locks."""
        self.ended = True
        self.give_up()
        for index, key in self.claims:
            index.release(key, self, wholly=True)
        self.claims.clear()
        for table in self.tables:
            table.holders.pop(self, None)
        self.tables.clear()

    def waits_for(self) -> list[Transaction]:
        return self.session.waits_for


def deadlocked(waiting: Session) -> bool:
    """Tell whether a session waits, through others, for itself: an autonomous transaction for the one around it."""
    open_ = list(waiting.waits_for)
    seen: set[Transaction] = set()
    while open_:
        one = open_.pop()
        if one.session is waiting:
            return True
        if one not in seen:
            seen.add(one)
            open_.extend(one.waits_for())
    return False


class Xids:
    """Identities from a few undo segments; a slot that is free is used again with a higher sequence."""

    def __init__(self, segments: int = 4, slots: int = 3) -> None:
        self._free = [(usn, slot) for slot in range(slots) for usn in range(1, segments + 1)]
        self._sequences: dict[tuple[int, int], int] = {}
        self._segments = segments

    def take(self) -> Xid:
        if not self._free:
            slot = max(slot for _, slot in self._sequences) + 1
            self._free = [(usn, slot) for usn in range(1, self._segments + 1)]
        usn, slot = self._free.pop(0)
        sequence = self._sequences.get((usn, slot), 100 + 7 * usn + slot) + 1
        self._sequences[usn, slot] = sequence
        return Xid(usn, slot, sequence)

    def give_back(self, xid: Xid) -> None:
        self._free.append((xid.usn, xid.slot))
