"""Verify: compares all rows of both sides, while changes flow or behind the fence."""

from __future__ import annotations

import time

from bowline_worker.comparing import MOVING, compare
from bowline_worker.conflicts import in_books
from bowline_worker.contract import TryAgain, Unsafe, VerifyReport
from bowline_worker.roles import Context

#: A stream that lags by more is not worth waiting for in one go; the role is started again.
SETTLE_SECONDS = 120.0
SETTLED_SECONDS = 0.1


def run(context: Context) -> None:
    """Compare and report; Unsafe where rows differ, TryAgain where some never stood still."""
    config = context.config

    def progress(report: VerifyReport) -> None:
        context.report.update(verify=report, message=f"{len(report.tables)} tables compared")

    report = compare(
        context.source,
        context.target,
        parallelism=config.parallelism,
        stop=context.stop,
        progress=progress,
        settle=lambda: settle(context),
    )
    context.report.update(verify=report)
    if report.equal is None:
        return
    rows = sum(table.source_rows for table in report.tables)
    unequal = [table for table in report.tables if not table.equal]
    context.report.update(
        message=f"{len(report.tables)} tables, {rows} rows, {len(unequal)} tables differ"
    )
    if not unequal:
        return
    if all(_only_moving(table.detail) for table in unequal):
        raise TryAgain(
            f"{len(unequal)} of {len(report.tables)} tables have rows that changed at every look: "
            f"{unequal[0].name}",
            reason="RowsMoving",
            hint="they are compared exactly behind the fence of the cutover",
        )
    first = next(table for table in unequal if not _only_moving(table.detail))
    raise Unsafe(
        f"{len(unequal)} of {len(report.tables)} tables differ; {first.name}: source "
        f"{first.source_rows} rows, target {first.target_rows} rows; {first.detail}",
        reason="RowsDiffer",
        hint="see verify.tables of the report; find who wrote to the target, or migrate again",
    )


def settle(context: Context) -> bool:
    """Wait until the passive side has all that has committed on the primary by now; True: stopped meanwhile.

    Else rows that are on their way, which may take long where the stream lags, would be called different.
    """
    primary = context.config.primary
    number = context.side(primary).beat()
    until = time.monotonic() + SETTLE_SECONDS
    while not context.stop.is_set():
        rows = in_books(context.side(primary.other), lambda books: books.lanes(primary, lock=False))
        if rows and min(row.beat for row in rows) >= number:
            return False
        if time.monotonic() > until:
            raise TryAgain(
                f"the {primary.other} is more than {SETTLE_SECONDS:g} s behind: its rows can't be compared yet",
                reason="StreamBehind",
            )
        context.stop.wait(SETTLED_SECONDS)
    return True


def _only_moving(detail: str) -> bool:
    return detail.endswith(MOVING) and ";" not in detail
