"""Rows of V$LOGMNR_CONTENTS written by hand, and a reader that a test feeds with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bowline_worker.endpoints.oracle.logrow import PLACEHOLDER_ROW_ID, Address, Code, LogRow
from bowline_worker.endpoints.oracle.mining import Committed, Miner
from bowline_worker.endpoints.oracle.position import Place
from bowline_worker.endpoints.oracle.redo import parse
from bowline_worker.endpoints.oracle.rowchange import RowChange
from bowline_worker.endpoints.oracle.selection import Selection
from bowline_worker.endpoints.oracle.start import Start
from bowline_worker.model import Position, TableName

T = TableName("S", "T")
T_ID = 4711
SELECTION = Selection(tables={("S", "T"): T, ("S", "U"): TableName("S", "U")}, objects={T_ID: T})

AT = datetime(2026, 3, 1, 12, 0, 0)  # noqa: DTZ001 - LogMiner tells no zone
ROW_A, ROW_B = "AAAR3sAAEAAAACXAAA", "AAAR3sAAEAAAACXAAB"
PLACEHOLDER = PLACEHOLDER_ROW_ID

ONE, TWO = (3, 7, 1001), (5, 2, 2002)  #: undo segment, slot, sequence
PARTIAL = 0xFFFFFFFF


def rs_id(block: int, sequence: int = 0x12) -> str:
    """An RS_ID as V$LOGMNR_CONTENTS has it, padded with blanks."""
    return f" 0x{sequence:06x}.{block:08x}.0010 "


ZERO_RS_ID = " 0x000000.00000000.0000 "


def raw(
    scn: int,
    block: int | None,
    code: int,
    sql: str | None = None,
    *,
    xid: tuple[int, int, int] = ONE,
    thread: int = 1,
    ssn: int = 0,
    container: int = 3,
    status: int = 0,
    info: str | None = None,
    undo: bool = False,
    csf: bool = False,
    row_id: str | None = ROW_A,
    owner: str | None = "S",
    table: str | None = "T",
    object_id: int | None = T_ID,
    start_scn: int | None = None,
) -> tuple[Any, ...]:
    """A row as the driver fetches it; block None: its RS_ID is all zeros."""
    address = ZERO_RS_ID if block is None else rs_id(block)
    return (
        scn, start_scn, AT, thread, address, ssn, container, *xid, int(code), status, info, int(undo), int(csf),
        row_id, owner, table, object_id, "PDB1", "APP", None, sql,
    )  # fmt: skip


def start(scn: int, block: int | None, **more: Any) -> tuple[Any, ...]:
    more.setdefault("owner", None)
    return raw(scn, block, Code.START, table=None, object_id=None, row_id=None, **more)


def commit(scn: int, block: int | None, **more: Any) -> tuple[Any, ...]:
    return raw(
        scn,
        block,
        Code.COMMIT,
        "commit",
        owner=None,
        table=None,
        object_id=None,
        row_id=None,
        **more,
    )


def rollback(scn: int, block: int | None, **more: Any) -> tuple[Any, ...]:
    return raw(
        scn,
        block,
        Code.ROLLBACK,
        "rollback",
        owner=None,
        table=None,
        object_id=None,
        row_id=None,
        **more,
    )


def insert(
    scn: int, block: int | None, key: int = 7, value: str = "x", **more: Any
) -> tuple[Any, ...]:
    sql = f"""insert into "S"."T"("ID","V") values ('{key}','{value}')"""
    return raw(scn, block, Code.INSERT, sql, **more)


def update(
    scn: int, block: int | None, key: int = 7, value: str = "y", **more: Any
) -> tuple[Any, ...]:
    sql = f"""update "S"."T" set "V" = '{value}' where "ID" = '{key}' and "V" = 'x'"""
    return raw(scn, block, Code.UPDATE, sql, **more)


def delete(scn: int, block: int | None, key: int = 7, **more: Any) -> tuple[Any, ...]:
    return raw(scn, block, Code.DELETE, f"""delete from "S"."T" where "ID" = '{key}'""", **more)


def undo_insert(scn: int, block: int | None, row_id: str = ROW_A, **more: Any) -> tuple[Any, ...]:
    sql = f"""delete from "S"."T" where ROWID = '{row_id}'"""
    return raw(scn, block, Code.DELETE, sql, undo=True, row_id=row_id, **more)


def undo_update(scn: int, block: int | None, row_id: str = ROW_A, **more: Any) -> tuple[Any, ...]:
    return raw(
        scn,
        block,
        Code.UPDATE,
        """update "S"."T" set "V" = 'x'""",
        undo=True,
        row_id=row_id,
        **more,
    )


def undo_delete(scn: int, block: int | None, row_id: str = ROW_A, **more: Any) -> tuple[Any, ...]:
    sql = """insert into "S"."T"("ID","V") values ('7','x')"""
    return raw(scn, block, Code.INSERT, sql, undo=True, row_id=row_id, **more)


def address(block: int, ssn: int = 0) -> Address:
    return Address(rs_id(block).strip(), ssn)


#: A stream whose snapshot lies before all rows of these tests.
SETTLED = Start(before=1, snapshot=1, is_settled=True)


def first_place(begin: Start = SETTLED) -> Place:
    return Place(dbid=42, resetlogs=1, start=begin)


class Taken:
    """A transaction that was given out, with its changes read."""

    def __init__(self, transaction: Committed) -> None:
        self.transaction = transaction
        self.changes: list[RowChange] = list(transaction.changes)

    @property
    def xid(self) -> tuple[int, int, int]:
        return self.transaction.xid[1:]

    @property
    def scn(self) -> int:
        return self.transaction.scn

    @property
    def sql(self) -> list[str]:
        return [change.sql for change in self.changes]


class Reader:
    """A Miner that is fed with rows: one call is one step."""

    def __init__(
        self,
        directory: Path,
        *,
        place: Place | None = None,
        selection: Selection = SELECTION,
        **more: Any,
    ) -> None:
        self.miner = Miner(
            place or first_place(), selection, parse=parse, directory=directory, **more
        )

    def read(self, *rows: tuple[Any, ...], upper: int | None = None) -> list[Taken]:
        step = self.miner.step(upper)
        for row in rows:
            step.add(LogRow.from_row(row))
        return [Taken(transaction) for transaction in self.miner.apply(step)]

    def read_until(
        self, error: type[Exception], *rows: tuple[Any, ...]
    ) -> tuple[list[Taken], Exception]:
        """Read what comes before an error, and the error."""
        step = self.miner.step(None)
        for row in rows:
            step.add(LogRow.from_row(row))
        taken: list[Taken] = []
        try:
            taken.extend(Taken(transaction) for transaction in self.miner.apply(step))
        except error as found:
            return taken, found
        raise AssertionError("no error came")

    def restarted(self, directory: Path, journalled: Position | None = None) -> Reader:
        """A new process, from the newest place, whose journal ends there (None: at that place)."""
        place = Place.loads(self.miner.place.dumps())
        return Reader(directory, place=place.after(journalled or place.position))


def sql_of(taken: Iterable[Taken]) -> list[list[str]]:
    return [each.sql for each in taken]


Row = tuple[Any, ...]
Bounds = Mapping[int, Address]
