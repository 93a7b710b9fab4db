"""The snapshot's view at an Oracle origin: an SCN that everybody reads as of, noted in BOWLINE_VIEW.

The first view of a stream is at the SCN at which it begins; another one may be at any later SCN, for the stream has all
that was committed since its beginning. No session keeps a view alive: it lives in the undo, for as long as the source
keeps that. Who finds it gone deletes its row; the holder notices, and makes a new one at its next start. So a row stays
when its holder ends: its readers go on, and the next holder finds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Final

import oracledb

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import BowlineError, TryAgain, Unsupported
from bowline_worker.endpoints.oracle import catalog, slots
from bowline_worker.endpoints.oracle.beginning import begin
from bowline_worker.endpoints.oracle.catalog import OracleTable
from bowline_worker.endpoints.oracle.changes import refuse
from bowline_worker.endpoints.oracle.connection import code_of, connect, translated
from bowline_worker.endpoints.oracle.logminer import LogMiner, connect_to_mine
from bowline_worker.endpoints.oracle.position import at_scn
from bowline_worker.endpoints.oracle.snapshot import FlashbackReader, FlashbackTable
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Table, TableName

_NEWEST: Final = """
select max(v.scn) from bowline_view v where v.migration = :migration and v.number_ = :number_"""
_IS_THERE: Final = """
select count(*) from bowline_view v where v.migration = :migration and v.number_ = :number_ and v.scn = :scn"""
_INSERT: Final = """
insert into bowline_view (migration, scn, number_) values (:migration, :scn, :number_)"""
_FORGET: Final = """
delete from bowline_view where migration = :migration and number_ = :number_ and scn = :scn"""

_IS_DOUBLE: Final = "ORA-00001"
#: With these FlashbackReader says that nothing can be read as of its SCN any more.
_LOST: Final = frozenset(("SnapshotTooOld", "TableChanged"))


class OracleHold:
    """See base.Hold."""

    def __init__(self, site: Site, stream: StreamId, scn: int) -> None:
        self._site, self._stream, self._scn = site, stream, scn
        # What commits at the SCN itself is shown (start.py), so the stream begins with the next one.
        self.position = at_scn(scn + 1)

    def check(self) -> None:
        """Raise TryAgain when a reader found that the view can't be read any more."""
        with (
            translated(self._site, "could not look for the held view"),
            closing(connect(self._site)) as connection,
        ):
            if not _number(connection, _IS_THERE, self._site, self._stream, scn=self._scn):
                raise TryAgain(
                    f"{self._site.side}: the tables can't be read as of SCN {self._scn} any more",
                    reason="SnapshotTooOld",
                    hint="raise undo_retention above the time that a table's copy takes; a new view follows",
                )

    def close(self) -> None:
        """Nothing is held by a session; the row stays for readers, and for the next holder."""


class OracleReader:
    """See base.Reader. One thread."""

    def __init__(
        self,
        site: Site,
        stream: StreamId,
        reader: FlashbackReader,
        scn: int,
        tables: Mapping[TableName, OracleTable],
    ) -> None:
        self._site, self._stream, self._reader = site, stream, reader
        self._scn, self._tables = scn, tables
        self.position = reader.position
        self.rows = 0  #: in the chunk that was read to its end last

    def chunks(self, table: Table, rows: int) -> list[str]:
        with self._watched():
            return self._reader.chunks(self._known(table), rows)

    def read(self, table: Table, chunk: str, *, binary: bool) -> Iterator[bytes]:
        with self._watched():
            yield from self._reader.read(self._known(table), chunk, binary=binary)
            self.rows = self._reader.rows

    def close(self) -> None:
        self._reader.close()

    def _known(self, table: Table) -> FlashbackTable:
        one = self._tables.get(table.name)
        if one is None:
            raise Unsupported(
                f"{self._site.side}: table {table.name} is not among the selected ones any more",
                reason="SchemaChanged",
            )
        refuse(one)
        return flashback_table(one, table)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Delete the view's row where it can't be read any more, so that its holder makes another one."""
        try:
            yield
        except TryAgain as error:
            if error.reason in _LOST:
                # Whoever can't reach the database now will find the view gone again.
                with suppress(BowlineError):
                    _forget(self._site, self._stream, self._scn)
            raise


def flashback_table(one: OracleTable, table: Table) -> FlashbackTable:
    """A table as a snapshot reads it: the columns that `table` has, in its order."""
    names = [column.name for column in table.written]
    carried = {column.name for column in one.table.written}
    if set(names) != carried:
        differ = ", ".join(sorted(carried ^ set(names)))
        raise Unsupported(
            f"table {table.name}: its columns are not those of the dictionary: {differ}",
            reason="SchemaChanged",
        )
    return FlashbackTable(
        owner=one.owner,
        name=one.name,
        types=tuple(one.kinds[name] for name in names),
        key=tuple(one.kinds[name].column.name for name in one.table.key),
        is_index_organised=any(segment.kind.startswith("INDEX") for segment in one.segments),
        estimated_rows=one.table.estimated_rows,
    )


def hold(site: Site, stream: StreamId) -> OracleHold:
    """Make the stream's slot and a view that fits it; where the slot is there, join or renew the view.

    Slot and first view are there both or not at all.
    """
    with (
        translated(site, "could not hold a view"),
        closing(connect(site)) as connection,
    ):
        if slots.find(connection, site, stream) is None:
            begun = begin(site)
            if slots.insert(connection, site, stream, begun):
                _insert(connection, site, stream, begun.place.start.snapshot)
            connection.commit()
        scn = _number(connection, _NEWEST, site, stream)
        if scn is None:
            scn = _now(site)
            _insert(connection, site, stream, scn)
            connection.commit()
    return OracleHold(site, stream, scn)


def reader(site: Site, stream: StreamId) -> OracleReader:
    """Join the newest view held for the stream. TryAgain while there is none."""
    with translated(site, "could not enter the held view"):
        with closing(connect(site)) as connection:
            scn = _number(connection, _NEWEST, site, stream)
        if scn is None:
            raise TryAgain(
                f"{site.side}: no view is held for stream {stream}",
                reason="NoSnapshot",
                hint="the capture role holds it",
            )
        tables = {one.table.name: one for one in catalog.tables(site)}
        return OracleReader(site, stream, FlashbackReader(site, connect(site), scn), scn, tables)


def _now(site: Site) -> int:
    connection, where = connect_to_mine(site)
    with closing(connection):
        return LogMiner(site, connection, [], where=where).origin().scn


def _insert(connection: oracledb.Connection, site: Site, stream: StreamId, scn: int) -> None:
    try:
        _run(connection, _INSERT, site, stream, scn=scn)
    except oracledb.DatabaseError as error:
        if code_of(error) != _IS_DOUBLE:
            raise


def _forget(site: Site, stream: StreamId, scn: int) -> None:
    with (
        translated(site, "could not give up the held view"),
        closing(connect(site)) as connection,
    ):
        _run(connection, _FORGET, site, stream, scn=scn)
        connection.commit()


def _number(
    connection: oracledb.Connection, query: str, site: Site, stream: StreamId, **binds: int
) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(query, {"migration": site.migration, "number_": stream.number, **binds})
        row = cursor.fetchone()
        return None if row is None or row[0] is None else int(row[0])


def _run(
    connection: oracledb.Connection, statement: str, site: Site, stream: StreamId, **binds: int
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"migration": site.migration, "number_": stream.number, **binds})
