"""The CRD that is kept is the one that api.py makes, and has a form that an API server takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bowline_operator import crd
from bowline_operator.manifest import read_manifest

ROOT = Path(__file__).parents[2]
#: What else a node of a structural schema may say here.
KNOWN = {
    "type", "description", "properties", "items", "additionalProperties", "required", "default", "enum", "format",
    "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
}  # fmt: skip


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from nodes(node[key], f"{path}[]")


def nulls(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(nulls, value.values()))
    if isinstance(value, list):
        return any(map(nulls, value))
    return value is None


def test_the_crd_that_is_kept_is_up_to_date() -> None:
    kept = (ROOT / "crds" / "databasemigrations.yaml").read_text(encoding="utf-8")

    assert kept == crd.as_yaml(), "run `make crds`"


def test_every_node_is_structural() -> None:
    for path, node in nodes(crd.schema()):
        assert set(node) <= KNOWN, path
        assert node.get("type") or node.get("x-kubernetes-preserve-unknown-fields"), path
        assert not nulls(node), path
        assert not {"properties", "additionalProperties"} <= set(node), path


def test_whatever_a_rule_may_look_at_is_bounded() -> None:
    """An API server refuses a rule whose cost it can't estimate."""
    of_ours = crd.schema()["properties"]
    for path, node in [*nodes(of_ours["spec"], "spec"), *nodes(of_ours["status"], "status")]:
        if node.get("type") == "string" and "enum" not in node:
            assert node.get("maxLength") or node.get("format"), path
        if node.get("type") == "array":
            assert node.get("maxItems"), path


@pytest.mark.parametrize("block", ["spec", "status"])
def test_every_field_explains_itself(block: str) -> None:
    silent = [
        path
        for path, node in nodes(crd.schema()["properties"][block], block)
        if not node.get("description") and not path.endswith("[]")
    ]

    assert silent == []


def test_a_status_is_neither_completed_nor_refused_for_what_it_lacks() -> None:
    """What was not written must not be read as if it had been."""
    for path, node in nodes(crd.schema()["properties"]["status"], "status"):
        assert "default" not in node, path
        assert not node.get("required") or path.endswith("[]"), path


def test_defaults_of_blocks_that_were_left_out_are_filled_in() -> None:
    cutover = crd.schema()["properties"]["spec"]["properties"]["cutover"]

    assert cutover["default"] == {}
    assert cutover["properties"]["budget"]["default"] == "60s"
    assert "default" not in cutover["properties"]["window"]


@pytest.mark.parametrize(
    "example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda at: at.name
)
def test_examples_are_valid(example: Path) -> None:
    assert read_manifest([example]).resource.metadata.name
    assert list(YAML(typ="safe").load_all(example.read_text(encoding="utf-8")))
