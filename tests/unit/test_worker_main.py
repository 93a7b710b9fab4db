"""The worker program: whatever happens becomes a report, a log line and an exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bowline_worker.contract import Config, Connection, Engine, Exit, Report, Role


def connection(credentials: Path, engine: Engine = Engine.POSTGRESQL) -> Connection:
    return Connection(
        engine=engine, host="127.0.0.1", port=1, database="d", credentials=str(credentials)
    )


def config(directory: Path, engine: Engine = Engine.POSTGRESQL) -> Config:
    for name in ("username", "password"):
        (directory / name).write_text(
            "sesame" if name == "password" else "bowline", encoding="utf-8"
        )
    return Config(
        migration="default.shop",
        job="shop-prepare-1",
        job_uid="1",
        role=Role.PREPARE,
        source=connection(directory, engine),
        target=connection(directory, engine),
        termination_file=str(directory / "termination.json"),
        address_file=str(directory / "address"),
    )


def worker(role: str, file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bowline_worker", role, "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run(directory: Path, given: Config, role: str = "prepare") -> subprocess.CompletedProcess[str]:
    file = directory / "config.json"
    file.write_text(given.model_dump_json(by_alias=True), encoding="utf-8")
    return worker(role, file)


def test_a_server_that_is_away_is_tried_again_and_says_where(tmp_path: Path) -> None:
    ended = run(tmp_path, config(tmp_path))

    report = Report.model_validate_json((tmp_path / "termination.json").read_text(encoding="utf-8"))
    assert ended.returncode == Exit.TRY_AGAIN
    assert report.failure is not None
    assert report.failure.reason == "Unreachable"
    assert "127.0.0.1:1/d" in report.failure.message
    assert "sesame" not in ended.stderr + report.model_dump_json()
    assert "Traceback" not in ended.stderr


def test_an_engine_that_is_not_supported_is_refused(tmp_path: Path) -> None:
    ended = run(tmp_path, config(tmp_path, Engine.ORACLE))

    assert ended.returncode == Exit.BAD_CONFIG


def test_logs_are_json_lines(tmp_path: Path) -> None:
    ended = run(tmp_path, config(tmp_path))

    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert {line["role"] for line in lines} == {"prepare"}
    assert lines[-1]["exit"] == Exit.TRY_AGAIN


def test_missing_credentials_are_named(tmp_path: Path) -> None:
    given = config(tmp_path)
    (tmp_path / "password").unlink()

    ended = run(tmp_path, given)

    assert ended.returncode == Exit.BAD_CONFIG
    assert str(tmp_path / "password") in ended.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "Invalid JSON"),
        ('{"migration": "a"}', "job"),
    ],
)
def test_a_bad_config_names_its_field(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")

    ended = worker("prepare", tmp_path / "config.json")

    assert ended.returncode == Exit.BAD_CONFIG
    assert named in ended.stderr


def test_a_config_of_another_role_is_refused(tmp_path: Path) -> None:
    ended = run(tmp_path, config(tmp_path), role="cleanup")

    assert ended.returncode == Exit.BAD_CONFIG
