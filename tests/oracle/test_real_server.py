"""What a real server is to the tests that run on one: shown with the stand-in in its place, by its address alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import oracledb
import pytest

from oracle.server import MARK, VARIABLES, Real, Unusable
from oracle.standin.process import StandInProcess
from oracle.standin.whole import SERVICE

SYS = "secret"
HERE = Path(__file__).parent


CHOSEN = (
    "test_prepare.py",
    "test_snapshot.py",
    "test_driver.py",
    "test_engine_dml.py",
    "test_engine_queries.py",
)


def url(port: int) -> str:
    return f"oracle://SYS:{SYS}@127.0.0.1:{port}/{SERVICE}?bowline=BOWLINE"


def as_sys(here: Real, *statements: str) -> None:
    mode = oracledb.AUTH_MODE_SYSDBA
    with (
        oracledb.connect(user="SYS", password=SYS, dsn=here.dsn, mode=mode) as connection,
        connection.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def empty() -> Iterator[StandInProcess]:
    with StandInProcess([], sys=SYS) as server:
        yield server


def test_a_url_is_read_whole() -> None:
    found = Real.parse("oracle://SYS:p%40ss@db.example:1522/FREEPDB1")

    assert (found.dsn, found.user, found.password) == ("db.example:1522/FREEPDB1", "SYS", "p@ss")
    assert found.bowline[0] == "C##BOWLINE"


@pytest.mark.parametrize("wrong", ["SYS/secret@db", "oracle://SYS:secret@db", "oracle://SYS@db/X"])
def test_a_url_that_lacks_something_is_refused_without_its_password(wrong: str) -> None:
    with pytest.raises(Unusable, match="oracle://SYS:password@host") as refused:
        Real.parse(wrong)
    assert "secret" not in str(refused.value)


def test_users_that_tests_did_not_make_are_not_dropped(empty: StandInProcess) -> None:
    here = Real.parse(url(empty.port))
    as_sys(here, 'create user SHOP identified by "theirs"', "grant create session to SHOP")

    with pytest.raises(Unusable, match="SHOP that tests did not make"), here.users():
        pass
    oracledb.connect(user="SHOP", password="theirs", dsn=here.dsn).close()


def test_users_that_a_killed_run_left_are_made_anew_and_taken_away(empty: StandInProcess) -> None:
    here = Real.parse(url(empty.port))
    as_sys(
        here,
        f'create user {MARK} identified by "x" account lock',
        'create user SHOP identified by "of the killed run"',
    )
    with here.users():
        oracledb.connect(user="SHOP", password="shop", dsn=here.dsn).close()

    with pytest.raises(oracledb.DatabaseError, match="ORA-01017"):
        oracledb.connect(user="SHOP", password="shop", dsn=here.dsn)


@pytest.mark.slow
def test_tests_meet_the_server_that_is_named_and_leave_nothing(empty: StandInProcess) -> None:
    chosen = [str(HERE / name) for name in CHOSEN]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen],
        env=os.environ | {VARIABLES[0]: url(empty.port)},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout[-4000:]
    met = re.search(rf"(\d+) tests met the server of {VARIABLES[0]}", ran.stdout)
    assert met is not None, ran.stdout[-2000:]
    assert int(met[1]) > 10
    with Real.parse(url(empty.port)).users():
        pass
