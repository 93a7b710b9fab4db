"""Apply: read the stream's journal, and bring the receiver to the state that the origin had, block by block."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from bowline_worker import takeover
from bowline_worker.applying import Applier, Prepared, Span
from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import BowlineError, ChangedValues, StreamReport, TryAgain, Unsafe
from bowline_worker.endpoints.base import ChangedCounts, LaneSession
from bowline_worker.figures import Figures
from bowline_worker.fold import shapes_of
from bowline_worker.journal import Block, Reader, write_applied
from bowline_worker.journal.store import DirectoryStore
from bowline_worker.lanes import RULES, Spread, spread
from bowline_worker.model import TableName
from bowline_worker.roles import Context
from bowline_worker.sift import Seen, Sieve
from bowline_worker.sweeping import kept_swept

#: A span is one transaction a lane: larger ones gain little, and delay what they hold.
SPAN_CHANGES = 10_000
SPAN_BYTES = 4 << 20
#: Beside a span of so many the next one is decoded: behind a smaller one there is no backlog.
AHEAD_CHANGES = 1000

#: A retired apply that has nothing to do must notice; one that has finds out by its next transaction.
CHECK_SECONDS = 1.0
READ_SECONDS = 0.25
REPORT_SECONDS = 0.5
APPLIED_SECONDS = 1.0

#: Columns and kinds in which the policy changed values that are told one by one; of the others the sum.
CHANGED_LISTED = 100

#: Kept in the journal while lanes may stand apart: how their last span was spread.
SPREAD = "spread"

#: Lanes wait for the interpreter after each statement, while the next span is decoded: not for 5 ms each.
SWITCH_SECONDS = 0.0005

Ahead: TypeAlias = tuple[Prepared, Sequence[Block]]

log = logging.getLogger("bowline")


def run(context: Context) -> None:
    config = context.config
    stream = StreamId(config.origin, config.number)
    sys.setswitchinterval(SWITCH_SECONDS)
    # Not in the way of a row: the origin may be away for hours.
    with kept_swept(context.side(stream.receiver), context.side(stream.origin)):
        while not context.stop.is_set():
            applying = Applying(context, stream)
            try:
                if applying.run():
                    return
            finally:
                applying.close()


class Applying:
    """One generation of one stream, from taking the lanes to the stop signal."""

    def __init__(self, context: Context, stream: StreamId) -> None:
        self._context, self._stream = context, stream
        self._config = context.config
        self._receiver = context.side(stream.receiver)
        self._origin = context.side(stream.origin)
        self._directory = Path(self._config.journal) / str(stream)
        self._reader = Reader(self._directory, migration=self._config.migration, stream=stream)
        self._sessions: list[LaneSession] = []
        self._applier: Applier | None = None
        self._figures = Figures()
        self._checked = self._reported = self._told = float("-inf")
        self._told_block = 0
        self._spread_kept = False
        self._ahead: Ahead | None = None

    def close(self) -> None:
        if self._applier is not None:
            self._applier.close()
        for session in self._sessions:
            session.close()
        self._reader.close()

    def run(self) -> bool:
        """Apply until the stop signal: True. False: the number of lanes changes, begin anew."""
        applier = self._start()
        generation = applier.rows[0].generation
        try:
            self._catch_up(applier)
            if len(applier.rows) != self._config.lanes:
                return False
            while not self._context.stop.is_set():
                self._step(applier, generation)
        except BowlineError:
            # Whatever it was: if the generation has ended, that is what there is to say.
            with suppress(TryAgain):
                takeover.check_current(self._stream, self._receiver, generation)
            raise
        self._tell_applied(applier, at_once=True)
        self._report(at_once=True)
        return True

    # --- starting ---

    def _start(self) -> Applier:
        stream, receiver = self._stream, self._receiver
        rows = takeover.look(stream, receiver, self._origin)
        positions = None
        if self._follows_snapshot:
            self._require_snapshot()
            positions = receiver.snapshot_positions()
        tables = receiver.tables()
        for _ in range(takeover.lanes_now(rows, self._config.lanes)):
            self._sessions.append(receiver.lane(stream))
        backends = [session.backend for session in self._sessions]
        rows = takeover.take(stream, receiver, self._origin, backends)
        is_even = len({row.block for row in rows}) == 1
        self._applier = Applier(
            stream=stream,
            sessions=self._sessions,
            rows=rows,
            sieve=Sieve(
                migration=self._config.migration,
                number=stream.number,
                shapes=shapes_of(tables),
                positions=positions,
            ),
            spread=spread(tables, len(rows)) if is_even else self._kept_spread(len(rows)),
            decoder=self._origin.decoder,
            watch=self._report,
        )
        log.info(
            "lanes taken",
            extra={
                "fields": {
                    "stream": str(stream),
                    "generation": rows[0].generation,
                    "lanes": len(rows),
                    "blocks": [row.block for row in rows],
                }
            },
        )
        return self._applier

    @property
    def _follows_snapshot(self) -> bool:
        """The first stream begins where the snapshot is; any later one where both sides were equal."""
        return self._stream.number == 0

    def _require_snapshot(self) -> None:
        progress = self._receiver.snapshot_progress()
        if not progress.complete or not (progress.post_data or self._config.existing_schema):
            raise TryAgain("the snapshot is not complete yet", reason="SnapshotIncomplete")

    def _catch_up(self, applier: Applier) -> None:
        """Lanes stand apart where a process died between their commits: finish that very span first."""
        low, high = applier.block, applier.newest
        blocks: list[Block] = []
        while low + len(blocks) < high:
            more = self._reader.read(
                low + len(blocks),
                max_changes=SPAN_CHANGES,
                max_bytes=SPAN_BYTES,
                timeout=CHECK_SECONDS,
            )
            if not more:
                raise TryAgain(f"block {high} is not readable in the journal yet")
            blocks += more
        if blocks:
            blocks = blocks[: high - low]
            if not blocks[-1].ends:
                raise Unsafe(f"a lane stands at block {high}, within a transaction")
            self._apply(applier, applier.prepare(Span(blocks)), blocks)

    # --- going on ---

    def _step(self, applier: Applier, generation: int) -> None:
        ahead, self._ahead = self._ahead, None
        ahead = ahead or self._next(applier, after=applier.block, timeout=READ_SECONDS)
        if ahead is not None:
            self._keep_spread(applier)
            self._apply(applier, *ahead, read_ahead=True)
        elif time.monotonic() - self._checked >= CHECK_SECONDS:
            takeover.check_current(self._stream, self._receiver, generation)
            self._checked = time.monotonic()
        self._tell_applied(applier)
        self._report()

    def _next(
        self, applier: Applier, *, after: int, timeout: float, seen: Seen | None = None
    ) -> Ahead | None:
        blocks = self._reader.read(
            after,
            max_changes=SPAN_CHANGES,
            max_bytes=SPAN_BYTES,
            timeout=timeout,
            stop=self._context.stop,
        )
        return (applier.prepare(Span(blocks), seen), blocks) if blocks else None

    def _apply(
        self,
        applier: Applier,
        prepared: Prepared,
        blocks: Sequence[Block],
        *,
        read_ahead: bool = False,
    ) -> None:
        def decode_next() -> None:
            # A small span is applied sooner than more has come: what is read behind it is all that came meanwhile.
            if read_ahead and prepared.outcome.events >= AHEAD_CHANGES:
                high, seen = prepared.span.high, prepared.after
                self._ahead = self._next(applier, after=high, timeout=0.0, seen=seen)

        outcome = applier.apply(prepared, decode_next)
        self._checked = time.monotonic()  # each lane's transaction has compared the generation
        self._figures.add(outcome, blocks)

    def _tell_applied(self, applier: Applier, *, at_once: bool = False) -> None:
        """Let capture delete what every lane has applied."""
        is_due = at_once or time.monotonic() - self._told >= APPLIED_SECONDS
        if applier.block != self._told_block and is_due:
            write_applied(self._directory, applier.block)
            self._told, self._told_block = time.monotonic(), applier.block

    # --- how the lanes are spread, kept ---

    def _keep_spread(self, applier: Applier) -> None:
        """Make durable how spans are spread before the first one is: a restart in its middle needs the same."""
        if self._spread_kept:
            return
        kept = applier.spread
        content = {
            "rules": kept.rules,
            "lanes": kept.lanes,
            "whole": sorted([name.schema, name.name] for name in kept.whole),
        }
        store = DirectoryStore(self._directory)
        if store.read_small(SPREAD) != (text := json.dumps(content).encode()):
            store.replace(SPREAD, text, durable=True)
        self._spread_kept = True

    def _kept_spread(self, lanes: int) -> Spread:
        content = DirectoryStore(self._directory).read_small(SPREAD)
        kept = json.loads(content) if content else {}
        if kept.get("rules") != RULES or kept.get("lanes") != lanes:
            raise Unsafe(
                f"lanes of {self._stream} stand apart, and the journal does not say how {lanes} lanes were spread",
                reason="LanesApart",
                hint="run the version of Bowline that applied last, with the journal that it used",
            )
        return Spread(lanes, frozenset(TableName(*name) for name in kept["whole"]))

    # --- the report ---

    def _report(self, *, at_once: bool = False) -> None:
        is_due = at_once or time.monotonic() - self._reported >= REPORT_SECONDS
        if self._applier is None or not is_due:
            return
        self._reported = time.monotonic()
        rows = self._applier.rows
        remaining = self._figures.remaining(self._reader, self._applier.block)
        changed = sum((session.changed for session in self._sessions), start=ChangedCounts())
        self._context.report.update(
            stream=StreamReport(
                origin=self._stream.origin,
                number=self._stream.number,
                epoch=self._config.epoch,
                imported=self._figures.flow(sum(row.events for row in rows)),
                block=self._applier.block,
                position=min(rows, key=lambda row: row.block).position,
                remaining=remaining,
                eta_seconds=self._figures.eta(remaining),
                lag=self._figures.lag(),
                lanes=len(rows),
                marker=all(row.passed for row in rows),
                probe=min(row.probe for row in rows),
                canary=min(row.canary for row in rows),
                changed_values=[
                    ChangedValues(table=table, column=column, kind=kind, values=count)
                    for (table, column, kind), count in changed.most_common(CHANGED_LISTED)
                ],
                changed_total=changed.total(),
            )
        )
