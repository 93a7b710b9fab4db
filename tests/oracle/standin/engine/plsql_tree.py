"""PL/SQL as trees, as far as it is known here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from oracle.standin.backend import Kind
from oracle.standin.engine.datatypes import DataType
from oracle.standin.engine.tree import BindRef, Dml, Expr, Name, Select

#: PL/SQL's own: a variable of it holds 1, 0 or NULL, and stands where a condition may.
BOOLEAN = DataType(Kind.NUMBER, precision=1, scale=0)


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
class Control:
    """LOCK TABLE, SAVEPOINT and the like, as they stand in the text."""

    sql: str


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
    """RAISE: the error that is being handled, again, or an exception by its name."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class Return:
    value: Expr | None


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable or a parameter, with what it begins with."""

    name: str
    type: DataType
    value: Expr


@dataclass(frozen=True, slots=True)
class Subprogram:
    """A procedure, or a function where it returns something."""

    name: str
    parameters: tuple[Variable, ...]
    returns: DataType | None
    body: Block


@dataclass(frozen=True, slots=True)
class Block:
    declared: tuple[Variable, ...]
    steps: tuple[Step, ...]
    handlers: tuple[tuple[tuple[str, ...], tuple[Step, ...]], ...]
    subprograms: tuple[Subprogram, ...] = ()
    exceptions: tuple[tuple[str, int], ...] = ()  #: by name, with the error's number
    autonomous: bool = False


Step: TypeAlias = (
    Assign
    | If
    | SelectInto
    | RunDml
    | EndTransaction
    | Control
    | ExecuteImmediate
    | CallProcedure
    | Raise
    | Return
    | Block
)
