"""Add, drop, enable and disable constraints, and check the rows that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.standin.backend import OraError
from oracle.standin.engine.catalog import Constraint
from oracle.standin.engine.compiler import Compiler
from oracle.standin.engine.definition_tree import ConstraintDef, ConstraintRef
from oracle.standin.engine.evaluation import Env
from oracle.standin.engine.joining import parts
from oracle.standin.engine.preparing import Preparer
from oracle.standin.engine.reading import unimplemented
from oracle.standin.engine.rules import OwnRow
from oracle.standin.engine.scopes import Scope
from oracle.standin.engine.storage import Index, Table
from oracle.standin.engine.tree import Name

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session


def add(session: Session, table: Table, wanted: ConstraintDef) -> Constraint:
    """Add a constraint; the rows that are there are checked unless it is disabled or not validated."""
    catalog = session.catalog
    name = wanted.name or catalog.generated_name()
    if catalog.constraint(table.owner, name) is not None:
        raise OraError(2264, "name already used by an existing constraint")
    made = Constraint(
        table.owner,
        name,
        wanted.type,
        wanted.columns or _mentioned(table, wanted),
        wanted.text,
        wanted.condition,
        wanted.not_null,
        table=table,
        delete_rule=wanted.delete_rule,
        enabled=wanted.enabled,
        validated=wanted.validated,
        generated=wanted.name is None,
    )
    if made.type == "P" and table.primary is not None:
        raise OraError(2260, "table can have only one primary key")
    places(table, made.columns)
    if made.type == "R":
        _point(session, made, wanted)
    elif made.condition is not None:
        scope = Scope()
        scope.add(table.name, OwnRow(table), table.owner)
        Compiler(Preparer(session), scope).condition(made.condition)
    table.constraints[name] = made
    try:
        if made.enabled:
            enable(session, table, made, validate=made.validated)
    except OraError:
        drop(session, table, made, cascade=True)
        raise
    table.changed()
    return made


def places(table: Table, names: tuple[str, ...]) -> tuple[int, ...]:
    """Where columns stand. ORA-00904 for one that is not there."""
    found: list[int] = []
    for name in names:
        place = table.position(name)
        if place is None:
            raise OraError(904, f'"{name}": invalid identifier')
        found.append(place)
    return tuple(found)


def _mentioned(table: Table, wanted: ConstraintDef) -> tuple[str, ...]:
    names = [
        node.path[-1]
        for node in parts(wanted.condition)
        if isinstance(node, Name) and table.position(node.path[-1]) is not None
    ]
    return tuple(dict.fromkeys(names))


def _point(session: Session, made: Constraint, wanted: ConstraintDef) -> None:
    """Find the key that a foreign key refers to."""
    assert wanted.table is not None
    parent = session.table(*wanted.table)
    columns = wanted.target or (parent.primary.columns if parent.primary else ())
    keys = [one for one in parent.constraints.values() if one.type in ("P", "U")]
    if not columns:
        raise OraError(2268, "referenced table does not have a primary key")
    for key in keys:
        if key.columns == columns:
            if len(columns) != len(made.columns):
                raise OraError(2256, "number of referencing columns must match referenced columns")
            made.target = key
            return
        if set(key.columns) == set(columns):
            raise unimplemented("a foreign key with its columns in another order than the key's")
    raise OraError(2270, "no matching unique or primary key for this column-list")


def find(
    session: Session, table: Table, which: ConstraintRef, *, dropped: bool = False
) -> Constraint:
    for one in table.constraints.values():
        if which.name is not None:
            if one.name == which.name:
                return one
        elif which.unique is None:
            if one.type == "P":
                return one
        elif one.type == "U" and one.columns == which.unique:
            return one
    if dropped and which.name:
        raise OraError(2443, "Cannot drop constraint - nonexistent constraint")
    raise OraError(
        2430 if which.name else 2441,
        "cannot enable, disable or drop constraint - no such constraint",
    )


def enable(session: Session, table: Table, one: Constraint, *, validate: bool) -> None:
    before = one.enabled, one.validated
    one.enabled = one.validated = True
    if one.type in ("P", "U"):
        _index_key(session, table, one)
    elif one.type == "R":
        _index_reference(table, one)
    if validate:
        try:
            _validate(session, table, one)
        except OraError:
            one.enabled, one.validated = before
            raise
    one.validated = validate
    table.changed()


def disable(session: Session, table: Table, one: Constraint, *, cascade: bool) -> None:
    """Disable; a key that is referred to only with its references."""
    if one.type in ("P", "U"):
        for child, reference in session.catalog.children(one):
            if reference.enabled and not cascade:
                raise OraError(2297, f"cannot disable constraint {one.shown} - dependencies exist")
            disable(session, child, reference, cascade=True)
        _drop_index(session, table, one)
    one.enabled = one.validated = False
    table.changed()


def drop(session: Session, table: Table, one: Constraint, *, cascade: bool) -> None:
    if one.type in ("P", "U"):
        children = session.catalog.children(one)
        if children and not cascade:
            raise OraError(2273, "this unique/primary key is referenced by some foreign keys")
        for child, reference in children:
            drop(session, child, reference, cascade=True)
        _drop_index(session, table, one)
    elif one.index in table.indexes:  # a table that refers to itself: it went with its key
        table.indexes.remove(one.index)
    table.constraints.pop(one.name, None)
    table.changed()


def _index_key(session: Session, table: Table, one: Constraint) -> None:
    wanted = places(table, one.columns)
    one.index = next((index for index in table.indexes if index.columns == wanted), None)
    if one.index is not None and not one.index.internal:
        one.index.unique = True
        return
    one.index = session.database.make_index(session.catalog, table, one.owner, one.name, wanted)
    one.index.unique = True


def _index_reference(table: Table, one: Constraint) -> None:
    if one.index is None:
        wanted = places(table, one.columns)
        one.index = Index(one.owner, one.name, wanted, table.keys(wanted), internal=True)
        table.build(one.index)


def _drop_index(session: Session, table: Table, one: Constraint) -> None:
    if one.index is not None and one.index in table.indexes:
        table.indexes.remove(one.index)
        session.catalog.entries.pop((one.index.owner, one.index.name, "INDEX"), None)
    one.index = None


def _validate(session: Session, table: Table, one: Constraint) -> None:
    """Check all rows. A DDL statement runs alone: what is committed is all there is."""
    match one.type:
        case "P" | "U":
            _validate_key(table, one)
        case "R":
            _validate_reference(table, one)
        case _:
            _validate_check(session, table, one)


def _validate_key(table: Table, one: Constraint) -> None:
    assert one.index is not None
    seen: set[tuple[object, ...]] = set()
    for _, values in table.seen(None, None):
        key = one.index.key(values)
        if one.type == "P" and None in key:
            raise OraError(1449, "column contains NULL values; cannot alter to NOT NULL")
        if key in seen:
            code = 2437 if one.type == "P" else 2299
            what = "primary key violated" if one.type == "P" else "duplicate keys found"
            raise OraError(code, f"cannot validate {one.shown} - {what}")
        if any(part is not None for part in key):
            seen.add(key)


def _validate_reference(table: Table, one: Constraint) -> None:
    assert one.index is not None
    assert one.target is not None
    assert one.target.table is not None
    if one.target.index is None:  # the key is disabled
        raise OraError(2270, "no matching unique or primary key for this column-list")
    known = {one.target.index.key(values) for _, values in one.target.table.seen(None, None)}
    for _, values in table.seen(None, None):
        key = one.index.key(values)
        if None not in key and key not in known:
            raise OraError(2298, f"cannot validate {one.shown} - parent keys not found")


def _validate_check(session: Session, table: Table, one: Constraint) -> None:
    if one.not_null:
        (place,) = places(table, one.columns)
        if any(values[place] is None for _, values in table.seen(None, None)):
            raise OraError(2296, f"cannot enable {one.shown} - null values found")
        return
    assert one.condition is not None
    scope = Scope()
    scope.add(table.name, OwnRow(table), table.owner)
    holds = Compiler(Preparer(session), scope).condition(one.condition)
    env = Env(session, ())
    for _, values in table.seen(None, None):
        env.rows = [values]
        if holds(env) is False:
            raise OraError(2293, f"cannot validate {one.shown} - check constraint violated")
