"""Copy the figures of the workers' reports into the status. An ended stream keeps its last ones."""

from __future__ import annotations

from collections.abc import Sequence

from bowline_operator.observed import Observed
from bowline_operator.status import (
    Direction,
    JobState,
    JobStatus,
    Primary,
    Status,
    StreamStatus,
    VerificationStatus,
)
from bowline_worker.contract import (
    ChangedValues,
    Exit,
    Report,
    Role,
    SnapshotReport,
    StreamReport,
    TableVerdict,
)

#: Streams that are remembered: five rounds there and back.
REMEMBERED_STREAMS = 12
REMEMBERED_FINDINGS = 100
REMEMBERED_CHANGES = 100
#: A resource has to stay below a megabyte: these are told one by one, of the rest the sums.
REMEMBERED_TABLES = 500


def copy_figures(seen: Observed, status: Status) -> None:
    """Take the newest figures over, whatever their age: each says when it was measured."""
    for entry in status.jobs:
        report = seen.last_word(entry.family) or seen.live_report(entry.family)
        if report is None:
            continue
        if report.stream is not None and entry.role in (Role.CAPTURE, Role.APPLY):
            _stream(status, report, report.stream)
        copies = report.snapshot is not None and bool(report.snapshot.tables)
        if copies and report.snapshot and entry.role in (Role.SNAPSHOT, Role.CAPTURE):
            status.snapshot = _bounded(report.snapshot)
        if entry.role is Role.ASSESS:
            _findings(seen, status, entry.family, entry.state)
        if entry.role is Role.CLEANUP and report.left_behind:
            status.left_behind = [*report.left_behind, *_unapplied(status)]
        if entry.role is Role.VERIFY:
            _verification(status, entry, report)
    active = status.active_stream
    for stream in status.streams:
        stream.active = active is not None and (stream.origin, stream.number) == (
            active.origin,
            active.number,
        )


def copied(snapshot: SnapshotReport) -> str:
    """Say how far the copy has come."""
    return f"{snapshot.tables_done} of {snapshot.tables_total} tables are copied"


def _bounded(snapshot: SnapshotReport) -> SnapshotReport:
    """Keep the tables that are not finished, then others, as many as a resource can hold; count them all."""
    ranked = sorted(snapshot.tables, key=lambda table: table.done)
    return snapshot.model_copy(
        update={
            "tables": snapshot.tables
            if len(ranked) <= REMEMBERED_TABLES
            else ranked[:REMEMBERED_TABLES],
            "tables_total": len(ranked),
            "tables_done": sum(table.done for table in ranked),
        }
    )


def bounded_verdicts(tables: Sequence[TableVerdict]) -> list[TableVerdict]:
    """Keep the tables that differ, then others, as many as a resource can hold."""
    if len(tables) <= REMEMBERED_TABLES:
        return list(tables)
    return sorted(tables, key=lambda table: table.equal)[:REMEMBERED_TABLES]


def _unapplied(status: Status) -> list[str]:
    """Say that the losing side is no copy, where its stream was ended before it had everything."""
    ours = [stream for stream in status.streams if stream.origin is status.primary]
    last = max(ours, key=lambda stream: stream.number, default=None)
    if last is None or not last.remaining:
        return []
    loser = status.primary.other.side
    return [f"{loser}: about {last.remaining} changes of the {loser.other} were not applied there"]


def _findings(seen: Observed, status: Status, of_family: str, state: JobState) -> None:
    # A last word is short: where its findings were cut, the live report before it may have them all.
    reports = (seen.last_word(of_family), seen.live_report(of_family))
    found = max((each.findings for each in reports if each is not None), key=len, default=[])
    if found:
        ranked = sorted(found, key=lambda each: each.severity.weight)
        status.findings = ranked[:REMEMBERED_FINDINGS]
        return
    if state is JobState.SUCCEEDED:
        status.findings = []


def _stream(status: Status, report: Report, said: StreamReport) -> None:
    origin = Primary.of(said.origin)
    found = next((s for s in status.streams if (s.origin, s.number) == (origin, said.number)), None)
    if found is None:
        forward = origin is Primary.SOURCE
        found = StreamStatus(
            origin=origin,
            number=said.number,
            direction=Direction.FORWARD if forward else Direction.REVERSE,
        )
        status.streams = [*status.streams, found][-REMEMBERED_STREAMS:]
    found.epoch = said.epoch
    if report.role is Role.CAPTURE:
        found.exported, found.exported_block = said.exported, said.block
        found.journal_bytes, found.retained_bytes = said.journal_bytes, said.retained_bytes
        found.at_risk, found.exported_at = said.at_risk, report.observed_at
    else:
        found.imported, found.imported_block = said.imported, said.block
        found.remaining, found.eta_seconds, found.lag = said.remaining, said.eta_seconds, said.lag
        found.lanes, found.marker, found.canary = said.lanes, said.marker, said.canary
        found.imported_at = report.observed_at
        found.changed_values = _most(found.changed_values, said.changed_values)
        found.changed_total = max(found.changed_total, said.changed_total)


def _most(before: Sequence[ChangedValues], now: Sequence[ChangedValues]) -> list[ChangedValues]:
    """Of each column and kind the larger count: a restarted apply counts from 0, and nothing told is taken back."""
    found: dict[tuple[str, str, str], ChangedValues] = {}
    for each in (*before, *now):
        place = (each.table, each.column, each.kind)
        if place not in found or found[place].values < each.values:
            found[place] = each
    return sorted(found.values(), key=lambda each: -each.values)[:REMEMBERED_CHANGES]


def _verification(status: Status, entry: JobStatus, report: Report) -> None:
    """Note how a comparison ended; one that could not come to an end (75) says nothing."""
    is_over = entry.state is JobState.SUCCEEDED or entry.exit_code == Exit.UNSAFE
    if not is_over or report.verify is None or report.verify.equal is None:
        return
    request = int(entry.family.rpartition("-")[2])
    if status.verification is not None and status.verification.request >= request:
        return
    status.verification = VerificationStatus(
        equal=report.verify.equal,
        request=request,
        epoch=status.epoch,
        tables=bounded_verdicts(report.verify.tables),
        at=report.observed_at,
    )
