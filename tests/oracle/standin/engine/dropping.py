"""Run DROP."""

from __future__ import annotations

from collections.abc import Callable

from oracle.standin.backend import OraError
from oracle.standin.engine import constraints
from oracle.standin.engine.catalog import Entry
from oracle.standin.engine.definition_tree import Drop
from oracle.standin.engine.running import Running
from oracle.standin.engine.storage import Table


class Dropping(Running):
    """Gives the table that was dropped, or lost something, for the redo log."""

    def drop(self, wanted: Drop) -> Table | None:
        owner = wanted.schema or self.session.schema
        kinds: dict[str, Callable[[str, Drop], Table | None]] = {
            "TABLE": self._drop_table,
            "INDEX": self._drop_index,
            "SEQUENCE": self._drop_sequence,
            "TRIGGER": self._drop_trigger,
            "USER": self._drop_user,
        }
        return kinds[wanted.type](owner, wanted)

    def _drop_table(self, owner: str, wanted: Drop) -> Table:
        table = self._table(owner, wanted.name, "DROP ANY TABLE")
        for one in list(table.constraints.values()):
            others = [child for child, _ in self.catalog.children(one) if child is not table]
            if others and not wanted.cascade:
                raise OraError(2449, "unique/primary keys in table referenced by foreign keys")
        for one in list(table.constraints.values()):
            constraints.drop(self.session, table, one, cascade=True)
        for key in [key for key, entry in self.catalog.entries.items() if _of(entry, table)]:
            del self.catalog.entries[key]
        for trigger in table.triggers:
            del self.catalog.triggers[trigger.owner, trigger.name]
        for column in table.columns:
            if column.sequence is not None:
                self._forget_sequence(column.sequence.owner, column.sequence.name)
        del self.catalog.tables[owner, wanted.name]
        for user in self.database.users.values():
            user.tables = {grant for grant in user.tables if grant[1:] != (owner, wanted.name)}
        return table

    def _drop_index(self, owner: str, wanted: Drop) -> Table:
        found = self.catalog.index(owner, wanted.name)
        if found is None:
            raise OraError(1418, "specified index does not exist")
        table, index = found
        self._alone(table)
        if any(one.index is index for one in table.constraints.values()):
            raise OraError(2429, "cannot drop index used for enforcement of unique/primary key")
        table.indexes.remove(index)
        self.catalog.entries.pop((owner, wanted.name, "INDEX"), None)
        return table

    def _drop_sequence(self, owner: str, wanted: Drop) -> None:
        if (owner, wanted.name) not in self.catalog.sequences:
            raise OraError(2289, "sequence does not exist")
        self._require("DROP ANY SEQUENCE", owner)
        self._forget_sequence(owner, wanted.name)

    def _forget_sequence(self, owner: str, name: str) -> None:
        self.catalog.sequences.pop((owner, name), None)
        self.catalog.entries.pop((owner, name, "SEQUENCE"), None)

    def _drop_trigger(self, owner: str, wanted: Drop) -> Table:
        trigger = self.catalog.triggers.get((owner, wanted.name))
        if trigger is None:
            raise OraError(4080, f"trigger '{wanted.name}' does not exist")
        self._require("DROP ANY TRIGGER", owner)
        if self.database.triggers_wait:
            self._alone(trigger.table)
        del self.catalog.triggers[owner, wanted.name]
        trigger.table.triggers.remove(trigger)
        self.catalog.entries.pop((owner, wanted.name, "TRIGGER"), None)
        return trigger.table

    def _drop_user(self, owner: str, wanted: Drop) -> None:
        self._require("DROP USER", "")
        if wanted.name not in self.database.users:
            raise OraError(1918, f"user '{wanted.name}' does not exist")
        sessions = self.database.sessions.values()
        if any(one.user == wanted.name and not one.killed for one in sessions):
            raise OraError(1940, "cannot drop a user that is currently connected")
        mine = [key for key in self.catalog.tables if key[0] == wanted.name]
        if mine and not wanted.cascade:
            raise OraError(1922, f"CASCADE must be specified to drop '{wanted.name}'")
        for key in mine:
            self._drop_table(wanted.name, Drop("TABLE", *key, cascade=True))
        for key in [key for key in self.catalog.triggers if key[0] == wanted.name]:
            self._drop_trigger(wanted.name, Drop("TRIGGER", *key, cascade=False))
        for key in [key for key in self.catalog.sequences if key[0] == wanted.name]:
            self._forget_sequence(*key)
        for entry in [each for each in self.catalog.entries if each[0] == wanted.name]:
            del self.catalog.entries[entry]
        del self.database.users[wanted.name]


def _of(entry: Entry, table: Table) -> bool:
    subject = entry.subject
    return subject is table or subject in table.indexes or subject in table.triggers
