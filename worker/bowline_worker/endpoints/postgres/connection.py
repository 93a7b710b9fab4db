"""Connections to PostgreSQL and YugabyteDB, with fixed session settings, and errors as the contract's.

The settings make every text form independent of what roles and databases set (see model.py). They are sent as start-up
options where that works, so that they hold in replication connections too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import psycopg
from psycopg import errors, pq, sql
from psycopg.conninfo import make_conninfo

from bowline_worker.contract import (
    BadConfig,
    Conflict,
    NotPermitted,
    Role,
    TlsMode,
    TryAgain,
    Unsupported,
)
from bowline_worker.endpoints.site import Site, read_credentials
from bowline_worker.model import Table

#: Text forms that the neutral model promises; timeouts of roles and databases must not end our sessions.
SETTINGS = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "lc_monetary": "C",
    "search_path": "pg_catalog",
    # Off, an array's NULL would be read as the word.
    "array_nulls": "on",
    "xmloption": "content",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "client_min_messages": "warning",
    # A side that is kept from writing by a default, as a new database often is until the cutover, is not read-only.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "standard_conforming_strings": "on",
    # How definitions are printed, which are compared.
    "quote_all_identifiers": "off",
    "transform_null_equals": "off",
    # A policy that hides rows from us must be an error: they would be missing on the other side.
    "row_security": "off",
}
CONNECT_TIMEOUT_SECONDS = 10
#: What undoes a transaction for another one's sake.
CONFLICTS = (errors.SerializationFailure, errors.DeadlockDetected)


def application_name(site: Site, role: Role) -> str:
    """See Site.session_name; the server cuts longer ones."""
    return site.session_name(role, 63)


def options() -> str:
    """The settings, as libpq's `options`."""
    return " ".join(
        f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in SETTINGS.items()
    )


#: A node's host and port.
Place = tuple[str, int]


def conninfo(site: Site, *, replication: bool = False, at: Place | None = None) -> str:
    """What libpq is told; `at` is a node of the server, where it is not the one of the spec."""
    host, port = at or (site.connection.host, site.connection.port)
    connection, credentials = site.connection, read_credentials(site.connection)
    parameters = {
        "host": host,
        "port": str(port),
        "dbname": connection.database,
        "user": credentials.username,
        "password": credentials.password.get_secret_value(),
        "application_name": application_name(site, site.config.role),
        "connect_timeout": str(CONNECT_TIMEOUT_SECONDS),
        "client_encoding": "UTF8",
        "options": options(),
        "sslmode": str(connection.tls_mode),
        # A silent peer must not hold a step of a switch for hours.
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": "30000",
    }
    if connection.tls_mode is not TlsMode.DISABLE:
        for option, name in (
            ("sslrootcert", "ca.crt"),
            ("sslcert", "tls.crt"),
            ("sslkey", "tls.key"),
        ):
            path = Path(connection.credentials) / name
            if path.exists():
                parameters[option] = str(path)
    if "," in host:
        # Whichever is the primary now: after a failover, the one that took over.
        parameters["target_session_attrs"] = "primary"
    if replication:
        parameters["replication"] = "database"
    return make_conninfo("", **parameters)


def connect(
    site: Site, *, autocommit: bool = True, at: Place | None = None
) -> psycopg.Connection[tuple[object, ...]]:
    """Open an ordinary connection; `.pgconn` of it is libpq's, for what psycopg does not wrap."""
    with translated(site):
        return _Session.connect(
            conninfo(site, at=at), autocommit=autocommit, prepare_threshold=None
        )


