"""What a container holds: tables, sequences, triggers, and their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from oracle.standin.backend import Moment, OraError
from oracle.standin.engine.storage import Index, Table
from oracle.standin.engine.tree import Expr


@dataclass(slots=True, eq=False)
class Constraint:
    """A constraint of a table."""

    owner: str
    name: str
    type: str  #: P, U, R or C
    columns: tuple[str, ...]
    text: str | None = None  #: of a check
    condition: Expr | None = None
    not_null: bool = False
    target: Constraint | None = None  #: of a foreign key
    table: Table | None = None
    delete_rule: str = "NO ACTION"
    enabled: bool = True
    validated: bool = True
    generated: bool = False
    index: Index | None = None

    @property
    def shown(self) -> str:
        return f"({self.owner}.{self.name})"


@dataclass(slots=True, eq=False)
class Counter:
    """A sequence. What is cached is gone from the dictionary's LAST_NUMBER before it is given out."""

    owner: str
    name: str
    object_id: int
    start: int = 1
    increment: int = 1
    least: int = 1
    most: int = 10**28 - 1
    cycle: bool = False
    cache: int = 20
    order: bool = False
    next_value: int = 1
    cached: int = 0
    identity: bool = False

    def take(self) -> int:
        """The next value. ORA-08004 behind the last."""
        value = self.next_value
        if not self.least <= value <= self.most:
            if not self.cycle:
                bound = "MAXVALUE" if self.increment > 0 else "MINVALUE"
                raise OraError(
                    8004,
                    f"sequence {self.name}.NEXTVAL exceeds {bound} and cannot be instantiated",
                )
            value = self.least if self.increment > 0 else self.most
        self.cached = (self.cached or max(self.cache, 1)) - 1
        self.next_value = value + self.increment
        return value

    @property
    def last_number(self) -> int:
        """The first value that is not cached."""
        return self.next_value + self.cached * self.increment

    def restart(self, at: int) -> None:
        self.next_value, self.cached = at, 0


@dataclass(slots=True, eq=False)
class Trigger:
    """A trigger on a table, with its body as it was written and as it was read."""

    owner: str
    name: str
    object_id: int
    table: Table
    when: str  #: BEFORE or AFTER
    events: tuple[str, ...]
    each_row: bool
    condition: Expr | None
    condition_text: str | None
    text: str
    body: Any  #: the block of plsql.py
    enabled: bool = True


@dataclass(slots=True, eq=False)
class Entry:
    """An object in ALL_OBJECTS."""

    owner: str
    name: str
    type: str
    object_id: int
    created: Moment
    changed: Moment
    subject: object = None


@dataclass(slots=True, eq=False)
class Catalog:
    """All objects of one container. `revision` grows with each DDL: plans of an older one are not used again."""

    container: str
    con_id: int
    tables: dict[tuple[str, str], Table] = field(default_factory=dict)
    sequences: dict[tuple[str, str], Counter] = field(default_factory=dict)
    triggers: dict[tuple[str, str], Trigger] = field(default_factory=dict)
    entries: dict[tuple[str, str, str], Entry] = field(default_factory=dict)
    revision: int = 0
    names: int = 8000

    def constraints(self) -> Iterator[tuple[Table, Constraint]]:
        for table in self.tables.values():
            for constraint in table.constraints.values():
                yield table, constraint

    def constraint(self, owner: str, name: str) -> tuple[Table, Constraint] | None:
        return next(
            (one for one in self.constraints() if (one[1].owner, one[1].name) == (owner, name)),
            None,
        )

    def index(self, owner: str, name: str) -> tuple[Table, Index] | None:
        for table in self.tables.values():
            for index in table.indexes:
                if (index.owner, index.name) == (owner, name) and not index.internal:
                    return table, index
        return None

    def children(self, target: Constraint) -> list[tuple[Table, Constraint]]:
        """The foreign keys that refer to a key."""
        return [one for one in self.constraints() if one[1].target is target]

    def generated_name(self) -> str:
        self.names += 1
        return f"SYS_C{self.names:07d}"

    def free(self, owner: str, name: str) -> None:
        """ORA-00955 where a table, view or sequence has that name."""
        if any(
            key[:2] == (owner, name) and key[2] not in ("INDEX", "TRIGGER") for key in self.entries
        ):
            raise OraError(955, "name is already used by an existing object")
