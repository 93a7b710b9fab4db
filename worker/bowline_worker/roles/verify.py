"""Verify: compares all rows of both sides, while changes flow or behind the fence."""

from __future__ import annotations

from bowline_worker.comparing import MOVING, compare
from bowline_worker.contract import TryAgain, Unsafe, VerifyReport
from bowline_worker.roles import Context


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


def _only_moving(detail: str) -> bool:
    return detail.endswith(MOVING) and ";" not in detail
