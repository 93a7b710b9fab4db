"""The stand-in as a migration's source: an application at work in it, and Bowline's side of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import oracledb

from bowline_worker.contract import Config, Connection, Engine, Role, Side, TlsMode
from bowline_worker.endpoints.site import Site
from oracle.standin.redolog.adversities import Adversities
from oracle.standin.whole import SERVICE, StandIn

APP, BOWLINE = ("SHOP", "shop"), ("BOWLINE", "bowline")


@dataclass
class World:
    """A server with a user SHOP, who has a session, and a user BOWLINE."""

    stand_in: StandIn
    app: oracledb.Connection
    site: Site
    scratch: Path

    def run(self, *statements: str) -> None:
        with self.app.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


W = TypeVar("W", bound=World)


@contextmanager
def world(
    kind: type[W], place: Path, adversities: Adversities | None = None, **log: Any
) -> Iterator[W]:
    """Start one. `log` goes to the redo log."""
    secret = a_secret(place, *BOWLINE)
    with StandIn([APP, BOWLINE], adversities=adversities, **log) as stand_in:
        dsn = f"127.0.0.1:{stand_in.port}/{SERVICE}"
        with closing(oracledb.connect(user=APP[0], password=APP[1], dsn=dsn)) as app:
            yield kind(stand_in, app, a_site(secret, stand_in.port, service_name=SERVICE), place)


def a_secret(place: Path, user: str, password: str) -> Path:
    """Lay credentials down as a mounted Secret does."""
    directory = place / "secret"
    directory.mkdir()
    (directory / "username").write_text(user)
    (directory / "password").write_text(password)
    return directory


def a_site(secret: Path, port: int, **place: Any) -> Site:
    """The source of a migration of SHOP's tables."""
    source = Connection(
        engine=Engine.ORACLE, host="127.0.0.1", port=port, database="shop", credentials=str(secret),
        **({"tls_mode": TlsMode.PREFER} | place),
    )  # fmt: skip
    config = Config(
        migration="default.shop", job="shop-capture-1", job_uid="u", role=Role.CAPTURE,
        source=source, target=source, include=["shop.*"], journal="/nowhere", journal_max_bytes=1,
    )  # fmt: skip
    return Site(config, Side.SOURCE)
