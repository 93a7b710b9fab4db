"""Which captured tables hang on a table by foreign keys: TRUNCATE ... CASCADE empties them as well.

Asked of the dictionary when such a statement comes, which is rare. A key that was dropped between the statement and the
look is not seen here; segments.py finds what was emptied then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import oracledb

from bowline_worker.endpoints.oracle.dictionary import Place, of_owners, reading
from bowline_worker.endpoints.site import Site
from bowline_worker.model import TableName

#: Also keys that are disabled, or that don't say ON DELETE CASCADE: they may have done so a moment ago, and those of
#: partitioning by reference need not. The name of a table that the user may not see is none.
_REFERENCES: Final = """
select c.owner, c.table_name, c.r_owner, p.table_name as r_table
from all_constraints c
left join all_constraints p on p.owner = c.r_owner and p.constraint_name = c.r_constraint_name
where c.constraint_type = 'R' and c.owner in ({owners})"""

_Parent = tuple[str, str | None]


class Below:
    """Tells the captured tables below one; see selection.Below."""

    def __init__(self, site: Site, captured: Mapping[Place, TableName]) -> None:
        self._site, self._captured = site, captured

    def __call__(self, owner: str, name: str) -> frozenset[TableName]:
        with reading(self._site) as connection:
            children = _children(connection, {each for each, _ in self._captured})
        found: set[Place] = set()
        waiting = [(owner, name)]
        while waiting:
            above = waiting.pop()
            # A parent that may not be seen can be any table of its schema.
            new = (children[above] | children[above[0], None]) - found
            found |= new
            waiting += new
        found.discard((owner, name))
        return frozenset(self._captured[place] for place in found if place in self._captured)


def _children(
    connection: oracledb.Connection, owners: set[str]
) -> defaultdict[_Parent, set[Place]]:
    """The tables that refer to one directly, by parent: of these owners' tables, and of all that are above them."""
    children: defaultdict[_Parent, set[Place]] = defaultdict(set)
    read: set[str] = set()
    while owners:
        read |= owners
        above: set[str] = set()
        for row in of_owners(connection, _REFERENCES, sorted(owners)):
            children[row["R_OWNER"], row["R_TABLE"]].add((row["OWNER"], row["TABLE_NAME"]))
            above.add(row["R_OWNER"])
        owners = above - read
    return children
