"""Readers of a journal: they follow its writer live, and see durable whole transactions only."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import TryAgain, Unsafe
from bowline_worker.journal.block import HEADER_BYTES, Header, Mark, Tail, is_sound, parse
from bowline_worker.journal.current import Current, Segment
from bowline_worker.journal.scan import damaged, read_exactly
from bowline_worker.journal.store import DirectoryStore, Identity
from bowline_worker.model import Position

# Polling a fixed-size record costs microseconds: 1 ms finds a block in 0.5 ms, 10 ms when nothing has come for long.
POLL_SECONDS = (0.001, 0.010)

# CURRENT changes at a roll and when segments are deleted: a reader that loses the race more often is not reading.
REFRESHES = 100


@dataclass(frozen=True, slots=True)
class Block:
    """A block whose payload is read, and checked, when it is asked for."""

    header: Header
    segment: str
    offset: int
    _reader: Reader

    @property
    def number(self) -> int:
        return self.header.number

    @property
    def first(self) -> Position:
        return self.header.first

    @property
    def last(self) -> Position:
        return self.header.last

    @property
    def transactions(self) -> int:
        return self.header.transactions

    @property
    def changes(self) -> int:
        return self.header.changes

    @property
    def total(self) -> int:
        """Changes of the stream up to and including this block."""
        return self.header.total

    @property
    def starts(self) -> bool:
        return self.header.starts

    @property
    def ends(self) -> bool:
        return self.header.ends

    @property
    def committed_at(self) -> float:
        return self.header.committed_at

    @property
    def size(self) -> int:
        return self.header.size

    def load(self) -> bytes:
        """Read the payload; Unsafe, with segment and offset, if it is not what was written.

        Everything else that the block says is proven by this too: load each block before acting on any.
        """
        return self._reader.load(self)


class Reader:
    """Reads one stream's blocks in order. One thread. Begins before the journal does, if need be."""

    def __init__(self, directory: Path, *, migration: str, stream: StreamId) -> None:
        self._store = DirectoryStore(directory)
        self._migration, self._stream = migration, stream
        self._current: Current | None = None
        self._identity: Identity | None = None
        self._segments: tuple[Segment, ...] = ()
        self._limit = 0  # how far the last one may be read, while it is not sealed
        self._is_settled = False
        self._end = Mark()
        self._open: dict[str, int] = {}
        self._cursor: tuple[int, str, int] | None = None  # what follows the last read

    def end(self) -> Mark:
        """Tell the newest durable whole transaction. It stands still for moments while a new writer takes over."""
        self._refresh()
        return self._end

    def read(
        self,
        after: int,
        *,
        max_changes: int = 2000,
        max_bytes: int = 1 << 20,
        timeout: float = 0.0,
        stop: threading.Event | None = None,
    ) -> list[Block]:
        """Give the blocks behind block `after`, up to the limits, ending where a transaction ends.

        The first transaction or block comes whatever its size. A transaction that spans blocks comes alone, once
        it is complete; its payloads are loaded one by one. Waits `timeout` seconds, at most, for anything: [].
        """
        deadline = time.monotonic() + timeout
        pause, longest = POLL_SECONDS
        while True:
            if blocks := self._read(after, max_changes, max_bytes):
                return blocks
            left = deadline - time.monotonic()
            if left <= 0 or (stop is not None and stop.is_set()):
                return []
            time.sleep(min(pause, left))
            pause = min(pause * 1.2, longest)

    def total_at(self, block: int) -> int:
        """Tell how many changes the stream had up to and including that block."""
        self._refresh()
        if block <= 0:
            return 0
        for mark in (self._end, *(each.base for each in self._segments)):
            if mark.block == block:
                return mark.total
        if block > self._end.block:
            raise self._beyond(block)
        return self._at(block)[0].header.total

    def load(self, block: Block) -> bytes:
        """Read and check a block's payload."""
        content = read_exactly(self._descriptor(block.segment), block.size, block.offset)
        if not is_sound(block.header, content):
            raise damaged(block.segment, block.offset, f"the checksum of block {block.number}")
        return content[block.header.payload_from :]

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    # --- how far ---

    def _refresh(self) -> None:
        for _ in range(REFRESHES):
            if self._current is not None:
                tail = self._store.tail(self._current.generation)
                # The tail first, CURRENT behind it: a replaced writer goes on publishing, and what it published
                # after it was replaced can't be seen without a changed CURRENT.
                if self._store.identity() == self._identity:
                    self._settle(self._current, tail)
                    return
            loaded = self._store.load()
            if loaded is None:
                if self._current is not None:
                    raise Unsafe(
                        f"journal {self._store.directory} was removed", reason="JournalMissing"
                    )
                return
            loaded[0].belongs_to(self._migration, self._stream)
            self._current, self._identity = loaded
        raise TryAgain(
            f"journal {self._store.directory} changed {REFRESHES} times while it was read"
        )

    def _settle(self, current: Current, tail: Tail | None) -> None:
        before = self._segments[-1].name if self._segments else ""
        self._segments = current.segments
        last = current.segments[-1] if current.segments else None
        is_its_own = (
            last is not None
            and last.generation == current.generation
            and tail is not None
            and tail.segment == last.sequence
        )
        published = tail if is_its_own else None
        self._is_settled = published is not None
        if published is not None:
            self._limit, mark = published.whole, published.mark
        else:
            # While a new writer seals what the old one has left, nobody knows how far that goes: as far as was
            # published at least, which is durable.
            mark = current.mark
            if last is None or last.name != before:
                self._limit = 0
        if mark.block >= self._end.block:
            self._end = mark

    def _beyond(self, block: int) -> Unsafe:
        return Unsafe(
            f"journal {self._store.directory} ends at block {self._end.block}, and block {block} was applied",
            reason="JournalMissing",
            hint="bring the journal's volume back as it was; else start the migration again",
        )

    # --- blocks ---

    def _read(self, after: int, max_changes: int, max_bytes: int) -> list[Block]:
        self._refresh()
        if self._current is None:
            if after > 0:
                raise Unsafe(
                    f"journal {self._store.directory} is missing, and block {after} was applied",
                    reason="JournalMissing",
                    hint="bring the journal's volume back; else start the migration again",
                )
            return []
        if after >= self._end.block:
            if after > self._end.block and self._is_settled:
                raise self._beyond(after)
            return []
        taken: list[Block] = []
        changes = size = 0
        for block, behind in self._blocks(after + 1):
            changes, size = changes + block.changes, size + block.size
            at_an_end = bool(taken) and taken[-1].ends
            if at_an_end and (changes > max_changes or size > max_bytes or not block.ends):
                break
            taken.append(block)
            self._cursor = (block.number + 1, block.segment, behind)
            if block.ends and not block.starts:
                break
        return taken

    def _blocks(self, number: int) -> Iterator[tuple[Block, int]]:
        """Walk from that block to the newest whole transaction; with the offset behind each."""
        block, behind = self._at(number)
        yield block, behind
        index = [each.name for each in self._segments].index(block.segment)
        while block.number < self._end.block:
            if behind == self._extent(index):
                index, behind = index + 1, 0
            block, behind = self._block(index, behind, block.number + 1)
            yield block, behind

    def _at(self, number: int) -> tuple[Block, int]:
        """Find one block: where the last read ended, or by walking its segment."""
        index = bisect_left(self._segments, number, key=lambda each: each.base.block) - 1
        if index < 0:
            raise Unsafe(
                f"the journal {self._store.directory} begins at block"
                f" {self._segments[0].base.block + 1}, wanted {number}",
                reason="JournalMissing",
                hint="applied segments are deleted; the receiver was restored to an older state",
            )
        segment = self._segments[index]
        if self._cursor is not None and self._cursor[:2] == (number, segment.name):
            return self._block(index, self._cursor[2], number)
        offset = 0
        for each in range(segment.base.block + 1, number):
            _, offset = self._block(index, offset, each)
        return self._block(index, offset, number)

    def _block(self, index: int, offset: int, number: int) -> tuple[Block, int]:
        segment = self._segments[index]
        header = parse(os.pread(self._descriptor(segment.name), HEADER_BYTES, offset))
        if header is None or header.number != number:
            raise damaged(segment.name, offset, f"block {number} is not there")
        if offset + header.size > self._extent(index):
            raise damaged(segment.name, offset, f"block {number} does not fit in")
        return Block(header, segment.name, offset, self), offset + header.size

    def _extent(self, index: int) -> int:
        length = self._segments[index].length
        return self._limit if length is None else length

    def _descriptor(self, name: str) -> int:
        if name not in self._open:
            # One segment is read at a time; a list of blocks may reach into the next.
            if len(self._open) >= 4:
                os.close(self._open.pop(next(iter(self._open))))
            try:
                self._open[name] = self._store.open_segment(name)
            except FileNotFoundError:
                raise TryAgain(f"journal segment {name} was deleted while it was read") from None
        return self._open[name]
