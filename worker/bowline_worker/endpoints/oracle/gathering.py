"""What the rows of one step amount to: changes that are added to open transactions, and ends of transactions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle import flaws
from bowline_worker.endpoints.oracle.ddl import Effect, effect_of
from bowline_worker.endpoints.oracle.logrow import (
    END_CODES,
    ROW_CODES,
    SILENT_CODES,
    TOUCH_CODES,
    Code,
    LogRow,
    Xid,
)
from bowline_worker.endpoints.oracle.openwork import OpenTransaction, OpenWork
from bowline_worker.endpoints.oracle.position import CommitKey, Emitted
from bowline_worker.endpoints.oracle.rowchange import RowChange
from bowline_worker.endpoints.oracle.selection import Selection
from bowline_worker.endpoints.oracle.start import Start
from bowline_worker.endpoints.oracle.touches import TouchError, read_touch
from bowline_worker.model import TableName


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction with captured changes has committed."""

    row: LogRow
    transaction: OpenTransaction


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing behind this place may be given out."""

    row: LogRow
    error: Unsafe


@dataclass(frozen=True, slots=True)
class Doubts:
    """Transactions that can't be given out any more, should they commit all the same. Kept from step to step."""

    #: By slot, the last one that a ROLLBACK with a partial XID was taken to end.
    presumed: dict[tuple[int, int, int], Xid] = field(default_factory=dict)


class Gathering:
    """Adds rows to the open transactions, in their order; `found` are the ends that are to be given out."""

    def __init__(
        self,
        work: OpenWork,
        selection: Selection,
        start: Start,
        emitted: Emitted,
        doubts: Doubts,
    ) -> None:
        self._work, self._selection, self._emitted = work, selection, emitted
        self._doubts = doubts
        self.start = start
        self.found: list[Commit | Stop] = []
        # By TRUNCATEs that were given out before: the place may be older than they are, and not have them.
        self.emptied: dict[TableName, int] = {}
        self.bare: dict[Xid, OpenTransaction] = {}  # given out before, by a commit without address

    def add(self, rows: Iterable[LogRow]) -> None:
        for row in rows:
            code = row.code
            if code in ROW_CODES:
                self._row(row)
            elif code == Code.START:
                self.start = self.start.with_begin(row.xid, row.scn)
            elif code in END_CODES:
                self._end(row)
            elif code == Code.DDL:
                self._ddl(row)
            elif code == Code.MISSING_SCN:
                self.found.append(Stop(row, flaws.missing(row)))
            elif row.status == flaws.STATUS_CORRUPT:
                self.found.append(Stop(row, flaws.corrupt(row)))
            elif code not in SILENT_CODES:
                self._row(row)

    def in_order(self) -> list[Commit | Stop]:
        """Give what was found in the order of position.CommitKey."""
        return sorted(self.found, key=lambda each: CommitKey.of(each.row))

    # --- changes ---

    def _row(self, row: LogRow) -> None:
        table = self._selection.of(row)
        if table is None and not self._selection.may_be_ours(row):
            return
        if flaws.is_of_temporary_table(row) or (row.code in TOUCH_CODES and not row.sql):
            return
        transaction = self._enter(row)
        if transaction is None:
            return
        flaw = flaws.flaw_of(row)
        if table is None:
            self._work.spoil(transaction, flaws.nameless(row))
        elif flaw is not None:
            self._work.spoil(transaction, flaw)
        elif row.code in TOUCH_CODES:
            self._touch(transaction, row, table)
        elif row.code not in ROW_CODES:
            self._work.spoil(transaction, _unknown(row))
        elif not row.undoes:
            self._work.add(transaction, _change(row, table, row.sql))
        elif transaction.flaw is None and not self._work.undo(transaction, row, table):
            self._work.spoil(transaction, flaws.undoes_nothing(row))

    def _enter(self, row: LogRow) -> OpenTransaction | None:
        """Give the transaction that a captured row is of; None where the row is not for us."""
        xid = self._work.resolve(row.xid, row.scn)
        if xid is None:
            if row.undoes:
                return None  # of a transaction that is over: its rows were given back to their slot
            raise Unsafe(
                f"{row.place} names no transaction (XID {row.xid}), and none is open in its slot",
                hint="report it",
            )
        if row.address is None:
            raise Unsafe(f"{row.place} has no redo address")
        if not self.start.keeps(row, xid):
            self.start = self.start.with_dropped(xid)
            return None
        transaction = self._work.enter(xid, row, row.address)
        if self._doubts.presumed.get(xid[:3]) == xid:
            self._work.spoil(transaction, _revived(row, xid))
        return transaction

    def _touch(self, transaction: OpenTransaction, row: LogRow, table: TableName) -> None:
        try:
            touch = read_touch(row.code, row.sql)
        except TouchError as error:
            self._work.spoil(
                transaction,
                Unsafe(
                    f"{row.place} (operation {row.code}) can't be read: {error}", hint="report it"
                ),
            )
            return
        if touch is not None:
            change = _change(row, table, touch.sql, (touch.column,))
            self._work.add(transaction, change)
            transaction.touched.add(table)
        elif table not in transaction.touched:
            self._work.spoil(
                transaction,
                Unsafe(
                    f"{row.place} (operation {row.code}) writes a large value of a row that was not named before",
                    hint="report it",
                ),
            )

    def _ddl(self, row: LogRow) -> None:
        if self.start.is_in_snapshot(row.scn):
            return
        for other in sorted(self._selection.changed_beside(row), key=str):
            self.found.append(Stop(row, _changed_beside(row, other)))
            return
        table = self._selection.named(row)
        if table is None:
            return
        match effect_of(row.sql):
            case Effect.NONE:
                return
            case Effect.EMPTIES:
                if row.xid.is_zero:
                    if self._emitted.has(row):
                        self.emptied[table] = row.scn
                    else:
                        self.found.append(_lone(row, table))
                elif (transaction := self._enter(row)) is not None:
                    self._work.add(transaction, _change(row, table, row.sql))
                    transaction.emptied.add(table)
            case Effect.CHANGES:
                self.found.append(Stop(row, _changed(row, table)))

    # --- ends ---

    def _end(self, row: LogRow) -> None:
        xid = self._work.resolve(row.xid, row.scn)
        transaction = self._work.get(xid) if xid is not None else None
        if xid is None or self._is_stale(row, transaction):
            return
        is_incomplete = xid in self.start.dropped
        self.start = self.start.with_end(xid)
        transaction = self._work.end(xid)
        if row.code == Code.COMMIT and not self.start.is_in_snapshot(row.scn):
            if self._emitted.has(row):
                if transaction is not None:
                    self.emptied.update(dict.fromkeys(transaction.emptied, row.scn))
                    if row.address is None:
                        self.bare[xid] = transaction
            elif is_incomplete:
                self.found.append(Stop(row, _incomplete(row)))
            elif (doubt := self._doubt(row, xid)) is not None:
                self.found.append(Stop(row, doubt))
            elif transaction is not None and (transaction.flaw is not None or len(transaction)):
                self.found.append(Commit(row, transaction))
                return
        elif row.xid.is_partial:
            self._doubts.presumed[xid[:3]] = xid
        if transaction is not None:
            transaction.close()

    def _doubt(self, row: LogRow, xid: Xid) -> Unsafe | None:
        if self._doubts.presumed.get(xid[:3]) == xid:
            return _revived(row, xid)
        return None

    def _is_stale(self, row: LogRow, transaction: OpenTransaction | None) -> bool:
        """Tell whether it ended an earlier transaction of the slot: rows without address come with every step."""
        return (
            row.address is None
            and row.xid.is_partial
            and transaction is not None
            and row.scn <= transaction.since
        )


