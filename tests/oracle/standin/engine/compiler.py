"""Compile expressions into functions of an environment. Their types are known by then, as Oracle's are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from oracle.standin.backend import Kind, OraError, Value
from oracle.standin.engine.aggregates import AGGREGATES, Aggregate
from oracle.standin.engine.arithmetic import arithmetic, concatenation, negation
from oracle.standin.engine.casting import converted, subquery_rows
from oracle.standin.engine.conditions import Conditions
from oracle.standin.engine.datatypes import (
    BINARY,
    CLOB,
    DATE,
    NUMBER,
    RAW,
    STAMP_TZ,
    VARCHAR,
    DataType,
    fit,
)
from oracle.standin.engine.evaluation import Compiled, Cond, Env, Run
from oracle.standin.engine.functions import FUNCTIONS, Function, call
from oracle.standin.engine.reading import unimplemented
from oracle.standin.engine.scopes import Planner, Scope, unknown
from oracle.standin.engine.tree import (
    Binary,
    BindRef,
    Call,
    Case,
    Cast,
    Expr,
    Extract,
    Literal,
    Name,
    Scalar,
    Select,
    Unary,
)

_LETTERS = {"T": VARCHAR, "N": NUMBER, "R": RAW, "D": DATE, "Z": STAMP_TZ}


class Compiler(Conditions):
    """Compiles in one scope. With `aggregates` a list, group functions are allowed and gathered there."""

    def __init__(
        self,
        planner: Planner,
        scope: Scope,
        *,
        aggregates: list[Aggregate] | None = None,
        group: tuple[Expr, ...] | None = None,
    ) -> None:
        self.planner = planner
        self.scope = scope
        self.aggregates = aggregates
        self.group = group

    def value(self, expr: Expr) -> Compiled:
        if self.group is not None and expr in self.group:
            return Compiler(self.planner, self.scope).value(expr)
        match expr:
            case Literal(value, kind):
                return Compiled(kind, lambda env: value)
            case Name():
                return self._name(expr)
            case BindRef(name, number):
                return self._bind(name, number)
            case Call():
                return self._call(expr)
            case Unary("-", arg):
                return negation(self.value(arg))
            case Binary("||", left, right):
                return concatenation(self.value(left), self.value(right))
            case Binary(op, left, right) if op in "+-*/":
                return arithmetic(op, self.value(left), self.value(right))
            case Case():
                return self._case(expr)
            case Cast(arg, kind):
                return self._cast(self.value(arg), kind)
            case Scalar(query):
                return self._scalar(query)
            case Extract(unit, arg):
                from oracle.standin.engine.special import extract

                return extract(unit, self.value(arg))
            case _:
                raise unimplemented("a condition or a list as a value")

    def to(self, expr: Expr, kind: DataType) -> Run:
        """A value converted as Oracle does by itself."""
        return converted(self.value(expr), kind)

    def _name(self, name: Name) -> Compiled:
        found = self.scope.find(name.path, name.at)
        if found is not None:
            depth, source, column, kind = found
            if depth == 0:
                if self.group is not None:
                    if self.group:
                        raise OraError(979, "not a GROUP BY expression", name.at)
                    raise OraError(937, "not a single-group group function", name.at)
                return Compiled(kind, lambda env: env.rows[source][column])
            return Compiled(kind, lambda env: env.at_depth(depth).rows[source][column])
        variable = ".".join(name.path)
        declared = self.scope.variable(variable)
        if declared is not None:
            return Compiled(declared, lambda env: env.variables[variable])
        return self._nullary(name)

    def _nullary(self, name: Name) -> Compiled:
        last = name.path[-1]
        if len(name.path) == 1:
            program = self.program(name)
            if program is not None:
                return program
            if last == "ROWNUM":
                return Compiled(NUMBER, lambda env: Decimal(env.rownum))
            if last == "LEVEL":
                return Compiled(NUMBER, lambda env: Decimal(env.level))
            if last in ("SESSIONTIMEZONE", "DBTIMEZONE"):
                return self._call(Call("SYS_CONTEXT", _userenv(last), name.at))
            if (function := FUNCTIONS.get(last)) is not None and not function.least:
                return Compiled(function.type, function.run)
        elif last in ("NEXTVAL", "CURRVAL"):
            run = self.planner.sequence(name.path, name.at)
            if run is not None:
                return Compiled(NUMBER, run)
        found = self.planner.constant(".".join(name.path))
        if found is None:
            raise unknown(name)
        return found

    def program(self, expr: Name | Call) -> Compiled | None:
        """The call of a function that a block declares."""
        name, given = (expr.name, expr.args) if isinstance(expr, Call) else (expr.path[-1], ())
        found = self.planner.program(name, expr.at)
        if found is None:
            return None
        if len(given) > len(found.parameters):
            text = f"PLS-00306: wrong number or types of arguments in call to '{name}'"
            raise OraError(6550, f"line 1, column {expr.at + 1}:\n{text}", expr.at)
        args = [self.to(arg, kind) for arg, kind in zip(given, found.parameters, strict=False)]
        return Compiled(found.type, lambda env: found.run([arg(env) for arg in args]))

    def _bind(self, name: str, number: int) -> Compiled:
        place = self.planner.bind_place(number, name)
        return Compiled(self.planner.bind_type(number, name), lambda env: env.binds[place])

    def _call(self, found: Call) -> Compiled:
        program = self.program(found)
        if program is not None:
            return program
        if found.name in AGGREGATES:
            return self._aggregate(found)
        from oracle.standin.engine.special import SPECIAL

        if (special := SPECIAL.get(found.name)) is not None:
            return special(self, found)
        function = FUNCTIONS.get(found.name)
        if function is None:
            raise OraError(904, f'"{found.name}": invalid identifier', found.at)
        call(function, found.name, len(found.args))
        args = [
            self._argument(arg, letter)
            for arg, letter in zip(found.args, function.letters, strict=False)
        ]
        return Compiled(function.type, _calling(function, args))

    def _argument(self, arg: Expr, letter: str) -> Run:
        if letter == "A":
            return self.value(arg).run
        if letter == "L":
            found = self.value(arg)
            if found.type.kind in BINARY:
                return found.run
            return converted(found, CLOB)
        return self.to(arg, _LETTERS[letter])

    def _aggregate(self, found: Call) -> Compiled:
        if self.aggregates is None:
            raise OraError(934, "group function is not allowed here", found.at)
        inner = Compiler(self.planner, self.scope)
        aggregate = AGGREGATES[found.name](inner, found)
        place = len(self.aggregates)
        self.aggregates.append(aggregate)
        return Compiled(aggregate.type, lambda env: env.aggregates[place])

    def _case(self, case: Case) -> Compiled:
        whens: list[tuple[Cond, Expr]] = []
        for when, then in case.whens:
            test = when if case.operand is None else Binary("=", case.operand, when)
            whens.append((self.condition(test), then))
        results = [then for _, then in whens]
        results += [] if case.otherwise is None else [case.otherwise]
        kind, runs = self.unified(tuple(results))
        otherwise = runs[len(whens)] if case.otherwise is not None else None
        branches = [(test, run) for (test, _), run in zip(whens, runs, strict=False)]

        def run(env: Env) -> Value:
            for test, then in branches:
                if test(env):
                    return then(env)
            return None if otherwise is None else otherwise(env)

        return Compiled(kind, run)

    def unified(self, exprs: tuple[Expr, ...]) -> tuple[DataType, list[Run]]:
        """Values of one type: that of the first which is not the literal NULL."""
        found = [self.value(expr) for expr in exprs]
        typed = [
            one.type
            for one, expr in zip(found, exprs, strict=True)
            if not (isinstance(expr, Literal) and expr.value is None)
        ]
        kind = typed[0] if typed else VARCHAR
        if kind.kind is Kind.CHAR:
            kind = DataType(Kind.VARCHAR2, national=kind.national)
        return kind, [converted(one, kind) for one in found]

    def _cast(self, source: Compiled, kind: DataType) -> Compiled:
        run = converted(source, kind)

        def cast(env: Env) -> Value:
            value = run(env)
            if isinstance(value, str) and kind.kind in (Kind.VARCHAR2, Kind.CHAR):
                value = value[: kind.length]
            return fit(value, kind, "CAST")

        return Compiled(kind, cast)

    def _scalar(self, query: Select) -> Compiled:
        plan = self.planner.subquery(query, self.scope)
        if len(plan.columns) != 1:
            raise OraError(913, "too many values")

        def run(env: Env) -> Any:
            rows = subquery_rows(plan, env)
            if len(rows) > 1:
                raise OraError(1427, "single-row subquery returns more than one row")
            return rows[0][0] if rows else None

        return Compiled(plan.columns[0][1], run)


def _userenv(name: str) -> tuple[Expr, ...]:
    return Literal("USERENV", VARCHAR), Literal(name, VARCHAR)


def _calling(function: Function, args: list[Run]) -> Run:
    plain, strict = function.run, function.strict
    if len(args) == 1 and strict:
        only = args[0]

        def single(env: Env) -> Value:
            value = only(env)
            return None if value is None else plain(env, value)

        return single

    def run(env: Env) -> Value:
        values = [arg(env) for arg in args]
        return None if strict and None in values else plain(env, *values)

    return run
