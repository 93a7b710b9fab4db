"""Sequences of the applications, as far as the dictionary tells how far they have come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import oracledb

from bowline_worker.endpoints.base import SequenceState
from bowline_worker.endpoints.oracle import naming
from bowline_worker.endpoints.oracle.dictionary import of_owners
from bowline_worker.model import TableName

#: Those of identity columns (ISEQ$$_) belong to their columns.
SEQUENCES: Final = """
select s.sequence_owner as owner, s.sequence_name, s.last_number, s.increment_by, s.min_value, s.max_value,
       s.cache_size, s.cycle_flag, user as session_user
from all_sequences s where s.sequence_name not like 'ISEQ$$%' and s.sequence_owner in ({owners})
order by s.sequence_owner, s.sequence_name"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleSequence:
    """A sequence of an application, which is not an identity column's."""

    sequence: TableName
    owner: str
    name: str
    last_number: (
        int  #: what comes next where nothing is cached; else the first number that no cache holds
    )
    increment: int
    lowest: int
    highest: int
    cache: int
    cycles: bool

    @property
    def state(self) -> SequenceState:
        """How far it has come, numbers in caches included."""
        return SequenceState(self.last_number - self.increment, self.increment)


def read_sequences(
    connection: oracledb.Connection, owners: Iterable[str]
) -> tuple[OracleSequence, ...]:
    """The applications' sequences in the schemas of these owners (as Oracle has them), by owner and name."""
    found = tuple(
        OracleSequence(
            sequence=naming.neutral_table(row["OWNER"], row["SEQUENCE_NAME"]),
            owner=row["OWNER"],
            name=row["SEQUENCE_NAME"],
            last_number=row["LAST_NUMBER"],
            increment=row["INCREMENT_BY"],
            lowest=row["MIN_VALUE"],
            highest=row["MAX_VALUE"],
            cache=row["CACHE_SIZE"],
            cycles=row["CYCLE_FLAG"] == "Y",
        )
        for row in of_owners(connection, SEQUENCES, sorted(set(owners)))
        if not naming.is_bowlines_own(row["OWNER"], row["SEQUENCE_NAME"], user=row["SESSION_USER"])
    )
    naming.refuse_collisions(
        "sequences", ((f"{one.owner}.{one.name}", str(one.sequence)) for one in found)
    )
    return found
