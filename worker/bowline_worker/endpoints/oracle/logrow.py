"""A row of V$LOGMNR_CONTENTS, and the names of the things in it.

RS_ID is the redo byte address of a record: log sequence, block and offset in hexadecimal, of fixed width and padded
with blanks. The redo of one thread is append-only in the order of (RS_ID, SSN); the order means nothing across threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Final, NamedTuple

from bowline_worker.contract import Unsafe

#: What to select, in the order in which `LogRow.from_row` takes it. Not SQL's ORDER BY: that would sort everything.
COLUMNS: Final = (
    "SCN",
    "START_SCN",
    "TIMESTAMP",
    "THREAD#",
    "RS_ID",
    "SSN",
    "SRC_CON_ID",
    "XIDUSN",
    "XIDSLT",
    "XIDSQN",
    "OPERATION_CODE",
    "STATUS",
    "INFO",
    "ROLLBACK",
    "CSF",
    "ROW_ID",
    "SEG_OWNER",
    "TABLE_NAME",
    "DATA_OBJ#",
    "SRC_CON_NAME",
    "USERNAME",
    "CLIENT_ID",
    "SQL_REDO",
)

#: The ROW_ID of row pieces that don't tell theirs: statements with out-of-row LOBs, inserts into any table with LOBs.
PLACEHOLDER_ROW_ID: Final = "AAAAAAAAAAAAAAAAAA"

_NO_SEQUENCE: Final = 0xFFFFFFFF
_RS_ID_LENGTH: Final = len("0x000012.00000345.0010")
_NO_ADDRESS: Final = "0x000000.00000000.0000"


class Code(IntEnum):
    """OPERATION_CODE, as far as anything is done with it."""

    INSERT = 1
    DELETE = 2
    UPDATE = 3
    DDL = 5
    START = 6
    COMMIT = 7
    SELECT_LOB_LOCATOR = 9  #: 23ai has INTERNAL rows without SQL under this number
    LOB_WRITE = 10
    LOB_TRIM = 11
    SELECT_FOR_UPDATE = 25
    REPLICATION_MARKER = 27
    LOB_ERASE = 28  #: as documented
    LOB_ERASE_SEEN = 29  #: as observed
    MISSING_SCN = 34
    ROLLBACK = 36
    XML_BEGIN = 68
    XML_WRITE = 70
    XML_END = 71
    STRING_BEGIN = 91  #: of a value of more than 4,000 bytes
    STRING_WRITE = 92
    STRING_END = 93
    UNSUPPORTED = 255


ROW_CODES: Final = frozenset((Code.INSERT, Code.DELETE, Code.UPDATE))
XML_CODES: Final = frozenset((Code.XML_BEGIN, Code.XML_WRITE, Code.XML_END))
#: Rows that change a large value in pieces.
TOUCH_CODES: Final = XML_CODES | {
    Code.SELECT_LOB_LOCATOR,
    Code.LOB_WRITE,
    Code.LOB_TRIM,
    Code.LOB_ERASE,
    Code.LOB_ERASE_SEEN,
    Code.STRING_BEGIN,
    Code.STRING_WRITE,
    Code.STRING_END,
}
#: Rows that end a transaction.
END_CODES: Final = frozenset((Code.COMMIT, Code.ROLLBACK))
#: Rows that tell nothing that is wanted.
SILENT_CODES: Final = frozenset((0, Code.SELECT_FOR_UPDATE, Code.REPLICATION_MARKER))


class Xid(NamedTuple):
    """A transaction. With local undo the numbers are each container's own."""

    container: int
    usn: int
    slot: int
    sequence: int

    @property
    def is_zero(self) -> bool:
        return not (self.usn or self.slot or self.sequence)

    @property
    def is_partial(self) -> bool:
        """The row does not tell the sequence: the transaction that has the slot just now is meant."""
        return self.sequence == _NO_SEQUENCE

    def __str__(self) -> str:
        return f"{self.usn}.{self.slot}.{self.sequence}"


class Address(NamedTuple):
    """Where a row lies in the redo of its thread. Compares as the redo is written."""

    rs_id: str
    ssn: int

    @classmethod
    def read(cls, rs_id: str | None, ssn: int | None) -> Address | None:
        """Read what a row has; None where it has none, or all zeros. Unsafe where it has not the known form."""
        text = rs_id.strip() if rs_id else ""
        if not text or text == _NO_ADDRESS:
            return None
        # Compared as text: another width would sort wrongly.
        if len(text) != _RS_ID_LENGTH or text[:2] != "0x" or text[8] + text[17] != "..":
            raise Unsafe(
                f"RS_ID {rs_id!r} does not have the form 0x000000.00000000.0000",
                hint="this release of Oracle writes redo addresses that can't be ordered: report it",
            )
        return cls(text, ssn or 0)

    @property
    def sequence(self) -> int:
        """The sequence number of the log that holds it."""
        return int(self.rs_id[2:8], 16)

    def __str__(self) -> str:
        return f"{self.rs_id}/{self.ssn}"


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row, or several that CSF made of one, joined."""

    scn: int
    start_scn: int | None  #: of the transaction, where LogMiner tells it
    at: datetime | None  #: by the source's own clock and zone
    thread: int
    address: Address | None
    xid: Xid
    code: int
    status: int
    info: str
    undoes: bool  #: ROLLBACK: it takes an earlier change of its transaction back
    continues: bool  #: CSF: the statement goes on in the next row
    row_id: str
    owner: str | None
    table: str | None
    object_id: int | None
    container: str
    user: str
    client: str
    sql: str

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> LogRow:
        """Read a fetched row of `COLUMNS`. Unsafe where its address can't be read."""
        return cls(
            row[0] or 0,
            row[1],
            row[2],
            row[3] or 0,
            Address.read(row[4], row[5]),
            Xid(row[6] or 0, row[7] or 0, row[8] or 0, row[9] or 0),
            row[10],
            row[11] or 0,
            row[12] or "",
            bool(row[13]),
            bool(row[14]),
            row[15] or "",
            row[16],
            row[17],
            row[18],
            row[19] or "",
            row[20] or "",
            row[21] or "",
            row[22] or "",
        )

    @property
    def place(self) -> str:
        """Where it is, as an error names it."""
        table = f" of {self.owner}.{self.table}" if self.table else ""
        return f"the row{table} at SCN {self.scn}, RS_ID {self.address or 'none'}, thread {self.thread}"
