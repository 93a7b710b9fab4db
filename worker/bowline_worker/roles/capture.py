"""Capture: the origin's changes, made durable in the journal, then acknowledged. Runs until it is told to stop."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from bowline_worker.bookkeeping import StreamId
from bowline_worker.capturing import Keeps, Loop
from bowline_worker.conflicts import in_books
from bowline_worker.contract import BadConfig, Side, TryAgain, Unsafe, Unsupported
from bowline_worker.endpoints.base import Capture, Endpoint, Hold, Lineage, went_back
from bowline_worker.journal import (
    JournalFull,
    Limits,
    Writer,
    last_mark,
    lineage,
    read_applied,
    shapes,
)
from bowline_worker.journal.store import DirectoryStore
from bowline_worker.journal.writer import SEGMENT_BYTES
from bowline_worker.roles import Context
from bowline_worker.watch import Duty, Watch

log = logging.getLogger("bowline")

BEAT_SECONDS = 1.0
#: Heartbeats of so long may be forgotten: an origin that lost no more is known by its log.
KEPT_SECONDS = 5.0
HOLD_SECONDS = 1.0
SNAPSHOT_SECONDS = 2.0
RETENTION_SECONDS = 5.0

# DDL on a migrated table has to stop the stream within 60 s.
SHAPES_SECONDS = 10.0

#: In the journal's directory, once the target has said so: a later start needs no target.
SNAPSHOT_COMPLETE = "snapshot-complete"


def run(context: Context) -> None:
    config = context.config
    if not config.journal:
        raise BadConfig("journal: no directory is given")
    stream = StreamId(config.origin, config.number)
    directory = Path(config.journal) / str(stream)
    origin = context.side(config.origin)
    # Before the slot and its snapshot are made: whatever changes from here on is noticed.
    check_shapes(origin, directory)
    with ExitStack() as stack:
        holding = hold_snapshot(context, origin, stream, directory)
        if holding is not None:
            stack.callback(holding.close)
        writer, capture = connect(context, origin, stream, directory, stack)
        keeps = Keeps(origin, stream)
        look = partial(check_shapes, origin, directory)
        duties = [
            Duty("write heartbeats", Heart(origin, directory).beat, BEAT_SECONDS),
            Duty("see what the origin keeps", keeps.look, RETENTION_SECONDS),
            Duty("compare the schema", look, SHAPES_SECONDS),
        ]
        if holding is not None:
            # A lost view is not to be waited for: a new start renews it.
            duties.append(Duty("hold the snapshot", holding.look, HOLD_SECONDS, strict=True))
        watch = Watch(duties)
        stack.callback(watch.stop)
        watch.start()
        Loop(context, stream, directory, writer, capture, watch, keeps, look).run()


# --- the start -----------------------------------------------------------------------------------


def check_shapes(origin: Endpoint, directory: Path) -> None:
    """Compare the tables' shapes with those of the stream's beginning; store them at the first time."""
    fingerprint = origin.fingerprint(own=True)
    before = shapes.remembered(directory)
    if before is None:
        shapes.remember(directory, fingerprint, origin.shapes(), origin.tables())
    elif before[0] != fingerprint:
        now = shapes.describe(origin.shapes(), origin.tables(), own=True)
        raise shapes.schema_changed(before[1], now)
    if lone := origin.unstreamed():
        more = f", and {len(lone) - 1} more" if len(lone) > 1 else ""
        raise Unsupported(
            f"changes of {lone[0]}{more} are not in the stream",
            reason="SchemaChanged",
            hint="it was made, or swapped for another, since the stream began: ask for Complete and migrate anew",
        )


class Heart:
    """Writes heartbeats, and keeps their number beside the journal: an origin that counts on from less went back."""

    def __init__(self, origin: Endpoint, directory: Path) -> None:
        self._origin, self._directory = origin, directory
        self._known = lineage.remembered(directory) or Lineage(log="")
        self._kept = float("-inf")

    def beat(self) -> None:
        number = self._origin.beat()
        if number <= self._known.beat:
            # Not to be kept: the number that is would tell nobody any more.
            what = f"heartbeat {self._known.beat} was written, and the next is {number}"
            raise went_back(self._origin.side, what)
        self._known = replace(self._known, beat=number)
        if time.monotonic() - self._kept >= KEPT_SECONDS:
            with suppress(JournalFull):
                lineage.remember(self._directory, self._known)
            self._kept = time.monotonic()


class Holding:
    """Keeps the snapshot's view readable until the target says that the snapshot is complete."""

    def __init__(self, hold: Hold, target: Endpoint, directory: Path) -> None:
        self._hold: Hold | None = hold
        self._target, self._directory = target, directory
        self._asked = 0.0

    def look(self) -> None:
        if self._hold is None:
            return
        self._hold.check()
        if time.monotonic() - self._asked < SNAPSHOT_SECONDS:
            return
        self._asked = time.monotonic()
        # A target that is away for a while needs the view all the more when it is back.
        with suppress(TryAgain):
            if is_complete(self._target, self._directory):
                self.close()
                log.info("snapshot complete: its view is let go")

    def close(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.close()


def hold_snapshot(
    context: Context, origin: Endpoint, stream: StreamId, directory: Path
) -> Holding | None:
    """Make the first stream's slot, and hold the view that fits it; other slots were made by ArmReverse."""
    if stream != StreamId(Side.SOURCE, 0) or is_complete(context.target, directory):
        return None
    return Holding(origin.hold(stream), context.target, directory)


def is_complete(target: Endpoint, directory: Path) -> bool:
    """Tell whether the snapshot is complete: asked of the target until it is, remembered then."""
    files = DirectoryStore(directory)
    if files.read_small(SNAPSHOT_COMPLETE) is not None:
        return True
    if not target.found().snapshot_complete:
        return False
    files.replace(SNAPSHOT_COMPLETE, b"", durable=True)
    return True


def connect(
    context: Context, origin: Endpoint, stream: StreamId, directory: Path, stack: ExitStack
) -> tuple[Writer, Capture]:
    """Become the stream's one capture: end an older one's session first, then seal its journal.

    Each of the two alone would do (a writer acknowledges a block only after it saw, behind the block's fsync, that
    it was not replaced, so the seal has the block): both, because a loss here would be silent.
    """
    migration, job = context.config.migration, context.config.job
    found = last_mark(directory, migration=migration, stream=stream)
    refuse_lost_journal(context, stream, directory, found.block)
    seen = lineage.remembered(directory)
    capture: Capture | None = None
    try:
        capture = stack.enter_context(closing(origin.capture(stream, found.position, seen)))
    except Unsafe:
        # An older one at work may have journalled and acknowledged more since: the seal will tell.
        if last_mark(directory, migration=migration, stream=stream).block == found.block:
            raise
    max_bytes = context.config.journal_max_bytes
    # An eighth: retention frees whole segments, and never the last one.
    limits = Limits(max_bytes=max_bytes, segment_bytes=min(SEGMENT_BYTES, max_bytes // 8))
    writer = stack.enter_context(
        closing(
            Writer(
                directory,
                migration=migration,
                stream=stream,
                limits=limits,
                holder=f"capture {job}",
            )
        )
    )
    if capture is None or writer.mark.position != found.position:
        if capture is not None:
            capture.close()
        capture = stack.enter_context(closing(origin.capture(stream, writer.mark.position, seen)))
    lineage.remember(directory, replace(capture.lineage, beat=seen.beat if seen else 0))
    fields = {
        "stream": str(stream),
        "after": str(writer.mark.position or ""),
        "block": writer.mark.block,
        "generation": writer.generation,
    }
    log.info("capturing", extra={"fields": fields})
    return writer, capture


def refuse_lost_journal(context: Context, stream: StreamId, directory: Path, block: int) -> None:
    """Refuse a journal that ends before what was applied from it. An empty one: the receiver is asked, too."""
    applied = read_applied(directory)
    if block == 0:
        rows = in_books(
            context.side(stream.receiver), lambda books: books.lanes(stream.origin, lock=False)
        )
        applied = max([applied, *(row.block for row in rows if row.number == stream.number)])
    if applied > block:
        raise Unsafe(
            f"journal {directory} ends at block {block}, and the {stream.receiver} has applied block {applied}",
            reason="JournalMissing",
            hint="bring the journal's volume back as it was; else start the migration again",
        )
