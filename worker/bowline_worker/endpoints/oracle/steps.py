"""A step: the rows of one mining query, kept aside until its cursor is exhausted.

An error in the middle of a fetch (ORA-00310 and its like) makes the rows that came before it worthless: LogMiner may
have left any of them out. So rows are staged here, and only `take` gives them out; a step that failed is thrown away
and leaves no trace.

Where a step ends. The rows of a thread need not come in the order of their SCNs: redo of private strands is written
late, and strands that are flushed together are not sorted. So "SCN <= bound" alone does not end a step: a row above
the bound may lie *before* a row below it, and a cursor that went past both would lose the first for ever. A step is
therefore cut by address: each thread is taken up to its first row above the bound. For that the query must be allowed
to see rows above the bound; mine with an ENDSCN beyond it, or none, and put no condition on SCN into the WHERE.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.logrow import (
    END_CODES,
    ROW_CODES,
    SILENT_CODES,
    TOUCH_CODES,
    Address,
    Code,
    LogRow,
    Xid,
)


@dataclass(frozen=True, slots=True)
class Bound:
    """Where the rows of a thread begin that a step wants."""

    address: Address
    inclusive: bool  #: after a restart: the row at the address is wanted again

    def wants(self, address: Address) -> bool:
        return address > self.address or (self.inclusive and address == self.address)


#: What a lost or doubled row of these would be worth: never taken without an address.
_NEEDS_ADDRESS = ROW_CODES | TOUCH_CODES | {Code.DDL, Code.UNSUPPORTED}
_NEEDS_NONE = END_CODES | {Code.START, Code.MISSING_SCN}


class Step:
    """Collects the rows of one query. `until` (see position.Emitted) replaces the bound where it is not empty."""

    def __init__(
        self,
        bounds: Mapping[int, Bound],
        *,
        upper: int | None = None,
        until: Mapping[int, Address] | None = None,
    ) -> None:
        self.upper, self.until = upper, until or {}
        self._bounds = bounds
        self._rows: list[LogRow] = []
        self._pieces: dict[int, list[LogRow]] = {}
        self.size = 0  #: characters of SQL that are staged: a caller who finds it too much mines a smaller range

    def add(self, row: LogRow) -> None:
        """Stage a row, if it is one that is wanted. Rows of a thread must come as LogMiner gives them."""
        if row.continues or row.thread in self._pieces:
            joined = self._join(row)
            if joined is None:
                return
            row = joined
        if row.address is None:
            if not _is_accepted_without_address(row):
                return
        elif (bound := self._bounds.get(row.thread)) is not None and not bound.wants(row.address):
            return
        self.size += len(row.sql)
        self._rows.append(row)

    def take(self) -> Sequence[LogRow]:
        """Give the rows of the step, in the order in which they came. Call it when the cursor is exhausted."""
        for pieces in self._pieces.values():
            raise Unsafe(
                f"{pieces[0].place} is continued, and its end never came",
                hint="LogMiner gave a statement without its end: report it",
            )
        if self.until:
            return _up_to(self._rows, self.until)
        if self.upper is None:
            return self._rows
        return cut(self._rows, self.upper)

    def _join(self, row: LogRow) -> LogRow | None:
        """Join pieces as they are: they are cut anywhere, within a doubled quote as well."""
        pieces = self._pieces.setdefault(row.thread, [])
        if pieces and (row.xid, row.address) != (pieces[0].xid, pieces[0].address):
            raise Unsafe(
                f"{pieces[0].place} is continued, and {row.place} came instead",
                hint="LogMiner gave a statement without its end: report it",
            )
        pieces.append(row)
        if row.continues:
            return None
        del self._pieces[row.thread]
        return replace(pieces[0], sql="".join(each.sql for each in pieces), continues=False)


def _is_accepted_without_address(row: LogRow) -> bool:
    """Beginnings and ends of transactions: they come again with each step, and do nothing then."""
    if row.code in _NEEDS_NONE:
        return True
    if row.code in _NEEDS_ADDRESS:
        raise Unsafe(
            f"{row.place} (operation {row.code}) has no redo address",
            hint="whether it was read before can't be told: report it",
        )
    if row.code not in SILENT_CODES:
        raise Unsafe(f"{row.place} has the unknown operation {row.code} and no redo address")
    return False


def cut(rows: Sequence[LogRow], upper: int) -> Sequence[LogRow]:
    """Take each thread up to its first row above `upper`, and so that nothing taken belongs behind what is left.

    Three things would: a row of a transaction whose earlier row is left, an end whose transaction has rows left, and a
    commit above one that is left (its writer may have seen what that one wrote). Each lowers the bound below itself,
    and the cut is made anew. That takes strands that were flushed together: elsewhere the first cut stands.
    """
    while True:
        first = _first_above(rows, upper)
        if not first and all(row.scn <= upper for row in rows):
            return rows
        is_left = _left(rows, first, upper)
        early = _early(rows, is_left)
        if not early:
            return [row for row, left in zip(rows, is_left, strict=True) if not left]
        upper = min(early) - 1


def _first_above(rows: Iterable[LogRow], upper: int) -> dict[int, Address]:
    first: dict[int, Address] = {}
    for row in rows:
        if row.scn > upper and row.address is not None:
            first[row.thread] = min(row.address, first.get(row.thread, row.address))
    return first


def _left(rows: Sequence[LogRow], first: Mapping[int, Address], upper: int) -> list[bool]:
    left: list[bool] = []
    stopped: set[int] = set()
    for row in rows:
        if row.address is None:
            # All that tells where it belongs is what it came after.
            is_left = row.scn > upper or row.thread in stopped
        else:
            is_left = row.thread in first and row.address >= first[row.thread]
        if is_left:
            stopped.add(row.thread)
        left.append(is_left)
    return left


def _early(rows: Sequence[LogRow], is_left: Sequence[bool]) -> list[int]:
    """Give the SCNs of the taken rows that must wait for one that is left."""
    commits = [
        row.scn for row, left in zip(rows, is_left, strict=True) if left and row.code == Code.COMMIT
    ]
    oldest = min(commits, default=None)
    owners = _owners(rows)
    unfinished, begun = _Left(), _Left()
    for row, owner, left in zip(rows, owners, is_left, strict=True):
        if left:
            unfinished.add(owner, row)
    early: list[int] = []
    for row, owner, left in zip(rows, owners, is_left, strict=True):
        if left:
            begun.add(owner, row)  # those whose left rows came before
        elif row.xid.is_zero:
            continue
        elif begun.may_have(owner, row) or (
            row.code in END_CODES
            and (unfinished.may_have(owner, row) or (oldest is not None and row.scn > oldest))
        ):
            early.append(row.scn)
    return early


def _owners(rows: Iterable[LogRow]) -> list[Xid]:
    """Tell whose each row is. A partial XID is that of who has the slot just then, or stays as it is."""
    holders: dict[tuple[int, int, int], Xid] = {}
    found: list[Xid] = []
    for row in rows:
        xid, slot = row.xid, row.xid[:3]
        if xid.is_partial:
            found.append(holders.get(slot, xid))
            continue
        found.append(xid)
        if row.code not in END_CODES:
            holders[slot] = xid
        elif holders.get(slot) == xid:
            del holders[slot]
    return found


_Slot: TypeAlias = tuple[int, int, int]


@dataclass(slots=True)
class _Span:
    """When rows of a slot were written whose transaction is not told, or is any."""

    first: int | None = None  #: the lowest SCN of those that end nothing
    ends: set[int] = field(default_factory=set)

    def add(self, row: LogRow) -> None:
        if row.code in END_CODES:
            self.ends.add(row.scn)
        elif self.first is None or row.scn < self.first:
            self.first = row.scn

    def may_have(self, row: LogRow) -> bool:
        """Tell whether one of them may be of the row's transaction: nothing of one has a higher SCN than its end.

        Without that, an old end that does not tell its transaction waits for all that follow in its slot; on a busy
        server that is for ever.
        """
        if row.code in END_CODES:
            return row.scn in self.ends or (self.first is not None and self.first <= row.scn)
        return self.first is not None or any(end >= row.scn for end in self.ends)


class _Left:
    """The transactions of rows that are left. A row with a partial XID may be of any transaction of its slot."""

    def __init__(self) -> None:
        self._known: set[Xid] = set()
        self._untold: defaultdict[_Slot, _Span] = defaultdict(_Span)
        self._all: defaultdict[_Slot, _Span] = defaultdict(_Span)

    def add(self, owner: Xid, row: LogRow) -> None:
        self._all[owner[:3]].add(row)
        if owner.is_partial:
            self._untold[owner[:3]].add(row)
        else:
            self._known.add(owner)

    def may_have(self, owner: Xid, row: LogRow) -> bool:
        """Tell whether a left row may be of the transaction of this one."""
        if owner in self._known:
            return True
        spans = self._all if owner.is_partial else self._untold
        span = spans.get(owner[:3])
        return span is not None and span.may_have(row)


def _up_to(rows: Sequence[LogRow], until: Mapping[int, Address]) -> Sequence[LogRow]:
    """Take exactly the rows of an earlier step: up to where it ended in each thread, whatever their SCNs."""
    taken: list[LogRow] = []
    stopped: set[int] = set()
    for row in rows:
        if row.thread not in until or (row.address or _FIRST) > until[row.thread]:
            stopped.add(row.thread)
        elif row.address is not None or row.thread not in stopped:
            taken.append(row)
    return taken


_FIRST = Address("", 0)
