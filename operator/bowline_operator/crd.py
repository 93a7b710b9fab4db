"""The CustomResourceDefinition, made from the classes of api.py: `bowline crd` prints it, `crds/` keeps it.

Kubernetes takes structural schemas only: no references, no unions, a type at every node, no null in a default. What
pydantic writes is rewritten to that, and a shape that can't be is refused here rather than by a cluster.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic.json_schema import PydanticJsonSchemaWarning
from ruamel.yaml import YAML

from bowline_operator.api import GROUP, KIND, VERSION, DatabaseMigration
from bowline_operator.validation import IMMUTABLE, Change
from bowline_operator.watch import NOT_YET_REPLICATING

PLURAL = "databasemigrations"
NAME = f"{PLURAL}.{GROUP}"

Node: TypeAlias = dict[str, Any]

#: Which is not part of a structural schema, or says nothing there.
_DROPPED = {"title", "$defs", "const", "discriminator"}
#: Rules look at no more than this of a text or a list whose bound nobody has thought of: their cost is estimated.
_TEXT, _ITEMS = 32_768, 10_000

COLUMNS = (
    ("Phase", "string", ".status.phase", 0),
    ("Primary", "string", ".status.primary", 0),
    ("Lag", "string", ".status.streams[?(@.active==true)].lag.current", 0),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Source", "string", ".spec.source.host", 1),
    ("Target", "string", ".spec.target.host", 1),
    ("Epoch", "integer", ".status.epoch", 1),
    ("Message", "string", ".status.message", 1),
)


def definition() -> Node:
    """The whole object, as `kubectl apply` takes it."""
    columns = [
        {"name": name, "type": kind, "jsonPath": path, "priority": priority}
        for name, kind, path, priority in COLUMNS
    ]
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": schema()},
    }
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": KIND.lower(),
        "shortNames": ["dbm"],
        "categories": ["bowline"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def schema() -> Node:
    """The structural schema of one DatabaseMigration."""
    with warnings.catch_warnings():
        # The defaults of durations are texts already, and go to the schema below as they are.
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)
        whole = DatabaseMigration.model_json_schema()
    fields = {
        name: _structural(whole["properties"][name], whole["$defs"]) for name in ("spec", "status")
    }
    spec, status = fields["spec"], _written_by_us(fields["status"])
    conditions = status["properties"]["conditions"]
    conditions |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {
        "description": "Moves a live database to another one, and back if it must be.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": {**spec, "description": "What is wanted."},
            "status": {**status, "description": "Where it stands; written by the operator alone."},
        },
        "x-kubernetes-validations": _rules(
            whole["$defs"]["Metadata"]["properties"]["name"]["pattern"]
        ),
    }


def _rules(name_pattern: str) -> list[Node]:
    early = ", ".join(f"'{phase}'" for phase in sorted(NOT_YET_REPLICATING))
    began = f"has(self.status) && has(self.status.phase) && !(self.status.phase in [{early}])"
    name = {
        "rule": f"self.metadata.name.matches('{name_pattern}')",
        "message": "metadata.name: at most 52 lower-case letters, digits and dashes: Jobs are named after it",
    }
    frozen = [
        {
            "rule": f"!({began}) || self.{field} == oldSelf.{field}",
            "message": f"{field} {IMMUTABLE}",
        }
        for field in map(str, Change)
    ]
    return [name, *frozen]


def _structural(
    node: Mapping[str, Any], defs: Mapping[str, Any], within: tuple[str, ...] = ()
) -> Node:
    node = dict(node)
    if "$ref" in node:
        name = node.pop("$ref").rpartition("/")[2]
        if name in within:
            raise ValueError(f"{name} refers to itself: no structural schema exists for it")
        return _structural({**defs[name], **node}, defs, (*within, name))
    if "anyOf" in node:
        options = [option for option in node.pop("anyOf") if option != {"type": "null"}]
        if len(options) != 1:
            raise ValueError(f"a union is not structural, use one object and a rule: {options}")
        if node.get("default", ...) is None:
            del node["default"]
        return _structural({**options[0], **node}, defs, within)
    if "const" in node:
        node["enum"] = [node["const"]]
    for key in ("additionalProperties", "items"):
        if isinstance(node.get(key), dict):
            node[key] = _structural(node[key], defs, within)
    if node.get("additionalProperties") is True:
        del node["additionalProperties"]
        node["x-kubernetes-preserve-unknown-fields"] = True
    if "properties" in node:
        node["properties"] = {
            name: _with_inner_defaults(
                _structural(child, defs, within),
                stays_as_it_is="anyOf" in child or name in node.get("required", ()),
            )
            for name, child in node["properties"].items()
        }
    return _bounded({key: value for key, value in node.items() if key not in _DROPPED})


def _with_inner_defaults(node: Node, *, stays_as_it_is: bool) -> Node:
    """Let a block that was left out appear with its defaults, as it does to the operator.

    Rules that compare a block with what it was before depend on it too: they can't compare what is not there.
    """
    if not stays_as_it_is and "properties" in node and "required" not in node:
        return {**node, "default": {}}
    return node


def _bounded(node: Node) -> Node:
    match node.get("type"):
        case "string" if "enum" not in node and "format" not in node:
            return {"maxLength": _TEXT} | node
        case "array":
            return {"maxItems": _ITEMS} | node
        case "integer":
            return {"format": "int64"} | node
    return node


def _written_by_us(node: Node) -> Node:
    """A status has no defaults and no required fields: it says what was written, and only that."""
    node = {key: value for key, value in node.items() if key not in ("default", "required")}
    if "properties" in node:
        node["properties"] = {
            name: _written_by_us(each) for name, each in node["properties"].items()
        }
    if isinstance(node.get("items"), dict):
        keys = node["items"].get("required")
        node["items"] = _written_by_us(node["items"]) | ({"required": keys} if keys else {})
    return node


def as_yaml() -> str:
    """The definition as a file: block style, keys in the order above."""
    yaml = YAML()
    yaml.width = 120
    yaml.representer.ignore_aliases = lambda _: True
    text = io.StringIO()
    yaml.dump(definition(), text)
    return text.getvalue()
