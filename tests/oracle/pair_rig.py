"""An Oracle source and a PostgreSQL target of one migration, both real to the code: stand-in and server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.servers import Server

from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.contract import Side
from bowline_worker.endpoints.base import Reader
from bowline_worker.endpoints.oracle import books as of_oracle
from bowline_worker.endpoints.oracle import catalog
from bowline_worker.endpoints.oracle.catalog import OracleTable
from bowline_worker.endpoints.oracle.connection import connect
from bowline_worker.endpoints.oracle.snapshot import FlashbackReader, FlashbackTable
from bowline_worker.endpoints.postgres import books
from bowline_worker.endpoints.postgres.connection import quote
from bowline_worker.endpoints.postgres.ledger import PostgresLedger
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Table, TableName
from oracle.world import World, world
from servers import MIGRATOR, Database

#: The stream by which Oracle receives, and its one lane.
STREAM = StreamId(Side.TARGET, 1)
LANE = LaneRow(lane=0, number=1, generation=1, passed=True)


@dataclass(frozen=True, slots=True)
class Mixed:
    """A migration of schema SHOP from the stand-in to a database of PostgreSQL."""

    world: World
    database: Database
    source: Site
    target: Site

    @classmethod
    def between(cls, world: World, database: Database, directory: Path) -> Mixed:
        """Lay down the target's credentials, and make its bookkeeping and a schema `shop`."""
        credentials = directory / f"target-{secrets.token_hex(4)}"
        credentials.mkdir()
        (credentials / "username").write_text(MIGRATOR, encoding="utf-8")
        (credentials / "password").write_text(database.server.password, encoding="utf-8")
        config = world.site.config.model_copy(
            update={"target": database.connection(credentials), "work_dir": str(directory)}
        )
        mixed = cls(world, database, Site(config, Side.SOURCE), Site(config, Side.TARGET))
        database.run("create schema if not exists shop")
        books.install(mixed.target)
        return mixed

    def only(self, *names: str) -> Mixed:
        """The same migration, of these tables alone."""
        return self.changed(include=[f"shop.{name}" for name in names])

    def changed(self, **change: object) -> Mixed:
        """The same migration, with other settings."""
        source, target = (
            Site(site.config.model_copy(update=change), site.side)
            for site in (self.source, self.target)
        )
        return Mixed(self.world, self.database, source, target)

    def tables(self) -> dict[TableName, OracleTable]:
        return {one.table.name: one for one in catalog.tables(self.source)}

    def make_targets(self) -> None:
        """Make the tables of the source in PostgreSQL, each column of the type that it becomes."""
        for one in self.tables().values():
            self.database.run(ddl(one.table))

    def copy(self, rows: int = 1000) -> int:
        """Copy all tables as of now by the snapshot's own reader and ledger; the number of chunks."""
        tables = self.tables()
        scn = self.world.scn()
        flashback = FlashbackReader(self.source, connect(self.source), scn)
        with (
            closing(ByTable(flashback, tables)) as reader,
            closing(PostgresLedger(self.target)) as ledger,
        ):
            for one in tables.values():
                ledger.plan(one.table, reader.position, reader.chunks(one.table, rows))
            neutral = {name: one.table for name, one in tables.items()}
            chunks = 0
            while ledger.copy(reader, neutral, binary=frozenset()) is not None:
                chunks += 1
            ledger.finish()
            return chunks


class ByTable(Reader):
    """The reader by flashback, asked for the model's tables."""

    def __init__(self, reader: FlashbackReader, tables: Mapping[TableName, OracleTable]) -> None:
        self._reader, self._tables = reader, tables
        self.position = reader.position
        self.rows = 0

    def chunks(self, table: Table, rows: int) -> list[str]:
        return self._reader.chunks(flashback_table(self._tables[table.name]), rows)

    def read(self, table: Table, chunk: str, *, binary: bool) -> Iterator[bytes]:
        yield from self._reader.read(
            flashback_table(self._tables[table.name]), chunk, binary=binary
        )
        self.rows = self._reader.rows

    def close(self) -> None:
        self._reader.close()


def flashback_table(one: OracleTable) -> FlashbackTable:
    return FlashbackTable(
        owner=one.owner,
        name=one.name,
        types=tuple(one.kinds[column.name] for column in one.table.written),
        estimated_rows=one.table.estimated_rows,
    )


def ddl(table: Table, *, generated_as: str = "null") -> str:
    """CREATE TABLE of PostgreSQL for a table of the model."""
    columns = [
        f"{quote(column.name)} {column.type_text}"
        + (" not null" if column.not_null else "")
        + (f" generated always as ({generated_as}) stored" if column.generated else "")
        for column in table.columns
    ]
    key = [f"primary key ({', '.join(map(quote, table.key))})"] if table.key else []
    return f"create table {quote(table.name.schema, table.name.name)} ({', '.join(columns + key)})"


@contextmanager
def receiving(pg: Server, directory: Path) -> Iterator[Mixed]:
    """Both sides, where Oracle may be applied to by LANE."""
    with world(World, directory) as here, pg.database() as name:
        of_oracle.install(here.site)
        with of_oracle.transaction(here.site) as step:
            step.put_lanes(Side.TARGET, [LANE])
        yield Mixed.between(here, Database(pg, name), directory)
