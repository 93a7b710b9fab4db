"""Compile INSERT, UPDATE and DELETE. Each first reads which rows it is about, and then changes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from oracle.standin.backend import OraError, Value
from oracle.standin.engine.changes import Writer
from oracle.standin.engine.changing import Assignment, Changing, DmlPlan, Outcome
from oracle.standin.engine.compiler import Compiler
from oracle.standin.engine.datatypes import DataType
from oracle.standin.engine.evaluation import Env
from oracle.standin.engine.joining import Joins
from oracle.standin.engine.merging import Merging
from oracle.standin.engine.planning import QueryPlan
from oracle.standin.engine.preparing import Preparer
from oracle.standin.engine.scopes import Scope
from oracle.standin.engine.storage import Row
from oracle.standin.engine.tree import Delete, Dml, Insert, Joined, Merge, Name, Update


def plan_dml(preparer: Preparer, statement: Dml) -> DmlPlan:
    match statement:
        case Insert():
            return _Inserting(preparer, statement).plan()
        case Update():
            return _Updating(preparer, statement).plan()
        case Delete():
            return _Deleting(preparer, statement).plan()
        case Merge():
            return Merging(preparer, statement).plan()


class _Inserting(Changing):
    def __init__(self, preparer: Preparer, statement: Insert) -> None:
        super().__init__(preparer, statement, ("INSERT",))
        self.places = self._places(statement.columns)
        self.returned = self.returning(statement.returning)
        self.given: list[Assignment] = []
        self.query: QueryPlan | None = None
        if statement.query is not None:
            self._from_query(statement)
        else:
            self._from_values(statement)

    def _places(self, names: Sequence[str] | None) -> list[int]:
        if names is None:
            return [place for place, column in enumerate(self.table.columns) if not column.hidden]
        places = [self.position(Name((name,), 0)) for name in names]
        if len(set(places)) < len(places):
            raise OraError(957, "duplicate column name")
        return places

    def _allowed(self, place: int) -> None:
        column = self.table.columns[place]
        if column.virtual is not None:
            raise OraError(54013, "INSERT operation disallowed on virtual columns")
        if column.identity == "ALWAYS":
            raise OraError(32795, "cannot insert into a generated always identity column")

    def _counted(self, given: int) -> None:
        if given < len(self.places):
            raise OraError(947, "not enough values")
        if given > len(self.places):
            raise OraError(913, "too many values")

    def _from_values(self, statement: Insert) -> None:
        assert statement.values is not None
        self._counted(len(statement.values))
        compiler = Compiler(self.preparer, self.preparer.root)
        for place, expr in zip(self.places, statement.values, strict=True):
            if expr is not None:
                self._allowed(place)
                run = compiler.to(expr, self.table.columns[place].type)
                self.given.append((place, run))

    def _from_query(self, statement: Insert) -> None:
        assert statement.query is not None
        query = self.query = self.preparer.query(statement.query)
        self._counted(len(query.columns))
        scope = Scope(self.preparer.root)
        scope.add("", _Given(query.columns))
        compiler = Compiler(self.preparer, scope)
        for number, place in enumerate(self.places):
            self._allowed(place)
            name = Name((_numbered(number),), 0)
            self.given.append((place, compiler.to(name, self.table.columns[place].type)))

    def plan(self) -> DmlPlan:
        return DmlPlan(self.table, ("INSERT",), self._run)

    def _run(self, writer: Writer, env: Env) -> Outcome:
        outcome, rules = Outcome(0, []), self.rules()
        own = Env(env.host, env.binds, env)
        if self.query is None:
            row = writer.insert(self.table, self.fresh(env, rules, self.given))
            self.give(outcome, self.returned, own, row)
            return outcome
        for source in list(self.query.rows(env)):
            own.rows = [source]
            row = writer.insert(self.table, self.fresh(own, rules, self.given))
            self.give(outcome, self.returned, own, row)
        return outcome


class _Given:
    """The rows of INSERT's query, with numbers for names."""

    def __init__(self, columns: Sequence[tuple[str, DataType]]) -> None:
        self.columns = tuple((_numbered(number), kind) for number, (_, kind) in enumerate(columns))
        self.visible = len(columns)

    def rows(self, env: Env) -> Iterator[Sequence[Value]]:
        return iter(())


def _numbered(number: int) -> str:
    return f":{number}"


class _Updating(Changing):
    def __init__(self, preparer: Preparer, statement: Update) -> None:
        super().__init__(preparer, statement, ("UPDATE",))
        compiler = Compiler(preparer, self.own_scope())
        self.joins = Joins(compiler, [Joined(statement.table)], statement.where)
        self.sets = self.assignments(compiler, statement.sets)
        self.returned = self.returning(statement.returning)

    def plan(self) -> DmlPlan:
        return DmlPlan(self.table, ("UPDATE",), self._run)

    def _run(self, writer: Writer, env: Env) -> Outcome:
        outcome, rules = Outcome(0, []), self.rules()
        found = _read(self, self.joins, env)
        for row, _ in found:
            writer.claim(row)
        for row, values in found:
            own = Env(env.host, env.binds, env)
            own.rows = [values]
            writer.update(self.table, row, self.updated(own, rules, row, self.sets))
            self.give(outcome, self.returned, own, row)
        return outcome


class _Deleting(Changing):
    def __init__(self, preparer: Preparer, statement: Delete) -> None:
        super().__init__(preparer, statement, ("DELETE",))
        compiler = Compiler(preparer, self.own_scope())
        self.joins = Joins(compiler, [Joined(statement.table)], statement.where)
        self.returned = self.returning(statement.returning)

    def plan(self) -> DmlPlan:
        return DmlPlan(self.table, ("DELETE",), self._run)

    def _run(self, writer: Writer, env: Env) -> Outcome:
        outcome = Outcome(0, [])
        found = _read(self, self.joins, env)
        for row, _ in found:
            writer.claim(row)
        for row, values in found:
            own = Env(env.host, env.binds, env)
            own.rows = [values]
            if row.seen(writer.transaction) is not None:  # else a cascade was here before
                writer.delete(self.table, row)
            self.give(outcome, self.returned, own, row)
        return outcome


def _read(changing: Changing, joins: Joins, env: Env) -> list[tuple[Row, Sequence[Value]]]:
    own = Env(env.host, env.binds, env)
    return [(changing.row_of(found, 0), found.rows[0]) for found in joins.envs(own)]
