"""The loop of the capture role: read, make durable, acknowledge, report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import StreamReport, TryAgain
from bowline_worker.endpoints.base import Capture, Endpoint, Retention
from bowline_worker.journal import Draft, JournalFull, Writer, read_applied
from bowline_worker.journal.grouping import Grouper
from bowline_worker.rates import Meter
from bowline_worker.roles import Context
from bowline_worker.watch import Watch

log = logging.getLogger("bowline")

# Bounds how long a stop signal, or a failure in the background, waits while the origin is idle.
READ_SECONDS = 0.25

REPORT_SECONDS = 0.5
RETAIN_SECONDS = 5.0
FULL_SECONDS = 1.0


class Keeps:
    """What the origin keeps for the stream, as last seen."""

    def __init__(self, origin: Endpoint, stream: StreamId) -> None:
        self._origin, self._stream = origin, stream
        self.seen: Retention | None = None

    def look(self) -> None:
        self.seen = self._origin.retention(self._stream)


class Loop:
    """Reads, journals, acknowledges, reports: one thread."""

    def __init__(
        self,
        context: Context,
        stream: StreamId,
        directory: Path,
        writer: Writer,
        capture: Capture,
        watch: Watch,
        keeps: Keeps,
        check_shapes: Callable[[], None],
    ) -> None:
        self._context, self._stream, self._directory = context, stream, directory
        self._writer, self._capture, self._watch, self._keeps = writer, capture, watch, keeps
        self._check_shapes = check_shapes
        self._grouper = Grouper(writer.mark.position, capture.describe)
        self._meter = Meter()
        self._report_due = self._retain_due = 0.0

    def run(self) -> None:
        stop = self._context.stop
        while not stop.is_set():
            self._watch.check()
            self._look_after()
            # Whoever waits for a fuller block delays it: one is as full as the last fsync was slow.
            pieces = self._capture.read(0.0 if self._grouper.is_open else READ_SECONDS)
            if any(piece.announces for piece in pieces):
                # A wider type's values would be rounded on the other side, until somebody looks at the catalogue.
                self._check_shapes()
            self._keep([draft for piece in pieces for draft in self._grouper.add(piece)])
            if not pieces or self._grouper.is_due:
                self._flush()
        self._flush()
        self._report()

    def _flush(self) -> None:
        self._keep(list(self._grouper.flush()))

    def _keep(self, drafts: Sequence[Draft]) -> None:
        """Make blocks durable, all that came at once by one fsync, then acknowledge them."""
        while drafts:
            before = self._writer.mark.total
            count = self._append(drafts)
            durable, drafts = drafts[:count], drafts[count:]
            mark = self._writer.mark
            if mark.position is None:
                continue
            self._meter.add(mark.total - before)
            # Durable before acknowledged: a crash between the two makes the origin send it again, and it is dropped.
            # In the other order the origin forgets what the journal does not have.
            for draft in durable:
                if draft.ends:
                    self._capture.acknowledge(draft.last)

    def _append(self, drafts: Sequence[Draft]) -> int:
        """Append as soon as there is room. It never returns without: the next block must not follow a gap."""
        waited = False
        while True:
            try:
                count = self._writer.append_all(drafts)
            except JournalFull as full:
                if self._retain(roll=True):
                    continue
                if not waited:
                    log.warning("journal full: capture waits", extra={"fields": {"why": str(full)}})
                waited = True
                # Nothing is read and nothing acknowledged: the origin keeps what comes.
                self._report(f"capture waits for room: {full}; {full.hint}")
                if self._context.stop.wait(FULL_SECONDS):
                    raise TryAgain("stopped while the journal was full", reason="Stopped") from full
                self._watch.check()
            else:
                if waited:
                    log.info("journal has room again: capture goes on")
                    self._report()
                return count

    def _retain(self, *, roll: bool = False) -> int:
        freed = 0
        # To delete segments takes a small file to be written: the reserve is there for that, else nothing helps.
        with suppress(JournalFull):
            freed = self._writer.retain(read_applied(self._directory), roll=roll)
        if freed:
            log.info("applied segments deleted", extra={"fields": {"bytes": freed}})
        return freed

    def _look_after(self) -> None:
        now = time.monotonic()
        if now >= self._retain_due:
            self._retain_due = now + RETAIN_SECONDS
            self._retain()
        if now >= self._report_due:
            self._report_due = now + REPORT_SECONDS
            self._report()

    def _report(self, message: str = "") -> None:
        mark, seen = self._writer.mark, self._keeps.seen
        self._context.report.update(
            message=message,
            stream=StreamReport(
                origin=self._stream.origin,
                number=self._stream.number,
                epoch=self._context.config.epoch,
                exported=self._meter.flow(mark.total, mark.committed_at),
                block=mark.block,
                position=str(mark.position or ""),
                journal_bytes=self._writer.journal_bytes(),
                retained_bytes=seen.retained_bytes if seen else None,
                at_risk=seen.at_risk if seen else "",
            ),
        )
