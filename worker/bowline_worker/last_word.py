"""A report as a termination message: Kubernetes keeps 4096 bytes of it. What decides always fits.

Lists are cut from their least important end, and say how much is missing: a blocking finding, or a table that differs,
is never cut while a lesser one stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from bowline_worker.contract import Finding, Report, SnapshotReport, VerifyReport

Item = TypeVar("Item")

#: Texts are cut to this where nothing else helps.
_TEXT = 300


def last_word(report: Report, limit: int | None) -> str:
    """Write the report as JSON, in at most so many bytes; None: all of it."""
    text = _written(report)
    if limit is None or len(text.encode()) <= limit:
        return text
    for shorter in _shortened(report):
        text = _written(shorter)
        if len(text.encode()) <= limit:
            return text
    return text


def _written(report: Report) -> str:
    return report.model_dump_json(by_alias=True, exclude_none=True)


def _shortened(report: Report) -> Iterator[Report]:
    """Shorter and shorter reports: figures that are read elsewhere go first, findings and differences last."""
    if report.stream is not None and report.stream.changed_values:
        stream = report.stream.model_copy(update={"changed_values": []})
        report = report.model_copy(update={"stream": stream})
        yield report
    if report.snapshot is not None:
        report = report.model_copy(update={"snapshot": _without_tables(report.snapshot)})
        yield report
    for kept in _halved(len(report.left_behind)):
        report = report.model_copy(update={"left_behind": _cut(report.left_behind, kept, _more)})
        yield report
    if report.verify is not None:
        # The tables that differ come first.
        whole = sorted(report.verify.tables, key=lambda table: table.equal)
        for kept in _halved(len(whole)):
            report = report.model_copy(update={"verify": _first(report.verify, whole[:kept])})
            yield report
    ranked = sorted(report.findings, key=lambda each: each.severity.weight)
    for kept in _halved(len(ranked)):
        report = report.model_copy(update={"findings": _cut(ranked, kept, _omitted(ranked))})
        yield report
    if report.failure is not None:
        cut = {"message": report.failure.message[:_TEXT], "hint": report.failure.hint[:_TEXT]}
        failure = report.failure.model_copy(update=cut)
        report = report.model_copy(update={"failure": failure, "message": report.message[:_TEXT]})
        yield report


def _without_tables(snapshot: SnapshotReport) -> SnapshotReport:
    return snapshot.model_copy(update={"tables": []})


def _first(verify: VerifyReport, tables: Sequence[object]) -> VerifyReport:
    return verify.model_copy(update={"tables": list(tables)})


def _halved(count: int) -> Iterator[int]:
    """Count down: three quarters of what was, each time, to one."""
    while count > 1:
        count = count * 3 // 4
        yield count


def _cut(whole: Sequence[Item], kept: int, more: Callable[[int], Item]) -> list[Item]:
    return [*whole[:kept], more(len(whole) - kept)]


def _more(count: int) -> str:
    return f"and {count} more: see the log of this Job"


def _omitted(whole: Sequence[Finding]) -> Callable[[int], Finding]:
    """Say how many are missing, with the weight of the gravest of them."""

    def more(count: int) -> Finding:
        gravest = whole[len(whole) - count]
        return Finding(
            severity=gravest.severity,
            reason="MoreFindings",
            side=gravest.side,
            message=_more(count),
        )

    return more
