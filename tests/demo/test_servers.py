"""The servers that everything else stands on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from demo.servers import NoServer, Server, find_binaries, wheel_binaries

from servers import APPLICATION, Database, Pair


def test_a_server_streams_logically_and_listens_on_loopback_only(pg: Server) -> None:
    with pg.connect() as connection:
        level = connection.execute("show wal_level").fetchone()
        listens = connection.execute("show listen_addresses").fetchone()

    assert (level, listens) == (("logical",), ("127.0.0.1",))


def test_a_wrong_password_is_refused(pg: Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        pg.connect(password="wrong")


def test_a_database_with_slots_can_be_dropped(pg: Server) -> None:
    with pg.database() as name, pg.connect(name) as connection:
        connection.execute("select pg_create_logical_replication_slot('left_over', 'pgoutput')")

    with pg.connect() as connection:
        left = connection.execute(
            "select count(*) from pg_replication_slots where slot_name = 'left_over'"
        ).fetchone()
    assert left == (0,)


def test_a_crashed_server_starts_again_on_its_port_with_its_rows() -> None:
    with Server() as server:
        with server.connect() as connection:
            connection.execute("create table kept as select 7 as n")
            connection.execute("checkpoint")
        port = server.port
        server.stop(signal.SIGQUIT)
        server.start()

        with server.connect() as connection:
            assert connection.execute("select n from kept").fetchone() == (7,)
        assert server.port == port


def test_a_server_dies_with_the_process_that_started_it() -> None:
    code = "from demo.servers import Server; s = Server().start(); print(s.pid, s.directory, flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    assert child.stdin is not None
    pid, directory = child.stdout.readline().split()
    watched = os.pidfd_open(int(pid))
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()

    import select
    import shutil

    ended, _, _ = select.select([watched], [], [], 20)
    os.close(watched)
    shutil.rmtree(directory)
    assert ended


def test_missing_binaries_are_an_error_that_says_where_they_were_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BOWLINE_PG_BIN", str(tmp_path))
    with pytest.raises(NoServer, match="BOWLINE_PG_BIN"):
        find_binaries()


def test_the_wheel_brings_a_server() -> None:
    binaries = wheel_binaries()

    assert binaries is not None
    assert (binaries / "pg_dump").exists()


def test_a_pair_is_a_whole_configuration(pair: Pair, database: Database) -> None:
    config = pair.config()
    database.run("create table t (n int)", f"grant insert on t to {APPLICATION}")

    assert config.source.database == pair.source.name
    assert database.value("select count(*) from t") == 0
