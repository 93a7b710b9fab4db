"""What every entry of the table of types says and does: see types.py for the table itself."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final, Literal, NoReturn, TypeAlias, TypeVar

from bowline_worker.contract import Unsupported
from bowline_worker.endpoints.oracle.policy import TOLD, Answer, Strange, Terms
from bowline_worker.endpoints.oracle.redo import Mark
from bowline_worker.model import Column, TableName

T = TypeVar("T")


class _Reselect(Enum):
    RESELECT = "RESELECT"


#: The redo does not tell this value exactly: the row must be read at the commit's SCN.
RESELECT: Final = _Reselect.RESELECT
FromRedo: TypeAlias = bytes | None | Literal[_Reselect.RESELECT]
#: What a bind variable takes. Mark.EMPTY_CLOB and EMPTY_BLOB can't be bound: they are written into the statement.
Bind: TypeAlias = Decimal | float | str | bytes | Mark | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleColumn:
    """A row of ALL_TAB_COLS, and what ALL_TAB_IDENTITY_COLS says of it."""

    table: TableName
    name: str
    data_type: str
    data_type_owner: str = ""
    data_type_mod: str = ""
    data_length: int = 0  #: bytes
    data_precision: int | None = None
    data_scale: int | None = None
    char_length: int = 0  #: characters; of NCHAR and NVARCHAR2 units of UTF-16
    char_used: str = ""  #: B(ytes) or C(haracters) is what the length was declared in
    nullable: bool = True
    virtual: bool = False
    hidden: bool = False
    user_generated: bool = True  #: with `hidden`: an invisible column, not one that Oracle made
    identity: str = ""  #: GENERATION_TYPE: ALWAYS or BY DEFAULT
    default: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, object]) -> OracleColumn:
        """Take a dictionary row by the views' column names; what was not selected has its default."""

        def text(name: str) -> str:
            return str(row.get(name) or "")

        def number(name: str) -> int | None:
            found = row.get(name)
            return None if found is None else int(str(found))

        return cls(
            table=TableName(text("OWNER"), text("TABLE_NAME")),
            name=text("COLUMN_NAME"),
            data_type=text("DATA_TYPE"),
            data_type_owner=text("DATA_TYPE_OWNER"),
            data_type_mod=text("DATA_TYPE_MOD"),
            data_length=number("DATA_LENGTH") or 0,
            data_precision=number("DATA_PRECISION"),
            data_scale=number("DATA_SCALE"),
            char_length=number("CHAR_LENGTH") or 0,
            char_used=text("CHAR_USED"),
            nullable=text("NULLABLE") != "N",
            virtual=text("VIRTUAL_COLUMN") == "YES",
            hidden=text("HIDDEN_COLUMN") == "YES",
            user_generated=text("USER_GENERATED") != "NO",
            identity=text("GENERATION_TYPE"),
            default=text("DATA_DEFAULT") or None,
        )

    @property
    def is_carried(self) -> bool:
        """Rows carry it: it is neither computed nor one that Oracle made for itself. Invisible ones are carried."""
        return not self.virtual and (not self.hidden or self.user_generated)

    def __str__(self) -> str:
        return f"{self.table}.{self.name}"


@dataclass(frozen=True, slots=True)
class PostgresType:
    """A type of pg_catalog. `text` is as format_type prints it, with modifier, and is valid in DDL."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a column can't be migrated, and what its owner can do about it."""

    column: OracleColumn
    reason: str
    message: str
    remedy: str


class ValueRefused(Unsupported):
    """A value that can't be converted exactly.

    The message names the column and shows the value's form only (99-aa), because messages reach status and logs;
    `value` is for a caller that may show rows.
    """

    def __init__(self, column: OracleColumn, value: object, why: str, hint: str = "") -> None:
        super().__init__(f"{column}: {form_of(value)} {why}", reason="ValueRefused", hint=hint)
        self.column = column
        self.value = value


SHOWN_CHARACTERS = 40


def form_of(value: object) -> str:
    """Show what a value looks like, shortened, and not what it is: 9 for a digit, a and A for letters."""
    if isinstance(value, bytes):
        return f"a value of {len(value)} bytes"
    if isinstance(value, Enum):
        return value.name
    text = getattr(value, "text", str(value) if isinstance(value, int | float | Decimal) else value)
    if not isinstance(text, str):
        return f"a value of the type {type(value).__name__}"
    shown = "".join(map(_form, text[:SHOWN_CHARACTERS]))
    return f"'{shown}'" if len(text) <= SHOWN_CHARACTERS else f"'{shown}...' ({len(text)} long)"


