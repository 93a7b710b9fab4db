"""Apply spans of journal blocks with N lanes, each one transaction a span with its own row of bookkeeping.

What holds whenever the process dies: every lane stands at the start or at the end of the newest span, and its row
says which. The row is compared and set first in the lane's transaction, so that a process of an older generation
fails there, before it could meet rows that are not as it expects.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.conflicts import through_conflicts
from bowline_worker.contract import BowlineError, FencedOut, Unsafe
from bowline_worker.endpoints.base import Decoder, LaneSession, RowConflict, RowMissing
from bowline_worker.fold import fold
from bowline_worker.gathered import Gatherer, Ready
from bowline_worker.lanes import Spread, assign
from bowline_worker.model import Transaction
from bowline_worker.sift import Part, Seen, Sieve, name_change

#: So many spans are not tried the short way after one that did not fit it.
GENERAL_SPANS = 10

#: The caller looks at its watch so often while lanes work.
WATCH_SECONDS = 0.5

LOOK = "compare that row on both sides; nothing from this change on was applied"

log = logging.getLogger("bowline")


class Form(Enum):
    """How a lane's part is applied; where one does not fit, the next one is tried from the start."""

    SETS = "sets"
    REPLACE = "replace"  #: touched rows deleted, final images inserted
    SINGLE = "single"  #: one by one, in order: finds the first change that can't be applied


