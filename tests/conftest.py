"""Fixtures that all tests share: servers that live for the session, databases that live for a test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.servers import Server
from hypothesis import settings

from oracle import server
from oracle.server import MET
from servers import MIGRATOR, MONEY_LOCALES, Database, MakePair, Pair, prepare_roles
from yugabyte_standin.chance import LEAST_SHARE
from yugabyte_standin.process import Standin

#: Of the stand-ins for YugabyteDB: transactions that failed by 40001, of how many.
COUNTS: list[tuple[int, int]] = []

# How long an example takes is the machine's affair.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def pg() -> Iterator[Server]:
    """A server with logical replication on; `bowline` is a superuser there, `app` an ordinary role."""
    with Server(locales=MONEY_LOCALES) as server:
        prepare_roles(server)
        yield server


@pytest.fixture(scope="session")
def other_pg() -> Iterator[Server]:
    """A second one, for tests that stop a side or need two servers."""
    with Server() as server:
        prepare_roles(server)
        yield server


@pytest.fixture(scope="session")
def standin(pg: Server) -> Iterator[Standin]:
    """The server that stands in for YugabyteDB, in front of `pg`."""
    with Standin(pg, seed=6) as found:
        yield found
        COUNTS.append(found.counts())


@pytest.fixture
def database(pg: Server) -> Iterator[Database]:
    """An empty database for one test."""
    with pg.database() as name:
        yield Database(pg, name)


@pytest.fixture
def databases(pg: Server) -> Iterator[tuple[Database, Database]]:
    """Two empty databases of one server: a source and a target."""
    with pg.database("source") as source, pg.database("target") as target:
        yield Database(pg, source), Database(pg, target)


@pytest.fixture
def make_pair(tmp_path: Path) -> MakePair:
    """Make the configuration of a migration; its users are the superuser `bowline` unless told otherwise."""

    def make(
        source: Database,
        target: Database,
        users: tuple[tuple[str, str], tuple[str, str]] | None = None,
    ) -> Pair:
        migration = f"test.{secrets.token_hex(4)}"
        directory = tmp_path / migration
        directory.mkdir()
        users = users or (
            (MIGRATOR, source.server.password),
            (MIGRATOR, target.server.password),
        )
        return Pair(source, target, migration, directory, users)

    return make


@pytest.fixture
def pair(databases: tuple[Database, Database], make_pair: MakePair) -> Pair:
    """A migration between two empty databases of one server."""
    return make_pair(*databases)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which the stand-in for YugabyteDB made fewer transactions fail than it must."""
    if any(failed < LEAST_SHARE * transactions for failed, transactions in COUNTS):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How much failed by 40001, and how many tests met the Oracle that the environment names: none, and nothing was."""
    for failed, transactions in COUNTS:
        share = failed / max(1, transactions)
        terminalreporter.write_line(
            f"YugabyteDB's stand-in: {failed} of {transactions} transactions failed by 40001 ({share:.1%})"
        )
    if variable := server.named():
        terminalreporter.write_line(f"{len(MET)} tests met the server of {variable}")
