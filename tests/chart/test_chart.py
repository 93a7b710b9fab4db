"""The chart: all that it renders is valid, restricted, and the same each time; what it can't honour it refuses."""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import helm_python as helm
import pytest
from ruamel.yaml import YAML

from chart.rendering import (
    CHART,
    ROOT,
    Object,
    chart,
    environment,
    fresh,
    merged,
    problem,
    refusal,
    rendered,
    texts,
    values_of,
)
from chart.values_table import README, described, table, undescribed, with_table

DIGEST = "sha256:" + "0123456789abcdef" * 4

#: Who is served, and how the values say it.
WATCHES: Mapping[str, Object] = {
    "own namespace": {},
    "two namespaces": {"watch": {"namespaces": ["shop", "bank"]}},
    "whole cluster": {"watch": {"clusterWide": True}},
}
SCRAPER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
POLICY = {"networkPolicy": {"enabled": True}}
MONITORS = {
    name: {"enabled": True, "labels": {"release": "prometheus"}}
    for name in ("serviceMonitor", "workerPodMonitor", "prometheusRule")
}
#: Each way to set what belongs together; the tests go through all that can be chosen from them.
CHOICES: Mapping[str, list[Object]] = {
    "image": [
        {},
        {"image": {"repository": "registry.example.internal:5000/db/bowline", "digest": DIGEST}},
        {"image": {"tag": "1.2.3"}, "imagePullSecrets": [{"name": "pull"}], "worker": {"image": "w:7"}},
    ],
    "rights": [{}, {"rbac": {"create": False, "aggregate": False}, "serviceAccount": {"create": False}}],
    "crds": [{}, {"crds": {"keep": False}}, {"crds": {"enabled": False}}],
    "network": [
        {},
        POLICY,
        merged(POLICY, {"networkPolicy": {"metricsFrom": [SCRAPER], "workerNamespaces": ["shop"]}}),
    ],
    "rest": [
        {},
        {
            "fullnameOverride": "moves",
            "commonLabels": {"team": "databases"},
            "serviceAccount": {"annotations": {"example.com/role": "mover"}},
            "runAs": {"user": None, "group": None},
            "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [
                {"key": "db", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            ],
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "high",
            "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["kubernetes.default.svc"]}],
            "extraEnv": [{"name": "TZ", "value": "UTC"}],
            "podAnnotations": {"example.com/note": "a: b"},
            "podLabels": {"app.kubernetes.io/name": "not-yours", "tier": "control"},
            "podDisruptionBudget": {"enabled": True, "maxUnavailable": 0},
            "log": {"format": "plain", "level": "DEBUG"},
        },
    ],
}  # fmt: skip


def chosen() -> Iterator[Object]:
    for parts in itertools.product(*CHOICES.values()):
        values = merged(*parts)
        yield values
        if not values.get("networkPolicy") or values["networkPolicy"].get("metricsFrom"):
            yield merged(values, {"metrics": MONITORS})


def monitoring_problem(of: Object) -> str:
    """The Prometheus operator's kinds have no schema here: what each can't be without."""
    known = {
        "ServiceMonitor": {"selector", "namespaceSelector", "endpoints"},
        "PodMonitor": {"selector", "namespaceSelector", "podMetricsEndpoints", "podTargetLabels"},
        "PrometheusRule": {"groups"},
    }
    return (
        "" if set(of["spec"]) == known[of["kind"]] else f"spec of {of['kind']}: {set(of['spec'])}"
    )


@pytest.mark.parametrize("watch", WATCHES)
def test_whatever_is_chosen_kubernetes_takes_it(watch: str) -> None:
    count = 0
    for values in chosen():
        made = rendered(merged(values, WATCHES[watch]))
        places = []
        for each in made.objects:
            meta = each["metadata"]
            is_monitoring = each["apiVersion"] == "monitoring.coreos.com/v1"
            wrong = monitoring_problem(each) if is_monitoring else problem(each)
            assert not wrong, (values, each["kind"], wrong)
            places.append((each["kind"], meta.get("namespace"), meta["name"]))
            is_clusters = each["kind"].startswith(("Cluster", "CustomResource"))
            assert is_clusters != ("namespace" in meta), places[-1]
            assert meta["labels"]["app.kubernetes.io/instance"] == "bow", places[-1]
        assert len(places) == len(set(places)), values
        count += 1

    assert count > 150


