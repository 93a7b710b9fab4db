"""Which files of redo a step needs: online and archived ones, of all threads, without a gap. No I/O.

An archive is preferred to the online log of the same sequence: it is not overwritten while it is read. The dictionary
views don't notice a file that was removed by hand; DBMS_LOGMNR does, when the file is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bowline_worker.contract import Unsafe

#: Of one thread in one step: bounds what a step that fails has to read again.
FILES_IN_A_STEP: Final = 8
#: Of a new thread, and of each after RESETLOGS.
_FIRST_SEQUENCE: Final = 1


@dataclass(frozen=True, slots=True, order=True)
class LogFile:
    """A file of redo, as V$LOG or V$ARCHIVED_LOG has it."""

    thread: int
    sequence: int
    first: int  #: the lowest SCN that may be in it: FIRST_CHANGE#
    name: str
    archived: bool = False


class LogMissing(Exception):
    """A log that is needed is not there, or not yet: the archiver may be about to write it."""

    def __init__(self, thread: int, sequence: int) -> None:
        super().__init__(f"log sequence {sequence} of redo thread {thread} is not there")
        self.thread, self.sequence = thread, sequence

    def for_good(self) -> Unsafe:
        """The error once it has not come for a while."""
        return Unsafe(
            f"{self}: it was deleted before it was mined, and its changes can't be had any more",
            reason="PositionLost",
            hint="restore that archived log (RMAN: restore archivelog), or start the migration anew with a longer"
            " retention of archived logs",
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """What one step mines."""

    files: tuple[LogFile, ...]
    #: SCNs from here on are in files that were left for later; None: all there is was chosen.
    end: int | None = None
    #: No thread's chosen files hold this SCN or one above it; None: one of them was chosen to its end.
    beyond: int | None = None

    @property
    def first(self) -> int:
        """No chosen file holds an SCN below this one."""
        return min((file.first for file in self.files), default=0)

    @property
    def sequences(self) -> Mapping[int, range]:
        """The sequences of the chosen files of each thread."""
        found: dict[int, list[int]] = {}
        for file in self.files:
            found.setdefault(file.thread, []).append(file.sequence)
        return {thread: range(min(known), max(known) + 1) for thread, known in found.items()}


def choose(
    files: Iterable[LogFile],
    *,
    sequences: Mapping[int, int],
    scn: int,
    limit: int = FILES_IN_A_STEP,
) -> Choice:
    """Choose from what both views list.

    A thread of `sequences` is wanted from that log on; another one from the log that holds `scn`, or from its first
    one if it began later. LogMissing where a thread has a gap.
    """
    chosen: list[LogFile] = []
    ends = []
    threads = _by_thread(files)
    for thread, known in sorted(threads.items()):
        first = sequences.get(thread)
        if first is None:
            first = _holding(thread, known, scn)
        run = _without_gap(thread, known, first)
        if len(run) > limit:
            ends.append(run[limit].first)
        chosen += run[:limit]
    for thread in sequences.keys() - {file.thread for file in chosen}:
        raise LogMissing(thread, sequences[thread])
    beyond = max(ends, default=None) if len(ends) == len(threads) else None
    return Choice(tuple(chosen), min(ends, default=None), beyond)


def _by_thread(files: Iterable[LogFile]) -> dict[int, dict[int, LogFile]]:
    """One file for each sequence of each thread."""
    found: dict[int, dict[int, LogFile]] = {}
    for file in files:
        known = found.setdefault(file.thread, {})
        there = known.get(file.sequence)
        if there is None or (file.archived and not there.archived):
            known[file.sequence] = file
    return found


def _holding(thread: int, known: Mapping[int, LogFile], scn: int) -> int:
    """Tell from which sequence on a thread is wanted that no row was read of yet.

    Where all logs are younger, the one that is wanted is gone; but a thread's first log has nothing before it.
    """
    below = [file.sequence for file in known.values() if file.first <= scn]
    if not below and min(known) > _FIRST_SEQUENCE:
        raise LogMissing(thread, min(known) - 1)
    return max(below, default=_FIRST_SEQUENCE)


def _without_gap(thread: int, known: Mapping[int, LogFile], first: int) -> list[LogFile]:
    last = max(known)
    missing = next((number for number in range(first, last + 1) if number not in known), None)
    if missing is not None or last < first:
        raise LogMissing(thread, first if missing is None else missing)
    return [known[number] for number in range(first, last + 1)]
