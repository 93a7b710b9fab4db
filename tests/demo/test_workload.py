"""The writers tell the truth about what they did, also when the server dies under them."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.operations import KINDS, Kind, Ranges, parameters
from demo.record import Outcome
from demo.servers import Server
from demo.workload import FENCED, execute

from demo import checker, record, shop

SCALE = 0.1


@pytest.fixture(scope="module")
def shop_server() -> Iterator[Server]:
    """A shop with one row in ten."""
    with Server() as server:
        shop.make_roles(server, server.password)
        server.create_database(shop.DATABASE, owner=shop.OWNER)
        shop.make_shop(server, shop.DATABASE, scale=SCALE)
        yield server


@pytest.fixture
def fresh(shop_server: Server) -> Server:
    """The same, and no transaction in its ledger."""
    with shop_server.connect(shop.DATABASE) as connection:
        connection.execute("truncate ledger")
    return shop_server


def start(server: Server, path: Path, source_options: str = "") -> subprocess.Popen[str]:
    writers = subprocess.Popen(
        [sys.executable, "-m", "demo.workload"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert writers.stdin is not None
    dsn = server.dsn(shop.DATABASE, shop.APPLICATION, server.password)
    json.dump(
        {
            "record": str(path),
            "dsns": {"source": f"{dsn} {source_options}", "target": dsn},
            "scale": SCALE,
            "writers": 2,
            "rate": 200,
        },
        writers.stdin,
    )
    writers.stdin.close()
    writers.stdin = None
    return writers


def until(writers: subprocess.Popen[str], outcome: str, number: int) -> None:
    """Wait until the writers report so many of these."""
    assert writers.stdout is not None
    for line in writers.stdout:
        if json.loads(line)["outcomes"].get(outcome, 0) >= number:
            return
    raise AssertionError(f"the writers ended before {number} were {outcome}")


def end(writers: subprocess.Popen[str]) -> None:
    writers.terminate()
    writers.communicate(timeout=30)
    assert writers.returncode == 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_of_transaction_leaves_its_number_unless_it_rolls_back(
    shop_server: Server, kind: Kind
) -> None:
    values = parameters(random.Random(1), Ranges.of(SCALE), 99, KINDS.index(kind), kind)
    user = shop.APPLICATION
    with shop_server.connect(shop.DATABASE, user) as connection:
        outcome = execute(connection, kind, values)
        found = connection.execute(
            "select count(*) from ledger where (writer, n) = (99, %s)", [KINDS.index(kind)]
        ).fetchone()

    assert (outcome, found) == (
        (Outcome.ROLLED_BACK, (0,)) if kind.rolls_back else (Outcome.OK, (1,))
    )


def test_what_the_writers_say_is_what_the_database_has_though_it_crashed(
    fresh: Server, tmp_path: Path
) -> None:
    path = tmp_path / "record"
    writers = start(fresh, path)
    until(writers, "ok", 50)
    fresh.stop(signal.SIGQUIT)
    until(writers, "failed", 5)
    fresh.start()
    until(writers, "ok", 150)
    end(writers)

    seen = record.read(path)
    ledger = checker.ledger_of(fresh.dsn(shop.DATABASE))
    verdicts = checker.check_record(seen, {"source": ledger, "target": ledger})
    assert [each.claim for each in verdicts if not each.held] == []
    assert len(seen.of(Outcome.OK)) >= 150
    assert seen.of(Outcome.FAILED)


def test_writers_that_meet_the_fence_go_to_the_other_side(fresh: Server, tmp_path: Path) -> None:
    path = tmp_path / "record"
    writers = start(fresh, path, "options='-c default_transaction_read_only=on'")
    until(writers, "ok", 20)
    end(writers)

    seen = record.read(path)
    assert {each.side for each in seen.of(Outcome.OK)} == {"target"}
    refused = seen.of(Outcome.FAILED)
    assert {(each.side, each.sqlstate) for each in refused} == {("source", FENCED)}
    assert not seen.of(Outcome.UNKNOWN)
