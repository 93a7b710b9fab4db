"""Statements over the wire: binds by name and place, arrays, what comes back, cursors, fetching, and errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import oracledb
import pytest

from oracle.standin.backend import Bind, Column, Kind, OraError, Result, Value
from oracle.standin.wire.cursors import MOST_CURSORS
from oracle.wire_rig import ECHO, Request, Rig, affecting, echo, running, table

N = Column("N", Kind.NUMBER)
UNIQUE = OraError(1, "unique constraint (SCOTT.PK) violated")


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running() as rig:
        yield rig


@pytest.fixture
def connection(rig: Rig) -> Iterator[oracledb.Connection]:
    with rig.connected() as connection:
        yield connection


@pytest.fixture
def cursor(connection: oracledb.Connection) -> Iterator[oracledb.Cursor]:
    with connection.cursor() as cursor:
        yield cursor


class Received:
    """A table that takes everything, and refuses what it is told to."""

    def __init__(self, refused: dict[Value, OraError] | None = None) -> None:
        self.rows: list[tuple[Value, ...]] = []
        self.binds: list[tuple[Bind, ...]] = []
        self.refused = refused or {}

    def __call__(self, request: Request) -> Result:
        if error := self.refused.get(request.values[0]):
            raise error
        self.rows.append(tuple(request.values))
        self.binds.append(tuple(request.binds))
        return Result(rowcount=1)


def names(cursor: oracledb.Cursor) -> list[str]:
    return [column.name for column in cursor.description or ()]


def number_of(value: Value) -> int:
    assert isinstance(value, Decimal)
    return int(value)


def test_binds_have_the_names_of_the_text(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "insert into t values (:a, :\"Mixed\", ':no', :A)"
    rig.script[text] = received = Received()

    cursor.execute(text, {"a": 1, '"Mixed"': "m"})

    (binds,), (row,) = received.binds, received.rows
    assert [bind.name for bind in binds] == ["A", "Mixed", "A"]
    assert row == (1, "m", 1)


def test_binds_by_place_have_numbers(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "select :1, :2 from dual"
    rig.script[text] = echo

    assert cursor.execute(text, ["a", 2]).fetchall() == [("a", 2)]
    assert names(cursor) == ["C1", "C2"]


def test_an_unknown_table_is_an_error_with_its_place(cursor: oracledb.Cursor) -> None:
    with pytest.raises(oracledb.DatabaseError) as caught:
        cursor.execute("select 1 from nowhere")

    (error,) = caught.value.args
    assert (error.code, error.full_code, error.offset) == (942, "ORA-00942", 14)
    assert error.message.startswith("ORA-00942: table or view does not exist")


def test_a_session_goes_on_after_errors(rig: Rig, cursor: oracledb.Cursor) -> None:
    for number in range(5):
        with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
            cursor.execute("select 1 from nowhere")
        assert cursor.execute(ECHO, [number]).fetchall() == [(number,)]


def test_a_fault_of_the_engine_is_told_and_not_a_lost_connection(
    rig: Rig, cursor: oracledb.Cursor, caplog: pytest.LogCaptureFixture
) -> None:
    rig.script["select n from wrong"] = table([N], [["no number"]])

    with pytest.raises(oracledb.DatabaseError, match=r"ORA-00604.*can't be a str"):
        cursor.execute("select n from wrong")

    assert "a call failed" in caplog.text
    assert cursor.execute(ECHO, [1]).fetchall() == [(1,)]


@pytest.mark.parametrize("kind", [oracledb.DB_TYPE_JSON, oracledb.DB_TYPE_CURSOR])
def test_a_type_that_is_not_spoken_is_an_error_of_its_own(
    rig: Rig, cursor: oracledb.Cursor, kind: Any
) -> None:
    rig.script["begin f(:1); end;"] = affecting(0)
    with pytest.raises(oracledb.DatabaseError, match="ORA-03115: unsupported network datatype"):
        cursor.execute("begin f(:1); end;", [cursor.var(kind)])

    assert cursor.execute(ECHO, [1]).fetchall() == [(1,)]


def test_a_call_that_is_not_spoken_is_an_error_of_its_own(
    connection: oracledb.Connection,
) -> None:
    with pytest.raises(oracledb.DatabaseError, match=r"ORA-03106.*function 103"):
        connection.tpc_begin(connection.xid(1, "a", "b"))

    connection.ping()


def test_a_client_that_fails_to_write_a_request_gives_it_up(
    rig: Rig, cursor: oracledb.Cursor
) -> None:
    text = "insert into t values (:1, :2)"
    rig.script[text] = received = Received()
    # More than a packet is sent when the driver finds the number that it can't write.
    rows: list[Any] = [("x" * 3000, Decimal(1))] * 20 + [("x", Decimal("1E+200"))]

    with pytest.raises(oracledb.DatabaseError, match="DPY-4003"):
        cursor.executemany(text, rows)

    assert received.rows == []
    assert cursor.execute(ECHO, [1]).fetchall() == [(1,)]


# Many rows


def test_ten_thousand_rows_are_inserted_at_once(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "insert into t values (:1, :2, :3)"
    rig.script[text] = received = Received()
    rows = [(number, f"row {number}", None) for number in range(10_000)]

    cursor.executemany(text, rows)

    assert cursor.rowcount == 10_000
    assert received.rows == rows


def test_the_first_failed_row_ends_an_array_and_tells_its_place(
    rig: Rig, connection: oracledb.Connection, cursor: oracledb.Cursor
) -> None:
    text = "insert into t values (:1)"
    rig.script[text] = received = Received({Decimal(3): UNIQUE})

    with pytest.raises(oracledb.IntegrityError, match="ORA-00001") as caught:
        cursor.executemany(text, [(number,) for number in range(6)])

    assert caught.value.args[0].offset == 3
    assert cursor.rowcount == 3
    assert [row[0] for row in received.rows] == [0, 1, 2]
    assert connection.transaction_in_progress


def test_batch_errors_let_the_other_rows_in(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "insert into t values (:1)"
    null = OraError(1400, 'cannot insert NULL into ("SCOTT"."T"."A")')
    rig.script[text] = received = Received({Decimal(0): UNIQUE, Decimal(7): null})

    cursor.executemany(text, [(number,) for number in range(300)], batcherrors=True)

    errors = cursor.getbatcherrors()
    assert [(error.offset, error.code) for error in errors] == [(0, 1), (7, 1400)]
    assert errors[1].message.startswith("ORA-01400: cannot insert NULL into")
    assert cursor.rowcount == 298
    assert len(received.rows) == 298


def test_thousands_of_batch_errors_are_told(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "insert into t values (:1)"
    rig.script[text] = Received({Decimal(number): UNIQUE for number in range(5000)})

    cursor.executemany(text, [(number,) for number in range(5001)], batcherrors=True)

    assert [error.offset for error in cursor.getbatcherrors()] == list(range(5000))


def test_autocommit_waits_for_an_array_without_errors(
    rig: Rig, connection: oracledb.Connection, cursor: oracledb.Cursor
) -> None:
    text = "insert into t values (:1)"
    rig.script[text] = Received({Decimal(1): UNIQUE})
    connection.autocommit = True

    cursor.executemany(text, [(0,), (1,)], batcherrors=True)
    assert connection.transaction_in_progress

    cursor.executemany(text, [(2,), (3,)], batcherrors=True)
    assert not connection.transaction_in_progress


def test_each_row_of_an_array_tells_how_many_it_changed(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "delete from t where n < :1"
    rig.script[text] = lambda request: Result(rowcount=number_of(request.values[0]))

    for _ in range(2):  # the second time the cursor is known
        cursor.executemany(text, [(3,), (0,), (500,)], arraydmlrowcounts=True)
        assert cursor.getarraydmlrowcounts() == [3, 0, 500]
        assert cursor.rowcount == 503


def test_a_long_value_comes_after_the_others_and_finds_its_place(
    rig: Rig, cursor: oracledb.Cursor
) -> None:
    text = "insert into t values (:1, :2, :3, :4)"
    rig.script[text] = received = Received()
    rows = [("l" * 70_000, 1, b"r" * 9000, "s"), ("short", 2, b"r", None)]

    cursor.executemany(text, rows)

    assert received.rows == rows
    long, short = received.binds
    assert [bind.kind for bind in long] == [Kind.LONG, Kind.NUMBER, Kind.LONG_RAW, Kind.VARCHAR2]
    assert [bind.kind for bind in short] == [Kind.VARCHAR2, Kind.NUMBER, Kind.RAW, Kind.VARCHAR2]


def test_extended_strings_are_long_only_beyond_32767_bytes() -> None:
    with running(max_string=32767) as rig, rig.connected() as connection:
        text = "insert into t values (:1, :2)"
        rig.script[text] = received = Received()
        with connection.cursor() as cursor:
            cursor.execute(text, ["x" * 32767, 1])
            cursor.execute(text, ["x" * 32768, 2])

        assert [binds[0].kind for binds in received.binds] == [Kind.VARCHAR2, Kind.LONG]


# What comes back


def test_returning_gives_the_values_of_each_changed_row(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "update t set a = :1 returning n, name into :2, :3"

    def answer(request: Request) -> Result:
        assert [bind.returned for bind in request.binds] == [False, True, True]
        assert request.values == ["x"]
        return Result(rowcount=2, returned=[[Decimal(1), "one"], [Decimal(2), None]])

    rig.script[text] = answer
    number, name = cursor.var(int), cursor.var(str)
    for _ in range(2):
        cursor.execute(text, ["x", number, name])
        assert (number.getvalue(), name.getvalue()) == ([1, 2], ["one", None])
        assert cursor.rowcount == 2


def test_returning_of_an_array_gives_the_values_of_each_execution(
    rig: Rig, cursor: oracledb.Cursor
) -> None:
    text = "delete from t where n < :n returning n into :gone"
    rig.script[text] = lambda request: Result(
        rowcount=number_of(request.values[0]),
        returned=[[Decimal(number)] for number in range(number_of(request.values[0]))],
    )
    gone = cursor.var(int, arraysize=3)
    cursor.setinputsizes(gone=gone)

    cursor.executemany(text, [{"n": 2}, {"n": 0}, {"n": 1}])

    assert gone.values == [[0, 1], [], [0]]


def test_a_rowid_comes_back_from_an_insert(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "insert into t values (1) returning rowid into :1"
    rig.script[text] = lambda _: Result(rowcount=1, returned=[["AAAR3sAAEAAAACXAAB"]])
    place = cursor.var(oracledb.DB_TYPE_ROWID)

    cursor.execute(text, [place])

    assert place.getvalue() == ["AAAR3sAAEAAAACXAAB"]


def test_a_block_gives_values_out_and_takes_them_in(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "begin :sum := :a + :b; :b := :a; :text := null; end;"

    def add(request: Request) -> Result:
        got = dict(zip([bind.name for bind in request.binds], request.values, strict=True))
        total = sum(Decimal(str(got[name])) for name in "AB")
        return Result(out={"SUM": total, "A": got["A"], "B": got["A"], "TEXT": None})

    rig.script[text] = add
    total, b, none = cursor.var(int), cursor.var(int), cursor.var(str)
    for a in (5, 6):  # the second is a re-execution, and an IN OUT bind's value must still be sent
        b.setvalue(0, 2)
        cursor.execute(text, {"sum": total, "a": a, "b": b, "text": none})
        assert (total.getvalue(), b.getvalue(), none.getvalue()) == (a + 2, a, None)


def test_a_block_is_executed_for_each_row_of_an_array(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "begin :double := 2 * :n; end;"
    rig.script[text] = lambda request: Result(
        out={"DOUBLE": 2 * Decimal(str(request.values[1])), "N": request.values[1]}
    )
    double = cursor.var(int, arraysize=4)
    cursor.setinputsizes(double=double)

    for _ in range(2):
        cursor.executemany(text, [{"n": number} for number in range(4)])
        assert double.values == [0, 2, 4, 6]


def test_a_block_without_binds_is_executed(rig: Rig, cursor: oracledb.Cursor) -> None:
    rig.script["begin null; end;"] = affecting(0)

    cursor.execute("begin null; end;")
    cursor.execute("begin null; end;")

    assert rig.done[-2:] == ["begin null; end;"] * 2


def test_callproc_reaches_a_block(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "begin dbms_x.p(:1,:2); end;"
    rig.script[text] = lambda request: Result(out={"1": request.values[0], "2": "out"})

    assert cursor.callproc("dbms_x.p", [3, cursor.var(str)]) == [3, "out"]


# Cursors and rows


def test_parsing_describes_a_query_and_does_nothing(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "select n from parsed"
    rig.script[text] = table([N], [[Decimal(1)]])

    cursor.parse(text)
    assert names(cursor) == ["N"]

    with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
        cursor.parse("select n from nowhere")
    with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
        cursor.parse("insert into nowhere values (:1)")


@pytest.mark.parametrize(
    ("arraysize", "prefetchrows"), [(1, 0), (1, 1), (7, 2), (100, 2), (100, 1000), (2000, 0)]
)
def test_rows_are_fetched_in_batches_of_any_size(
    rig: Rig, cursor: oracledb.Cursor, arraysize: int, prefetchrows: int
) -> None:
    text = "select n from hundreds"
    rig.script[text] = table([N], [[Decimal(number)] for number in range(345)])
    cursor.arraysize, cursor.prefetchrows = arraysize, prefetchrows

    for _ in range(2):
        cursor.execute(text)
        assert [row[0] for row in cursor] == list(range(345))
        assert cursor.rowcount == 345


def test_rows_come_from_the_engine_only_when_they_are_fetched(
    rig: Rig, cursor: oracledb.Cursor
) -> None:
    given: list[int] = []

    def rows() -> Iterator[list[Value]]:
        for number in range(1000):
            given.append(number)
            yield [Decimal(number)]

    rig.script["select n from lazy"] = lambda _: Result(columns=[N], rows=rows())
    cursor.arraysize, cursor.prefetchrows = 10, 10

    cursor.execute("select n from lazy")
    assert len(given) == 10
    cursor.fetchmany(15)
    assert len(given) == 20


def test_an_error_within_a_fetch_is_told_after_the_rows_before_it(
    rig: Rig, cursor: oracledb.Cursor
) -> None:
    def rows() -> Iterator[list[Value]]:
        for number in range(20):
            yield [Decimal(number)]
        raise OraError(1555, "snapshot too old")

    rig.script["select n from old"] = lambda _: Result(columns=[N], rows=rows())
    cursor.arraysize, cursor.prefetchrows = 10, 10
    cursor.execute("select n from old")

    assert len(cursor.fetchmany(20)) == 20
    with pytest.raises(oracledb.DatabaseError, match="ORA-01555"):
        cursor.fetchone()
    assert cursor.execute(ECHO, [1]).fetchall() == [(1,)]


def test_a_big_result_is_fetched_whole(rig: Rig, cursor: oracledb.Cursor) -> None:
    columns = [N, Column("NAME", Kind.VARCHAR2, size=100), Column("R", Kind.RAW, size=16)]
    rows: list[list[Value]] = [
        [Decimal(number), f"name {number}", bytes([number % 256])] for number in range(20_000)
    ]
    rig.script["select * from big"] = table(columns, rows)
    cursor.arraysize = 5000

    got = cursor.execute("select * from big").fetchall()

    assert got == [tuple(row) for row in rows]


def test_an_empty_result_is_empty(rig: Rig, cursor: oracledb.Cursor) -> None:
    rig.script["select n from empty"] = table([N], [])

    assert cursor.execute("select n from empty").fetchall() == []
    assert cursor.rowcount == 0


def test_two_cursors_are_fetched_in_turn(rig: Rig, connection: oracledb.Connection) -> None:
    rig.script["select n from turns"] = table([N], [[Decimal(number)] for number in range(50)])
    with connection.cursor() as one, connection.cursor() as other:
        for cursor in (one, other):
            cursor.arraysize, cursor.prefetchrows = 3, 3
            cursor.execute("select n from turns")
        pairs = list(zip(one, other, strict=True))

    assert pairs == [((number,), (number,)) for number in range(50)]


def test_cursors_that_the_driver_forgets_are_closed(rig: Rig) -> None:
    with rig.connected(stmtcachesize=5) as connection:
        for number in range(MOST_CURSORS + 100):
            text = f"select {number} from dual"
            rig.script[text] = table([N], [[Decimal(number)]])
            with connection.cursor() as cursor:
                assert cursor.execute(text).fetchone() == (number,)


@pytest.mark.parametrize("text", ["select {} from nowhere", "update nowhere set a = {}"])
def test_statements_that_fail_leave_no_cursors(connection: oracledb.Connection, text: str) -> None:
    for number in range(MOST_CURSORS + 100):
        with connection.cursor() as cursor, pytest.raises(oracledb.Error, match="ORA-00942"):
            cursor.execute(text.format(number))


def test_a_client_that_closes_no_cursors_runs_out_of_them(
    rig: Rig, connection: oracledb.Connection
) -> None:
    rig.script["select n from open"] = table([N], [[Decimal(1)]])
    with ExitStack() as stack:
        cursors = [stack.enter_context(connection.cursor()) for _ in range(MOST_CURSORS + 1)]
        for cursor in cursors[:-1]:
            cursor.execute("select n from open")
        with pytest.raises(oracledb.DatabaseError, match="ORA-01000"):
            cursors[-1].execute("select n from open")


def test_a_statement_is_described_anew_when_its_columns_changed(
    rig: Rig, cursor: oracledb.Cursor
) -> None:
    text = "select * from changing"
    shapes: list[tuple[list[Column], list[Value]]] = [
        ([N], [Decimal(1)]),
        ([Column("D", Kind.VARCHAR2), N], ["x", Decimal(2)]),
        ([Column("C", Kind.CLOB)], ["clob"]),
        ([N], [Decimal(3)]),
    ]
    for columns, row in shapes:
        rig.script[text] = table(columns, [row])
        cursor.execute(text, fetch_lobs=False)

        assert names(cursor) == [column.name for column in columns]
        assert cursor.fetchall() == [tuple(row)]


def test_ddl_is_executed_with_its_text_each_time(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "create trigger r before insert on t begin :new.a := 1; end;"
    rig.script[text] = affecting(0)

    cursor.execute(text)
    cursor.execute(text)

    assert rig.done[-2:] == [text, text]


def test_changed_types_of_binds_are_described_again(rig: Rig, cursor: oracledb.Cursor) -> None:
    text = "insert into t values (:1)"
    rig.script[text] = received = Received()

    for value in (1, "text", b"raw", 2, 3):
        with cursor.connection.cursor() as another:
            another.execute(text, [value])

    kinds = [binds[0].kind for binds in received.binds]
    assert kinds == [Kind.NUMBER, Kind.VARCHAR2, Kind.RAW, Kind.NUMBER, Kind.NUMBER]
    assert [row[0] for row in received.rows] == [1, "text", b"raw", 2, 3]
