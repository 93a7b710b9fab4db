"""Every way to reach Oracle, through the real driver; and what a user is told where it does not lead there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracledb
import pytest

from bowline_worker.contract import (
    BadConfig,
    BowlineError,
    NotPermitted,
    TlsMode,
    TryAgain,
    Unsupported,
)
from bowline_worker.endpoints.oracle.connection import connect, translate
from bowline_worker.endpoints.site import Site
from oracle.standin.backend import Column, Kind, OraError, Result
from oracle.wire_rig import (
    ECHO,
    PASSWORD,
    SERVICE,
    SID,
    USER,
    Request,
    Rig,
    certificate,
    close,
    running,
    table,
)
from oracle.world import a_secret, a_site

SETTLE = (
    "alter session set nls_date_format = 'SYYYY-MM-DD HH24:MI:SS'"
    " nls_timestamp_format = 'SYYYY-MM-DD HH24:MI:SS.FF9'"
    " nls_timestamp_tz_format = 'SYYYY-MM-DD HH24:MI:SS.FF9 TZH:TZM'"
    " nls_numeric_characters = '.,' nls_calendar = 'GREGORIAN' nls_sort = 'BINARY' nls_comp = 'BINARY'"
    " nls_length_semantics = 'BYTE' time_zone = '+00:00'"
)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return a_secret(tmp_path, USER, PASSWORD)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with running() as rig:
        rig.script[SETTLE] = lambda _: Result()
        yield rig


def site(secret: Path, port: int, **place: Any) -> Site:
    return a_site(secret, port, **({"service_name": SERVICE} | place))


def travels(place: Site) -> None:
    """One row goes there and comes back."""
    with closing(connect(place)) as connection, connection.cursor() as cursor:
        cursor.execute(ECHO, ["a row"])
        assert cursor.fetchone() == ("a row",)


def aliases(secret: Path, rig: Rig, protocol: str = "tcp") -> None:
    address = f"(ADDRESS=(PROTOCOL={protocol})(HOST=127.0.0.1)(PORT={rig.server.port}))"
    (secret / "tnsnames.ora").write_text(
        f"shop = (DESCRIPTION={address}(CONNECT_DATA=(SERVICE_NAME={SERVICE})))\n"
    )


def test_by_service_name(rig: Rig, secret: Path) -> None:
    travels(site(secret, rig.server.port))


def test_by_sid(rig: Rig, secret: Path) -> None:
    travels(site(secret, rig.server.port, service_name="", sid=SID))


def test_by_an_alias_beside_the_credentials(rig: Rig, secret: Path) -> None:
    aliases(secret, rig)

    travels(site(secret, 1, service_name="", tns_alias="shop"))


def test_by_an_easy_connect_string(rig: Rig, secret: Path) -> None:
    travels(site(secret, 1, service_name="", tns_alias=f"//127.0.0.1:{rig.server.port}/{SERVICE}"))


@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
@pytest.mark.parametrize("who", ["wallet", "authority"])
def test_encrypted(secret: Path, mode: TlsMode, who: str) -> None:
    with running(tls=certificate(secret)) as rig:
        rig.script[SETTLE] = lambda _: Result()
        if who == "authority":
            (secret / "ewallet.pem").rename(secret / "ca.crt")

        travels(site(secret, rig.server.port, tls_mode=mode))


def test_encrypted_by_an_alias_that_says_so(secret: Path) -> None:
    with running(tls=certificate(secret)) as rig:
        rig.script[SETTLE] = lambda _: Result()
        aliases(secret, rig, "tcps")

        travels(site(secret, 1, service_name="", tns_alias="shop"))


@pytest.mark.parametrize("alias", ["", "shop"])
def test_a_server_that_nobody_vouches_for_gets_no_password(secret: Path, alias: str) -> None:
    with running(tls=certificate(secret)) as rig:
        (secret / "ewallet.pem").unlink()
        aliases(secret, rig, "tcps")
        place = (
            {"tns_alias": "shop", "service_name": ""} if alias else {"tls_mode": TlsMode.VERIFY_CA}
        )

        with pytest.raises(TryAgain, match="CERTIFICATE_VERIFY_FAILED"):
            connect(site(secret, rig.server.port, **place))
        assert rig.engines == []


def test_certificates_that_are_none_are_named(secret: Path) -> None:
    (secret / "ca.crt").write_text("no certificate")

    with pytest.raises(BadConfig, match=r"could not use the certificates in .*/secret"):
        connect(site(secret, 1, tls_mode=TlsMode.VERIFY_CA))


def test_a_rotated_password_is_used_by_the_next_connection(rig: Rig, secret: Path) -> None:
    place = site(secret, rig.server.port)
    (secret / "password").write_text("yesterday's")
    with pytest.raises(BadConfig, match="ORA-01017") as caught:
        connect(place)
    assert caught.value.hint == "check spec.source and its Secret"

    (secret / "password").write_text(PASSWORD)

    travels(place)


def test_sessions_are_found_by_their_name(rig: Rig, secret: Path) -> None:
    travels(site(secret, rig.server.port))

    assert rig.engine.identity["client_identifier"] == "bowline capture default.shop"
    assert rig.engine.identity["module"] == "bowline"


def test_numbers_are_exact_and_lobs_are_their_content(rig: Rig, secret: Path) -> None:
    number = Decimal("1234567890123456789012345678.9012345678")
    columns = [Column("N", Kind.NUMBER), Column("C", Kind.CLOB), Column("B", Kind.BLOB)]
    rig.script["select n, c, b from t"] = table(columns, [(number, "é" * 5000, b"\0\xff")])

    place = site(secret, rig.server.port)
    with closing(connect(place)) as connection, connection.cursor() as cursor:
        cursor.execute("select n, c, b from t")
        assert cursor.fetchall() == [(number, "é" * 5000, b"\0\xff")]


def refuse(code: int, message: str) -> Any:
    def answer(_: Request) -> Result:
        raise OraError(code, message)

    return answer


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        (942, NotPermitted, "bowline grants"),
        (1031, NotPermitted, "bowline grants"),
        (28001, BadConfig, "check spec.source"),
        (54, TryAgain, ""),
        (3113, TryAgain, ""),
    ],
)
def test_an_error_is_the_contracts(
    rig: Rig, secret: Path, code: int, kind: type[BowlineError], hint: str
) -> None:
    place = site(secret, rig.server.port)
    rig.script["lock"] = refuse(code, "what the server says\nORA-03301: with a row's values")
    connection = connect(place)
    with connection.cursor() as cursor, pytest.raises(oracledb.Error) as caught:
        cursor.execute("lock")
    close(connection)

    error = translate(place, caught.value, "could not lock")

    assert type(error) is kind
    assert hint in (error.hint or "")
    assert f"source at 127.0.0.1:{rig.server.port}/shop: could not lock: ORA-{code:05d}" in str(
        error
    )
    assert "values" not in str(error)


@pytest.mark.parametrize(
    ("place", "kind", "what"),
    [
        ({"service_name": "NOBODY"}, TryAgain, "DPY-6001"),  # a server that starts has none yet
        ({"service_name": "", "sid": "NOBODY"}, BadConfig, "DPY-6003"),
        ({"service_name": "", "tns_alias": "nobody"}, BadConfig, "DPY-40"),
    ],
)
def test_a_place_that_is_not_there_is_named(
    rig: Rig, secret: Path, place: dict[str, Any], kind: type[BowlineError], what: str
) -> None:
    with pytest.raises(kind, match=what):
        connect(site(secret, rig.server.port, **place))


def test_a_server_that_is_away_is_tried_again(secret: Path) -> None:
    with running() as rig:
        port = rig.server.port

    with pytest.raises(TryAgain, match="could not connect") as caught:
        connect(site(secret, port))
    assert caught.value.reason == "Unreachable"


def test_a_server_that_is_too_old_is_refused() -> None:
    error = oracledb.NotSupportedError(
        "DPY-3010: connections to this database server version are not supported"
    )
    place = site(Path("/nowhere"), 1)

    assert isinstance(translate(place, error), Unsupported)
