"""A session's transaction: how it begins and ends, and how its changes are taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from oracle.standin.backend import OraError
from oracle.standin.engine.catalog import Catalog
from oracle.standin.engine.storage import Row, Table, Values
from oracle.standin.engine.transactions import Blocked, Locks, Transaction, Undo
from oracle.standin.events import Action, Written

if TYPE_CHECKING:
    from oracle.standin.engine.database import Database
    from oracle.standin.engine.session import Session


class Work:
    """What is open in one session."""

    def __init__(self, database: Database, user: str, catalog: Catalog, thread: int) -> None:
        self.database = database
        self.user = user
        self.catalog = catalog
        self.thread = thread
        self.attributes: dict[str, str | None] = {}
        self.transaction: Transaction | None = None
        self.waits_for: list[Transaction] = []
        #: Transactions that stand still while an autonomous one is at work, the outermost first.
        self.suspended: list[Transaction | None] = []
        self.read_only_scn: int | None = None
        #: At which SCN the SERIALIZABLE transaction reads, and whether transactions are so.
        self.serial_scn: int | None = None
        self.serializable = False
        self.isolated = False  #: this transaction, whatever the session says

    def started(self) -> Transaction:
        """The open transaction, or a new one; it has no identity before it writes."""
        if self.transaction is None:
            self.isolate()
            self.transaction = Transaction(cast("Session", self))  # there is no other Work
        return self.transaction

    def begun(self) -> Transaction:
        """The open transaction, with an identity."""
        transaction = self.started()
        if transaction.xid is None:
            database = self.database
            transaction.xid = database.xids.take()
            transaction.start_scn = database.tick()
            transaction.started = database.moment()
            database.log.begun(
                transaction.xid,
                transaction.start_scn,
                database.clock(),
                user=self.user,
                client=self.attributes.get("client_identifier"),
                thread=self.thread,
                container=self.catalog.container,
            )
        return transaction

    def end(self, *, commit: bool) -> None:
        """Commit or roll back what is open."""
        transaction = self.transaction
        self.read_only_scn = self.serial_scn = None
        self.isolated = False
        if transaction is None:
            return
        if not commit:
            self.undo_to(0)
        self.transaction = None
        database = self.database
        if transaction.xid is not None:
            scn = database.tick()
            if commit:
                for row, table in transaction.rows.items():
                    _settle(row, table, transaction, scn)
                database.log.committed(transaction.xid, scn, database.clock())
            else:
                database.log.rolled_back(transaction.xid, scn, database.clock())
            database.xids.give_back(transaction.xid)
        transaction.release()
        database.freed.notify_all()

    def end_all(self) -> None:
        """Roll back what is open, and what stands still behind it."""
        self.end(commit=False)
        for one in self.suspended:
            if one is not None and not one.ended:
                self.transaction = one
                self.end(commit=False)

    @contextmanager
    def autonomous(self) -> Iterator[None]:
        """A transaction of its own. It sees what is committed now, whatever the one around it sees.

        ORA-06519 if it is still open at the end: it is rolled back.
        """
        around = (self.read_only_scn, self.serial_scn, self.isolated)
        self.suspended.append(self.transaction)
        self.transaction = None
        self.read_only_scn, self.serial_scn, self.isolated = None, None, False
        try:
            yield
            if self.transaction is not None:
                text = "active autonomous transaction detected and rolled back"
                raise OraError(6519, text)
        finally:
            if self.transaction is not None:
                self.end(commit=False)
            outer = self.suspended.pop()
            # Who was killed has lost both.
            self.transaction = None if outer is not None and outer.ended else outer
            self.read_only_scn, self.serial_scn, self.isolated = around

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """Take back what a statement has changed when it fails; its locks only where it does not begin anew."""
        transaction = self.transaction
        mark = 0 if transaction is None else len(transaction.undo)
        locks = self.locks()
        try:
            yield
        except BaseException as error:
            if self.transaction is not None:
                # A block may have committed in between: all that it wrote since then goes.
                same = self.transaction is transaction
                self.undo_to(mark if same else 0)
                if not isinstance(error, Blocked):
                    self.unlock_to(locks if same else {})
            raise

    def locks(self) -> Locks:
        return {} if self.transaction is None else dict(self.transaction.tables)

    def unlock_to(self, locks: Locks) -> None:
        transaction = self.transaction
        if transaction is not None and (transaction.queues or transaction.tables != locks):
            transaction.give_up()
            transaction.unlock_to(locks)
            self.database.freed.notify_all()

    def isolate(self) -> None:
        """A SERIALIZABLE transaction reads as of its first statement."""
        if self.serial_scn is None and (self.serializable or self.isolated):
            self.serial_scn = self.database.scn

    def undo_to(self, mark: int) -> None:
        """Take back the changes after a mark, the newest first, and tell the redo log.

        Nobody can wait for rows of a statement that is taken back under the same hold of the engine's lock; who takes
        back more tells `freed`.
        """
        transaction = self.transaction
        assert transaction is not None
        while len(transaction.undo) > mark:
            undo = transaction.undo.pop()
            row, undone = undo.row, undo.row.current
            row.current = undo.previous
            if undo.action is not None:
                self._tell_undone(transaction, undo, undone)
                for index in undo.table.indexes:
                    if index.guards:
                        before = None if undo.action is Action.INSERT else undo.previous
                        for key in index.moved(before, undone):
                            index.release(key, transaction, wholly=False)
            if undo.action is Action.INSERT:
                for index in undo.table.indexes:
                    if undone is not None:
                        index.entries.get(index.key(undone), {}).pop(row, None)
                undo.table.rows.pop(row.rowid, None)
            if undo.first:
                row.writer = row.current = None
                transaction.rows.pop(row, None)

    def _tell_undone(self, transaction: Transaction, undo: Undo, undone: Values | None) -> None:
        """Tell the change again, as undone."""
        assert transaction.xid is not None
        assert undo.action is not None
        database = self.database
        database.log.written(
            Written(
                transaction.xid,
                database.tick(),
                database.clock(),
                undo.action,
                undo.shape,
                undo.row.rowid,
                None if undo.action is Action.INSERT else undo.previous,
                undone,
                True,
                undo.statement,
            )
        )


def _settle(row: Row, table: Table, transaction: Transaction, scn: int) -> None:
    """Make what a transaction wrote a version, and the row nobody's."""
    if row.writer is not transaction:
        return
    if row.current is not row.committed:
        row.versions.append((scn, row.current))
    elif not row.versions:  # inserted and deleted again
        table.rows.pop(row.rowid, None)
    row.writer = row.current = None
