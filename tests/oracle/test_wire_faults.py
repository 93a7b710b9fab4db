"""What goes wrong between a client and the server: interrupts, lost replies, connections that drop."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import oracledb
import pytest

from oracle.standin.backend import Column, Kind, Result, SessionDead, Value
from oracle.standin.wire.faults import Call, When
from oracle.standin.wire.replies import cancelled
from oracle.wire_rig import ECHO, PASSWORD, USER, Request, Rig, affecting, close, running, table

INSERT = "insert into t values (1)"
UPDATE = "update other set a = 1"
LONG = "begin dbms_session.sleep(1000); end;"
ENDLESS = "select n from endless"

N = Column("N", Kind.NUMBER)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with running() as rig:
        rig.script[INSERT] = affecting(1)
        rig.script[UPDATE] = affecting(1)
        rig.script["select n from some"] = table([N], [[None]] * 100)
        yield rig


@pytest.fixture
def connection(rig: Rig) -> Iterator[oracledb.Connection]:
    with rig.connected() as connection:
        yield connection


def execute(connection: oracledb.Connection, text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text)


def fetch(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.arraysize = 10
        cursor.execute("select n from some")
        cursor.fetchall()


def read_lob(connection: oracledb.Connection) -> None:
    connection.createlob(oracledb.DB_TYPE_CLOB, "x")


CALLS: list[tuple[Call, Callable[[oracledb.Connection], Any]]] = [
    (Call.EXECUTE, lambda connection: execute(connection, INSERT)),
    (Call.FETCH, fetch),
    (Call.COMMIT, oracledb.Connection.commit),
    (Call.ROLLBACK, oracledb.Connection.rollback),
    (Call.PING, oracledb.Connection.ping),
    (Call.LOB, read_lob),
]


@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize(("call", "make"), CALLS, ids=[call for call, _ in CALLS])
def test_a_dropped_call_is_a_lost_connection_to_the_client(
    rig: Rig, call: Call, make: Callable[[oracledb.Connection], Any], when: When
) -> None:
    with rig.connected() as connection:
        fault = rig.server.faults.drop(call, when)
        with pytest.raises(oracledb.DatabaseError, match="DPY-4011") as caught:
            make(connection)

        assert fault.happened.is_set()
        assert caught.value.args[0].isrecoverable
        assert not connection.is_healthy()
        assert rig.engine.closed.wait(5)
    with rig.connected() as connection:  # it happens once
        make(connection)


@pytest.mark.parametrize(("when", "is_done"), [(When.BEFORE, False), (When.AFTER, True)])
def test_a_lost_commit_was_done_or_not(
    rig: Rig, connection: oracledb.Connection, when: When, is_done: bool
) -> None:
    execute(connection, INSERT)
    rig.server.faults.drop(Call.COMMIT, when)
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        connection.commit()
    assert rig.engine.closed.wait(5)

    assert rig.done == ([INSERT, "commit"] if is_done else [INSERT])


@pytest.mark.parametrize("when", list(When))
def test_an_autocommitted_execution_is_lost_as_a_whole(
    rig: Rig, connection: oracledb.Connection, when: When
) -> None:
    connection.autocommit = True
    rig.server.faults.drop(Call.EXECUTE, when)
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        execute(connection, INSERT)
    assert rig.engine.closed.wait(5)

    assert rig.done == ([INSERT, "commit"] if when is When.AFTER else [])


def test_the_nth_execution_of_a_statement_is_dropped(
    rig: Rig, connection: oracledb.Connection
) -> None:
    fault = rig.server.faults.drop(Call.EXECUTE, When.BEFORE, nth=3, containing="INTO T")
    for _ in range(2):
        execute(connection, INSERT)
        execute(connection, UPDATE)
    assert not fault.happened.is_set()

    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        execute(connection, INSERT)


def test_plans_are_cleared(rig: Rig, connection: oracledb.Connection) -> None:
    rig.server.faults.drop(Call.PING, When.BEFORE)
    rig.server.faults.clear()

    connection.ping()


def test_a_session_that_the_engine_ends_is_lost_without_a_reply(
    rig: Rig, connection: oracledb.Connection
) -> None:
    def die(_: Request) -> Result:
        raise SessionDead

    rig.script["alter system kill session"] = die
    with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
        execute(connection, "alter system kill session")

    assert rig.engine.closed.wait(5)


#: A client that is killed within a transaction.
KILLED = """
import os, signal, sys, oracledb
connection = oracledb.connect(user=sys.argv[1], password=sys.argv[2], dsn=sys.argv[3])
connection.cursor().execute(sys.argv[4])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_client_that_is_killed_leaves_no_session(rig: Rig) -> None:
    client = [sys.executable, "-c", KILLED, USER, PASSWORD, rig.dsn, INSERT]
    assert subprocess.run(client, check=False).returncode == -signal.SIGKILL

    assert rig.engine.closed.wait(5)
    assert rig.done == [INSERT]  # neither a commit nor a rollback was asked for


def test_a_call_that_takes_too_long_ends_and_the_session_goes_on(
    rig: Rig, connection: oracledb.Connection
) -> None:
    def sleep(request: Request) -> Result:
        assert request.engine.interrupted is not None
        while not request.engine.interrupted.wait(10):
            pass
        raise cancelled()

    rig.script[LONG] = sleep
    connection.call_timeout = 100
    with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
        execute(connection, LONG)

    connection.call_timeout = 0
    with connection.cursor() as cursor:
        assert cursor.execute(ECHO, ["on"]).fetchall() == [("on",)]


