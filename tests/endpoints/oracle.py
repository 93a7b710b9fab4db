"""The conformance suite's rig on two servers that stand in for Oracle; SHOP is the application.

Oracle receives no snapshot: that goes to a database of PostgreSQL, which is made when a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

import oracledb
import pytest

from bowline_worker.contract import Connection, Side
from bowline_worker.endpoints.oracle.connection import quote
from bowline_worker.endpoints.oracle.endpoint import OracleEndpoint
from bowline_worker.endpoints.postgres import PostgresEndpoint
from bowline_worker.model import Change, Op, Row, Table
from endpoints import postgresql
from endpoints.rig import EVENT, ITEM, WriteRefused
from oracle.world import World, a_secret, world
from servers import MIGRATOR, Database

TABLES = (
    "create sequence item_id",
    "create table item (id number(9) primary key, name varchar2(40), note clob)",
    "create table event (what varchar2(40), at varchar2(40))",
)
SINK = (
    "create schema shop",
    "create table shop.item (id int primary key, name text, note text)",
    "create table shop.event (what text, at text)",
)
#: What the fence raises.
FENCED = 20999


class OracleRig:
    streams_keyless = True

    def to_stream(self) -> None:
        """It has nothing to leave out."""

    def __init__(
        self, worlds: Mapping[Side, World], place: Path, database: Callable[[], Database]
    ) -> None:
        self._worlds, self._place, self._make_database = worlds, place, database
        change = {str(side): here.site.config.source for side, here in worlds.items()}
        config = worlds[Side.SOURCE].site.config
        self._config = config.model_copy(update={**change, "work_dir": str(place)})
        self.source = OracleEndpoint(self._config, Side.SOURCE)
        self.target = OracleEndpoint(self._config, Side.TARGET)

    @cached_property
    def _database(self) -> Database:
        database = self._make_database()
        database.run(*SINK)
        return database

    @cached_property
    def sink(self) -> PostgresEndpoint:
        place = self._place / "sink"
        place.mkdir()
        secret = a_secret(place, MIGRATOR, self._database.server.password)
        target: Connection = self._database.connection(secret)
        return PostgresEndpoint(self._config.model_copy(update={"target": target}), Side.TARGET)

    def sunk(self, table: Table) -> list[Row]:
        return postgresql.rows(self._database, table)

    def write(self, side: Side, changes: Sequence[Change]) -> None:
        connection = self._worlds[side].app
        try:
            with connection.cursor() as cursor:
                for change in changes:
                    _execute(cursor, change)
            connection.commit()
        except oracledb.DatabaseError as error:
            connection.rollback()
            if error.args[0].code != FENCED:
                raise
            raise WriteRefused from None

    def rows(self, side: Side, table: Table) -> list[Row]:
        columns = ", ".join(_spelled(column.name) for column in table.columns)
        with self._worlds[side].app.cursor() as cursor:
            cursor.execute(f"select {columns} from {_name(table)} order by 1, 2")
            found = cursor.fetchall()
        return [tuple(map(_text, row)) for row in found]

    def next_value(self, side: Side) -> int:
        with self._worlds[side].app.cursor() as cursor:
            cursor.execute("select item_id.nextval from dual")
            ((value,),) = cursor.fetchall()
        return int(value)


@contextmanager
def oracle_rig(place: Path, request: pytest.FixtureRequest) -> Iterator[OracleRig]:
    with ExitStack() as stack:
        worlds: dict[Side, World] = {}
        for side in Side:
            own = place / side
            own.mkdir()
            worlds[side] = stack.enter_context(world(World, own))
            worlds[side].run("alter database add supplemental log data", *TABLES)
        yield OracleRig(worlds, place, lambda: request.getfixturevalue("database"))


def _spelled(name: str) -> str:
    return quote(name.upper())


def _name(table: Table) -> str:
    return f"{_spelled(table.name.schema)}.{_spelled(table.name.name)}"


def _text(value: object) -> bytes | None:
    if isinstance(value, oracledb.LOB):
        return str(value.read() or "").encode()
    return None if value is None else str(value).encode()


def _execute(cursor: oracledb.Cursor, change: Change) -> None:
    """Write a neutral change as an application would. What is empty and not NULL can only be a LOB."""
    table = ITEM if change.table == ITEM.name else EVENT
    values = dict(zip(change.columns, change.after or (), strict=False))
    binds = [value.decode() for value in values.values() if isinstance(value, bytes) and value]
    places = iter(range(1, len(binds) + 1))
    terms = {
        name: f":{next(places)}" if value else "null" if value is None else "empty_clob()"
        for name, value in values.items()
    }
    key = [value.decode() for value in change.key if isinstance(value, bytes)]
    found = f"{_spelled(table.key[0])} = :{len(binds) + 1}" if table.key else "1 = 0"
    match change.op:
        case Op.INSERT:
            columns = ", ".join(map(_spelled, terms))
            sql = f"insert into {_name(table)} ({columns}) values ({', '.join(terms.values())})"
            cursor.execute(sql, binds)
        case Op.UPDATE:
            sets = ", ".join(f"{_spelled(name)} = {term}" for name, term in terms.items())
            cursor.execute(f"update {_name(table)} set {sets} where {found}", [*binds, *key])
        case Op.DELETE:
            cursor.execute(f"delete from {_name(table)} where {_spelled(table.key[0])} = :1", key)
        case Op.TRUNCATE:
            cursor.execute(f"truncate table {_name(table)}")
