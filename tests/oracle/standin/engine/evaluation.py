"""What a compiled expression is, and what it finds around it when it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from oracle.standin.backend import Moment, Value
from oracle.standin.engine.datatypes import DataType


@dataclass(slots=True)
class Nls:
    """A session's formats, as ALTER SESSION sets them."""

    date: str = "DD-MON-RR"
    timestamp: str = "DD-MON-RR HH.MI.SSXFF AM"
    timestamp_tz: str = "DD-MON-RR HH.MI.SSXFF AM TZR"
    numeric: str = ".,"
    offset: int = 0  #: TIME_ZONE, in minutes east of UTC
    others: dict[str, str] = field(default_factory=dict)


class Host(Protocol):
    """The session, as far as expressions know it."""

    @property
    def nls(self) -> Nls: ...

    @property
    def now(self) -> Moment:
        """When the statement began, in UTC and without an offset."""
        ...

    @property
    def user(self) -> str: ...

    @property
    def charsets(self) -> tuple[str, str]: ...

    def context(self, namespace: str, name: str) -> str | None:
        """SYS_CONTEXT."""
        ...

    def poll(self) -> None:
        """Raise ORA-01013 if the client has cancelled."""
        ...

    def next_value(self, sequence: object) -> Value:
        """Take a sequence's next value."""
        ...

    def current_value(self, sequence: object) -> Value:
        """The value that this session took last."""
        ...

    def random_bytes(self, count: int) -> bytes: ...


class Env:
    """One row's surroundings: the rows of all sources of its block, and the blocks around."""

    __slots__ = (
        "aggregates",
        "binds",
        "cache",
        "host",
        "level",
        "outer",
        "rownum",
        "rows",
        "variables",
    )

    def __init__(self, host: Host, binds: Sequence[Value], outer: Env | None = None) -> None:
        self.host = host
        self.binds = binds
        self.outer = outer
        self.rows: list[Sequence[Value]] = []
        self.aggregates: Sequence[Value] = ()
        self.rownum = 0
        self.level = 0
        self.variables: dict[str, Value] = {} if outer is None else outer.variables
        #: What is evaluated once per execution, by whatever needs it.
        self.cache: dict[object, Any] = {} if outer is None else outer.cache

    def at_depth(self, depth: int) -> Env:
        env = self
        while depth:
            assert env.outer is not None
            env, depth = env.outer, depth - 1
        return env


Run: TypeAlias = Callable[[Env], Value]
Cond: TypeAlias = Callable[[Env], bool | None]
#: A value made comparable with others of its kind: equal keys are equal in SQL.
Key: TypeAlias = Any
KeyRun: TypeAlias = Callable[[Env], Key]


@dataclass(frozen=True, slots=True)
class Compiled:
    type: DataType
    run: Run


class Relation(Protocol):
    """What stands in FROM."""

    @property
    def columns(self) -> Sequence[tuple[str, DataType]]:
        """All that can be named, pseudo-columns behind the others."""
        ...

    @property
    def visible(self) -> int:
        """How many of the columns `*` means."""
        ...

    def rows(self, env: Env) -> Iterator[Sequence[Value]]: ...
