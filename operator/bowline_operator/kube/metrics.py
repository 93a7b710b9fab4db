"""What Prometheus sees of the operator. Figures of migrations are a view of their status, so a deleted one vanishes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from bowline_operator.status import Status, Truth

REGISTRY = CollectorRegistry(auto_describe=False)

PASSES = Counter(
    "bowline_operator_passes",
    "Passes over a migration, by how they ended",
    ["result"],
    registry=REGISTRY,
)
for _result in ("done", "api_error", "failed"):
    PASSES.labels(_result)  # from nought on: an alert compares them
PASS_SECONDS = Histogram(
    "bowline_operator_pass_seconds", "Time that a pass over a migration took", registry=REGISTRY
)
JOBS = Counter(
    "bowline_operator_jobs_started", "Jobs that were created", ["role"], registry=REGISTRY
)
PULLS = Counter(
    "bowline_operator_report_pulls", "Reports asked of workers", ["outcome"], registry=REGISTRY
)

#: Some passes long.
FRESH = timedelta(seconds=60)
_TRUTH = {Truth.TRUE: 1.0, Truth.FALSE: 0.0, Truth.UNKNOWN: -1.0}


class Migrations:
    """The newest status of each migration, as gauges."""

    def __init__(self) -> None:
        self.statuses: dict[tuple[str, str], Status] = {}

    def collect(self) -> Iterator[Metric]:
        now = datetime.now(UTC)
        name = ["namespace", "name"]
        phase = GaugeMetricFamily(
            "bowline_migration_phase", "1: this is its phase", labels=[*name, "phase"]
        )
        condition = GaugeMetricFamily(
            "bowline_migration_condition",
            "1 True, 0 False, -1 Unknown",
            labels=[*name, "condition"],
        )
        epoch = GaugeMetricFamily(
            "bowline_migration_epoch", "Switches of primary, from 1", labels=name
        )
        lag = GaugeMetricFamily(
            "bowline_migration_lag_seconds", "From a commit at the origin to its commit at the receiver",
            labels=[*name, "origin"],
        )  # fmt: skip
        remaining = GaugeMetricFamily(
            "bowline_migration_remaining_changes",
            "In the journal and not applied",
            labels=[*name, "origin"],
        )
        retained = GaugeMetricFamily(
            "bowline_migration_retained_bytes",
            "Log that the origin keeps for us",
            labels=[*name, "origin"],
        )
        for place, status in [*self.statuses.items()]:
            phase.add_metric([*place, str(status.phase)], 1.0)
            epoch.add_metric(place, float(status.epoch))
            for each in status.conditions:
                condition.add_metric([*place, str(each.type)], _TRUTH[each.status])
            for stream in status.streams:
                figures = (
                    (lag, stream.lag.current, stream.imported_at),
                    (remaining, stream.remaining, stream.imported_at),
                    (retained, stream.retained_bytes, stream.exported_at),
                )
                for family, value, at in figures:
                    # What nobody has measured lately is no figure of now.
                    is_fresh = at is not None and now - at <= FRESH
                    if stream.active and value is not None and is_fresh:
                        family.add_metric([*place, str(stream.origin)], float(value))
        yield from (phase, condition, epoch, lag, remaining, retained)


MIGRATIONS = Migrations()
REGISTRY.register(MIGRATIONS)
