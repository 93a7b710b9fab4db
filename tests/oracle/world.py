"""The stand-in as a migration's source: an application at work in it, and Bowline's side of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import oracledb
import pytest

from bowline_worker.contract import Config, Connection, Engine, Role, Side, TlsMode
from bowline_worker.endpoints.site import Site
from oracle import server
from oracle.server import MET, Inside, Real
from oracle.standin.redolog.adversities import Adversities
from oracle.standin.whole import SERVICE, StandIn

APP, BOWLINE = ("SHOP", "shop"), ("BOWLINE", "bowline")
#: Worlds that are entered now: the next one needs a server of its own.
_ACTIVE: ContextVar[int] = ContextVar("worlds", default=0)
#: All of them in a pluggable database whose own users can mine in it.
INSIDE: Mapping[str, Any] = {"containers": ("CDB$ROOT", "SHOPPDB"), "release": (19, 10, 0, 0, 0)}


@dataclass
class World:
    """A server with a user SHOP, who has a session, and a user BOWLINE."""

    stand_in: StandIn
    app: oracledb.Connection
    site: Site
    scratch: Path

    @property
    def dsn(self) -> str:
        """Where an application connects."""
        return str(self.app.dsn)

    def scn(self) -> int:
        """The database's, now."""
        with self.app.cursor() as cursor:
            cursor.execute("select current_scn from v$database")
            ((scn,),) = cursor.fetchall()
        return int(scn)

    def run(self, *statements: str) -> None:
        with self.app.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


W = TypeVar("W", bound=World)


@contextmanager
def world(
    kind: type[W], place: Path, adversities: Adversities | None = None, **log: Any
) -> Iterator[W]:
    """Start one. `log` goes to the redo log. On a real server (server.py) nothing misbehaves on purpose."""
    if (found := server.real(_ACTIVE.get())) is not None:
        if adversities is not None and adversities.is_certain():
            pytest.skip("needs redo that misbehaves when it is asked to")
        with _on(found, kind, place, **log) as here:
            yield here
        return
    secret = a_secret(place, *BOWLINE)
    with StandIn([APP, BOWLINE], adversities=adversities, **log) as stand_in:
        dsn = f"127.0.0.1:{stand_in.port}/{SERVICE}"
        with closing(oracledb.connect(user=APP[0], password=APP[1], dsn=dsn)) as app:
            yield kind(stand_in, app, a_site(secret, stand_in.port, service_name=SERVICE), place)


@contextmanager
def _on(found: Real, kind: type[W], place: Path, **log: Any) -> Iterator[W]:
    if {"containers", "release"} & log.keys():
        pytest.skip("needs a server of a shape of its own")
    secret = a_secret(place, *found.bowline)
    token = _ACTIVE.set(_ACTIVE.get() + 1)
    try:
        with (
            found.users(),
            closing(oracledb.connect(user=APP[0], password=APP[1], dsn=found.dsn)) as app,
        ):
            site = a_site(secret, found.port, host=found.host, service_name=found.service)
            MET.append(place.name)
            yield kind(cast(StandIn, Inside()), app, site, place)
    finally:
        _ACTIVE.reset(token)


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
        engine=Engine.ORACLE, port=port, database="shop", credentials=str(secret),
        **({"host": "127.0.0.1", "tls_mode": TlsMode.PREFER} | place),
    )  # fmt: skip
    config = Config(
        migration="default.shop", job="shop-capture-1", job_uid="u", role=Role.CAPTURE,
        source=source, target=source, include=["shop.*"], journal="/nowhere", journal_max_bytes=1,
    )  # fmt: skip
    return Site(config, Side.SOURCE)
