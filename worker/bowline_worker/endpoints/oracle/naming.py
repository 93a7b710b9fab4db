"""Oracle's names in the neutral model: what nobody quoted is upper case there, and lower case in PostgreSQL.

There is no way back from a name alone: ID may have been ID or id. What the catalogue found is asked instead, and names
that would become one are refused.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from bowline_worker.contract import Unsupported
from bowline_worker.model import TableName

#: Objects that Oracle makes for itself in an application's schema: dropped ones (BIN$), logs of materialized views
#: (MLOG$, RUPD$), advanced queuing (AQ$), text indexes (DR$), what did not fit into an index-organised table.
_MADE_BY_ORACLE = ("BIN$", "MLOG$", "RUPD$", "AQ$", "SYS_IOT_OVER_", "DR$")
#: Bowline's bookkeeping in the schema of its user.
_OWN = "BOWLINE_"
#: ALTER TABLE SET UNUSED renames a column to its number and the time, until DROP UNUSED COLUMNS.
_UNUSED = re.compile(r"SYS_C\d{5}_\d{8}:\d\d:\d\d\$")


def neutral(name: str) -> str:
    """The model's name: CUSTOMER is customer; a name with any lower-case letter stays as it is."""
    return name if any(char.islower() for char in name) else name.lower()


def neutral_table(owner: str, name: str) -> TableName:
    return TableName(neutral(owner), neutral(name))


def is_oracles_own(table: str) -> bool:
    """Tell whether Oracle made the table for itself, by its name."""
    return table.startswith(_MADE_BY_ORACLE)


def is_bowlines_own(owner: str, name: str, *, user: str) -> bool:
    """Tell whether an object is Bowline's bookkeeping: in another schema than its user's the name is anybody's."""
    return owner == user and name.startswith(_OWN)


def is_unused(column: str) -> bool:
    """Tell whether a column was SET UNUSED: it can't be used any more, and only takes room."""
    return _UNUSED.fullmatch(column) is not None


def refuse_collisions(what: str, names: Iterable[tuple[str, str]]) -> None:
    """Raise Unsupported where several of Oracle's names are one in the model; pairs of Oracle's and the model's.

    The message names them all.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for spelled, name in names:
        found[name].append(spelled)
    collisions = [
        f"{' and '.join(sorted(spelled))} would both be {name}"
        for name, spelled in sorted(found.items())
        if len(spelled) > 1
    ]
    if collisions:
        raise Unsupported(
            f"{what} that differ in upper and lower case alone: {'; '.join(collisions)}",
            reason="NamesCollide",
            hint="rename one, or exclude it in spec.tables by oracle's spelling",
        )
