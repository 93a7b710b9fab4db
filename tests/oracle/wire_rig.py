"""What the tests of the wire share: a server whose engine is a script, and the real driver connected to it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import oracledb
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from oracle.standin.backend import Account, Bind, Column, Kind, OraError, Result, Value
from oracle.standin.wire.packets import Interrupts
from oracle.standin.wire.server import Server

USER, PASSWORD = "SCOTT", "tiger'ß"
SERVICE, SID = "FREEPDB1", "OLDSID"

ECHO = "select :1 from dual"


@dataclass
class Engine:
    """One session's backend: it answers a statement as the script says, and remembers what it was told."""

    service: str
    script: dict[str, Answer]
    done: list[str]  #: by all sessions: executions by their text, commits and rollbacks
    interrupted: Interrupts | None = None
    identity: dict[str, str | None] = field(default_factory=dict)
    in_transaction: bool = False
    closed: threading.Event = field(default_factory=threading.Event)

    def describe(self, sql: str) -> Sequence[Column]:
        return self.execute(sql, (), ()).columns

    def execute(self, sql: str, binds: Sequence[Bind], values: Sequence[Value]) -> Result:
        answer = self.script.get(sql)
        if answer is None:
            raise OraError(942, "table or view does not exist", sql.find("from") + 5)
        result = answer(Request(self, binds, values))
        self.done.append(sql)
        if not result.columns:
            self.in_transaction = True
        return result

    def commit(self) -> None:
        self.in_transaction = False
        self.done.append("commit")

    def rollback(self) -> None:
        self.in_transaction = False
        self.done.append("rollback")

    def identify(self, **attributes: str | None) -> None:
        self.identity |= attributes

    def close(self) -> None:
        self.closed.set()


@dataclass(frozen=True)
class Request:
    """One execution, as the engine gets it."""

    engine: Engine
    binds: Sequence[Bind]
    values: Sequence[Value]


Answer: TypeAlias = Callable[[Request], Result]


def echo(request: Request) -> Result:
    """Answer with one row of all the binds, each in a column of its own kind."""
    columns = [column_like(bind) for bind in request.binds]
    return Result(columns=columns, rows=[request.values])


def column_like(bind: Bind) -> Column:
    is_fraction = bind.kind in (Kind.TIMESTAMP, Kind.TIMESTAMP_TZ, Kind.TIMESTAMP_LTZ)
    scale = 9 if is_fraction or bind.kind is Kind.INTERVAL_DS else -127
    return Column(f"C{bind.name}", bind.kind, scale=scale, national=bind.national)


def table(columns: Sequence[Column], rows: Sequence[Sequence[Value]]) -> Answer:
    """Answer with these rows."""
    return lambda _: Result(columns=columns, rows=rows)


def affecting(rows: int = 1) -> Answer:
    """Change so many rows."""
    return lambda _: Result(rowcount=rows)


@dataclass
class Rig:
    """A running server, and all that its engines did."""

    server: Server
    script: dict[str, Answer]
    engines: list[Engine]
    done: list[str]

    @property
    def dsn(self) -> str:
        return f"127.0.0.1:{self.server.port}/{SERVICE}"

    @property
    def engine(self) -> Engine:
        """The newest session's."""
        return self.engines[-1]

    @contextmanager
    def connected(self, **options: Any) -> Iterator[oracledb.Connection]:
        """Connect, and close whatever happens: at exit the driver waits for the server's answer."""
        options = {"user": USER, "password": PASSWORD, "dsn": self.dsn} | options
        connection = oracledb.connect(**options)
        try:
            yield connection
        finally:
            close(connection)


def close(connection: oracledb.Connection) -> None:
    """Close a connection that may be dead already."""
    if connection.is_healthy():
        connection.close()


@contextmanager
def running(**options: Any) -> Iterator[Rig]:
    """Start a server whose engines follow one script."""
    script: dict[str, Answer] = {ECHO: echo}
    engines: list[Engine] = []
    done: list[str] = []

    def connect(service: str) -> Engine:
        engines.append(Engine(service, script, done))
        return engines[-1]

    account = Account(USER, PASSWORD, [SERVICE, SID], connect)
    options.setdefault("accounts", [account])
    with Server(**options) as server:
        yield Rig(server, script, engines, done)


def certificate(directory: Path) -> ssl.SSLContext:
    """Make a certificate for 127.0.0.1, leave it as a client's wallet, and give the server's side of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = signed.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (directory / "ewallet.pem").write_bytes(public)
    (directory / "server.pem").write_bytes(private + public)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    return context
