"""Connections to Oracle in the driver's thin mode, with fixed session settings, and errors as the contract's.

How to get there: host and port with a service name or SID, or an alias. An alias is looked up in `tnsnames.ora` beside
the credentials; what is no alias there may be an easy connect string (`//db1:1521/shop`, `tcps://...`). With `tls.mode`
require or more the protocol is TCPS. Who signs the server's certificate is told by a wallet beside the credentials
(`ewallet.pem`, its password in `wallet_password`) or by `ca.crt`; a client's own certificate is the wallet's, or
`tls.crt` with `tls.key`. Oracle has no way to ask for encryption and go on without: `prefer` is TCP.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import oracledb

from bowline_worker.contract import (
    BadConfig,
    BowlineError,
    Connection,
    NotPermitted,
    Role,
    TlsMode,
    TryAgain,
    Unsupported,
)
from bowline_worker.endpoints.site import Site, read_credentials

#: Literals of redo, and what the server makes of text, follow the session: the default DD-MON-RR loses the time of day.
SETTINGS: Final = {
    "nls_date_format": "SYYYY-MM-DD HH24:MI:SS",
    "nls_timestamp_format": "SYYYY-MM-DD HH24:MI:SS.FF9",
    "nls_timestamp_tz_format": "SYYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM",
    "nls_numeric_characters": ".,",
    "nls_calendar": "GREGORIAN",
    "nls_sort": "BINARY",
    "nls_comp": "BINARY",
    "nls_length_semantics": "BYTE",
    "time_zone": "+00:00",
}
CONNECT_TIMEOUT_SECONDS: Final = 10
#: Between two probes of a silent server, so that one which is gone does not hold a step of a switch for hours.
PROBE_MINUTES: Final = 1

_ENCRYPTED: Final = frozenset((TlsMode.REQUIRE, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL))
#: An alias that asks for TCPS by itself is checked in full, unless it was said that it shall not be.
_NAME_UNCHECKED: Final = frozenset((TlsMode.REQUIRE, TlsMode.VERIFY_CA))

#: The user, its password, or its lock; an alias, a file of aliases or a SID that is not there.
_MISTAKES: Final = frozenset(
    ("ORA-01017", "ORA-28000", "ORA-28001", "ORA-12505", "DPY-4000", "DPY-4026", "DPY-6003")
)
#: A privilege, or the quota that a grant would give. A view without a grant is one that does not exist.
_NOT_PERMITTED: Final = frozenset(("ORA-01031", "ORA-00942", "ORA-01950", "ORA-01536"))
#: A server older than 12.1, or one that insists on encryption other than TLS, needs Oracle's own client library.
_NOT_IN_THIN_MODE: Final = frozenset(("DPY-3010", "DPY-3001", "DPY-5016", "DPY-3015"))

#: With these the driver says that it could not connect, or is not connected any more; why is in the line below.
_WRAPPERS: Final = ("DPY-6005", "DPY-6000", "DPY-4011")


def application_name(site: Site, role: Role) -> str:
    """See Site.session_name: V$SESSION.CLIENT_IDENTIFIER, which holds no more."""
    return site.session_name(role, 64)


def connect(site: Site) -> oracledb.Connection:
    """Open a session with the settings above. Credentials are read afresh each time: they may have been rotated."""
    with translated(site, "could not connect", is_connecting=True):
        connection = oracledb.connect(**parameters(site))
    try:
        with translated(site, "could not prepare the session"):
            connection.client_identifier = application_name(site, site.config.role)
            connection.module = "bowline"
            connection.outputtypehandler = _exactly
            with connection.cursor() as cursor:
                pairs = " ".join(f"{name} = '{value}'" for name, value in SETTINGS.items())
                cursor.execute(f"alter session set {pairs}")
    except BaseException:
        connection.close()
        raise
    return connection


def parameters(site: Site) -> dict[str, Any]:
    """What the driver is told. BadConfig where a file that it would need is missing."""
    place, credentials = site.connection, read_credentials(site.connection)
    directory = Path(place.credentials)
    found: dict[str, Any] = {
        "user": credentials.username,
        "password": credentials.password.get_secret_value(),
        "tcp_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "expire_time": PROBE_MINUTES,
        "disable_oob": True,
    }
    if place.tns_alias:
        found |= {"dsn": place.tns_alias, "config_dir": str(directory)}
    else:
        found |= {"host": place.host, "port": place.port}
        found |= {"sid": place.sid} if place.sid else {"service_name": place.service_name}
    if place.tls_mode in _ENCRYPTED:
        found["protocol"] = "tcps"
    if place.tls_mode in _ENCRYPTED or place.tns_alias:  # an alias may say tcps itself
        found |= _encryption(place, directory)
    return found


def _encryption(place: Connection, directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"ssl_server_dn_match": place.tls_mode not in _NAME_UNCHECKED}
    password = directory / "wallet_password"
    if password.exists():
        found["wallet_password"] = password.read_text(encoding="utf-8")
    if (directory / "ewallet.pem").exists():
        return {**found, "wallet_location": str(directory)}
    return {**found, "ssl_context": _context(place, directory)}


def _context(place: Connection, directory: Path) -> ssl.SSLContext:
    """What certificates are checked against; the driver itself compares the name in them."""
    context = ssl.create_default_context()
    context.check_hostname = False
    try:
        if (authority := directory / "ca.crt").exists():
            context.load_verify_locations(authority)
        if (own := directory / "tls.crt").exists():
            context.load_cert_chain(own, directory / "tls.key")
    except (OSError, ssl.SSLError) as error:
        raise BadConfig(
            f"could not use the certificates in {directory}: {error}",
            hint="ca.crt, tls.crt and tls.key are PEM files",
        ) from None
    if place.tls_mode is TlsMode.REQUIRE:
        context.verify_mode = ssl.CERT_NONE
    return context


def _exactly(cursor: oracledb.Cursor, metadata: oracledb.FetchInfo) -> oracledb.Var | None:
    """Fetch NUMBER as Decimal (a float has 15 digits) and LOBs as their content, in the same round trip.

    Text with an IS JSON constraint stays text: the driver would parse it, and numbers in it lose digits.
    """
    kinds = {
        oracledb.DB_TYPE_NUMBER: Decimal,
        oracledb.DB_TYPE_CLOB: oracledb.DB_TYPE_LONG,
        oracledb.DB_TYPE_NCLOB: oracledb.DB_TYPE_LONG_NVARCHAR,
        oracledb.DB_TYPE_BLOB: oracledb.DB_TYPE_LONG_RAW,
    }
    kind = kinds.get(metadata.type_code) or (metadata.type_code if metadata.is_json else None)
    return None if kind is None else cursor.var(kind, arraysize=cursor.arraysize)


@contextmanager
def translated(site: Site, what: str = "", *, is_connecting: bool = False) -> Iterator[None]:
    """Turn the driver's errors into the contract's; `what` says what was tried."""
    try:
        yield
    except oracledb.Error as error:
        raise translate(site, error, what, is_connecting=is_connecting) from error


def translate(
    site: Site, error: oracledb.Error, what: str = "", *, is_connecting: bool = False
) -> BowlineError:
    """The contract's error for one of the driver's. What is not known may pass: it is tried again, and named."""
    code = code_of(error)
    prefix = f"{what}: " if what else ""
    said = f"{site.side} at {site.place}: {prefix}{one_line(error)}"
    if code in _MISTAKES:
        hint = f"check spec.{site.side} and its Secret"
        return BadConfig(said, reason="ConnectionRefused", hint=hint)
    if code in _NOT_PERMITTED:
        return NotPermitted(said, hint="run the SQL of `bowline grants`")
    if code in _NOT_IN_THIN_MODE:
        hint = "needs Oracle 12.1 or newer, and TLS (spec tls.mode) instead of native network encryption"
        return Unsupported(said, hint=hint)
    if is_connecting or _is_dead(error):
        return TryAgain(said, reason="Unreachable")
    return TryAgain(said, reason="DatabaseError")


def code_of(error: oracledb.Error) -> str:
    """`ORA-00942` or `DPY-6003`; empty where none is given."""
    code, colon, _ = one_line(error).partition(": ")
    known = str(getattr(_details(error), "full_code", "") or "")
    return code if colon and code[:4] in ("ORA-", "DPY-") else known


def one_line(error: oracledb.Error) -> str:
    """What was met, in one line: of what follows, a part may hold a row's values, and a part is advice for others."""
    lines = str(getattr(_details(error), "message", error)).strip().splitlines()
    if not lines:
        return type(error).__name__
    is_wrapped = lines[0].startswith(_WRAPPERS) and len(lines) > 1
    return lines[1] if is_wrapped and not lines[1].startswith("Help:") else lines[0]


def _is_dead(error: oracledb.Error) -> bool:
    return bool(getattr(_details(error), "is_session_dead", False))


def _details(error: oracledb.Error) -> object:
    return error.args[0] if error.args else error


def quote(*names: str) -> str:
    """Quote an identifier, dotted from its parts. Oracle's can't hold a double quote."""
    return ".".join(f'"{name}"' for name in names)
