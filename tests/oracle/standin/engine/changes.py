"""Change rows for one statement: locks, undo, redo, and the constraints that hold at a statement's end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from oracle.standin.backend import OraError
from oracle.standin.engine.catalog import Constraint
from oracle.standin.engine.evaluation import Env, Key
from oracle.standin.engine.rules import Rules
from oracle.standin.engine.storage import Index, Row, Table, Values
from oracle.standin.engine.transactions import ROW_EXCLUSIVE, Blocked, Transaction, Undo
from oracle.standin.events import Action, Written

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session


class Writer:
    """One statement's changes. Raises Blocked before it touches a row that another transaction has written."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.transaction: Transaction = session.begun()
        self.number = session.statement_number
        self.env = Env(session, ())
        self._touched: dict[Row, tuple[Table, Values | None]] = {}

    def insert(self, table: Table, values: Values) -> Row:
        self._rules(table).check(self.env, values, inserted=True)
        self._wait_for_keys(table, None, values)
        self.transaction.lock(table, ROW_EXCLUSIVE)
        row = Row(table.next_rowid())
        table.rows[row.rowid] = row
        self._write(table, row, None, values, Action.INSERT)
        return row

    def update(self, table: Table, row: Row, values: Values) -> None:
        self.claim(row)
        self._rules(table).check(self.env, values, inserted=False)
        before = row.seen(self.transaction)
        self._wait_for_keys(table, before, values)
        self._write(table, row, before, values, Action.UPDATE)

    def delete(self, table: Table, row: Row) -> None:
        self.claim(row)
        before = row.seen(self.transaction)
        self._write(table, row, before, None, Action.DELETE)
        assert before is not None
        for key, child, constraint in self._references(table, before):
            if constraint.delete_rule != "NO ACTION":
                self._cascade(child, constraint, key)

    def lock_row(self, table: Table, row: Row) -> None:
        """SELECT FOR UPDATE: no change, but nobody else's either."""
        self.claim(row)
        if row.writer is None:
            self._take(table, row, None)

    def claim(self, row: Row) -> None:
        """Make sure that no other transaction has written this row. ORA-08177 if one has since ours reads."""
        if row.writer is self.transaction:
            return
        if row.writer is not None:
            raise Blocked([row.writer])
        serial = self.session.serial_scn
        if serial is not None and row.scn > serial:
            raise OraError(8177, "can't serialize access for this transaction")

    def _rules(self, table: Table) -> Rules:
        return self.session.database.rules(table, self.session)

    def _take(self, table: Table, row: Row, action: Action | None) -> Values | None:
        transaction, first = self.transaction, row.writer is None
        previous = row.committed if first else row.current
        shape = table.shape(all_columns=self.session.database.logs_all_columns)
        transaction.undo.append(Undo(table, shape, row, previous, action, first, self.number))
        if first:
            row.writer, row.current = transaction, previous
            transaction.rows[row] = table
        return previous

    def _write(
        self, table: Table, row: Row, before: Values | None, after: Values | None, action: Action
    ) -> None:
        self._take(table, row, action)
        self._touched.setdefault(row, (table, before))
        row.current = after
        if after is not None:
            for index in table.indexes:
                index.add(row, after)
        for index in table.indexes:
            if index.guards:
                for key in index.moved(before, after):
                    index.claim(key, self.transaction)
                    self.transaction.claims.add((index, key))
        database = self.session.database
        assert self.transaction.xid is not None
        database.log.written(
            Written(
                self.transaction.xid,
                database.tick(),
                database.clock(),
                action,
                table.shape(all_columns=database.logs_all_columns),
                row.rowid,
                before,
                after,
                False,
                self.number,
            )
        )

    def _wait_for_keys(self, table: Table, before: Values | None, after: Values) -> None:
        """Wait for others whose open changes decide whether a key is free."""
        for index in table.indexes:
            if index.unique:
                for key in index.moved(before, after):
                    self._decided(index, key)

    def _decided(self, index: Index, key: tuple[Key, ...]) -> None:
        others = index.others(key, self.transaction)
        if others:
            raise Blocked(others)

    def finish(self) -> None:
        """Check what holds at the end of a statement: unique keys and references."""
        for row, (table, before) in list(self._touched.items()):
            after = row.current if row.writer is self.transaction else row.committed
            if after is not None:
                self._check_unique(table, row, after)
                self._check_parents(table, before, after)
            if before is not None:
                self._check_children(table, before, after)

    def _check_unique(self, table: Table, row: Row, values: Values) -> None:
        for index in table.indexes:
            if not index.unique:
                continue
            key = index.key(values)
            if any(part is not None for part in key) and self._taken(index, key, row):
                constraint = next(
                    (one for one in table.constraints.values() if one.index is index), None
                )
                shown = f"({index.owner}.{index.name})" if constraint is None else constraint.shown
                raise OraError(1, f"unique constraint {shown} violated")

    def _taken(self, index: Index, key: tuple[Key, ...], row: Row | None) -> bool:
        """Tell whether another row that we see has this key. Blocked where it is not decided."""
        self._decided(index, key)
        for other in index.find(key):
            live = other.seen(self.transaction)
            if other is not row and live is not None and index.key(live) == key:
                return True
        return False

    def _check_parents(self, table: Table, before: Values | None, after: Values) -> None:
        for constraint in table.constraints.values():
            target = constraint.target
            if target is None or not constraint.enabled:
                continue
            places = [table.position(name) for name in constraint.columns]
            values = [after[place] for place in places if place is not None]
            if None in values:
                continue
            if before is not None and values == [before[p] for p in places if p is not None]:
                continue
            index = _index_of(target)
            key = _key_for(target, index, dict(zip(target.columns, values, strict=True)))
            if not self._taken(index, key, None):
                raise OraError(
                    2291,
                    f"integrity constraint {constraint.shown} violated - parent key not found",
                )

    def _references(
        self, table: Table, values: Values
    ) -> Iterator[tuple[tuple[Key, ...], Table, Constraint]]:
        """The foreign keys that refer to this row's keys, and with which key."""
        catalog = self.session.catalog
        for constraint in table.constraints.values():
            if constraint.type not in ("P", "U"):
                continue
            for child, reference in catalog.children(constraint):
                if not reference.enabled:
                    continue
                own = [values[table.position(name) or 0] for name in constraint.columns]
                if None not in own and reference.index is not None:
                    keys = zip(reference.index.keys, own, strict=True)
                    yield tuple(key(value) for key, value in keys), child, reference

    def _check_children(self, table: Table, before: Values, after: Values | None) -> None:
        for key, _, reference in self._references(table, before):
            target = reference.target
            assert target is not None
            assert reference.index is not None
            index = _index_of(target)
            own = index.key(before)
            if after is not None and index.key(after) == own:
                continue
            if not self._taken(index, own, None) and self._taken(reference.index, key, None):
                raise OraError(
                    2292,
                    f"integrity constraint {reference.shown} violated - child record found",
                )

    def _cascade(self, child: Table, constraint: Constraint, key: tuple[Key, ...]) -> None:
        assert constraint.index is not None
        self.transaction.lock(child, ROW_EXCLUSIVE)
        self._decided(constraint.index, key)
        for row in constraint.index.find(key):
            live = row.seen(self.transaction)
            if live is None or constraint.index.key(live) != key:
                continue
            if constraint.delete_rule == "CASCADE":
                self.delete(child, row)
            else:
                values = list(live)
                for place in constraint.index.columns:
                    values[place] = None
                self._rules(child).compute(self.env, values)
                self.update(child, row, tuple(values))


def _index_of(target: Constraint) -> Index:
    if target.index is None:
        raise OraError(2270, "no matching unique or primary key for this column-list")
    return target.index


def _key_for(target: Constraint, index: Index, values: dict[str, object]) -> tuple[Key, ...]:
    """The parent's key, in the order of its index."""
    assert target.table is not None
    names = [target.table.columns[place].name for place in index.columns]
    return tuple(
        key(values[name])  # type: ignore[arg-type]
        for key, name in zip(index.keys, names, strict=True)
    )
