"""Every way to reach a PostgreSQL server: a row travels there, and one comes back; and what is told where it fails."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from demo.servers import Server, free_port
from psycopg import sql

from bowline_worker.contract import BadConfig, Connection, Role, Side, TlsMode, Verdict
from bowline_worker.endpoints.postgres import PostgresEndpoint
from bowline_worker.endpoints.postgres.connection import connect, connect_replication
from bowline_worker.endpoints.site import Site
from postgres.certificates import Authority
from road.by_hand import Road, wait_until
from servers import APPLICATION, MIGRATOR, Database, MakePair, Pair, prepare_roles

#: Nothing listens there.
ELSEWHERE = "127.0.0.9"
ODD = "we\"ird \\ 'user' @:/?#%&=+ ü"
CERTIFIED = "certified"
FILES = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Reached(Database):
    """A database, and how the migration reaches it."""

    host: str = "127.0.0.1"
    port: int = 0
    tls: TlsMode = TlsMode.DISABLE
    files: FILES = field(default_factory=dict)

    def connection(self, credentials: Path) -> Connection:
        for name, content in self.files.items():
            path = credentials / name
            if not path.exists():
                # As a Secret's volume has it: its group may read it.
                path.write_bytes(content)
                path.chmod(0o440)
        way = {"host": self.host, "tls_mode": self.tls, "port": self.port or self.server.port}
        return Database.connection(self, credentials).model_copy(update=way)


@dataclass(frozen=True, slots=True)
class Reachable:
    """A server that can be reached in every way."""

    server: Server
    authority: Authority
    sockets: Path

    def files(self, *, client: str = "") -> FILES:
        found = {"ca.crt": self.authority.certificate}
        if client:
            signed = self.authority.sign(client)
            found |= {"tls.crt": signed.certificate, "tls.key": signed.key}
        return found


@pytest.fixture(scope="module")
def reachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reachable]:
    sockets = tmp_path_factory.mktemp("s")
    for place in (sockets, *list(sockets.parents)[:2]):
        place.chmod(0o777)
    authority = Authority()
    settings = {
        "ssl": "on",
        "ssl_cert_file": "server.crt",
        "ssl_key_file": "server.key",
        "ssl_ca_file": "ca.crt",
        "listen_addresses": "127.0.0.1,::1",
        "unix_socket_directories": str(sockets),
    }
    server = Server(settings=settings)
    certify(server, authority)
    rules = server.data / "pg_hba.conf"
    certified = f"hostssl all {CERTIFIED} all cert\n"
    certified += f"host all {CERTIFIED} all reject\n"
    rules.write_text(certified + rules.read_text(encoding="utf-8"), encoding="utf-8")
    with server:
        prepare_roles(server)
        with server.connect() as connection:
            for name in (ODD, CERTIFIED):
                connection.execute(
                    sql.SQL("create role {} login superuser replication password {}").format(
                        sql.Identifier(name), password(name)
                    )
                )
        yield Reachable(server, authority, sockets)


def certify(
    server: Server, authority: Authority, *, address: str = "127.0.0.1", days: int = 1
) -> None:
    """Give a server its certificate: it is read at the next start or reload."""
    signed = authority.sign("a server", address=address, days=days)
    owner = server.data.stat()
    for name, content in (
        ("server.crt", signed.certificate),
        ("server.key", signed.key),
        ("ca.crt", authority.certificate),
    ):
        path = server.data / name
        path.write_bytes(content)
        path.chmod(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)


def password(user: str) -> str:
    return f"p {user} $HOME `x` \\' \""


@pytest.fixture
def pair_by(reachable: Reachable, make_pair: MakePair) -> Iterator[Callable[..., Pair]]:
    """`pair_by(user, database_prefix, host=...)`: two databases that are reached in that way."""
    made: list[str] = []

    def make(user: str = "", prefix: str = "reach", **how: object) -> Pair:
        sides = []
        for side in Side:
            name = f"{prefix} {side} {time.monotonic_ns()}"
            reachable.server.create_database(name)
            made.append(name)
            sides.append(Reached(reachable.server, name, **how))  # type: ignore[arg-type]
        who = (user, password(user)) if user else (MIGRATOR, reachable.server.password)
        return make_pair(*sides, users=(who, who))

    yield make
    for name in made:
        reachable.server.drop_database(name)


WAYS: Mapping[str, Callable[[Reachable], dict[str, object]]] = {
    "TLS verify-full with a client's certificate": lambda here: {
        "user": CERTIFIED,
        "tls": TlsMode.VERIFY_FULL,
        "files": here.files(client=CERTIFIED),
    },
    "IPv6": lambda here: {"host": "::1"},
    "a Unix socket": lambda here: {"host": str(here.sockets)},
    "several hosts, the first of which is away": lambda here: {"host": f"{ELSEWHERE},127.0.0.1"},
    "names and a password with any character": lambda here: {"user": ODD, "prefix": ODD},
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_one_row_travels_each_way(
    reachable: Reachable, pair_by: Callable[..., Pair], way: str
) -> None:
    pair = pair_by(**WAYS[way](reachable))
    pair.source.run(
        "create table public.item (id int primary key, name text)",
        "insert into public.item values (1, 'copied')",
        f"grant all on public.item to {APPLICATION}",
    )
    road = Road(pair)
    try:
        _, apply = road.to_streaming()
        write(pair.source, 2, "streamed")
        road.caught_up(apply)

        switch = road.switch(1, Side.SOURCE)

        assert switch.verdict is Verdict.COMMITTED, switch.message
        write(pair.target, 3, "came back")
        road.caught_up(road.workers[-1])
    finally:
        road.close()
    expected = [(1, "copied"), (2, "streamed"), (3, "came back")]
    for database in (pair.source, pair.target):
        assert database.rows("select * from public.item order by id") == expected


def write(database: Database, number: int, name: str) -> None:
    with database.connect(APPLICATION, database.server.password) as connection:
        connection.execute("insert into public.item values (%s, %s)", [number, name])


def refused(pair: Pair) -> BadConfig:
    """Both kinds of connections are refused in the same way."""
    site = pair.site(Side.SOURCE)
    with pytest.raises(BadConfig) as ordinary:
        connect(site).close()
    with pytest.raises(BadConfig) as replication:
        connect_replication(site).finish()

    assert replication.value.reason == ordinary.value.reason
    return ordinary.value


@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
def test_each_mode_encrypts(
    reachable: Reachable, pair_by: Callable[..., Pair], mode: TlsMode
) -> None:
    files = {} if mode is TlsMode.REQUIRE else reachable.files()
    site = pair_by(tls=mode, files=files).site(Side.SOURCE)

    with connect(site) as connection:
        assert connection.execute(
            "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
        ).fetchone() == (True,)
    pgconn = connect_replication(site)
    assert pgconn.ssl_in_use
    pgconn.finish()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"tls": TlsMode.VERIFY_CA, "files": "another authority"}, "certificate verify failed"),
        ({"tls": TlsMode.VERIFY_CA, "files": "one made anew"}, "signature failure"),
        ({"tls": TlsMode.VERIFY_CA}, "root certificate file"),
        ({"tls": TlsMode.VERIFY_FULL, "files": "ca", "host": "::1"}, "does not match host name"),
        ({"tls": TlsMode.REQUIRE, "files": "ca", "user": CERTIFIED}, "valid client certificate"),
        (
            {"tls": TlsMode.REQUIRE, "files": "somebody's", "user": CERTIFIED},
            "certificate authentication failed",
        ),
    ],
    ids=[
        "wrong authority",
        "an authority made anew",
        "no authority",
        "wrong host",
        "no certificate",
        "another's certificate",
    ],
)
def test_what_does_not_fit_is_told_with_what_to_mend(
    reachable: Reachable, pair_by: Callable[..., Pair], how: dict[str, object], says: str
) -> None:
    files: dict[object, FILES] = {
        "another authority": {"ca.crt": Authority("another one").certificate},
        "one made anew": {"ca.crt": Authority().certificate},
        "ca": reachable.files(),
        "somebody's": reachable.files(client="somebody"),
    }
    error = refused(pair_by(**{**how, "files": files.get(how.get("files"), {})}))

    assert error.reason == "TlsRefused"
    assert says in str(error)
    assert "spec.source.tls.mode" in error.hint


def test_a_server_without_tls_is_told(pair: Pair) -> None:
    plain = Reached(pair.source.server, pair.source.name, tls=TlsMode.REQUIRE)

    error = refused(Pair(plain, pair.target, pair.migration, pair.directory, pair.users))

    assert error.reason == "TlsRefused"
    assert "server does not support SSL" in str(error)


def test_an_expired_certificate_is_told(reachable: Reachable, pair_by: Callable[..., Pair]) -> None:
    pair = pair_by(tls=TlsMode.VERIFY_CA, files=reachable.files())
    certify(reachable.server, reachable.authority, days=-1)
    try:
        reachable.server.reload()
        site = pair.site(Side.SOURCE)
        # The reload reaches the server a moment after it was asked for.
        wait_until("the server shows its new certificate", lambda: not lets_in(site))

        error = refused(pair)

        assert error.reason == "TlsRefused"
        assert "expired" in error.hint
    finally:
        certify(reachable.server, reachable.authority)
        reachable.server.reload()


def lets_in(site: Site) -> bool:
    try:
        connect(site).close()
    except BadConfig:
        return False
    return True


def test_a_password_that_was_rotated_is_read_at_the_next_connection(pair: Pair) -> None:
    """The Secret's files change; no worker is restarted."""
    site = pair.site(Side.SOURCE)
    connect(site).close()
    with pair.source.connect() as connection:
        connection.execute("create role turned login superuser password 'new'")
    try:
        directory = Path(site.connection.credentials)
        (directory / "username").write_text("turned\n", encoding="utf-8")

        assert refused_ordinary(pair).reason == "ConnectionRefused"

        (directory / "password").write_text("new\r\n", encoding="utf-8")
        with connect(site) as session:
            assert session.info.user == "turned"
    finally:
        pair.source.run("drop role turned")


