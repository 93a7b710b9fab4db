"""Rows of V$LOGMNR_CONTENTS: from the records of the log, under one mining session's formats and options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, cast

from oracle.standin.backend import Column, Kind, Moment, Value
from oracle.standin.redolog.files import NO_ADDRESS, Record
from oracle.standin.redolog.lines import PLACEHOLDER, Line, Op
from oracle.standin.redolog.literals import Style
from oracle.standin.redolog.nls import Nls
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.statements import Form, Named, continued, named, sql_redo

UNDECODABLE = "Dictionary Version Mismatch"
UNKNOWN_USER = "UNKNOWN"


class Row(NamedTuple):
    """One row, in the order of CONTENTS."""

    scn: int
    start_scn: int | None
    commit_scn: int | None
    timestamp: Moment
    thread: int
    rs_id: str
    ssn: int
    xidusn: int
    xidslt: int
    xidsqn: int
    xid: bytes
    operation_code: int
    operation: str
    status: int
    info: str | None
    rollback: int
    csf: int
    row_id: str
    seg_owner: str | None
    seg_name: str | None
    table_name: str | None
    data_obj: int
    data_objv: int
    data_objd: int
    src_con_id: int
    src_con_name: str | None
    con_id: int
    username: str
    client_id: str | None
    session: int
    serial: int
    sequence: int
    sql_redo: str | None
    sql_undo: str | None

    def values(self) -> tuple[Value, ...]:
        """Give it as the server gives it: numbers are NUMBERs."""
        return tuple(Decimal(value) if isinstance(value, int) else value for value in self)


def _number(name: str) -> Column:
    return Column(name, Kind.NUMBER, size=22)


def _text(name: str, size: int) -> Column:
    return Column(name, Kind.VARCHAR2, size=size)


#: The columns, with the sizes that were recorded.
CONTENTS = (
    *map(_number, ("SCN", "START_SCN", "COMMIT_SCN")),
    Column("TIMESTAMP", Kind.DATE, size=7),
    _number("THREAD#"),
    _text("RS_ID", 32),
    *map(_number, ("SSN", "XIDUSN", "XIDSLT", "XIDSQN")),
    Column("XID", Kind.RAW, size=8),
    _number("OPERATION_CODE"),
    _text("OPERATION", 32),
    _number("STATUS"),
    _text("INFO", 64),
    *map(_number, ("ROLLBACK", "CSF")),
    _text("ROW_ID", 18),
    _text("SEG_OWNER", 386),
    _text("SEG_NAME", 256),
    _text("TABLE_NAME", 386),
    *map(_number, ("DATA_OBJ#", "DATA_OBJV#", "DATA_OBJD#", "SRC_CON_ID")),
    _text("SRC_CON_NAME", 384),
    _number("CON_ID"),
    _text("USERNAME", 384),
    _text("CLIENT_ID", 64),
    *map(_number, ("SESSION#", "SERIAL#", "SEQUENCE#")),
    _text("SQL_REDO", 4000),
    _text("SQL_UNDO", 4000),
)


def moment(at: datetime) -> Moment:
    """Give a time as a DATE."""
    return Moment(at.year, at.month, at.day, at.hour, at.minute, at.second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """How a session sees records."""

    log: RedoLog
    con_id: int
    nls: Nls
    form: Form
    dictionary: bool  #: the online catalogue; without one nothing has a name

    def rows(self, record: Record, thread: int, *, start_seen: bool) -> Sequence[Row]:
        """Give a record's rows: more than its lines where a statement is continued."""
        asked = (self, self.log.catalogue.stamp, self.log.csf_bytes, thread, start_seen)
        # Each fetch reads its logs from their beginning: most of it was rendered before.
        if record.rendered is None or record.rendered[0] != asked:
            record.rendered = (asked, list(self._rows(record, thread, start_seen)))
        return cast("list[Row]", record.rendered[1])  # kept by us alone, some lines above

    def _rows(self, record: Record, thread: int, start_seen: bool) -> Iterator[Row]:
        for at, line in enumerate(record.lines):
            yield from self._line(record, thread, 0 if record.one_ssn else at, line, start_seen)

    def _line(
        self, record: Record, thread: int, ssn: int, line: Line, start_seen: bool
    ) -> Iterator[Row]:
        name = self._named(line)
        style = Style(self.nls, record.lossy, record.joined)
        text = sql_redo(line, name, style, self.form)
        status, info = line.status, line.info
        if name is not None and not name.decoded and line.op is not Op.DDL:
            status, info = 2, UNDECODABLE
        parts = [text] if text is None else list(self._parts(text, record))
        for part in parts:
            csf = part is not parts[-1]
            yield self._row(record, thread, ssn, line, name, (status, info, csf, part), start_seen)

    def _parts(self, text: str, record: Record) -> Iterator[str]:
        happened = self.log.adversities.happened

        def splits() -> bool:
            if record.split:
                happened("quote_split")
            return record.split

        parts = list(continued(text, self.log.csf_bytes, splits))
        if len(parts) > 1:
            happened("csf")
        yield from parts

    def _named(self, line: Line) -> Named | None:
        if line.table is None:
            return None
        tables = self.log.catalogue.tables
        current = tables.get(line.table.object_id, line.table) if self.dictionary else None
        if line.op is Op.DDL:
            return Named(owner=line.table.owner, table=line.table.name, decoded=True)
        name = named(line.table, current)
        if not name.decoded:
            happened = self.log.adversities.happened
            happened("dictionary_lag" if current is not None else "unknown_object")
        return name

    def _row(
        self,
        record: Record,
        thread: int,
        ssn: int,
        line: Line,
        name: Named | None,
        shown: tuple[int, str | None, bool, str | None],
        start_seen: bool,
    ) -> Row:
        status, info, csf, text = shown
        origin, xid, table = record.origin, record.xid, line.table
        bounded = line.op in (Op.START, Op.COMMIT, Op.ROLLBACK)
        return Row(
            scn=record.scn,
            start_scn=origin.start_scn if bounded else None,
            commit_scn=None,  # only COMMITTED_DATA_ONLY fills it
            timestamp=moment(record.at),
            thread=thread,
            rs_id=NO_ADDRESS if record.hidden_address else record.rs_id,
            ssn=ssn,
            xidusn=xid.usn,
            xidslt=xid.slot,
            xidsqn=xid.sequence,
            xid=_raw(xid),
            operation_code=int(line.op),
            operation=line.op.label,
            status=status,
            info=info,
            rollback=int(line.undo),
            csf=int(csf),
            row_id=line.rowid if table is not None and line.op is not Op.DDL else PLACEHOLDER,
            seg_owner=name.owner if name else None,
            seg_name=name.table if name else None,
            table_name=name.table if name else None,
            data_obj=table.object_id if table else 0,
            data_objv=table.version if table else 0,
            data_objd=table.object_id if table else 0,
            src_con_id=self.log.containers.get(origin.container, 0),
            # Promised for beginnings, rows, commits and DDL alone (1.1).
            src_con_name=None if line.op is Op.ROLLBACK else origin.container,
            con_id=self.con_id,
            # The START row tells whose transaction it is: mined from later on, nobody knows.
            username=(origin.user or UNKNOWN_USER) if start_seen else UNKNOWN_USER,
            client_id=origin.client if start_seen else None,
            session=origin.session if start_seen else 0,
            serial=origin.session if start_seen else 0,
            sequence=1,
            sql_redo=text,
            sql_undo=None,
        )


def _raw(xid: tuple[int, int, int]) -> bytes:
    usn, slot, sequence = xid
    return usn.to_bytes(2, "little") + slot.to_bytes(2, "little") + sequence.to_bytes(4, "little")
