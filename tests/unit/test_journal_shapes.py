"""DDL on a migrated table is named: table, column, and what to do."""

from __future__ import annotations

from pathlib import Path

from bowline_worker.contract import Exit
from bowline_worker.journal import shapes
from bowline_worker.model import Column, Table, TableName


def column(name: str, text: str = "integer", *, not_null: bool = False) -> Column:
    return Column(
        name=name, type_schema="pg_catalog", type_name="int4", type_text=text, not_null=not_null
    )


ORDERS = TableName("public", "orders")
BEFORE = {ORDERS: [column("id", not_null=True), column("total", "numeric(12,2)")]}


def changed(now: dict[TableName, list[Column]]) -> str:
    return str(shapes.schema_changed(shapes.describe(BEFORE), shapes.describe(now)))


def test_shapes_are_remembered(tmp_path: Path) -> None:
    directory = tmp_path / "source-0"

    assert shapes.remembered(directory) is None

    shapes.remember(directory, "abc", BEFORE)

    assert shapes.remembered(directory) == ("abc", shapes.describe(BEFORE, own=True))


def test_what_changed_is_named() -> None:
    (identity, total) = BEFORE[ORDERS]
    rest = "the schema of migrated tables changed while streaming: "

    assert changed({ORDERS: [identity]}) == rest + "public.orders.total is gone"
    assert changed({ORDERS: [identity, total, column("note")]}).endswith("orders.note is new")
    assert changed({ORDERS: [identity, column("total", "text")]}).endswith(
        "public.orders.total was numeric(12,2), is text"
    )
    assert changed({ORDERS: [column("id"), total]}).endswith("id was integer not null, is integer")
    assert changed({ORDERS: [total, identity]}).endswith("has its columns in another order")
    assert "public.orders is gone" in changed({})
    assert "changed back meanwhile" in changed(BEFORE)


def test_a_partition_that_is_detached_is_named() -> None:
    table = Table(
        name=ORDERS,
        columns=tuple(BEFORE[ORDERS]),
        key=(),
        one_lane=True,
        parent=TableName("public", "all"),
    )
    attached, detached = shapes.describe(BEFORE, [table]), shapes.describe(BEFORE)

    assert shapes.differences(attached, detached) == [
        "public.orders was a partition of public.all, is a table of its own"
    ]
    assert "is a partition of public.all" in str(shapes.schema_changed(detached, attached))


def test_a_machine_never_retries_it() -> None:
    error = shapes.schema_changed({}, {})

    assert (error.exit_code, error.reason) == (Exit.UNSUPPORTED, "SchemaChanged")
    assert "put the schema back" in error.hint
