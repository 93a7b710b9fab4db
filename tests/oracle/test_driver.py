"""What the real driver does with a server, as its manual says and Bowline relies on: the stand-in, or a named one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import oracledb
import pytest

from oracle.world import APP, World, world

TABLE = "create table t (id number(9) primary key, v varchar2(5), c clob, b blob)"
INSERT = "insert into t (id, v) values (:1, :2)"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(World, tmp_path_factory.mktemp("driver")) as made:
        made.run(TABLE)
        yield made


@pytest.fixture
def connection(here: World) -> Iterator[oracledb.Connection]:
    here.run("truncate table t")
    with closing(connect(here)) as connection:
        yield connection


def connect(here: World, **options: Any) -> oracledb.Connection:
    return oracledb.connect(user=APP[0], password=APP[1], dsn=here.dsn, **options)


def rows(connection: oracledb.Connection, query: str, *binds: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        return list(cursor.execute(query, binds, fetch_decimals=True) or ())


def test_an_array_tells_the_rows_of_each_execution(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, [(n, "x" if n < 3 else "y") for n in range(1, 6)])
        assert cursor.rowcount == 5
        sql = "update t set v = v || '!' where v = :1"
        cursor.executemany(sql, [("x",), ("none",), ("y",)], arraydmlrowcounts=True)

        assert cursor.getarraydmlrowcounts() == [2, 0, 3]
        assert cursor.rowcount == 5


def test_an_array_goes_on_behind_its_errors_and_tells_which(
    connection: oracledb.Connection,
) -> None:
    given = [(1, "a"), (1, "twice"), (2, "too long"), (3, "c"), (None, "d")]
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, given, batcherrors=True, arraydmlrowcounts=True)
        errors = [(error.offset, error.full_code) for error in cursor.getbatcherrors()]

        assert errors == [(1, "ORA-00001"), (2, "ORA-12899"), (4, "ORA-01400")]
        assert cursor.getarraydmlrowcounts() == [1, 0, 0, 1, 0]
    assert connection.transaction_in_progress
    assert rows(connection, "select id, v from t order by id") == [(1, "a"), (3, "c")]


def test_an_array_without_batch_errors_ends_at_the_first(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        with pytest.raises(oracledb.IntegrityError, match="ORA-00001") as caught:
            cursor.executemany(INSERT, [(1, "a"), (1, "b"), (2, "c")])
        assert caught.value.args[0].offset == 1
        assert cursor.rowcount == 1
    assert rows(connection, "select id from t") == [(1,)]


def test_returning_fills_a_variable_for_each_execution(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        found = cursor.var(str, arraysize=2)
        cursor.setinputsizes(None, 5, found)
        sql = "insert into t (id, v) values (:1, :2) returning v || id into :3"
        cursor.executemany(sql, [(1, "a"), (2, "b")])

        assert [found.getvalue(at) for at in range(2)] == [["a1"], ["b2"]]


@pytest.mark.parametrize("size", [0, 1, 40_000])
def test_lobs_come_as_locators_and_as_values(connection: oracledb.Connection, size: int) -> None:
    text, raw = "é" * size, bytes([255]) * size
    with connection.cursor() as cursor:
        cursor.execute("insert into t (id, c, b) values (1, empty_clob(), empty_blob())")
        if size:
            cursor.setinputsizes(oracledb.DB_TYPE_CLOB, oracledb.DB_TYPE_BLOB)
            cursor.execute("update t set c = :1, b = :2", [text, raw])
        clob, blob = next(iter(cursor.execute("select c, b from t", fetch_lobs=True) or ()))
        assert (clob.size(), blob.size()) == (size, size)
        if size:
            assert (clob.read(), blob.read()) == (text, raw)
            assert clob.read(size, 1) == "é"
            clob, blob = next(iter(cursor.execute("select c, b from t", fetch_lobs=False) or ()))
            assert (clob, blob) == (text, raw)


def test_a_lob_that_is_null_is_none(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("insert into t (id) values (1)")
        assert list(cursor.execute("select c, b from t") or ()) == [(None, None)]


def test_a_call_that_takes_too_long_is_cancelled_and_the_session_lives(
    here: World, connection: oracledb.Connection
) -> None:
    rows_of = "update t set v = 'b' where id = 1"
    with closing(connect(here)) as other, connection.cursor() as cursor, other.cursor() as second:
        cursor.execute(INSERT, [1, "a"])
        connection.commit()
        cursor.execute(rows_of)
        other.call_timeout = 500
        with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
            second.execute(rows_of)
        other.call_timeout = 0

        assert rows(other, "select v from t") == [("a",)]
        connection.rollback()
        second.execute(rows_of)
        assert second.rowcount == 1


def test_a_pool_sets_a_new_session_up_once(here: World, connection: oracledb.Connection) -> None:
    begun: list[str] = []

    def begin(session: oracledb.Connection, tag: str) -> None:
        begun.append(tag)
        with session.cursor() as cursor:
            cursor.execute("alter session set nls_date_format = 'YYYY' time_zone = '+00:00'")

    pool = oracledb.create_pool(
        user=APP[0],
        password=APP[1],
        dsn=here.dsn,
        min=0,
        max=2,
        increment=1,
        session_callback=begin,
    )
    with closing(pool):
        for _ in range(2):
            with pool.acquire() as session:
                told = "select to_char(date '2024-02-29') from dual"
                assert rows(session, told) == [("2024",)]
                with session.cursor() as cursor:
                    cursor.execute(INSERT, [1, "a"])
        assert len(begun) == 1
        assert rows(connection, "select * from t") == []  # to give a session back rolls it back


def test_a_transaction_is_in_progress_until_it_ends(connection: oracledb.Connection) -> None:
    assert not connection.transaction_in_progress
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [1, "a"])
        assert connection.transaction_in_progress
        connection.rollback()
        assert not connection.transaction_in_progress
    assert rows(connection, "select * from t") == []


@pytest.mark.parametrize("autocommit", [True, False])
def test_to_close_rolls_back_what_is_not_committed(
    here: World, connection: oracledb.Connection, autocommit: bool
) -> None:
    with closing(connect(here)) as other, other.cursor() as cursor:
        other.autocommit = autocommit
        cursor.execute(INSERT, [1, "a"])
    assert rows(connection, "select id from t") == [(1,)] * autocommit


def test_what_a_session_says_of_itself_is_seen(connection: oracledb.Connection) -> None:
    connection.client_identifier, connection.module, connection.action = "bowline", "m", "a"
    asked = ", ".join(
        f"sys_context('USERENV', '{name}')"
        for name in ("CLIENT_IDENTIFIER", "MODULE", "ACTION", "SESSION_USER")
    )
    assert rows(connection, f"select {asked} from dual") == [("bowline", "m", "a", APP[0])]


def test_a_statement_is_described_anew_where_its_table_became_another(
    connection: oracledb.Connection,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("create table other (id number(9))")
        try:
            cursor.execute("insert into other values (1)")
            assert rows(connection, "select * from other") == [(1,)]
            cursor.execute("alter table other add (v varchar2(5) default 'x')")
            assert rows(connection, "select * from other") == [(1, "x")]
        finally:
            cursor.execute("drop table other purge")


def test_rows_come_in_fetches_of_the_size_that_is_asked(connection: oracledb.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.arraysize, cursor.prefetchrows = 7, 2
        cursor.execute("select level n from dual connect by level <= 40")
        assert [n for (n,) in cursor] == list(range(1, 41))
        assert cursor.rowcount == 40


CLOCK = datetime(2024, 2, 29, 23, 59, 58, 123456)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("kind", "bound", "value"),
    [
        ("number", oracledb.DB_TYPE_NUMBER, Decimal("-12345678901234567890.000000000000000001")),
        ("number(38)", oracledb.DB_TYPE_NUMBER, Decimal("9" * 38)),
        ("number", oracledb.DB_TYPE_NUMBER, Decimal("1E-130")),
        ("binary_float", oracledb.DB_TYPE_BINARY_FLOAT, 0.5),
        ("binary_double", oracledb.DB_TYPE_BINARY_DOUBLE, 0.1),
        ("binary_double", oracledb.DB_TYPE_BINARY_DOUBLE, float("-inf")),
        ("varchar2(100)", oracledb.DB_TYPE_VARCHAR, "grüße 😀"),
        ("nvarchar2(100)", oracledb.DB_TYPE_NVARCHAR, "grüße 😀"),
        ("char(3)", oracledb.DB_TYPE_CHAR, "c  "),
        ("nchar(3)", oracledb.DB_TYPE_NCHAR, "é  "),
        ("raw(10)", oracledb.DB_TYPE_RAW, b"\0\xff"),
        ("date", oracledb.DB_TYPE_DATE, CLOCK.replace(microsecond=0)),
        ("timestamp(6)", oracledb.DB_TYPE_TIMESTAMP, CLOCK),
        ("timestamp with time zone", oracledb.DB_TYPE_TIMESTAMP_TZ, CLOCK),
        ("timestamp with local time zone", oracledb.DB_TYPE_TIMESTAMP_LTZ, CLOCK),
        ("interval day(9) to second(6)", oracledb.DB_TYPE_INTERVAL_DS, timedelta(days=-1, microseconds=1)),
        ("interval year(4) to month", oracledb.DB_TYPE_INTERVAL_YM, oracledb.IntervalYM(-1, -2)),
        ("long", oracledb.DB_TYPE_LONG, "é" * 40_000),
        ("long raw", oracledb.DB_TYPE_LONG_RAW, b"\0\xff" * 40_000),
        ("clob", oracledb.DB_TYPE_LONG, "é" * 40_000),
    ],
)  # fmt: skip
def test_a_value_of_each_type_comes_back_as_it_was_bound(
    connection: oracledb.Connection, kind: str, bound: Any, value: Any
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("alter session set time_zone = '+00:00'")
        cursor.execute(f"create table kept (c {kind})")
        try:
            cursor.setinputsizes(bound)
            cursor.executemany("insert into kept values (:1)", [(value,), (None,)])
            found = cursor.execute(
                "select c from kept", fetch_decimals=kind.startswith("number"), fetch_lobs=False
            )
            assert list(found or ()) == [(value,), (None,)]
        finally:
            cursor.execute("drop table kept purge")
