"""One short seed of the soak, so that it stays alive: `make soak` runs the long ones."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from demo.control import Control
from demo.record import Operation, Outcome, Record
from demo.servers import Server

from soak import oracle_shape as shape_of_both
from soak import shape
from soak.__main__ import soak
from soak.history import contradicts, impossible
from soak.hunt import Hunt, is_in
from soak.judge import Audit, applied_once
from soak.oracle import FIRES, OraclePlace, OracleSetting, TargetPlace
from soak.postgres import PostgresSetting
from soak.prey import Prey

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def servers() -> Iterator[Mapping[str, Server]]:
    with Server() as source, Server() as target:
        for server in (source, target):
            shape.make_roles(server)
        yield {"source": source, "target": target}


@pytest.mark.timeout(600)  # much is started again and again: a busy machine takes its time
def test_a_migration_that_is_killed_on_its_way_arrives_with_every_row_once(
    servers: Mapping[str, Server], tmp_path: Path
) -> None:
    said: list[str] = []
    setting = functools.partial(PostgresSetting, 1, servers)

    assert soak(1, setting, tmp_path, said.append, short=True), "\n".join(said)


@pytest.mark.timeout(600)
def test_a_migration_from_oracle_that_is_killed_on_its_way_arrives_with_every_row_once(
    servers: Mapping[str, Server], tmp_path: Path
) -> None:
    said: list[str] = []
    fired: Counter[str] = Counter()
    setting = functools.partial(OracleSetting, 1, servers["target"], fired=fired)

    assert soak(1, setting, tmp_path, said.append, short=True), "\n".join(said)
    assert len(+fired) > len(FIRES) / 2, fired


def test_a_row_that_differs_or_is_on_one_side_only_is_found(
    servers: Mapping[str, Server], tmp_path: Path
) -> None:
    setting = OracleSetting(1, servers["target"], random.Random(1))
    try:
        setting.prepare(Control(tmp_path / "none", tmp_path, tmp_path / "log"))
        oracle, target = setting.places.values()
        assert isinstance(oracle, OraclePlace)
        assert isinstance(target, TargetPlace)
        with target.server.connect(target.database) as connection:
            for statement in shape_of_both.ROWS:
                connection.execute(statement.replace("into ", "into shop.").encode())
        assert setting.same_rows().held
        oracle.run(
            "update account set ratio = 0.1 where id = 7", "delete from event where rownum = 1"
        )

        wrong = " ".join(setting.same_rows().wrong)
    finally:
        setting.clean()

    assert "account: 300 and 300 rows" in wrong
    assert "event: 79 and 80 rows" in wrong


def _record(*operations: Operation) -> Record:
    return Record({(each.writer, each.n): each for each in operations})


def _audits(
    source: dict[tuple[int, int, str], int], target: dict[tuple[int, int, str], int], delta: int
) -> dict[str, Audit]:
    audits = {"source": Audit(), "target": Audit(delta=delta)}
    audits["source"].inserts.update(source)
    audits["target"].inserts.update(target)
    return audits


@pytest.mark.parametrize(
    ("source", "target", "delta", "held"),
    [
        ({}, {(1, 1, "ledger"): 1}, 1, True),
        ({}, {(1, 1, "ledger"): 2}, 1, False),
        ({}, {}, 1, False),
        ({}, {(1, 1, "ledger"): 1}, 2, False),
        ({(1, 1, "ledger"): 1}, {(1, 1, "ledger"): 1}, 1, False),
        ({}, {(1, 1, "ledger"): 1, (1, 2, "ledger"): 1}, 1, False),
    ],
    ids=["once", "doubled", "lost", "update doubled", "looped back", "from nowhere"],
)
def test_the_audit_finds_what_was_lost_doubled_or_looped(
    source: dict[tuple[int, int, str], int],
    target: dict[tuple[int, int, str], int],
    delta: int,
    held: bool,
) -> None:
    record = _record(Operation(1, 1, "pay", "source", 5.0, Outcome.OK))

    verdict = applied_once(record, {(1, 1)}, _audits(source, target, delta), 1.0)

    assert verdict.held is held


def test_a_runner_that_ended_before_it_was_looked_at_is_no_reason_to_wait(tmp_path: Path) -> None:
    """It was taken for one that somebody killed, and three seeds of twenty waited for it until they failed."""
    prey = Prey(tmp_path / "soak.yaml", tmp_path, tmp_path / "log", lambda _: None)
    (tmp_path / "status.json").write_text('{"phase": "Completed"}')
    prey.runner = subprocess.Popen([sys.executable, "-c", ""])
    prey.runner.wait()

    Hunt(prey, random.Random(1), {}).through("Complete", ["cleanup"], is_in("Completed"))

    assert prey.exit_code() == 0


def test_a_status_that_claims_a_way_back_without_its_workers_is_caught() -> None:
    now = {
        "phase": "FallbackStreaming",
        "primary": "Target",
        "direction": "Reverse",
        "epoch": 2,
        "activeStream": {"origin": "Target", "number": 1},
        "conditions": [{"type": "FallbackReady", "status": "True"}],
        "jobs": [{"role": "capture", "family": "capture-target-1", "state": "Running"}],
    }

    assert impossible(now) == ["FallbackReady, and of its stream only ['capture'] run"]


def test_an_epoch_that_falls_is_caught() -> None:
    later = {
        "phase": "FallbackStreaming",
        "primary": "Target",
        "epoch": 2,
        "cutover": {"attempt": 1},
    }
    earlier = {"phase": "Streaming", "primary": "Source", "epoch": 1, "cutover": {"attempt": 1}}

    assert len(contradicts(later, earlier)) == 2
