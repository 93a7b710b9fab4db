"""The soak from PostgreSQL to PostgreSQL: its databases, its application, and what is judged of them."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from demo.checker import Verdict
from demo.control import Control
from demo.record import Record
from demo.servers import Server
from demo.workload import Client
from psycopg import sql

from soak import shape
from soak.judge import judge
from soak.places import PostgresPlace
from soak.writers import STRAY_WRITER, Shared, Stray, Writer

MANIFEST = """\
apiVersion: bowline.dev/v1alpha1
kind: DatabaseMigration
metadata: {{name: soak}}
spec:
  phase: Assess
  source: {{engine: PostgreSQL, host: 127.0.0.1, port: {source}, database: {database},
    credentialsSecretRef: {{name: soak-source}}, tls: {{mode: disable}}}}
  target: {{engine: PostgreSQL, host: 127.0.0.1, port: {target}, database: {database},
    credentialsSecretRef: {{name: soak-target}}, tls: {{mode: disable}}}}
  tables: {{include: ["public.*"]}}
  snapshot: {{parallelism: {parallelism}, chunkRows: 500}}
  stream: {{lanes: {lanes}}}
  completion: {{losingSide: Released}}
  verification: {{request: 0}}
  cutover: {{budget: {budget}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: soak-source}}
stringData: {{username: {user}, password: "{password}"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: soak-target}}
stringData: {{username: {user}, password: "{password}"}}
"""


class PostgresSetting:
    """Two databases of this seed, each on a server of its own."""

    pause = 0.025

    def __init__(self, seed: int, servers: Mapping[str, Server], chance: random.Random) -> None:
        self._seed, self._servers, self._chance = seed, servers, chance
        self.database = f"soak_{seed}_{secrets.token_hex(2)}"
        self.user = f"bowline_{self.database}"
        self._password = secrets.token_urlsafe(12)
        self.places = {
            side: PostgresPlace(server, self.database, shape.APPLICATION)
            for side, server in servers.items()
        }
        self._streaming_since = float("inf")
        self._logs = {side: server.log.stat().st_size for side, server in servers.items()}

    def manifest(self, *, budget: str) -> str:
        return MANIFEST.format(
            source=self._servers["source"].port,
            target=self._servers["target"].port,
            database=self.database,
            user=self.user,
            password=self._password,
            lanes=self._chance.choice((1, 2, 3)),
            parallelism=self._chance.choice((1, 2)),
            budget=budget,
        )

    def prepare(self, control: Control) -> None:
        for server in self._servers.values():
            server.create_database(self.database, owner=shape.OWNER)
        shape.make_tables(self._servers["source"], self.database)
        for side, server in self._servers.items():
            grants = control.grants(side, *self._grant_options)
            with server.connect(self.database) as connection:
                connection.execute(grants.encode())
                connection.execute(
                    sql.SQL("alter role {} password {}").format(
                        sql.Identifier(self.user), self._password
                    )
                )

    def schemas(self) -> Mapping[str, list[str]]:
        """The source's, which is made on the target, too."""
        return dict.fromkeys(self.places, self.places["source"].schema())

    @property
    def _grant_options(self) -> tuple[str, ...]:
        return ("--user", self.user, "--owner", shape.OWNER, "--database", self.database)

    def writer(self, shared: Shared, number: int) -> Writer[shape.Kind]:
        chance = random.Random(f"{self._seed}/{number}")
        return Writer(shared, number, chance, self._client(), shape.KINDS)

    def stray(self, shared: Shared) -> Stray[shape.Kind]:
        chance = random.Random(f"{self._seed}/stray")
        return Stray(shared, STRAY_WRITER, chance, self._client(), [shape.STRAY])

    def _client(self) -> Client:
        return Client({side: place.application for side, place in self.places.items()})

    def came_to(self, stage: str) -> None:
        """Count what appliers write to a side, from before the first of them comes there."""
        match stage:
            case "SchemaReady":
                shape.begin_audit(self._servers["target"], self.database)
            case "Streaming":
                shape.begin_audit(self._servers["source"], self.database)
            case "CaughtUp":
                self._streaming_since = time.time()
            case "Complete":
                for server in self._servers.values():
                    shape.end_audit(server, self.database)

    def judge(self, record: Record, expected: list[str], *, servers_crashed: bool) -> list[Verdict]:
        return judge(
            record,
            self._servers,
            self.database,
            expected,
            self._streaming_since,
            servers_crashed=servers_crashed,
        )

    def revoke(self, control: Control) -> None:
        for side, server in self._servers.items():
            revoke = control.grants(side, *self._grant_options, "--revoke")
            with server.connect(self.database) as connection:
                connection.execute(revoke.encode())

    def keep(self, directory: Path) -> None:
        for side, server in self._servers.items():
            keep(server, self.database, directory / side, self._logs[side])

    def clean(self) -> None:
        for server in self._servers.values():
            server.drop_database(self.database)
            drop_role(server, self.user)


def keep(server: Server, database: str, place: Path, since: int) -> None:
    """The rows of a database as files that begin like `place`, and the server's log from that byte on."""
    with server.log.open("rb") as log:
        log.seek(since)
        place.with_suffix(".log").write_bytes(log.read())
    with server.connect(database) as connection:
        for schema in ("bowline", "soak", "public", "shop"):
            names = connection.execute(
                "select relname from pg_class c where relnamespace = to_regnamespace(%s) and relkind = 'r'",
                [schema],
            ).fetchall()
            for (name,) in names:
                with (
                    connection.cursor().copy(f'copy {schema}."{name}" to stdout'.encode()) as copy,
                    place.with_suffix(f".{schema}.{name}").open("wb") as file,
                ):
                    for row in copy:
                        file.write(row)


def drop_role(server: Server, role: str) -> None:
    with server.connect() as connection:
        if connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchone():
            connection.execute(f'drop owned by "{role}"; drop role "{role}"'.encode())
