"""Where a stream begins: which transactions are the snapshot's, and which the stream's.

Three reads, in this order: q = CURRENT_SCN; the open transactions of GV$TRANSACTION with their START_SCN; s =
CURRENT_SCN. The snapshot is read AS OF SCN s. What commits after s comes from redo, what committed at or before s is in
the snapshot: each transaction is in exactly one of them, and one that was open at q is mined from its beginning.

AS OF SCN shows what committed at that very SCN: the SCN at which a row version starts is the one to ask for to see it
(SQL Language Reference, VERSIONS_STARTSCN). Two instances can commit at one SCN, so s itself may be a commit's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.logrow import LogRow, Xid

#: V$TRANSACTION shows these for transactions that have written nothing.
_NO_START = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The rule for rows from before the snapshot. Settled: none of them matters any more but late commits.

    Below s only rows are kept whose transaction is listed, or is known to have begun at or after q: others ended by
    s, or began before what is mined. Kept for ever, for a commit up to s may show late.
    """

    before: int  #: q
    snapshot: int  #: s
    listed: Mapping[Xid, int] = field(
        default_factory=dict
    )  #: open ones, with the SCN of their start
    begun: frozenset[Xid] = frozenset()  #: those whose START row was seen between q and s
    #: Those of whom a row was left to the snapshot, and whose end is not seen: should one commit after s, it is lost.
    dropped: frozenset[Xid] = frozenset()
    is_settled: bool = False

    def __post_init__(self) -> None:
        if self.snapshot < self.before:
            raise ValueError(
                f"the snapshot's SCN {self.snapshot} was read after {self.before}, and is less"
            )

    @property
    def mine_from(self) -> int:
        """The SCN that mining begins with, the first time."""
        return min([self.before, *(scn for scn in self.listed.values() if scn > _NO_START)])

    def keeps(self, row: LogRow, xid: Xid) -> bool:
        """Tell whether a row of that transaction can be the stream's."""
        return (
            row.scn >= self.snapshot
            or self.is_settled
            or xid in self.listed
            or xid in self.begun
            or (row.start_scn is not None and row.start_scn >= self.before)
        )

    def is_in_snapshot(self, commit_scn: int) -> bool:
        return commit_scn <= self.snapshot

    def with_begin(self, xid: Xid, scn: int) -> Start:
        """Note the START row of a transaction, as far as rows from before the snapshot need it."""
        if self.is_settled or xid.is_zero or not self.before <= scn <= self.snapshot:
            return self
        return replace(self, begun=self.begun | {xid})

    def with_dropped(self, xid: Xid) -> Start:
        """Note that a row of a transaction was not kept."""
        return self if xid in self.dropped else replace(self, dropped=self.dropped | {xid})

    def with_end(self, xid: Xid) -> Start:
        """Note that a transaction is over, whichever way."""
        if xid not in self.listed and xid not in self.begun and xid not in self.dropped:
            return self
        rest = {each: scn for each, scn in self.listed.items() if each != xid}
        return replace(self, listed=rest, begun=self.begun - {xid}, dropped=self.dropped - {xid})

    def settled(self, reached: int) -> Start:
        """Forget the lists when all threads have reached that SCN, and nothing that was open before s still is."""
        is_open = self.listed or self.begun or self.dropped
        if self.is_settled or is_open or reached <= self.snapshot:
            return self
        return replace(self, is_settled=True)

    def to_json(self) -> dict[str, Any]:
        return {
            "before": self.before,
            "snapshot": self.snapshot,
            "listed": [[*xid, scn] for xid, scn in sorted(self.listed.items())],
            "begun": [list(xid) for xid in sorted(self.begun)],
            "dropped": [list(xid) for xid in sorted(self.dropped)],
            "settled": self.is_settled,
        }

    @classmethod
    def from_json(cls, content: Any) -> Start:
        """Read what `to_json` made. Unsafe where it is something else."""
        try:
            return cls(
                before=content["before"],
                snapshot=content["snapshot"],
                listed={Xid(*each[:4]): each[4] for each in content["listed"]},
                begun=frozenset(Xid(*each) for each in content["begun"]),
                dropped=frozenset(Xid(*each) for each in content["dropped"]),
                is_settled=content["settled"],
            )
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise Unsafe(
                f"the start of the stream can't be read: {type(error).__name__}: {error}",
                reason="PositionDamaged",
            ) from error
