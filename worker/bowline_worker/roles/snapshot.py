"""Copy the rows that were there before the stream: chunk by chunk from a held view, then indexes and constraints.

Any number of processes may run this at once; the ledger in the target tells who copies what. Dying at any instant
costs the chunks that were under way.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Side, SnapshotReport, TryAgain, Unsafe, Unsupported
from bowline_worker.endpoints.base import Ledger, Reader, Section
from bowline_worker.endpoints.pairs import binary_tables
from bowline_worker.model import Table, TableName
from bowline_worker.rates import Meter
from bowline_worker.roles import Context
from bowline_worker.saga_checks import require_equal_shapes

STREAM = StreamId(Side.SOURCE, 0)

#: A capture that starts at the same time needs some seconds to make its slot; more if transactions are open.
VIEW_SECONDS = 60.0
RETRY_SECONDS = 0.5
REPORT_SECONDS = 1.0
#: Chunks end in bursts: a shorter window would show rates that jump, a longer one an ETA that sleeps.
RATE_SECONDS = 30.0

log = logging.getLogger("bowline")


def run(context: Context) -> None:
    """Fill the target's tables and complete their schema; where that is done already, return at once."""
    report = _Progress(context)
    seen = report.refresh()
    if seen.post_data:
        return
    if not seen.complete:
        _copy_all(context, report)
    if context.stop.is_set():
        return
    log.info("rows are copied, indexes and constraints follow")
    context.target.run_schema(Section.POST_DATA, context.config.parallelism)
    with closing(context.target.ledger()) as ledger:
        ledger.finish_post_data()
    report.refresh()


class _Progress:
    """The ledger's figures, with the rates of this run."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rows, self._bytes = Meter(), Meter()
        self._seen: tuple[int, int] | None = None

    def refresh(self) -> SnapshotReport:
        seen = self._context.target.snapshot_progress()
        rows = sum(table.rows for table in seen.tables)
        size = sum(table.bytes for table in seen.tables)
        # What stood in the ledger before was not copied by this run; a table that starts again counts backwards.
        before = self._seen or (rows, size)
        self._rows.add(max(0, rows - before[0]))
        self._bytes.add(max(0, size - before[1]))
        self._seen = (rows, size)
        rate = self._rows.per_second(RATE_SECONDS)
        left = sum(
            max(0, table.rows_estimated - table.rows) for table in seen.tables if not table.done
        )
        seen = seen.model_copy(
            update={
                "rows_per_second": round(rate, 1),
                "bytes_per_second": round(self._bytes.per_second(RATE_SECONDS), 1),
                "eta_seconds": 0.0 if seen.complete else round(left / rate, 1) if rate else None,
            }
        )
        self._context.report.update(snapshot=seen)
        return seen


def _copy_all(context: Context, report: _Progress) -> None:
    """Copy until no table is unfinished. Each round joins the newest view: another one may have replaced ours."""
    tables = {table.name: table for table in context.source.tables()}
    there = {table.name: table for table in context.target.tables()}
    if missing := [name for name in tables if name not in there]:
        raise Unsupported(
            f"target: there is no table {missing[0]}, and {len(missing) - 1} more are missing",
            reason="SchemaDiffers",
            hint="spec.schema.mode Migrate makes them",
        )
    engines = (context.config.source.engine, context.config.target.engine)
    binary = binary_tables(engines, tables.values(), there.values())
    with closing(context.target.ledger()) as ledger:
        while not context.stop.is_set():
            reader = _wait_for_view(context)
            if reader is None:
                return
            with closing(reader):
                # What a switch would refuse: until then a narrower numeric would round what it is given. Behind the
                # view: whoever holds it has stored the origin's shapes before, and what changes later is noticed.
                require_equal_shapes(context.source, context.target)
                _plan(context, reader, ledger, tables)
                _copy_view(context, report, tables, binary)
            left = ledger.unfinished()
            if foreign := [name for name in left if name not in tables]:
                raise Unsafe(
                    f"{foreign[0]} is in the snapshot and not among the selected tables any more",
                    reason="SchemaChanged",
                )
            if not left:
                if not context.stop.is_set():
                    ledger.finish()
                return
            # What is left is another process's, under way, or belongs to a newer view.
            context.stop.wait(RETRY_SECONDS)


def _wait_for_view(context: Context) -> Reader | None:
    """Join the held view, once there is one; None: told to stop."""
    deadline = time.monotonic() + VIEW_SECONDS
    while not context.stop.is_set():
        try:
            return context.source.reader(STREAM)
        except TryAgain:
            if time.monotonic() > deadline:
                raise
        context.stop.wait(RETRY_SECONDS)
    return None


def _plan(context: Context, reader: Reader, ledger: Ledger, tables: dict[TableName, Table]) -> None:
    """Enter all tables, the largest first: the last ones to be copied should be small."""
    done = {table.name for table in context.target.snapshot_progress().tables if table.done}
    for table in sorted(tables.values(), key=lambda table: -table.estimated_bytes):
        if context.stop.is_set():
            return
        if str(table.name) not in done:
            chunks = reader.chunks(table, context.config.chunk_rows)
            if ledger.plan(table, reader.position, chunks):
                log.info(
                    "table planned",
                    extra={"fields": {"table": str(table.name), "chunks": len(chunks)}},
                )


def _copy_view(
    context: Context,
    report: _Progress,
    tables: dict[TableName, Table],
    binary: frozenset[TableName],
) -> None:
    """Copy chunks in threads until none is free; the first error ends the others after their chunk."""
    failed = threading.Event()

    def work() -> None:
        with (
            closing(context.source.reader(STREAM)) as reader,
            closing(context.target.ledger()) as ledger,
        ):
            while not context.stop.is_set() and not failed.is_set():
                if ledger.copy(reader, tables, binary=binary) is None:
                    return

    with ThreadPoolExecutor(context.config.parallelism, thread_name_prefix="copy") as pool:
        running = {pool.submit(work) for _ in range(context.config.parallelism)}
        try:
            while running:
                ended, running = wait(running, REPORT_SECONDS, FIRST_EXCEPTION)
                for future in ended:
                    future.result()
                report.refresh()
        finally:
            failed.set()
