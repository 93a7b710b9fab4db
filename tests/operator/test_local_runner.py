"""`bowline run` and its companions as processes: kills, restarts, a second runner, signals, edited files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bowline_operator.api import Request
from bowline_operator.edit import set_phase
from bowline_operator.state import StateDir
from bowline_operator.status import Condition, ConditionType, Status
from bowline_operator.waiting import awaited
from bowline_worker.contract import Verdict

MANIFEST = """\
apiVersion: bowline.dev/v1alpha1
kind: DatabaseMigration
metadata: {name: shop}
spec:
  phase: Replicate   # the goal
  source: {engine: PostgreSQL, host: a, database: shop, credentialsSecretRef: {name: shop-source}}
  target: {engine: PostgreSQL, host: b, database: shop, credentialsSecretRef: {name: shop-target}}
---
apiVersion: v1
kind: Secret
metadata: {name: shop-source}
stringData: {username: bowline, password: one}
---
apiVersion: v1
kind: Secret
metadata: {name: shop-target}
stringData: {username: bowline, password: two}
"""
WORKER = Path(__file__).with_name("scripted_worker.py")
PATIENCE = 120.0  # other work may share the machine


@dataclass
class Site:
    """A directory with a manifest, a script for the workers, and runners of it."""

    place: Path
    runners: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def manifest(self) -> Path:
        return self.place / "m.yaml"

    @property
    def state(self) -> Path:
        return self.place / ".bowline" / "shop"

    def bowline(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bowline_operator.cli", *words],
            cwd=self.place,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def run(self, *words: str, worker: str = f"{sys.executable} {WORKER}") -> subprocess.Popen[str]:
        with (self.place / "out").open("a") as out:
            runner = subprocess.Popen(
                [sys.executable, "-m", "bowline_operator.cli", "run", "m.yaml", *words],
                cwd=self.place,
                env=os.environ | {"BOWLINE_WORKER": worker},
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.runners.append(runner)
        return runner

    def script(self, name: str, text: str = "") -> Path:
        path = self.place / ".bowline" / "script" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def wait(self, what: str) -> None:
        goal, state = awaited(what), StateDir(self.state)
        self.until(lambda: goal.holds(state.read_status() or Status()))

    def phase(self, phase: str) -> None:
        set_phase([self.manifest], Request(phase))

    def status(self) -> Status:
        return StateDir(self.state).read_status() or Status()

    def condition(self, kind: ConditionType) -> Condition:
        return self.status().condition(kind) or Condition(type=kind)

    def shown(self) -> Any:
        """The resource as `bowline status` prints it."""
        done = self.bowline("status", "m.yaml", "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def shown_condition(self, kind: str) -> Any:
        return {c["type"]: c for c in self.shown()["status"]["conditions"]}[kind]

    def output(self) -> str:
        return (self.place / "out").read_text()

    def pids(self) -> dict[str, int]:
        """Workers that are alive now."""
        found = {}
        for file in self.state.glob("jobs/*/pid"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(file.read_text())
                if is_alive(pid):
                    found[file.parent.name] = pid
        return found

    def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.manifest.write_text(MANIFEST)
    yield site
    for runner in site.runners:
        if runner.poll() is None:
            runner.kill()
        runner.wait()


def test_the_whole_road_ends_by_itself_with_exit_0(site: Site) -> None:
    runner = site.run()
    site.wait("condition=CaughtUp")
    site.phase("Cutover")
    site.wait("phase=FallbackStreaming")
    site.wait("condition=FallbackReady")
    site.phase("Switchover")
    site.wait("phase=SwitchedBack")
    site.wait("condition=FallbackReady")
    site.phase("Complete")

    assert runner.wait(PATIENCE) == 0
    assert "phase Completed" in site.output()
    # The journal and the dumps hold the databases' rows and schema.
    state = StateDir(site.state)
    assert not state.journal.exists()
    assert list(state.jobs.glob("*/work")) == []
    assert list(state.jobs.glob("*/log")) != []

    resource = site.shown()

    assert resource["kind"] == "DatabaseMigration"
    assert resource["spec"]["phase"] == "Complete"
    assert resource["metadata"]["generation"] == 4
    assert resource["status"]["epoch"] == 3
    assert site.shown_condition("Ready")["status"] == "True"
    assert [s["number"] for s in resource["status"]["streams"]] == [0, 1, 2]


def test_a_second_runner_is_refused_by_name_and_pid(site: Site) -> None:
    runner = site.run()
    site.until(lambda: StateDir(site.state).lock_file.exists() and site.pids())
    second = site.bowline("run", "m.yaml")

    assert second.returncode == 1
    assert f"migration shop is already run by pid {runner.pid}" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_killed_runner_takes_its_workers_along_and_the_next_one_goes_on(site: Site) -> None:
    runner = site.run()
    site.wait("condition=CaughtUp")
    workers = site.pids()
    assert len(workers) == 2

    runner.kill()
    runner.wait()
    site.until(lambda: not any(is_alive(pid) for pid in workers.values()))

    assert site.shown_condition("CaughtUp")["status"] == "Unknown"
    assert "no bowline run is alive" in site.shown_condition("Ready")["message"]
    assert "no bowline run is alive" in site.bowline("status", "m.yaml").stdout

    site.run()
    site.until(lambda: "shop-apply-source-0-2" in site.pids())
    site.wait("condition=CaughtUp")

    died = json.loads((site.state / "jobs/shop-apply-source-0-1/exit").read_text())
    assert (died["code"], died["message"]) == (75, "the runner died")
    assert not (site.state / "jobs/shop-snapshot-2").exists()


def test_a_runner_that_stands_still_is_not_called_alive(site: Site) -> None:
    runner = site.run()
    site.wait("condition=CaughtUp")
    runner.send_signal(signal.SIGSTOP)
    try:
        lock = StateDir(site.state).lock_file
        os.utime(lock, (time.time() - 60, time.time() - 60))

        assert site.shown_condition("CaughtUp")["status"] == "Unknown"
    finally:
        runner.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_stops_the_workers_cleanly(site: Site, number: int, code: int) -> None:
    runner = site.run()
    site.wait("condition=CaughtUp")
    runner.send_signal(number)

    assert runner.wait(PATIENCE) == code
    assert site.pids() == {}

    ended = json.loads((site.state / "jobs/shop-apply-source-0-1/exit").read_text())
    assert ended["code"] == 75
    assert "Traceback" not in site.output()


def test_a_killed_worker_is_replaced_and_a_stale_one_is_not_believed(site: Site) -> None:
    site.run()
    site.wait("condition=CaughtUp")
    os.kill(site.pids()["shop-apply-source-0-1"], signal.SIGKILL)
    site.until(lambda: "shop-apply-source-0-2" in site.pids())
    site.wait("condition=CaughtUp")

    job = site.status().job("apply-source-0")
    assert job is not None
    assert job.failures == 1


def test_a_switch_is_taken_back_within_seconds_although_its_role_is_stopped_and_deaf(
    site: Site,
) -> None:
    site.script("wait-cutover")
    site.script("deaf-cutover")
    site.run()
    site.wait("condition=CaughtUp")
    site.phase("Cutover")
    site.until(lambda: "shop-apply-target-1-1" in site.pids())
    cutover = site.pids()["shop-cutover-1-1"]
    os.kill(cutover, signal.SIGSTOP)
    asked = time.monotonic()
    site.phase("Replicate")
    site.wait("phase=Streaming")

    assert time.monotonic() - asked < 20
    site.until(lambda: not is_alive(cutover))
    site.until(lambda: set(site.pids()) == {"shop-capture-source-0-1", "shop-apply-source-0-1"})

    last = site.status().cutover.last_attempt
    assert last is not None
    assert (last.number, last.verdict) == (1, Verdict.ABORTED)


def test_an_interrupted_switch_is_named_at_the_end_and_finished_by_the_next_run(
    site: Site,
) -> None:
    waits = site.script("wait-cutover")
    runner = site.run()
    site.wait("condition=CaughtUp")
    site.phase("Cutover")
    site.until(lambda: "shop-apply-target-1-1" in site.pids())
    runner.send_signal(signal.SIGINT)
    runner.wait(PATIENCE)

    assert "attempt 1 is under way" in site.output()

    waits.unlink()
    site.run()
    site.wait("phase=FallbackStreaming")

    assert site.status().cutover.attempt == 1


def test_a_broken_file_keeps_the_last_good_spec_and_says_so(site: Site) -> None:
    site.run()
    site.wait("condition=CaughtUp")
    site.manifest.write_text(MANIFEST.replace("Replicate", "Replicat"))
    site.wait("condition=RequestRefused")
    refused = site.condition(ConditionType.REQUEST_REFUSED)

    assert refused.reason == "SpecInvalid"
    assert "did you mean Replicate?" in refused.message
    assert len(site.pids()) == 2

    site.manifest.write_text(MANIFEST)
    site.wait("condition=RequestRefused=False")


def test_another_database_in_the_file_is_refused_once_replication_began(site: Site) -> None:
    site.run()
    site.wait("condition=CaughtUp")
    site.manifest.write_text(MANIFEST.replace("host: a", "host: elsewhere"))
    site.wait("condition=RequestRefused")

    assert "spec.source can't change" in site.condition(ConditionType.REQUEST_REFUSED).message
    assert site.status().observed_generation == 1


def test_new_credentials_reach_the_files_of_the_workers_and_a_refused_one_tries_again(
    site: Site,
) -> None:
    told = site.script("prepare", "78")
    site.run()
    site.wait("condition=Stalled")
    told.unlink()
    site.manifest.write_text(MANIFEST.replace("password: one", "password: new"))
    site.wait("condition=CaughtUp")

    password = site.state / "secrets/shop-source/password"
    assert password.read_text() == "new"
    assert password.stat().st_mode & 0o777 == 0o600
    assert password.parent.stat().st_mode & 0o777 == 0o700
    assert site.status().observed_generation == 1
    logs = "".join(path.read_text() for path in site.state.glob("*.json"))
    assert "new" not in logs.replace("newest", "")


def test_run_until_ends_when_the_phase_is_reached(site: Site) -> None:
    runner = site.run("--until", "condition=CaughtUp")

    assert runner.wait(PATIENCE) == 0
    assert site.pids() == {}


def test_a_worker_that_cannot_be_started_is_a_stall_and_not_a_crash(site: Site) -> None:
    site.run(worker="/nowhere/bowline-worker")
    site.wait("condition=Stalled")

    assert (
        "could not start /nowhere/bowline-worker" in site.condition(ConditionType.STALLED).message
    )
