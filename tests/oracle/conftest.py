"""Tests on a real server, where BOWLINE_ORACLE_DSN names one: what can't run there is skipped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import pytest

from oracle import engine_server, wire_rig
from oracle.server import real
from oracle.standin.process import StandInProcess
from oracle.standin.whole import StandIn

#: Fixtures that are a server for one test.
ALONE = frozenset({"alone", "world"})


@pytest.fixture(autouse=True)
def _no_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody take the stand-in for the server that was asked for."""
    if real() is None:
        return

    def skip(*_: object, **__: object) -> NoReturn:
        pytest.skip("starts a stand-in of its own")

    for kind in (StandIn, StandInProcess):
        monkeypatch.setattr(kind, "__init__", skip)
    monkeypatch.setattr(wire_rig, "Server", skip)


@pytest.fixture(autouse=True, scope="module")
def _no_user_of_a_module_stays() -> Iterator[None]:
    before = len(engine_server.OPEN)
    yield
    engine_server.close_since(before)


@pytest.fixture(autouse=True)
def _no_user_of_a_test_stays(_no_user_of_a_module_stays: None) -> Iterator[None]:
    before = len(engine_server.OPEN)
    yield
    engine_server.close_since(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On a real server, who needs it alone comes before those of the module who share it until the module ends."""
    if real() is None:
        return
    modules = {path: at for at, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: (modules[item.path], not _is_alone(item)))


def _is_alone(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and bool(ALONE & set(item.fixturenames))
