"""Read one stream's changes from the redo: mine, convert, read again what the redo does not tell, give out in pieces.

mining.py promises that each transaction is given out once, over restarts too, if whoever goes on starts from the
slot's place and the journal's end. So nothing is kept here: what was not journalled is mined again.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import oracledb

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import BowlineError
from bowline_worker.endpoints.base import Lineage, Piece, went_back
from bowline_worker.endpoints.oracle import frames, sessions, slots
from bowline_worker.endpoints.oracle.captured import Tables, one
from bowline_worker.endpoints.oracle.changes import Draft
from bowline_worker.endpoints.oracle.connection import connect, translated
from bowline_worker.endpoints.oracle.keymoves import check_keys
from bowline_worker.endpoints.oracle.logminer import LogMiner, connect_to_mine
from bowline_worker.endpoints.oracle.mining import Committed, Miner
from bowline_worker.endpoints.oracle.position import Emitted, Place
from bowline_worker.endpoints.oracle.reselect import LONG_ROWS, Fates, Reselect
from bowline_worker.endpoints.oracle.signals import signal_of
from bowline_worker.endpoints.oracle.swaps import Swaps
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Change, Position, Row, Signal, SignalKind

__all__ = ["OracleCapture", "capture"]

#: One call returns about so much at most, so that its caller can make it durable.
READ_BYTES: Final = 4 << 20
#: A piece is cut where either is reached: a huge transaction is never in memory as a whole.
PART_BYTES: Final = 1 << 20
PART_CHANGES: Final = 2_000
#: Rows with large values that are read again at once; fewer where they turn out to be larger than this together.
LARGE_ROWS: Final = 100
LARGE_BYTES: Final = 16 << 20

#: Between two looks at the redo, where the last one brought nothing: a look reads the newest log from its beginning.
PAUSE_SECONDS: Final = 0.2
#: A look that took longer is followed by as long a pause, up to this.
LONGEST_PAUSE_SECONDS: Final = 5.0
SLICE_SECONDS: Final = 0.05
IDLE_SECONDS: Final = 1.0
ADVANCE_SECONDS: Final = 1.0
ZONE_SECONDS: Final = 60.0

_BEAT: Final = "select h.beat from bowline_heartbeat h where h.migration = :migration"
_ZONE: Final = "select to_char(systimestamp, 'TZH:TZM') from dual"


def capture(
    site: Site, stream: StreamId, after: Position | None, seen: Lineage | None = None
) -> OracleCapture:
    """Stream what committed after that position (None: from the slot's start); see base.Endpoint."""
    with ExitStack() as stack, translated(site, "could not begin to capture"):
        books = stack.enter_context(closing(connect(site)))
        slots.require(books, site, stream).place.after(after)
        mining, where = connect_to_mine(site)
        stack.callback(mining.close)
        older = slots.require(books, site, stream).session
        if older is not None:
            sessions.end_backends(mining, [older])
        # What it may have written before it ended counts.
        slot = slots.require(books, site, stream)
        place = slot.place.after(after)
        tables = Tables.read(site)
        session = LogMiner(site, mining, tables.owners, where=where)
        found = _check_lineage(site, books, session, place, after, seen)
        slots.claim(books, site, stream, sessions.own_backend(mining))
        miner = Miner(place, tables.selection, parse=tables.parse, directory=_scratch(site))
        stack.callback(miner.close)
        swaps = Swaps(site, stream, books, tables.places, slot.note)
        made = OracleCapture(site, stream, tables, books, session, miner, found, swaps)
        made.resources = stack.pop_all()
        return made


def _check_lineage(
    site: Site,
    books: oracledb.Connection,
    session: LogMiner,
    place: Place,
    after: Position | None,
    seen: Lineage | None,
) -> Lineage:
    """Unsafe where the database does not have what was read from it up to `after`."""
    origin = session.origin()
    place.check_origin(origin.dbid, origin.resetlogs)
    log = f"{origin.dbid}/{origin.resetlogs}"
    if after is None:
        return Lineage(log=log)
    # A database that was put back as it was on its storage has the same incarnation, and less in it.
    reached = Emitted.read(after).scn
    if origin.scn < reached:
        raise went_back(site.side, f"its SCN is {origin.scn}, and the journal ends at {reached}")
    if seen is not None and seen.log and seen.log != log:
        raise went_back(site.side, f"its log was {seen.log}, and is {log}")
    beat = one(books, _BEAT, migration=site.migration)
    if seen is not None and int(beat or 0) < seen.beat:
        raise went_back(
            site.side, f"heartbeat {seen.beat} was written, and {int(beat or 0)} is the newest"
        )
    return Lineage(log=log)


@dataclass(slots=True)
class _Part:
    """The piece that is being put together."""

    signals: list[Signal] = field(default_factory=list)
    changes: list[list[Any]] = field(default_factory=list)
    relations: set[int] = field(default_factory=set)
    size: int = 0

    @property
    def is_full(self) -> bool:
        return self.size >= PART_BYTES or len(self.changes) >= PART_CHANGES


class OracleCapture:
    """Reads one slot. See base.Capture. An error in `read` ends it: what it gave out in part comes again."""

    def __init__(
        self,
        site: Site,
        stream: StreamId,
        tables: Tables,
        books: oracledb.Connection,
        session: LogMiner,
        miner: Miner,
        lineage: Lineage,
        swaps: Swaps,
    ) -> None:
        self.lineage = lineage
        self.resources = ExitStack()
        self._site, self._stream, self._tables, self._books = site, stream, tables, books
        self._session, self._miner, self._swaps = session, miner, swaps
        self._reselect = Reselect(site, books)
        self._frames = {
            relation.number: frames.encode_relation(
                relation.number, name, relation.columns, relation.table.table.key
            )
            for name, relation in tables.relations.items()
        }
        self._announced: set[int] = set()
        self._large_rows = LONG_ROWS
        self._pieces: Iterator[Piece] = iter(())
        self._look_due = self._zone_due = self._idle_due = self._advance_due = 0.0
        self._zone = timezone(timedelta())
        self._given = miner.position.order
        self._places: deque[Place] = deque()  # of what was given out, until it is acknowledged
        self._durable: Place | None = None  # newest acknowledged one that is not in the slot yet

    def read(self, timeout: float) -> list[Piece]:
        """What has come, oldest first; [] after `timeout` seconds without any. Looks at the redo where it is due.

        Without a timeout only what is at hand is given: a caller who has something to make durable is not kept waiting.
        """
        deadline = time.monotonic() + timeout
        found: list[Piece] = []
        size = 0
        with translated(self._site, "could not read the stream"):
            while True:
                for piece in self._pieces:
                    found.append(piece)
                    size += len(piece.payload)
                    if size >= READ_BYTES:
                        return found
                now = time.monotonic()
                if found or timeout <= 0 or (now >= deadline and now < self._look_due):
                    return found
                if now >= self._look_due:
                    self._pieces = self._look()
                else:
                    time.sleep(min(SLICE_SECONDS, self._look_due - now, deadline - now))

    def describe(self, relations: Iterable[int]) -> bytes:
        """Frames that explain those relations: a table has one shape for as long as it is captured."""
        return b"".join(self._frames[number] for number in sorted(relations))

    def acknowledge(self, position: Position) -> None:
        """Begin behind this position next time. The caller has made it durable."""
        while self._places and self._places[0].position <= position:
            self._durable = self._places.popleft()
        if self._durable is not None and time.monotonic() >= self._advance_due:
            self._advance()

    def close(self) -> None:
        """End the sessions. What was not acknowledged comes again, and what was need not."""
        try:
            # An older place costs time at the next start, and nothing else.
            with suppress(BowlineError):
                self._advance()
        finally:
            self.resources.close()

    def _advance(self) -> None:
        if self._durable is not None:
            slots.advance(self._books, self._site, self._stream, self._durable)
            self._durable = None
            self._advance_due = time.monotonic() + ADVANCE_SECONDS

    # --- looking at the redo ---------------------------------------------------------------------

    def _look(self) -> Iterator[Piece]:
        """Mine a step; its pieces are made as they are asked for."""
        began = time.monotonic()
        self._read_zone(began)
        step = self._session.mine(self._miner)
        if step is None:
            self._look_due = time.monotonic() + PAUSE_SECONDS
            return
        gave = False
        for transaction in self._miner.apply(step):
            gave = True
            for piece in self._of(transaction):
                self._given = piece.position.order
                if piece.ends:
                    self._places.append(transaction.place)
                yield piece
        if step.upper is not None and not step.until:
            self._swaps.follow(step.upper, self._miner.place.emptied)
        now = time.monotonic()
        if not gave and not self._session.has_more:
            self._look_due = now + min(max(PAUSE_SECONDS, now - began), LONGEST_PAUSE_SECONDS)
        if self._miner.position.order > self._given and now >= self._idle_due:
            self._idle_due = now + IDLE_SECONDS
            self._given = self._miner.position.order
            self._places.append(self._miner.place)
            yield Piece(payload=b"", position=self._miner.position)

    def _read_zone(self, now: float) -> None:
        """The zone in which the redo's times are: it changes with the season."""
        if now >= self._zone_due:
            hours, _, minutes = str(one(self._books, _ZONE)).partition(":")
            sign = -1 if hours.startswith("-") else 1
            away = timedelta(hours=abs(int(hours)), minutes=int(minutes))
            self._zone = timezone(sign * away)
            self._zone_due = now + ZONE_SECONDS

    def _of(self, transaction: Committed) -> Iterator[Piece]:
        """The pieces of a transaction; none, where nothing in it is for us."""
        changes = transaction.changes
        check_keys(changes, self._tables.relations)
        fates = Fates.of(changes, self._tables.relations)
        part, starts = _Part(), True
        for change in self._changes(transaction, fates):
            if part.is_full:
                yield self._piece(transaction, part, starts=starts, ends=False)
                part, starts = _Part(), False
            if isinstance(change, Signal):
                part.signals.append(change)
            else:
                relation = self._tables.relations[change.table]
                part.changes.append(frames.change(relation.number, change, relation.key))
                part.relations.add(relation.number)
                part.size += _size(change.after) + _size(change.before)
        if part.changes or part.signals or not starts:
            yield self._piece(transaction, part, starts=starts, ends=True)

    def _changes(self, transaction: Committed, fates: Fates) -> Iterator[Change | Signal]:
        """What a transaction did, in its order; values that the redo lacks are read for many changes at once."""
        drafts: list[tuple[int, Draft]] = []
        size = large = 0
        for number, row in enumerate(transaction.changes):
            own = self._tables.own.get(row.table)
            if own is not None:
                signal = signal_of(row, own, self._site.migration)
                if signal is not None:
                    if signal.kind is SignalKind.BARRIER:
                        self._swaps.pass_barrier(signal.attempt, self._miner.place.emptied)
                    yield signal
                continue
            draft = self._tables.relations[row.table].read(row)
            drafts.append((number, draft))
            size += len(row.sql)
            large += draft.lacks_large
            if len(drafts) >= PART_CHANGES or size >= PART_BYTES or large >= self._large_rows:
                yield from self._finished(transaction, drafts, fates)
                drafts, size, large = [], 0, 0
        yield from self._finished(transaction, drafts, fates)

    def _finished(
        self, transaction: Committed, drafts: list[tuple[int, Draft]], fates: Fates
    ) -> Iterator[Change]:
        size = 0
        for change in self._reselect.finish(transaction.scn, drafts, fates):
            if change is not None:
                size += _size(change.after)
                yield change
        if size > LARGE_BYTES:
            self._large_rows = max(1, self._large_rows // 2)
        elif size < LARGE_BYTES // 4:
            self._large_rows = min(LARGE_ROWS, self._large_rows * 2)

    def _piece(self, transaction: Committed, part: _Part, *, starts: bool, ends: bool) -> Piece:
        at = self._seconds(transaction.at)
        payload = frames.encode(
            transaction.scn, at, part.signals, part.changes, starts=starts, ends=ends
        )
        new = part.relations - self._announced
        self._announced |= new
        return Piece(
            payload=payload,
            position=transaction.position,
            starts=starts,
            ends=ends,
            changes=len(part.changes),
            committed_at=at,
            relations=frozenset(part.relations),
            announces=bool(new),
        )

    def _seconds(self, at: datetime | None) -> float:
        return 0.0 if at is None else at.replace(tzinfo=self._zone).timestamp()


def _size(row: Row | None) -> int:
    return sum(len(value) + 2 if isinstance(value, bytes) else 2 for value in row or ())


def _scratch(site: Site) -> Path:
    """Where changes of huge open transactions are put aside."""
    directory = Path(site.config.work_dir or tempfile.gettempdir())
    directory.mkdir(parents=True, exist_ok=True)
    return directory
