"""The rows by which a migration survives anything: small, few, and compared-and-set.

Every engine keeps these tables in both databases, keyed by `migration`. A side's switch row says how the attempts to
leave it ended (it is the *loser* then) and which attempt opened it last (it was the *winner*). A stream is named by
its origin and the attempt that made its slot (`number`); its lane rows live in the receiver.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bowline_worker.contract import Side, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A database session that may hold locks: ended by whoever takes over, since a stopped process keeps them."""

    pid: int
    started: str  #: the server's own text of its start: a pid alone may be another session's by now


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchRow:
    """One per side. Locked (FOR UPDATE) by every step that decides by it."""

    attempt: int = 0  #: as a loser: its newest attempt,
    verdict: Verdict = Verdict.NONE  #: and how that stands
    aborted: frozenset[int] = frozenset()  #: all attempts that ended as Aborted
    opened: int = 0  #: as a winner: the attempt that opened it last
    fenced: bool = False
    fenced_at: datetime | None = None
    committed_at: datetime | None = None
    opened_at: datetime | None = None
    reason: str = ""  #: why the newest attempt was aborted
    cutover: Backend | None = None  #: the cutover role's session here


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    """One per lane of a stream, in the receiver. `block` and `generation` are what every apply compares and sets."""

    lane: int
    number: int  #: the stream's: the attempt that made its slot
    generation: int  #: rises with every apply; below 0: ended, nobody may apply; 0: never ran
    block: int = 0  #: newest journal block that this lane has applied
    passed: bool = False  #: the stream's marker was seen: table rows before it are discarded
    retired: int = 0  #: newest attempt that ended a generation
    barrier: int = 0  #: newest signals applied, by attempt
    probe: int = 0
    canary: int = 0
    beat: int = 0  #: newest heartbeat applied
    events: int = 0  #: changes applied over the stream's life
    discarded: int = 0  #: table rows before the marker
    position: str = ""  #: of the newest transaction applied
    backend: Backend | None = None


@dataclass(frozen=True, slots=True)
class StreamId:
    origin: Side
    number: int

    @property
    def receiver(self) -> Side:
        return self.origin.other

    def __str__(self) -> str:
        return f"{self.origin}-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeObject:
    """Something that Bowline makes in a database: recorded before it is made, removed at Complete."""

    kind: str  #: slot, publication, replica-identity, trigger, schema...
    name: str
    before: str = ""  #: what to restore: the replica identity that the table had
