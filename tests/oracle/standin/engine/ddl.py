"""Run DDL. It commits what is open, waits for nobody longer than DDL_LOCK_TIMEOUT, and tells the redo log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.standin.backend import OraError, Result
from oracle.standin.engine import altering, constraints, segments
from oracle.standin.engine.catalog import Trigger
from oracle.standin.engine.definition_tree import (
    AddColumns,
    AddConstraint,
    AlterDatabase,
    AlterTable,
    AlterUser,
    ConstraintDef,
    CreateIndex,
    CreateTable,
    CreateTrigger,
    CreateUser,
    Definition,
    Drop,
    DropColumns,
    DropConstraint,
    ExchangePartition,
    Grant,
    MakeSequence,
    ModifyColumns,
    NoEffect,
    Noted,
    RenameColumn,
    Supplemental,
    SwitchConstraint,
    SwitchTrigger,
    SwitchTriggers,
    TableAction,
    Truncate,
)
from oracle.standin.engine.definitions import Definitions
from oracle.standin.engine.dropping import Dropping
from oracle.standin.engine.plsql import PlSql
from oracle.standin.engine.reading import unimplemented
from oracle.standin.engine.rights import User
from oracle.standin.engine.storage import Table

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session

_WORDS = ("CREATE", "ALTER", "DROP", "TRUNCATE", "GRANT", "REVOKE", "COMMENT", "ANALYZE", "AUDIT")


def run(session: Session, sql: str) -> Result:
    database = session.database
    reader = Definitions(sql, **database.lengths(session.parameters))
    if reader.token.text not in _WORDS:
        raise OraError(900, "invalid SQL statement")
    definition = reader.definition()
    if session.definer is not None and not session.suspended:
        raise OraError(4092, "cannot COMMIT in a trigger")
    session.end(commit=True)
    database.revision += 1
    table, owner = _Defining(session).run(definition)
    scn = database.tick()
    shape = None if table is None else table.shape(all_columns=database.logs_all_columns)
    database.log.defined(
        scn, database.clock(), user=session.user, table=shape, owner=owner, sql=sql
    )
    return Result()


class _Defining(Dropping):
    """One definition at work. Each method gives the table that it was about, if any, and the owner."""

    def run(self, found: Definition) -> tuple[Table | None, str]:
        match found:
            case CreateTable():
                return self._create_table(found), found.schema or self.session.schema
            case AlterTable():
                return self._alter_table(found), found.schema or self.session.schema
            case CreateIndex():
                return self._create_index(found), found.schema or self.session.schema
            case CreateTrigger():
                return self._create_trigger(found), found.schema or self.session.schema
            case SwitchTrigger():
                return self._switch_trigger(found), found.schema or self.session.schema
            case Truncate():
                return self._truncate(found), found.schema or self.session.schema
            case Drop():
                return self.drop(found), found.schema or self.session.schema
            case MakeSequence():
                self._sequence(found)
            case AlterDatabase():
                self._alter_database(found)
            case CreateUser(name, password):
                self._create_user(name, password)
            case AlterUser():
                self._alter_user(found)
            case Grant():
                self._grant(found)
            case Noted():
                pass
        return None, self.session.schema

    def _create_table(self, wanted: CreateTable) -> Table:
        owner = wanted.schema or self.session.schema
        self._require("CREATE ANY TABLE", owner)
        self.catalog.free(owner, wanted.name)
        table = Table(owner, wanted.name, self.database.next_object(), self.catalog.container)
        table.temporary = wanted.temporary
        names = [column.name for column in wanted.columns]
        if len(set(names)) < len(names):
            raise OraError(957, "duplicate column name")
        for column in sorted(wanted.columns, key=lambda one: one.virtual is not None):
            table.columns.append(altering.column_of(self.session, table, column))
        table.columns.sort(key=lambda column: names.index(column.name))
        self.catalog.tables[owner, wanted.name] = table
        try:
            for column in wanted.columns:
                for constraint in column.constraints:
                    constraints.add(self.session, table, constraint)
                if column.identity and not table.not_null(column.name):
                    constraints.add(self.session, table, _not_null(column.name))
            for constraint in wanted.constraints:
                constraints.add(self.session, table, constraint)
        except OraError:
            del self.catalog.tables[owner, wanted.name]
            raise
        table.defined_scn = self.database.scn + 1  # this statement's own
        self._enter(owner, wanted.name, "TABLE", table, table.object_id)
        return table

    def _alter_table(self, wanted: AlterTable) -> Table:
        table = self._table(wanted.schema, wanted.name)
        for action in wanted.actions:
            self._act(table, action)
        table.changed()
        self._touch(table)
        return table

    def _act(self, table: Table, action: TableAction) -> None:
        session = self.session
        match action:
            case AddColumns(columns):
                for column in columns:
                    altering.add(session, table, column)
            case ModifyColumns(columns):
                for column in columns:
                    altering.modify(session, table, column)
            case DropColumns(names):
                altering.drop(session, table, names)
            case RenameColumn(name, to):
                altering.rename(session, table, name, to)
            case AddConstraint(constraint):
                constraints.add(session, table, constraint)
            case DropConstraint(which, cascade):
                found = constraints.find(session, table, which, dropped=True)
                constraints.drop(session, table, found, cascade=cascade)
            case SwitchConstraint(which, enabled, validated, cascade):
                found = constraints.find(session, table, which)
                if found.enabled if enabled is None else enabled:
                    constraints.enable(session, table, found, validate=validated)
                elif validated:
                    raise unimplemented("DISABLE VALIDATE")
                else:
                    constraints.disable(session, table, found, cascade=cascade)
            case SwitchTriggers(enabled):
                for trigger in table.triggers:
                    trigger.enabled = enabled
            case Supplemental():
                _log_group(table.supplemental, action, self.catalog.generated_name())
            case ExchangePartition(schema, name):
                other = self._table(schema, name)
                segments.exchange(table, other, self.database.scn + 1)
                self._touch(other)
            case NoEffect():
                pass

    def _create_index(self, wanted: CreateIndex) -> Table:
        table = self._table(*wanted.table, "CREATE ANY INDEX")
        owner = wanted.schema or self.session.schema
        if self.catalog.index(owner, wanted.name) is not None:
            raise OraError(955, "name is already used by an existing object")
        columns = constraints.places(table, wanted.columns)
        if any(one.columns == columns and not one.internal for one in table.indexes):
            raise OraError(1408, "such column list already indexed")
        if any(table.is_lob(column) for column in columns):
            raise OraError(2327, "cannot create index on expression with datatype LOB")
        index = self.database.make_index(self.catalog, table, owner, wanted.name, columns)
        index.unique = wanted.unique
        if wanted.unique:
            keys = [index.key(values) for _, values in table.seen(None, None)]
            filled = [key for key in keys if any(part is not None for part in key)]
            if len(set(filled)) < len(filled):
                table.indexes.remove(index)
                raise OraError(1452, "cannot CREATE UNIQUE INDEX; duplicate keys found")
        return table

    def _create_trigger(self, wanted: CreateTrigger) -> Table:
        owner = wanted.schema or self.session.schema
        table = self.session.table(*wanted.table)
        for one in (owner, table.owner):
            self._require("CREATE ANY TRIGGER", one)
        if self.database.triggers_wait:
            self._alone(table)
        if wanted.each_row or wanted.condition is not None:
            raise OraError(3001, "unimplemented feature: triggers for each row")
        old = self.catalog.triggers.get((owner, wanted.name))
        if old is not None and not wanted.replace:
            raise OraError(4081, f"trigger '{wanted.name}' already exists")
        body = PlSql(wanted.text, **self.database.lengths({})).whole_block()
        trigger = Trigger(
            owner,
            wanted.name,
            self.database.next_object() if old is None else old.object_id,
            table,
            wanted.when,
            wanted.events,
            wanted.each_row,
            None,
            None,
            wanted.text,
            body,
            wanted.enabled,
        )
        if old is not None:
            old.table.triggers.remove(old)
        self.catalog.triggers[owner, wanted.name] = trigger
        table.triggers.append(trigger)
        self._enter(owner, wanted.name, "TRIGGER", trigger, trigger.object_id)
        return table

    def _switch_trigger(self, wanted: SwitchTrigger) -> Table:
        owner = wanted.schema or self.session.schema
        trigger = self.catalog.triggers.get((owner, wanted.name))
        if trigger is None:
            raise OraError(4080, f"trigger '{wanted.name}' does not exist")
        self._require("ALTER ANY TRIGGER", owner)
        if self.database.triggers_wait:
            self._alone(trigger.table)
        trigger.enabled = wanted.enabled
        self.catalog.entries[owner, wanted.name, "TRIGGER"].changed = self.database.moment()
        return trigger.table

    def _truncate(self, wanted: Truncate) -> Table:
        table = self._table(wanted.schema, wanted.name, "DROP ANY TABLE")
        emptied = segments.truncated(self.catalog, table, cascade=wanted.cascade)
        for one in emptied[1:]:
            self._alone(one)
        segments.empty(emptied, self.database.next_object, self.database.scn + 1)
        for one in emptied:
            self._touch(one)
        return table

    def _sequence(self, wanted: MakeSequence) -> None:
        owner = wanted.schema or self.session.schema
        if wanted.created:
            self._require("CREATE ANY SEQUENCE", owner)
            self.catalog.free(owner, wanted.name)
            sequence = self.database.make_sequence(self.catalog, owner, wanted.name)
        else:
            self._require("ALTER ANY SEQUENCE", owner)
            found = self.catalog.sequences.get((owner, wanted.name))
            if found is None:
                raise OraError(2289, "sequence does not exist")
            if found.identity:
                raise OraError(32793, "cannot alter a system-generated sequence")
            sequence = found
        altering.set_options(sequence, wanted.options, created=wanted.created)

    def _alter_database(self, wanted: AlterDatabase) -> None:
        if not self.session.rights.has("ALTER DATABASE"):
            raise OraError(1031, "insufficient privileges")
        if isinstance(wanted.action, Supplemental):
            _log_group(self.database.supplemental, wanted.action, "DATABASE")

    def _create_user(self, name: str, password: str | None) -> None:
        self._require("CREATE USER", "")
        if name in self.database.users:
            raise OraError(1920, f"user name '{name}' conflicts with another user or role name")
        self.database.users[name] = User(name, password=password)

    def _alter_user(self, wanted: AlterUser) -> None:
        self._require("ALTER USER", "")
        user = self.database.users.get(wanted.name)
        if user is None:
            raise OraError(1918, f"user '{wanted.name}' does not exist")
        user.password = wanted.password or user.password
        user.locked = user.locked if wanted.locked is None else wanted.locked

    def _grant(self, wanted: Grant) -> None:
        table = None if wanted.table is None else self.session.find_table(*wanted.table)
        for name in wanted.users:
            user = self.database.users.get(name)
            if user is None:
                raise OraError(1917, f"user or role '{name}' does not exist")
            _give(user, wanted, table)


def _give(user: User, wanted: Grant, table: Table | None) -> None:
    for privilege in wanted.privileges:
        if table is not None:
            name = privilege.removesuffix(" PRIVILEGES")
            grant = (name, table.owner, table.name)
            (user.tables.add if wanted.given else user.tables.discard)(grant)
        elif wanted.table is None:
            (user.privileges.add if wanted.given else user.privileges.discard)(privilege)
        # What is granted on packages and views of SYS shows nowhere.


def _log_group(groups: dict[str, str], wanted: Supplemental, generated: str) -> None:
    if wanted.added:
        if wanted.name is None and wanted.group in groups.values():
            return
        groups[wanted.name or generated if wanted.group != "MINIMAL" else "MINIMAL"] = wanted.group
        return
    for name, group in list(groups.items()):
        if group == wanted.group and wanted.name in (None, name):
            del groups[name]
            return
    raise OraError(32588, f"supplemental logging attribute {wanted.group} does not exist")


def _not_null(column: str) -> ConstraintDef:
    return ConstraintDef(None, "C", (column,), f'"{column}" IS NOT NULL', not_null=True)
