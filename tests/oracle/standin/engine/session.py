"""One session: a Backend over the engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol, TypeVar

from oracle.standin import backend
from oracle.standin.backend import Bind, Moment, OraError, Result, SessionDead, Value
from oracle.standin.engine import context, control, ddl, firing, queries
from oracle.standin.engine.catalog import Catalog, Counter
from oracle.standin.engine.changes import Writer
from oracle.standin.engine.changing import DmlPlan, Outcome
from oracle.standin.engine.datatypes import DataType
from oracle.standin.engine.dml import plan_dml
from oracle.standin.engine.evaluation import Env, Nls
from oracle.standin.engine.machine import Machine
from oracle.standin.engine.planning import QueryPlan
from oracle.standin.engine.plsql import PlSql
from oracle.standin.engine.preparing import Preparer
from oracle.standin.engine.rights import User, require
from oracle.standin.engine.statements import Statements
from oracle.standin.engine.storage import Table
from oracle.standin.engine.transactions import ROW_EXCLUSIVE, Blocked, deadlocked
from oracle.standin.engine.work import Work

if TYPE_CHECKING:
    from oracle.standin.engine.database import Database

T = TypeVar("T")

#: How often a session that waits for a lock looks whether its client has cancelled.
POLL_SECONDS = 0.05
#: Compiled statements that a session keeps.
CACHED = 200


class Interrupt(Protocol):
    """Tells whether the client has cancelled."""

    def is_set(self) -> bool: ...


class Session(Work):
    """Statements come from one thread; what the database keeps for all is under its lock."""

    #: The wire layer puts it here: set when the client cancels.
    interrupted: Interrupt | None = None

    def __init__(
        self, database: Database, user: str, *, service: str, catalog: Catalog, thread: int
    ) -> None:
        super().__init__(database, user, catalog, thread)
        self.service = service
        self.schema = user
        #: Whose program is at work: a trigger's names and rights are its owner's, without his roles.
        self.definer: str | None = None
        self._is_sys = False
        self.sid, self.serial = database.next_sid()
        self.nls = Nls()
        self.parameters: dict[str, str] = {}
        self.logon = database.moment()
        self.now: Moment = self.logon
        self.statement_number = 0
        self.killed = False
        self.closed = False
        self.taken: dict[Counter, int] = {}
        self.oldest_scn = 0  #: that the running query reads
        self._last_sql = ""
        self._plans: dict[object, tuple[int, QueryPlan | DmlPlan]] = {}
        #: What others keep for a session: LogMiner's state, and the like.
        self.local: dict[str, object] = {}

    # The Backend

    def describe(self, sql: str) -> Sequence[backend.Column]:
        """The columns of a query; of DML, whether it could be executed: () or an error."""
        with self._statement():
            word, reader = control.first_word(sql), self.reader(sql)
            if word in ("INSERT", "UPDATE", "DELETE", "MERGE"):
                plan_dml(Preparer(self, described=True), reader.dml())
            if word not in ("SELECT", "WITH", "("):
                return ()
            preparer = Preparer(self, described=True)
            return queries.columns(preparer.query(reader.whole_select()))

    def execute(self, sql: str, binds: Sequence[Bind], values: Sequence[Value]) -> Result:
        """Execute once. Waits for locks outside of the engine's lock; each statement is done whole or not at all."""
        with self._statement():
            if sql != self._last_sql or self.transaction is None:
                # An array's executions are calls in a row with one text: one number for all.
                self.statement_number = self.database.next_statement()
            self._last_sql = sql
            return self.until_free(lambda: self._execute(sql, binds, values))

    def commit(self) -> None:
        with self._statement():
            self.end(commit=True)

    def rollback(self) -> None:
        with self._statement():
            self.end(commit=False)

    @property
    def in_transaction(self) -> bool:
        return self.transaction is not None

    def identify(self, **attributes: str | None) -> None:
        with self.database.lock:
            schema = attributes.pop("schema", None)
            if schema:
                self.schema = schema.upper()
            self.attributes.update(attributes)

    def close(self) -> None:
        with self.database.lock:
            if not self.closed:
                self.closed = True
                self.end_all()
                self.database.sessions.pop(self.sid, None)

    # Statements

    @contextmanager
    def _statement(self) -> Iterator[None]:
        with self.database.lock:
            if self.closed:
                raise SessionDead
            if self.killed:
                self.close()
                raise OraError(28, "your session has been killed")
            self.now = self.database.moment()
            yield

    def until_free(self, run: Callable[[], T]) -> T:
        """Run a statement, and again as long as others hold what it needs."""
        began, locks = time.monotonic(), self.locks()
        while True:
            try:
                with self.atomic():
                    return run()
            except Blocked as blocked:
                try:
                    self._wait(blocked, began)
                except OraError:
                    self.unlock_to(locks)
                    raise

    def _wait(self, blocked: Blocked, began: float) -> None:
        until = None if blocked.wait is None else began + blocked.wait
        self.waits_for = [one for one in blocked.holders if not one.ended]
        try:
            if deadlocked(self):
                raise OraError(60, "deadlock detected while waiting for resource")
            while self.waits_for:
                if until is not None and time.monotonic() >= until:
                    raise _timed_out(blocked)
                self.poll()
                if self.database.freed.wait(POLL_SECONDS):
                    return
        finally:
            self.waits_for = []

    def poll(self) -> None:
        if self.killed:
            raise OraError(28, "your session has been killed")
        if self.interrupted is not None and self.interrupted.is_set():
            raise OraError(1013, "user requested cancel of current operation")

    def _execute(self, sql: str, binds: Sequence[Bind], values: Sequence[Value]) -> Result:
        word = control.first_word(sql)
        if word in ("SELECT", "WITH", "("):
            return self._query(sql, binds, values)
        if word in ("INSERT", "UPDATE", "DELETE", "MERGE"):
            plan = self._planned(sql, binds)
            assert isinstance(plan, DmlPlan)
            outcome = self.run_dml(plan, Env(self, values))
            return Result(rowcount=outcome.count, returned=outcome.returned)
        if word in ("BEGIN", "DECLARE", "CALL"):
            return self._block(sql, binds, values)
        if control.is_control(sql):
            return control.run(self, sql)
        return ddl.run(self, sql)

    def execute_inner(self, sql: str) -> None:
        """EXECUTE IMMEDIATE."""
        self._execute(sql, (), ())

    def reader(self, sql: str) -> Statements:
        """A parser under this database's settings."""
        return Statements(sql, **self.database.lengths(self.parameters))

    def _planned(self, sql: str, binds: Sequence[Bind]) -> QueryPlan | DmlPlan:
        shapes = tuple((bind.name, bind.kind, bind.national, bind.returned) for bind in binds)
        key = (sql, self.schema, self.catalog.container, shapes)
        revision = self.database.revision
        known = self._plans.get(key)
        if known is not None and known[0] == revision:
            return known[1]
        reader = self.reader(sql)
        if control.first_word(sql) in ("SELECT", "WITH", "("):
            select = reader.whole_select()
            plan: QueryPlan | DmlPlan = Preparer(self, binds, places=reader.binds).query(select)
        else:
            statement = reader.dml()
            plan = plan_dml(Preparer(self, binds, places=reader.binds), statement)
        while len(self._plans) >= CACHED:
            self._plans.pop(next(iter(self._plans)))
        self._plans[key] = revision, plan
        return plan

    def _query(self, sql: str, binds: Sequence[Bind], values: Sequence[Value]) -> Result:
        plan = self._planned(sql, binds)
        assert isinstance(plan, QueryPlan)
        self.isolate()
        self.oldest_scn = self.database.scn
        env = Env(self, values)
        columns = queries.columns(plan)
        if plan.locking is not None:
            return Result(columns, queries.locked(self, plan, env))
        if plan.lazy:
            return Result(columns, queries.lazily(self, plan, env))
        rows = list(plan.rows(env))
        return Result(columns, queries.kept(self.database, rows, self.oldest_scn))

    def run_dml(self, plan: DmlPlan, env: Env) -> Outcome:
        """Run a compiled statement of DML, its triggers and the checks at its end."""
        table = plan.table
        self.isolate()
        with self.atomic():
            if self.read_only_scn is not None:
                raise OraError(
                    1456,
                    "may not perform insert, delete, update operation inside a "
                    "READ ONLY transaction",
                )
            # A statement trigger runs before the statement locks its table, and may wait for others.
            revision = table.shape_revision
            firing.fire(self, table, "BEFORE", plan.events)
            if table.shape_revision != revision:
                raise Blocked(())  # another definition than we were compiled for: anew
            self.started().lock(table, ROW_EXCLUSIVE)
            writer = Writer(self)
            outcome = plan.run(writer, env)
            writer.finish()
            firing.fire(self, table, "AFTER", plan.events)
        return outcome

    def _block(self, sql: str, binds: Sequence[Bind], values: Sequence[Value]) -> Result:
        by_name = {bind.name: value for bind, value in zip(binds, values, strict=False)}
        for pattern, run in self.database.plsql:
            match = pattern.fullmatch(sql.strip())
            if match is not None:
                return Result(out=run(self, match, by_name))
        reader = PlSql(sql, **self.database.lengths(self.parameters))
        block = reader.whole_block()
        variables: dict[str, DataType] = {}
        preparer = Preparer(self, binds, variables=variables, places=reader.binds)
        machine = Machine(self, preparer, Env(self, values), variables)
        machine.run(block)
        out: Mapping[str, Value] = machine.out
        return Result(out=out, rowcount=1)

    # Reading

    def reading_at(self, table: Table) -> int | None:
        """The SCN of a READ ONLY or SERIALIZABLE transaction, else None: now."""
        scn = self.serial_scn if self.read_only_scn is None else self.read_only_scn
        return None if scn is None else self.database.readable(table, scn)

    def flashback(self, table: Table, value: Value) -> int:
        """Check the SCN of AS OF SCN."""
        if not isinstance(value, Decimal):
            raise OraError(8181, "specified number is not a valid system change number")
        scn = self.database.readable(table, int(value))
        self.oldest_scn = min(self.oldest_scn, scn)
        return scn

    def find_table(self, schema: str | None, name: str) -> Table | None:
        return self.catalog.tables.get((schema or self.schema, name))

    def table(self, schema: str | None, name: str, at: int = 0) -> Table:
        """A table, or ORA-00942."""
        found = self.find_table(schema, name)
        if found is None:
            raise OraError(942, "table or view does not exist", at)
        return found

    def find_sequence(self, schema: str | None, name: str) -> Counter | None:
        return self.catalog.sequences.get((schema or self.schema, name))

    def require(self, privilege: str, table: Table, at: int = 0) -> None:
        require(self.rights, privilege, table, at)

    @property
    def rights(self) -> User:
        """What may be done now."""
        if self._is_sys:
            return self.database.users["SYS"]
        if self.definer is None:
            return self.database.users[self.user]
        return self.database.users[self.definer].without_roles()

    @contextmanager
    def as_sys(self) -> Iterator[None]:
        """See what SYS sees, meanwhile."""
        self._is_sys = True
        try:
            yield
        finally:
            self._is_sys = False

    # The host of expressions

    @property
    def charsets(self) -> tuple[str, str]:
        return self.database.charsets

    def context(self, namespace: str, name: str) -> str | None:
        return context.value(self, namespace, name)

    def next_value(self, sequence: object) -> Value:
        assert isinstance(sequence, Counter)
        self.taken[sequence] = sequence.take()
        return Decimal(self.taken[sequence])

    def current_value(self, sequence: object) -> Value:
        assert isinstance(sequence, Counter)
        if sequence not in self.taken:
            raise OraError(
                8002, f"sequence {sequence.name}.CURRVAL is not yet defined in this session"
            )
        return Decimal(self.taken[sequence])

    def random_bytes(self, count: int) -> bytes:
        return self.database.random.randbytes(count)


def _timed_out(blocked: Blocked) -> OraError:
    if blocked.code == 30006:
        return OraError(30006, "resource busy; acquire with WAIT timeout expired")
    return OraError(54, "resource busy and acquire with NOWAIT specified or timeout expired")
