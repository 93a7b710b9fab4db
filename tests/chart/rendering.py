"""The chart as Helm renders it, offline: documents by template, and the errors of values that are refused."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import helm_python as helm
import kubernetes_validate
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "bowline"
#: Of the API server that the other tests run.
KUBERNETES = "1.36.0"

Object: TypeAlias = dict[str, Any]


@functools.cache
def chart() -> helm.Chart:
    return helm.Chart.load(CHART)


def fresh(values: Mapping[str, Any]) -> dict[str, str]:
    """What Helm makes of the templates, by their names without the chart's."""
    made = chart().render(dict(values), name="bow", namespace="ops")
    return {name.partition("/templates/")[2]: text for name, text in made.items()}


@functools.cache
def _kept(values: str) -> Mapping[str, str]:
    return fresh(json.loads(values))


def texts(values: Mapping[str, Any] | None = None) -> Mapping[str, str]:
    """The same, but rendered only once."""
    return _kept(json.dumps(values or {}))


def refusal(values: Mapping[str, Any]) -> str:
    """Why Helm does not take the values; empty: it does."""
    try:
        chart().render(dict(values), name="bow", namespace="ops")
    except helm.HelmError as error:
        return str(error)
    return ""


@functools.cache
def _parsed(text: str) -> str:
    # As JSON, so that what one test changes in its copy no other test sees.
    return json.dumps([each for each in YAML(typ="safe").load_all(text) if each])


@dataclass(frozen=True, slots=True)
class Rendered:
    objects: Sequence[Object]

    def all(self, kind: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str, name: str = "") -> Object:
        found = [each for each in self.all(kind) if name in ("", each["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} of kind {kind} {name}"
        return found[0]

    def containers(self) -> Iterator[tuple[Object, Object]]:
        """Every pod's spec with each of its containers."""
        for each in self.objects:
            if each["kind"] in ("Deployment", "Pod"):
                pod = (
                    each["spec"]["template"]["spec"]
                    if each["kind"] == "Deployment"
                    else each["spec"]
                )
                for container in pod["containers"]:
                    yield pod, container


def rendered(values: Mapping[str, Any] | None = None) -> Rendered:
    made = texts(values)
    return Rendered(
        [
            each
            for name, text in sorted(made.items())
            if name.endswith(".yaml")
            for each in json.loads(_parsed(text))
        ]
    )


def environment(of: Rendered) -> dict[str, str]:
    """The operator's environment, without what is filled in when the pod runs."""
    container = of.one("Deployment")["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


@functools.cache
def _problem(document: str) -> str:
    try:
        kubernetes_validate.validate(json.loads(document), KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return ""


def problem(of: Mapping[str, Any]) -> str:
    """What is wrong with an object of Kubernetes' own kinds, unknown fields included; empty: nothing."""
    return _problem(json.dumps(of, sort_keys=True))


def values_of(path: str, value: object) -> Object:
    """Values with one of them set, by its dotted path."""
    *above, last = path.split(".")
    whole: Object = {}
    node = whole
    for name in above:
        node = node.setdefault(name, {})
    node[last] = value
    return whole


def merged(*parts: Mapping[str, Any]) -> Object:
    """Lay values over each other, the later ones on top."""
    whole: Object = {}
    for part in parts:
        for key, value in part.items():
            inner = isinstance(value, Mapping) and isinstance(whole.get(key), Mapping)
            whole[key] = merged(whole[key], value) if inner else value
    return whole
