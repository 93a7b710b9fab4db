"""What the dictionary's views show, read from the catalogue whenever they are asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from oracle.standin.backend import Kind, Value
from oracle.standin.engine.catalog import Constraint
from oracle.standin.engine.datatypes import DataType
from oracle.standin.engine.rights import DBA_PRIVILEGES, sees
from oracle.standin.engine.rowids import BLOCKS_PER_EXTENT, FILE, FIRST_BLOCK, ROWS_PER_BLOCK
from oracle.standin.engine.storage import Column, Table

if TYPE_CHECKING:
    from oracle.standin.engine.session import Session

Rows = Iterator[tuple[Value, ...]]


def _yes(value: object) -> str:
    return "YES" if value else "NO"


def _seen(session: Session) -> Iterator[Table]:
    rights = session.rights
    return (table for table in list(session.catalog.tables.values()) if sees(rights, table))


def tables(session: Session) -> Rows:
    for table in _seen(session):
        yield (
            table.owner,
            table.name,
            None if table.temporary else "USERS",
            None,
            None,
            "VALID",
            "NO" if table.temporary else "YES",
            None,
            "NO",
            None,
            "Y" if table.temporary else "N",
            "N",
            "NO",
            "NO",
            "NO",
        )


def columns(session: Session) -> Rows:
    for table in _seen(session):
        number = 0
        for internal, column in enumerate(table.columns, 1):
            number += not column.hidden
            yield _column(table, column, internal, None if column.hidden else number)


def _column(table: Table, column: Column, internal: int, number: int | None) -> tuple[Value, ...]:
    kind = column.type
    text = kind.kind in (Kind.VARCHAR2, Kind.CHAR)
    semantics = None if not text else "B" if kind.byte_semantics else "C"
    default = column.virtual_text or column.default_text
    if column.sequence is not None:
        default = f'"{column.sequence.owner}"."{column.sequence.name}".nextval'
    return (
        table.owner,
        table.name,
        column.name,
        kind.name,
        None,
        Decimal(kind.bytes),
        _number(kind.precision),
        _number(_scale(kind)),
        "N" if table.not_null(column.name) else "Y",
        _number(number),
        Decimal(internal),
        Decimal(len(default)) if default else None,
        default,
        _yes(column.virtual is not None),
        _yes(column.hidden),
        "YES",
        Decimal(kind.length if text else 0),
        semantics,
        _yes(column.identity),
        _yes(column.default_on_null),
        "NCHAR_CS" if kind.national else "CHAR_CS" if text or kind.kind is Kind.CLOB else None,
    )


def _scale(kind: DataType) -> int | None:
    return None if kind.kind is Kind.NUMBER and kind.is_float else kind.scale


def _number(value: int | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _shown(session: Session) -> Iterator[tuple[Table, Constraint]]:
    rights = session.rights
    return ((table, one) for table, one in session.catalog.constraints() if sees(rights, table))


def constraints(session: Session) -> Rows:
    for table, one in _shown(session):
        target = one.target
        keyed = one.index is not None and one.type in ("P", "U")
        yield (
            one.owner,
            one.name,
            one.type,
            table.name,
            one.text,
            one.text,
            target.owner if target else None,
            target.name if target else None,
            one.delete_rule if one.type == "R" else None,
            "ENABLED" if one.enabled else "DISABLED",
            "NOT DEFERRABLE",
            "IMMEDIATE",
            "VALIDATED" if one.validated else "NOT VALIDATED",
            "GENERATED NAME" if one.generated else "USER NAME",
            None,
            one.index.owner if keyed and one.index else None,
            one.index.name if keyed and one.index else None,
        )


def cons_columns(session: Session) -> Rows:
    for table, one in _shown(session):
        for place, name in enumerate(one.columns, 1):
            position = None if one.type == "C" else Decimal(place)
            yield one.owner, one.name, table.name, name, position


def indexes(session: Session) -> Rows:
    for table in _seen(session):
        for index in table.indexes:
            if not index.internal:
                constraint = any(one.index is index for one in table.constraints.values())
                yield (
                    index.owner,
                    index.name,
                    "NORMAL",
                    table.owner,
                    table.name,
                    "TABLE",
                    "UNIQUE" if index.unique else "NONUNIQUE",
                    "VALID",
                    "NO",
                    "VISIBLE",
                    "N",
                    _yes(constraint),
                    "N",
                )


def ind_columns(session: Session) -> Rows:
    for table in _seen(session):
        for index in table.indexes:
            if not index.internal:
                for place, column in enumerate(index.columns, 1):
                    name = table.columns[column].name
                    yield (
                        index.owner,
                        index.name,
                        table.owner,
                        table.name,
                        name,
                        Decimal(place),
                        "ASC",
                    )


def objects(session: Session) -> Rows:
    rights = session.rights
    for entry in list(session.catalog.entries.values()):
        subject = entry.subject
        if isinstance(subject, Table) and not sees(rights, subject):
            continue
        data = subject.data_object_id if isinstance(subject, Table) else entry.object_id
        temporary = isinstance(subject, Table) and subject.temporary
        yield (
            entry.owner,
            entry.name,
            None,
            Decimal(entry.object_id),
            Decimal(data),
            entry.type,
            replace(entry.created, nanos=0),
            replace(entry.changed, nanos=0),
            "VALID",
            "Y" if temporary else "N",
            "N",
            "N",
        )


def log_groups(session: Session) -> Rows:
    for table in _seen(session):
        for name, kind in table.supplemental.items():
            generated = "GENERATED NAME" if name.startswith("SYS_C") else "USER NAME"
            yield table.owner, name, table.name, kind, "ALWAYS", generated


def triggers(session: Session) -> Rows:
    for trigger in list(session.catalog.triggers.values()):
        kind = f"{trigger.when} {'EACH ROW' if trigger.each_row else 'STATEMENT'}"
        yield (
            trigger.owner,
            trigger.name,
            kind,
            " OR ".join(trigger.events),
            trigger.table.owner,
            "TABLE",
            trigger.table.name,
            None,
            trigger.condition_text,
            "ENABLED" if trigger.enabled else "DISABLED",
            trigger.text,
            "NO",
            "NO",
        )


def sequences(session: Session) -> Rows:
    for one in list(session.catalog.sequences.values()):
        yield (
            one.owner,
            one.name,
            Decimal(one.least),
            Decimal(one.most),
            Decimal(one.increment),
            "Y" if one.cycle else "N",
            "Y" if one.order else "N",
            Decimal(one.cache),
            Decimal(one.last_number),
        )


def identities(session: Session) -> Rows:
    for table in _seen(session):
        for column in table.columns:
            if column.identity and column.sequence is not None:
                one = column.sequence
                options = (
                    f"START WITH: {one.start}, INCREMENT BY: {one.increment}, "
                    f"MAX_VALUE: {one.most}, MIN_VALUE: {one.least}, "
                    f"CYCLE_FLAG: {'Y' if one.cycle else 'N'}, CACHE_SIZE: {one.cache}, "
                    f"ORDER_FLAG: {'Y' if one.order else 'N'}"
                )
                yield table.owner, table.name, column.name, column.identity, one.name, options


def extents(session: Session) -> Rows:
    for table in list(session.catalog.tables.values()):
        blocks = -(-table.blocks // ROWS_PER_BLOCK)
        for number in range(-(-blocks // BLOCKS_PER_EXTENT)):
            yield (
                table.owner,
                table.name,
                None,
                "TABLE",
                "USERS",
                Decimal(number),
                Decimal(FILE),
                Decimal(FIRST_BLOCK + number * BLOCKS_PER_EXTENT),
                Decimal(BLOCKS_PER_EXTENT * 8192),
                Decimal(BLOCKS_PER_EXTENT),
                Decimal(FILE),
            )


def users(session: Session) -> Rows:
    for place, name in enumerate(session.database.users):
        yield name, Decimal(place + 100), session.database.created, "NO"


def privileges(session: Session) -> Rows:
    rights = session.rights
    held = rights.privileges | (set(DBA_PRIVILEGES) if rights.has("DBA") else set())
    for name in sorted(held - {"DBA"}):
        yield (name,)


def roles(session: Session) -> Rows:
    rights = session.rights
    for name in sorted(rights.privileges):
        if name == "DBA" or name.endswith("_ROLE"):
            yield (name,)


def nothing(session: Session) -> Rows:
    return iter(())
