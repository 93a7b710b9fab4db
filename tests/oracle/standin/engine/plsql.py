"""A small part of PL/SQL: blocks, local functions and procedures, IF, assignments, SELECT INTO, DML, LOCK TABLE,
exceptions, autonomous transactions, and procedures that others register.

Anything else is ORA-06550, never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oracle.standin.backend import Kind, OraError
from oracle.standin.engine.datatypes import NUMBER, VARCHAR, DataType
from oracle.standin.engine.expressions import NULL
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
from oracle.standin.engine.statements import Statements
from oracle.standin.engine.tokens import Sort
from oracle.standin.engine.tree import BindRef, Expr, Name

#: The error of an exception that a block declares for itself.
USER_DEFINED = 6510
#: The named exceptions, by the errors that they handle.
EXCEPTIONS = {
    "DUP_VAL_ON_INDEX": {1},
    "NO_DATA_FOUND": {1403},
    "TOO_MANY_ROWS": {1422},
    "INVALID_NUMBER": {1722},
    "VALUE_ERROR": {6502, 12899, 1438},
    "ZERO_DIVIDE": {1476},
}


class _Declared:
    """What stands between DECLARE and BEGIN."""

    def __init__(self) -> None:
        self.variables: list[Variable] = []
        self.subprograms: list[Subprogram] = []
        self.autonomous = False


class PlSql(Statements):
    """Reads a block."""

    def __init__(self, sql: str, **lengths: Any) -> None:
        super().__init__(sql, **lengths)
        self._exceptions: dict[str, int] = {}  #: declared, with their errors' numbers

    def whole_block(self) -> Block:
        """A block to its end. Whatever can't be read is ORA-06550."""
        try:
            found = self._called() if self.at_words("CALL") else self._block_of()
            self.sign(";")
            self.sign("/")
            self.end()
        except OraError as error:
            if error.code == 6550:
                raise
            raise self._not_compiled(error.message, error.offset) from error
        return found

    def _not_compiled(self, what: str, at: int) -> OraError:
        line = self.sql.count("\n", 0, at) + 1
        column = at - (self.sql.rfind("\n", 0, at) + 1) + 1
        return OraError(6550, f"line {line}, column {column}:\nPLS-00103: {what}", at)

    def _called(self) -> Block:
        self.expect("CALL")
        return Block((), (self._call_of(),), ())

    def _block_of(self) -> Block:
        if self.accept("DECLARE"):
            return self._declared()
        return self._block_body(_Declared())

    def _declared(self) -> Block:
        """Declarations, and the block that they are for."""
        found = _Declared()
        outer, self._exceptions = self._exceptions, dict(self._exceptions)
        while not self.at_words("BEGIN"):
            self._declare(found)
        block = self._block_body(found)
        self._exceptions = outer
        return block

    def _declare(self, found: _Declared) -> None:
        if self.accept("PRAGMA"):
            self._pragma(found)
        elif self.at_words("FUNCTION") or self.at_words("PROCEDURE"):
            found.subprograms.append(self._subprogram())
        elif self.ahead().text == "EXCEPTION":
            self._exceptions[self.identifier()] = USER_DEFINED
            self.expect("EXCEPTION")
            self.expect_sign(";")
        else:
            found.variables.append(self._declaration())

    def _pragma(self, found: _Declared) -> None:
        if self.accept("AUTONOMOUS_TRANSACTION"):
            found.autonomous = True
        elif self.accept("EXCEPTION_INIT"):
            self.expect_sign("(")
            name = self.identifier()
            self.expect_sign(",")
            if name not in self._exceptions:
                raise self._not_compiled(f"identifier '{name}' must be declared", self.token.at)
            self._exceptions[name] = -self.integer()
            self.expect_sign(")")
        else:
            raise self._not_compiled(f"the pragma {self.token.text}", self.token.at)
        self.expect_sign(";")

    def _subprogram(self) -> Subprogram:
        function = self.next().text == "FUNCTION"
        name = self.identifier()
        parameters: list[Variable] = []
        if self.sign("("):
            parameters.append(self._parameter())
            while self.sign(","):
                parameters.append(self._parameter())
            self.expect_sign(")")
        returns = None
        if function:
            self.expect("RETURN")
            returns = self._plain_type()
        if self.accept_any("IS", "AS") is None:
            raise self._not_compiled(f"{self.token.text} of a local program", self.token.at)
        body = self._declared()
        self.expect_sign(";")
        return Subprogram(name, tuple(parameters), returns, body)

    def _parameter(self) -> Variable:
        name = self.identifier()
        self.accept("IN")
        if self.at_words("OUT"):
            raise self._not_compiled("OUT parameters", self.token.at)
        kind = self._plain_type()
        given = self.sign(":=") or self.accept("DEFAULT")
        return Variable(name, kind, self.expr() if given else NULL)

    def _plain_type(self) -> DataType:
        """A type without its length, as parameters and results have it."""
        if self.accept("VARCHAR2") or self.accept("VARCHAR"):
            return VARCHAR
        if self.accept("RAW"):
            return DataType(Kind.RAW)
        return self._plsql_type()

    def _plsql_type(self) -> DataType:
        if self.accept_any("PLS_INTEGER", "BINARY_INTEGER", "SIMPLE_INTEGER"):
            return NUMBER
        if self.accept("BOOLEAN"):
            return BOOLEAN
        return self.data_type()

    def _block_body(self, found: _Declared) -> Block:
        self.expect("BEGIN")
        steps = self._steps("END", "EXCEPTION")
        handlers: list[tuple[tuple[str, ...], tuple[Step, ...]]] = []
        if self.accept("EXCEPTION"):
            while self.accept("WHEN"):
                names = [self.identifier()]
                while self.accept("OR"):
                    names.append(self.identifier())
                self.expect("THEN")
                for name in names:
                    if name != "OTHERS" and name not in {*EXCEPTIONS, *self._exceptions}:
                        raise self._not_compiled(f"the exception {name}", self.token.at)
                handlers.append((tuple(names), self._steps("END", "WHEN")))
        self.expect("END")
        if self.token.sort is Sort.WORD:
            self.next()  # the name of a trigger, again
        return Block(
            tuple(found.variables),
            steps,
            tuple(handlers),
            tuple(found.subprograms),
            tuple(self._exceptions.items()),
            found.autonomous,
        )

    def _declaration(self) -> Variable:
        name = self.identifier()
        self.accept("CONSTANT")
        kind = self._plsql_type()
        value: Expr = NULL
        if self.sign(":=") or self.accept("DEFAULT"):
            value = self.expr()
        self.expect_sign(";")
        return Variable(name, kind, value)

    def _steps(self, *until: str) -> tuple[Step, ...]:
        found: list[Step] = []
        while not any(self.at_words(word) for word in until):
            if self.accept("NULL"):
                self.expect_sign(";")
                continue
            found.append(self._step())
            self.expect_sign(";")
        return tuple(found)

    def _step(self) -> Step:
        if self.at_words("DECLARE") or self.at_words("BEGIN"):
            return self._block_of()
        if self.accept("IF"):
            return self._if()
        if self.at_words("SELECT") or self.at_words("WITH"):
            return self._select_into()
        if self.token.text in ("INSERT", "UPDATE", "DELETE", "MERGE"):
            return RunDml(self.dml_part())
        if self.token.text in ("LOCK", "SAVEPOINT", "SET") or self.at_words("ROLLBACK", "TO"):
            return self._control()
        if word := self.accept_any("COMMIT", "ROLLBACK"):
            self.accept("WORK")
            return EndTransaction(word == "COMMIT")
        if self.accept("EXECUTE", "IMMEDIATE"):
            return ExecuteImmediate(self.expr())
        if self.accept("RAISE"):
            return Raise(None if self.at_sign(";") else self.identifier())
        if self.accept("RETURN"):
            return Return(None if self.at_sign(";") else self.expr())
        for word in ("FOR", "LOOP", "WHILE", "GOTO", "OPEN", "FORALL"):
            if self.at_words(word):
                raise self._not_compiled(f"{word} is not implemented", self.token.at)
        return self._other()

    def _control(self) -> Control:
        first = self.token.at
        while not self.at_sign(";") and self.token.sort is not Sort.END:
            self.next()
        return Control(self.sql[first : self.token.at])

    def _other(self) -> Step:
        """An assignment or a call."""
        place = self.place
        if self.token.sort is Sort.BIND:
            target = self._atom()
        else:
            at = self.token.at
            path = [self.identifier()]
            while self.sign("."):
                path.append(self.identifier())
            target = Name(tuple(path), at)
        if self.sign(":="):
            assert isinstance(target, Name | BindRef)
            return Assign(target, self.expr())
        self.place = place
        return self._call_of()

    def _call_of(self) -> CallProcedure:
        at = self.token.at
        name = self.identifier()
        while self.sign("."):
            name += "." + self.identifier()
        positional: list[Expr] = []
        named: list[tuple[str, Expr]] = []
        if self.sign("("):
            while not self.at_sign(")"):
                if self.ahead().text == "=>":
                    key = self.identifier()
                    self.expect_sign("=>")
                    named.append((key, self.expr()))
                else:
                    positional.append(self.expr())
                if not self.sign(","):
                    break
            self.expect_sign(")")
        return CallProcedure(name.removeprefix("SYS."), tuple(positional), tuple(named), at)

    def _if(self) -> If:
        branches: list[tuple[Expr, tuple[Step, ...]]] = []
        otherwise: tuple[Step, ...] = ()
        while True:
            condition = self.expr()
            self.expect("THEN")
            branches.append((condition, self._steps("ELSIF", "ELSE", "END")))
            if not self.accept("ELSIF"):
                break
        if self.accept("ELSE"):
            otherwise = self._steps("END")
        self.expect("END", "IF")
        return If(tuple(branches), otherwise)

    def _select_into(self) -> SelectInto:
        self.into = []
        query = self.select()
        targets, self.into = self.into, None
        for target in targets:
            if not isinstance(target, Name | BindRef):
                raise self._not_compiled("SELECT INTO needs variables", self.token.at)
        return SelectInto(query, _variables(targets))


def _variables(targets: Sequence[Expr]) -> tuple[Name | BindRef, ...]:
    return tuple(target for target in targets if isinstance(target, Name | BindRef))
