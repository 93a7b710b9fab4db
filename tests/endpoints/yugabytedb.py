"""The conformance suite's rig on two databases behind the server that stands in for YugabyteDB.

The endpoint works through the first node, the application through the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bowline_worker.contract import Connection, Engine, Side
from bowline_worker.endpoints.postgres import PostgresEndpoint
from bowline_worker.model import Change
from endpoints.postgresql import PostgresRig, execute
from endpoints.rig import WriteRefused
from servers import APPLICATION, Database, MakePair
from yugabyte_standin.process import Standin
from yugabyte_standin.refusals import KEYLESS, LEFT_OUT


@dataclass(frozen=True, slots=True)
class BehindStandin(Database):
    """A database that the product reaches through the stand-in's first node."""

    standin: Standin

    def connection(self, credentials: Path) -> Connection:
        # Not super(): slots make another class of this one.
        there = Database.connection(self, credentials)
        return there.model_copy(update={"engine": Engine.YUGABYTEDB, "port": self.standin.ports[0]})

    def as_application(self) -> psycopg.Connection[tuple[object, ...]]:
        """A session of the application, at the other node."""
        port = self.standin.ports[1]
        dsn = self.server.dsn(self.name, APPLICATION, self.server.password)
        return psycopg.connect(dsn, port=port, autocommit=True)


class YugabyteRig(PostgresRig):
    #: See refusals.KEYLESS.
    streams_keyless = KEYLESS not in LEFT_OUT

    def __init__(
        self, standin: Standin, databases: tuple[Database, Database], make_pair: MakePair
    ) -> None:
        for database in databases:
            standin.furnish(database.name)
        source, target = (BehindStandin(each.server, each.name, standin) for each in databases)
        super().__init__(make_pair(source, target))

    def to_stream(self) -> None:
        """Select what can be streamed, as its user must."""
        config = self._pair.config(include=["shop.*"], exclude=["shop.event"])
        self.source = PostgresEndpoint(config, Side.SOURCE)

    def write(self, side: Side, changes: Sequence[Change]) -> None:
        """Write as an application of YugabyteDB does: what it undoes is written again."""
        database = self.database(side)
        assert isinstance(database, BehindStandin)
        with database.as_application() as connection:
            while True:
                try:
                    with connection.transaction():
                        for change in changes:
                            execute(connection, change)
                except psycopg.errors.SerializationFailure:
                    continue
                except psycopg.errors.ReadOnlySqlTransaction:
                    raise WriteRefused from None
                return
