"""Users of the stand-in that are made by SQL: SYS makes them, and they may do what they were granted and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import oracledb
import pytest

from oracle.standin.whole import SERVICE, StandIn

SYS = "change_on_install"


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn([], sys=SYS) as stand_in:
        yield stand_in


def connect(server: StandIn, user: str, password: str, **mode: Any) -> oracledb.Connection:
    dsn = f"127.0.0.1:{server.port}/{SERVICE}"
    return oracledb.connect(user=user, password=password, dsn=dsn, **mode)


def as_sys(server: StandIn, *statements: str) -> None:
    mode = oracledb.AUTH_MODE_SYSDBA
    with (
        closing(connect(server, "sys", SYS, mode=mode)) as connection,
        connection.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)


def refused(server: StandIn, user: str, password: str, **mode: Any) -> str:
    with pytest.raises(oracledb.DatabaseError) as denied:
        connect(server, user, password, **mode)
    return str(denied.value.args[0].full_code)


def test_a_user_that_was_made_logs_on_with_its_password_and_its_privileges(server: StandIn) -> None:
    as_sys(server, 'create user ann identified by "Secret 1"')
    assert refused(server, "ann", "Secret 1") == "ORA-01045"

    as_sys(server, "grant create session to ann")
    assert refused(server, "ann", "secret 1") == "ORA-01017"

    with closing(connect(server, "ann", "Secret 1")) as ann, ann.cursor() as cursor:
        cursor.execute("select user from dual")
        assert cursor.fetchall() == [("ANN",)]
        with pytest.raises(oracledb.DatabaseError, match="ORA-01031"):
            cursor.execute("create user bob")

    as_sys(server, "alter user ann account lock")
    assert refused(server, "ann", "Secret 1") == "ORA-28000"
    as_sys(server, 'alter user ann identified by "2" account unlock')
    connect(server, "ann", "2").close()


def test_sys_is_sysdba_and_nobody_else_is(server: StandIn) -> None:
    as_sys(server, 'create user ann identified by "x"', "grant dba to ann")

    assert refused(server, "sys", SYS) == "ORA-28009"
    assert refused(server, "ann", "x", mode=oracledb.AUTH_MODE_SYSDBA) == "ORA-01031"


def test_a_user_goes_with_all_that_is_its_own(server: StandIn) -> None:
    as_sys(
        server,
        'create user ann identified by "x"',
        'create user bob identified by "x"',
        "grant dba to ann",
        "grant create session to bob",
        "create table ann.item (id number(9) primary key)",
        "create table bob.other (id number(9) primary key)",
        "create trigger ann.watch before insert on bob.other begin null; end;",
        "grant select on ann.item to bob",
    )
    with (
        closing(connect(server, "ann", "x")),
        pytest.raises(oracledb.DatabaseError, match="ORA-01940"),
    ):
        as_sys(server, "drop user ann cascade")
    with pytest.raises(oracledb.DatabaseError, match="ORA-01922"):
        as_sys(server, "drop user ann")

    as_sys(server, "drop user ann cascade")

    assert server.database.containers[next(iter(server.database.containers))].triggers == {}
    assert refused(server, "ann", "x") == "ORA-01017"
    as_sys(
        server,
        'create user ann identified by "x"',
        "create table ann.item (id number(9) primary key)",
    )
    with (
        closing(connect(server, "bob", "x")) as bob,
        bob.cursor() as cursor,
        pytest.raises(oracledb.DatabaseError, match="ORA-00942"),
    ):
        cursor.execute("select id from ann.item")


def test_who_was_killed_and_has_not_noticed_does_not_keep_a_user(server: StandIn) -> None:
    as_sys(server, 'create user ann identified by "x"', "grant create session to ann")
    with closing(connect(server, "ann", "x")) as ann, ann.cursor() as cursor:
        cursor.execute("select sys_context('USERENV', 'SID') from dual")
        ((sid,),) = cursor.fetchall()
        with pytest.raises(oracledb.DatabaseError, match="ORA-01940"):
            as_sys(server, "drop user ann")
        (serial,) = [
            one.serial for one in server.database.sessions.values() if str(one.sid) == str(sid)
        ]
        as_sys(server, f"alter system kill session '{sid},{serial}' immediate", "drop user ann")

        with pytest.raises(oracledb.DatabaseError, match=r"ORA-00028|DPY-4011"):
            cursor.execute("select user from dual")
