"""The text of a line: SQL_REDO under what the online catalogue knows now, and its parts when it is too long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from oracle.standin.backend import Kind, Value
from oracle.standin.events import TableShape
from oracle.standin.redolog.internal import internal_bytes
from oracle.standin.redolog.lines import Cells, Line, LobCall, Op
from oracle.standin.redolog.literals import LOBS, Style, hex_text, literal, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """How the catalogue names a line's table and columns."""

    owner: str
    table: str
    decoded: bool  #: else columns are `COL n`, and values bytes as blocks hold them

    @property
    def text(self) -> str:
        return f'"{self.owner}"."{self.table}"'


def named(line_table: TableShape, current: TableShape | None) -> Named:
    """Name a table that was written by what it is now: only the present layout can be decoded (1.7)."""
    if current is None:
        return Named(owner="UNKNOWN", table=f"OBJ# {line_table.object_id}", decoded=False)
    same = tuple(current.columns) == tuple(line_table.columns)
    return Named(owner=current.owner, table=current.name, decoded=same)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What START_LOGMNR's options make of a statement."""

    with_rowid: bool = False  #: without NO_ROWID_IN_STMT
    delimiter: str = ""  #: ';' without NO_SQL_DELIMITER


def sql_redo(line: Line, name: Named | None, style: Style, form: Form) -> str | None:
    """Write the statement, or None where a line has none."""
    if line.text is not None:
        # Only what is a statement ends with a delimiter.
        return line.text + (form.delimiter if line.op in _CONTROL else "")
    if line.table is None or name is None or line.op is Op.LOCATOR:
        return None
    if line.lob is not None:
        return _lob_block(line, line.lob, name, style) if name.decoded else None
    writer = _Writer(line.table, name, style)
    return _statement(line, writer, form) + form.delimiter


_CONTROL = (Op.START, Op.COMMIT, Op.ROLLBACK, Op.DDL)


class _Writer:
    """Writes cells of one table."""

    def __init__(self, table: TableShape, name: Named, style: Style) -> None:
        self.name = name
        self._table = table
        self._style = style
        stored = [place for place, column in enumerate(table.columns) if not column.virtual]
        # COL n counts what is stored: generated columns have no number.
        self._number = {place: at for at, place in enumerate(stored, start=1)}

    def column(self, place: int) -> str:
        if self.name.decoded:
            return f'"{self._table.columns[place].name}"'
        return f'"COL {self._number[place]}"'

    def value(self, place: int, value: Value) -> str:
        column = self._table.columns[place]
        if not self.name.decoded:
            data = internal_bytes(value, column)
            return "NULL" if data is None else hex_text(data)
        if column.kind in LOBS and value in ("", b""):
            return "EMPTY_BLOB()" if column.kind is Kind.BLOB else "EMPTY_CLOB()"
        return literal(value, column, self._style)

    def shown(self, cells: Cells) -> Cells:
        """Leave out what bytes can't show: a LOB's locator."""
        if self.name.decoded:
            return cells
        return tuple(cell for cell in cells if self._table.columns[cell[0]].kind not in LOBS)

    def predicates(self, cells: Cells) -> list[str]:
        return [
            f"{self.column(place)} IS NULL"
            if value is None
            else f"{self.column(place)} = {self.value(place, value)}"
            for place, value in self.shown(cells)
        ]


def _statement(line: Line, write: _Writer, form: Form) -> str:
    cells = write.shown(line.cells)
    if line.op is Op.INSERT:
        columns = ",".join(write.column(place) for place, _ in cells)
        values = ",".join(write.value(place, value) for place, value in cells)
        return f"insert into {write.name.text}({columns}) values ({values})"
    predicates = write.predicates(line.where or ())
    if line.by_rowid or (form.with_rowid and line.rowid.strip("A")):
        predicates.append(f"ROWID = '{line.rowid}'")
    where = " where " + " and ".join(predicates) if predicates else ""
    if line.op is Op.DELETE:
        return f"delete from {write.name.text}{where}"
    sets = ", ".join(
        f"{write.column(place)} = {write.value(place, value)}" for place, value in cells
    )
    return f"update {write.name.text} set {sets}{where}"


_BLOCK = (
    "DECLARE \n loc_c CLOB; \n buf_c VARCHAR2(6162); \n loc_b BLOB; \n buf_b RAW(6162); \n"
    " loc_nc NCLOB; \n buf_nc NVARCHAR2(6162); \n e_len NUMBER; \nBEGIN\n"
    " select {column} into loc_{short} from {table} where {where} for update;\n\n{call}END;\n\n"
)


def _lob_block(line: Line, call: LobCall, name: Named, style: Style) -> str:
    """Write a block of PL/SQL (45 to 49): one call, of the LOB of the row that its other columns name."""
    assert line.table is not None
    column = line.table.columns[call.column]
    short = "b" if column.kind is Kind.BLOB else "nc" if column.national else "c"
    writer = _Writer(line.table, name, style)
    if call.piece is None:
        text = f"  dbms_lob.trim(loc_{short}, {call.length});\n"
    else:
        piece = hex_text(call.piece) if isinstance(call.piece, bytes) else quoted(call.piece)
        size = len(call.piece)
        text = f" buf_{short} := {piece}; \n  dbms_lob.write(loc_{short}, {size}, {call.offset}, buf_{short});\n"
    values = {
        "column": writer.column(call.column),
        "short": short,
        "table": name.text,
        "where": " and ".join(writer.predicates(line.where or ())),
        "call": text,
    }
    return _BLOCK.format(**values)


def continued(text: str, limit: int, split: Callable[[], bool]) -> Iterator[str]:
    """Cut a text into parts of at most so many bytes, each of whole characters.

    Where a part's second half has a doubled quote and `split` says so, the part ends between the two.
    """
    while len(text.encode()) > limit:
        end = _cut(text, limit)
        quote = text.find("''", max(1, end // 2), end)
        if quote >= 0 and split():
            end = quote + 1
        yield text[:end]
        text = text[end:]
    yield text


def _cut(text: str, limit: int) -> int:
    return len(text.encode()[:limit].decode(errors="ignore"))