def test_rendering_twice_gives_the_same() -> None:
    """Else every sync of Argo CD or Flux would be an upgrade."""
    for values in chosen():
        assert fresh(values) == texts(values)


def test_helm_finds_nothing_to_mend() -> None:
    for values in ({}, merged(CHOICES["rest"][1], {"metrics": MONITORS})):
        found = helm.lint(CHART, values, strict=True, kube_version="v1.31.0")
        told = [each["error"] for each in found["messages"]]

        assert found["errors"] == []
        assert told == ["icon is recommended"]


def test_every_container_is_restricted() -> None:
    for values in chosen():
        for pod, container in rendered(values).containers():
            own, of_pod = container["securityContext"], pod["securityContext"]
            assert of_pod["runAsNonRoot"] is True
            assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
            assert own == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert pod["enableServiceLinks"] is False
            assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
            assert all("hostPath" not in volume for volume in pod.get("volumes", []))
            assert container["resources"]["limits"]["memory"]


def test_a_user_is_set_unless_the_platform_chooses() -> None:
    pod = rendered().one("Deployment")["spec"]["template"]["spec"]
    left_out = rendered(values_of("runAs", {"user": None, "group": None})).one("Deployment")

    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 10001
    assert not {"runAsUser", "runAsGroup"} & set(
        left_out["spec"]["template"]["spec"]["securityContext"]
    )


def test_there_is_one_operator_at_a_time() -> None:
    spec = rendered().one("Deployment")["spec"]

    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert "/replicas" not in json.dumps(chart().values)


