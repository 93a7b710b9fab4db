"""Rows that go from socket to socket: the same bytes as by libpq, whatever their size, and errors on either side."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from bowline_worker.endpoints.postgres import relay
from bowline_worker.endpoints.postgres.copying import copy_in, copy_out, relay_out
from servers import Database

TABLE = "create table {} (id int, a text, b bytea)"
#: Small, empty and NULL, of the size of a look, and several times that.
ROWS = f"""
insert into t select i, repeat('x', i % 200), case when i % 3 = 0 then null else '\\x00'::bytea end
    from generate_series(1, 20000) i;
insert into t select i, repeat('y', {relay.LOOK_BYTES} + i), null::bytea from generate_series(-20, 20) i;
insert into t values (0, repeat('z', 5 << 20), repeat('\\001', 3 << 20)::bytea);
insert into t select i, null::text, null::bytea from generate_series(1, 3) i"""


@pytest.fixture
def two(databases: tuple[Database, Database]) -> tuple[Database, Database]:
    source, target = databases
    source.run(TABLE.format("t"), *ROWS.split(";\n"))
    target.run(TABLE.format("t"))
    return source, target


@pytest.mark.parametrize("form", ["binary", "text"])
def test_every_row_arrives_as_it_was(two: tuple[Database, Database], form: str) -> None:
    source, target = two
    out = f"copy t to stdout (format {form})"
    with source.connect() as origin, target.connect() as receiver:
        assert relay.is_bare(origin)
        frames = list(relay_out(origin, out))
        assert all(isinstance(each, relay.Framed) for each in frames)
        relayed = b"".join(row for each in frames for row in each.rows())  # type: ignore[attr-defined]
        assert relayed == b"".join(copy_out(origin, out))

        rows = copy_in(receiver, f"copy t from stdin (format {form})", relay_out(origin, out))

        assert rows == origin.execute("select count(*) from t").fetchone()[0]  # type: ignore[index]
        # Both sessions are good for more.
        assert origin.execute("select 1").fetchone() == (1,)
    digest = "select count(*), sum(hashtextextended(t::text, 0)::numeric) from t"
    assert source.rows(digest) == target.rows(digest)


def test_framed_rows_reach_a_session_that_is_encrypted(
    two: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = two
    with source.connect() as origin, target.connect() as receiver:
        frames = list(relay_out(origin, "copy t to stdout"))
        monkeypatch.setattr("bowline_worker.endpoints.postgres.copying.is_bare", lambda _: False)

        assert copy_in(receiver, "copy t from stdin", frames) == 20045
        assert not any(
            isinstance(each, relay.Framed) for each in relay_out(origin, "copy t to stdout")
        )


def test_an_error_of_the_origin_between_rows_is_told(two: tuple[Database, Database]) -> None:
    source, _ = two
    with source.connect() as origin:
        with pytest.raises(errors.DivisionByZero):
            list(relay_out(origin, "copy (select 1 / (15000 - id), a, b from t) to stdout"))
        assert origin.execute("select 1").fetchone() == (1,)


def test_a_row_that_the_receiver_refuses_is_told(two: tuple[Database, Database]) -> None:
    source, target = two
    target.run("alter table t add check (id <> 15000)")
    with source.connect() as origin, target.connect() as receiver:
        with pytest.raises(errors.CheckViolation):
            copy_in(receiver, "copy t from stdin", relay_out(origin, "copy t to stdout"))
        assert receiver.execute("select count(*) from t").fetchone() == (0,)


def test_an_origin_that_is_killed_between_rows_is_a_lost_connection(
    two: tuple[Database, Database],
) -> None:
    source, _ = two
    with source.connect() as origin:
        rows = relay_out(origin, "copy (select t.* from t, generate_series(1, 50)) to stdout")
        next(rows)
        source.run(f"select pg_terminate_backend({origin.info.backend_pid}, 5000)")
        with pytest.raises(psycopg.OperationalError):
            list(rows)
