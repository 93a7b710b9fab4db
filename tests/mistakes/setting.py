"""Two databases, a manifest and a `bowline run`: what somebody may get wrong, and may mend."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from demo.control import Control
from demo.servers import Server
from psycopg import sql

from demo import remains
from soak.postgres import drop_role

TABLES = """
create table customer (id int primary key, name text not null, city varchar(40));
create table item (id bigint primary key, customer int references customer, price numeric(10, 2) not null);
insert into customer select n, 'customer ' || n, 'city' from generate_series(1, 20) n;
insert into item select n, 1 + n % 20, n * 1.25 from generate_series(1, 50) n;
"""
CONTENT = """
select (select array_agg(c order by id) from customer c)::text,
       (select array_agg(i order by id) from item i)::text"""
SIDES = ("source", "target")

Spec = dict[str, Any]


class NotHere(Exception):
    """This machine can't show that mistake; the message says what is missing."""


class Setting:
    """One migration that nothing is wrong with, until a case makes its mistake."""

    def __init__(self, servers: Mapping[str, Server], directory: Path) -> None:
        self.servers = servers
        self.directory = directory
        self.database = f"mistake_{secrets.token_hex(4)}"
        self.user = f"bowline_{self.database}"
        self.owner = f"owner_{self.database}"
        self._password = secrets.token_urlsafe(12)
        self.spec = self._spec()
        self.manifest = directory / "shop.yaml"
        self.state = directory / "state"
        self.control = Control(self.manifest, self.state, directory / "log")
        #: Sessions in which somebody keeps a lock, by which a phase lasts until they are closed.
        self.gates: list[psycopg.Connection[tuple[Any, ...]]] = []
        self.after = ExitStack()  #: what is left to be undone when the databases are gone

    def make(self) -> None:
        """Make the databases and the migration's users, as the README tells a user to."""
        for side, server in self.servers.items():
            make_role(server, self.owner)
            server.create_database(self.database, owner=self.owner)
            if side == "source":
                self.sql("source", f"set role {self.owner}; {TABLES}")
            options = ("--user", self.user, "--owner", self.owner, "--database", self.database)
            self.sql(side, self.control.grants(side, *options))
            self.sql(side, f"alter role {self.user} password '{self._password}'")
        self.write()

    def clean(self) -> None:
        with self.after:
            self._clean()

    def _clean(self) -> None:
        self.open_gates()
        self.control.stop()
        for server in self.servers.values():
            if not server.is_running:
                server.start()
            server.drop_database(self.database)
            for role in (self.user, self.owner):
                drop_role(server, role)

    # --- what a case needs ---

    def gate(self, side: str, *statements: str) -> None:
        """Keep something locked, until the gates are opened or the server ends."""
        connection = self.servers[side].connect(self.database, autocommit=False)
        self.gates.append(connection)
        for statement in statements:
            connection.execute(statement.encode())

    def open_gates(self) -> None:
        while self.gates:
            self.gates.pop().close()

    def standby(self, side: str) -> Server:
        """A server that follows this side's."""
        return self.after.enter_context(Server(standby_of=self.servers[side]))

    @property
    def small_disk(self) -> Path:
        return self.directory / "small"

    def move_to_small_disk(self, side: str, megabytes: int) -> None:
        """Give the side's database a disk that can be filled without harm to anybody."""
        server = self.servers[side]
        self.small_disk.mkdir()
        owner = server.data.stat()
        options = f"size={megabytes}m,uid={owner.st_uid},gid={owner.st_gid},mode=700"
        # The server is another user, and the way to a test's directory is closed to it.
        place = server.directory / f"small-{self.database}"
        self.small_disk.rmdir()
        place.mkdir()
        self.small_disk.symlink_to(place)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "bowline-mistake", str(place)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if mounted.returncode:
            raise NotHere(
                f"a disk that can be filled is a tmpfs, which root may mount: {mounted.stderr.strip()}"
            )
        self.after.callback(subprocess.run, ["umount", "--lazy", str(place)], check=True)
        self.after.callback(self._drop_tablespace, server)
        with server.connect() as connection:
            connection.execute(f"create tablespace {self.database} location '{place}'".encode())
            connection.execute(
                f"alter database {self.database} set tablespace {self.database}".encode()
            )

    def _drop_tablespace(self, server: Server) -> None:
        with server.connect() as connection:
            connection.execute(f"drop tablespace if exists {self.database}".encode())

    def fill(self) -> None:
        """Leave no room on the small disk."""
        with suppress(OSError), (self.small_disk / "filler").open("ab", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass

    def make_room(self) -> None:
        (self.small_disk / "filler").unlink()

    # --- the manifest ----------------------------------------------------------------------------

    def edit(self, change: Callable[[Spec], None]) -> None:
        """Change the spec, as an editor does: the file is there, whole, at any time."""
        change(self.spec)
        self.write()

    def ask(self, phase: str) -> None:
        self.edit(lambda spec: spec.update(phase=phase))

    def write(self) -> None:
        secret = {"username": self.user, "password": self._password} | self.spec.get("_secret", {})
        documents = [
            {
                "apiVersion": "bowline.dev/v1alpha1",
                "kind": "DatabaseMigration",
                "metadata": {"name": "shop"},
                "spec": {key: value for key, value in self.spec.items() if key != "_secret"},
            },
            *(
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": side},
                    "stringData": secret,
                }
                for side in SIDES
            ),
        ]
        whole = self.manifest.with_suffix(".new")
        whole.write_text("\n---\n".join(map(json.dumps, documents)))
        whole.replace(self.manifest)

    def _spec(self) -> Spec:
        sides = {
            side: {
                "engine": "PostgreSQL",
                "host": "127.0.0.1",
                "port": self.servers[side].port,
                "database": self.database,
                "credentialsSecretRef": {"name": side},
                "tls": {"mode": "disable"},
            }
            for side in SIDES
        }
        return {
            "phase": "Replicate",
            **sides,
            "tables": {"include": ["public.*"]},
            "completion": {"losingSide": "Released"},
            "deletionPolicy": "Cleanup",
        }

    # --- the databases ---------------------------------------------------------------------------

    def sql(self, side: str, *statements: str) -> None:
        with self.servers[side].connect(self.database) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def content(self, side: str) -> list[tuple[Any, ...]]:
        with self.servers[side].connect(self.database) as connection:
            return connection.execute(CONTENT.encode()).fetchall()

    def remains(self) -> list[str]:
        """Whatever of Bowline's is in either database."""
        return [
            f"{side}: {what}"
            for side, server in self.servers.items()
            for what in remains.remains(server, self.database)
        ]

    def files(self) -> list[str]:
        """Whatever of the journal or of the workers' scratch space is on disk."""
        return [
            f"on disk: {path.relative_to(self.state)}"
            for path in sorted(self.state.rglob("*"))
            if path.is_file() and {"journal", "work"} & set(path.relative_to(self.state).parts[:-1])
        ]

    # --- what is told ----------------------------------------------------------------------------

    def told(self) -> Iterator[tuple[str, str]]:
        """Reasons and messages of all that the status says is wrong now."""
        status = json.loads(json.dumps(self.control.status))
        for condition in status.get("conditions", []):
            yield condition["reason"], condition["message"]
        for finding in status.get("findings", []):
            yield finding["reason"], finding["message"]
        for job in status.get("jobs", []):
            yield job.get("reason", ""), job.get("message", "")
        yield "", status.get("message", "")

    def condition(self, kind: str) -> str:
        """Its status; empty where it is not told."""
        found = {each["type"]: each["status"] for each in self.control.status.get("conditions", [])}
        return str(found.get(kind, ""))

    def traces(self) -> list[str]:
        """Lines of a stack trace, in anything that was written."""
        logs = [path for path in self.directory.rglob("*log*") if path.is_file()]
        return [
            f"{path.name}: {line}"
            for path in logs
            for line in path.read_text(errors="replace").splitlines()
            if "Traceback (most recent call last)" in line
        ]


def make_role(server: Server, name: str) -> None:
    with server.connect() as connection:
        connection.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))


@contextmanager
def setting(servers: Mapping[str, Server], directory: Path) -> Iterator[Setting]:
    made = Setting(servers, directory)
    try:
        made.make()
        yield made
    finally:
        made.clean()