def _form(char: str) -> str:
    if char.isalnum():
        return "9" if char.isdecimal() else "A" if char.isupper() else "a"
    return char if char.isascii() and char.isprintable() else "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleType(ABC):
    """One column's way from Oracle to PostgreSQL and back.

    A value in between is PostgreSQL's text form of the type `postgres` under the settings of model.py, exactly as that
    server prints it, so that the texts of both sides can be compared.
    """

    column: OracleColumn
    terms: Terms
    postgres: PostgresType
    bind_type: str  #: the name of python-oracledb's constant for setinputsizes
    select_form: str = "{}"
    bind_form: str = "{}"
    loss: str = ""  #: what is not kept, for the assessment; empty: nothing
    #: SQL_REDO is lossy or incomplete for this type: changed rows are read again, and redo finds no row by it.
    needs_reselect: bool = False
    #: Values that differ in Oracle differ as text, and the redo tells them exactly: rows can be known by it.
    can_be_key: bool = True
    empty_is_null: bool = False  #: Oracle stores NULL for an empty value

    def select(self, quoted: str) -> str:
        """What a snapshot selects, so that from_driver gets exact values; `quoted` may have a table's alias."""
        return self.select_form.format(quoted)

    def bind(self, placeholder: str, value: Bind = None) -> str:
        """What stands for the value in DML on Oracle; an empty LOB can't be bound, and needs no placeholder."""
        if isinstance(value, Mark):
            return f"{value.name}()"
        return self.bind_form.format(placeholder)

    def as_column(self, name: str) -> Column:
        """The neutral model's column, under the name that it has on the other side."""
        return Column(
            name=name,
            type_schema="pg_catalog",
            type_name=self.postgres.name,
            type_text=self.postgres.text,
            not_null=not self.column.nullable,
            generated=self.column.virtual,
            identity_always=self.column.identity == "ALWAYS",
            empty_is_null=self.empty_is_null,
        )

    def from_redo(self, value: object) -> FromRedo:
        """Turn a value of redo.parse into text; RESELECT where the redo can't be trusted to tell it."""
        if value is None:
            return None
        if self.needs_reselect:
            return RESELECT
        return self._from_redo(value)

    def from_driver(self, value: object) -> bytes | None:
        """Turn a value that the driver fetched with `select` into text."""
        return None if value is None else self._from_driver(value)

    def to_oracle(self, text: bytes | None) -> Bind:
        """Turn text into what the driver binds at `bind`."""
        return None if text is None else self._to_oracle(text)

    @abstractmethod
    def _from_redo(self, value: object) -> FromRedo: ...

    @abstractmethod
    def _from_driver(self, value: object) -> bytes | None: ...

    @abstractmethod
    def _to_oracle(self, text: bytes) -> Bind: ...

    def refuse(self, value: object, why: str, hint: str = "") -> NoReturn:
        raise ValueRefused(self.column, value, why, hint)

    def refuse_unknown(self, value: object) -> NoReturn:
        """Refuse what is no value of this type, or in no form of it that we know."""
        self.refuse(value, f"is not a {self.column.data_type} in a known form")

    def fetched_text(self, value: object, hint: str) -> str:
        """Take what the driver fetched where the select gives text; `hint`: how to select it so."""
        if not isinstance(value, str):
            self.refuse(value, "was not fetched as text", hint)
        return value

    def answer(self, kind: Strange, value: object, replacement: T) -> T | None:
        """Give the policy's answer to a value, and count it."""
        answer = self.terms.policy.answer(kind)
        if answer is Answer.ERROR:
            self.refuse(value, TOLD[kind], self.terms.hint(kind))
        if answer is Answer.NULL and not self.column.nullable:
            self.refuse(value, f"{TOLD[kind]}, and the column takes no NULL for it")
        self.terms.tally[self.column.table, self.column.name, kind] += 1
        return None if answer is Answer.NULL else replacement


def oracle_type_name(data_type: str) -> tuple[str, list[int]]:
    """Take TIMESTAMP(6) WITH TIME ZONE apart: its name without the numbers, and the numbers."""
    numbers = [int(number) for number in re.findall(r"\((\d+)\)", data_type)]
    return re.sub(r" ?\(\d+\)", "", data_type), numbers
