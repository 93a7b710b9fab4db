"""Find what a writer that is gone, or is being replaced, has left: its last whole transaction."""

from __future__ import annotations

import os
from pathlib import Path

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Unsafe
from bowline_worker.journal.block import Mark
from bowline_worker.journal.current import Current, Segment
from bowline_worker.journal.scan import damaged, scan
from bowline_worker.journal.store import DirectoryStore


def last_mark(directory: Path, *, migration: str, stream: StreamId) -> Mark:
    """Read what a writer would go on from now, without becoming one. A writer at work may be past it already."""
    store = DirectoryStore(directory)
    while True:
        loaded = store.load()
        if loaded is None:
            return Mark()
        current, identity = loaded
        current.belongs_to(migration, stream)
        if not current.segments or current.segments[-1].length is not None:
            return current.mark
        try:
            return scan_last(store, current.segments[-1])[1]
        except Unsafe:
            # A writer at work may have cut or removed that segment meanwhile, and said so in CURRENT.
            if store.identity() == identity:
                raise


def scan_last(store: DirectoryStore, last: Segment) -> tuple[int, Mark]:
    """Find where a segment that was not sealed ends: behind its last whole transaction, made durable here."""
    tail = store.tail(last.generation)
    durable = tail.durable if tail and tail.segment == last.sequence else 0
    try:
        descriptor = store.open_segment(last.name)
    except FileNotFoundError:
        raise damaged(last.name, 0, "it is missing") from None
    try:
        # What its writer wrote and did not come to sync counts from here on: it must not be lost later.
        store.sync(descriptor, last.name)
        scanned = scan(descriptor, name=last.name, base=last.base, durable=durable)
        # The walk may have found blocks that were added behind the first sync.
        store.sync(descriptor, last.name)
    finally:
        os.close(descriptor)
    return scanned.length, scanned.mark


def refuse_missing(store: DirectoryStore, current: Current) -> None:
    """Refuse a journal whose listed segments are not all there, whole."""
    for each in current.segments:
        size = store.size(each.name)
        if size is None or size < (each.length or 0):
            raise damaged(each.name, size or 0, f"{each.length or 0} bytes are expected")