def test_the_operator_can_write_to_tmp_and_nowhere_else() -> None:
    pod = rendered().one("Deployment")["spec"]["template"]["spec"]

    assert pod["containers"][0]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert pod["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probes_ask_the_operator_itself(probe: str) -> None:
    container = rendered().one("Deployment")["spec"]["template"]["spec"]["containers"][0]

    assert container[probe]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert {each["name"]: each["containerPort"] for each in container["ports"]} == {
        "health": 8080,
        "metrics": 9090,
    }


@pytest.mark.parametrize(
    ("values", "served"),
    [
        ({}, "ops"),
        ({"watch": {"namespaces": ["shop", "bank"]}}, "shop,bank"),
        ({"watch": {"clusterWide": True}}, None),
    ],
)
def test_the_operator_is_told_whom_to_serve(values: Object, served: str | None) -> None:
    assert environment(rendered(values)).get("BOWLINE_NAMESPACES") == served


@pytest.mark.parametrize(
    ("values", "operators", "workers"),
    [
        ({}, "bowline:0.1.0", "bowline:0.1.0"),
        ({"image": {"repository": "r/b", "tag": "7"}}, "r/b:7", "r/b:7"),
        ({"image": {"tag": "7", "digest": DIGEST}}, f"bowline@{DIGEST}", f"bowline@{DIGEST}"),
        ({"worker": {"image": f"r/w@{DIGEST}"}}, "bowline:0.1.0", f"r/w@{DIGEST}"),
    ],
)
def test_workers_run_the_operators_image_unless_told_otherwise(
    values: Object, operators: str, workers: str
) -> None:
    made = rendered(values)

    assert {container["image"] for _, container in made.containers()} == {operators}
    assert environment(made)["BOWLINE_WORKER_IMAGE"] == workers


def test_workers_pull_as_the_operator_does() -> None:
    made = rendered(
        {"imagePullSecrets": [{"name": "a"}, {"name": "b"}], "image": {"pullPolicy": "Always"}}
    )
    told = environment(made)

    assert (told["BOWLINE_IMAGE_PULL_SECRETS"], told["BOWLINE_IMAGE_PULL_POLICY"]) == (
        "a,b",
        "Always",
    )
    for pod, container in made.containers():
        assert pod["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
        assert container["imagePullPolicy"] == "Always"


def test_nothing_is_called_latest() -> None:
    for values in chosen():
        assert ":latest" not in "".join(texts(values).values())


def test_labels_of_the_user_do_not_take_the_pod_out_of_its_service() -> None:
    """A Deployment whose pods its selector does not find is refused; a Service without pods is silent."""
    ours = {
        "podLabels": {"app.kubernetes.io/name": "x"},
        "commonLabels": {"app.kubernetes.io/instance": "y"},
    }
    made = rendered(ours)
    worn = made.one("Deployment")["spec"]["template"]["metadata"]["labels"]

    assert made.one("Service")["spec"]["selector"].items() <= worn.items()
    assert made.one("Deployment")["spec"]["selector"]["matchLabels"].items() <= worn.items()


def test_the_pod_of_helm_test_is_not_taken_for_the_operator() -> None:
    made = rendered()
    pod = made.one("Pod")
    service = made.one("Service")
    address = pod["spec"]["containers"][0]["command"][-1]

    assert not service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert address == f"http://{service['metadata']['name']}.ops.svc:8080/healthz"
    assert {each["name"]: each["port"] for each in service["spec"]["ports"]}["health"] == 8080


# --- the CRD -------------------------------------------------------------------------------------


def test_the_charts_crd_is_the_generated_one() -> None:
    """Helm reads no file outside the chart, so there is a copy."""
    kept = (ROOT / "crds" / "databasemigrations.yaml").read_bytes()

    assert (CHART / "files" / "crds" / "databasemigrations.yaml").read_bytes() == kept, (
        "run `make crds`"
    )


@pytest.mark.parametrize("keep", [True, False])
def test_the_crd_is_installed_as_it_was_generated(keep: bool) -> None:
    generated = YAML(typ="safe").load(
        (ROOT / "crds" / "databasemigrations.yaml").read_text("utf-8")
    )

    found = rendered(values_of("crds.keep", keep)).one("CustomResourceDefinition")
    metadata = found.pop("metadata")

    assert metadata.pop("labels")["app.kubernetes.io/part-of"] == "bowline"
    assert metadata.pop("annotations", None) == (
        {"helm.sh/resource-policy": "keep"} if keep else None
    )
    assert {**found, "metadata": metadata} == generated


def test_the_crd_may_come_from_elsewhere() -> None:
    assert rendered(values_of("crds.enabled", False)).all("CustomResourceDefinition") == []


def test_the_generated_crd_has_nothing_that_helm_would_act_on() -> None:
    """It is not run as a template, and must not be if somebody moves it into templates/."""
    assert "{{" not in (ROOT / "crds" / "databasemigrations.yaml").read_text(encoding="utf-8")


# --- values --------------------------------------------------------------------------------------

REFUSED: Mapping[str, tuple[str, object]] = {
    "/image/tag": ("image.tag", "latest"),
    "/image/digest": ("image.digest", "0123"),
    "/image/repository": ("image.repository", ""),
    "/image/pullPolicy": ("image.pullPolicy", "Sometimes"),
    "additional properties 'tagg'": ("image.tagg", "1"),
    "additional properties 'replicas'": ("replicas", 2),
    "/watch/namespaces/0": ("watch.namespaces", ["A_B"]),
    "/watch/namespaces": ("watch", {"clusterWide": True, "namespaces": ["shop"]}),
    "items at 0 and 1 are equal": ("watch.namespaces", ["shop", "shop"]),
    "/watch/clusterWide": ("watch.clusterWide", "yes"),
    "/worker/image": ("worker.image", "bowline:latest"),
    "'bowline' does not match": ("worker.image", "bowline"),
    "/worker/serviceAccountName": ("worker.serviceAccountName", ""),
    "/log/level": ("log.level", "info"),
    "/log/format": ("log.format", "xml"),
    "/crds/keep": ("crds.keep", "false"),
    "/serviceAccount/name": ("serviceAccount.name", "A b"),
    "/resources/limits/memory": ("resources.limits.memory", "lots"),
    "additional properties 'claims'": ("resources.claims", []),
    "/runAs/user": ("runAs.user", 0),
    "/nodeSelector/a": ("nodeSelector.a", True),
    "/tolerations/0/operator": ("tolerations", [{"operator": "exists"}]),
    "/tolerations/0'": ("tolerations", [{"key": "db", "tolerationSeconds": 300}]),
    "additional properties 'podAffinities'": ("affinity.podAffinities", {}),
    "missing property 'hostnames'": ("hostAliases", [{"ip": "10.0.0.1"}]),
    "/extraEnv/0/name": ("extraEnv", [{"name": "A=B"}]),
    "/extraEnv/0/valueFrom": ("extraEnv", [{"name": "A", "valueFrom": {}}]),
    "/podDisruptionBudget/maxUnavailable": ("podDisruptionBudget.maxUnavailable", 2),
    "/networkPolicy/metricsFrom/0": ("networkPolicy.metricsFrom", [{}]),
    "additional properties 'podSelectr'": ("networkPolicy.metricsFrom", [{"podSelectr": {}}]),
    "/networkPolicy/apiServer/cidrs/0": ("networkPolicy.apiServer.cidrs", ["10.0.0.1"]),
    "/networkPolicy/apiServer/ports/0": ("networkPolicy.apiServer.ports", [0]),
    "/metrics/serviceMonitor/interval": ("metrics.serviceMonitor.interval", "30"),
    "/metrics/prometheusRule/lagSeconds": ("metrics.prometheusRule.lagSeconds", 0),
    "additional properties 'x'": ("metrics.prometheusRule.x", 1),
}


@pytest.mark.parametrize("named", REFUSED)
def test_a_wrong_value_is_refused_with_its_name(named: str) -> None:
    path, value = REFUSED[named]

    assert named in refusal(values_of(path, value))


def test_a_monitor_that_the_network_policy_would_starve_is_refused() -> None:
    """It would scrape nothing, and nobody would be told."""
    values = merged(POLICY, values_of("metrics.workerPodMonitor.enabled", True))

    assert "networkPolicy.metricsFrom" in refusal(values)
    assert not refusal(merged(values, values_of("networkPolicy.metricsFrom", [SCRAPER])))


def objects_of(schema: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The places of a JSON schema that describe an object."""
    if isinstance(schema, list):
        for index, each in enumerate(schema):
            yield from objects_of(each, f"{path}/{index}")
    elif isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for name, each in schema.items():
            yield from objects_of(each, f"{path}/{name}")


def test_no_object_among_the_values_takes_what_it_does_not_know() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    # Helm's own, and what only the API server can judge.
    free = {f"/properties/affinity/properties/{name}" for name in
            ("nodeAffinity", "podAffinity", "podAntiAffinity")} | {"/properties/global"}  # fmt: skip

    for path, node in objects_of(schema):
        assert path in free or "additionalProperties" in node, path
        assert node.get("additionalProperties") is not True, path
        assert "additionalProperties" not in node or path not in free, path


def known(schema: Mapping[str, Any], node: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The leaves of the schema's properties, by dotted path."""
    for name, child in node.get("properties", {}).items():
        each = schema["definitions"][child["$ref"].rpartition("/")[2]] if "$ref" in child else child
        here = f"{path}{name}"
        yield from known(schema, each, f"{here}.") if each.get("properties") else [here]


def test_schema_values_and_readme_name_the_same() -> None:
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values = YAML(typ="safe").load(text)
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    told = dict(described(text))
    # A default that has blocks within, or may have: told as a whole.
    blocks = {"affinity", "resources"}
    leaves = {
        next((block for block in blocks if path.startswith(f"{block}.")), path)
        for path in known(schema, schema)
    } - {"global"}

    assert list(undescribed(values, set(told))) == []
    assert leaves == set(told)
    assert README.read_text(encoding="utf-8") == with_table(README.read_text(encoding="utf-8")), (
        "run `python tests/chart/values_table.py`"
    )
    assert table(text).count("\n") == len(told) + 2


# --- the chart itself ----------------------------------------------------------------------------


def test_chart_and_project_have_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = chart().metadata

    assert (found["version"], found["appVersion"]) == (project["version"], project["version"])
    assert found["annotations"]["artifacthub.io/license"] == project["license"]
    assert found["kubeVersion"] == ">=1.31.0-0"


@pytest.mark.parametrize("watch", WATCHES)
def test_the_notes_say_what_to_do_next_and_how_to_leave(watch: str) -> None:
    notes = " ".join(texts(merged(WATCHES[watch]))["NOTES.txt"].split())

    assert "rollout status deployment/bow-bowline" in notes
    assert "delete the migrations BEFORE the release" in notes
    assert "replication slots" in notes
    assert "kubectl delete crd databasemigrations.bowline.dev" in notes
    assert {"own namespace": "of ops.", "two namespaces": "of shop, bank.",
            "whole cluster": "of all namespaces."}[watch] in notes  # fmt: skip


def test_the_notes_say_which_workers_nobody_protects() -> None:
    everywhere = merged(WATCHES["whole cluster"], POLICY)
    named = merged(everywhere, values_of("networkPolicy.workerNamespaces", ["shop"]))

    assert "workers are not protected" in texts(everywhere)["NOTES.txt"]
    assert "workers are not protected" not in texts(named)["NOTES.txt"]
