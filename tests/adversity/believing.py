"""Readers that get each change once, and believe what its statement says: each is a few lines, and wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from adversity.receiver import MEASURED, Cells, Rows
from bowline_worker.endpoints.oracle.floats import float_text
from bowline_worker.endpoints.oracle.redo import Hex, Mark, Redo, RedoValue, parse
from oracle.standin.backend import Value
from oracle.standin.events import TableShape
from oracle.standin.redolog.miner import ADDFILE, NEW, LogMiner
from oracle.standin.redolog.reader import COMMIT, USUAL
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.redolog.rows import Row
from oracle.standin.redolog.scribe import Scribe, Work
from oracle.standin.redolog.workload import PLAIN, Workload

ROW_CODES = (1, 2, 3)


@dataclass
class Straight(Workload):
    """Transactions on one table that take nothing back: what is told wrong is so by the statements alone."""

    table: TableShape = PLAIN

    def _table(self) -> TableShape:
        return self.table

    def _row(self, table: TableShape) -> tuple[Value, ...]:
        row = super()._row(table)
        if table is not MEASURED:
            return row
        return (row[0], self.random.choice((0.1 + 0.2, 1e-300, self.random.random(), 1.5, None)))

    def _savepoint(self, work: Work) -> None: ...
    def _rollback_to(self, work: Work) -> None: ...
    def _rollback(self, work: Work) -> None: ...


Read: TypeAlias = Callable[[str], Redo]
Ours: TypeAlias = Callable[[Row], bool]


def of_the_schema(row: Row) -> bool:
    return row.seg_owner == "S"


def by_name(row: Row) -> bool:
    """Take what the dictionary has the table's name for now."""
    return of_the_schema(row) and row.table_name == PLAIN.name


def of_anybody(row: Row) -> bool:
    """Take whatever changes a row."""
    return bool(row.sql_redo)


_JOINED = re.compile(r"(UNISTR\('(?:[^']|'')*'\))(?: *\|\| *UNISTR\('(?:[^']|'')*'\))+")


def first_piece(sql: str) -> Redo:
    """Take the first of the pieces of a text for the whole of it."""
    return parse(_JOINED.sub(r"\1", sql))


def statements(log: RedoLog, ours: Ours, read: Read) -> Iterator[list[tuple[Row, Redo]]]:
    """Yield the changes of each committed transaction, from all logs that there ever were."""
    miner = LogMiner(log)
    names = {a.file.sequence: a.name for a in log.threads[1].archives}
    names |= {
        g.file.sequence: g.members[0] for g in log.threads[1].groups if g.file and not g.archived
    }
    for at, sequence in enumerate(sorted(names)):
        miner.add_logfile(names[sequence], ADDFILE if at else NEW)
    miner.start(0, 0, USUAL)
    open_: dict[tuple[int, ...], list[tuple[Row, Redo]]] = {}
    text = ""
    for row in miner.rows():
        text += row.sql_redo or ""
        if row.csf:
            continue
        sql, text = text, ""
        xid = (row.xidusn, row.xidslt, row.xidsqn)
        if row.operation_code == COMMIT:
            yield open_.pop(xid, [])
        elif row.operation_code in ROW_CODES and ours(row):
            open_.setdefault(xid, []).append((row, read(sql)))


Text: TypeAlias = Callable[[object], bytes | None]


def plain_text(value: object) -> bytes | None:
    """Take the text between the quotes, or an empty LOB, for the value."""
    match value:
        case str():
            return value.encode()
        case Hex():
            return value.data
        case Mark():
            return b""
    return None


def number_text(value: object) -> bytes | None:
    """Take the text of a binary number for the number."""
    text = plain_text(value)
    if text is None or b"E" not in text:
        return text
    return float_text(float(text), is_single=False).encode()


def believe(
    log: RedoLog,
    table: TableShape,
    text: Text,
    *,
    skips_echo: bool = False,
    ours: Ours = of_the_schema,
    read: Read = parse,
) -> Rows:
    """Apply the statements as they stand; `skips_echo`: an UPDATE of what was just inserted says nothing new."""
    rows: Rows = {}
    for changes in statements(log, ours, read):
        inserted: Cells | None = None
        for row, redo in changes:
            new, known = _cells(table, redo.set, text), _cells(table, redo.where, text)
            key = (table.name, (known or new).get("ID"))
            if row.operation_code == 1:
                inserted = rows[key] = {**dict.fromkeys(c.name for c in table.columns), **new}
            elif row.operation_code == 2:
                rows.pop(key, None)
            elif not (skips_echo and inserted and known.items() <= inserted.items()):
                rows[key] = {**rows.get(key, {}), **known, **new}
    return rows


def _cells(table: TableShape, cells: Mapping[str, RedoValue], text: Text) -> Cells:
    """Name columns as the table does: "COL 2" is its second."""
    names = {f"COL {at}": column.name for at, column in enumerate(table.columns, 1)}
    return {names.get(name, name): text(value) for name, value in cells.items()}


def run(seed: int, log: RedoLog, table: TableShape, *, turns: int = 120) -> Straight:
    """Let transactions on one table run to their end."""
    work = Straight(Scribe(log), Random(seed), table=table)
    for _ in range(turns):
        work.act()
    work.finish()
    return work
