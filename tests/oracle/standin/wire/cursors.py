"""The cursors of one session: statements that the client executes again by their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle

from oracle.standin.backend import Bind, Column, Kind, OraError, Value
from oracle.standin.wire.statements import Sort, Statement, read_statement
from oracle.standin.wire.values import Shape, WriteValue, encoding

#: As many as a session may have at once: a client that forgets to close its cursors must find out.
MOST_CURSORS = 300

# The client has 16 bits for a cursor's number. One that was closed is not used again soon.
_HIGHEST_NUMBER = 0xFFFF

_LONG_OF = {Kind.VARCHAR2: Kind.LONG, Kind.CHAR: Kind.LONG, Kind.RAW: Kind.LONG_RAW}


@dataclass(slots=True)
class Cursor:
    """A statement, how the client has described its binds and the columns that it wants, and the rows to fetch."""

    number: int
    statement: Statement
    shapes: Sequence[Shape] = ()
    defines: Sequence[Shape] = ()
    columns: Sequence[Column] = ()
    writers: Sequence[WriteValue] = ()
    rows: Iterator[Sequence[Value]] | None = None
    longest: int | None = None  #: bytes of a value that is no LONG; None: PL/SQL, where nothing is
    _described: Sequence[Bind] = ()
    _wide: Sequence[int] = ()  #: places of binds with room for a LONG

    @property
    def sent(self) -> Sequence[Shape]:
        """The binds whose values the client sends."""
        return self.shapes[: len(self.shapes) - self.statement.returned]

    def bind(self, shapes: Sequence[Shape], max_string: int) -> None:
        """Take over how the client describes its variables; the text has their names."""
        names, returned = self.statement.names, self.statement.returned
        if len(names) != len(shapes):
            raise OraError(1008, f"{len(shapes)} of {len(names)} variables are bound")
        self.shapes = shapes
        self._described = [
            Bind(name, shape.kind, shape.size, shape.is_national, place >= len(names) - returned)
            for place, (name, shape) in enumerate(zip(names, shapes, strict=True))
        ]
        self.longest = None if self.statement.sort is Sort.PLSQL else max_string
        self._wide = [
            place
            for place, shape in enumerate(self.sent)
            if self.longest is not None and shape.size > max_string and shape.kind in _LONG_OF
        ]

    def binds(self, values: Sequence[Value]) -> Sequence[Bind]:
        """Describe the binds of one execution: in SQL a value that is too long for its type is a LONG."""
        binds = self._described
        for place in self._wide:
            if self._is_long(values[place], self.shapes[place]):
                binds = list(binds)
                binds[place] = replace(binds[place], kind=_LONG_OF[binds[place].kind])
        return binds

    def _is_long(self, value: Value, shape: Shape) -> bool:
        raw = value.encode(encoding(shape.is_national)) if isinstance(value, str) else value
        return isinstance(raw, bytes) and self.longest is not None and len(raw) > self.longest

    def expect(self, columns: Sequence[Column]) -> bool:
        """Take over a query's columns; tell whether they are what the client knows, if it knows any."""
        known = [(column.kind, column.national) for column in self.columns]
        self.columns = columns
        return not known or known == [(column.kind, column.national) for column in columns]


class Cursors:
    """Those that are open."""

    def __init__(self) -> None:
        self._open: dict[int, Cursor] = {}
        self._numbers = cycle(range(1, _HIGHEST_NUMBER + 1))

    def open(self, sql: str) -> Cursor:
        if len(self._open) == MOST_CURSORS:
            raise OraError(1000, "maximum open cursors exceeded")
        number = next(number for number in self._numbers if number not in self._open)
        self._open[number] = cursor = Cursor(number, read_statement(sql))
        return cursor

    def find(self, number: int) -> Cursor:
        cursor = self._open.get(number)
        if cursor is None:
            raise OraError(1001, "invalid cursor")
        return cursor

    def close(self, number: int) -> None:
        self._open.pop(number, None)
