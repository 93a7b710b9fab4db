"""Run blocks of PL/SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from oracle.standin.backend import OraError, Value
from oracle.standin.engine.casting import converted
from oracle.standin.engine.compiler import Compiler
from oracle.standin.engine.datatypes import NUMBER, VARCHAR, DataType, fit
from oracle.standin.engine.dml import plan_dml
from oracle.standin.engine.evaluation import Compiled, Env
from oracle.standin.engine.plsql import EXCEPTIONS, USER_DEFINED
from oracle.standin.engine.plsql_tree import (
    BOOLEAN,
    Assign,
    Block,
    CallProcedure,
    Control,
    EndTransaction,
    ExecuteImmediate,
    If,
    Raise,
    Return,
    RunDml,
    SelectInto,
    Step,
    Subprogram,
    Variable,
)
from oracle.standin.engine.preparing import Preparer
from oracle.standin.engine.tree import BindRef, Dml, Expr, Literal, Name, Select

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session

#: A procedure of a package: the session, arguments by place and arguments by name.
Procedure: TypeAlias = "Callable[[Session, Sequence[Value], Mapping[str, Value]], None]"


class _UserDefined(OraError):
    def __init__(self, name: str) -> None:
        super().__init__(USER_DEFINED, "PL/SQL: unhandled user-defined exception")
        self.name = name


class _Returned(Exception):
    """RETURN, on its way out of the blocks of a program."""

    def __init__(self, value: Expr | None) -> None:
        super().__init__("returned")
        self.value = value


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
        self._blocks: list[Block] = []
        variables.setdefault("SQLCODE", NUMBER)
        variables.setdefault("SQLERRM", VARCHAR)
        env.variables.setdefault("SQLCODE", Decimal(0))
        env.variables.setdefault("SQLERRM", "ORA-0000: normal, successful completion")

    def run(self, block: Block) -> None:
        """Run a block and all that it calls."""
        try:
            self._run(block)
        except _Returned:
            return

    def _run(self, block: Block) -> None:
        if block.autonomous:
            with self.session.autonomous():
                self._block(block)
        else:
            self._block(block)

    def _block(self, block: Block) -> None:
        for one in block.subprograms:
            self.preparer.programs[one.name] = (one, self._callable(one))
        self._declare(block.declared)
        self._blocks.append(block)
        try:
            self._steps(block.steps)
        except OraError as error:
            steps = _handler(block, error)
            if steps is None:
                raise
            self._handle(steps, error)
        finally:
            self._blocks.pop()

    def _declare(self, declared: Sequence[Variable]) -> None:
        for one in declared:
            self.variables[one.name] = one.type
            self.env.variables[one.name] = None
            self._store(one.name, self._typed(one.value, one.type))

    def _callable(self, program: Subprogram) -> Callable[[Sequence[Value]], Value]:
        """A local program as a function of its arguments; those that are missing have their defaults."""

        def call(given: Sequence[Value]) -> Value:
            # Its own names hide those around it while it runs.
            types, values = dict(self.variables), dict(self.env.variables)
            self._declare(program.parameters[len(given) :])
            for one, value in zip(program.parameters, given, strict=False):
                self.variables[one.name], self.env.variables[one.name] = one.type, value
            try:
                return self._returned(program)
            finally:
                own = {one.name for one in (*program.parameters, *program.body.declared)}
                for name in own:
                    self.variables.pop(name, None)
                    self.env.variables.pop(name, None)
                    if name in types:
                        self.variables[name] = types[name]
                        self.env.variables[name] = values[name]

        return call

    def _returned(self, program: Subprogram) -> Value:
        """Run a program's body. What it returns is evaluated in its own transaction."""
        with self.session.autonomous() if program.body.autonomous else nullcontext():
            try:
                self._block(program.body)
            except _Returned as returned:
                if program.returns is None or returned.value is None:
                    return None
                found = self._typed(returned.value, program.returns)
                return converted(found, program.returns)(self.env)
        if program.returns is not None:
            raise OraError(6503, "PL/SQL: Function returned without value")
        return None

    def _perform(self, program: Subprogram, step: CallProcedure) -> None:
        if step.named or len(step.positional) > len(program.parameters):
            text = f"wrong number or types of arguments in call to '{program.name}'"
            raise _not_compiled(f"PLS-00306: {text}")
        given = [
            converted(self._typed(arg, one.type), one.type)(self.env)
            for arg, one in zip(step.positional, program.parameters, strict=False)
        ]
        self._callable(program)(given)

    def _handle(self, steps: Iterable[Step], error: OraError) -> None:
        known = ("SQLCODE", "SQLERRM")
        outside = {name: self.env.variables[name] for name in known}
        before, self._handled = self._handled, error
        number = {USER_DEFINED: 1, 1403: 100}.get(error.code, -error.code)
        self.env.variables |= {"SQLCODE": Decimal(number), "SQLERRM": str(error)}
        try:
            self._steps(steps)
        finally:
            self._handled = before
            self.env.variables |= outside

    def _steps(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self._step(step)

    def _step(self, step: Step) -> None:
        match step:
            case Block():
                self._run(step)
            case Assign(target, value):
                self._assign(target, self._value(value))
            case If():
                self._if(step)
            case SelectInto(query, targets):
                self._waiting(lambda: self._select(query, targets))
            case RunDml(statement):
                self._waiting(lambda: self._dml(statement))
            case EndTransaction(commit):
                self._end(commit=commit)
            case Control(text):
                self._waiting(partial(self.session.execute_inner, text))
            case ExecuteImmediate(sql):
                built = str(self._value(sql).run(self.env) or "")
                self._waiting(partial(self.session.execute_inner, built))
            case CallProcedure():
                self._call(step)
            case Raise(name):
                raise self._raised(name)
            case Return(value):
                raise _Returned(value)

    def _waiting(self, run: Callable[[], None]) -> None:
        """Wait here for what others hold: what the block has done before is not done again."""
        self.session.until_free(run)

    def _end(self, *, commit: bool) -> None:
        if self.session.definer is not None and not self.session.suspended:
            what = "COMMIT" if commit else "ROLLBACK"
            raise OraError(4092, f"cannot {what} in a trigger")
        self.session.end(commit=commit)

    def _raised(self, name: str | None) -> OraError:
        if name is None:
            return self._handled or _not_compiled("PLS-00367: a RAISE statement with no exception")
        for block in reversed(self._blocks):
            for known, code in block.exceptions:
                if known == name:
                    return _UserDefined(name) if code == USER_DEFINED else OraError(code, name)
        codes = EXCEPTIONS.get(name)
        if codes is None:
            raise _not_compiled(f"PLS-00201: identifier '{name}' must be declared")
        return OraError(min(codes), name.replace("_", " ").lower())

    def _value(self, expr: Expr) -> Compiled:
        with self.preparer.procedural():
            return Compiler(self.preparer, self.preparer.root).value(expr)

    def _typed(self, expr: Expr, kind: DataType) -> Compiled:
        """A value for a variable of a type; a condition where it is a BOOLEAN's."""
        if kind is not BOOLEAN or isinstance(expr, Literal):
            return self._value(expr)
        with self.preparer.procedural():
            test = Compiler(self.preparer, self.preparer.root).condition(expr)

        def run(env: Env) -> Value:
            found = test(env)
            return None if found is None else Decimal(found)

        return Compiled(BOOLEAN, run)

    def _condition(self, expr: Expr) -> bool:
        with self.preparer.procedural():
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
        self.session.isolate()
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
        program = self.preparer.programs.get(step.name)
        if program is not None:
            self._perform(program[0], step)
            return
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


def _not_compiled(what: str) -> OraError:
    return OraError(6550, f"line 1, column 1:\n{what}")


def _application_error(args: Sequence[Value]) -> OraError:
    code = args[0] if args else None
    if not isinstance(code, Decimal) or not -20999 <= code <= -20000:
        return OraError(
            21000, f"error number argument to raise_application_error of {code!r} is out of range"
        )
    return OraError(-int(code), str(args[1] if len(args) > 1 else ""))


def _handler(block: Block, error: OraError) -> tuple[Step, ...] | None:
    for names, steps in block.handlers:
        if "OTHERS" in names or any(_is(block, error, name) for name in names):
            return steps
    return None


def _is(block: Block, error: OraError, name: str) -> bool:
    """Tell whether an exception's name stands for an error."""
    if isinstance(error, _UserDefined):
        return error.name == name
    declared = dict(block.exceptions).get(name)
    return error.code in (EXCEPTIONS.get(name, ()) if declared is None else (declared,))
