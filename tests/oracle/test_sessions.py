"""Other sessions: the right one is ended, and nobody goes on before it holds nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import oracledb
import pytest

from bowline_worker.bookkeeping import Backend
from bowline_worker.contract import NotPermitted, Role, TryAgain
from bowline_worker.endpoints.oracle.connection import application_name, connect
from bowline_worker.endpoints.oracle.sessions import end_backends, end_sessions, kill, own_backend
from bowline_worker.endpoints.site import Site
from oracle.standin.backend import Value
from oracle.standin.engine.rights import DBA_PRIVILEGES
from oracle.standin.engine.session import Session
from oracle.world import World, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(World, tmp_path) as found:
        found.run("create table item (id number primary key)")
        yield found


@pytest.fixture
def ours(here: World) -> Iterator[oracledb.Connection]:
    with closing(connect(here.site)) as connection:
        yield connection


@pytest.fixture
def other(here: World) -> Iterator[oracledb.Connection]:
    with closing(connect(here.site)) as connection:
        yield connection


def write(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("insert into shop.item values (1)")


def is_alive(connection: oracledb.Connection) -> bool:
    with connection.cursor() as cursor:
        try:
            cursor.execute("select 1 from dual")
        except oracledb.Error:
            return False
    return True


def servers(here: World, backend: Backend) -> Session:
    """The session at the server's end."""
    return here.stand_in.database.sessions[backend.pid]


def without_alter_system(here: World) -> None:
    rights = here.stand_in.database.users["BOWLINE"]
    rights.privileges = set(DBA_PRIVILEGES) - {"ALTER SYSTEM"} | {"SELECT_CATALOG_ROLE"}


def test_a_session_is_told_by_its_sid_serial_number_instance_and_logon(
    other: oracledb.Connection,
) -> None:
    with other.cursor() as cursor:
        cursor.execute(
            "select s.sid, s.serial#, s.inst_id, s.logon_time from gv$session s"
            " where s.sid = sys_context('USERENV', 'SID')"
        )
        ((sid, serial, instance, logon),) = cursor.fetchall()

    assert own_backend(other) == Backend(
        pid=int(sid), started=f"{serial},{instance},{logon:%Y-%m-%d %H:%M:%S}"
    )


def test_two_sessions_are_never_taken_for_each_other(
    ours: oracledb.Connection, other: oracledb.Connection
) -> None:
    assert own_backend(ours) != own_backend(other)
    assert own_backend(ours) == own_backend(ours)


def test_ending_a_session_takes_back_what_it_wrote(
    here: World, ours: oracledb.Connection, other: oracledb.Connection
) -> None:
    write(other)

    end_backends(ours, [own_backend(other)])

    write(ours)
    ours.commit()
    assert not is_alive(other)
    assert is_alive(ours)


@pytest.mark.parametrize("part", ["serial", "instance", "logon"])
def test_a_session_that_only_has_the_same_sid_is_left_alone(
    ours: oracledb.Connection, other: oracledb.Connection, part: str
) -> None:
    backend = own_backend(other)
    serial, instance, logon = backend.started.split(",")
    started = {
        "serial": f"{int(serial) + 1},{instance},{logon}",
        "instance": f"{serial},{int(instance) + 1},{logon}",
        "logon": f"{serial},{instance},2001-01-01 00:00:00",
    }[part]

    end_backends(ours, [replace(backend, started=started)])

    assert is_alive(other)


def test_a_session_that_is_gone_is_no_error(here: World, ours: oracledb.Connection) -> None:
    with closing(connect(here.site)) as past:
        backend = own_backend(past)

    end_backends(ours, [backend])


def test_no_sessions_are_ended_at_once(ours: oracledb.Connection) -> None:
    end_backends(ours, [])


def test_all_of_several_are_ended(here: World, ours: oracledb.Connection) -> None:
    with closing(connect(here.site)) as one, closing(connect(here.site)) as two:
        end_backends(ours, [own_backend(one), own_backend(two)])

        assert not is_alive(one)
        assert not is_alive(two)


