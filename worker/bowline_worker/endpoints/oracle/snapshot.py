"""Read Oracle's tables as they were at one SCN, by flashback, as COPY data.

No session has to stay open for it, and no lock is held: the view lives in the undo, for as long as the source keeps
that. A table whose definition changed after the SCN can't be read as of it any more. In both cases a caller has to
begin again with a newer SCN; a chunk that was read half is worth nothing.

The privileges are SELECT and FLASHBACK on the tables (or ANY TABLE). With SELECT_CATALOG_ROLE, tables without a numeric
key are read in ranges of their blocks; without it, in one chunk each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import oracledb

from bowline_worker.contract import NotPermitted, TryAgain, Unsupported
from bowline_worker.endpoints.oracle.chunks import (
    Block,
    Chunk,
    Extent,
    Whole,
    block_ranges,
    condition,
    from_text,
    key_ranges,
    to_text,
)
from bowline_worker.endpoints.oracle.connection import one_line, quote, translated
from bowline_worker.endpoints.oracle.kinds import OracleType
from bowline_worker.endpoints.oracle.position import at_scn
from bowline_worker.endpoints.postgres.statements import copy_lines
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Row

#: Rows of one round trip. With LOBs fewer: they come whole, and those of one round trip are in memory at once.
ROWS_AT_ONCE: Final = 1_000
LONG_ROWS_AT_ONCE: Final = 50
#: Small enough for two of them to be in memory per worker; longer rows make larger ones.
BUFFER_BYTES: Final = 64 << 10

LONG_TYPES: Final = frozenset(("CLOB", "NCLOB", "BLOB", "LONG"))
#: Fetched as LONG, an empty LOB can't be told from NULL: a number beside each tells it.
EMPTY_LOBS: Final[Mapping[str, str | bytes]] = {"CLOB": "", "NCLOB": "", "BLOB": b""}
IS_THERE = "case when {} is null then 0 else 1 end"
#: What is ordered by its value and bound exactly. FLOAT is a NUMBER as well.
NUMERIC: Final = frozenset(("NUMBER", "FLOAT"))

#: The first key of every chunk but the first. The primary key's index gives them in order, without a sort.
STARTS = """
select k from (
    select k, rownum n from (select {key} k from {table} as of scn :scn order by {key}))
where mod(n - 1, :size) = 0 and n > 1 order by k"""

#: Blocks that the table's segments have now: more than at the SCN, or there was DDL, which the read itself notices.
EXTENTS = """
select o.data_object_id, e.relative_fno, e.block_id, e.blocks
from dba_extents e join all_objects o
    on o.owner = e.owner and o.object_name = e.segment_name and o.object_type = e.segment_type
    and nvl(o.subobject_name, ' ') = nvl(e.partition_name, ' ')
where e.owner = :owner and e.segment_name = :name
    and e.segment_type in ('TABLE', 'TABLE PARTITION', 'TABLE SUBPARTITION')"""

#: The undo, or that of a LOB, was overwritten; or the SCN is older (or newer) than any undo.
TOO_OLD: Final = frozenset(("ORA-01555", "ORA-08181", "ORA-22924"))
#: DDL since the SCN; a column that is gone; a segment that was emptied or moved while it was read.
CHANGED: Final = frozenset(("ORA-01466", "ORA-00904", "ORA-08103", "ORA-01410"))

_CODE = re.compile(r"ORA-[0-9]{5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashbackTable:
    """What a snapshot must know of a table, in Oracle's own spelling."""

    owner: str
    name: str
    types: tuple[OracleType, ...]  #: of the written columns, in the order of the rows' data
    key: tuple[str, ...] = ()  #: the primary key's columns, in the order of its index
    is_index_organised: bool = False
    estimated_rows: int = 0

    @property
    def has_long_values(self) -> bool:
        return any(kind.column.data_type in LONG_TYPES for kind in self.types)

    @property
    def lobs(self) -> tuple[tuple[int, str | bytes], ...]:
        """The places of its LOBs among the columns, each with the empty value."""
        names = enumerate(kind.column.data_type for kind in self.types)
        return tuple((place, EMPTY_LOBS[name]) for place, name in names if name in EMPTY_LOBS)

    @property
    def numeric_key(self) -> str:
        """The column that the key's ranges are of; empty: there is none.

        A heap's rows lie in no order of a longer key, and ranges of blocks serve them better. An index-organised table
        has no blocks to go by, and is stored in the order of its whole key.
        """
        if not self.key or (len(self.key) > 1 and not self.is_index_organised):
            return ""
        for kind in self.types:
            column = kind.column
            # A primary key that was never validated may have rows with NULL, which are in no range.
            if column.name == self.key[0] and column.data_type in NUMERIC and not column.nullable:
                return column.name
        return ""

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"


