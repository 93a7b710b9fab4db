"""What the conformance suite needs beside an endpoint: a pair of empty sides, and an application that writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bowline_worker.contract import Side
from bowline_worker.endpoints.base import Endpoint
from bowline_worker.model import Change, Column, Op, Row, Table, TableName


def text(name: str, *, type_name: str = "text", not_null: bool = False) -> Column:
    return Column(
        name=name,
        type_schema="pg_catalog",
        type_name=type_name,
        type_text=type_name,
        not_null=not_null,
    )


#: A keyed table and one without a key: both sides of every rig have them, empty. Of which type a column is matters
#: to the engine in memory alone: the others know their own.
ITEM = Table(
    name=TableName("shop", "item"),
    columns=(text("id", type_name="int4", not_null=True), text("name"), text("note")),
    key=("id",),
    one_lane=False,
)
EVENT = Table(
    name=TableName("shop", "event"), columns=(text("what"), text("at")), key=(), one_lane=True
)
ITEM_COLUMNS = ("id", "name", "note")
EVENT_COLUMNS = ("what", "at")
SEQUENCE = TableName("shop", "item_id")


class WriteRefused(Exception):
    """The fence refused an application's write."""


class Rig(Protocol):
    @property
    def source(self) -> Endpoint: ...
    @property
    def target(self) -> Endpoint: ...
    @property
    def sink(self) -> Endpoint:
        """Where a snapshot of the source can be copied to: the target, where its engine receives any."""
        ...

    @property
    def streams_keyless(self) -> bool:
        """Whether a stream of the source tells of EVENT. If not, `source` leaves it out once `to_stream` was called."""
        ...

    def to_stream(self) -> None: ...

    def write(self, side: Side, changes: Sequence[Change]) -> None:
        """Commit one application transaction, or raise WriteRefused."""
        ...

    def rows(self, side: Side, table: Table) -> list[Row]:
        """All rows, sorted."""
        ...

    def sunk(self, table: Table) -> list[Row]:
        """All rows of the sink, sorted."""
        ...

    def next_value(self, side: Side) -> int:
        """Take a value of SEQUENCE, as an application does."""
        ...


def insert(number: int, name: bytes | None = b"n", note: bytes | None = None) -> Change:
    return Change(Op.INSERT, ITEM.name, ITEM_COLUMNS, after=(str(number).encode(), name, note))


def update(number: int, name: bytes | None) -> Change:
    key = (str(number).encode(),)
    return Change(Op.UPDATE, ITEM.name, ITEM_COLUMNS, key, after=(*key, name, None))


def delete(number: int) -> Change:
    key = (str(number).encode(),)
    return Change(Op.DELETE, ITEM.name, ITEM_COLUMNS, key, before=(*key, None, None))


def event(what: bytes, at: bytes | None = None) -> Change:
    return Change(Op.INSERT, EVENT.name, EVENT_COLUMNS, after=(what, at))
