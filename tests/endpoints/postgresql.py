"""The conformance suite's rig on two real PostgreSQL databases; an ordinary role is the application."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from bowline_worker.contract import Side
from bowline_worker.endpoints.postgres import PostgresEndpoint
from bowline_worker.model import Change, Op, Row, Table, TableName
from endpoints.rig import EVENT, ITEM, WriteRefused
from servers import APPLICATION, Database, Pair

TABLES = (
    "create schema shop",
    "create sequence shop.item_id",
    "create table shop.item (id int primary key, name text, note text)",
    "create table shop.event (what text, at text)",
    f"grant usage on schema shop to {APPLICATION}",
    f"grant all on all tables in schema shop to {APPLICATION}",
    f"grant all on all sequences in schema shop to {APPLICATION}",
)


class PostgresRig:
    streams_keyless = True

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        for database in (pair.source, pair.target):
            database.run(*TABLES)
        config = pair.config(include=["shop.*"])
        self.source = PostgresEndpoint(config, Side.SOURCE)
        self.target = self.sink = PostgresEndpoint(config, Side.TARGET)

    def to_stream(self) -> None:
        """It has nothing to leave out."""

    def database(self, side: Side) -> Database:
        return self._pair.source if side is Side.SOURCE else self._pair.target

    def write(self, side: Side, changes: Sequence[Change]) -> None:
        database = self.database(side)
        with database.connect(APPLICATION, database.server.password) as connection:
            try:
                with connection.transaction():
                    for change in changes:
                        execute(connection, change)
            except psycopg.errors.ReadOnlySqlTransaction:
                raise WriteRefused from None

    def rows(self, side: Side, table: Table) -> list[Row]:
        return rows(self.database(side), table)

    def sunk(self, table: Table) -> list[Row]:
        return self.rows(Side.TARGET, table)

    def next_value(self, side: Side) -> int:
        return int(self.database(side).value("select nextval('shop.item_id')"))


def rows(database: Database, table: Table) -> list[Row]:
    """All rows of a table as text, sorted."""
    columns = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(column.name)) for column in table.columns
    )
    query = sql.SQL("select {} from {} order by 1, 2").format(columns, _name(table.name))
    with database.connect() as connection:
        found = connection.execute(query).fetchall()
    return [tuple(None if value is None else value.encode() for value in row) for row in found]


def _name(table: TableName) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)


def execute(connection: psycopg.Connection[tuple[object, ...]], change: Change) -> None:
    """Write a neutral change as an application would."""
    table = ITEM if change.table == ITEM.name else EVENT
    text = [
        None if not isinstance(value, bytes) else value.decode() for value in change.after or ()
    ]
    names = [sql.Identifier(name) for name in change.columns]
    found = sql.SQL("{} = %s").format(sql.Identifier(*table.key)) if table.key else sql.SQL("false")
    key = [value.decode() for value in change.key if isinstance(value, bytes)]
    match change.op:
        case Op.INSERT:
            query = sql.SQL("insert into {} ({}) values ({})").format(
                _name(change.table),
                sql.SQL(", ").join(names),
                sql.SQL(", ").join([sql.Placeholder()] * len(names)),
            )
            connection.execute(query, text)
        case Op.UPDATE:
            sets = sql.SQL(", ").join(sql.SQL("{} = %s").format(name) for name in names)
            connection.execute(
                sql.SQL("update {} set {} where {}").format(_name(change.table), sets, found),
                [*text, *key],
            )
        case Op.DELETE:
            connection.execute(
                sql.SQL("delete from {} where {}").format(_name(change.table), found), key
            )
        case Op.TRUNCATE:
            connection.execute(sql.SQL("truncate {}").format(_name(change.table)))