class FlashbackReader:
    """One worker's session. See base.Reader; whoever knows the catalogue makes a FlashbackTable of a model.Table."""

    def __init__(self, site: Site, connection: oracledb.Connection, scn: int) -> None:
        """`connection` is one of connection.connect, and is closed with the reader."""
        self._site = site
        self._connection = connection
        self._scn = scn
        # What commits at the SCN itself is shown (start.py), so the stream begins with the next one.
        self.position = at_scn(scn + 1)
        self.rows = 0  #: in the chunk that was read to its end last

    def chunks(self, table: FlashbackTable, rows: int) -> list[str]:
        """Split in ranges of a numeric key, else of blocks; where neither is to be had, there is one chunk.

        Key ranges are of exactly so many rows, for which the key's whole index is read; ranges of blocks are as good
        as the table's statistics.
        """
        if not table.types:
            raise Unsupported(f"{table} has no column that could be written")
        if rows < 1:
            raise ValueError(f"chunks of {rows} rows")
        return [to_text(chunk) for chunk in self._split(table, rows)]

    def read(self, table: FlashbackTable, chunk: str, *, binary: bool = False) -> Iterator[bytes]:
        """The chunk's rows in COPY's text format, in buffers of about 64 KiB.

        TryAgain where the undo is gone (SnapshotTooOld), or the table was changed since the SCN (TableChanged): no
        chunk can be read as of this SCN any more. ValueRefused for a value that has no exact counterpart.
        """
        if binary:
            raise ValueError("no value of oracle has the binary form of postgresql")
        where, binds = condition(from_text(chunk), quote(table.numeric_key))
        statement = f"select {selected(table)} from {quote(table.owner, table.name)} as of scn :scn"
        statement += f" where {where}" if where else ""
        fetched = self._fetched(table, statement, {"scn": self._scn, **binds})
        yield from buffered(copy_lines(self._rows(table, fetched)))

    def close(self) -> None:
        self._connection.close()

    def _split(self, table: FlashbackTable, rows: int) -> list[Chunk]:
        if key := table.numeric_key:
            return key_ranges(self._starts(table, quote(key), rows))
        if table.is_index_organised:
            return [Whole()]
        return block_ranges(self._extents(table), table.estimated_rows, rows)

    def _starts(self, table: FlashbackTable, key: str, rows: int) -> list[Decimal]:
        statement = STARTS.format(key=key, table=quote(table.owner, table.name))
        binds = {"scn": self._scn, "size": rows}
        with self._translated(table), self._connection.cursor() as cursor:
            return [start for (start,) in cursor.execute(statement, binds) or ()]

    def _extents(self, table: FlashbackTable) -> list[Extent]:
        """The blocks of a heap's segments; none where DBA_EXTENTS may not be read."""
        try:
            with (
                translated(self._site, f"could not read the extents of {table}"),
                self._connection.cursor() as cursor,
            ):
                found = cursor.execute(EXTENTS, {"owner": table.owner, "name": table.name})
                rows = [tuple(map(int, row)) for row in found or ()]
        except NotPermitted:
            return []
        return [
            Extent(segment, Block(file, block), blocks) for segment, file, block, blocks in rows
        ]

    def _fetched(
        self, table: FlashbackTable, statement: str, binds: dict[str, Any]
    ) -> Iterator[tuple[object, ...]]:
        with self._translated(table), self._connection.cursor() as cursor:
            size = LONG_ROWS_AT_ONCE if table.has_long_values else ROWS_AT_ONCE
            cursor.arraysize = cursor.prefetchrows = size
            cursor.execute(statement, binds)
            while batch := cursor.fetchmany():
                yield from batch

    def _rows(self, table: FlashbackTable, fetched: Iterable[tuple[object, ...]]) -> Iterator[Row]:
        """The rows in the model's text; counts them, and tells their number at the end."""
        convert, lobs = [kind.from_driver for kind in table.types], table.lobs
        rows = 0
        for row in fetched:
            rows += 1
            values = with_empty_lobs(row, lobs) if lobs else row
            yield tuple([of(value) for of, value in zip(convert, values, strict=True)])
        self.rows = rows

    @contextmanager
    def _translated(self, table: FlashbackTable) -> Iterator[None]:
        what = f"could not read {table} as of SCN {self._scn}"
        with translated(self._site, what):
            try:
                yield
            except oracledb.Error as error:
                if (lost := self._lost(error, what)) is None:
                    raise
                raise lost from error

    def _lost(self, error: oracledb.Error, what: str) -> TryAgain | None:
        """The error for a view that is gone, if that is what was met."""
        # A parallel query tells its own code (ORA-12801) first, and below it what a server of it met.
        codes = frozenset(_CODE.findall(str(error)))
        said = f"{self._site.side} at {self._site.place}: {what}: {one_line(error)}"
        if codes & TOO_OLD:
            return TryAgain(
                said,
                reason="SnapshotTooOld",
                hint="raise undo_retention above the time that the snapshot takes, with an undo tablespace that holds"
                " as much (of LOBs: their RETENTION); the snapshot has to start again at a new SCN",
            )
        if codes & CHANGED:
            return TryAgain(
                said,
                reason="TableChanged",
                hint="DDL has changed the table since that SCN: leave it alone while the snapshot runs, which has to"
                " start again at a new SCN",
            )
        return None


def selected(table: FlashbackTable) -> str:
    """The columns as their types want them, and then whether each LOB is there."""
    names = [quote(kind.column.name) for kind in table.types]
    columns = [kind.select(name) for kind, name in zip(table.types, names, strict=True)]
    return ", ".join([*columns, *(IS_THERE.format(names[place]) for place, _ in table.lobs)])


def with_empty_lobs(
    row: tuple[object, ...], lobs: Sequence[tuple[int, str | bytes]]
) -> list[object]:
    """The columns' values of a row that `selected` brought, with the empty LOBs that came as NULL."""
    values = list(row[: -len(lobs)])
    for (place, empty), is_there in zip(lobs, row[-len(lobs) :], strict=True):
        if is_there and values[place] is None:
            values[place] = empty
    return values


def buffered(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines to buffers of BUFFER_BYTES, or as long as one line if that is longer."""
    parts: list[bytes] = []
    size = 0
    for line in lines:
        parts.append(line)
        size += len(line)
        if size >= BUFFER_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)
