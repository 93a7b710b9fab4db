"""The database: its clock and SCN, containers, users, sessions, and what others add to it."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeAlias, TypedDict

from oracle.standin.backend import Moment, OraError, Value
from oracle.standin.engine import dictionary, dynamic, packages
from oracle.standin.engine.catalog import Catalog, Counter, Entry
from oracle.standin.engine.machine import Procedure
from oracle.standin.engine.preparing import Preparer
from oracle.standin.engine.queries import too_old
from oracle.standin.engine.relations import View
from oracle.standin.engine.rights import User
from oracle.standin.engine.rules import Rules
from oracle.standin.engine.session import Session
from oracle.standin.engine.storage import Index, Table
from oracle.standin.engine.temporals import moment_at
from oracle.standin.engine.transactions import Transaction, Xids
from oracle.standin.events import Log

#: Runs a whole block that a pattern matches: the session, the match and the binds by name. Gives values of OUT binds.
WholeBlock: TypeAlias = Callable[[Session, re.Match[str], Mapping[str, Value]], Mapping[str, Value]]


class Lengths(TypedDict):
    byte_semantics: bool
    max_string: int


class Database:
    """One database. Everything in it changes under `lock`; `freed` is told when a lock may have become free."""

    def __init__(
        self,
        log: Log,
        *,
        dbid: int = 1_234_567_890,
        name: str = "STANDIN",
        containers: Sequence[str] = ("CDB$ROOT",),
        services: Mapping[str, str] | None = None,
        users: Iterable[User] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        seed: int = 0,
        first_scn: int = 2_000_000,
        resetlogs_scn: int = 1,
        max_string_size: str = "STANDARD",
        charsets: tuple[str, str] = ("AL32UTF8", "AL16UTF16"),
        triggers_wait: bool = True,
    ) -> None:
        """`services` names the container of a service; others are in the first. More than one make a CDB.

        `clock` gives aware times. `triggers_wait`: creating and switching a trigger needs its table for itself,
        as other DDL does; without it, a statement trigger meets transactions that began before it.
        """
        self.log = log
        self.dbid = dbid
        self.name = name
        self.clock = clock
        self.random = random.Random(seed)
        self.charsets = charsets
        self.max_string_size = max_string_size
        self.triggers_wait = triggers_wait
        self.services = dict(services or {})
        self.lock = threading.RLock()
        self.freed = threading.Condition(self.lock)
        self.scn = first_scn
        self.undo_floor = 0
        self.resetlogs_scn = resetlogs_scn
        self.created = self.moment()
        self.revision = 0
        self.supplemental: dict[str, str] = {}
        self.users: dict[str, User] = {user.name: user for user in users}
        self.users.setdefault("SYS", User("SYS", {"DBA"}))
        numbers = [1, *range(3, 2 + len(containers))]
        self.containers = {
            name: Catalog(name, number) for name, number in zip(containers, numbers, strict=True)
        }
        self.is_cdb = len(containers) > 1 or containers[0] == "CDB$ROOT"
        self.sessions: dict[int, Session] = {}
        #: What others add; see View, Procedure and WholeBlock.
        self.views: dict[str, View] = dict(dictionary.VIEWS) | dict(dynamic.VIEWS)
        #: What a test wants shown instead, by view and column, and in addition: rows by column.
        self.settings: dict[str, dict[str, Value]] = {}
        self.planted: dict[str, list[dict[str, Value]]] = {}
        self.procedures: dict[str, Procedure] = dict(packages.PROCEDURES)
        self.constants: dict[str, Decimal] = {}
        self.plsql: list[tuple[re.Pattern[str], WholeBlock]] = []
        #: Statements of ALTER SYSTEM: each tells whether it has run the text.
        self.system: list[Callable[[Session, str], bool]] = []
        self.instance_parameters: dict[str, str] = dynamic.parameters(self)
        #: One for all containers: the redo log knows an open transaction by its XID alone.
        self.xids = Xids()
        self._rules: dict[Table, Rules] = {}
        self._objects = 73_000
        self._statements = 0
        self._sids = 100
        self._serials = 4000

    def session(self, user: str, service: str | None = None, *, thread: int = 1) -> Session:
        """Open a session. A user who is not known is made, with the rights of a DBA."""
        with self.lock:
            user = user.upper()
            self.users.setdefault(user, User(user, {"DBA"}))
            container = self.services.get(service or "", next(iter(self.containers)))
            session = Session(
                self,
                user,
                service=service or self.name,
                catalog=self.containers[container],
                thread=thread,
            )
            self.sessions[session.sid] = session
            return session

    # The SCN, and what can be read at one

    def current_scn(self) -> int:
        """The last SCN that was given out. A commit may have this very SCN; later ones have higher."""
        return self.scn

    def tick(self) -> int:
        """The next SCN."""
        self.scn += 1
        return self.scn

    def forget_undo(self, scn: int) -> None:
        """From now on nothing can be read as of an SCN below this: ORA-01555."""
        with self.lock:
            self.undo_floor = max(self.undo_floor, scn)

    def readable(self, table: Table, scn: int) -> int:
        """Check that a table can be read as of an SCN."""
        if scn > self.scn or scn < 1:
            raise OraError(8181, "specified number is not a valid system change number")
        if scn < self.undo_floor:
            raise too_old()
        if scn < table.defined_scn:
            raise OraError(1466, "unable to read data - table definition has changed")
        return scn

    def moment(self) -> Moment:
        return moment_at(self.clock())

    # Numbers

    def next_sid(self) -> tuple[int, int]:
        self._sids += 1
        self._serials += self.random.randint(1, 50)
        return self._sids, self._serials

    def next_object(self) -> int:
        self._objects += 1
        return self._objects

    def next_statement(self) -> int:
        self._statements += 1
        return self._statements

    # What DDL makes

    def make_index(
        self, catalog: Catalog, table: Table, owner: str, name: str, columns: tuple[int, ...]
    ) -> Index:
        index = Index(owner, name, columns, table.keys(columns))
        index.object_id = self.next_object()
        table.build(index)
        now = self.moment()
        catalog.entries[owner, name, "INDEX"] = Entry(
            owner, name, "INDEX", index.object_id, now, now, index
        )
        return index

    def make_sequence(self, catalog: Catalog, owner: str, name: str) -> Counter:
        sequence = Counter(owner, name, self.next_object())
        catalog.sequences[owner, name] = sequence
        now = self.moment()
        catalog.entries[owner, name, "SEQUENCE"] = Entry(
            owner, name, "SEQUENCE", sequence.object_id, now, now, sequence
        )
        return sequence

    def rules(self, table: Table, session: Session) -> Rules:
        """A table's rules, compiled once per definition."""
        known = self._rules.get(table)
        if known is None or known.revision != table.shape_revision:
            # Names in a default are those of the table's owner, whoever writes.
            schema, session.schema = session.schema, table.owner
            try:
                known = self._rules[table] = Rules(table, Preparer(session))
            finally:
                session.schema = schema
        return known

    # Settings

    @property
    def logs_all_columns(self) -> bool:
        return "ALL COLUMN LOGGING" in self.supplemental.values()

    def lengths(self, parameters: Mapping[str, str]) -> Lengths:
        """What a parser must know of lengths of text."""
        semantics = parameters.get("NLS_LENGTH_SEMANTICS", "BYTE")
        extended = self.max_string_size == "EXTENDED"
        return {"byte_semantics": semantics == "BYTE", "max_string": 32767 if extended else 4000}

    # Ends

    def kill(self, session: Session) -> None:
        """End another's session: its transaction is rolled back, its next call fails with ORA-00028."""
        with self.lock:
            session.end_all()
            session.killed = True
            self.freed.notify_all()

    def open_transactions(self) -> list[Transaction]:
        """Those that have an XID, oldest first."""
        found = [
            one
            for session in self.sessions.values()
            for one in (*session.suspended, session.transaction)
            if one is not None and one.xid is not None
        ]
        return sorted(found, key=lambda one: one.start_scn)
