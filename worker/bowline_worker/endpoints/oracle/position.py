"""Positions in Oracle's redo: what was given out (`Emitted`), and from where to mine again (`Place`).

The order that is promised. The positions of the transactions that a migration's stream gives out rise strictly: over
steps, over threads and over restarts. The journal relies on that, and on nothing else. Within a step transactions come
by (commit SCN, thread, address), which is an order in which they can have seen each other's rows. A commit that shows
in a later step with a lower SCN (its redo was written late) comes then; it can't have been seen by a transaction that
was given out before it, for redo that depends on other redo is not written before it.

So `order` is the commit's SCN times 2**16, or one more than the order before it, where that is not less. It is *not* a
function of the SCN. Whoever compares a transaction with a snapshot (model.Transaction.position, base.Hold.position)
takes `at_scn` of the true SCNs on both sides.

A restart. The journal keeps `order` and `text` of the last transaction that it has, in at most 256 bytes. The text
tells exactly which commits were given out: per thread all up to a floor, and, where a step had not been given out
whole, those of the step that come up to the last one by the order above. A new process first mines exactly that step
again (`until`), whose rows are the same ones: the redo of a thread is only appended to, so nothing can come between.
A `Place` is larger, and is kept elsewhere. It may be older than the journal, never newer: then what it points to is
only mined again, and dropped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from bowline_worker.contract import Unsafe, Unsupported
from bowline_worker.endpoints.oracle.logrow import Address, LogRow, Xid
from bowline_worker.endpoints.oracle.start import Start
from bowline_worker.endpoints.oracle.steps import Bound
from bowline_worker.model import Position, TableName

FORMAT: Final = 1

#: Leaves room for transactions between two SCNs, and for SCNs of 48 bits in the 64 that the journal keeps.
_SCN_SHIFT: Final = 16

#: What the journal keeps of a text. A thread takes up to 30 bytes of it, and twice that within a step.
_TEXT_BYTES: Final = 256

_NOWHERE: Final = Address("", 0)


def at_scn(scn: int) -> Position:
    """Make the position of an SCN: of a snapshot, or of a commit that is compared with one."""
    return Position(scn << _SCN_SHIFT, str(scn))


class CommitKey(NamedTuple):
    """What the commits of one step are sorted by."""

    scn: int
    thread: int
    address: Address

    @classmethod
    def of(cls, row: LogRow) -> CommitKey:
        return cls(row.scn, row.thread, row.address or _NOWHERE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """Which commits were given out.

    All up to `floors`; while a step is given out, also those up to `until` whose key is not above `last`. `bare` are
    the transactions given out whose commit has no address, for as long as their rows may be mined again.
    """

    order: int = 0
    scn: int = 0  #: of the newest one, or how far a step without any went
    floors: Mapping[int, Address] = field(default_factory=dict)
    until: Mapping[int, Address] = field(default_factory=dict)
    upper: int = 0  #: what the step under way must be mined up to again, to be the same one
    last: CommitKey | None = None
    bare: frozenset[Xid] = frozenset()

    def has(self, commit: LogRow) -> bool:
        """Tell whether the commit was given out before."""
        address = commit.address
        if address is None:
            return commit.xid in self.bare
        if address <= self.floors.get(commit.thread, _NOWHERE):
            return True
        return (
            self.last is not None
            and address <= self.until.get(commit.thread, _NOWHERE)
            and CommitKey.of(commit) <= self.last
        )

    def next_order(self, scn: int) -> int:
        return max(scn << _SCN_SHIFT, self.order + 1)

    @property
    def position(self) -> Position:
        """The position as the journal keeps it. Unsupported where there are too many threads for that."""
        parts = [str(self.scn)]
        parts += [f"{thread}:{_short(address)}" for thread, address in sorted(self.floors.items())]
        if self.last is not None:
            parts += [f"{thread}<{_short(at)}" for thread, at in sorted(self.until.items())]
            parts.append(f"^{self.upper}")
            parts.append(f"@{self.last.thread}.{self.last.scn}.{_short(self.last.address)}")
        parts += ["x" + ".".join(map(str, xid)) for xid in sorted(self.bare)]
        text = " ".join(parts)
        if len(text) > _TEXT_BYTES:
            raise Unsupported(
                f"a position in {len(self.floors)} redo threads takes {len(text)} bytes, {_TEXT_BYTES} are there",
                hint="close redo threads of instances that are gone",
            )
        return Position(self.order, text)

    @classmethod
    def read(cls, position: Position) -> Emitted:
        """Read a position's text again. Unsafe where it is none."""
        scn, *parts = position.text.split(" ")
        floors: dict[int, Address] = {}
        until: dict[int, Address] = {}
        bare: set[Xid] = set()
        upper, last = 0, None
        try:
            for part in parts:
                if part[0] == "x":
                    container, usn, slot, sequence = map(int, part[1:].split("."))
                    bare.add(Xid(container, usn, slot, sequence))
                elif part[0] == "^":
                    upper = int(part[1:])
                elif part[0] == "@":
                    thread, commit, address = part[1:].split(".", 2)
                    last = CommitKey(int(commit), int(thread), _long(address))
                elif ":" in part:
                    thread, address = part.split(":")
                    floors[int(thread)] = _long(address)
                else:
                    thread, address = part.split("<")
                    until[int(thread)] = _long(address)
            return cls(
                order=position.order,
                scn=int(scn),
                floors=floors,
                until=until,
                upper=upper,
                last=last,
                bare=frozenset(bare),
            )
        except (ValueError, IndexError) as error:
            raise Unsafe(
                f"the position {position.text!r} can't be read",
                reason="PositionDamaged",
                hint="the journal belongs to another engine or release; start the migration anew",
            ) from error


