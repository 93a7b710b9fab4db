"""Prepare: make what the first stream needs on both sides, before anything flows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from bowline_worker.bookkeeping import LaneRow
from bowline_worker.conflicts import in_books
from bowline_worker.contract import Side, Unsupported
from bowline_worker.endpoints.base import Books
from bowline_worker.roles import Context

log = logging.getLogger("bowline")


def run(context: Context) -> None:
    """Make bookkeeping, publication and fences, and the lane rows of the first stream.

    Killed at any instant and run again it makes what is missing; lane rows that are there are never touched, since
    they say what was applied.
    """
    source, target, config = context.source, context.target, context.config
    if not source.tables():
        raise Unsupported(
            f"no table is selected by {', '.join(config.include)}",
            reason="NoTables",
            hint="correct spec.tables",
        )
    # The target first: it refuses applications before the first row comes.
    context.report.update(message="preparing the target")
    target.install()
    target.prepare_receiver(fenced=True)
    context.report.update(message="preparing the source")
    source.install()
    source.prepare_origin()
    # No marker comes before the first stream's rows: nothing was ever streamed back.
    lanes = [LaneRow(lane=n, number=0, generation=0, passed=True) for n in range(config.lanes)]
    in_books(target, partial(_make_lanes, lanes=lanes))
    context.report.update(message="prepared")
    log.info("prepared", extra={"fields": {"lanes": config.lanes}})


def _make_lanes(books: Books, lanes: Sequence[LaneRow]) -> None:
    books.switch()  # locked: two of us would both find no lanes
    if not books.lanes(Side.SOURCE):
        books.put_lanes(Side.SOURCE, lanes)
