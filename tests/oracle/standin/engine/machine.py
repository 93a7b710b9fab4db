"""Run blocks of PL/SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from oracle.standin.backend import OraError, Value
from oracle.standin.engine.casting import converted
from oracle.standin.engine.compiler import Compiler
from oracle.standin.engine.datatypes import DataType, fit
from oracle.standin.engine.dml import plan_dml
from oracle.standin.engine.evaluation import Compiled, Env
from oracle.standin.engine.plsql import (
    EXCEPTIONS,
    Assign,
    Block,
    CallProcedure,
    EndTransaction,
    ExecuteImmediate,
    If,
    Raise,
    RunDml,
    SelectInto,
    Step,
)
from oracle.standin.engine.preparing import Preparer
from oracle.standin.engine.tree import BindRef, Dml, Expr, Name, Select

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session

#: A procedure of a package: the session, arguments by place and arguments by name.
Procedure: TypeAlias = "Callable[[Session, Sequence[Value], Mapping[str, Value]], None]"


class Machine:
    """Runs one block for a session."""

    def __init__(
        self,
        session: Session,
        preparer: Preparer,
        env: Env,
        variables: dict[str, DataType],
    ) -> None:
        self.session = session
        self.preparer = preparer
        self.env = env
        self.variables = variables  #: the scope's own mapping: a declaration shows at once
        self.out: dict[str, Value] = {}
        self._handled: OraError | None = None

    def run(self, block: Block) -> None:
        for name, kind, value in block.declared:
            self.variables[name] = kind
            self.env.variables[name] = None
            self._store(name, self._value(value))
        try:
            self._steps(block.steps)
        except OraError as error:
            steps = _handler(block, error)
            if steps is None:
                raise
            before, self._handled = self._handled, error
            self._steps(steps)
            self._handled = before

    def _steps(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self._step(step)

    def _step(self, step: Step) -> None:
        match step:
            case Block():
                self.run(step)
            case Assign(target, value):
                self._assign(target, self._value(value))
            case If():
                self._if(step)
            case SelectInto(query, targets):
                self._select(query, targets)
            case RunDml(statement):
                self._dml(statement)
            case EndTransaction(commit):
                self.session.end(commit=commit)
            case ExecuteImmediate(sql):
                self.session.execute_inner(str(self._value(sql).run(self.env) or ""))
            case CallProcedure():
                self._call(step)
            case Raise():
                raise self._handled or OraError(6550, "line 1, column 1:\nPLS-00367: RAISE")

    def _value(self, expr: Expr) -> Compiled:
        return Compiler(self.preparer, self.preparer.root).value(expr)

    def _condition(self, expr: Expr) -> bool:
        return bool(Compiler(self.preparer, self.preparer.root).condition(expr)(self.env))

    def _assign(self, target: Name | BindRef, value: Compiled) -> None:
        if isinstance(target, BindRef):
            place = self.preparer.bind_place(target.number, target.name)
            kind = self.preparer.bind_type(target.number, target.name)
            found = converted(value, kind)(self.env)
            self.out[target.name] = found
            values = list(self.env.binds)
            values[place] = found
            self.env.binds = values
            return
        name = ".".join(target.path)
        if name not in self.variables:
            raise OraError(
                6550, f"line 1, column 1:\nPLS-00201: identifier '{name}' must be declared"
            )
        self._store(name, value)

    def _store(self, name: str, value: Compiled) -> None:
        kind = self.variables[name]
        found = converted(value, kind)(self.env)
        self.env.variables[name] = fit(found, kind, name) if kind.length or kind.scale else found

    def _if(self, step: If) -> None:
        for condition, steps in step.branches:
            if self._condition(condition):
                self._steps(steps)
                return
        self._steps(step.otherwise)

    def _select(self, query: Select, targets: Sequence[Name | BindRef]) -> None:
        plan = self.preparer.query(query)
        if len(plan.columns) != len(targets):
            raise OraError(947, "not enough values")
        rows = list(plan.rows(self.env))
        if not rows:
            raise OraError(1403, "no data found")
        if len(rows) > 1:
            raise OraError(1422, "exact fetch returns more than requested number of rows")
        for target, (_, kind), value in zip(targets, plan.columns, rows[0], strict=True):
            self._assign(target, Compiled(kind, lambda env, value=value: value))  # type: ignore[misc]

    def _dml(self, statement: Dml) -> None:
        self.session.run_dml(plan_dml(self.preparer, statement), self.env)

    def _call(self, step: CallProcedure) -> None:
        positional = [self._value(arg).run(self.env) for arg in step.positional]
        if step.name == "RAISE_APPLICATION_ERROR":
            raise _application_error(positional)
        procedure = self.session.database.procedures.get(step.name)
        if procedure is None:
            raise OraError(
                6550,
                f"line 1, column {step.at + 1}:\nPLS-00201: identifier '{step.name}' must be declared",
                step.at,
            )
        named = {name: self._value(arg).run(self.env) for name, arg in step.named}
        procedure(self.session, positional, named)


def _application_error(args: Sequence[Value]) -> OraError:
    code = args[0] if args else None
    if not isinstance(code, Decimal) or not -20999 <= code <= -20000:
        return OraError(
            21000, f"error number argument to raise_application_error of {code!r} is out of range"
        )
    return OraError(-int(code), str(args[1] if len(args) > 1 else ""))


def _handler(block: Block, error: OraError) -> tuple[Step, ...] | None:
    for names, steps in block.handlers:
        if "OTHERS" in names or any(error.code in EXCEPTIONS.get(name, ()) for name in names):
            return steps
    return None
