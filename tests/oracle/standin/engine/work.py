"""A session's transaction: how it begins and ends, and how its changes are taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from oracle.standin.engine.catalog import Catalog
from oracle.standin.engine.storage import Row, Table, Values
from oracle.standin.engine.transactions import Transaction, Undo
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
        self.read_only_scn: int | None = None

    def started(self) -> Transaction:
        """The open transaction, or a new one; it has no identity before it writes."""
        if self.transaction is None:
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
        transaction, self.read_only_scn = self.transaction, None
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
