"""The chart and the operator speak of the same things: its options, its workers' labels and ports, its metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from prometheus_client.core import Metric

from bowline_operator.jobs import JobSpec
from bowline_operator.kube import metrics, objects
from bowline_operator.kube.main import main
from bowline_operator.kube.options import Options
from bowline_operator.manifest import read_manifest
from bowline_operator.status import Condition, ConditionType, Primary, Status, StreamStatus
from bowline_worker.contract import Lag, Role
from chart.rendering import CHART, ROOT, Object, environment, rendered
from chart.test_monitoring import METRICS

#: What the chart leaves to its default: in a pod the operator listens on all addresses.
LEFT_OUT = {"BOWLINE_ADDRESS"}


def told(values: Object, monkeypatch: pytest.MonkeyPatch) -> Object:
    """What the operator understands of the environment that the chart gives it."""
    for name in [each.envvar for each in main.params if isinstance(each.envvar, str)]:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment(rendered(values)).items():
        monkeypatch.setenv(name, value)
    return dict(main.make_context("bowline-operator", []).params)


def test_the_operator_understands_what_the_chart_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "watch": {"namespaces": ["shop", "bank"]},
        "image": {"pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "a"}, {"name": "b"}],
        "worker": {"image": "r/w:7", "serviceAccountName": "mover"},
        "log": {"format": "plain", "level": "DEBUG"},
    }

    assert told(values, monkeypatch) == {
        "namespaces": ("shop", "bank"),
        "worker_image": "r/w:7",
        "image_pull_policy": "Always",
        "image_pull_secrets": ("a", "b"),
        "worker_service_account": "mover",
        "health_port": 8080,
        "metrics_port": 9090,
        "address": "0.0.0.0",
        "log_format": "plain",
        "log_level": "DEBUG",
    }


def test_a_whole_cluster_is_no_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told({"watch": {"clusterWide": True}}, monkeypatch)["namespaces"] == ()
    assert told({}, monkeypatch)["namespaces"] == ("ops",)


def test_the_chart_sets_every_option_and_invents_none() -> None:
    whole = rendered({"imagePullSecrets": [{"name": "a"}]})
    known = {each.envvar for each in main.params if each.envvar}

    assert {name for name in environment(whole) if name.startswith("BOWLINE_")} == known - LEFT_OUT


@pytest.mark.parametrize(
    ("path", "option"),
    [
        ("image.pullPolicy", "image_pull_policy"),
        ("log.format", "log_format"),
        ("log.level", "log_level"),
    ],
)
def test_choices_are_the_operators_own(path: str, option: str) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    block, name = path.split(".")
    node = schema["properties"][block]["properties"][name]
    if "$ref" in node:
        node = schema["definitions"][node["$ref"].rpartition("/")[2]]
    (param,) = (each for each in main.params if each.name == option)

    assert node["enum"] == list(getattr(param.type, "choices", ()))


def worker() -> Object:
    """The pod of a capture, as the operator makes it."""
    resource = read_manifest([ROOT / "examples" / "postgres.yaml"]).resource
    spec = JobSpec(name="shop-capture", family="capture-source-0", role=Role.CAPTURE, try_=1)
    made = objects.job(spec, resource, "uid", Options(worker_image="b:1"), "config")
    template: Object = made["spec"]["template"]
    return template


def test_policies_and_monitors_find_the_workers() -> None:
    """A selector that finds nothing protects nothing, and says nothing."""
    made = rendered(
        {
            "networkPolicy": {"enabled": True, "metricsFrom": [{"podSelector": {}}]},
            "metrics": {"workerPodMonitor": {"enabled": True}},
        }
    )
    labels = worker()["metadata"]["labels"]
    (port,) = worker()["spec"]["containers"][0]["ports"]
    policy = made.one("NetworkPolicy", "bow-bowline-workers")["spec"]
    reports = made.one("NetworkPolicy", "bow-bowline")["spec"]["egress"][-1]
    monitor = made.one("PodMonitor")["spec"]

    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert reports["to"][0]["podSelector"]["matchLabels"].items() <= labels.items()
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert set(monitor["podTargetLabels"]) <= set(labels)
    assert policy["ingress"][0]["ports"] == reports["ports"]
    assert reports["ports"] == [{"protocol": "TCP", "port": port["containerPort"]}]
    assert monitor["podMetricsEndpoints"][0]["port"] == port["name"]


def test_a_worker_is_not_taken_for_the_operator() -> None:
    selector = rendered().one("Service")["spec"]["selector"]

    assert not selector.items() <= worker()["metadata"]["labels"].items()


def exported() -> Iterator[Metric]:
    yield from metrics.REGISTRY.collect()


def test_the_metrics_of_the_alerts_are_the_operators() -> None:
    suffix = {"counter": "_total", "histogram": "_count", "gauge": ""}
    names = {each.name + suffix[each.type] for each in exported()}

    assert names == set(METRICS)


def test_the_labels_of_the_alerts_are_the_operators() -> None:
    stream = StreamStatus(
        origin=Primary.SOURCE,
        number=0,
        active=True,
        lag=Lag(current=1),
        remaining=1,
        retained_bytes=1,
        imported_at=datetime.now(UTC),
        exported_at=datetime.now(UTC),
    )
    collector = metrics.Migrations()
    collector.statuses["shop", "shop"] = Status(
        conditions=[Condition(type=ConditionType.READY)], streams=[stream]
    )

    for family in collector.collect():
        (sample,) = family.samples
        assert set(sample.labels) == METRICS[sample.name]
