"""Put an origin's pieces together to blocks, and drop what the journal has already."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.base import Piece
from bowline_worker.journal.block import Draft
from bowline_worker.model import Position

# A block is one fsync and at least one commit at the receiver: larger ones gain little, and delay more.
BLOCK_CHANGES = 2000
BLOCK_BYTES = 256 << 10
BLOCK_SECONDS = 0.020

# A part of a huge transaction is read back as a whole, never its transaction.
PART_BYTES = 1 << 20

# An idle position costs an fsync: once per WAL segment keeps the slot within two of them.
IDLE_STEP = 16 << 20


class Grouper:
    """Collects one open block. Blocks hold whole transactions, or a part of one, or an idle position.

    Feed it everything that one `Capture.read` gave before reading again: relations are described as they stand then.
    """

    def __init__(
        self,
        last: Position | None,
        describe: Callable[[Iterable[int]], bytes],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._describe, self._clock = describe, clock
        self._journalled = last  # at the start: what comes up to here is sent again
        self._last = last
        self._dropping = False
        self._part = False  # a transaction is under way that is cut
        self._starts = True
        self._clear()

    def _clear(self) -> None:
        self._payload: list[bytes] = []
        self._described: set[int] = set()
        self._size = self._changes = self._transactions = 0
        self._committed_at = 0.0
        self._first: Position | None = None
        self._newest: Position | None = None
        self._since = 0.0

    @property
    def is_open(self) -> bool:
        """Whole transactions wait for `flush`."""
        return self._transactions > 0

    @property
    def is_due(self) -> bool:
        return self.is_open and self._clock() - self._since >= BLOCK_SECONDS

    def add(self, piece: Piece) -> Iterator[Draft]:
        """Take the next piece; gives the blocks that are full by it."""
        if piece.starts == (self._part or self._dropping):
            raise Unsafe(
                f"a transaction at {piece.position} came {'inside another' if piece.starts else 'without its start'}"
            )
        if self._is_sent_again(piece):
            return
        if not piece.payload:
            yield from self._idle(piece)
            return
        if piece.starts and (piece.redefines or not piece.ends):
            yield from self._close()
        elif piece.redefines and self._part:
            yield from self._close_part(ends=False)
        self._take(piece)
        if not piece.ends:
            self._part = True
            if self._size >= PART_BYTES or self._changes >= BLOCK_CHANGES:
                yield from self._close_part(ends=False)
        elif self._part:
            yield from self._end_part(piece.position)
        else:
            self._transactions += 1
            self._last = piece.position
            if self._changes >= BLOCK_CHANGES or self._size >= BLOCK_BYTES:
                yield from self._close()

    def flush(self) -> Iterator[Draft]:
        """Give the open block, if whole transactions are in it."""
        yield from self._close()

    def _is_sent_again(self, piece: Piece) -> bool:
        """Tell whether the journal has it. A transaction in parts counts by its end: the writer looks at that."""
        if self._dropping:
            if piece.ends:
                self._dropping = False
                if self._journalled is None or piece.position > self._journalled:
                    raise Unsafe(
                        f"the parts of the transaction at {piece.position} were taken for journalled ones",
                    )
            return True
        if self._last is None or not piece.starts or piece.position > self._last:
            return False
        if self._journalled is None or piece.position > self._journalled:
            if piece.payload and piece.ends:
                raise Unsafe(f"the stream went from {self._last} back to {piece.position}")
            return not piece.payload
        if piece.ends:
            return True
        # A part may carry a place inside its transaction, and one that begins right where the last one ended is new.
        self._dropping = piece.position < self._journalled
        return self._dropping

    def _idle(self, piece: Piece) -> Iterator[Draft]:
        if self._last is not None and piece.position.order - self._last.order < IDLE_STEP:
            return
        yield from self._close()
        self._last = piece.position
        yield Draft(payload=b"", first=piece.position, last=piece.position, transactions=0)

    def _take(self, piece: Piece) -> None:
        if self._first is None:
            self._first, self._since = piece.position, self._clock()
        self._newest = piece.position
        new = piece.relations - self._described
        if new:
            explained = self._describe(sorted(new))
            self._described |= new
            self._payload.append(explained)
            self._size += len(explained)
        self._payload.append(piece.payload)
        self._size += len(piece.payload)
        self._changes += piece.changes
        self._committed_at = piece.committed_at or self._committed_at

    def _close(self) -> Iterator[Draft]:
        if self._transactions:
            yield self._draft(transactions=self._transactions)

    def _close_part(self, *, ends: bool) -> Iterator[Draft]:
        if self._first is None and not ends:
            return
        starts, self._starts = self._starts, ends
        yield self._draft(transactions=int(ends), starts=starts, ends=ends)

    def _end_part(self, position: Position) -> Iterator[Draft]:
        self._part = False
        if self._last is not None and position <= self._last:
            if self._journalled is None or position > self._journalled:
                raise Unsafe(f"the stream went from {self._last} back to {position}")
            if self._starts:  # nothing of it was given out
                self._clear()
                return
        else:
            self._last = position
        yield from self._close_part(ends=True)

    def _draft(self, *, transactions: int, starts: bool = True, ends: bool = True) -> Draft:
        if self._first is None or self._newest is None:
            raise AssertionError("a block without pieces")
        draft = Draft(
            payload=b"".join(self._payload),
            first=self._first,
            last=self._newest,
            transactions=transactions,
            changes=self._changes,
            committed_at=self._committed_at,
            starts=starts,
            ends=ends,
        )
        self._clear()
        return draft
