"""What `bowline status` and `bowline run` show to people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bowline_operator.durations import format_duration
from bowline_operator.observed import Event
from bowline_operator.status import (
    Condition,
    ConditionType,
    JobState,
    Mode,
    Status,
    StreamStatus,
    Truth,
)
from bowline_worker.contract import Flow, SnapshotReport

#: Of columns whose values a policy changed; the status has more of them.
CHANGES_SHOWN = 10
_STYLES = {Truth.TRUE: "green", Truth.FALSE: "", Truth.UNKNOWN: "yellow"}
_ALARMING = frozenset(
    {ConditionType.STALLED, ConditionType.SOURCE_AT_RISK, ConditionType.REQUEST_REFUSED}
)


def changes(old: Status, new: Status, events: Sequence[Event]) -> Iterator[str]:
    """One line for each thing that has changed."""
    if old.phase is not new.phase:
        side = f"primary {new.primary}, epoch {new.epoch}"
        yield f"phase {new.phase} ({side})" + (f": {new.message}" if new.message else "")
    before = {each.type: (each.status, each.reason) for each in old.conditions}
    for condition in new.conditions:
        was = before.pop(condition.type, None)
        news = (condition.status, condition.reason)
        if was != news and not (was is None and condition.status is not Truth.TRUE):
            text = f": {condition.message}" if condition.message else ""
            yield f"condition {condition.type}={condition.status} {condition.reason}{text}"
    for kind, (truth, reason) in before.items():
        if truth is Truth.TRUE:
            yield f"condition {kind} is over ({reason})"
    if new.cutover.step != old.cutover.step and new.cutover.step:
        yield f"attempt {new.cutover.attempt} step {new.cutover.step}"
    for event in events:
        if event.reason in ("CutoverStarted", "CutoverTakenBack", "CutoverAborted", "JobFailed"):
            yield f"{event.reason} {event.message}"


def table(name: str, status: Status, *, alive: bool, liveness: str, now: datetime) -> Group:
    """Draw everything that the status says."""
    parts: list[RenderableType] = [_head(name, status)]
    parts.append(Text(liveness, style="dim" if alive else "bold yellow"))
    if status.message:
        parts.append(Text(status.message))
    parts += list(_cutover(status))
    if status.snapshot is not None and status.snapshot.tables:
        parts.append(_snapshot(status.snapshot))
    if status.streams:
        parts.append(_streams(status.streams, now))
    parts += [Text(line, style="yellow") for line in _changed_values(status.streams)]
    if status.verification is not None:
        found = status.verification
        answer = "equal" if found.equal else "DIFFERENT"
        tables = f"{len(found.tables)} tables " if found.tables else ""
        parts.append(Text(f"verified: {tables}{answer}, {_ago(found.at, now)}"))
    parts.append(_conditions(status.conditions, now))
    if status.jobs:
        parts.append(_jobs(status, now))
    parts += [Text(f"left behind: {each}") for each in status.left_behind]
    return Group(*parts)


def _grid(title: str, *columns: str) -> Table:
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        grid.add_column(
            column.lstrip(">"), justify="right" if column.startswith(">") else "left", no_wrap=False
        )
    return grid


def _head(name: str, status: Status) -> Table:
    grid = _grid("", "MIGRATION", "PHASE", "PRIMARY", "DIRECTION", ">EPOCH")
    direction = str(status.direction)
    grid.add_row(name, str(status.phase), str(status.primary), direction, str(status.epoch))
    return grid


def _cutover(status: Status) -> Iterator[Text]:
    switch = status.cutover
    if switch.mode is not Mode.IDLE:
        times = (("fenced", switch.fenced_at), ("committed", switch.committed_at))
        at = "".join(f", {word} {when:%H:%M:%S}" for word, when in times if when is not None)
        line = f"switch: attempt {switch.attempt}, {switch.mode}, {switch.step or 'begins'}{at}"
        yield Text(line, style="bold")
    elif switch.last_attempt is not None:
        last = switch.last_attempt
        why = f" ({last.reason}: {last.message})" if last.reason else ""
        yield Text(f"last switch: attempt {last.number} {last.verdict}{why}")
    for blocker in switch.blockers:
        yield Text(f"next switch waits for {blocker}", style="yellow")


def _snapshot(snapshot: SnapshotReport) -> Table:
    rate = f"{snapshot.rows_per_second:,.0f} rows/s, {_bytes(snapshot.bytes_per_second)}/s"
    eta = f", {_seconds(snapshot.eta_seconds)} left" if snapshot.eta_seconds is not None else ""
    title = "snapshot: complete" if snapshot.complete else f"snapshot: {rate}{eta}"
    grid = _grid(title, "TABLE", ">ROWS", ">ESTIMATED", ">BYTES", ">CHUNKS", "DONE")
    for each in snapshot.tables:
        grid.add_row(
            each.name,
            f"{each.rows:,}",
            f"{each.rows_estimated:,}",
            _bytes(each.bytes),
            f"{each.chunks_done}/{each.chunks}",
            "yes" if each.done else "",
        )
    return grid


def _streams(streams: Sequence[StreamStatus], now: datetime) -> Table:
    grid = _grid(
        "streams",
        *("STREAM", ">EPOCH", "END", ">TOTAL", ">RUN", ">/S 3M", ">/S 10M", ">TIME"),
        *(">REMAINING", ">ETA", ">LAG", ">P50", ">P99", "MEASURED"),
    )
    for each in streams:
        name = f"{each.direction} {each.origin}-{each.number}" + ("" if each.active else " (ended)")
        lag = (_seconds(each.lag.current), _seconds(each.lag.p50), _seconds(each.lag.p99))
        grid.add_row(
            *(name, str(each.epoch), "exported", *_flow(each.exported)),
            *("", "", "", "", "", _ago(each.exported_at, now)),
        )
        remaining = "" if each.remaining is None else f"{each.remaining:,}"
        grid.add_row(
            *("", "", "imported", *_flow(each.imported)),
            *(remaining, _seconds(each.eta_seconds), *lag, _ago(each.imported_at, now)),
        )
    return grid


def _flow(flow: Flow | None) -> tuple[str, ...]:
    if flow is None:
        return ("", "", "", "", "")
    rates = (f"{flow.per_second_3m:,.1f}", f"{flow.per_second_10m:,.1f}")
    return (f"{flow.total:,}", f"{flow.run:,}", *rates, _seconds(flow.seconds))


def _changed_values(streams: Sequence[StreamStatus]) -> Iterator[str]:
    for stream in streams:
        if stream.changed_total:
            into = stream.origin.other.side
            yield f"changed by spec.values on the way to the {into}: at least {stream.changed_total:,} values"
        for each in stream.changed_values[:CHANGES_SHOWN]:
            yield f"  {each.table}.{each.column}: {each.kind}, at least {each.values:,}"


def _conditions(conditions: Sequence[Condition], now: datetime) -> Table:
    grid = _grid("conditions", "TYPE", "STATUS", "REASON", "SINCE", "MESSAGE")
    for each in conditions:
        style = _STYLES[each.status]
        if each.type in _ALARMING and each.status is Truth.TRUE:
            style = "bold red"
        since = _ago(each.last_transition_time, now)
        status = Text(str(each.status), style=style)
        grid.add_row(str(each.type), status, each.reason, since, each.message)
    return grid


def _jobs(status: Status, now: datetime) -> Table:
    grid = _grid("jobs", "NAME", "STATE", ">EXIT", "STARTED", "MESSAGE")
    for each in status.jobs:
        code = "" if each.exit_code is None else str(each.exit_code)
        style = "red" if each.state is JobState.FAILED else ""
        state = Text(str(each.state), style=style)
        grid.add_row(each.name, state, code, _ago(each.started_at, now), each.message)
    return grid


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f}s" if value < 60 else format_duration(timedelta(seconds=round(value)))


def _ago(at: datetime | None, now: datetime) -> str:
    if at is None:
        return ""
    seconds = max(0.0, (now - at).total_seconds())
    return f"{format_duration(timedelta(seconds=round(seconds)))} ago"
