"""Some mistakes of each kind; `make mistakes` makes them all."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from demo.servers import Server

from mistakes import walk as module
from mistakes.__main__ import AT_ONCE, servers_for
from mistakes.cases import CASES, both, right_secret
from mistakes.setting import Setting, setting
from mistakes.walk import Case, Do, Told, Wrong, walk

pytestmark = pytest.mark.slow

TRACE = '{"message": "failed", "traceback": "Traceback (most recent call last): ..."}'

HERE = (
    "wrong password",
    "a privilege is missing",
    "a column of the target is narrower",
    "rows of the target may be deleted",
    "the source is a standby",
    "the target stops while it streams",
)


def case_of(name: str) -> Case:
    (case,) = [each for each in CASES if each.name == name]
    return case


def forgotten(here: Setting) -> None:
    """What a cleanup that forgets something would leave; it is made once the mistake was told."""
    right_secret(here)
    here.sql("target", "create schema bowline_left")


LEAVES = replace(case_of("wrong password"), name="leaves something", mend=forgotten)


@pytest.fixture(scope="module")
def outcomes(
    pg: Server, other_pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Told | Wrong]:
    """All at once: most of each is waiting for the next look."""

    def one(case: Case) -> Told | Wrong:
        try:
            with servers_for(case, {"source": pg, "target": other_pg}) as servers:
                return walk(case, servers, tmp_path_factory.mktemp("mistake"))
        except Wrong as wrong:
            return wrong

    cases = [*(case_of(name) for name in HERE), LEAVES]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip([case.name for case in cases], pool.map(one, cases), strict=True))


@pytest.mark.parametrize("name", HERE)
def test_a_mistake_is_named_and_once_it_is_mended_all_goes_on(
    name: str, outcomes: Mapping[str, Told | Wrong]
) -> None:
    told = outcomes[name]

    assert isinstance(told, Told), told
    assert told.reason == case_of(name).reason


def test_what_is_left_at_the_end_is_no_pass(outcomes: Mapping[str, Told | Wrong]) -> None:
    wrong = outcomes[LEAVES.name]

    assert isinstance(wrong, Wrong), wrong
    assert str(wrong) == "left behind at the end: target: schema bowline_left"


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (lambda here: here.sql("target", "create schema bowline_left"), "left behind while"),
        (lambda here: (here.directory / "worker-log").write_text(TRACE), "a stack trace"),
    ],
    ids=["a schema", "a stack trace"],
)
def test_what_is_left_while_it_is_refused_and_a_stack_trace_are_no_pass(
    plant: Do, message: str, pg: Server, other_pg: Server, tmp_path: Path
) -> None:
    case = case_of("wrong password")

    with pytest.raises(Wrong, match=message):
        walk(
            replace(case, make=both(case.make, plant)), {"source": pg, "target": other_pg}, tmp_path
        )


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
