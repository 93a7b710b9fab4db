"""What the tests of capture share: a source with tables, and a consumer that journals and applies strictly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Side
from bowline_worker.endpoints.base import Piece
from bowline_worker.endpoints.oracle import books, capture, catalog, slots
from bowline_worker.endpoints.oracle.capture import OracleCapture
from bowline_worker.endpoints.oracle.chunks import Whole, to_text
from bowline_worker.endpoints.oracle.connection import connect
from bowline_worker.endpoints.oracle.frames import OracleDecoder
from bowline_worker.endpoints.oracle.snapshot import FlashbackReader
from bowline_worker.endpoints.oracle.view import flashback_table
from bowline_worker.endpoints.postgres.statements import copy_lines
from bowline_worker.journal.grouping import Grouper
from bowline_worker.model import (
    UNCHANGED,
    Change,
    Op,
    Position,
    Row,
    Signal,
    TableName,
    Transaction,
)
from oracle.standin.redolog.adversities import Adversities
from oracle.world import World, world

STREAM = StreamId(Side.SOURCE, 0)
ITEM, EVENT = TableName("shop", "item"), TableName("shop", "event")
TABLES = (
    "create table item (id number(9) primary key, name varchar2(40), price number(12,2), note clob,"
    " weight binary_double, picture blob)",
    "alter table item add supplemental log data (all) columns",
    "create table event (what varchar2(40), at timestamp)",
    "alter table event add supplemental log data (all) columns",
)
#: Reads in a row without a piece, each with a look at the redo, after which nothing more will come.
QUIET_READS = 10


@dataclass
class Shop(World):
    """A source that is armed."""

    def begin(self) -> None:
        books.install(self.site)
        slots.arm(self.site, STREAM)

    def as_bowline(self, statement: str, **binds: Any) -> None:
        """Write as the migration's user does."""
        with closing(connect(self.site)) as connection, connection.cursor() as cursor:
            cursor.execute(statement, binds)
            connection.commit()

    def signal(self, kind: str, attempt: int, migration: str = "default.shop") -> None:
        self.as_bowline(
            "insert into bowline_signal (migration, kind, attempt) values (:m, :k, :a)",
            m=migration, k=kind, a=attempt,
        )  # fmt: skip

    def write(self, statement: str, **binds: Any) -> None:
        with self.app.cursor() as cursor:
            cursor.execute(statement, binds)

    def final(self) -> dict[TableName, list[bytes]]:
        """All rows as they are, as lines of COPY, read as a snapshot is."""
        found: dict[TableName, list[bytes]] = {}
        scn = self.scn()
        with closing(FlashbackReader(self.site, connect(self.site), scn)) as reader:
            for one in catalog.tables(self.site):
                table = flashback_table(one, one.table)
                lines = b"".join(reader.read(table, to_text(Whole())))
                found[one.table.name] = sorted(lines.splitlines())
        return found


@contextmanager
def shop(
    place: Path,
    adversities: Adversities | None = None,
    *,
    tables: tuple[str, ...] = TABLES,
    **log: Any,
) -> Iterator[Shop]:
    with world(Shop, place, adversities, **log) as here:
        here.run(*tables)
        here.begin()
        yield here


@dataclass
class Consumer:
    """Journals as the capture role does, and applies what it journalled; survives the captures that feed it."""

    here: Shop
    rows: dict[TableName, dict[Row, Row]] = field(default_factory=dict)
    multisets: dict[TableName, Counter[Row]] = field(default_factory=dict)
    journalled: Position | None = None
    transactions: list[Transaction] = field(default_factory=list)
    pieces: int = 0
    _parts: list[bytes] = field(default_factory=list)

    def begin(self) -> OracleCapture:
        """What a new process does; parts of a transaction without its end are taken back by the journal."""
        self._parts.clear()
        return capture.capture(self.here.site, STREAM, self.journalled)

    @property
    def changes(self) -> list[Change]:
        return [change for each in self.transactions for change in each.changes]

    @property
    def signals(self) -> list[Signal]:
        return [signal for each in self.transactions for signal in each.signals]

    def run(self, reader: OracleCapture, pieces: int | None = None, *, flush: bool = False) -> bool:
        """Take so many pieces, or all until no more come: False. `flush` journals what was taken then."""
        grouper = Grouper(self.journalled, reader.describe)
        quiet = taken = 0
        while quiet < QUIET_READS:
            found = reader.read(0.02)
            quiet = 0 if any(piece.payload for piece in found) else quiet + 1
            for piece in found:
                taken += self._take(reader, grouper, piece)
                if pieces is not None and taken >= pieces:
                    self._keep(reader, grouper, flush=flush)
                    return True
            self._keep(reader, grouper, flush=True)
        return False

    def until_quiet(self) -> None:
        with closing(self.begin()) as reader:
            self.run(reader)

    def _take(self, reader: OracleCapture, grouper: Grouper, piece: Piece) -> bool:
        self.pieces += 1
        self._keep(reader, grouper, piece)
        return bool(piece.payload)

    def _keep(
        self,
        reader: OracleCapture,
        grouper: Grouper,
        piece: Piece | None = None,
        *,
        flush: bool = False,
    ) -> None:
        drafts = list(grouper.flush()) if flush else list(grouper.add(piece)) if piece else []
        for draft in drafts:
            self._parts.append(draft.payload)
            if draft.ends:
                for payload in self._parts:
                    # A new decoder each time: any block must be readable by itself.
                    for transaction in OracleDecoder(self.here.site.migration).decode(payload):
                        self.transactions.append(transaction)
                        for change in transaction.changes:
                            self.apply(change)
                self._parts.clear()
                self.journalled = draft.last
                reader.acknowledge(draft.last)

    # --- applying -------------------------------------------------------------------------------

    def apply(self, change: Change) -> None:
        """As strictly as a receiver can."""
        if change.op is Op.TRUNCATE:
            self.rows.pop(change.table, None)
            self.multisets.pop(change.table, None)
        elif change.table == EVENT:
            rows = self.multisets.setdefault(change.table, Counter())
            if change.before is not None:
                assert rows[change.before] > 0, "the row is there"
                rows[change.before] -= 1
            if change.after is not None:
                rows[change.after] += 1
        else:
            self._by_key(change)

    def _by_key(self, change: Change) -> None:
        rows = self.rows.setdefault(change.table, {})
        if change.op is Op.INSERT:
            assert change.after is not None
            assert change.after[:1] not in rows, "the row was not there"
            rows[change.after[:1]] = change.after
            return
        assert change.key in rows, "the row is there"
        old = rows.pop(change.key)
        if change.after is not None:
            new = tuple(o if n is UNCHANGED else n for o, n in zip(old, change.after, strict=True))
            assert new[:1] not in rows, "no other row has the key"
            rows[new[:1]] = new

    def lines(self) -> dict[TableName, list[bytes]]:
        found: dict[TableName, list[bytes]] = {ITEM: [], EVENT: []}
        for table, rows in self.rows.items():
            found[table] = sorted(line.rstrip(b"\n") for line in copy_lines(rows.values()))
        for table, counted in self.multisets.items():
            found[table] = sorted(line.rstrip(b"\n") for line in copy_lines(counted.elements()))
        return found

    def same(self) -> None:
        """Assert that the rows are those of the source."""
        assert self.lines() == {ITEM: [], EVENT: []} | self.here.final()
