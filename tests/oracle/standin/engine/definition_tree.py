"""DDL as trees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from oracle.standin.engine.datatypes import DataType
from oracle.standin.engine.tree import Expr

SequenceOptions: TypeAlias = dict[str, "int | bool | str"]


@dataclass(frozen=True, slots=True)
class ConstraintDef:
    name: str | None
    type: str  #: P, U, R or C
    columns: tuple[str, ...] = ()
    text: str | None = None
    condition: Expr | None = None
    not_null: bool = False
    table: tuple[str | None, str] | None = None
    target: tuple[str, ...] = ()
    delete_rule: str = "NO ACTION"
    enabled: bool = True
    validated: bool = True


@dataclass(slots=True)
class ColumnDef:
    """A column as CREATE TABLE, ADD or MODIFY write it. None: nothing was said of it."""

    name: str
    type: DataType | None = None
    default: tuple[Expr, str] | None = None
    default_on_null: bool = False
    virtual: tuple[Expr, str] | None = None
    identity: str | None = None
    options: SequenceOptions | None = None
    nullable: bool | None = None
    hidden: bool = False
    constraints: list[ConstraintDef] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CreateTable:
    schema: str | None
    name: str
    columns: tuple[ColumnDef, ...]
    constraints: tuple[ConstraintDef, ...]
    temporary: bool


@dataclass(frozen=True, slots=True)
class AddColumns:
    columns: tuple[ColumnDef, ...]


@dataclass(frozen=True, slots=True)
class ModifyColumns:
    columns: tuple[ColumnDef, ...]


@dataclass(frozen=True, slots=True)
class DropColumns:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RenameColumn:
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class AddConstraint:
    constraint: ConstraintDef


@dataclass(frozen=True, slots=True)
class ConstraintRef:
    """By name, or the primary key, or a unique key by its columns."""

    name: str | None
    unique: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class DropConstraint:
    which: ConstraintRef
    cascade: bool


@dataclass(frozen=True, slots=True)
class SwitchConstraint:
    which: ConstraintRef
    enabled: bool | None  #: None: as it is
    validated: bool
    cascade: bool


@dataclass(frozen=True, slots=True)
class SwitchTriggers:
    enabled: bool


@dataclass(frozen=True, slots=True)
class Supplemental:
    """A log group by its type, or a named one."""

    group: str
    added: bool
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ExchangePartition:
    """EXCHANGE PARTITION ... WITH TABLE this one."""

    schema: str | None
    name: str


@dataclass(frozen=True, slots=True)
class NoEffect:
    """Storage and the like."""


TableAction: TypeAlias = (
    AddColumns
    | ModifyColumns
    | DropColumns
    | RenameColumn
    | AddConstraint
    | DropConstraint
    | SwitchConstraint
    | SwitchTriggers
    | Supplemental
    | ExchangePartition
    | NoEffect
)


@dataclass(frozen=True, slots=True)
class AlterTable:
    schema: str | None
    name: str
    actions: tuple[TableAction, ...]


@dataclass(frozen=True, slots=True)
class CreateIndex:
    schema: str | None
    name: str
    table: tuple[str | None, str]
    columns: tuple[str, ...]
    unique: bool


@dataclass(frozen=True, slots=True)
class MakeSequence:
    """CREATE or ALTER SEQUENCE."""

    schema: str | None
    name: str
    options: SequenceOptions
    created: bool


@dataclass(frozen=True, slots=True)
class CreateTrigger:
    schema: str | None
    name: str
    replace: bool
    when: str
    events: tuple[str, ...]
    table: tuple[str | None, str]
    each_row: bool
    enabled: bool
    condition: tuple[Expr, str] | None
    text: str  #: from DECLARE or BEGIN to the end


@dataclass(frozen=True, slots=True)
class SwitchTrigger:
    schema: str | None
    name: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Drop:
    type: str
    schema: str | None
    name: str
    cascade: bool


@dataclass(frozen=True, slots=True)
class Truncate:
    schema: str | None
    name: str
    cascade: bool


@dataclass(frozen=True, slots=True)
class AlterDatabase:
    action: Supplemental | NoEffect


@dataclass(frozen=True, slots=True)
class CreateUser:
    """A user, or a role: nobody logs on as one without a password."""

    name: str
    password: str | None


@dataclass(frozen=True, slots=True)
class AlterUser:
    name: str
    password: str | None  #: None: it stays
    locked: bool | None


@dataclass(frozen=True, slots=True)
class Grant:
    """GRANT, or REVOKE where not `given`."""

    given: bool
    privileges: tuple[str, ...]
    table: tuple[str | None, str] | None
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Noted:
    """A statement that changes nothing here and is a DDL all the same."""


Definition: TypeAlias = (
    CreateTable
    | AlterTable
    | CreateIndex
    | MakeSequence
    | CreateTrigger
    | SwitchTrigger
    | Drop
    | Truncate
    | AlterDatabase
    | CreateUser
    | AlterUser
    | Grant
    | Noted
)
