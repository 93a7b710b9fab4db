"""The bench works: one small round of one measure, by its own command. No verdict: the machine is a test's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from demo.servers import find_binaries

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_quick_run_compares_both_and_leaves_nothing(tmp_path: Path) -> None:
    if not (find_binaries() / "pgbench").exists():
        pytest.skip("these binaries have no pgbench")  # a wheel's; Debian's have it
    results = tmp_path / "results.md"
    command = [sys.executable, "-m", "bench", "--quick", "--only", "capture:tpcb"]
    done = subprocess.run(
        [*command, "--results", str(results), "--directory", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    text = results.read_text(encoding="utf-8")
    (line,) = [each for each in text.splitlines() if each.startswith("| capture: tpcb |")]
    assert "pg_recvlogical" in line
    assert "FAILED" not in line
    assert "x**" in line
    assert "`fsync = on`" in text
    assert [each.name for each in tmp_path.iterdir() if each.is_dir()] == []
