"""Take a stream's lanes: who may apply it, and by which generation nobody else does any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bowline_worker.bookkeeping import Backend, LaneRow, StreamId, SwitchRow
from bowline_worker.conflicts import in_books
from bowline_worker.contract import FencedOut, TryAgain, Verdict
from bowline_worker.endpoints.base import Books, Endpoint

NOTHING_TO_DO = "nothing to do here: the plan starts what comes next"


def check(
    stream: StreamId,
    rows: Sequence[LaneRow],
    receiver: SwitchRow,
    origin: Callable[[], SwitchRow],
) -> None:
    """Raise unless a new generation of this stream may run.

    A generation that an attempt retired may live again only once the origin's own row says that this attempt is
    aborted: until then the attempt may commit, and after its marker Bowline's writes would come back.
    """
    if not rows or rows[0].number < stream.number:
        raise TryAgain(f"lanes of {stream} are not armed yet", reason="NotArmed")
    if rows[0].number > stream.number:
        raise FencedOut(
            f"{stream} was superseded by {replace_number(stream, rows[0].number)}",
            reason="Superseded",
            hint=NOTHING_TO_DO,
        )
    # An abort may have found lanes that had never run: what its row says ends them too.
    if stream.number and stream.number in receiver.aborted:
        raise FencedOut(
            f"{stream} ended: attempt {stream.number} was aborted",
            reason="Retired",
            hint=NOTHING_TO_DO,
        )
    if all(row.generation >= 0 for row in rows):
        return
    retired = max(row.retired for row in rows)
    if not retired:
        raise FencedOut(f"{stream} ended with its attempt", reason="Retired", hint=NOTHING_TO_DO)
    switch = origin()
    if retired in switch.aborted:
        return
    if switch.verdict is Verdict.COMMITTED and switch.attempt >= retired:
        raise FencedOut(
            f"{stream} ended with attempt {retired}", reason="Retired", hint=NOTHING_TO_DO
        )
    raise FencedOut(
        f"{stream} was retired by attempt {retired}, which is not decided yet",
        reason="Retired",
        hint=NOTHING_TO_DO,
    )


def replace_number(stream: StreamId, number: int) -> StreamId:
    return StreamId(stream.origin, number)


def next_rows(
    rows: Sequence[LaneRow], backends: Sequence[Backend], wanted: int
) -> tuple[LaneRow, ...]:
    """Make the rows of the next generation; of another number of lanes only where all stand at one block."""
    generation = max(abs(row.generation) for row in rows) + 1
    if wanted != len(rows):
        rows = spread_rows(rows, wanted)
    return tuple(
        replace(row, generation=generation, backend=backend)
        for row, backend in zip(rows, backends, strict=True)
    )


def spread_rows(rows: Sequence[LaneRow], wanted: int) -> tuple[LaneRow, ...]:
    if len({row.block for row in rows}) > 1:
        raise TryAgain(f"lanes stand at blocks {sorted({row.block for row in rows})}, not at one")
    first = replace(
        rows[0],
        events=sum(row.events for row in rows),
        discarded=sum(row.discarded for row in rows),
        retired=max(row.retired for row in rows),
    )
    others = (replace(first, lane=lane, events=0, discarded=0) for lane in range(1, wanted))
    return (first, *others)


def lanes_now(rows: Sequence[LaneRow], wanted: int) -> int:
    """So many lanes can run now: the old number, until all stand at one block."""
    return wanted if len({row.block for row in rows}) == 1 else len(rows)


def look(stream: StreamId, receiver: Endpoint, origin: Endpoint) -> tuple[LaneRow, ...]:
    """Read the rows and check them, before anything is disturbed."""
    rows, switch = in_books(
        receiver,
        lambda books: (books.lanes(stream.origin, lock=False), books.switch(lock=False)),
    )
    check(stream, rows, switch, lambda: read_switch(origin))
    return rows


def take(
    stream: StreamId,
    receiver: Endpoint,
    origin: Endpoint,
    backends: Sequence[Backend],
) -> tuple[LaneRow, ...]:
    """Record a new generation with these sessions, in one transaction; end the sessions of the older one before.

    A stopped process of the older generation may hold a row's lock: ending its session is what frees it.
    """

    def step(books: Books) -> tuple[LaneRow, ...]:
        seen = books.lanes(stream.origin, lock=False)
        books.end_backends(row.backend for row in seen if row.backend)
        # The switch row first, as every step of a switch: an abort and we can't pass each other unseen.
        switch = books.switch()
        rows = books.lanes(stream.origin)
        check(stream, rows, switch, lambda: read_switch(origin))
        taken = next_rows(rows, backends, len(backends))
        books.put_lanes(stream.origin, taken)
        return taken

    return in_books(receiver, step)


def read_switch(endpoint: Endpoint) -> SwitchRow:
    return in_books(endpoint, lambda books: books.switch(lock=False))


def check_current(stream: StreamId, receiver: Endpoint, generation: int) -> None:
    """Raise FencedOut unless the stream's lanes are at this generation still."""
    rows = in_books(receiver, lambda books: books.lanes(stream.origin, lock=False))
    numbers = {row.number for row in rows}
    generations = {row.generation for row in rows}
    if numbers == {stream.number} and generations == {generation}:
        return
    if numbers == {stream.number} and generations == {-generation}:
        retired = max(row.retired for row in rows)
        by = f" by attempt {retired}" if retired else ""
        raise FencedOut(
            f"generation {generation} of {stream} was ended{by}",
            reason="Retired",
            hint=NOTHING_TO_DO,
        )
    raise FencedOut(
        f"{stream} is not at generation {generation} any more",
        reason="Superseded",
        hint=NOTHING_TO_DO,
    )
