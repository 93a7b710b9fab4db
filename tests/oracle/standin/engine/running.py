"""What every DDL statement does: find its objects, ask for rights, be alone with a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.standin.backend import OraError
from oracle.standin.engine.catalog import Entry
from oracle.standin.engine.storage import Table
from oracle.standin.engine.transactions import Blocked

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session


class Running:
    """One DDL statement of a session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.database = session.database
        self.catalog = session.catalog

    def _require(self, privilege: str, owner: str) -> None:
        """DDL in another's schema needs the ANY privilege."""
        user = self.session.rights
        if owner != user.name and not user.has(privilege):
            raise OraError(1031, "insufficient privileges")

    def _table(self, schema: str | None, name: str, privilege: str = "ALTER ANY TABLE") -> Table:
        """A table, for this statement alone: others' writing must have ended."""
        table = self.session.table(schema, name)
        if privilege != "ALTER ANY TABLE" or not self.session.rights.on("ALTER", *table.named):
            self._require(privilege, table.owner)
        self._alone(table)
        return table

    def _alone(self, table: Table) -> None:
        if table.holders:
            timeout = float(self.session.parameters.get("DDL_LOCK_TIMEOUT", "0"))
            raise Blocked(table.holders, timeout)

    def _enter(self, owner: str, name: str, kind: str, subject: object, number: int) -> None:
        now = self.database.moment()
        entry = Entry(owner, name, kind, number, now, now, subject)
        self.catalog.entries[owner, name, kind] = entry

    def _touch(self, table: Table) -> None:
        entry = self.catalog.entries.get((table.owner, table.name, "TABLE"))
        if entry is not None:
            entry.changed = self.database.moment()
