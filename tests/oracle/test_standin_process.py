"""The stand-in in a process of its own: reached through the driver, turned while it runs, gone with its owner."""

from __future__ import annotations

from contextlib import closing

import oracledb
import pytest

from oracle.standin.process import DROP, StandInProcess
from oracle.standin.whole import SERVICE
from oracle.world import APP


def connected(server: StandInProcess) -> oracledb.Connection:
    dsn = f"127.0.0.1:{server.port}/{SERVICE}"
    return oracledb.connect(user=APP[0], password=APP[1], dsn=dsn)


def test_a_dropped_commit_took_effect_or_not_and_is_counted() -> None:
    with StandInProcess([APP]) as server:
        with closing(connected(server)) as connection, connection.cursor() as cursor:
            cursor.execute("create table t (n number(9))")
            server.set({DROP: 0.5})  # one way or the other, always
            cursor.execute("insert into t values (1)")
            with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
                connection.commit()
        server.set({DROP: 0})
        fired = server.fired()
        with closing(connected(server)) as connection, connection.cursor() as cursor:
            there = cursor.execute("select count(*) from t").fetchone()
    assert fired in ({"drop_before_commit": 1}, {"drop_after_commit": 1})
    assert there == (fired.get("drop_after_commit", 0),)


def test_an_adversity_is_turned_on_while_it_runs() -> None:
    with StandInProcess([APP]) as server, closing(connected(server)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("create table t (n number(9))")
            assert not server.fired().get("switch")
            server.set({"switch": "always"})
            cursor.execute("insert into t values (1)")
            connection.commit()
        assert server.fired()["switch"] > 0


def test_it_ends_with_its_owner() -> None:
    with StandInProcess([APP]) as server:
        process = server._process
    assert process.returncode == 0
