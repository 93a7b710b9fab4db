"""LogRow, redo addresses, and what an error means."""

from __future__ import annotations

import pytest

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.failures import Failure, classify
from bowline_worker.endpoints.oracle.logrow import COLUMNS, Address, Code, LogRow, Xid
from oracle.mining_rows import AT, ROW_A, address, insert, raw, rs_id, start


def test_a_row_is_read_in_the_order_of_the_columns_that_are_selected() -> None:
    fetched = dict(zip(COLUMNS, insert(100, 5, ssn=2, start_scn=90, undo=True), strict=True))
    row = LogRow.from_row(tuple(fetched[name] for name in COLUMNS))

    assert row == LogRow(
        scn=fetched["SCN"],
        start_scn=fetched["START_SCN"],
        at=AT,
        thread=fetched["THREAD#"],
        address=Address("0x000012.00000005.0010", 2),
        xid=Xid(3, 3, 7, 1001),
        code=Code.INSERT,
        status=0,
        info="",
        undoes=True,
        continues=False,
        row_id=ROW_A,
        owner="S",
        table="T",
        object_id=4711,
        container="PDB1",
        user="APP",
        client="",
        sql=fetched["SQL_REDO"],
    )


def test_nulls_of_a_row_without_a_table_are_read() -> None:
    row = LogRow.from_row(start(100, None, xid=(None, None, None)))

    assert (row.address, row.table, row.sql) == (None, None, "")
    assert row.xid.is_zero


def test_addresses_compare_as_the_redo_is_written() -> None:
    written = [Address.read(rs_id(block, log), ssn) for log, block, ssn in (
        (0x9, 0xFF, 9), (0x10, 0x1, 0), (0x10, 0x1, 1), (0x10, 0xA, 0), (0x10, 0x10, 0),
    )]  # fmt: skip

    assert sorted(each for each in written if each) == written


def test_an_address_tells_its_log() -> None:
    assert address(1).sequence == 0x12


@pytest.mark.parametrize("zeros", [" 0x000000.00000000.0000 ", "", None, "   "])
def test_zeros_are_no_address(zeros: str | None) -> None:
    assert Address.read(zeros, 0) is None


@pytest.mark.parametrize(
    "strange", ["0x12.345.10", "0x0000012.00000345.0010", "000012.00000345.0010.00", "?"]
)
def test_an_address_that_could_not_be_ordered_is_refused(strange: str) -> None:
    with pytest.raises(Unsafe, match="does not have the form"):
        Address.read(strange, 0)


def test_an_error_names_the_row_by_table_scn_and_address() -> None:
    assert LogRow.from_row(raw(100, 5, Code.UNSUPPORTED)).place == (
        "the row of S.T at SCN 100, RS_ID 0x000012.00000005.0010/0, thread 1"
    )


@pytest.mark.parametrize(
    ("code", "message", "failure"),
    [
        ("ORA-00310", "archived log contains sequence 7; sequence 6 required", Failure.MINE_AGAIN),
        ("ORA-00334", "archived log: '/a'", Failure.MINE_AGAIN),
        ("ORA-01289", "cannot add duplicate logfile", Failure.MINE_AGAIN),
        ("ORA-01343", "LogMiner encountered corruption", Failure.MINE_AGAIN),
        ("ORA-01013", "user requested cancel", Failure.MINE_AGAIN),
        ("ORA-00600", "internal error code, arguments: [krvrdccs10], []", Failure.MINE_AGAIN),
        ("ORA-00600", "internal error code, arguments: [kcratr1_lostwrt], []", Failure.FATAL),
        ("ORA-01291", "missing log file", Failure.LOG_MISSING),
        ("ORA-01284", "file /a cannot be opened", Failure.LOG_MISSING),
        ("ORA-03113", "end-of-file on communication channel", Failure.CONNECT_AGAIN),
        ("ORA-12541", "no listener", Failure.CONNECT_AGAIN),
        ("DPY-4011", "the database closed the connection", Failure.CONNECT_AGAIN),
        ("ORA-99999", "never heard of", Failure.CONNECT_AGAIN),
        ("ORA-01031", "insufficient privileges", Failure.FATAL),
        ("ORA-00942", "table or view does not exist", Failure.FATAL),
        ("ORA-00354", "corrupt redo log block header", Failure.FATAL),
    ],
)
def test_an_error_tells_what_to_do(code: str, message: str, failure: Failure) -> None:
    assert classify(code, message) is failure
