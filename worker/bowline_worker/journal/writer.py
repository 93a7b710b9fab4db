"""The one writer of a stream's journal: makes blocks durable, and finds out when it was replaced."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import FencedOut, Unsafe
from bowline_worker.journal.block import HEADER_BYTES, Draft, Mark, Tail, encode
from bowline_worker.journal.current import Current, Segment
from bowline_worker.journal.sealing import refuse_missing, scan_last
from bowline_worker.journal.store import DirectoryStore, Identity, JournalFull, is_full

# Large enough that a busy stream rolls every few seconds, small enough that retention frees room soon.
SEGMENT_BYTES = 64 << 20

# Left free on the volume for CURRENT and for whatever else lives there.
RESERVE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    max_bytes: int  #: of the whole journal
    segment_bytes: int = SEGMENT_BYTES
    reserve_bytes: int = RESERVE_BYTES


class Writer:
    """Appends blocks. Whoever opens a journal for writing seals what the writer before it left, and replaces it.

    A replaced writer may wake up at any time: what it still appends lies behind the sealed length of its own
    segment, and its tail is its own generation's, so no reader sees it. It learns of it at the latest at `append`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        migration: str,
        stream: StreamId,
        limits: Limits,
        holder: str = "capture",
    ) -> None:
        self._store = DirectoryStore(directory)
        self._limits, self._holder = limits, holder
        self._segment = -1  # descriptors; -1: not open
        self._tail = -1
        self._broken: BaseException | None = None
        self._unsettled = False  # blocks are written, and neither durable nor seen
        self._store.create()
        with self._store.locked(holder):
            self._open(migration, stream)

    # --- opening ---

    def _open(self, migration: str, stream: StreamId) -> None:
        loaded = self._store.load()
        current = loaded[0] if loaded else Current(migration=migration, stream=str(stream))
        current.belongs_to(migration, stream)
        refuse_missing(self._store, current)
        # The generation first, alone: from here on no reader follows the old writer's tail. Were it to rise with
        # the sealed length, a reader could be given a block that the old writer added behind the scan.
        current = replace(current, generation=current.generation + 1)
        self._save(current)
        sealed, mark = current.segments, current.mark
        if sealed and sealed[-1].length is None:
            length, mark = scan_last(self._store, sealed[-1])
            sealed = (*sealed[:-1], replace(sealed[-1], length=length))
        self._generation = current.generation
        self._tail = self._store.open_tail(self._generation)
        self._start_segment(current, sealed, mark)
        self._store.remove_tails(but=self._generation)

    def _start_segment(self, current: Current, sealed: tuple[Segment, ...], mark: Mark) -> None:
        """Publish sealed segments and a new empty one behind them. Only under the lock."""
        sequence = sealed[-1].sequence + 1 if sealed else 1
        kept = tuple(each for each in sealed if each.length != 0)
        new = Segment(sequence=sequence, generation=self._generation, base=mark)
        descriptor = self._store.new_segment(new.name)
        try:
            self._save(replace(current, segments=(*kept, new)))
        except BaseException:
            os.close(descriptor)
            raise
        self._close_segment()
        self._segment = descriptor
        self._offset = self._whole = 0
        self._block = mark.block
        self._counted = mark.total
        self._mark = mark
        self._publish()
        self._make_room(sealed)

    def _make_room(self, sealed: tuple[Segment, ...]) -> None:
        """Remove what no CURRENT lists any more, and what lies behind a sealed length. Nobody reads it."""
        for each in sealed[-1:]:
            if each.length == 0:
                self._store.remove(each.name)
            elif each.length and (self._store.size(each.name) or 0) > each.length:
                self._store.truncate(each.name, each.length)
        listed = {each.name for each in self._current.segments}
        first = min(listed)
        for name in self._store.segments():
            if name not in listed and (name < first or not self._store.size(name)):
                self._store.remove(name)

    def _save(self, current: Current) -> None:
        self._identity: Identity = self._store.save(current)
        self._current = current

    # --- what is there ---

    @property
    def mark(self) -> Mark:
        """The stream at its newest durable whole transaction."""
        return self._mark

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def is_unfinished(self) -> bool:
        """A part of a transaction is written, and its end is not."""
        return self._offset != self._whole

    def journal_bytes(self) -> int:
        return sum(each.length or 0 for each in self._current.segments) + self._offset

    # --- writing ---

    def append(self, draft: Draft) -> None:
        """Make a block durable and let readers see it; when this returns its position may be acknowledged.

        JournalFull: nothing happened, try again when there is room. The end of a transaction that the journal has
        already removes the parts of it that were written again. Any other error is final for this writer.
        """
        self.append_all([draft])

    def append_all(self, drafts: Sequence[Draft]) -> int:
        """Make blocks durable by one fsync, and tell how many: fewer than all where there is no room for the next one.

        JournalFull: there was none for the first one, and nothing happened. Else as `append`.
        """
        self._refuse_broken()
        for count, draft in enumerate(drafts):
            self._refuse_misplaced(draft)
            try:
                self._put(draft)
            except JournalFull:
                if not count:
                    raise
                self._finally(self._settle)
                return count
        self._finally(self._settle)
        return len(drafts)

    def _refuse_misplaced(self, draft: Draft) -> None:
        wrong = ""
        if draft.starts == self.is_unfinished:
            wrong = (
                f"a block that {'starts' if draft.starts else 'continues'} a transaction came"
                f" {'inside another' if draft.starts else 'without its start'} at {draft.first}"
            )
        elif draft.starts and self._is_journalled(draft):
            wrong = f"the stream went back to {draft.last}, and {self._mark.position} is journalled"
        if wrong:
            self._finally(self._settle)  # what came before it is sound
            raise Unsafe(wrong)

    def _is_journalled(self, draft: Draft) -> bool:
        position = self._mark.position
        return draft.ends and position is not None and draft.last <= position

    def _put(self, draft: Draft) -> None:
        if self._is_journalled(draft):
            # Without its parts nothing is behind the last whole transaction: no fsync is needed for what is removed.
            self._finally(self._settle)
            self._roll()
            return
        try:
            self._append(draft)
        except JournalFull:
            raise
        except BaseException as error:
            self._broken = error
            raise

    def _finally(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:
            self._broken = error
            raise

    def _append(self, draft: Draft) -> None:
        size = len(draft.payload) + HEADER_BYTES
        self._refuse_full(size)
        # Only between transactions: a cut never spans segments then.
        if self._offset >= self._limits.segment_bytes and not self.is_unfinished:
            self._settle()
            self._roll()
        number, total = self._block + 1, self._counted + draft.changes
        committed_at = draft.committed_at or self._mark.committed_at
        block = encode(draft, number=number, total=total, committed_at=committed_at)
        self._write(block)
        self._offset += len(block)
        self._block, self._counted = number, total
        self._unsettled = True
        if draft.ends:
            self._whole = self._offset
            self._mark = Mark(
                block=number, position=draft.last, total=total, committed_at=committed_at
            )

    def _settle(self) -> None:
        """Make what was written durable, then let readers see it."""
        if not self._unsettled:
            return
        self._store.sync(self._segment, self._current.segments[-1].name)
        self._unsettled = False
        self._publish()
        self.refuse_replaced()

    def _write(self, block: bytes) -> None:
        rest, offset = memoryview(block), self._offset
        try:
            while rest:
                written = os.pwrite(self._segment, rest, offset)
                rest, offset = rest[written:], offset + written
        except OSError as error:
            if not is_full(error):
                raise Unsafe(
                    f"could not write {self._current.segments[-1].name}: {error.strerror}",
                    reason="WriteFailed",
                    hint="check the journal's volume before starting again",
                ) from error
            # A part of this block only: whoever seals this file meanwhile has not counted it.
            os.ftruncate(self._segment, self._offset)
            raise JournalFull(f"no space left on the volume of {self._store.directory}") from error

    def _publish(self) -> None:
        self._store.publish(
            self._tail,
            Tail(
                segment=self._current.segments[-1].sequence,
                durable=self._offset,
                block=self._block,
                whole=self._whole,
                mark=self._mark,
            ),
        )

    def _refuse_full(self, size: int) -> None:
        used = self.journal_bytes()
        hint = "raise spec.journal's size, or find out why the apply is behind"
        if self.is_unfinished:
            hint = "raise spec.journal's size: a transaction must fit in it whole"
        if used + size > self._limits.max_bytes:
            raise JournalFull(
                f"the journal has {used} of {self._limits.max_bytes} bytes, and a block of {size} comes",
                hint=hint,
            )
        free = self._store.free_bytes()
        if free < size + self._limits.reserve_bytes:
            raise JournalFull(
                f"{free} bytes are free on the volume of {self._store.directory},"
                f" {self._limits.reserve_bytes} are kept free, and a block of {size} comes",
                hint=hint,
            )

    # --- fencing, rolling, retention ---

    def refuse_replaced(self) -> None:
        """Raise FencedOut if a newer writer has opened this journal."""
        identity = self._store.identity()
        if identity != self._identity:
            self._reload()

    def _reload(self) -> None:
        loaded = self._store.load()
        if loaded is None:
            raise Unsafe(f"journal {self._store.directory} was removed", reason="JournalMissing")
        if loaded[0].generation != self._generation:
            raise FencedOut(
                f"generation {loaded[0].generation} writes the journal of stream"
                f" {self._current.stream} now, this is {self._generation}"
            )
        self._current, self._identity = loaded

    def _roll(self) -> None:
        """Seal the last segment behind its last whole transaction and start the next one."""
        with self._store.locked(self._holder):
            self._reload()
            *before, last = self._current.segments
            sealed = replace(last, length=self._whole)
            self._start_segment(self._current, (*before, sealed), self._mark)

    def retain(self, applied: int, *, roll: bool = False) -> int:
        """Delete the segments whose blocks are all applied, and tell how many bytes that freed.

        With `roll` the last one is closed for it, if all of it is applied.
        """
        self._refuse_broken()
        if roll and self._offset and not self.is_unfinished and applied >= self._mark.block:
            self._roll()
        segments = self._current.segments
        # A segment's last block is the one before the next one's first.
        gone = [each for each, following in pairwise(segments) if following.base.block <= applied]
        if not gone:
            return 0
        with self._store.locked(self._holder):
            self._reload()
            # CURRENT first: a file that it does not list is removed at the next start, one that it lists is needed.
            self._save(replace(self._current, segments=segments[len(gone) :]))
            for each in gone:
                self._store.remove(each.name)
        return sum(each.length or 0 for each in gone)

    def _refuse_broken(self) -> None:
        if self._broken is not None:
            raise Unsafe(f"this writer has failed before: {self._broken}") from self._broken

    # --- closing ---

    def _close_segment(self) -> None:
        if self._segment >= 0:
            os.close(self._segment)
            self._segment = -1

    def close(self) -> None:
        """Give the files back. Nothing else: a writer may end by a kill as well."""
        self._close_segment()
        if self._tail >= 0:
            os.close(self._tail)
            self._tail = -1
