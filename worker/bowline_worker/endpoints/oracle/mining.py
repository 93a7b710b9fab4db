"""From the rows of LogMiner to committed transactions, and the place from which to go on. No I/O but the spill file.

    miner = Miner(place.after(journalled), selection, parse=redo.parse, directory=scratch)
    while True:
        step = miner.step(upper)              # upper: CURRENT_SCN; on RAC what all threads have reached
        for row in cursor:                    # rows behind miner.bounds; see steps.py on ENDSCN
            step.add(LogRow.from_row(row))    # an error here: forget the step, mine it again
        for transaction in miner.apply(step): # to the end; then
            ...                               # journal it, then keep transaction.place
        miner.position                        # is durable with the last of them; without any, an idle position

A stop in the middle of `apply` needs a new Miner, from the newest place and the journal's end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from bowline_worker.endpoints.oracle.gathering import Commit, Doubts, Gathering, Stop
from bowline_worker.endpoints.oracle.logrow import Address, LogRow, Xid
from bowline_worker.endpoints.oracle.openwork import OpenTransaction, OpenWork
from bowline_worker.endpoints.oracle.position import (
    CommitKey,
    Emitted,
    Place,
    Resume,
    at_scn,
)
from bowline_worker.endpoints.oracle.rowchange import Parse, RowChange
from bowline_worker.endpoints.oracle.selection import Selection
from bowline_worker.endpoints.oracle.steps import Bound, Step
from bowline_worker.model import Position

#: Of SQL, and what holds it, that open transactions keep in memory: a worker's smallest memory limit bears it.
BUDGET_BYTES: Final = 128 << 20


class Changes(Collection[RowChange]):
    """The changes of one transaction, oldest first. To be read before the next transaction is asked for."""

    def __init__(self, transaction: OpenTransaction) -> None:
        self._transaction = transaction

    def __len__(self) -> int:
        return len(self._transaction)

    def __iter__(self) -> Iterator[RowChange]:
        return iter(self._transaction)

    def __contains__(self, change: object) -> bool:
        return any(each == change for each in self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A transaction with captured changes, in the order of position.py."""

    xid: Xid  #: zero: a TRUNCATE that has no transaction of its own
    container: str
    thread: int
    scn: int  #: of the commit: what `reselect` reads AS OF, and what is compared with a snapshot
    at: datetime | None  #: by the source's clock and zone
    address: Address | None  #: of the commit
    user: str
    client: str
    changes: Changes
    position: Position  #: what the journal keeps with it
    place: Place  #: where to mine again once it is durable


