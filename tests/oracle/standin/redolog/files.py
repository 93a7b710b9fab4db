"""Redo threads, their online logs and their archives: what lies where, and for how long (1.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from oracle.standin.events import Xid
from oracle.standin.redolog.lines import Line

NO_ADDRESS = " 0x000000.00000000.0000 "

#: NEXT_CHANGE# of a current log.
UNBOUNDED = 18446744073709551615

_BLOCK_BYTES, _HEADER_BYTES = 512, 16


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose redo it is: what the START row of a transaction tells."""

    xid: Xid
    container: str
    start_scn: int
    user: str | None = None
    client: str | None = None
    session: int = 0


@dataclass(slots=True, kw_only=True)
class Record:
    """One redo record: lines that share an address and an SCN. What was drawn for it stays with it."""

    origin: Origin
    xid: Xid  #: as it is shown: partial or zero
    scn: int
    at: datetime
    lines: list[Line]
    one_ssn: bool = False  #: all of them are SSN 0
    hidden_address: bool = False
    lossy: bool = True
    joined: bool = False
    split: bool = False
    rs_id: str = ""
    rendered: tuple[object, list[object]] | None = None  #: its rows, as they were asked for last

    @property
    def size(self) -> int:
        """Estimate its bytes in the log."""
        cells = sum(
            len(str(value))
            for line in self.lines
            for _, value in (*line.cells, *(line.where or ()))
        )
        return 80 + 40 * len(self.lines) + cells


@dataclass(slots=True)
class LogFile:
    """The redo of one sequence number: in an online group, then in archives."""

    thread: int
    sequence: int
    first_change: int
    first_time: datetime
    next_change: int | None = None  #: None: it is the current one
    next_time: datetime | None = None
    records: list[Record] = field(default_factory=list)
    used: int = 0  #: bytes of redo

    def append(self, record: Record) -> None:
        """Write at the end, and give the record its address."""
        block, offset = divmod(self.used, _BLOCK_BYTES - _HEADER_BYTES)
        place = (self.sequence, block + 2, offset + _HEADER_BYTES)
        record.rs_id = " 0x{:06x}.{:08x}.{:04x} ".format(*place)
        self.used += record.size
        self.records.append(record)

    @property
    def blocks(self) -> int:
        return 2 + self.used // (_BLOCK_BYTES - _HEADER_BYTES)


class ArchiveStatus(StrEnum):
    """STATUS of V$ARCHIVED_LOG."""

    AVAILABLE = "A"
    DELETED = "D"
    EXPIRED = "X"


@dataclass(slots=True)
class Archive:
    """A copy of a log that was switched away from."""

    file: LogFile
    name: str
    dest: int
    status: ArchiveStatus = ArchiveStatus.AVAILABLE
    on_disk: bool = True


@dataclass(slots=True)
class Group:
    """An online log group: a place that the logs of its thread use in turn."""

    number: int
    members: tuple[str, ...]
    file: LogFile | None = None  #: None: never used
    archived: bool = False


class Thread:
    """One instance's redo."""

    def __init__(
        self, number: int, groups: int, at: datetime, scn: int, sequence: int, dests: int = 1
    ) -> None:
        self.number = number
        first = 1 + (number - 1) * groups
        self.groups = [Group(n, _members(n)) for n in range(first, first + groups)]
        self.archives: list[Archive] = []
        self._dests = dests
        self._turn = 0
        self.current = LogFile(number, sequence, scn, at)
        self.groups[0].file = self.current

    @property
    def group(self) -> Group:
        """The group of the current log."""
        return self.groups[self._turn]

    def switch(self, scn: int, at: datetime, *, archive: bool) -> None:
        """Go on in the next group, whose old log is overwritten; it is archived before, at the latest."""
        self.current.next_change, self.current.next_time = scn, at
        if archive:
            self.archive(self.group)
        self._turn = (self._turn + 1) % len(self.groups)
        self.archive(self.group)
        self.current = LogFile(self.number, self.current.sequence + 1, scn, at)
        self.group.file, self.group.archived = self.current, False

    def archive(self, group: Group) -> None:
        """Copy a group's log to each destination, once."""
        file = group.file
        if file is None or group.archived or file.next_change is None:
            return
        group.archived = True
        for dest in range(1, self._dests + 1):
            name = f"/u0{dest}/arch/1_{file.thread}_{file.sequence}_1001.arc"
            self.archives.append(Archive(file, name, dest))

    def unarchived(self) -> Iterator[Group]:
        """Yield the groups that wait for the archiver."""
        for group in self.groups:
            if group.file and group.file.next_change is not None and not group.archived:
                yield group

    def status(self, group: Group) -> str:
        """STATUS of V$LOG: the log before the current one is still needed for a crash's recovery."""
        if group.file is None:
            return "UNUSED"
        if group.file is self.current:
            return "CURRENT"
        return "ACTIVE" if group.file.sequence == self.current.sequence - 1 else "INACTIVE"


def _members(group: int) -> tuple[str, ...]:
    return tuple(f"/u0{disk}/oradata/ORCL/redo{group:02d}.log" for disk in (1, 2))
