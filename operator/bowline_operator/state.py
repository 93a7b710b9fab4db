"""The state directory of `bowline run`: what is remembered there, who may write it, and how others read it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from bowline_operator.api import DatabaseMigration
from bowline_operator.status import Status
from bowline_worker.contract import BadConfig, BowlineError

#: A runner writes its sign of life with every pass, at least twice a second.
ALIVE_WITHIN = timedelta(seconds=10)

Kept = TypeVar("Kept", bound=BaseModel)


class Busy(BowlineError):
    """Another runner works with this state directory."""


@dataclass(frozen=True, slots=True)
class Liveness:
    alive: bool
    pid: int | None
    seen_at: datetime | None  #: its last sign of life

    def __str__(self) -> str:
        if self.seen_at is None:
            return "bowline run was never started here"
        at = self.seen_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        if self.alive:
            return f"bowline run is alive (pid {self.pid})"
        return f"no bowline run is alive; the last one was seen at {at}: this is how it was then"


@dataclass(frozen=True, slots=True)
class StateDir:
    path: Path

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    def drop_rows(self) -> None:
        """Remove the journal and the workers' scratch space; what was told of the migration stays."""
        for place in (self.journal, *self.jobs.glob("*/work")):
            shutil.rmtree(place, ignore_errors=True)

    def secret(self, name: str) -> Path:
        return self.path / "secrets" / name

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Be the only runner here. The kernel drops the lock with the process, however that ends."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.lock_file.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held = self._holder()
                raise Busy(
                    f"migration {held.get('name', name)} is already run by pid "
                    f"{held.get('pid', 'unknown')}, in {self.path}",
                    hint="stop it first, or give this one another --state-dir",
                ) from None
            try:
                yield
            finally:
                file.truncate(0)

    def announce(self, name: str) -> None:
        """Say who holds the lock. From here on the status counts as kept up to date."""
        self.lock_file.write_text(json.dumps({"pid": os.getpid(), "name": name}), encoding="utf-8")

    def beat(self) -> None:
        """Leave a sign of life."""
        os.utime(self.lock_file)

    def liveness(self, now: datetime) -> Liveness:
        """Tell whether a runner is at work: a process of that pid, and a recent sign of life."""
        try:
            seen = datetime.fromtimestamp(self.lock_file.stat().st_mtime, UTC)
        except FileNotFoundError:
            return Liveness(False, None, None)
        pid = self._holder().get("pid")
        if not isinstance(pid, int):
            return Liveness(False, None, seen)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return Liveness(False, pid, seen)
        except PermissionError:
            pass  # it is there, and another user's
        return Liveness(now - seen <= ALIVE_WITHIN, pid, seen)

    def _holder(self) -> dict[str, object]:
        with contextlib.suppress(OSError, ValueError):
            held = json.loads(self.lock_file.read_text(encoding="utf-8"))
            if isinstance(held, dict):
                return held
        return {}

    def read_status(self) -> Status | None:
        return self._read("status.json", Status)

    def write_status(self, status: Status) -> None:
        """Durable before anything is done about it: an attempt's number must not come twice."""
        text = status.model_dump_json(by_alias=True, exclude_none=True, indent=1)
        write_durably(self.path / "status.json", text)

    def read_resource(self) -> DatabaseMigration | None:
        """The resource as it was accepted last, with its generation."""
        return self._read("resource.json", DatabaseMigration)

    def write_resource(self, resource: DatabaseMigration) -> None:
        text = resource.model_dump_json(
            by_alias=True, exclude_none=True, exclude={"status"}, indent=1
        )
        write_durably(self.path / "resource.json", text)

    def _read(self, name: str, model: type[Kept]) -> Kept | None:
        path = self.path / name
        try:
            return model.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise BadConfig(
                f"could not read {path}: {str(error).splitlines()[0]}",
                hint=f"move {path.name} away: the migration's place is read from the databases then",
            ) from None

    def write_secrets(self, secrets: Mapping[str, Mapping[str, bytes]]) -> None:
        """Write credentials as files for the workers, for this user's eyes only."""
        for name, keys in secrets.items():
            place = self.secret(name)
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            place.parent.chmod(0o700)
            for old in place.iterdir():
                if old.name not in keys:
                    old.unlink()
            for key, value in keys.items():
                _write_private(place / key, value)


def _write_private(path: Path, value: bytes) -> None:
    with contextlib.suppress(OSError):
        if path.read_bytes() == value:
            return
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(value)
    part.replace(path)


def write_durably(path: Path, text: str) -> None:
    """Replace a file, and be sure that after a power cut it is the old or the new one."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
