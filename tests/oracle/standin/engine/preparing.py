"""What compiling a statement needs to know: its binds, the names of its container, and the user's rights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

from oracle.standin.backend import Bind, Kind, OraError, Value
from oracle.standin.engine.catalog import Counter
from oracle.standin.engine.compiler import Compiler
from oracle.standin.engine.datatypes import NUMBER, VARCHAR, DataType
from oracle.standin.engine.evaluation import Compiled, Run
from oracle.standin.engine.planning import QueryPlan, plan_select
from oracle.standin.engine.plsql_tree import BOOLEAN, Subprogram
from oracle.standin.engine.relations import Derived, Dual, TableRelation, ViewRelation
from oracle.standin.engine.scopes import Program, Scope
from oracle.standin.engine.storage import Table
from oracle.standin.engine.tree import Inline, Select, TableRef
from oracle.standin.engine.visibility import view_named

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session


class Preparer:
    """Compiles for one session and one list of binds."""

    def __init__(
        self,
        session: Session,
        binds: Sequence[Bind] = (),
        *,
        described: bool = False,
        variables: Mapping[str, DataType] | None = None,
        places: int = 0,
    ) -> None:
        self.session = session
        self.described = described  #: no values: only the result's columns are wanted
        self.root = Scope(None, variables)
        given = [bind for bind in binds if not bind.returned]
        self._types = [_bind_type(bind) for bind in given]
        self._by_name = {bind.name: place for place, bind in reversed(list(enumerate(given)))}
        #: Binds stand for the statement's places one by one where there are as many.
        self._by_place = len(binds) == places and not any(bind.returned for bind in binds[:-1])
        if places and any(bind.returned for bind in binds):
            self._by_place = len(binds) == places
        self._named: dict[str, Select] = {}
        #: PL/SQL: the local programs by name, and whether what is compiled is PL/SQL's own, not a statement's.
        self.programs: dict[str, tuple[Subprogram, Callable[[Sequence[Value]], Value]]] = {}
        self._procedural = False

    def bind_place(self, number: int, name: str) -> int:
        if self._by_place and number < len(self._types):
            return number
        if name in self._by_name:
            return self._by_name[name]
        if self.described:
            return 0
        raise OraError(1008, "not all variables bound")

    def bind_type(self, number: int, name: str) -> DataType:
        place = self.bind_place(number, name)
        return self._types[place] if place < len(self._types) else VARCHAR

    def subquery(self, query: Select, scope: Scope) -> QueryPlan:
        return plan_select(self, query, scope)

    def query(self, query: Select) -> QueryPlan:
        return plan_select(self, query, self.root)

    @contextmanager
    def naming(self, named: Sequence[tuple[str, Select]]) -> Iterator[None]:
        """WITH: names for queries while the statement's body is compiled."""
        before = self._named
        self._named = before | dict(named)
        yield
        self._named = before

    def add_source(self, scope: Scope, source: TableRef | Inline, parent: Scope | None) -> None:
        if isinstance(source, Inline):
            plan = plan_select(self, source.query, parent)
            scope.add(source.alias, Derived(plan))
            return
        named = self._named.get(source.name) if source.schema is None else None
        if named is not None:
            scope.add(source.alias, Derived(plan_select(self, named, parent)))
            return
        self._add_table(scope, source, parent)

    def _add_table(self, scope: Scope, ref: TableRef, parent: Scope | None) -> None:
        session = self.session
        table = session.find_table(ref.schema, ref.name)
        if table is not None:
            session.require("SELECT", table, ref.at)
            scope.add(ref.alias, self.table_relation(table, ref, parent), table.owner)
            return
        if ref.name == "DUAL" and ref.schema in (None, "SYS"):
            scope.add(ref.alias, Dual())
            return
        view = view_named(session, ref.schema, ref.name)
        if view is None:
            raise OraError(942, "table or view does not exist", ref.at)
        scope.add(ref.alias, ViewRelation(view, session), ref.schema or "SYS")

    def table_relation(
        self, table: Table, ref: TableRef, parent: Scope | None = None
    ) -> TableRelation:
        if ref.scn is None:
            return TableRelation(table, self.session)
        self.session.require("FLASHBACK", table, ref.at)
        return TableRelation(table, self.session, Compiler(self, Scope(parent)).to(ref.scn, NUMBER))

    def sequence(self, path: Sequence[str], at: int) -> Run | None:
        found = self.session.find_sequence(path[-3] if len(path) > 2 else None, path[-2])
        if found is None:
            return None
        known: Counter = found
        if path[-1] == "NEXTVAL":
            return lambda env: env.host.next_value(known)
        return lambda env: env.host.current_value(known)

    @contextmanager
    def procedural(self) -> Iterator[None]:
        before, self._procedural = self._procedural, True
        try:
            yield
        finally:
            self._procedural = before

    def program(self, name: str, at: int) -> Program | None:
        if self._procedural and name in ("TRUE", "FALSE"):
            truth = Decimal(name == "TRUE")
            return Program(BOOLEAN, (), lambda args: truth)
        found = self.programs.get(name)
        if found is None or found[0].returns is None:
            return None
        if not self._procedural:
            text = f"function '{name}' may not be used in SQL"
            raise OraError(6550, f"line 1, column {at + 1}:\nPLS-00231: {text}", at)
        one, run = found
        return Program(one.returns or NUMBER, tuple(p.type for p in one.parameters), run)

    def constant(self, name: str) -> Compiled | None:
        value = self.session.database.constants.get(name.removeprefix("SYS."))
        return None if value is None else Compiled(NUMBER, lambda env: value)


def _bind_type(bind: Bind) -> DataType:
    match bind.kind:
        case Kind.VARCHAR2 | Kind.CHAR | Kind.RAW:
            return DataType(bind.kind, bind.size, national=bind.national, byte_semantics=True)
        case Kind.LONG:
            return DataType(Kind.CLOB, national=bind.national)
        case Kind.LONG_RAW:
            return DataType(Kind.BLOB)
        case Kind.CLOB:
            return DataType(Kind.CLOB, national=bind.national)
        case Kind.TIMESTAMP | Kind.TIMESTAMP_TZ | Kind.TIMESTAMP_LTZ:
            return DataType(bind.kind, scale=9)
        case Kind.INTERVAL_DS:
            return DataType(bind.kind, precision=9, scale=9)
        case Kind.INTERVAL_YM:
            return DataType(bind.kind, precision=9)
        case kind:
            return DataType(kind)
