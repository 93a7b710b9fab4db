"""The table of values in the chart's README, made of values.yaml: `python tests/chart/values_table.py` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

CHART = Path(__file__).parents[2] / "charts" / "bowline"
README = CHART / "README.md"
BEGIN, END = "<!-- values: made of values.yaml -->\n", "<!-- end of values -->\n"


def described(text: str) -> Iterator[tuple[str, str]]:
    """The paths under a `# --` comment, each with what it says."""
    above: list[tuple[int, str]] = []
    told = ""
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("# -- "):
            told = bare.removeprefix("# -- ")
        elif bare and not bare.startswith("#"):
            indent = len(line) - len(line.lstrip())
            above = [(depth, name) for depth, name in above if depth < indent]
            above.append((indent, bare.partition(":")[0]))
            if told:
                yield ".".join(name for _, name in above), told
            told = ""


def undescribed(values: Mapping[str, Any], told: set[str], path: str = "") -> Iterator[str]:
    """Paths of values that nothing is said about."""
    for name, value in values.items():
        here = f"{path}{name}"
        if here in told:
            continue
        if isinstance(value, Mapping) and value:
            yield from undescribed(value, told, f"{here}.")
        else:
            yield here


def default(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for name in path.split("."):
        found = found[name]
    return found


def table(text: str) -> str:
    values = YAML(typ="safe").load(text)
    rows = [
        f"| `{path}` | `{json.dumps(default(values, path))}` | {told} |\n"
        for path, told in described(text)
    ]
    return "".join(["| value | default | what it is |\n", "|---|---|---|\n", *rows])


def with_table(readme: str) -> str:
    before, _, rest = readme.partition(BEGIN)
    after = rest.partition(END)[2]
    return before + BEGIN + table((CHART / "values.yaml").read_text(encoding="utf-8")) + END + after


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
