"""Some mistakes of each kind; `make mistakes` makes them all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from demo.servers import Server

from mistakes import walk as module
from mistakes.__main__ import servers_for
from mistakes.cases import CASES
from mistakes.setting import setting
from mistakes.walk import Wrong, walk

pytestmark = pytest.mark.slow

HERE = (
    "wrong password",
    "a privilege is missing",
    "a column of the target is narrower",
    "the target stops while it streams",
)


@pytest.mark.parametrize("name", HERE)
def test_a_mistake_is_named_and_once_it_is_mended_all_goes_on(
    name: str, pg: Server, other_pg: Server, tmp_path: Path
) -> None:
    (case,) = [each for each in CASES if each.name == name]

    with servers_for(case, {"source": pg, "target": other_pg}) as servers:
        told = walk(case, servers, tmp_path)

    assert told.reason == case.reason


def test_a_mistake_that_is_called_something_else_is_no_pass(
    pg: Server, other_pg: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOLD_SECONDS", 5)
    case = replace(CASES[2], reason="SomethingElse")

    with pytest.raises(Wrong, match="not called SomethingElse"):
        walk(case, {"source": pg, "target": other_pg}, tmp_path)


def test_a_case_leaves_no_role_on_the_servers(pg: Server, other_pg: Server, tmp_path: Path) -> None:
    """The next tests make roles of their own there."""

    def roles() -> list[set[str]]:
        found = []
        for server in (pg, other_pg):
            with server.connect() as connection:
                found.append({row[0] for row in connection.execute("select rolname from pg_roles")})
        return found

    before = roles()
    with setting({"source": pg, "target": other_pg}, tmp_path):
        assert roles() != before

    assert roles() == before