class _Session(psycopg.Connection[tuple[object, ...]]):
    """A connection whose `with` block closes it whatever happens: psycopg's leaves it open where COMMIT is refused."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            super().__exit__(exc_type, exc_val, exc_tb)
        finally:
            self.close()


def connect_replication(site: Site) -> pq.abc.PGconn:
    """Open a replication connection: psycopg has no high-level API for it."""
    pgconn = pq.PGconn.connect(conninfo(site, replication=True).encode())
    if pgconn.status != pq.ConnStatus.OK:
        message = pgconn.error_message.decode(errors="replace").strip()
        pgconn.finish()
        raise connection_error(site, message)
    return pgconn


#: What libpq, OpenSSL and the server say where certificates or the mode don't fit: no broken connection says so.
_TLS = (
    "certificate verify failed",
    "signature failure",  # an authority that was made anew under its old name
    "does not match host name",
    "server does not support SSL",
    "root certificate file",
    "private key file",
    "certificate file",
    "requires a valid client certificate",
    "certificate authentication failed",
    "alert certificate required",
    "alert unknown ca",
)
POOLER = "PoolerInFront"
#: A pooler does not know what a session of ours asks for. PgBouncer's words.
_POOLER = "unsupported startup parameter"


def no_pooler(site: Site) -> str:
    return f"put the server's own host and port in spec.{site.side}: sessions must not be shared or exchanged"


def connection_error(site: Site, message: str) -> BadConfig | NotPermitted | TryAgain:
    """Tell a wrong password, database, certificate or privilege from a server that is away."""
    where = f"could not connect to the {site.side} at {site.place}"
    message = " ".join(message.split())
    if any(text in message for text in _TLS):
        return BadConfig(
            f"{where}: {message}",
            reason="TlsRefused",
            hint=f"check spec.{site.side}.tls.mode, and ca.crt, tls.crt and tls.key in its Secret: of that authority,"
            " for that host or user, and not expired",
        )
    if _POOLER in message:
        return BadConfig(f"{where}: {message}", reason=POOLER, hint=no_pooler(site))
    for text in (
        "password authentication failed",
        "does not exist",
        "no pg_hba.conf entry",
        "no password supplied",
    ):
        if text in message:
            return BadConfig(
                f"{where}: {message}",
                reason="ConnectionRefused",
                hint=f"check spec.{site.side} and its Secret",
            )
    if "permission denied" in message or "must be superuser or replication role" in message:
        return NotPermitted(f"{where}: {message}", hint="run the SQL of `bowline grants`")
    return TryAgain(
        f"{where}: {message}",
        reason="Unreachable",
        hint=f"it is tried again by itself; if the server is up, check host and port in spec.{site.side}",
    )


@contextmanager
def translated(site: Site, what: str = "") -> Iterator[None]:
    """Turn the driver's errors into the contract's; `what` says what was tried."""
    prefix = f"{what}: " if what else ""
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise NotPermitted(
            f"{site.side}: {prefix}{one_line(error)}", hint="run the SQL of `bowline grants`"
        ) from error
    except errors.FeatureNotSupported as error:
        raise Unsupported(f"{site.side}: {prefix}{one_line(error)}") from error
    except CONFLICTS as error:
        raise Conflict(f"{site.side}: {prefix}{one_line(error)}") from error
    except errors.DiskFull as error:
        raise TryAgain(
            f"{site.side}: {prefix}{one_line(error)}",
            reason="DiskFull",
            hint=f"make room on the {site.side}'s server: it goes on by itself",
        ) from error
    except psycopg.OperationalError as error:
        if error.sqlstate is None:
            raise connection_error(site, str(error)) from error
        raise TryAgain(f"{site.side}: {prefix}{one_line(error)}") from error
    except psycopg.Error as error:
        raise TryAgain(f"{site.side}: {prefix}{one_line(error)}", reason="DatabaseError") from error


def one_line(error: psycopg.Error) -> str:
    """The server's primary message: its detail may hold a row's values."""
    return error.diag.message_primary or " ".join(str(error).split())


def quote(*names: str) -> str:
    """Quote an identifier, dotted from its parts."""
    return sql.Identifier(*names).as_string()


def copy_target(table: Table) -> str:
    """What COPY FROM fills: the written columns. A table without any takes empty lines, and no list of columns."""
    columns = ", ".join(quote(column.name) for column in table.written)
    return quote(table.name.schema, table.name.name) + (f" ({columns})" if columns else "")
