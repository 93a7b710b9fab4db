"""The rigs of the conformance suite: one per engine; `ENDPOINT=memory|postgresql|yugabytedb|oracle` picks one.

What of types, shapes and changes is carried is walked by engines that have both sides; its table is printed at the end.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from demo.servers import Server

from bowline_worker.contract import Side
from bowline_worker.model import Change, Row, Table
from endpoints import page
from endpoints.carried import Case, How
from endpoints.cases.every import CASES
from endpoints.memory import MemoryEndpoint
from endpoints.memory_database import MemoryDatabase, Refused
from endpoints.rig import EVENT, ITEM, SEQUENCE, Rig, WriteRefused
from endpoints.walk import Sides, Walked, walk
from servers import APPLICATION, MIGRATOR, Database, Pair

ENGINES = ("memory", "postgresql", "yugabytedb", "oracle")
#: Engines on both sides of a walk of all cases.
WALKING = ("postgresql",)


class MemoryRig:
    streams_keyless = True

    def __init__(self) -> None:
        databases = [
            MemoryDatabase({ITEM.name: ITEM, EVENT.name: EVENT}, sequences={SEQUENCE: 0})
            for _ in Side
        ]
        self.source = MemoryEndpoint(databases[0], Side.SOURCE)
        self.target = self.sink = MemoryEndpoint(databases[1], Side.TARGET)

    def to_stream(self) -> None:
        """It has nothing to leave out."""

    def _db(self, side: Side) -> MemoryDatabase:
        return self.source.db if side is Side.SOURCE else self.target.db

    def write(self, side: Side, changes: Sequence[Change]) -> None:
        try:
            self._db(side).write(changes)
        except Refused:
            raise WriteRefused from None

    def rows(self, side: Side, table: Table) -> list[Row]:
        return sorted(self._db(side).rows[table.name].elements(), key=repr)

    def sunk(self, table: Table) -> list[Row]:
        return self.rows(Side.TARGET, table)

    def next_value(self, side: Side) -> int:
        self._db(side).sequences[SEQUENCE] += 1
        return self._db(side).sequences[SEQUENCE]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test for each engine, or for the one that is asked for."""
    asked = os.environ.get("ENDPOINT", "")
    known = (*ENGINES, *(each for each in WALKING if each not in ENGINES))
    if asked and asked not in known:
        raise pytest.UsageError(f"ENDPOINT={asked}: use one of {', '.join(known)}")
    if {"rig", "engine"} <= set(metafunc.fixturenames):
        metafunc.parametrize("engine", [asked] if asked else ENGINES)
    if "sides" in metafunc.fixturenames:
        metafunc.parametrize("walking", WALKING, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the walks of engines that are not asked for."""
    asked = os.environ.get("ENDPOINT", "")
    left = [item for item in items if asked and _parameters(item).get("walking", asked) != asked]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def _parameters(item: pytest.Item) -> dict[str, Any]:
    return (
        item.callspec.params
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else {}
    )


@pytest.fixture
def rig(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """Two empty sides of the engine that is under test."""
    match engine:
        case "memory":
            yield MemoryRig()
        case "postgresql":
            from endpoints.postgresql import PostgresRig

            yield PostgresRig(request.getfixturevalue("pair"))
        case "yugabytedb":
            from endpoints.yugabytedb import YugabyteRig

            yield YugabyteRig(
                request.getfixturevalue("standin"),
                request.getfixturevalue("databases"),
                request.getfixturevalue("make_pair"),
            )
        case _:
            from endpoints.oracle import oracle_rig

            with oracle_rig(tmp_path, request) as found:
                yield found


@pytest.fixture(scope="session")
def sides(walking: str, pg: Server, tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """`with sides() as pair`: two empty databases of the engine, whose owner is the application."""
    assert walking == "postgresql"

    @contextmanager
    def make() -> Iterator[Pair]:
        with pg.database("source") as source, pg.database("target") as target:
            for name in (source, target):
                Database(pg, name).run(f"alter database {name} owner to {APPLICATION}")
            directory = tmp_path_factory.mktemp("walk")
            users = ((MIGRATOR, pg.password), (MIGRATOR, pg.password))
            migration = f"test.{secrets.token_hex(4)}"
            yield Pair(Database(pg, source), Database(pg, target), migration, directory, users)

    return make


@pytest.fixture(scope="session")
def walked(sides: Sides, request: pytest.FixtureRequest) -> Walked:
    """All cases of this run have walked the whole road."""
    cases: dict[str, Case] = {}
    for item in request.session.items:
        case = _parameters(item).get("case")
        if isinstance(case, Case) and case.how is not How.REFUSED:
            cases[case.name] = case
    return walk(sides, list(cases.values()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what is carried, as this run has shown it; CARRIED=postgresql writes it into the docs' page too."""
    outcomes: dict[str, str] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in report.user_properties:
                if name == "case":
                    outcomes[value] = outcome
    if not outcomes:
        return
    results = [(case, outcomes[case.name]) for case in CASES if case.name in outcomes]
    terminalreporter.section("what is carried")
    for line in page.printed(results):
        terminalreporter.write_line(line)
    if engine := os.environ.get("CARRIED", ""):
        passed = [case for case, outcome in results if outcome == "passed"]
        page.write(page.PAGES[engine], page.lines(passed))