def test_a_session_that_stays_is_named(
    ours: oracledb.Connection, other: oracledb.Connection
) -> None:
    backend = own_backend(other)

    with pytest.raises(TryAgain, match=f"sessions {backend.pid} do not end within") as caught:
        end_backends(ours, [backend], timeout=-1)

    assert caught.value.reason == "BackendStays"
    assert is_alive(other)


@pytest.mark.parametrize("renumbered", [False, True], ids=["same number", "another number"])
def test_a_killed_session_that_still_rolls_back_is_waited_for(
    here: World, ours: oracledb.Connection, other: oracledb.Connection, renumbered: bool
) -> None:
    """To go on would be to read what it is about to take back."""
    write(other)
    backend = own_backend(other)
    victim = servers(here, backend)
    with here.stand_in.database.lock:
        victim.killed = True
        victim.serial += renumbered

    with pytest.raises(TryAgain, match=str(backend.pid)):
        end_backends(ours, [backend], timeout=0.1)

    with here.stand_in.database.lock:
        victim.end(commit=False)
    end_backends(ours, [backend])


def test_a_stopped_process_that_never_hears_of_its_end_is_not_waited_for(
    here: World, ours: oracledb.Connection, other: oracledb.Connection
) -> None:
    write(other)
    backend = own_backend(other)

    end_backends(ours, [backend])

    assert servers(here, backend).killed


def test_sessions_are_ended_by_their_name_and_the_asker_is_not(
    here: World, ours: oracledb.Connection, other: oracledb.Connection
) -> None:
    name = application_name(here.site, here.site.config.role)
    config = here.site.config.model_copy(update={"role": Role.VERIFY})
    with closing(connect(Site(config, here.site.side))) as verify:
        end_sessions(ours, name)

        assert is_alive(verify)
    assert not is_alive(other)
    assert is_alive(ours)


def test_an_application_that_took_our_name_is_left_alone(
    here: World, ours: oracledb.Connection
) -> None:
    name = application_name(here.site, here.site.config.role)
    here.app.client_identifier = name
    here.run("insert into item values (7)")

    end_sessions(ours, name)

    here.app.commit()


def test_killing_a_session_twice_is_no_error(
    ours: oracledb.Connection, other: oracledb.Connection
) -> None:
    backend = own_backend(other)
    serial, instance, _ = backend.started.split(",")
    for _ in range(2):
        kill(ours, backend.pid, int(serial), int(instance))
    assert not is_alive(other)

    kill(ours, backend.pid, int(serial), int(instance))


def test_ending_a_session_commits_nothing_of_ours(
    here: World, ours: oracledb.Connection, other: oracledb.Connection
) -> None:
    write(ours)

    end_backends(ours, [own_backend(other)])

    ours.rollback()
    here.run("insert into item values (1)")


def test_without_the_privilege_the_user_is_told(
    here: World, ours: oracledb.Connection, other: oracledb.Connection
) -> None:
    without_alter_system(here)
    backend = own_backend(other)

    with pytest.raises(NotPermitted, match=f"session {backend.pid}.*ALTER SYSTEM") as caught:
        end_backends(ours, [backend])

    assert "bowline grants" in caught.value.hint
    assert is_alive(other)


def test_on_rds_its_package_ends_sessions(
    here: World, ours: oracledb.Connection, other: oracledb.Connection
) -> None:
    without_alter_system(here)
    database = here.stand_in.database

    def run(_: Session, __: re.Match[str], binds: Mapping[str, Value]) -> Mapping[str, Value]:
        victim = database.sessions[int(str(binds["SID"]))]
        assert victim.serial == int(str(binds["SERIAL"]))
        database.kill(victim)
        return {}

    block = r"begin rdsadmin\.rdsadmin_util\.kill\(:sid, :serial, 'IMMEDIATE'\); end;"
    database.plsql.append((re.compile(block), run))
    write(other)

    end_backends(ours, [own_backend(other)])

    assert not is_alive(other)