class Loadable(Protocol):
    """A journal block."""

    @property
    def number(self) -> int: ...
    @property
    def ends(self) -> bool: ...
    def load(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive blocks that are applied together: whole transactions, or one huge one that spans them."""

    blocks: Sequence[Loadable]

    @property
    def low(self) -> int:
        """The block before."""
        return self.blocks[0].number - 1

    @property
    def high(self) -> int:
        return self.blocks[-1].number

    @property
    def is_huge(self) -> bool:
        return not self.blocks[0].ends

    def transactions(self, decoder: Decoder) -> Iterator[Transaction]:
        # Loaded before the first is decoded: each is proven by its checksum.
        for payload in [block.load() for block in self.blocks]:
            yield from decoder.decode(payload)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a span came to, for the report."""

    events: int = 0
    discarded: int = 0
    commits: list[float] = field(default_factory=list)  #: commit times at the origin

    def add(self, part: Part) -> None:
        self.events += len(part.changes)
        self.discarded += part.discarded
        self.commits += part.commits


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A span, ready for its lanes. Of a huge one nothing is known before it is applied."""

    span: Span
    before: Seen
    after: Seen
    split: list[Part]  #: one per lane
    outcome: Outcome
    ready: list[Ready] = field(default_factory=list)  #: instead of `split`: one per lane, folded
    payloads: list[bytes] = field(default_factory=list)  #: of what is ready


class Applier:
    """The lanes of one generation. Its caller reads spans, one after the other."""

    def __init__(
        self,
        *,
        stream: StreamId,
        sessions: Sequence[LaneSession],
        rows: Sequence[LaneRow],
        sieve: Sieve,
        spread: Spread,
        decoder: Callable[[], Decoder],
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._stream = stream
        self._sessions = sessions
        self.rows = list(rows)
        self._sieve = sieve
        self.spread = spread
        self._new_decoder, self._decoder = decoder, decoder()
        self._watch = watch
        self._general = 0  # spans that go the general way at once
        self._pool = ThreadPoolExecutor(len(sessions), thread_name_prefix="lane")

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def block(self) -> int:
        """The newest block that all lanes have applied."""
        return min(row.block for row in self.rows)

    @property
    def newest(self) -> int:
        """The newest block that any lane has applied."""
        return max(row.block for row in self.rows)

    def prepare(self, span: Span, seen: Seen | None = None) -> Prepared:
        """Decode and split a span; `seen` is what the one before it has told, where that is not applied yet."""
        seen = seen or Seen.of(min(self.rows, key=lambda row: row.block))
        if span.is_huge:
            return Prepared(span=span, before=seen, after=seen, split=[], outcome=Outcome())
        if (prepared := self._gather(span, seen)) is not None:
            return prepared
        part, after = self._sieve.sift(span.transactions(self._decoder), seen)
        outcome = Outcome()
        outcome.add(part)
        return Prepared(
            span=span, before=seen, after=after, split=self._split(part), outcome=outcome
        )

    def _gather(self, span: Span, seen: Seen) -> Prepared | None:
        """The short way, for a span of ordinary changes; one that is not is seldom alone, and it rests a while."""
        if not isinstance(self._decoder, Gatherer) or not seen.passed:
            return None
        if self._general:
            self._general -= 1
            return None
        payloads = [block.load() for block in span.blocks]
        gathered = self._decoder.gather(b"".join(payloads), self._sieve, self.spread)
        if gathered is None:
            self._general = GENERAL_SPANS
            return None
        _, after = self._sieve.sift(gathered.signals, seen)
        events = sum(lane.events for lane in gathered.lanes)
        return Prepared(
            span=span,
            before=seen,
            after=replace(after, position=gathered.position.text),
            split=[],
            outcome=Outcome(events=events, commits=gathered.commits),
            ready=gathered.lanes,
            payloads=payloads,
        )

    def apply(self, prepared: Prepared, meanwhile: Callable[[], None] = lambda: None) -> Outcome:
        """Bring every lane that stands before the span to its end; `meanwhile` runs beside them, in this thread."""
        span = prepared.span
        blocks = {row.block for row in self.rows}
        if span.low not in blocks or not blocks <= {span.low, span.high}:
            raise Unsafe(
                f"lanes of {self._stream} stand at blocks {sorted(blocks)}, and the span is "
                f"{span.low + 1} to {span.high}",
                reason="LanesApart",
                hint="the journal or the receiver was changed by hand or restored from a backup",
            )
        laggards = [row for row in self.rows if row.block == span.low]
        if span.is_huge:
            return self._apply_huge(span, prepared.before, laggards)
        work = []
        for row in laggards:
            if prepared.ready:
                after = _after(row, span, prepared.after, prepared.ready[row.lane].events, 0)
                work.append(self._pool.submit(self._ready_lane, row, prepared, after))
                continue
            part = prepared.split[row.lane]
            after = _after(row, span, prepared.after, len(part.changes), part.discarded)
            work.append(self._pool.submit(self._lane, row, part, after))
        try:
            meanwhile()
        finally:
            self._run(work)
        return prepared.outcome

    def _split(self, part: Part) -> list[Part]:
        split = [Part() for _ in self.rows]
        lanes = assign(part.changes, self._sieve.shapes, self.spread)
        for lane, change, position in zip(lanes, part.changes, part.positions, strict=True):
            split[lane].changes.append(change)
            split[lane].positions.append(position)
        split[0].discarded = part.discarded
        return split

    def _apply_huge(self, span: Span, seen: Seen, laggards: list[LaneRow]) -> Outcome:
        """Apply a transaction that is larger than memory: lane 0 alone, block by block, in one transaction."""
        first = [row for row in laggards if row.lane == 0]
        row = first[0] if first else None
        work = self._pool.submit(through_conflicts, lambda: self._huge(row, span, seen))
        self._run([work])
        outcome, seen = work.result()
        # The others have nothing to apply, and tell the same signals.
        self._run(
            [
                self._pool.submit(self._lane, row, Part(), _after(row, span, seen, 0, 0))
                for row in laggards
                if row.lane
            ]
        )
        return outcome

    def _huge(self, row: LaneRow | None, span: Span, seen: Seen) -> tuple[Outcome, Seen]:
        """Write it unless the lane has (no row): then only see what it says."""
        for form in Form:
            outcome, now = Outcome(), seen
            try:
                if row is not None:
                    self._begin(row, row)
                decoder = self._new_decoder()
                for block in span.blocks:
                    part, now = self._sieve.sift(decoder.decode(block.load()), now)
                    if row is not None:
                        self._write(self._sessions[0], part, form)
                    outcome.add(part)
                if row is not None:
                    after = _after(row, span, now, outcome.events, outcome.discarded)
                    self._sessions[0].advance(self._stream.origin, after, since=row.block)
                    self._commit(after)
            except (RowMissing, RowConflict) as error:
                self._refused(0, form, error)
                continue
            except BowlineError:
                self._sessions[0].rollback()
                raise
            return outcome, now
        raise AssertionError("the last form names what it can't apply")

    def _ready_lane(self, row: LaneRow, prepared: Prepared, after: LaneRow) -> None:
        """Apply one lane's sets; where they don't fit, its changes in the other forms."""
        if through_conflicts(lambda: self._ready_once(row, prepared, after)):
            return
        # With a decoder of its own: the stream's is at work on the next span.
        decoder = self._new_decoder()
        decoded = (each for payload in prepared.payloads for each in decoder.decode(payload))
        part, _ = self._sieve.sift(decoded, prepared.before)
        self._lane(row, self._split(part)[row.lane], after, (Form.REPLACE, Form.SINGLE))

    def _ready_once(self, row: LaneRow, prepared: Prepared, after: LaneRow) -> bool:
        """False: the sets don't fit, and nothing was done."""
        session = self._sessions[row.lane]
        try:
            self._begin(row, after)
            for batch in prepared.ready[row.lane].batches:
                session.write(batch)
            self._commit(after)
        except (RowMissing, RowConflict) as error:
            self._refused(row.lane, Form.SETS, error)
            return False
        except BowlineError:
            session.rollback()
            raise
        return True

    def _lane(
        self, row: LaneRow, part: Part, after: LaneRow, forms: Sequence[Form] = tuple(Form)
    ) -> None:
        """Apply one lane's part; what a conflict undid, the place with it, from its start again."""
        through_conflicts(lambda: self._lane_once(row, part, after, forms))

    def _lane_once(self, row: LaneRow, part: Part, after: LaneRow, forms: Sequence[Form]) -> None:
        """Apply it in the first form that fits, with its place, in one transaction."""
        for form in forms:
            try:
                self._begin(row, after)
                self._write(self._sessions[row.lane], part, form)
                self._commit(after)
            except (RowMissing, RowConflict) as error:
                self._refused(row.lane, form, error)
                continue
            except BowlineError:
                self._sessions[row.lane].rollback()
                raise
            return

    def _begin(self, row: LaneRow, after: LaneRow) -> None:
        self._sessions[row.lane].begin()
        self._sessions[row.lane].advance(self._stream.origin, after, since=row.block)

    def _commit(self, after: LaneRow) -> None:
        self._sessions[after.lane].commit()
        self.rows[after.lane] = after

    def _refused(self, lane: int, form: Form, error: RowMissing | RowConflict) -> None:
        self._sessions[lane].rollback()
        if form is Form.SINGLE:
            raise Unsafe(
                f"could not commit: {error}", reason=type(error).__name__, hint=LOOK
            ) from error
        log.warning(
            "a set form did not fit",
            extra={"fields": {"lane": lane, "form": form.value, "why": str(error)}},
        )

    def _write(self, session: LaneSession, part: Part, form: Form) -> None:
        shapes = self._sieve.shapes
        single = list(zip(part.changes, part.positions, strict=True))
        if form is not Form.SINGLE:
            folded = fold(part.changes, shapes)
            for batch in folded.batches:
                (session.write if form is Form.SETS else session.replace)(batch)
            ordered = set(map(id, folded.ordered))
            single = [each for each in single if id(each[0]) in ordered] if ordered else []
        for change, position in single:
            shape = shapes[change.table]
            try:
                session.one(change, shape.table)
            except (RowMissing, RowConflict) as error:
                if form is not Form.SINGLE:
                    raise
                raise Unsafe(
                    f"{name_change(change, shape, position)} could not be applied: {error}",
                    reason=type(error).__name__,
                    hint=LOOK,
                ) from error

    def _run(self, work: Sequence[Future[Any]]) -> None:
        """Wait for all lanes, whatever happens to one; then raise the gravest error."""
        waiting = set(work)
        while waiting:
            _, waiting = wait(waiting, timeout=WATCH_SECONDS)
            self._watch()
        errors = [error for each in work if (error := each.exception()) is not None]
        for kind in (FencedOut, Unsafe, BaseException):
            for error in errors:
                if isinstance(error, kind):
                    raise error


def _after(row: LaneRow, span: Span, seen: Seen, events: int, discarded: int) -> LaneRow:
    return replace(
        row,
        block=span.high,
        passed=seen.passed,
        barrier=seen.barrier,
        probe=seen.probe,
        canary=seen.canary,
        beat=seen.beat,
        position=seen.position,
        events=row.events + events,
        discarded=row.discarded + discarded,
    )
