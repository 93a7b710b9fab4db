"""Applies what Bowline's miner gives out, with Bowline's own reading of values, and tells where rows come out wrong.

A column whose value the redo does not tell is read from the truth AS OF the commit, as an endpoint does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from bowline_worker.endpoints.oracle.floats import float_text
from bowline_worker.endpoints.oracle.mining import Committed
from bowline_worker.endpoints.oracle.redo import RedoValue, parse
from bowline_worker.endpoints.oracle.rowchange import RowChange
from bowline_worker.endpoints.oracle.types import RESELECT, OracleColumn, OracleType, kind_of
from bowline_worker.model import TableName
from oracle.standin.backend import Kind, Value
from oracle.standin.events import ColumnShape, TableShape
from oracle.standin.redolog.scribe import Scribe
from oracle.standin.redolog.workload import PLAIN, WITH_LOB

MEASURED = TableShape(
    "S",
    "MEASURED",
    505,
    (ColumnShape("ID", Kind.NUMBER), ColumnShape("D", Kind.BINARY_DOUBLE)),
    key=("ID",),
)
TABLES = {table.name: table for table in (PLAIN, WITH_LOB, MEASURED)}

Cells = dict[str, bytes | None]
#: Rows by table and ID, which never changes.
Rows = dict[tuple[str, bytes | None], Cells]


@dataclass
class Receiver:
    """The tables as whoever receives the stream has them. Values are PostgreSQL's texts."""

    db: Scribe
    rows: Rows = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def take(self, transaction: Committed) -> None:
        """Apply a transaction, and read again at its end what the redo did not tell."""
        reselect: dict[tuple[str, bytes | None], set[str]] = {}
        for change in transaction.changes:
            row, unknown = self._apply(change)
            reselect.setdefault(row, set()).update(unknown)
        for row, names in reselect.items():
            if names and row in self.rows:
                true = as_of(self.db, row, transaction.scn)
                self.rows[row].update({name: true.get(name) for name in names})

    def _apply(self, change: RowChange) -> tuple[tuple[str, bytes | None], set[str]]:
        """Give the row, and its columns whose values the redo does not tell."""
        redo = parse(change.sql)
        types = TYPES[change.table.name]
        where, _ = _read(types, redo.where)
        cells, unknown = ({}, set(change.reselect)) if change.is_touch else _read(types, redo.set)
        row = (change.table.name, (where or cells)["ID"])
        if change.is_touch:
            return row, unknown
        old = self.rows.pop(row, None)
        if (old is None) != (redo.operation == "INSERT"):
            self.wrong.append(
                f"{redo.operation} of {row}, which {'is not' if old is None else 'is'} there"
            )
        if old and any(old[name] != value for name, value in where.items()):
            self.wrong.append(f"{redo.operation} of {row}: it was {old} instead of {where}")
        if redo.operation != "DELETE":
            self.rows[row] = {**dict.fromkeys(types), **(old or {}), **cells}
        return row, unknown


def types_of(table: TableShape) -> Mapping[str, OracleType]:
    """Bowline's types of a table's columns."""
    found = {}
    for column in table.columns:
        made = kind_of(
            OracleColumn(
                table=TableName(table.owner, table.name),
                name=column.name,
                data_type=f"N{column.kind.name}" if column.national else column.kind.name,
                data_length=column.length * 2,
                char_length=column.length,
                char_used="C",
            )
        )
        if not isinstance(made, OracleType):
            raise TypeError(made.message)
        found[column.name] = made
    return found


TYPES = {name: types_of(table) for name, table in TABLES.items()}


def _read(
    types: Mapping[str, OracleType], cells: Mapping[str, RedoValue]
) -> tuple[Cells, set[str]]:
    """Read values: those that the redo tells, and the names of the others."""
    read = {name: types[name].from_redo(value) for name, value in cells.items()}
    return (
        {name: value for name, value in read.items() if value is not RESELECT},
        {name for name, value in read.items() if value is RESELECT},
    )


def true_cells(table: TableShape, row: Sequence[Value]) -> Cells:
    """A row as it is, in texts."""
    return {column.name: _text(value) for column, value in zip(table.columns, row, strict=True)}


def _text(value: Value) -> bytes | None:
    match value:
        case None:
            return None
        case str():
            return value.encode()
        case Decimal():
            return str(value).encode()
        case float():
            return float_text(value, is_single=False).encode()
    raise TypeError(f"no column here holds a {type(value).__name__}")


def as_of(db: Scribe, row: tuple[str, bytes | None], scn: int) -> Cells:
    """Read a row as it was at an SCN; nothing where it was not there."""
    found: Cells = {}
    for committed in db.committed:
        for change in committed.changes if committed.scn <= scn else ():
            image = change.after or change.before or ()
            cells = true_cells(change.table, image)
            if (change.table.name, cells["ID"]) == row:
                found = cells if change.after else {}
    return found


def truth(db: Scribe, xids: Collection[tuple[int, ...]] | None = None) -> Rows:
    """Tell what the tables hold after these transactions (None: all)."""
    rows: Rows = {}
    for committed in db.committed:
        for change in committed.changes if xids is None or tuple(committed.xid) in xids else ():
            for image, stays in ((change.before, False), (change.after, True)):
                if image is None:
                    continue
                cells = true_cells(change.table, image)
                row = (change.table.name, cells["ID"])
                if stays:
                    rows[row] = cells
                else:
                    rows.pop(row, None)
    return rows


def differences(rows: Rows, want: Rows) -> list[str]:
    """Tell which rows are not as they are."""
    return [
        f"{row} is {rows.get(row)} instead of {want.get(row)}"
        for row in sorted(want.keys() | rows.keys(), key=str)
        if want.get(row) != rows.get(row)
    ]
