"""Which column a name means: the sources of a block, those of the blocks around it, and variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from oracle.standin.backend import OraError, Value
from oracle.standin.engine.datatypes import DataType
from oracle.standin.engine.evaluation import Compiled, Env, Relation, Run
from oracle.standin.engine.tree import Name, Select


class Found(NamedTuple):
    depth: int  #: blocks outwards
    source: int
    column: int
    type: DataType


class Scope:
    """The sources of one block by alias. `correlated` once a name was found further out."""

    def __init__(
        self, parent: Scope | None = None, variables: Mapping[str, DataType] | None = None
    ) -> None:
        self.parent = parent
        self.sources: list[tuple[str, Relation, str | None]] = []  # alias, relation, schema
        self.variables: Mapping[str, DataType] = {} if variables is None else variables
        self.correlated = False

    def add(self, alias: str, relation: Relation, schema: str | None = None) -> None:
        self.sources.append((alias, relation, schema))

    def find(self, path: Sequence[str], at: int) -> Found | None:
        """Look here, then further out."""
        found = self._here(path, at)
        if found is not None or self.parent is None:
            return found
        outer = self.parent.find(path, at)
        if outer is None:
            return None
        self.correlated = True
        return outer._replace(depth=outer.depth + 1)

    def _here(self, path: Sequence[str], at: int) -> Found | None:
        found = None
        for number, (alias, relation, schema) in enumerate(self.sources):
            if len(path) > 1 and path[-2] != alias:
                continue
            if len(path) > 2 and path[-3] != schema:
                continue
            for place, (name, kind) in enumerate(relation.columns):
                if name == path[-1]:
                    if found is not None:
                        raise OraError(918, f"{shown(path)}: column ambiguously defined", at)
                    found = Found(0, number, place, kind)
                    break
        return found

    def variable(self, name: str) -> DataType | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.variables:
                return scope.variables[name]
            scope = scope.parent
        return None


def shown(path: Sequence[str]) -> str:
    """A name as errors show it."""
    return ".".join(f'"{part}"' for part in path)


def unknown(name: Name) -> OraError:
    return OraError(904, f"{shown(name.path)}: invalid identifier", name.at)


class Plan(Protocol):
    """A compiled query."""

    @property
    def columns(self) -> Sequence[tuple[str, DataType]]: ...

    @property
    def correlated(self) -> bool:
        """Whether its rows depend on the row around it."""
        ...

    def rows(self, outer: Env) -> Iterator[Sequence[Value]]: ...


class Program(NamedTuple):
    """A function that a block of PL/SQL declares."""

    type: DataType
    parameters: Sequence[DataType]
    run: Callable[[Sequence[Value]], Value]


class Planner(Protocol):
    """What the compiler of expressions needs of its surroundings."""

    def bind_type(self, number: int, name: str) -> DataType: ...

    def bind_place(self, number: int, name: str) -> int: ...

    def subquery(self, query: Select, scope: Scope) -> Plan: ...

    def sequence(self, path: Sequence[str], at: int) -> Run | None:
        """The value of S.NEXTVAL or S.CURRVAL, if S is a sequence."""
        ...

    def program(self, name: str, at: int) -> Program | None:
        """A function of PL/SQL by its name. ORA-06550 where SQL would call it."""
        ...

    def constant(self, name: str) -> Compiled | None:
        """A constant of a package."""
        ...