def _short(address: Address) -> str:
    """Write an address without what its fixed width adds."""
    if address == _NOWHERE:
        return "-"
    fields = address.rs_id.removeprefix("0x").split(".")
    return ".".join([*(each.lstrip("0") or "0" for each in fields), str(address.ssn)])


def _long(text: str) -> Address:
    if text == "-":
        return _NOWHERE
    sequence, block, offset, ssn = text.split(".")
    return Address(f"0x{sequence:0>6}.{block:0>8}.{offset:0>4}", int(ssn))


class Resume(NamedTuple):
    """A row of a thread, by address and SCN."""

    address: Address
    scn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """From where to mine again, once everything up to `position` is durable.

    In each thread of `resume` the row named there is wanted again, and all behind it: it is the first captured row of
    the oldest transaction that was open, or the last row that was read. A thread that is not there begins with the
    first row that is mined.
    """

    dbid: int
    resetlogs: int  #: RESETLOGS_CHANGE#: another one is another incarnation
    start: Start
    position: Position = field(default_factory=lambda: Emitted().position)
    resume: Mapping[int, Resume] = field(default_factory=dict)
    #: SCN of the newest TRUNCATE that was given out, by table: it explains a new segment (segments.py).
    emptied: Mapping[TableName, int] = field(default_factory=dict)

    @property
    def mine_from(self) -> int:
        """The lowest SCN that is wanted again. Logs are better found by the sequences in `resume`."""
        if not self.resume:
            return self.start.mine_from
        return min(resume.scn for resume in self.resume.values())

    @property
    def bounds(self) -> dict[int, Bound]:
        return {
            thread: Bound(resume.address, inclusive=True) for thread, resume in self.resume.items()
        }

    def check_origin(self, dbid: int, resetlogs: int) -> None:
        """Refuse to go on in another database, or in another incarnation of it."""
        if (dbid, resetlogs) != (self.dbid, self.resetlogs):
            raise Unsafe(
                f"the source is database {dbid}, opened with RESETLOGS at SCN {resetlogs}; the stream began in"
                f" database {self.dbid}, RESETLOGS at {self.resetlogs}",
                reason="OriginWentBack",
                hint="the server was restored, or a standby took over: start the migration anew",
            )

    def after(self, journalled: Position | None) -> Place:
        """Tell where to go on when the journal ends there. Unsafe where it ends before this place."""
        if journalled is None:
            journalled = Emitted().position
        if journalled < self.position:
            raise Unsafe(
                f"mining goes on after {self.position}, the journal ends at {journalled}",
                reason="JournalBehindSlot",
                hint="changes in between are lost; bring the right journal back, or start the migration anew",
            )
        return replace(self, position=journalled)

    def with_emptied(self, more: Mapping[TableName, int]) -> Place:
        """Note the SCNs at which tables were emptied."""
        if not more:
            return self
        newest = {table: max(scn, self.emptied.get(table, 0)) for table, scn in more.items()}
        return replace(self, emptied={**self.emptied, **newest})

    def dumps(self) -> str:
        return json.dumps(
            {
                "format": FORMAT,
                "dbid": self.dbid,
                "resetlogs": self.resetlogs,
                "position": {"order": self.position.order, "text": self.position.text},
                "threads": {
                    str(thread): {
                        "rs_id": resume.address.rs_id,
                        "ssn": resume.address.ssn,
                        "scn": resume.scn,
                    }
                    for thread, resume in sorted(self.resume.items())
                },
                "start": self.start.to_json(),
                "emptied": [[each.schema, each.name, scn] for each, scn in self.emptied.items()],
            }
        )

    @classmethod
    def loads(cls, text: str) -> Place:
        """Read what `dumps` made. Unsafe where it is damaged, or another version's."""
        try:
            content: dict[str, Any] = json.loads(text)
            if content["format"] != FORMAT:
                raise Unsafe(
                    f"mining position of format {content['format']} is not known, wanted {FORMAT}",
                    hint="run the version of Bowline that wrote it",
                )
            return cls(
                dbid=content["dbid"],
                resetlogs=content["resetlogs"],
                position=Position(content["position"]["order"], content["position"]["text"]),
                resume={
                    int(thread): Resume(Address(each["rs_id"], each["ssn"]), each["scn"])
                    for thread, each in content["threads"].items()
                },
                start=Start.from_json(content["start"]),
                emptied={TableName(*name): scn for *name, scn in content.get("emptied", ())},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unsafe(
                f"the mining position is damaged: {type(error).__name__}: {error}",
                reason="PositionDamaged",
                hint="without it the stream can't be continued; start the migration anew",
            ) from error
