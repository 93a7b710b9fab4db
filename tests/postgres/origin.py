"""What a prepared origin has, without the role that prepares it: bookkeeping and a publication."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from psycopg import sql

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Side
from bowline_worker.endpoints.postgres import books, names
from bowline_worker.endpoints.postgres.pgoutput import PgoutputDecoder
from bowline_worker.endpoints.postgres.replication import PostgresCapture
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Position, Signal, SignalKind, Transaction
from servers import Database, Pair

STREAM = StreamId(Side.SOURCE, 0)


def prepare(pair: Pair, *tables: str) -> tuple[Site, Site]:
    """Install the bookkeeping on both sides and publish tables of schema public."""
    sites = pair.site(Side.SOURCE), pair.site(Side.TARGET)
    for site in sites:
        books.install(site)
    published = [sql.Identifier("public", name) for name in tables]
    published += [sql.Identifier("bowline", name) for name in ("signal", "heartbeat")]
    query = sql.SQL("create publication {} for table {}").format(
        sql.Identifier(names.publication(pair.migration)), sql.SQL(", ").join(published)
    )
    with pair.source.connect() as connection:
        connection.execute(query)
    return sites


class Reading:
    """Reads a stream to a barrier that it writes itself. Each piece is decoded alone, as a block would be."""

    _attempts = itertools.count(1)

    def __init__(self, site: Site, database: Database, capture: PostgresCapture) -> None:
        self._site, self._database = site, database
        self.capture = capture
        self.end: Position | None = None

    def rest(self) -> list[Transaction]:
        """All transactions that committed before now."""
        attempt = next(self._attempts)
        with books.transaction(self._site) as here:
            here.signal(SignalKind.BARRIER, attempt)
        found: list[Transaction] = []
        for _ in range(1000):
            for piece in self.capture.read(0.1):
                self.end = piece.position
                if not piece.payload:
                    continue
                block = self.capture.describe(piece.relations) + piece.payload
                for transaction in PgoutputDecoder(self._site.migration).decode(block):
                    if (
                        Signal(SignalKind.BARRIER, attempt, self._site.migration)
                        in transaction.signals
                    ):
                        return found
                    found.append(transaction)
        raise AssertionError("the barrier did not come")


def rows_of(found: Iterable[Transaction]) -> list[tuple[str, object]]:
    return [
        (str(change.op), change.after or change.before)
        for transaction in found
        for change in transaction.changes
    ]


def read_until_error(capture: PostgresCapture) -> None:
    """Read for some seconds at most; what comes is of no interest."""
    for _ in range(100):
        capture.read(0.1)
