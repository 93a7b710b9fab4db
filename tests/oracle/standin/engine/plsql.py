"""A small part of PL/SQL: blocks, IF, assignments, SELECT INTO, DML, procedures that others register.

Anything else is ORA-06550, never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from oracle.standin.backend import OraError
from oracle.standin.engine.datatypes import NUMBER, DataType
from oracle.standin.engine.expressions import NULL
from oracle.standin.engine.statements import Statements
from oracle.standin.engine.tokens import Sort
from oracle.standin.engine.tree import BindRef, Dml, Expr, Name, Select


@dataclass(frozen=True, slots=True)
class Assign:
    target: Name | BindRef
    value: Expr


@dataclass(frozen=True, slots=True)
class If:
    branches: tuple[tuple[Expr, tuple[Step, ...]], ...]
    otherwise: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class SelectInto:
    query: Select
    targets: tuple[Name | BindRef, ...]


@dataclass(frozen=True, slots=True)
class RunDml:
    statement: Dml


@dataclass(frozen=True, slots=True)
class EndTransaction:
    commit: bool


@dataclass(frozen=True, slots=True)
class ExecuteImmediate:
    sql: Expr


@dataclass(frozen=True, slots=True)
class CallProcedure:
    name: str
    positional: tuple[Expr, ...]
    named: tuple[tuple[str, Expr], ...]
    at: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Raise:
    """RAISE: the error that is being handled, again."""


@dataclass(frozen=True, slots=True)
class Block:
    declared: tuple[tuple[str, DataType, Expr], ...]
    steps: tuple[Step, ...]
    handlers: tuple[tuple[tuple[str, ...], tuple[Step, ...]], ...]


Step: TypeAlias = (
    Assign
    | If
    | SelectInto
    | RunDml
    | EndTransaction
    | ExecuteImmediate
    | CallProcedure
    | Raise
    | Block
)

#: The named exceptions, by the errors that they handle.
EXCEPTIONS = {
    "DUP_VAL_ON_INDEX": {1},
    "NO_DATA_FOUND": {1403},
    "TOO_MANY_ROWS": {1422},
    "INVALID_NUMBER": {1722},
    "VALUE_ERROR": {6502, 12899, 1438},
    "ZERO_DIVIDE": {1476},
}


class PlSql(Statements):
    """Reads a block."""

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
        declared: list[tuple[str, DataType, Expr]] = []
        if self.accept("DECLARE"):
            while not self.at_words("BEGIN"):
                declared.append(self._declaration())
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
                    if name != "OTHERS" and name not in EXCEPTIONS:
                        raise self._not_compiled(f"the exception {name}", self.token.at)
                handlers.append((tuple(names), self._steps("END", "WHEN")))
        self.expect("END")
        if self.token.sort is Sort.WORD:
            self.next()  # the name of a trigger, again
        return Block(tuple(declared), steps, tuple(handlers))

    def _declaration(self) -> tuple[str, DataType, Expr]:
        name = self.identifier()
        self.accept("CONSTANT")
        kind = (
            NUMBER
            if self.accept_any("PLS_INTEGER", "BINARY_INTEGER", "SIMPLE_INTEGER")
            else self.data_type()
        )
        value: Expr = NULL
        if self.sign(":=") or self.accept("DEFAULT"):
            value = self.expr()
        self.expect_sign(";")
        return name, kind, value

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
        if word := self.accept_any("COMMIT", "ROLLBACK"):
            return EndTransaction(word == "COMMIT")
        if self.accept("EXECUTE", "IMMEDIATE"):
            return ExecuteImmediate(self.expr())
        if self.accept("RAISE"):
            return Raise()
        for word in ("FOR", "LOOP", "WHILE", "RETURN", "GOTO", "OPEN", "FORALL"):
            if self.at_words(word):
                raise self._not_compiled(f"{word} is not implemented", self.token.at)
        return self._other()

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
