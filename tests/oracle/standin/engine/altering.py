"""Add, modify, drop and rename columns. The rows are written anew, and their history ends."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from oracle.standin.backend import Kind, OraError, Value
from oracle.standin.engine import constraints
from oracle.standin.engine.catalog import Counter
from oracle.standin.engine.compiler import Compiler
from oracle.standin.engine.datatypes import TEXTS, DataType, fit
from oracle.standin.engine.definition_tree import ColumnDef, SequenceOptions
from oracle.standin.engine.evaluation import Env
from oracle.standin.engine.joining import parts
from oracle.standin.engine.preparing import Preparer
from oracle.standin.engine.reading import unimplemented
from oracle.standin.engine.rules import OwnRow, Rules, column_place
from oracle.standin.engine.scopes import Scope
from oracle.standin.engine.storage import Column, Table, Values
from oracle.standin.engine.tree import Name

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session


def column_of(session: Session, table: Table, wanted: ColumnDef) -> Column:
    """A new column. Its constraints are added by the caller."""
    made = Column(wanted.name, _typed(session, table, wanted), hidden=wanted.hidden)
    if wanted.default is not None:
        made.default, made.default_text = wanted.default
        made.default_on_null = wanted.default_on_null
        Compiler(Preparer(session), Scope()).to(made.default, made.type)
    if wanted.virtual is not None:
        made.virtual, made.virtual_text = wanted.virtual
        Compiler(Preparer(session), _scope(table)).to(made.virtual, made.type)
    if wanted.identity:
        if any(column.identity for column in table.columns):
            raise OraError(30669, "table can have only one identity column")
        made.identity = wanted.identity
        made.default_on_null = wanted.default_on_null
        made.sequence = session.database.make_sequence(
            session.catalog, table.owner, f"ISEQ$$_{table.object_id}"
        )
        made.sequence.identity = True
        set_options(made.sequence, wanted.options or {}, created=True)
    return made


def _typed(session: Session, table: Table, wanted: ColumnDef) -> DataType:
    if wanted.type is not None:
        return wanted.type
    if wanted.virtual is None:
        raise OraError(2263, "need to specify the datatype for this column")
    found = Compiler(Preparer(session), _scope(table)).value(wanted.virtual[0]).type
    if found.kind in TEXTS:
        raise unimplemented("a virtual column of text without its datatype")
    return found


def _scope(table: Table) -> Scope:
    scope = Scope()
    scope.add(table.name, OwnRow(table), table.owner)
    return scope


def set_options(sequence: Counter, options: SequenceOptions, *, created: bool) -> None:
    """Apply what CREATE or ALTER SEQUENCE says."""
    before = sequence.increment
    sequence.increment = int(options.get("increment", before))
    if sequence.increment == 0:
        raise OraError(4002, "INCREMENT must be a non-zero integer")
    falling = sequence.increment < 0
    if created and falling:
        sequence.least, sequence.most = -(10**27) + 1, -1
    for name in ("least", "most", "cache"):
        value = options.get(name)
        if isinstance(value, int):
            setattr(sequence, name, value)
    sequence.cycle = bool(options.get("cycle", sequence.cycle))
    sequence.order = bool(options.get("order", sequence.order))
    start = options.get("start")
    if created:
        default = sequence.most if falling else sequence.least
        sequence.start = start if isinstance(start, int) else default
        sequence.restart(sequence.start)
    elif options.get("restart"):
        first = sequence.most if falling else sequence.least
        sequence.restart(start if isinstance(start, int) else first)
    elif isinstance(start, int):
        raise OraError(2283, "cannot alter starting sequence number")
    elif options:
        # What was cached is dropped; the next value is the last one, or what would stand before START, and the step.
        sequence.restart(sequence.next_value + sequence.increment - before)


def rewrite(session: Session, table: Table, change: Callable[[Values], Values]) -> None:
    """Write every row anew in its new form, under the SCN that it had."""
    kept = {}
    for rowid, row in table.rows.items():
        values = row.committed
        if values is not None:
            row.versions = [(row.scn, change(values))]
            kept[rowid] = row
    table.rows = kept
    for index in table.indexes:
        index.entries = {}
        index.keys = table.keys(index.columns)
        for row in kept.values():
            values = row.committed
            assert values is not None
            index.add(row, values)
    table.changed(columns=True)
    table.defined_scn = session.database.scn + 1  # that of the statement itself


def add(session: Session, table: Table, wanted: ColumnDef) -> None:
    if table.position(wanted.name) is not None:
        raise OraError(1430, "column being added already exists in table")
    made = column_of(session, table, wanted)
    filled = made.default is not None or made.sequence is not None
    if wanted.nullable is False and not filled and any(table.seen(None, None)) and True:
        raise OraError(1758, "table must be empty to add mandatory (NOT NULL) column")
    table.columns.append(made)
    table.changed()
    rules = Rules(table, Preparer(session))
    place, env = len(table.columns) - 1, Env(session, ())

    def longer(values: Values) -> Values:
        default = rules.defaults[place]
        value: Value = None
        if made.sequence is not None:
            value = Decimal(made.sequence.take())
        elif default is not None:
            value = rules.fitted(place, default(env))
        new = [*values, value]
        rules.compute(env, new)
        return tuple(new)

    rewrite(session, table, longer)
    for constraint in wanted.constraints:
        constraints.add(session, table, constraint)


def modify(session: Session, table: Table, wanted: ColumnDef) -> None:
    (place,) = constraints.places(table, (wanted.name,))
    column = table.columns[place]
    if wanted.identity is not None:
        _identity(session, table, place, wanted)
    if wanted.type is not None and wanted.type != column.type:
        _retype(session, table, place, wanted.type)
    if wanted.default is not None:
        column.default, column.default_text = wanted.default
        column.default_on_null = wanted.default_on_null
    if wanted.virtual is not None:
        raise unimplemented("MODIFY of a virtual column")
    if wanted.nullable:
        for one in list(table.constraints.values()):
            if one.not_null and one.columns == (wanted.name,):
                constraints.drop(session, table, one, cascade=False)
    for constraint in wanted.constraints:
        if constraint.not_null and table.not_null(wanted.name):
            raise OraError(1442, "column to be modified to NOT NULL is already NOT NULL")
        constraints.add(session, table, constraint)
    table.changed()


def _retype(session: Session, table: Table, place: int, kind: DataType) -> None:
    column = table.columns[place]
    if _in_virtual(table, column.name):
        raise OraError(54033, "column to be modified is used in a virtual column expression")
    rows = [values for _, values in table.seen(None, None)]
    filled = any(values[place] is not None for values in rows)
    if filled and kind.kind is not column.type.kind:
        raise OraError(1439, "column to be modified must be empty to change datatype")
    for values in rows:
        _still_fits(values[place], kind)
    column.type = kind
    label = column_place(table, place)

    def refit(values: Values) -> Values:
        return (*values[:place], fit(values[place], kind, label), *values[place + 1 :])

    rewrite(session, table, refit)


def _still_fits(value: Value, kind: DataType) -> None:
    try:
        kept = fit(value, kind, "")
    except OraError as error:
        if error.code != 12899:
            raise
        text = "cannot decrease column length because some value is too big"
        raise OraError(1441, text) from None
    if kept != value and kind.kind is not Kind.CHAR:
        text = "column to be modified must be empty to decrease precision or scale"
        raise OraError(1440, text)


def _identity(session: Session, table: Table, place: int, wanted: ColumnDef) -> None:
    column = table.columns[place]
    if column.sequence is None:
        raise OraError(30673, "column to be modified is not an identity column")
    if not wanted.identity:
        session.catalog.sequences.pop((column.sequence.owner, column.sequence.name), None)
        column.identity = column.sequence = None
        return
    column.identity = wanted.identity
    column.default_on_null = wanted.default_on_null
    options = dict(wanted.options or {})
    start = options.get("start")
    if start == "limit":
        values = [values[place] for _, values in table.seen(None, None)]
        numbers = [int(value) for value in values if isinstance(value, Decimal)]
        step = column.sequence.increment
        start = (
            (max(numbers) if step > 0 else min(numbers)) + step
            if numbers
            else column.sequence.start
        )
    if isinstance(start, int):
        options |= {"restart": True, "start": start}
    set_options(column.sequence, options, created=False)


def _in_virtual(table: Table, name: str) -> bool:
    """Tell whether a virtual column is computed from this one."""
    return any(
        isinstance(node, Name) and node.path[-1] == name
        for column in table.columns
        for node in parts(column.virtual)
    )


def drop(session: Session, table: Table, names: tuple[str, ...]) -> None:
    gone = set(constraints.places(table, names))
    if any(_in_virtual(table, name) for name in names):
        raise OraError(54031, "column to be dropped is used in a virtual column expression")
    for one in list(table.constraints.values()):
        if set(one.columns) & set(names):
            if len(one.columns) > 1:
                raise OraError(12991, "column is referenced in a multi-column constraint")
            constraints.drop(session, table, one, cascade=False)
    table.indexes = [index for index in table.indexes if not gone & set(index.columns)]
    kept = [place for place in range(len(table.columns)) if place not in gone]
    if not kept:
        raise OraError(12983, "cannot drop all columns in a table")
    for index in table.indexes:
        index.columns = tuple(kept.index(place) for place in index.columns)
    table.columns = [table.columns[place] for place in kept]
    rewrite(session, table, lambda values: tuple(values[place] for place in kept))


def rename(session: Session, table: Table, name: str, to: str) -> None:
    (place,) = constraints.places(table, (name,))
    if table.position(to) is not None:
        raise OraError(957, "duplicate column name")
    if _in_virtual(table, name):
        raise OraError(54032, "column to be renamed is used in a virtual column expression")
    if any(one.condition is not None and name in one.columns for one in table.constraints.values()):
        raise unimplemented("renaming a column that a check names")
    table.columns[place].name = to
    for one in table.constraints.values():
        one.columns = tuple(to if column == name else column for column in one.columns)
        if one.not_null and one.columns == (to,):
            one.text = f'"{to}" IS NOT NULL'
    table.changed(columns=True)
    table.defined_scn = session.database.scn + 1  # that of the statement itself
