"""Dead slots: made by an attempt that was aborted, they keep the redo of a database until its disk is full.

An abort needs the losing database alone, so that it can't drop what its attempt has made in the winning one; and a
late copy may make a slot again. So whoever comes by drops them, by number, once their attempt is over for good.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bowline_worker.conflicts import in_books
from bowline_worker.contract import BowlineError
from bowline_worker.endpoints.base import Endpoint
from bowline_worker.saga_rows import dead_slots

#: A slot that nobody reads keeps everything: a minute of it is nothing.
SWEEP_SECONDS = 60.0

log = logging.getLogger("bowline")


def sweep(here: Endpoint, there: Endpoint) -> tuple[int, ...]:
    """Drop the dead slots of one side; name them. Both sides' rows are read: what they call dead stays so."""
    slots = here.slots()
    if not slots:
        return ()
    own = in_books(here, lambda books: books.switch(lock=False))
    other = in_books(there, lambda books: books.switch(lock=False))
    found = dead_slots(own, other, slots)
    # By the smallest that lives: a slot is dropped only if every older one is dead as well.
    alive = min((number for number in slots if number not in found), default=max(slots) + 1)
    dropped = tuple(number for number in found if number < alive)
    if dropped:
        here.disarm(dropped[-1] + 1)
        log.info(
            "dead slots dropped", extra={"fields": {"side": str(here.side), "numbers": dropped}}
        )
    return dropped


@contextmanager
def kept_swept(here: Endpoint, there: Endpoint) -> Iterator[None]:
    """Sweep now and then in a thread of its own, while the body runs; a database that is away is for the next time."""
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            with suppress(BowlineError):
                sweep(here, there)
            done.wait(SWEEP_SECONDS)

    # Not waited for at the end: it may hang on a database that does not answer, and holds nothing.
    threading.Thread(target=run, name="sweep", daemon=True).start()
    try:
        yield
    finally:
        done.set()
