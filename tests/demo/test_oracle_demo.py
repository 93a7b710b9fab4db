"""The demo from the stand-in for Oracle, made short: it says what it is, and what it checks holds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chart.rendering import ROOT

pytestmark = pytest.mark.slow


def run(path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", "--source", "oracle", "--seconds", "1"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "KEEP": ""},
    )


@pytest.mark.timeout(300)
def test_it_walks_the_whole_road_and_says_that_no_oracle_was_there() -> None:
    done = run(f"{ROOT}:{ROOT / 'tests'}")

    assert done.returncode == 0, done.stdout
    assert done.stdout.count("No Oracle is here.") == 1
    assert "held   both sides have the same rows" in done.stdout
    assert "source -> target -> source -> target" in done.stdout


def test_without_the_stand_in_it_says_where_that_is() -> None:
    done = run(str(ROOT))

    assert done.returncode == 1
    assert "make demo SOURCE=oracle" in done.stdout
