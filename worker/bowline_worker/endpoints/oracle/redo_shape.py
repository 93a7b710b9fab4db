"""The shape of a statement of SQL_REDO: all of it but its literals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from operator import itemgetter
from typing import NamedTuple

from bowline_worker.endpoints.oracle.redo_values import Mark, RedoValue

#: They stand behind a statement's literals, so that every column is picked from one list.
CONSTANTS: tuple[RedoValue, ...] = (*Mark, None)
#: LogMiner prints it beside the columns of a table with row archival.
_PSEUDO_COLUMN = "ORA_ARCHIVE_STATE"


class Operation(StrEnum):
    """As V$LOGMNR_CONTENTS.OPERATION has it."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class Form(NamedTuple):
    """What a value is made of: the literals from `first` up to `end`, or a constant, which is counted from the back."""

    first: int
    end: int
    function: Callable[..., RedoValue] | None = None  #: None: the literal or the constant itself


class Made(NamedTuple):
    """A column whose value a function makes of the literals from `first` up to `end`."""

    name: str
    first: int
    end: int
    function: Callable[..., RedoValue]


class Part(NamedTuple):
    """Some columns of a statement."""

    names: tuple[str, ...]
    pick: Callable[[Sequence[RedoValue]], tuple[RedoValue, ...]]  #: from literals and constants
    made: tuple[Made, ...]  #: takes the place of what was picked


class Shape(NamedTuple):
    """All of a statement but its literals."""

    operation: Operation
    owner: str
    table: str
    set: Part
    where: Part
    rowid: int | None  #: which literal it is


def constant(value: RedoValue) -> Form:
    at = CONSTANTS.index(value) - len(CONSTANTS)
    return Form(at, at)


def part(forms: Mapping[str, Form]) -> Part:
    """Make a part of these columns; LogMiner's own one is left out."""
    known = {name: form for name, form in forms.items() if name != _PSEUDO_COLUMN}
    made = (
        Made(name, form.first, form.end, form.function)
        for name, form in known.items()
        if form.function
    )
    return Part(tuple(known), _picker([form.first for form in known.values()]), tuple(made))


def _picker(places: list[int]) -> Callable[[Sequence[RedoValue]], tuple[RedoValue, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    # Of a single place, an itemgetter gives the bare item.
    return lambda items: tuple(items[at] for at in places)


NOTHING = part({})