def refused_ordinary(pair: Pair) -> BadConfig:
    with pytest.raises(BadConfig) as error:
        connect(pair.site(Side.SOURCE)).close()
    return error.value


def test_an_empty_password_is_refused_by_its_file(pair: Pair) -> None:
    site = pair.site(Side.SOURCE)
    (Path(site.connection.credentials) / "password").write_text("\n", encoding="utf-8")

    error = refused_ordinary(pair)

    assert "the password in credentials" in str(error)


# --- a pooler in front ---

BOUNCER = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
ignore_startup_parameters = {ignored}
"""


@pytest.fixture(params=["session", "transaction"])
def pooled(
    request: pytest.FixtureRequest, pair: Pair, tmp_path: Path
) -> Iterator[Callable[..., Pair]]:
    """`pooled(ignored=...)`: the same pair, its source by way of PgBouncer."""
    running: list[subprocess.Popen[bytes]] = []

    def start(ignored: str = "") -> Pair:
        port = free_port()
        config = tmp_path / "pgbouncer.ini"
        text = BOUNCER.format(
            server=pair.source.server.port, port=port, mode=request.param, ignored=ignored
        )
        user, secret = pair.users[0]
        text = text.replace("port=", f"user={user} password={secret} port=")
        config.write_text(text, encoding="utf-8")
        for place in (config, *list(tmp_path.parents)[:2], tmp_path):
            place.chmod(0o755)
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None, "install Debian's package pgbouncer"
        command = [program, str(config)]
        if os.getuid() == 0:  # it refuses to run as root
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        wait_until("the pooler listens", lambda: listens(port, running[0]))
        through = Reached(pair.source.server, pair.source.name, port=port)
        return Pair(through, pair.target, pair.migration, pair.directory, pair.users)

    yield start
    for process in running:
        process.kill()
        process.wait()


def listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "pgbouncer ended"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("ignored", ["", "options,extra_float_digits"])
def test_a_pooler_in_front_is_refused_with_its_reason(
    pooled: Callable[..., Pair], ignored: str
) -> None:
    """Whether it refuses our settings, or swallows them: values would travel in the forms of its own sessions."""
    pair = pooled(ignored=ignored)
    config = pair.config(Role.ASSESS)

    findings = PostgresEndpoint(config, Side.SOURCE).assess(other=None)

    (found,) = [each for each in findings if each.reason == "PoolerInFront"]
    assert "the server's own host and port in spec.source" in found.remedy
