"""What the stand-in's engine tells its redo log: each change of a row as it happens, and how each transaction ends.

The log decides what of it shows when, and in which shape: V$LOGMNR_CONTENTS is rendered from these alone, and never
from what a reader would like to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from oracle.standin.backend import Kind, Value


class Xid(NamedTuple):
    """A transaction's identity; undo segment and slot are used again, and then with a higher sequence."""

    usn: int
    slot: int
    sequence: int


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """A column as the dictionary has it."""

    name: str
    kind: Kind
    length: int = 0  #: of text in characters (CHAR, VARCHAR2, the national ones), of RAW in bytes
    precision: int | None = None
    scale: int | None = None  #: fraction digits of timestamps and intervals as well
    national: bool = False
    byte_semantics: bool = False  #: its length counts bytes
    not_null: bool = False
    virtual: bool = False  #: computed: never in the redo
    extended: bool = False  #: more than 4,000 bytes


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table as it was when a change was made."""

    owner: str
    name: str
    object_id: int
    columns: Sequence[ColumnShape]
    version: int = 1  #: one more with each DDL that changes it
    all_columns: bool = True  #: supplemental logging of all columns; else of the primary key's
    key: Sequence[str] = ()  #: the primary key's columns
    container: str = "CDB$ROOT"


class Action(StrEnum):
    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Written:
    """One row was changed. `before` and `after` have a value for each column of the shape, whole LOBs included."""

    xid: Xid
    scn: int
    at: datetime
    action: Action
    table: TableShape
    rowid: str
    before: Sequence[Value] | None = None
    after: Sequence[Value] | None = None
    undo: bool = (
        False  #: it takes back the newest standing change of that row: savepoint, failed statement
    )
    statement: int = 0  #: the rows of one execution, of an array too, have one number


class Log(Protocol):
    """The redo log. All calls come under the engine's lock, in the order in which things happen."""

    def begun(
        self,
        xid: Xid,
        scn: int,
        at: datetime,
        *,
        user: str,
        client: str | None,
        thread: int,
        container: str,
    ) -> None: ...

    def written(self, change: Written) -> None: ...

    def committed(self, xid: Xid, scn: int, at: datetime) -> None: ...

    def rolled_back(self, xid: Xid, scn: int, at: datetime) -> None:
        """All of it; its single changes were told as undone before."""
        ...

    def defined(
        self, scn: int, at: datetime, *, user: str, table: TableShape | None, owner: str, sql: str
    ) -> None:
        """A DDL statement, TRUNCATE included, has committed."""
        ...
