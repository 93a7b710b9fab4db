"""LOBs over the wire: as locators, as strings, and temporary ones that the client fills."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import oracledb
import pytest

from oracle.standin.backend import Column, Kind, Result, Value
from oracle.standin.wire.lobs import Lobs
from oracle.wire_rig import Request, Rig, running, table

ROCKET = "aé😀z"  # 5 characters as Oracle counts, in UTF-16 units

INSERT = "insert into t values (:1)"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running() as rig:
        yield rig


@pytest.fixture
def connection(rig: Rig) -> Iterator[oracledb.Connection]:
    with rig.connected() as connection:
        yield connection


def the_lob(
    rig: Rig, connection: oracledb.Connection, value: Value, kind: Kind, *, national: bool = False
) -> Any:
    """Fetch a LOB as its locator."""
    text = f"select c from t{len(rig.script)}"
    rig.script[text] = table([Column("C", kind, national=national)], [[value]])
    with connection.cursor() as cursor:
        cursor.execute(text)
        (row,) = cursor.fetchall()
        return row[0]


@pytest.mark.parametrize(
    ("kind", "national", "value", "size"),
    [
        (Kind.CLOB, False, ROCKET, 5),
        (Kind.CLOB, True, ROCKET, 5),
        (Kind.CLOB, False, "plain", 5),
        (Kind.CLOB, False, "", 0),
        (Kind.CLOB, False, "long 😀 " * 20_000, 160_000),
        (Kind.BLOB, False, b"\0\xff", 2),
        (Kind.BLOB, False, b"", 0),
        (Kind.BLOB, False, bytes(range(256)) * 1000, 256_000),
    ],
)
def test_a_lob_is_read_by_its_locator(
    rig: Rig,
    connection: oracledb.Connection,
    kind: Kind,
    national: bool,
    value: str | bytes,
    size: int,
) -> None:
    lob = the_lob(rig, connection, value, kind, national=national)

    assert lob.size() == size
    assert lob.getchunksize() == 8060
    assert lob.read() == value


def test_parts_of_a_clob_are_counted_as_oracle_counts(
    rig: Rig, connection: oracledb.Connection
) -> None:
    lob = the_lob(rig, connection, ROCKET, Kind.CLOB)

    assert lob.read(1, 2) == "aé"
    assert lob.read(3, 2) == "😀"
    assert lob.read(5, 100) == "z"
    assert lob.read(6, 1) == ""


def test_parts_of_a_blob_are_bytes(rig: Rig, connection: oracledb.Connection) -> None:
    lob = the_lob(rig, connection, b"abcdef", Kind.BLOB)

    assert lob.read(2, 3) == b"bcd"
    assert lob.read(7, 3) == b""


def test_a_null_is_no_lob(rig: Rig, connection: oracledb.Connection) -> None:
    assert the_lob(rig, connection, None, Kind.CLOB) is None
    assert the_lob(rig, connection, None, Kind.BLOB) is None


@pytest.mark.parametrize("fetch_lobs", [True, False])
def test_lobs_of_many_rows_are_fetched_in_batches(
    rig: Rig, connection: oracledb.Connection, fetch_lobs: bool
) -> None:
    columns = [Column("N", Kind.VARCHAR2), Column("C", Kind.CLOB), Column("B", Kind.BLOB)]
    rows: list[list[Value]] = [
        [f"{number}", f"text {number} é" * number, bytes([number]) * number] for number in range(90)
    ]
    rows[50] = ["50", None, None]
    rig.script["select * from lobs"] = table(columns, rows)

    for _ in range(2):  # the second time the client has said what it wants
        with connection.cursor() as cursor:
            cursor.arraysize = 20
            cursor.execute("select * from lobs", fetch_lobs=fetch_lobs)
            got = [
                [value.read() if isinstance(value, oracledb.LOB) else value for value in row]
                for row in cursor
            ]

        # A LONG that is empty is NULL.
        assert got[0] == (["0", "", b""] if fetch_lobs else ["0", None, None])
        assert got[1:] == rows[1:]


def test_a_clob_is_fetched_as_text_where_an_output_handler_wants_it(
    rig: Rig, connection: oracledb.Connection
) -> None:
    rig.script["select c from handled"] = table([Column("C", Kind.CLOB)], [["text 😀"]])

    def as_long(cursor: oracledb.Cursor, column: oracledb.FetchInfo) -> oracledb.Var:
        return cursor.var(oracledb.DB_TYPE_LONG, arraysize=cursor.arraysize)

    with connection.cursor() as cursor:
        cursor.outputtypehandler = as_long
        assert cursor.execute("select c from handled").fetchall() == [("text 😀",)]


@pytest.mark.parametrize(
    ("db_type", "value", "kind", "national"),
    [
        (oracledb.DB_TYPE_CLOB, ROCKET, Kind.CLOB, False),
        (oracledb.DB_TYPE_NCLOB, ROCKET, Kind.CLOB, True),
        (oracledb.DB_TYPE_CLOB, "x" * 100_000, Kind.CLOB, False),
        (oracledb.DB_TYPE_BLOB, b"\0\1", Kind.BLOB, False),
        (oracledb.DB_TYPE_BLOB, b"x" * 100_000, Kind.BLOB, False),
        (oracledb.DB_TYPE_CLOB, "", Kind.CLOB, False),
    ],
)
def test_a_temporary_lob_is_bound(
    rig: Rig,
    connection: oracledb.Connection,
    db_type: oracledb.DbType,
    value: str | bytes,
    kind: Kind,
    national: bool,
) -> None:
    got: list[Request] = []

    def take(request: Request) -> Result:
        got.append(request)
        return Result(rowcount=1)

    rig.script[INSERT] = take
    lob = connection.createlob(db_type, value)
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [lob])

    (bind,) = got[0].binds
    assert (bind.kind, bind.national) == (kind, national)
    assert got[0].values == [value]
    assert lob.read() == value
    connection.rollback()


def test_a_temporary_lob_is_written_in_parts_trimmed_and_opened(
    connection: oracledb.Connection,
) -> None:
    lob = connection.createlob(oracledb.DB_TYPE_CLOB)
    lob.open()
    assert lob.isopen()
    lob.write("hello world")
    lob.write("😀", 7)
    lob.close()

    assert not lob.isopen()
    assert lob.read() == "hello 😀rld"
    lob.trim(5)
    assert (lob.size(), lob.read()) == (5, "hello")
    lob.write("!", 8)
    assert lob.read() == "hello  !"


def test_a_temporary_blob_is_written_in_parts(connection: oracledb.Connection) -> None:
    lob = connection.createlob(oracledb.DB_TYPE_BLOB)
    lob.write(b"abc", 3)
    lob.write(b"X" * 40_000, 5)

    assert lob.read() == b"\0\0ab" + b"X" * 40_000


def test_a_temporary_lob_is_freed_when_the_client_forgets_it(
    connection: oracledb.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    free = Lobs.free

    def count(lobs: Lobs, locator: bytes) -> None:
        free(lobs, locator)
        left.append(lobs.temporary)

    monkeypatch.setattr(Lobs, "free", count)
    kept = connection.createlob(oracledb.DB_TYPE_CLOB, "kept")
    forgotten = [connection.createlob(oracledb.DB_TYPE_BLOB, b"forgotten") for _ in range(3)]
    del forgotten
    connection.ping()

    assert left == [3, 2, 1]
    assert kept.read() == "kept"


def test_a_lob_of_a_table_is_not_written_behind_the_engine(
    rig: Rig, connection: oracledb.Connection
) -> None:
    lob = the_lob(rig, connection, "of a table", Kind.CLOB)

    with pytest.raises(oracledb.DatabaseError, match="ORA-22920"):
        lob.write("x")
    assert lob.read() == "of a table"


def test_a_locator_of_another_session_is_unknown(rig: Rig, connection: oracledb.Connection) -> None:
    lob = the_lob(rig, connection, "mine", Kind.CLOB)
    with rig.connected() as other, other.cursor() as cursor:
        rig.script[INSERT] = lambda _: Result(rowcount=1)
        others = other.createlob(oracledb.DB_TYPE_CLOB, "other")
        with pytest.raises(oracledb.DatabaseError, match="ORA-22922"):
            cursor.execute(INSERT, [lob])
        assert others.read() == "other"


def test_a_block_gives_a_lob_out(rig: Rig, connection: oracledb.Connection) -> None:
    text = "begin :1 := big; end;"
    rig.script[text] = lambda _: Result(out={"1": "big 😀" * 10_000})
    with connection.cursor() as cursor:
        lob = cursor.var(oracledb.DB_TYPE_CLOB)
        cursor.execute(text, [lob])

        assert lob.getvalue().read() == "big 😀" * 10_000


def test_a_lob_is_returned_from_an_insert(rig: Rig, connection: oracledb.Connection) -> None:
    text = "insert into t values (1) returning c into :1"
    rig.script[text] = lambda _: Result(rowcount=1, returned=[["returned"]])
    with connection.cursor() as cursor:
        lob = cursor.var(oracledb.DB_TYPE_CLOB)
        cursor.execute(text, [lob])

        assert lob.getvalue()[0].read() == "returned"
    connection.rollback()
