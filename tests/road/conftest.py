"""Fixtures of the roads that many tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from demo.servers import Server

from road.switch_rig import Nursery, Roads, SwitchRoad


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Forks workers, so that a test does not wait for their imports."""
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def roads(
    nursery: Nursery, pg: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Roads]:
    """A road between two databases of one server."""
    roads = Roads(nursery, pg, pg, tmp_path_factory.mktemp("roads"))
    yield roads
    roads.close()


@pytest.fixture
def road(roads: Roads) -> Iterator[SwitchRoad]:
    """The module's road, streaming from whichever side is primary; a new one after a test that failed."""
    yield from roads.take()
