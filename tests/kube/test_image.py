"""The image: how large it is, as whom it runs, what is in it and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kube import image

pytestmark = pytest.mark.node

MEGABYTE = 1000 * 1000
#: An image that takes longer to pull than a cutover may take is of no use on a new node.
SIZE_LIMIT = 300 * MEGABYTE


@pytest.fixture(scope="module")
def details() -> dict[str, Any]:
    """What podman says of the image, which may have been built at another time or elsewhere."""
    with image.archive().open("rb") as archive:
        image.podman("load", given=archive)
    found: dict[str, Any] = json.loads(image.podman("image", "inspect", image.IMAGE).stdout)[0]
    return found


def run(*command: str, user: str = "") -> str:
    """Run a program of the image as a pod would: nothing to write to, no network, no capabilities."""
    asked = [f"--user={user}"] if user else []
    return image.podman(
        "run", "--rm", "--read-only", "--read-only-tmpfs=false", "--network=none", "--cap-drop=ALL", *asked,
        image.IMAGE, *command,
    ).stdout  # fmt: skip


def test_it_is_small_enough(details: dict[str, Any]) -> None:
    assert details["Size"] <= SIZE_LIMIT, f"{details['Size'] / MEGABYTE:.0f} MB"


def test_it_starts_the_operator_as_a_user_of_its_own(details: dict[str, Any]) -> None:
    config = details["Config"]

    assert config["User"] == "10001:10001"
    assert config["Cmd"] == ["bowline-operator"]
    assert not config.get("Entrypoint")
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert run("id").split() == [
        "uid=10001(bowline)",
        "gid=10001(bowline)",
        "groups=10001(bowline)",
    ]


@pytest.mark.parametrize("program", ["bowline", "bowline-operator", "bowline-worker"])
def test_each_program_runs_on_a_read_only_root(details: dict[str, Any], program: str) -> None:
    assert f"Usage: {program}" in run(program, "--help")


def test_its_user_needs_no_entry_in_passwd(details: dict[str, Any]) -> None:
    """Some clusters give every namespace a range of users of its own."""
    assert "Usage: bowline-worker" in run("bowline-worker", "--help", user="1234567:0")


def test_it_dumps_schemas(details: dict[str, Any]) -> None:
    said = run("pg_dump", "--version")

    assert int(said.split()[2].partition(".")[0]) >= 17
    # Its own libraries are all there: it gets as far as the network.
    assert "connection to server" in image.podman(
        "run", "--rm", "--read-only", "--network=none", image.IMAGE, "pg_dump", "-h", "127.0.0.1", check=False
    ).stderr  # fmt: skip


def test_it_has_the_driver_for_oracle(details: dict[str, Any]) -> None:
    probe = (
        "import oracledb, bowline_worker.endpoints.oracle.endpoint; print(oracledb.is_thin_mode())"
    )

    assert run("python", "-c", probe).split() == ["True"]


def test_it_is_compiled_once_and_for_all(details: dict[str, Any]) -> None:
    """What is not, each start compiles again, since nothing can be written."""
    probe = (
        "import importlib.util as u, pathlib, sys;"
        "[print(pathlib.Path(u.cache_from_source(u.find_spec(name).origin)).read_bytes()[4]) for name in sys.argv[1:]]"
    )

    said = run(
        "python", "-c", probe, "bowline_operator.cli", "bowline_worker.main", "kopf", "psycopg"
    )

    assert said.split() == ["1"] * 4  # by content, and never looked at again


def test_nothing_in_it_builds_or_installs(details: dict[str, Any]) -> None:
    found = run(
        "sh", "-c", "command -v gcc cc make perl psql; ls /opt/bowline/bin; ls /var/lib/apt/lists"
    )

    assert {"gcc", "cc", "make", "psql", "pip", "pip3", "pytest", "ruff"}.isdisjoint(
        name.rpartition("/")[2] for name in found.split()
    )
