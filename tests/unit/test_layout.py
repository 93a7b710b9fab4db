"""Rules of the repository that a reader would not see broken."""

from __future__ import annotations

import operator
import subprocess
import tomllib
from pathlib import Path

import pytest

from bowline_worker.contract import Role
from bowline_worker.roles import role_function

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("root", ["operator", "worker"])
def test_source_roots_are_no_packages(root: str) -> None:
    """A package called operator would shadow the standard library's and break Python's own start-up."""
    assert not (ROOT / root / "__init__.py").exists()
    assert operator.itemgetter(0)("a") == "a"


@pytest.mark.parametrize("role", list(Role))
def test_every_role_can_be_run(role: Role) -> None:
    assert callable(role_function(role))


def test_no_registry_host_is_written_down() -> None:
    """The lock file must install from whatever registry a machine is set up for."""
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    hosts = [b"pypi." + b"org", b"files.python" + b"hosted"]

    assert [
        name
        for name in files
        if (ROOT / name).is_file() and any(h in (ROOT / name).read_bytes() for h in hosts)
    ] == []


def test_the_operator_is_kept_from_all_of_the_worker_but_the_contract() -> None:
    """A new module of the worker must be on the list that import-linter reads."""
    folder = ROOT / "worker" / "bowline_worker"
    modules = {
        path.stem
        for path in folder.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]
    (listed,) = [
        each["forbidden_modules"]
        for each in linter["contracts"]
        if "but the contract" in each["name"]
    ]

    assert {name.rpartition(".")[2] for name in listed} == modules - {
        "__init__",
        "__main__",
        "contract",
    }
