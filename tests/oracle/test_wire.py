"""The wire of the stand-in for Oracle, seen by the real driver: logging on, sessions, transactions, and their ends."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import oracledb
import pytest

from oracle.standin.backend import Account, Column, Kind, OraError, Result
from oracle.standin.wire.server import Server
from oracle.wire_rig import (
    ECHO,
    PASSWORD,
    SERVICE,
    SID,
    USER,
    Engine,
    Request,
    Rig,
    affecting,
    certificate,
    close,
    running,
    table,
)

INSERT = "insert into t values (1)"
SET_LANGUAGE = "alter session set nls_language = 'ENGLISH'"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running() as rig:
        rig.script[INSERT] = affecting(1)
        yield rig


def one(connection: oracledb.Connection, value: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(ECHO, [value])
        (row,) = cursor.fetchall()
        return row[0]


def test_a_client_with_the_right_password_is_let_in(rig: Rig) -> None:
    with rig.connected() as connection:
        assert connection.version == "19.3.0.0.0"
        assert connection.service_name == SERVICE
        assert connection.max_open_cursors == 300
        assert one(connection, 7) == 7
    assert rig.engine.service == SERVICE


@pytest.mark.parametrize(
    ("user", "password"),
    [(USER, "wrong"), (USER, PASSWORD.upper()), ("NOBODY", PASSWORD), ('"scott"', PASSWORD)],
)
def test_a_wrong_password_and_an_unknown_user_are_refused_alike(
    rig: Rig, user: str, password: str
) -> None:
    with (
        pytest.raises(oracledb.DatabaseError, match="ORA-01017"),
        rig.connected(user=user, password=password),
    ):
        pass


@pytest.mark.parametrize(
    "option", [{"mode": oracledb.AUTH_MODE_SYSDBA}, {"newpassword": "new"}], ids=str
)
def test_only_ordinary_sessions_are_let_in(rig: Rig, option: dict[str, Any]) -> None:
    with pytest.raises(oracledb.DatabaseError, match="ORA-01031"), rig.connected(**option):
        pass


@pytest.mark.parametrize("user", [USER.lower(), f'"{USER}"'])
def test_an_unquoted_user_is_in_capitals(rig: Rig, user: str) -> None:
    with rig.connected(user=user) as connection:
        connection.ping()


@pytest.mark.parametrize(
    ("option", "name", "code"),
    [("service_name", "NOWHERE", "DPY-6001"), ("sid", "NOWHERE", "DPY-6003")],
)
def test_an_unknown_service_is_not_taken_for_an_unknown_sid(
    rig: Rig, option: str, name: str, code: str
) -> None:
    place = {"host": "127.0.0.1", "port": rig.server.port, option: name}
    with (
        pytest.raises(oracledb.DatabaseError, match=code),
        rig.connected(dsn=None, **place),
    ):
        pass


@pytest.mark.parametrize(
    ("option", "name", "known"),
    [("service_name", SERVICE.lower(), SERVICE), ("sid", SID.lower(), SID)],
)
def test_services_and_sids_are_found_whatever_their_case(
    rig: Rig, option: str, name: str, known: str
) -> None:
    place = {"host": "127.0.0.1", "port": rig.server.port, option: name}
    with rig.connected(dsn=None, **place):
        assert rig.engine.service == known


def test_a_long_connect_string_comes_in_a_packet_of_its_own(rig: Rig) -> None:
    with rig.connected(program="p" * 200, machine="m" * 50, osuser="o" * 50):
        assert rig.engine.identity["program"] == "p" * 200


def test_an_account_is_for_its_own_services() -> None:
    def connect(service: str) -> Engine:
        return Engine(service, {}, [])

    accounts = [
        Account("A", "a", ["ONE"], connect),
        Account("B", "b", ["ONE", "TWO"], connect),
    ]
    with running(accounts=accounts) as rig:
        dsn = f"127.0.0.1:{rig.server.port}"
        with rig.connected(user="A", password="a", dsn=f"{dsn}/ONE") as connection:
            connection.ping()
        with (
            pytest.raises(oracledb.DatabaseError, match="ORA-01017"),
            rig.connected(user="A", password="a", dsn=f"{dsn}/TWO"),
        ):
            pass


def test_an_engine_may_refuse_a_session() -> None:
    def connect(service: str) -> Engine:
        raise OraError(1033, f"{service} is being started")

    with (
        running(accounts=[Account(USER, PASSWORD, [SERVICE], connect)]) as rig,
        pytest.raises(oracledb.DatabaseError, match="ORA-01033: FREEPDB1 is being started"),
        rig.connected(),
    ):
        pass


@pytest.mark.parametrize("field_version", [7, 8, 9, 11, 12, 14, 16, 17, 18, 20, 24])
def test_each_version_of_the_fields_is_spoken(field_version: int) -> None:
    with running(field_version=field_version, release=(23, 4, 0, 0, 0)) as rig:
        rig.script[INSERT] = affecting(3)
        with rig.connected() as connection, connection.cursor() as cursor:
            cursor.execute(INSERT)

            assert connection.version == "23.4.0.0.0"
            assert cursor.rowcount == 3
            assert one(connection, "text") == "text"
            with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
                cursor.execute("select 1 from nothing")


def test_a_session_knows_who_uses_it(rig: Rig) -> None:
    with rig.connected(program="prog", machine="host", terminal="tty", osuser="os") as connection:
        told = {name: rig.engine.identity[name] for name in ("program", "machine", "osuser")}
        assert told == {"program": "prog", "machine": "host", "osuser": "os"}
        assert rig.engine.identity["time_zone"] == "+00:00"

        connection.client_identifier = "bowline"
        connection.module, connection.action = "möd", "act"
        connection.clientinfo, connection.dbop = "info", "op"
        connection.current_schema = "OTHER"
        connection.ping()

        changed = {
            "client_identifier": "bowline",
            "module": "möd",
            "action": "act",
            "client_info": "info",
            "dbop": "op",
            "schema": "OTHER",
        }
        assert changed.items() <= rig.engine.identity.items()

        connection.module = None  # type: ignore[assignment]  # the driver takes it, its types do not
        connection.ping()
        assert rig.engine.identity["module"] is None
        assert rig.engine.identity["client_identifier"] == "bowline"


def test_a_transaction_is_in_progress_until_it_ends(rig: Rig) -> None:
    with rig.connected() as connection, connection.cursor() as cursor:
        states = [connection.transaction_in_progress]
        for end in (connection.commit, connection.rollback):
            cursor.execute(INSERT)
            states.append(connection.transaction_in_progress)
            end()
            states.append(connection.transaction_in_progress)

        assert states == [False, True, False, True, False]
        assert rig.done[-4:] == [INSERT, "commit", INSERT, "rollback"]


def test_closing_within_a_transaction_rolls_back(rig: Rig) -> None:
    with rig.connected() as connection, connection.cursor() as cursor:
        cursor.execute(INSERT)
    assert rig.engine.closed.wait(5)
    assert rig.done[-1] == "rollback"


def test_autocommit_commits_with_the_statement(rig: Rig) -> None:
    with rig.connected() as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for _ in range(2):  # the second is a re-execution
            cursor.execute(INSERT)
            assert not connection.transaction_in_progress
            assert rig.done[-2:] == [INSERT, "commit"]


def test_a_pooled_session_is_used_again_and_set_up_once(rig: Rig) -> None:
    rig.script[SET_LANGUAGE] = affecting(0)
    before = len(rig.engines)

    def set_up(connection: oracledb.Connection, _: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(SET_LANGUAGE)

    pool = oracledb.create_pool(
        user=USER, password=PASSWORD, dsn=rig.dsn, min=1, max=2, session_callback=set_up
    )
    try:
        for number in range(3):
            with pool.acquire() as connection:
                assert one(connection, number) == number
        with pool.acquire() as first, pool.acquire() as second:
            assert (one(first, "a"), one(second, "b")) == ("a", "b")
    finally:
        pool.close(force=True)

    assert len(rig.engines) - before == 2
    assert rig.done.count(SET_LANGUAGE) == 2


def test_a_server_has_one_of_the_two_lengths_of_strings() -> None:
    with pytest.raises(ValueError, match="max_string is 5000"):
        Server([], max_string=5000)


def test_two_sessions_are_apart(rig: Rig) -> None:
    with rig.connected() as first, rig.connected() as second:
        with first.cursor() as cursor:
            cursor.execute(INSERT)
        second.ping()

        assert first.transaction_in_progress
        assert not second.transaction_in_progress
        assert rig.engines[-2] is not rig.engines[-1]
        first.rollback()


def test_a_session_that_waits_keeps_no_other_waiting(rig: Rig) -> None:
    waits, goes_on = threading.Event(), threading.Event()

    def wait(_: Request) -> Result:
        waits.set()
        assert goes_on.wait(10)
        return Result(rowcount=5)

    rig.script["update t set a = 1"] = wait
    with rig.connected() as first, rig.connected() as second:
        cursor = first.cursor()
        waiting = threading.Thread(target=cursor.execute, args=["update t set a = 1"])
        waiting.start()
        assert waits.wait(10)
        assert one(second, "meanwhile") == "meanwhile"
        goes_on.set()
        waiting.join()

        assert cursor.rowcount == 5
        first.rollback()


def test_the_asynchronous_driver_is_served_as_well(rig: Rig) -> None:
    rig.script["select n from many"] = table(
        [Column("N", Kind.VARCHAR2)], [[f"row {n}"] for n in range(250)]
    )

    async def use() -> list[Any]:
        connection = await oracledb.connect_async(user=USER, password=PASSWORD, dsn=rig.dsn)
        async with connection:
            with connection.cursor() as cursor:
                await cursor.execute("select n from many")
                return list(await cursor.fetchall())

    # The driver leaves the transport of a connection to the loop's end, which complains if it comes at once.
    assert asyncio.run(use())[-1] == ("row 249",)


def test_a_server_that_stops_ends_its_sessions() -> None:
    with running() as rig:
        connection = oracledb.connect(user=USER, password=PASSWORD, dsn=rig.dsn)
        assert rig.server.sessions == 1
    assert rig.engine.closed.is_set()
    assert rig.server.sessions == 0
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        connection.ping()
    close(connection)


@pytest.mark.parametrize("dn_match", [True, False])
def test_tls_is_spoken_from_the_first_byte(tmp_path: Path, dn_match: bool) -> None:
    with running(tls=certificate(tmp_path)) as rig:
        place = {
            "protocol": "tcps",
            "host": "127.0.0.1",
            "port": rig.server.port,
            "service_name": SERVICE,
            "wallet_location": str(tmp_path),
            "ssl_server_dn_match": dn_match,
        }
        with rig.connected(dsn=None, **place) as connection:
            assert one(connection, "x" * 100_000) == "x" * 100_000


@pytest.mark.parametrize("tls", [True, False])
def test_a_server_stops_at_once_even_if_a_client_says_nothing(tmp_path: Path, tls: bool) -> None:
    with running(tls=certificate(tmp_path) if tls else None) as rig:
        client = socket.create_connection(("127.0.0.1", rig.server.port))
        deadline = time.monotonic() + 10
        while not rig.server.sessions:
            assert time.monotonic() < deadline, "the client was not taken in"
    client.close()

    assert rig.server.sessions == 0


def test_a_client_without_the_certificate_is_not_fooled(tmp_path: Path) -> None:
    with running(tls=certificate(tmp_path)) as rig:
        place = {"host": "127.0.0.1", "port": rig.server.port, "service_name": SERVICE}
        with (
            pytest.raises(oracledb.DatabaseError, match="CERTIFICATE_VERIFY_FAILED"),
            rig.connected(dsn=None, protocol="tcps", **place),
        ):
            pass
