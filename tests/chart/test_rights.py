"""What the chart lets the operator do, whole and exact; and who may talk to whom."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from chart.rendering import Object, Rendered, rendered, values_of

GET = {"get"}
WATCH = {"get", "list", "watch"}
#: All that the operator may do in a namespace that it serves.
RIGHTS: Mapping[tuple[str, str], set[str]] = {
    ("bowline.dev", "databasemigrations"): WATCH | {"patch"},
    ("bowline.dev", "databasemigrations/status"): {"get", "update", "patch"},
    ("bowline.dev", "databasemigrations/finalizers"): {"update"},
    ("batch", "jobs"): WATCH | {"create", "patch", "delete"},
    ("", "pods"): {"get", "list"},
    ("", "configmaps"): {"get", "create", "delete"},
    ("", "persistentvolumeclaims"): {"get", "create", "patch", "delete"},
    ("", "events"): {"create"},
}
#: What watching a whole cluster needs besides.
MORE: Mapping[tuple[str, str], set[str]] = {
    ("apiextensions.k8s.io", "customresourcedefinitions"): WATCH,
    ("", "namespaces"): WATCH,
}
OPERATOR = {
    "app.kubernetes.io/name": "bowline",
    "app.kubernetes.io/instance": "bow",
    "app.kubernetes.io/component": "operator",
}
WORKERS = {"app.kubernetes.io/name": "bowline-worker", "app.kubernetes.io/managed-by": "bowline"}


def rights(rules: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for rule in rules:
        assert set(rule) == {"apiGroups", "resources", "verbs"}
        for place in itertools.product(rule["apiGroups"], rule["resources"]):
            found.setdefault(place, set()).update(rule["verbs"])
    return found


def bound(of: Rendered, kind: str, name: str, namespace: str | None) -> list[Object]:
    """The subjects that a role is given to."""
    return [
        subject
        for each in of.all(f"{kind}Binding")
        if each["roleRef"]["kind"] == kind
        and (each["roleRef"]["name"], each["metadata"].get("namespace")) == (name, namespace)
        for subject in each["subjects"]
    ]


@pytest.mark.parametrize("served", [["ops"], ["shop"], ["shop", "bank"]])
def test_a_role_in_each_namespace_that_is_served(served: list[str]) -> None:
    made = rendered() if served == ["ops"] else rendered(values_of("watch.namespaces", served))
    roles = made.all("Role")

    assert [each["metadata"]["namespace"] for each in roles] == served
    for role in roles:
        meta = role["metadata"]
        assert rights(role["rules"]) == RIGHTS
        assert bound(made, "Role", meta["name"], meta["namespace"]) == [
            {"kind": "ServiceAccount", "name": "bow-bowline", "namespace": "ops"}
        ]
    assert made.all("ClusterRoleBinding") == []


def test_a_cluster_role_only_where_it_was_asked_for() -> None:
    made = rendered(values_of("watch.clusterWide", True))
    role = made.one("ClusterRole", "ops-bow-bowline")

    assert rights(role["rules"]) == {**RIGHTS, **MORE}
    assert bound(made, "ClusterRole", "ops-bow-bowline", None) == [
        {"kind": "ServiceAccount", "name": "bow-bowline", "namespace": "ops"}
    ]
    assert made.all("Role") == []


@pytest.mark.parametrize("cluster_wide", [True, False])
def test_nobody_is_given_secrets_or_everything(cluster_wide: bool) -> None:
    made = rendered(values_of("watch.clusterWide", cluster_wide))
    for role in [*made.all("Role"), *made.all("ClusterRole")]:
        for (group, resource), verbs in rights(role["rules"]).items():
            assert "secrets" not in resource
            assert "*" not in {group, resource, *verbs}
            assert not verbs & {"bind", "escalate", "impersonate"}


def test_the_operators_pod_has_the_account_that_the_roles_are_bound_to() -> None:
    for values in (
        {},
        values_of("serviceAccount.name", "mover"),
        {"serviceAccount": {"create": False, "name": "given"}},
        {"serviceAccount": {"create": False}},
    ):
        made = rendered(values)
        pod = made.one("Deployment")["spec"]["template"]["spec"]
        subject = bound(made, "Role", "bow-bowline", "ops")[0]

        assert pod["serviceAccountName"] == subject["name"]
        assert [each["metadata"]["name"] for each in made.all("ServiceAccount")] == (
            [] if "create" in values.get("serviceAccount", {}) else [subject["name"]]
        )


def test_only_the_operators_pod_gets_a_token() -> None:
    made = rendered()

    assert made.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert made.one("Pod")["spec"]["automountServiceAccountToken"] is False
    assert (
        made.one("Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is True
    )


def test_people_who_may_edit_a_namespace_may_edit_its_migrations() -> None:
    made = rendered()
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"

    def given(role: str) -> tuple[set[str], dict[tuple[str, str], set[str]]]:
        found = made.one("ClusterRole", f"ops-bow-bowline-{role}")
        labels = found["metadata"]["labels"]
        to = {
            name.removeprefix(aggregate)
            for name, value in labels.items()
            if name.startswith(aggregate) and value == "true"
        }
        return to, rights(found["rules"])

    assert given("view") == (
        {"view", "edit", "admin"},
        {
            ("bowline.dev", "databasemigrations"): WATCH,
            ("bowline.dev", "databasemigrations/status"): GET,
        },
    )
    assert given("edit") == (
        {"edit", "admin"},
        {
            ("bowline.dev", "databasemigrations"): {
                "create", "update", "patch", "delete", "deletecollection",
            }
        },
    )  # fmt: skip
    assert rendered(values_of("rbac.aggregate", False)).all("ClusterRole") == []


# --- who may talk to whom ------------------------------------------------------------------------

SCRAPER = {"podSelector": {"matchLabels": {"app": "prometheus"}}}


def policies(values: Object) -> Rendered:
    return rendered(
        {**values, "networkPolicy": {"enabled": True, **values.get("networkPolicy", {})}}
    )


def test_there_are_no_policies_unless_asked_for() -> None:
    assert rendered().all("NetworkPolicy") == []


def test_the_operator_may_reach_names_the_api_server_and_reports() -> None:
    values = {"networkPolicy": {"apiServer": {"cidrs": ["10.0.0.1/32"], "ports": [6443]}}}
    names, api, reports = policies(values).one("NetworkPolicy", "bow-bowline")["spec"]["egress"]

    assert names == {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
    assert api == {
        "ports": [{"protocol": "TCP", "port": 6443}],
        "to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
    }
    assert reports["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert reports["to"][0]["podSelector"]["matchLabels"] == WORKERS


@pytest.mark.parametrize(
    ("watch", "expected"),
    [
        ({}, ["ops"]),
        ({"namespaces": ["shop", "bank"]}, ["shop", "bank"]),
        ({"clusterWide": True}, None),
    ],
)
def test_reports_are_asked_for_where_workers_run(watch: Object, expected: list[str] | None) -> None:
    spec = policies({"watch": watch}).one("NetworkPolicy", "bow-bowline")["spec"]
    where = spec["egress"][2]["to"][0]["namespaceSelector"]

    if expected is None:
        assert where == {}
    else:
        assert where == {
            "matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": expected}
            ]
        }


def test_the_operators_metrics_are_for_those_who_are_named() -> None:
    to_all = policies({}).one("NetworkPolicy", "bow-bowline")["spec"]["ingress"]
    to_one = policies({"networkPolicy": {"metricsFrom": [SCRAPER]}}).one(
        "NetworkPolicy", "bow-bowline"
    )
    test_pod = rendered().one("Pod")["metadata"]["labels"]

    assert to_all[0] == {"ports": [{"protocol": "TCP", "port": 9090}]}
    assert to_one["spec"]["ingress"][0]["from"] == [SCRAPER]
    assert to_all[1]["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert to_all[1]["from"][0]["podSelector"]["matchLabels"].items() <= test_pod.items()


@pytest.mark.parametrize("scrapers", [[], [SCRAPER]])
def test_only_the_operator_and_a_scraper_may_ask_workers(scrapers: list[Object]) -> None:
    values = {"watch": {"namespaces": ["shop", "bank"]}, "networkPolicy": {"metricsFrom": scrapers}}
    found = [
        each for each in policies(values).all("NetworkPolicy")
        if each["metadata"]["name"] == "bow-bowline-workers"
    ]  # fmt: skip

    assert [each["metadata"]["namespace"] for each in found] == ["shop", "bank"]
    for each in found:
        spec = each["spec"]
        assert spec["podSelector"] == {"matchLabels": WORKERS}
        assert spec["policyTypes"] == ["Ingress"]
        assert spec["ingress"] == [
            {
                "ports": [{"protocol": "TCP", "port": 8080}],
                "from": [
                    {
                        "namespaceSelector": {
                            "matchLabels": {"kubernetes.io/metadata.name": "ops"}
                        },
                        "podSelector": {"matchLabels": OPERATOR},
                    },
                    *scrapers,
                ],
            }
        ]


def test_in_a_whole_cluster_the_namespaces_to_protect_are_named() -> None:
    everywhere = {"watch": {"clusterWide": True}}

    assert len(policies(everywhere).all("NetworkPolicy")) == 1
    named = {**everywhere, "networkPolicy": {"workerNamespaces": ["shop"]}}
    assert policies(named).all("NetworkPolicy")[1]["metadata"]["namespace"] == "shop"
