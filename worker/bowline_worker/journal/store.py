"""A journal's files in one directory. Another store (an object store) replaces this module's class."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from bowline_worker.contract import TryAgain, Unsafe
from bowline_worker.journal.block import TAIL_BYTES, Tail, encode_tail, parse_tail
from bowline_worker.journal.current import Current, encode_current, parse_current

CURRENT = "CURRENT"
LOCK = "lock"

# The lock is held for milliseconds, and for the scan of one segment at most: longer means a stopped holder.
LOCK_SECONDS = 10.0

# A record is one small pwrite: a reader that meets it half written sees it whole a moment later.
TAIL_TRIES = 50

#: What tells one CURRENT from the next: it is replaced by a new file, never written in place.
Identity: TypeAlias = tuple[int, int, int]


class JournalFull(TryAgain):
    """The volume or the allowed size is used up; nothing was harmed, and writing goes on when there is room."""


def is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class DirectoryStore:
    """Named segments, one CURRENT that is replaced whole, a tail per generation, and a lock that is held shortly.

    Processes on one host, or on several with a coherent file system, may share it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def create(self) -> None:
        """Make the directory durable."""
        missing = [each for each in (self.directory, *self.directory.parents) if not each.is_dir()]
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
            _sync_directory(each.parent)

    # --- CURRENT ---

    def identity(self) -> Identity | None:
        """Tell one CURRENT from another by a stat alone; None: there is none."""
        try:
            found = os.stat(self.directory / CURRENT)
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def load(self) -> tuple[Current, Identity] | None:
        """Read CURRENT; None: this journal was never begun."""
        if (loaded := self._open_current()) is not None or not self.segments():
            return loaded
        # A writer makes CURRENT before the first segment: one that began between our two looks has made it by now.
        if (loaded := self._open_current()) is not None:
            return loaded
        raise Unsafe(
            f"journal {self.directory} has segments and no file CURRENT",
            reason="JournalDamaged",
            hint="check the volume; without this file the stream can't be continued",
        )

    def _open_current(self) -> tuple[Current, Identity] | None:
        try:
            with open(self.directory / CURRENT, "rb") as file:
                found = os.fstat(file.fileno())
                content = file.read()
        except FileNotFoundError:
            return None
        return parse_current(content), (found.st_ino, found.st_mtime_ns, found.st_size)

    def save(self, current: Current) -> Identity:
        """Replace CURRENT durably. Only under the lock."""
        self.replace(CURRENT, encode_current(current), durable=True)
        identity = self.identity()
        if identity is None:
            raise Unsafe(f"journal {self.directory} was removed", reason="JournalMissing")
        return identity

    def replace(self, name: str, content: bytes, *, durable: bool) -> None:
        """Replace a small file: readers, and a restart after a crash, see the old or the new content."""
        # Threads and processes may replace the same file: each has a part of its own.
        part = self.directory / f"{name}.{os.getpid()}.part"
        with _refusing_full(name):
            part.write_bytes(content)
        if durable:
            with open(part, "rb") as file:
                _sync(file.fileno(), name)
        part.replace(self.directory / name)
        if durable:
            _sync_directory(self.directory)

    def read_small(self, name: str) -> bytes | None:
        try:
            return (self.directory / name).read_bytes()
        except FileNotFoundError:
            return None

    # --- the lock ---

    @contextmanager
    def locked(self, holder: str, timeout: float = LOCK_SECONDS) -> Iterator[None]:
        """Keep other writers out for a moment. It fences nobody: the generation in CURRENT does."""
        descriptor = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            deadline = time.monotonic() + timeout
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        other = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
                        raise TryAgain(
                            f"journal {self.directory} is locked by {other or 'another process'}",
                            reason="JournalLocked",
                            hint="end that process if it hangs",
                        ) from None
                    time.sleep(0.02)
            name = f"{holder}, pid {os.getpid()} on {socket.gethostname()}\n".encode()
            os.pwrite(descriptor, name[:200].ljust(200), 0)
            yield
        finally:
            os.close(descriptor)

    # --- segments ---

    def segments(self) -> list[str]:
        """Names of the segment files that are there, listed in CURRENT or not."""
        if not self.directory.is_dir():
            return []
        return sorted(each.name for each in self.directory.glob("*.seg"))

    def open_segment(self, name: str) -> int:
        return os.open(self.directory / name, os.O_RDONLY | os.O_CLOEXEC)

    def new_segment(self, name: str) -> int:
        """Make an empty segment, whose name is durable, to write it."""
        # A name holds the generation, so what is there is this writer's own unfinished attempt.
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with _refusing_full(name):
            descriptor = os.open(self.directory / name, flags, 0o644)
        _sync_directory(self.directory)
        return descriptor

    def sync(self, descriptor: int, name: str) -> None:
        """Make a segment's bytes durable; a failure is final."""
        _sync(descriptor, name)

    def truncate(self, name: str, length: int) -> None:
        os.truncate(self.directory / name, length)

    def remove(self, name: str) -> None:
        (self.directory / name).unlink(missing_ok=True)

    def size(self, name: str) -> int | None:
        """Tell a segment's size; None: it is not there."""
        try:
            return os.stat(self.directory / name).st_size
        except FileNotFoundError:
            return None

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.directory).free

    # --- tails ---

    def open_tail(self, generation: int) -> int:
        """Open the writer's own tail record."""
        path = self.directory / f"tail-{generation}"
        with _refusing_full(path.name):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            # Its room is taken now: publishing never needs any.
            os.pwrite(descriptor, bytes(TAIL_BYTES), 0)
        return descriptor

    def publish(self, descriptor: int, tail: Tail) -> None:
        os.pwrite(descriptor, encode_tail(tail), 0)

    def tail(self, generation: int) -> Tail | None:
        """Read the record of that generation's writer; None: it has published none, or a crash tore it."""
        try:
            descriptor = os.open(self.directory / f"tail-{generation}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            for _ in range(TAIL_TRIES):
                record = os.pread(descriptor, TAIL_BYTES, 0)
                if (tail := parse_tail(record)) is not None or not any(record):
                    return tail
        finally:
            os.close(descriptor)
        return None

    def remove_tails(self, *, but: int) -> None:
        for each in self.directory.glob("tail-*"):
            if each.name != f"tail-{but}":
                each.unlink(missing_ok=True)


@contextmanager
def _refusing_full(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise JournalFull(f"no space left on the journal's volume for {name}") from error
        raise


def _sync(descriptor: int, name: str) -> None:
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        # Never again on this file: the kernel may have dropped the pages, and would report success now.
        raise Unsafe(
            f"could not make {name} durable: {error.strerror}",
            reason="SyncFailed",
            hint="check the journal's volume before starting again",
        ) from error


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise Unsafe(
            f"could not make {directory} durable: {error.strerror}", reason="SyncFailed"
        ) from error
    finally:
        os.close(descriptor)
