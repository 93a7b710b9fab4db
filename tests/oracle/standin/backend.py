"""What lies between the wire and the engine of the stand-in for Oracle: statements and values, no protocol, no SQL.

The wire layer turns a client's messages into calls of a `Backend`, one per session, always from one thread; whatever
the engine keeps for all sessions it guards itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from typing import Protocol, TypeAlias


class Kind(IntEnum):
    """A type of a column or bind, by its number on the wire."""

    VARCHAR2 = 1
    NUMBER = 2
    LONG = 8
    ROWID = 11
    DATE = 12
    RAW = 23
    LONG_RAW = 24
    CHAR = 96
    BINARY_FLOAT = 100
    BINARY_DOUBLE = 101
    CLOB = 112
    BLOB = 113
    TIMESTAMP = 180
    TIMESTAMP_TZ = 181
    INTERVAL_YM = 182
    INTERVAL_DS = 183
    TIMESTAMP_LTZ = 231


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """A value of DATE or one of the TIMESTAMPs: a wall clock, with its offset where the type has one.

    Years are astronomical: 0 is 1 BC. A TIMESTAMP WITH LOCAL TIME ZONE is in UTC, without an offset.
    """

    year: int
    month: int = 1
    day: int = 1
    hour: int = 0
    minute: int = 0
    second: int = 0
    nanos: int = 0
    offset: int | None = None  #: minutes east of UTC


@dataclass(frozen=True, slots=True, order=True)
class Months:
    """INTERVAL YEAR TO MONTH."""

    months: int


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """INTERVAL DAY TO SECOND; the sign is the whole's."""

    nanos: int


#: NUMBER is Decimal, the binary floats float; text and LOBs of text str; RAW and BLOB bytes; ROWID its 18 characters.
#: What Oracle can't tell from NULL ('' and an empty RAW) is None by the time an engine sees it; an empty LOB is not.
Value: TypeAlias = None | str | bytes | Decimal | float | Moment | Months | Span


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a result."""

    name: str
    kind: Kind
    precision: int = 0  #: NUMBER; 0: none
    scale: int = -127  #: NUMBER; -127: none. Timestamps and intervals: fraction digits
    size: int = 4000  #: in bytes; in characters for national text
    national: bool = False
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Bind:
    """How the client has described a variable."""

    name: str  #: as in the text, without its colon, in capitals; numbers for :1
    kind: Kind
    size: int = 0
    national: bool = False
    returned: bool = False  #: it stands behind RETURNING ... INTO


@dataclass(slots=True)
class Result:
    """What one execution came to."""

    columns: Sequence[Column] = ()  #: of a query
    rows: Iterable[
        Sequence[Value]
    ] = ()  #: of a query; fetched as the client asks for them, errors included
    rowcount: int = 0
    returned: Sequence[
        Sequence[Value]
    ] = ()  #: RETURNING: for each affected row the values, in order
    out: Mapping[str, Value] = field(default_factory=dict)  #: PL/SQL: values by name of the bind


class OraError(Exception):
    """An error as the server reports it: `ORA-00001: unique constraint (S.PK) violated`."""

    def __init__(self, code: int, message: str, offset: int = 0) -> None:
        super().__init__(f"ORA-{code:05d}: {message}")
        self.code = code
        self.message = message
        self.offset = offset  #: in the statement


class SessionDead(Exception):
    """The session ends now, without a reply."""


class Backend(Protocol):
    """One session's engine. Errors are OraError; each statement is atomic, as Oracle's are."""

    def describe(self, sql: str) -> Sequence[Column]:
        """The columns of a query, without executing it; of another statement the errors of a parse, or ()."""

    def execute(self, sql: str, binds: Sequence[Bind], values: Sequence[Value]) -> Result:
        """Execute once, with one value per bind that is not returned. Many executions are many calls."""

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    @property
    def in_transaction(self) -> bool: ...

    def identify(self, **attributes: str | None) -> None:
        """Take over what the client says of itself: client_identifier, module, action, schema, ..."""

    def close(self) -> None:
        """The session is over, however it ended; an open transaction is rolled back."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who may log on, and to what."""

    user: str
    password: str
    services: Sequence[str]  #: names of services and SIDs
    connect: Callable[[str], Backend]  #: with the service's name
    is_sysdba: bool = False  #: and then not otherwise
