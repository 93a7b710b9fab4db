"""Random transactions for the log, and whether a reader has got them: each change once, in an order that holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from oracle.standin.backend import Kind, Value
from oracle.standin.events import Action, ColumnShape, TableShape, Written
from oracle.standin.redolog.reader import DELETE, INSERT, UPDATE, Reader
from oracle.standin.redolog.scribe import Scribe, Work

PLAIN = TableShape(
    "S",
    "PLAIN",
    501,
    (
        ColumnShape("ID", Kind.NUMBER),
        ColumnShape("V", Kind.VARCHAR2, 40),
        ColumnShape("N", Kind.VARCHAR2, 40, national=True),
    ),
    key=("ID",),
)
WITH_LOB = TableShape(
    "S",
    "WITH_LOB",
    502,
    (
        ColumnShape("ID", Kind.NUMBER),
        ColumnShape("V", Kind.VARCHAR2, 40),
        ColumnShape("C", Kind.CLOB),
    ),
    key=("ID",),
)
FLOATS = TableShape("S", "FLOATS", 504, (ColumnShape("D", Kind.BINARY_DOUBLE),))
OTHER = TableShape("S", "OTHER", 503, (ColumnShape("ID", Kind.NUMBER),))
TEXTS = (None, "a", "it's", "''''", "x' and \"V\" = '", "é☃", "'" * 19)
LOB_TEXTS = (None, "small", "'" * 5, "large " * 5, "'" * 25)


@dataclass
class Workload:
    """Random transactions: interleaved, with savepoints, arrays, LOBs, and DDL of other tables."""

    db: Scribe
    random: Random
    number: int = 0
    savepoints: dict[tuple[int, ...], int] = field(default_factory=dict)

    def act(self) -> None:
        """Do one thing in one transaction."""
        draw = self.random
        if len(self.db.open) < 4 and draw.random() < 0.3:
            self.db.begin()
        if draw.random() < 0.02:
            self.db.define('create table "S"."OTHER" ("ID" number)', OTHER)
        if not self.db.open:
            return
        work = draw.choice(self.db.open)
        kinds = [self._insert, self._insert, self._update, self._update, self._delete]
        kinds += [self._savepoint, self._rollback_to, self._commit, self._commit, self._rollback]
        draw.choice(kinds)(work)

    def finish(self) -> None:
        """Commit what is open."""
        for work in list(self.db.open):
            work.commit()

    def _table(self) -> TableShape:
        return self.random.choice((PLAIN, PLAIN, WITH_LOB))

    def _row(self, table: TableShape) -> tuple[Value, ...]:
        self.number += 1
        more = LOB_TEXTS if table is WITH_LOB else TEXTS
        return (Decimal(self.number), self.random.choice(TEXTS), self.random.choice(more))

    def _insert(self, work: Work) -> None:
        table = self._table()
        work.insert(table, *[self._row(table) for _ in range(self.random.randint(1, 3))])

    def _update(self, work: Work) -> None:
        table = self._table()
        rowids = self.db.rowids(table, unlocked_by_others=work)
        if rowids:
            row = self._row(table)
            names = [column.name for column in table.columns][1:]
            values = dict(zip(names, row[1:], strict=True))
            keep = self.random.choice([*names, ""])
            values.pop(keep, None)
            work.update_columns(table, self.random.choice(rowids), values)

    def _delete(self, work: Work) -> None:
        table = self._table()
        rowids = self.db.rowids(table, unlocked_by_others=work)
        if rowids:
            work.delete(table, *self.random.sample(rowids, min(len(rowids), 3)))

    def _savepoint(self, work: Work) -> None:
        self.savepoints[tuple(work.xid)] = work.savepoint()

    def _rollback_to(self, work: Work) -> None:
        work.rollback_to(self.savepoints.get(tuple(work.xid), 0))

    def _commit(self, work: Work) -> None:
        work.commit()

    def _rollback(self, work: Work) -> None:
        work.rollback()


def told(change: Written) -> tuple[object, ...]:
    return (
        {Action.INSERT: INSERT, Action.UPDATE: UPDATE, Action.DELETE: DELETE}[change.action],
        change.table.name,
        _scalars(change.table, change.before),
        _scalars(change.table, change.after),
        change.table is WITH_LOB and change.action is not Action.DELETE and _lob_differs(change),
    )


def _lob_differs(change: Written) -> bool:
    return change.before is None or change.after is None or change.before[2] != change.after[2]


def _scalars(table: TableShape, row: Sequence[Value] | None) -> dict[str, str | None] | None:
    if row is None:
        return None
    return {
        column.name: None if value is None else str(value)
        for column, value in zip(table.columns, row, strict=True)
        if column.kind is not Kind.CLOB
    }


def problems(reader: Reader) -> list[str]:
    """Tell what a reader has lost, doubled or invented."""
    truth = {tuple(c.xid): c for c in reader.db.committed if c.changes}
    read = [e for e in reader.emitted if e.changes]
    times = Counter(emitted.xid for emitted in read)
    found = [f"lost {xid}" for xid in truth if xid not in times]
    found += [f"doubled {xid}" for xid, count in times.items() if count > 1]
    for emitted in read:
        true = truth.get(emitted.xid)
        if true is None:
            found.append(f"invented {emitted.xid}")
            continue
        want = [told(change) for change in true.changes]
        have = [(c.op, c.table, c.before, c.after, c.touches_lob) for c in emitted.changes]
        if want != have or true.scn != emitted.scn:
            found.append(f"other changes in {emitted.xid}: {have} instead of {want}")
    found += [f"never let go of {xid}" for xid in reader.open]
    return found + _disorder(reader)


def _disorder(reader: Reader) -> list[str]:
    """Compare the order of transactions that changed the same row."""
    place = {emitted.xid: at for at, emitted in enumerate(reader.emitted)}
    last: dict[str, int] = {}
    found = []
    for committed in reader.db.committed:
        at = place.get(tuple(committed.xid), -1)
        for change in committed.changes:
            if at < last.get(change.rowid, -1):
                found.append(f"{committed.xid} comes too early for {change.rowid}")
            last[change.rowid] = max(at, last.get(change.rowid, -1))
    return found
