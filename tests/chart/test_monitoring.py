"""Monitors find what there is to scrape, and alerts ask for metrics that the operator has."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from bowline_operator.status import ConditionType, Phase
from chart.rendering import Object, rendered, values_of

#: What the operator exports, with its labels beside those of the scrape.
METRICS = {
    "bowline_operator_passes_total": {"result"},
    "bowline_operator_pass_seconds_count": set(),
    "bowline_operator_jobs_started_total": {"role"},
    "bowline_operator_report_pulls_total": {"outcome"},
    "bowline_migration_phase": {"namespace", "name", "phase"},
    "bowline_migration_condition": {"namespace", "name", "condition"},
    "bowline_migration_lag_seconds": {"namespace", "name", "origin"},
    "bowline_migration_remaining_changes": {"namespace", "name", "origin"},
    "bowline_migration_retained_bytes": {"namespace", "name", "origin"},
    "bowline_migration_epoch": {"namespace", "name"},
}
#: Given to every series by whoever scrapes it.
OF_THE_SCRAPE = {"job", "namespace"}


def alerts(**rule: object) -> dict[str, Object]:
    values = {"metrics": {"prometheusRule": {"enabled": True, **rule}}}
    groups = rendered(values).one("PrometheusRule")["spec"]["groups"]
    return {each["alert"]: each for group in groups for each in group["rules"]}


def selectors(expression: str) -> Iterator[tuple[str, dict[str, str]]]:
    for name, matchers in re.findall(r"\b(bowline_\w+)(?:\{([^}]*)\})?", expression):
        pairs = re.findall(r'(\w+)\s*(?:=~|!=|=)\s*"([^"]*)"', matchers)
        yield name, dict(pairs)


def test_nothing_is_made_for_prometheus_unless_asked_for() -> None:
    kinds = {each["kind"] for each in rendered().objects}

    assert not kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule"}


def test_alerts_ask_for_what_the_operator_exports() -> None:
    found = [pair for each in alerts().values() for pair in selectors(each["expr"])]

    assert len(found) >= 8
    for name, matchers in found:
        assert name in METRICS
        assert set(matchers) <= METRICS[name] | OF_THE_SCRAPE, name
        for phase in matchers.get("phase", Phase.COMPLETED).split("|"):
            assert phase in set(Phase)
        assert matchers.get("condition", "Ready") in set(ConditionType)


def test_alerts_are_grouped_by_labels_that_the_metrics_have() -> None:
    for each in alerts().values():
        grouped = re.search(r"by \(([^)]*)\)", each["expr"])
        told = set(re.findall(r"\$labels\.(\w+)", " ".join(each["annotations"].values())))
        by = set(grouped[1].split(", ")) if grouped else set()
        for name, _ in selectors(each["expr"]):
            assert by <= METRICS[name] | OF_THE_SCRAPE
        assert told <= by, each["alert"]


@pytest.mark.parametrize(
    ("alert", "words", "lasting"),
    [
        ("BowlineMigrationStalled", '{condition="Stalled"}) == 1', "1m"),
        ("BowlineSourceAtRisk", '{condition="SourceAtRisk"}) == 1', "1m"),
        ("BowlineSourceUnwatched", '{condition="SourceAtRisk"}) == -1', "10m"),
        ("BowlineLagHigh", "(bowline_migration_lag_seconds) > 120", "10m"),
        ("BowlineReportMissing", '{condition="Ready"}) == -1', "5m"),
        ("BowlineSwitchTakesLong", '{phase=~"CuttingOver|SwitchingOver"}) == 1', "10m"),
        ("BowlineOperatorDown", 'absent(bowline_operator_pass_seconds_count{namespace="ops"', "5m"),
        ("BowlineOperatorFails", 'result!="done"}[10m]))', "5m"),
        ("BowlineOperatorIdle", "[10m]) == 0", "5m"),
    ],
)
def test_each_bad_night_has_its_alert(alert: str, words: str, lasting: str) -> None:
    found = alerts(lagSeconds=120)

    assert words in found[alert]["expr"]
    assert found[alert]["for"] == lasting
    assert found[alert]["labels"]["severity"] in ("warning", "critical")
    assert set(found[alert]["annotations"]) == {"summary", "description"}
    assert len(found) == 9


def test_expressions_are_balanced() -> None:
    for each in alerts().values():
        for opened, closed in ("()", "[]", "{}"):
            assert each["expr"].count(opened) == each["expr"].count(closed)


def test_the_operator_is_scraped_at_its_service_and_keeps_its_labels() -> None:
    """Without honorLabels `namespace` would be the operator's, and no alert would name its migration."""
    made = rendered(values_of("metrics.serviceMonitor.enabled", True))
    monitor, service = made.one("ServiceMonitor")["spec"], made.one("Service")

    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["namespaceSelector"] == {"matchNames": ["ops"]}
    assert monitor["endpoints"] == [
        {
            "port": "metrics",
            "path": "/metrics",
            "interval": "30s",
            "scrapeTimeout": "10s",
            "honorLabels": True,
        }
    ]
    assert "metrics" in {each["name"] for each in service["spec"]["ports"]}


@pytest.mark.parametrize(
    ("watch", "where"),
    [
        ({}, {"matchNames": ["ops"]}),
        ({"namespaces": ["shop", "bank"]}, {"matchNames": ["shop", "bank"]}),
        ({"clusterWide": True}, {"any": True}),
    ],
)
def test_workers_are_scraped_where_they_run(watch: Object, where: Object) -> None:
    made = rendered({"watch": watch, "metrics": {"workerPodMonitor": {"enabled": True}}})
    monitor = made.one("PodMonitor")["spec"]

    assert monitor["namespaceSelector"] == where
    assert monitor["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "bowline-worker",
        "app.kubernetes.io/managed-by": "bowline",
    }
    assert monitor["podMetricsEndpoints"][0]["port"] == "status"


def test_prometheus_finds_its_objects_by_labels_of_its_own() -> None:
    own = {"enabled": True, "labels": {"release": "prometheus"}}
    made = rendered(
        {"metrics": dict.fromkeys(("serviceMonitor", "workerPodMonitor", "prometheusRule"), own)}
    )

    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"):
        assert made.one(kind)["metadata"]["labels"]["release"] == "prometheus"