def test_a_query_is_interrupted_between_its_rows(rig: Rig, connection: oracledb.Connection) -> None:
    given: list[int] = []

    def rows() -> Iterator[list[Value]]:
        for number in range(10_000):
            given.append(number)
            threading.Event().wait(0.01)  # each row takes its time
            yield [None]

    rig.script[ENDLESS] = lambda _: Result(columns=[N], rows=rows())
    connection.call_timeout = 100
    with connection.cursor() as cursor:
        cursor.prefetchrows = 10_000
        with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
            cursor.execute(ENDLESS)
    connection.call_timeout = 0
    connection.ping()

    assert len(given) < 10_000


def cancelling(connection: oracledb.Connection, started: threading.Event) -> threading.Thread:
    """Cancel from another thread what has started by then."""

    def cancel() -> None:
        assert started.wait(10)
        connection.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    return thread


def test_another_thread_cancels_a_statement(rig: Rig, connection: oracledb.Connection) -> None:
    started = threading.Event()

    def sleep(request: Request) -> Result:
        assert request.engine.interrupted is not None
        started.set()
        while not request.engine.interrupted.is_set():
            pass
        request.engine.interrupted.clear()
        raise cancelled()

    rig.script[LONG] = sleep
    canceller = cancelling(connection, started)
    with pytest.raises(oracledb.DatabaseError, match="ORA-01013"):
        execute(connection, LONG)
    canceller.join()

    connection.ping()


@pytest.mark.parametrize("batcherrors", [False, True])
def test_an_array_is_interrupted_between_its_rows(
    rig: Rig, connection: oracledb.Connection, batcherrors: bool
) -> None:
    done: list[Value] = []
    started = threading.Event()

    def slow(request: Request) -> Result:
        threading.Event().wait(0.01)
        done.extend(request.values)
        started.set()
        return Result(rowcount=1)

    rig.script["insert into t values (:1)"] = slow
    canceller = cancelling(connection, started)
    rows = [(number,) for number in range(10_000)]
    with connection.cursor() as cursor, pytest.raises(oracledb.DatabaseError, match="ORA-01013"):
        cursor.executemany("insert into t values (:1)", rows, batcherrors=batcherrors)
    canceller.join()

    assert connection.transaction_in_progress
    assert 0 < len(done) < 10_000


def test_a_cancel_that_comes_too_late_is_answered_all_the_same(
    rig: Rig, connection: oracledb.Connection
) -> None:
    def finish(request: Request) -> Result:
        connection.cancel()  # the marker is on its way while this statement ends
        return Result(rowcount=1)

    rig.script[LONG] = finish
    with pytest.raises(oracledb.DatabaseError, match="ORA-01013"):
        execute(connection, LONG)

    assert rig.done[-1] == LONG
    connection.ping()


def finish_late(request: Request) -> Result:
    """Notice the interrupt, and do it all the same."""
    assert request.engine.interrupted is not None
    assert request.engine.interrupted.wait(10)
    return Result(rowcount=1)


def time_out(connection: oracledb.Connection, text: str) -> None:
    connection.call_timeout = 100
    with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
        execute(connection, text)
    connection.call_timeout = 0


def test_a_failure_after_a_timeout_drops_all_of_its_own_request(
    rig: Rig, connection: oracledb.Connection
) -> None:
    rig.script[INSERT] = finish_late
    time_out(connection, INSERT)

    with connection.cursor() as cursor:
        cursor.setinputsizes(None, oracledb.DB_TYPE_JSON)
        with pytest.raises(oracledb.DatabaseError, match="ORA-03115"):
            cursor.executemany("insert into t values (:1, :2)", [(n, None) for n in range(20_000)])
        assert cursor.connection.is_healthy()
    with connection.cursor() as cursor:
        assert cursor.execute(ECHO, ["on"]).fetchall() == [("on",)]


@pytest.mark.parametrize("rows", [1, 20_000])
def test_a_reply_that_crosses_the_timeout_does_not_spoil_the_next_call(
    rig: Rig, connection: oracledb.Connection, rows: int
) -> None:
    rig.script[INSERT] = finish_late
    time_out(connection, INSERT)

    received: list[Value] = []

    def take(request: Request) -> Result:
        received.extend(request.values)
        return Result(rowcount=1)

    rig.script["insert into t values (:1)"] = take
    with connection.cursor() as cursor:
        # Many packets are under way when the server asks for the reset.
        cursor.executemany("insert into t values (:1)", [(n,) for n in range(rows)])
        assert cursor.rowcount == rows
        assert cursor.execute(ECHO, ["on"]).fetchall() == [("on",)]
    assert received == list(range(rows))


def test_a_server_that_stops_interrupts_what_is_at_work() -> None:
    started = threading.Event()

    def sleep(request: Request) -> Result:
        assert request.engine.interrupted is not None
        started.set()
        request.engine.interrupted.wait(1000)
        raise cancelled()

    errors: list[str] = []

    def call(connection: oracledb.Connection) -> None:
        try:
            execute(connection, LONG)
        except oracledb.DatabaseError as error:
            errors.append(str(error))

    with running() as rig:
        rig.script[LONG] = sleep
        connection = oracledb.connect(user=USER, password=PASSWORD, dsn=rig.dsn)
        caller = threading.Thread(target=call, args=[connection])
        caller.start()
        assert started.wait(10)
    caller.join()
    close(connection)

    assert "DPY-4011" in errors[0]
    assert rig.engine.closed.is_set()


def test_what_is_not_the_protocol_ends_the_connection(rig: Rig) -> None:
    for garbage in (
        b"GET / HTTP/1.0\r\n\r\n",
        bytes(8),
        b"\0\x08\0\0\x63\0\0\0",  # a packet of an unknown type
        b"\0\x0a\0\0\x01\0\0\0ab",  # a CONNECT that is cut
    ):
        with socket.create_connection(("127.0.0.1", rig.server.port)) as client:
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""
