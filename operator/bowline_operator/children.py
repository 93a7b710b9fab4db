"""Jobs as child processes: started, watched, stopped, and found again by the next runner."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from pydantic import ValidationError

from bowline_operator.api import DatabaseMigration
from bowline_operator.jobs import JobSpec, Places, config_for
from bowline_operator.observed import Job
from bowline_operator.state import StateDir, write_durably
from bowline_operator.status import JobState
from bowline_worker.contract import Exit, Message, Report, Role

PULL_TIMEOUT = 1.0
#: A pass does not wait longer than this for reports: a stopped worker must not slow down an abort.
PULL_PATIENCE = 0.15
#: Directories of older tries of a family that are kept for their logs.
KEPT_TRIES = 5

_PR_SET_PDEATHSIG = 1

Record = TypeVar("Record", bound=Message)


class JobRecord(Message):
    """What is known of a Job from its start: written before the process is started."""

    name: str
    family: str
    role: Role
    number_of_try: int
    uid: str
    digest: str
    started_at: datetime


class ExitRecord(Message):
    """How it ended: written by the runner that saw it, or by the next one."""

    code: int
    finished_at: datetime
    message: str = ""


@dataclass(slots=True)
class Child:
    record: JobRecord
    place: Path
    process: subprocess.Popen[bytes] | None = None
    exit: ExitRecord | None = None
    report: Report | None = None  #: the newest one pulled
    last_word: Report | None = None
    pull: asyncio.Task[Report | None] | None = None
    kill_at: datetime | None = None

    def address(self) -> str:
        """Where the worker listens; empty until it has said so."""
        try:
            return (self.place / "address").read_text(encoding="utf-8").strip()
        except OSError:
            return ""

    def as_job(self) -> Job:
        record, ended = self.record, self.exit
        state = JobState.RUNNING
        if ended is not None:
            state = JobState.FAILED if ended.code else JobState.SUCCEEDED
        return Job(
            name=record.name,
            family=record.family,
            role=record.role,
            try_=record.number_of_try,
            uid=record.uid,
            state=state,
            digest=record.digest,
            exit_code=ended.code if ended is not None else None,
            note=ended.message if ended is not None else "",
            report=self.last_word,
            started_at=record.started_at,
            finished_at=ended.finished_at if ended is not None else None,
        )


def worker_command() -> list[str]:
    """The program that runs the roles; BOWLINE_WORKER replaces it."""
    given = os.environ.get("BOWLINE_WORKER")
    if given:
        return shlex.split(given)
    beside = Path(sys.executable).with_name("bowline-worker")
    if beside.exists():
        return [str(beside)]
    return [sys.executable, "-c", "from bowline_worker.main import main; main()"]


@dataclass(slots=True)
class Children:
    state: StateDir
    command: list[str] = field(default_factory=worker_command)
    children: dict[str, Child] = field(default_factory=dict)

    def find(self) -> None:
        """Read what earlier runners left. A Job without an end whose process is gone has died with its runner."""
        self.state.jobs.mkdir(parents=True, exist_ok=True)
        for place in sorted(self.state.jobs.iterdir()):
            record = _read(place / "job.json", JobRecord)
            if record is None:
                shutil.rmtree(place)  # the runner died before it started anything
                continue
            child = Child(record, place, exit=_read(place / "exit", ExitRecord))
            if child.exit is None:
                _end_orphan(place)
                self._ended(child, Exit.TRY_AGAIN, "the runner died")
            child.last_word = _read(place / "termination.json", Report)
            self.children[record.name] = child

    def jobs(self) -> dict[str, Job]:
        return {name: child.as_job() for name, child in self.children.items()}

    def reports(self) -> dict[str, Report]:
        return {
            name: child.report for name, child in self.children.items() if child.report is not None
        }

    def running(self) -> list[Child]:
        return [child for child in self.children.values() if child.process is not None]

    def start(self, job: JobSpec, resource: DatabaseMigration) -> None:
        """Start a try, unless it has been started. Its record is durable before its process exists."""
        if job.name in self.children:
            return
        place = self.state.jobs.resolve() / job.name
        (place / "work").mkdir(parents=True, exist_ok=True)
        record = JobRecord(
            name=job.name,
            family=job.family,
            role=job.role,
            number_of_try=job.try_,
            uid=str(uuid4()),
            digest=job.digest,
            started_at=datetime.now(UTC),
        )
        places = Places(
            source_credentials=self._secret(resource.spec.source.credentials_secret_ref.name),
            target_credentials=self._secret(resource.spec.target.credentials_secret_ref.name),
            journal=str(self.state.journal.resolve()),
            work_dir=str(place / "work"),
            address_file=str(place / "address"),
            termination_file=str(place / "termination.json"),
        )
        config = config_for(job, resource, uid=record.uid, places=places)
        write_durably(place / "config.json", config.model_dump_json(by_alias=True, indent=1))
        write_durably(place / "job.json", record.model_dump_json(by_alias=True))
        child = Child(record, place)
        self.children[job.name] = child
        self._spawn(child, [*self.command, str(job.role), "--config", str(place / "config.json")])
        self._prune(job)

    def _secret(self, name: str) -> str:
        return str(self.state.secret(name).resolve())

    def _spawn(self, child: Child, command: list[str]) -> None:
        with (child.place / "log").open("ab") as log:
            try:
                child.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=os.environ | {"BOWLINE_LONG_TERMINATION": "1"},
                    # Own session: Ctrl-C at the terminal is the runner's to hand on.
                    start_new_session=True,
                    preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 (there are no threads here)
                )
            except OSError as error:
                self._ended(child, Exit.BAD_CONFIG, f"could not start {command[0]}: {error}")
                return
        (child.place / "pid").write_text(str(child.process.pid), encoding="utf-8")

    def stop(self, name: str, grace: timedelta) -> None:
        """Ask a Job to end, and see to it that it does. Asking again does not prolong its time."""
        child = self.children.get(name)
        if child is None or child.process is None:
            return
        deadline = datetime.now(UTC) + grace
        if child.kill_at is None:
            child.process.terminate()
        child.kill_at = min(deadline, child.kill_at or deadline)

    def reap(self) -> None:
        """Note who has ended; kill whose time is over."""
        for child in self.running():
            assert child.process is not None  # noqa: S101
            code = child.process.poll()
            if code is not None:
                child.process = None
                child.last_word = _read(child.place / "termination.json", Report)
                self._ended(child, code)
            elif child.kill_at is not None and datetime.now(UTC) >= child.kill_at:
                _kill(child.process.pid)

    def kill(self) -> None:
        """End everything at once."""
        for child in self.running():
            assert child.process is not None  # noqa: S101
            _kill(child.process.pid)

    def _ended(self, child: Child, code: int, message: str = "") -> None:
        child.exit = ExitRecord(code=code, finished_at=datetime.now(UTC), message=message)
        write_durably(child.place / "exit", child.exit.model_dump_json(by_alias=True))
        if child.pull is not None:
            child.pull.cancel()
            child.pull = None

    async def pull(self) -> None:
        """Ask every running worker for its report; who does not answer in time is heard in a later pass."""
        for child in self.running():
            if child.pull is None:
                child.pull = asyncio.create_task(_pull(child.address()))
        tasks = [child.pull for child in self.running() if child.pull is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=PULL_PATIENCE)
        for child in self.running():
            if child.pull is not None and child.pull.done():
                child.report = child.pull.result() or child.report
                child.pull = None

    def _prune(self, job: JobSpec) -> None:
        for name, child in [*self.children.items()]:
            record = child.record
            old = record.family == job.family and record.number_of_try <= job.try_ - KEPT_TRIES
            if old and child.exit is not None:
                shutil.rmtree(child.place, ignore_errors=True)
                del self.children[name]


def _die_with(runner: int) -> Callable[[], None] | None:
    """Have the kernel kill the child when the runner dies in whatever way (Linux)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != runner:  # it died in between
            os._exit(Exit.TRY_AGAIN)

    return prepare


def _kill(pid: int) -> None:
    # The group: a worker's own children (a dump, say) go with it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _end_orphan(place: Path) -> None:
    """Kill a worker that has outlived its runner, if the process of that number still is that worker."""
    try:
        pid = int((place / "pid").read_text(encoding="utf-8"))
        if str(place.resolve() / "config.json") in _arguments(pid):
            _kill(pid)
    except (OSError, ValueError):
        return


def _arguments(pid: int) -> str:
    if sys.platform == "linux":
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    command = ["ps", "-o", "args=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _read(path: Path, model: type[Record]) -> Record | None:
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


async def _pull(address: str) -> Report | None:
    """GET /status. No answer is no report, never an error."""
    try:
        host, _, port = address.rpartition(":")
        async with asyncio.timeout(PULL_TIMEOUT):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                writer.write(b"GET /status HTTP/1.0\r\n\r\n")
                answer = await reader.read(-1)
            finally:
                writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return Report.model_validate_json(body) if b" 200 " in head.split(b"\r\n")[0] else None
    except (OSError, ValueError, TimeoutError):
        return None
