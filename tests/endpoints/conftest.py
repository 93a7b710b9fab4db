"""The rigs of the conformance suite: one per engine; `ENDPOINT=memory|postgresql|yugabytedb|oracle` picks one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bowline_worker.contract import Side
from bowline_worker.model import Change, Row, Table
from endpoints.memory import MemoryEndpoint
from endpoints.memory_database import MemoryDatabase, Refused
from endpoints.rig import EVENT, ITEM, SEQUENCE, Rig, WriteRefused

ENGINES = ("memory", "postgresql", "yugabytedb", "oracle")


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
    if {"rig", "engine"} <= set(metafunc.fixturenames):
        asked = os.environ.get("ENDPOINT", "")
        if asked and asked not in ENGINES:
            raise pytest.UsageError(f"ENDPOINT={asked}: use one of {', '.join(ENGINES)}")
        metafunc.parametrize("engine", [asked] if asked else ENGINES)


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
