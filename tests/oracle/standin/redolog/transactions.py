"""Open transactions as the redo sees them: their strands, and which of their changes stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from oracle.standin.events import Written
from oracle.standin.redolog.files import Origin, Record


@dataclass(slots=True)
class Transaction:
    """From its first call to its last record in the log."""

    origin: Origin
    thread: int
    late: bool  #: its redo waits in its private strand
    last_scn: int  #: of its last record
    strand: list[Record] = field(default_factory=list)
    group: tuple[object, ...] | None = (
        None  #: the last record of the strand may take more rows of this
    )
    standing: list[Written] = field(default_factory=list)
    commit_scn: int | None = None  #: it is over, and its redo still to be written
    seen_by_a_start: bool = False

    def undone(self, change: Written) -> Written:
        """Take the newest standing change of a row away, and tell it."""
        row = (change.table.object_id, change.rowid)
        for at in range(len(self.standing) - 1, -1, -1):
            done = self.standing[at]
            if (done.table.object_id, done.rowid) == row:
                return self.standing.pop(at)
        raise ValueError(
            f"undo of a row without a standing change: {change.table.name} {change.rowid}"
        )

    def settled(self) -> Iterator[Record]:
        """Take everything out of the strand."""
        self.group = None
        taken, self.strand = self.strand, []
        yield from taken
