"""Two small tables and their changes, for tests of what is pure."""

from __future__ import annotations

from bowline_worker.model import Change, Column, Op, Row, Table, TableName


def column(name: str, type_name: str = "text") -> Column:
    return Column(name=name, type_schema="pg_catalog", type_name=type_name, type_text=type_name)


ITEM = Table(
    name=TableName("public", "item"),
    columns=(column("id", "int4"), column("a"), column("b")),
    key=("id",),
    one_lane=False,
)
EVENT = Table(name=TableName("public", "event"), columns=(column("what"),), key=(), one_lane=True)
COLUMNS = ("id", "a", "b")


def insert(key: bytes, a: bytes | None, b: bytes | None) -> Change:
    return Change(Op.INSERT, ITEM.name, COLUMNS, after=(key, a, b))


def update(key: bytes, *values: object, to: bytes | None = None) -> Change:
    before: Row | None = None if to is None else (key, None, None)
    after = (key if to is None else to, *values)
    return Change(Op.UPDATE, ITEM.name, COLUMNS, (key,), before, after)  # type: ignore[arg-type]


def delete(key: bytes) -> Change:
    return Change(Op.DELETE, ITEM.name, COLUMNS, (key,), before=(key, None, None))
