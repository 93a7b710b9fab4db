"""The bench works: one small round of one measure, by its own command. No verdict: the machine is a test's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from demo.servers import find_binaries

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_quick_run_compares_both_and_leaves_nothing(tmp_path: Path) -> None:
    if not (find_binaries() / "pgbench").exists():
        pytest.skip("these binaries have no pgbench")  # a wheel's; Debian's have it
    results = tmp_path / "results.md"
    place = Path(tempfile.mkdtemp(prefix="bowline-test-"))
    place.chmod(0o755)  # the servers' user must get in
    command = [sys.executable, "-m", "bench", "--quick", "--only", "capture:tpcb"]
    done = subprocess.run(
        [*command, "--results", str(results)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}", "TMPDIR": str(place)},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    text = results.read_text(encoding="utf-8")
    (line,) = [each for each in text.splitlines() if each.startswith("| capture: tpcb |")]
    assert "pg_recvlogical" in line
    assert "FAILED" not in line
    assert "x**" in line
    assert "`fsync = on`" in text
    assert list(place.iterdir()) == []
    place.rmdir()
