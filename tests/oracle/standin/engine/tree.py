"""Oracle's SQL as trees, as the parser makes them. Places in the text take no part in comparisons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from oracle.standin.backend import Value
from oracle.standin.engine.datatypes import DataType


@dataclass(frozen=True, slots=True)
class Literal:
    value: Value
    type: DataType


@dataclass(frozen=True, slots=True)
class Name:
    """A column, a pseudo-column, a sequence's value or a function without arguments."""

    path: tuple[str, ...]
    at: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class BindRef:
    name: str
    number: int  #: which bind of the statement, by place
    at: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    args: tuple[Expr, ...]
    at: int = field(compare=False)
    distinct: bool = False
    within: tuple[OrderItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Unary:
    """NOT or the minus."""

    op: str
    arg: Expr


@dataclass(frozen=True, slots=True)
class Binary:
    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class IsNull:
    arg: Expr


@dataclass(frozen=True, slots=True)
class Like:
    arg: Expr
    pattern: Expr
    escape: Expr | None


@dataclass(frozen=True, slots=True)
class RowOf:
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class InList:
    arg: Expr
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class InQuery:
    arg: Expr
    query: Select


@dataclass(frozen=True, slots=True)
class Exists:
    query: Select


@dataclass(frozen=True, slots=True)
class Scalar:
    query: Select


@dataclass(frozen=True, slots=True)
class Case:
    operand: Expr | None
    whens: tuple[tuple[Expr, Expr], ...]
    otherwise: Expr | None


@dataclass(frozen=True, slots=True)
class Cast:
    arg: Expr
    type: DataType


@dataclass(frozen=True, slots=True)
class Extract:
    unit: str
    arg: Expr


Expr: TypeAlias = (
    Literal
    | Name
    | BindRef
    | Call
    | Unary
    | Binary
    | IsNull
    | Like
    | RowOf
    | InList
    | InQuery
    | Exists
    | Scalar
    | Case
    | Cast
    | Extract
)


@dataclass(frozen=True, slots=True)
class OrderItem:
    expr: Expr
    descending: bool = False
    nulls_first: bool | None = None  #: None: last, or first when descending


@dataclass(frozen=True, slots=True)
class TableRef:
    schema: str | None
    name: str
    alias: str
    scn: Expr | None
    at: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Inline:
    query: Select
    alias: str


@dataclass(frozen=True, slots=True)
class Joined:
    """One source of FROM, and how it is joined to those before it."""

    source: TableRef | Inline
    outer: bool = False
    on: Expr | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """Of a select list. No expression: all columns, of one source where it is named."""

    expr: Expr | None
    alias: str  #: what the result's column is called
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Block:
    items: tuple[Item, ...]
    sources: tuple[Joined, ...]
    where: Expr | None = None
    distinct: bool = False
    group: tuple[Expr, ...] = ()
    having: Expr | None = None
    level: Expr | None = None  #: CONNECT BY without a hierarchy


@dataclass(frozen=True, slots=True)
class Compound:
    op: str  #: UNION, UNION ALL, MINUS, INTERSECT
    left: Body
    right: Body


Body: TypeAlias = Block | Compound


@dataclass(frozen=True, slots=True)
class Locking:
    """FOR UPDATE. Seconds of WAIT: None waits for ever, 0 is NOWAIT."""

    wait: float | None = None
    skip: bool = False


@dataclass(frozen=True, slots=True)
class Select:
    body: Body
    order: tuple[OrderItem, ...] = ()
    offset: Expr | None = None
    fetch: Expr | None = None
    locking: Locking | None = None
    named: tuple[tuple[str, Select], ...] = ()  #: WITH


@dataclass(frozen=True, slots=True)
class Returning:
    exprs: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    table: TableRef
    columns: tuple[str, ...] | None
    values: tuple[Expr | None, ...] | None  #: None for DEFAULT
    query: Select | None
    returning: Returning | None


@dataclass(frozen=True, slots=True)
class Update:
    table: TableRef
    sets: tuple[tuple[Name, Expr | None], ...]  #: None for DEFAULT
    where: Expr | None
    returning: Returning | None


@dataclass(frozen=True, slots=True)
class Delete:
    table: TableRef
    where: Expr | None
    returning: Returning | None


@dataclass(frozen=True, slots=True)
class Merge:
    table: TableRef
    source: TableRef | Inline
    on: Expr
    sets: tuple[tuple[Name, Expr | None], ...] | None
    set_where: Expr | None
    delete_where: Expr | None
    columns: tuple[Name, ...] | None
    values: tuple[Expr | None, ...] | None
    insert_where: Expr | None


Dml: TypeAlias = Insert | Update | Delete | Merge
