"""A shop on a server that stands in for Oracle, whose migration to PostgreSQL is driven by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import oracledb
import psycopg

from bowline_worker.contract import Connection, Engine, Side
from oracle import server
from oracle.standin.redolog.adversities import Adversities
from oracle.standin.whole import SERVICE, StandIn
from oracle.world import APP, BOWLINE
from road.by_hand import Road
from servers import APPLICATION, MIGRATOR, Database, MakePair

ORACLE_TABLES = (
    "alter database add supplemental log data",
    "create sequence item_id start with 1000",
    "create table item (id number(9) primary key, name varchar2(40) unique, note clob, price number(12,2),"
    " ratio binary_double, made date, seen timestamp(6) with time zone)",
    "create table event (what varchar2(40), mood char(4))",
    "create table part (id number(18) primary key, item number(9) references item)",
)
TARGET_TABLES = (
    "create schema shop",
    "create sequence shop.item_id",
    "create table shop.item (id int primary key, name varchar(40) unique, note text, price numeric(12,2),"
    " ratio double precision, made timestamp(0), seen timestamptz(6))",
    "create table shop.event (what varchar(40), mood char(4))",
    "create table shop.part (id bigint primary key, item int references shop.item)",
    f"grant usage on schema shop to {APPLICATION}",
    f"grant all on all tables in schema shop to {APPLICATION}",
    f"grant all on all sequences in schema shop to {APPLICATION}",
)
#: Told by both engines in the same words.
ORACLE_ROWS = {
    "item": "select id, name, note, to_char(price, 'fm9999990.00'), ratio, to_char(made, 'YYYY-MM-DD HH24:MI:SS'),"
    " to_char(sys_extract_utc(seen), 'YYYY-MM-DD HH24:MI:SS.FF6') from item order by id",
    "event": "select what, mood from event order by what, mood",
    "part": "select id, item from part order by id",
}
TARGET_ROWS = {
    "item": "select id, name, note, to_char(price, 'fm9999990.00'), ratio, to_char(made, 'YYYY-MM-DD HH24:MI:SS'),"
    " to_char(seen at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') from shop.item order by id",
    "event": 'select what, mood from shop.event order by what collate "C", mood collate "C"',
    "part": "select id, item from shop.part order by id",
}
Content = dict[str, list[tuple[object, ...]]]


@dataclass
class Oracle:
    """The source, as an application and a Pair have it."""

    host: str
    port: int
    service: str
    bowline: tuple[str, str]  #: the migration's user

    def connection(self, credentials: Path) -> Connection:
        return Connection(
            engine=Engine.ORACLE,
            host=self.host,
            port=self.port,
            database=self.service,
            service_name=self.service,
            credentials=str(credentials),
        )

    def connect(self) -> oracledb.Connection:
        dsn = f"{self.host}:{self.port}/{self.service}"
        return oracledb.connect(user=APP[0], password=APP[1], dsn=dsn)

    def run(self, statements: Sequence[str]) -> None:
        """In one transaction, as far as they are no DDL."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def content(self) -> Content:
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            connection.outputtypehandler = _lobs_as_text
            return {
                name: [tuple(row) for row in cursor.execute(query) or ()]
                for name, query in ORACLE_ROWS.items()
            }


def _lobs_as_text(cursor: oracledb.Cursor, metadata: oracledb.FetchInfo) -> oracledb.Var | None:
    if metadata.type_code is oracledb.DB_TYPE_CLOB:
        return cursor.var(oracledb.DB_TYPE_LONG, arraysize=cursor.arraysize)
    return None


@dataclass
class Shop:
    """The application, on whichever side."""

    oracle: Oracle
    target: Database

    def content(self, side: Side) -> Content:
        if side is Side.SOURCE:
            return self.oracle.content()
        return {name: self.target.rows(query) for name, query in TARGET_ROWS.items()}

    def write(self, side: Side, first: int) -> None:
        """Inserts, updates, deletes, a key change, a rolled back part, a LOB, rows without a key."""
        prefix = "" if side is Side.SOURCE else "shop."
        now = (
            "timestamp '2024-02-29 23:59:58.123456 +00:00'"
            if side is Side.SOURCE
            else "'2024-02-29 23:59:58.123456+00'"
        )
        statements = [
            f"insert into {prefix}item (id, name, note, price, ratio, seen)"
            f" values ({at}, 'n{at}', 'note {at}', {at}.25, 0.1, {now})"
            for at in range(first, first + 10)
        ]
        statements += [
            f"update {prefix}item set price = price + 1 where id = {first}",
            f"update {prefix}item set note = null, ratio = 1.5e10 where id = {first + 1}",
            f"update {prefix}item set id = id + 5000000 where id = {first + 2}",
            f"delete from {prefix}item where id = {first + 3}",
            f"insert into {prefix}event values ('live', 'wild')",
            f"insert into {prefix}event values ('live', 'wild')",
            f"insert into {prefix}part values ({first}, {first})",
            "savepoint before_more",
            f"insert into {prefix}event values ('never', 'wild')",
            "rollback to savepoint before_more",
        ]
        if side is Side.SOURCE:
            self.oracle.run(statements)
        else:
            password = self.target.server.password
            with (
                self.target.connect(APPLICATION, password) as connection,
                connection.transaction(),
            ):
                for statement in statements:
                    connection.execute(statement.encode())

    def is_refused(self, side: Side) -> bool:
        try:
            self.write(side, 90_000)
        except (oracledb.DatabaseError, psycopg.errors.ReadOnlySqlTransaction) as error:
            return "bowline" in str(error)
        return False


@contextmanager
def a_shop(database: Database, seed: int) -> Iterator[Shop]:
    """Start it, with some rows, and with redo that misbehaves as real redo does."""
    adversities = Adversities.all(seed, 0.05, purged_archive="never", missing_file="never")
    with _an_oracle(adversities) as oracle:
        oracle.run(ORACLE_TABLES)
        oracle.run(
            [
                f"insert into item values ({n}, 'n{n}', 'old', 1.5, 0.25, date '2024-01-01', null)"
                for n in range(1, 301)
            ]
            + ["insert into event values ('old', 'calm')"] * 50
        )
        database.run(*TARGET_TABLES)
        yield Shop(oracle, database)


@contextmanager
def _an_oracle(adversities: Adversities) -> Iterator[Oracle]:
    """On a real server nothing misbehaves on purpose."""
    found = server.real()
    if found is None:
        with StandIn([APP, BOWLINE], adversities=adversities) as stand_in:
            yield Oracle("127.0.0.1", stand_in.port, SERVICE, BOWLINE)
        return
    with found.users():
        server.MET.append("shop")
        yield Oracle(found.host, found.port, found.service, found.bowline)


@contextmanager
def a_road(shop: Shop, make_pair: MakePair) -> Iterator[Road]:
    """Its migration; no worker runs yet."""
    pair = make_pair(
        shop.oracle,
        shop.target,
        users=(shop.oracle.bowline, (MIGRATOR, shop.target.server.password)),
    )
    settings = {"include": ["shop.*"], "existing_schema": True, "chunk_rows": 100}
    road = Road(pair, settings)
    try:
        yield road
    finally:
        road.close()