def _change(row: LogRow, table: TableName, sql: str, reselect: tuple[str, ...] = ()) -> RowChange:
    if row.address is None:
        raise Unsafe(f"{row.place} has no redo address")
    return RowChange(
        row.code, table, row.object_id or 0, row.row_id, sql, row.scn, row.address, reselect
    )


def _lone(row: LogRow, table: TableName) -> Commit:
    """Make a transaction of a TRUNCATE that has none: it commits where it stands."""
    transaction = OpenTransaction(row.xid, row.thread, row.scn, row.container, row.user, row.client)
    transaction.changes.append(_change(row, table, row.sql))
    transaction.emptied.add(table)
    return Commit(row, transaction)


def _changed_beside(row: LogRow, table: TableName) -> Unsafe:
    return Unsafe(
        f"the rows of {table} changed while streaming, and the redo does not tell them: DDL on {row.owner}.{row.table}"
        f" at SCN {row.scn} (RS_ID {row.address}, thread {row.thread}): {_statement(row)}",
        reason="SchemaChanged",
        hint="ask for Complete and migrate anew; leave EXCHANGE PARTITION and TRUNCATE ... CASCADE alone meanwhile",
    )


def _statement(row: LogRow) -> str:
    return " ".join(row.sql.split())[:120]


def _changed(row: LogRow, table: TableName) -> Unsafe:
    return Unsafe(
        f"the schema of migrated tables changed while streaming: {table} at SCN {row.scn}"
        f" (RS_ID {row.address}, thread {row.thread}): {_statement(row)}",
        reason="SchemaChanged",
        hint="rows behind it can't be read with the tables as they were: ask for Complete and migrate anew",
    )


def _incomplete(row: LogRow) -> Unsafe:
    return Unsafe(
        f"transaction {row.xid} commits at SCN {row.scn}, after the snapshot, and was not among those that were"
        " open before it",
        reason="PositionLost",
        hint="the migration user must see all rows of GV$TRANSACTION (CONTAINER_DATA); start the migration anew",
    )


def _revived(row: LogRow, xid: Xid) -> Unsafe:
    return Unsafe(
        f"{row.place} is of transaction {xid}, which a ROLLBACK without a transaction sequence was taken to end",
        reason="RowUnreadable",
        hint="report it; start the migration anew",
    )


def _unknown(row: LogRow) -> Unsafe:
    return Unsafe(
        f"{row.place} is of the unknown operation {row.code}",
        reason="RowUnsupported",
        hint="report it: what it does to the table is not known",
    )