class Miner:
    """Turns steps into committed transactions. One thread."""

    def __init__(
        self,
        place: Place,
        selection: Selection,
        *,
        parse: Parse,
        directory: Path,
        budget: int = BUDGET_BYTES,
    ) -> None:
        """Go on at that place, whose position is the journal's end (see Place.after)."""
        self.selection = selection  #: may be replaced between steps
        self._place, self._bounds = place, dict(place.bounds)
        self._emitted = Emitted.read(place.position)
        self._work = OpenWork(directory, budget, parse)
        self._start = place.start
        self._doubts = Doubts()
        self._bare: dict[Xid, Mapping[int, Address]] = {}
        self._cursors: dict[int, Resume] = {}
        self._applying = False

    @property
    def bounds(self) -> Mapping[int, Bound]:
        """Where the rows begin that are wanted, by thread; all rows of a thread that is not there."""
        return self._bounds

    @property
    def place(self) -> Place:
        """Where to mine again once all is durable that was given out."""
        return self._place

    @property
    def position(self) -> Position:
        """What was given out; after a step without transactions, an idle position that is further on."""
        return self._emitted.position

    @property
    def least_upper(self) -> int:
        """What the next step must be mined up to, at least: after a restart, a step that was given out in part."""
        return self._emitted.upper if self._emitted.until else 0

    @property
    def open_transactions(self) -> int:
        return len(self._work)

    def step(self, upper: int | None) -> Step:
        """Begin a step that ends at that SCN, or where the rows end (None: with one redo thread only)."""
        if self._applying:
            raise AssertionError("a step was begun before the last one was given out")
        if upper is not None and upper < self.least_upper:
            raise ValueError(f"a step up to SCN {upper}, and {self.least_upper} is the least")
        return Step(self._bounds, upper=upper, until=self._emitted.until)

    def apply(self, step: Step) -> Iterator[Committed]:
        """Give the transactions that a step completes. Unsafe at the place of what can't be given out."""
        self._applying = True
        rows = step.take()
        found = self._gather(rows)
        self._read_to(rows)
        upper = self._upper(step, rows)
        for number, each in enumerate(found, 1):
            if isinstance(each, Stop):
                raise each.error
            if each.transaction.flaw is not None:
                raise each.transaction.flaw
            emptied = dict.fromkeys(each.transaction.emptied, each.row.scn)
            self._place = self._place.with_emptied(emptied)
            self._emitted = self._with(each)
            if number < len(found):
                key = CommitKey.of(each.row)
                self._emitted = replace(self._emitted, until=self._ends(), upper=upper, last=key)
                yield _committed(each, self._place.after(self._emitted.position))
            else:
                self._finish()
                yield _committed(each, self._place)
            each.transaction.close()
        if not found:
            order, scn = (
                max(self._emitted.order, at_scn(upper).order),
                max(self._emitted.scn, upper),
            )
            self._emitted = replace(self._emitted, order=order, scn=scn)
            self._finish()
        self._applying = False

    def close(self) -> None:
        """Give the files of open transactions back."""
        self._work.close()

    def _gather(self, rows: Sequence[LogRow]) -> list[Commit | Stop]:
        gathering = Gathering(self._work, self.selection, self._start, self._emitted, self._doubts)
        gathering.add(rows)
        self._start = gathering.start
        self._place = self._place.with_emptied(gathering.emptied)
        self._bare.update((xid, each.reach) for xid, each in gathering.bare.items())
        return gathering.in_order()

    def _read_to(self, rows: Sequence[LogRow]) -> None:
        """Move the cursors behind the rows. They need not come in the order of their addresses."""
        for row in rows:
            if row.address is not None:
                cursor = self._cursors.get(row.thread)
                if cursor is None or row.address > cursor.address:
                    self._cursors[row.thread] = Resume(row.address, row.scn)

    def _upper(self, step: Step, rows: Sequence[LogRow]) -> int:
        if step.until:
            return self._emitted.upper
        if step.upper is not None:
            return step.upper
        return max((row.scn for row in rows), default=self._emitted.scn)

    def _ends(self) -> dict[int, Address]:
        """Where the rows end that were read, by thread."""
        ends = dict(self._emitted.floors)
        read = {thread: cursor.address for thread, cursor in self._cursors.items()}
        for more in (self._emitted.until, read):
            for thread, address in more.items():
                ends[thread] = max(address, ends.get(thread, address))
        return ends

    def _with(self, commit: Commit) -> Emitted:
        row, before = commit.row, self._emitted
        bare = before.bare
        if row.address is None:
            bare = bare | {commit.transaction.xid}
            self._bare[commit.transaction.xid] = commit.transaction.reach
        return replace(before, order=before.next_order(row.scn), scn=row.scn, bare=bare)

    def _finish(self) -> None:
        """The step is given out whole: move the floors, and the place from which to go on."""
        resume = self._resume()
        bare = frozenset(each for each in self._emitted.bare if self._may_come_again(each, resume))
        self._emitted = replace(
            self._emitted, floors=self._ends(), until={}, upper=0, last=None, bare=bare
        )
        self._start = self._start.settled(min((each.scn for each in resume.values()), default=0))
        self._place = replace(
            self._place, start=self._start, position=self._emitted.position, resume=resume
        )
        for thread, cursor in self._cursors.items():
            self._bounds[thread] = Bound(cursor.address, inclusive=False)

    def _resume(self) -> dict[int, Resume]:
        """The first row of the oldest open transaction of each thread, or the last row that was read."""
        resume = {**self._place.resume, **self._cursors}
        for transaction in self._work:
            for thread, first in transaction.first.items():
                resume[thread] = min(first, resume[thread])
        return resume

    def _may_come_again(self, xid: Xid, resume: Mapping[int, Resume]) -> bool:
        """Tell whether rows of a transaction that was given out lie behind where a restart begins."""
        reach = self._bare.get(xid)
        if reach is None:
            return True  # of an earlier process, and not seen in this one
        return any(address >= resume[thread].address for thread, address in reach.items())


def _committed(commit: Commit, place: Place) -> Committed:
    row, transaction = commit.row, commit.transaction
    return Committed(
        xid=transaction.xid,
        container=transaction.container,
        thread=row.thread,
        scn=row.scn,
        at=row.at,
        address=row.address,
        user=transaction.user,
        client=transaction.client,
        changes=Changes(transaction),
        position=place.position,
        place=place,
    )
