"""Real servers for tests: roles on a session's server, and the configuration of a migration between two databases."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from demo.servers import Server
from psycopg import sql

from bowline_worker.contract import Config, Connection, Engine, Role, Side, TlsMode

if TYPE_CHECKING:
    from bowline_worker.endpoints.site import Site

#: Roles that every test server has: Bowline's own user (a superuser, the fence lets it pass) and an application's.
MIGRATOR = "bowline"
APPLICATION = "app"
#: Their money has no fraction, or is written with a comma: a value that was read as the other's would be another.
MONEY_LOCALES = ("ja_JP", "de_DE")


def prepare_roles(server: Server) -> None:
    """Make the roles that tests share; their password is the server's."""
    with server.connect() as connection:
        for name, options in ((MIGRATOR, "superuser replication"), (APPLICATION, "")):
            connection.execute(
                sql.SQL("create role {} login {} password {}").format(
                    sql.Identifier(name), sql.SQL(options), server.password
                )
            )


@dataclass(frozen=True, slots=True)
class Database:
    """A database of a test server."""

    server: Server
    name: str

    def connect(
        self, user: str = "", password: str = "", **options: Any
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """As the server's superuser unless another user is named; with autocommit."""
        return self.server.connect(self.name, user, password, **options)

    def run(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query.encode(), parameters or None).fetchall()

    def value(self, query: str, *parameters: Any) -> Any:
        return self.rows(query, *parameters)[0][0]

    def connection(self, credentials: Path) -> Connection:
        """What the contract says of this side."""
        return Connection(
            engine=Engine.POSTGRESQL,
            host="127.0.0.1",
            port=self.server.port,
            database=self.name,
            tls_mode=TlsMode.DISABLE,
            credentials=str(credentials),
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """A migration between two databases: `config(role)` is what a role would be given."""

    source: Database
    target: Database
    migration: str
    directory: Path
    users: tuple[tuple[str, str], tuple[str, str]]

    @property
    def journal(self) -> Path:
        return self.directory / "journal"

    def config(self, role: Role = Role.SCHEMA, **change: Any) -> Config:
        connections = []
        for database, side, (user, password) in zip(
            (self.source, self.target), Side, self.users, strict=True
        ):
            credentials = self.directory / f"{side}-credentials"
            credentials.mkdir(exist_ok=True)
            for name, value in (("username", user), ("password", password)):
                # Once: a worker may be reading them, as it would read a Secret's files.
                if not (credentials / name).exists():
                    (credentials / name).write_text(value, encoding="utf-8")
            connections.append(database.connection(credentials))
        work = self.directory / "work"
        work.mkdir(exist_ok=True)
        self.journal.mkdir(exist_ok=True)
        values: dict[str, Any] = {
            "migration": self.migration,
            "job": f"test-{role}",
            "job_uid": secrets.token_hex(4),
            "role": role,
            "source": connections[0],
            "target": connections[1],
            "journal": str(self.journal),
            "work_dir": str(work),
        }
        return Config(**{**values, **change})

    def site(self, side: Side, role: Role = Role.SCHEMA, **change: Any) -> Site:
        from bowline_worker.endpoints.site import Site

        return Site(self.config(role, **change), side)


#: `pair(source, target, users=...)`: a migration of its own between two databases.
MakePair = Callable[..., Pair]
