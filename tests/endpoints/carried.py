"""What a migration carries: types, shapes of tables, kinds of changes, each a case that walks the whole road.

`make conformance ENDPOINT=postgresql` walks all of them at once and prints a line for each; docs/postgresql.md holds
the same table, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    TYPE = "type"
    SHAPE = "shape"
    CHANGE = "change"


class How(StrEnum):
    CARRIED = "carried"
    NOTE = "carried with a note"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of the table.

    `make` runs on the source before anything else, as the tables' owner. `before` are rows for the snapshot. `writes`
    run once on the primary while each stream is live: to the target, back, and to the target again; `{n}` stands for
    1000, 2000 and 3000, so that keys differ. Each statement is a transaction of its own; a statement may hold several,
    with `;` and begin/commit. Afterwards `reads` (default: all rows of `tables` as text) must say the same on both
    sides, and something on each. A refused case is made alone: Assess must give `reason`, and name what it refuses.
    """

    kind: Kind
    name: str
    make: Sequence[str]
    tables: Sequence[str]  #: quoted, with their schema
    before: Sequence[str] = ()
    writes: Sequence[str] = ()
    reads: Sequence[str] = ()
    how: How = How.CARRIED
    note: str = ""
    reason: str = ""


def walked(
    kind: Kind,
    name: str,
    make: Sequence[str],
    tables: Sequence[str],
    writes: Sequence[str],
    *,
    reads: Sequence[str] = (),
    note: str = "",
) -> Case:
    """A case whose rows of before are written as the later ones are."""
    return Case(
        kind=kind,
        name=name,
        make=make,
        tables=tables,
        before=writes,
        writes=writes,
        reads=reads,
        note=note,
        how=How.NOTE if note else How.CARRIED,
    )
