"""Looks, beside the stream, whether a migrated table's rows are others than those that the stream told of."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import oracledb

from bowline_worker.bookkeeping import StreamId
from bowline_worker.endpoints.oracle import segments, slots
from bowline_worker.endpoints.oracle.catalog import read_tables
from bowline_worker.endpoints.oracle.dictionary import Place
from bowline_worker.endpoints.oracle.segments import Look, Note
from bowline_worker.endpoints.site import Site
from bowline_worker.model import TableName

#: A swap is to be found within the 10 s in which shapes are compared; a doubtful look is followed by the next at once.
LOOK_SECONDS: Final = 5.0

Emptied = Mapping[TableName, int]


class Swaps:
    """One capture's; see segments.py. A look is judged when the redo up to it was read.

    The note is stored before what it rests on is durable. A restart then looks at a TRUNCATE again that the note has
    already, which explains nothing wrongly: there is no other segment to explain.
    """

    def __init__(
        self,
        site: Site,
        stream: StreamId,
        books: oracledb.Connection,
        tables: Mapping[Place, TableName],
        note: Note | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site, self._stream, self._books, self._tables = site, stream, books, tables
        self._clock = clock
        self._note = self._stored = note or self._first()
        self._seen: Look | None = None  # to be judged
        self._is_doubted = False
        self._due = 0.0

    def follow(self, mined: int, emptied: Emptied) -> None:
        """Go on, where all that was committed up to SCN `mined` was given out. Unsafe at the second look in a row."""
        if self._seen is None:
            if self._clock() >= self._due:
                self._seen = segments.look(self._site, self._tables)
                self._due = self._clock() + LOOK_SECONDS
        elif mined >= self._seen.scn:
            seen, self._seen = self._seen, None
            self._judge(seen, emptied)

    def pass_barrier(self, attempt: int, emptied: Emptied) -> None:
        """Note what the segments are before the barrier of a switch is given out: `fence.gaps` compares them later.

        Where they can't be explained now, the older note stays: the switch will not commit, and `follow` says why.
        """
        if attempt <= self._note.barrier:
            return
        seen = segments.look(self._site, self._tables)
        is_right = not segments.unexplained(self._note, seen, emptied)
        note = segments.followed(self._note, seen) if is_right else self._note
        self._keep(replace(note, barrier=attempt), emptied)

    def _first(self) -> Note:
        seen = segments.look(self._site, self._tables)
        return Note(scn=seen.scn, since=seen.scn, ids=seen.ids)

    def _judge(self, seen: Look, emptied: Emptied) -> None:
        found = segments.unexplained(self._note, seen, emptied)
        if not found:
            self._is_doubted = False
            self._keep(segments.followed(self._note, seen), emptied)
        elif self._is_doubted:
            raise segments.swapped(found[0], self._note, seen)
        else:
            self._is_doubted, self._due = True, 0.0

    def _keep(self, note: Note, emptied: Emptied) -> None:
        """Store the note where a restart would judge otherwise without it."""
        self._note = note
        stored = self._stored
        is_newer = any(stored.since < scn <= note.since for scn in emptied.values())
        if is_newer or (note.ids, note.barrier) != (stored.ids, stored.barrier):
            slots.keep_note(self._books, self._site, self._stream, note)
            self._stored = note


def behind_fence(site: Site, connection: oracledb.Connection, attempt: int) -> list[str]:
    """Say which tables DDL emptied or exchanged since the stream passed the barrier of this attempt; [] before that.

    There a TRUNCATE is as bad: the winner will not have it.
    """
    notes = [note for note in slots.notes(connection, site) if attempt and note.barrier == attempt]
    if not notes:
        return []
    tables = read_tables(connection, site.config.include, site.config.exclude)
    now = segments.ids_of(tables)
    found = {table for note in notes for table in segments.moved(note.ids, now)}
    return [f"{table}, whose rows DDL replaced" for table in sorted(found, key=str)]
