"""What a redo log does to its readers, each as a switch of its own, and how often each has happened.

Sections are those of the facts about Oracle that the stand-in rests on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from random import Random
from typing import Literal, TypeAlias

#: A probability, or a certainty: of striking wherever it can.
Chance: TypeAlias = float | Literal["always", "never"]


@dataclass(kw_only=True)
class Adversities:
    """Every draw comes from one generator: the same seed and the same events give the same log."""

    seed: int = 0

    #: 1.5: a transaction's redo waits in its private strand until its commit, a full strand or a log switch, and
    #: then carries the SCNs of its changes.
    late_redo: Chance = "never"
    #: 1.5: a commit's redo is written after that of a later commit, or after the next START_LOGMNR.
    late_commit: Chance = "never"
    #: 6: changes of interleaved transactions have one SCN.
    equal_scns: Chance = "never"
    #: 1.5: the rows of one DELETE share RS_ID and SSN 0. Those of an INSERT share RS_ID, and differ by SSN.
    array_deletes: Chance = "never"
    #: 1.3: a log switch, per event.
    switch: Chance = "never"
    #: 1.4: an online log is overwritten in the middle of a fetch from it: ORA-00310.
    overwrite: Chance = "never"
    #: 1.3: an online log stays unarchived for a while after its switch.
    slow_archiver: Chance = "never"
    #: 1.3: old archives are deleted by RMAN (STATUS D), per switch.
    purged_archive: Chance = "never"
    #: 1.3: old archives vanish from disk, and the catalogue does not notice (ORA-01284), per switch.
    missing_file: Chance = "never"
    #: 1.6: a continued statement (CSF = 1) is cut between the two quotes of a doubled one.
    quote_split: Chance = "never"
    #: 1.6: ROLLBACK rows and undo rows have the XIDSQN 0xFFFFFFFF.
    partial_xid: Chance = "never"
    #: 1.6: START rows have an XID of zeros.
    zero_xid: Chance = "never"
    #: 1.5: ROLLBACK rows have an RS_ID of zeros, which is no address: they come again with each fetch.
    #: Never together with a partial XID: that was not recorded.
    zero_rs_id: Chance = "never"
    #: 1.3, 1.5: a transaction runs in the second redo thread, where the log has one.
    second_thread: Chance = "never"
    #: 1.8: the text of BINARY_FLOAT and BINARY_DOUBLE differs from the value. Real servers always do it.
    lossy_binary: Chance = "always"
    #: 2, sample 10: national text comes in several pieces, joined by ||.
    joined_text: Chance = "never"
    #: 2, sample 37: a dropped table lives on under a name of the recycle bin, instead of as OBJ# n.
    recycle_bin: Chance = "never"
    #: 1.4: INTERNAL rows and rows of the dictionary's own tables lie between the rows of a transaction.
    noise: Chance = "never"

    #: How often each has happened, and the shapes that come without a switch: `undo_of_placeholder`, `undo_by_rowid`,
    #: `xid_reuse`, `lob_write`, `lob_trim`, `null_lob`, `csf`, `dictionary_lag`, `unknown_object`, `unsupported`.
    fired: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    @classmethod
    def all(cls, seed: int, chance: Chance = 0.25, **others: Chance) -> Adversities:
        """Make each switch strike with this chance, but those that are named."""
        chances: dict[str, Chance] = dict.fromkeys(NAMES, chance) | others
        unknown = set(chances) - set(NAMES)
        if unknown:
            raise ValueError(f"no such adversity: {', '.join(sorted(unknown))}")
        made = cls(seed=seed)
        made.set(chances)
        return made

    def set(self, chances: Mapping[str, Chance]) -> None:
        """Turn switches while the log runs."""
        for name, chance in chances.items():
            if name not in NAMES:
                raise ValueError(f"no such adversity: {name}")
            setattr(self, name, chance)

    def wants(self, name: str) -> bool:
        """Draw whether this one strikes now. It counts only when it is told to have happened."""
        chance: Chance = getattr(self, name)
        if isinstance(chance, str):
            return chance == "always"
        return self.random.random() < chance

    def strikes(self, name: str) -> bool:
        """Draw, and count: for one that happens by being wanted."""
        struck = self.wants(name)
        if struck:
            self.happened(name)
        return struck

    def is_certain(self) -> bool:
        """One of them is to strike each time, though it does not so by itself: no real server can be asked for that."""
        return any(getattr(self, f.name) == "always" != f.default for f in fields(self))

    def happened(self, name: str) -> None:
        """Count it."""
        self.fired[name] += 1


#: The switches.
NAMES = tuple(f.name for f in fields(Adversities) if f.name not in ("seed", "fired"))
