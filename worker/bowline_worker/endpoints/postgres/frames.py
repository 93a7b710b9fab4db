"""The messages of pgoutput, and how they are framed in a payload.

A payload is a concatenation of frames: a length (four bytes, big-endian) and one message of pgoutput, protocol version
1, values as text. Blocks begin with the Relation messages that they need, outside of any transaction.

A huge transaction is cut in parts. Each part begins with the transaction's Begin, so that position and commit time are
known, and two messages of our own tell where it was cut (pgoutput has no message of type 0):

    first part    Begin  ...changes...            PART_STOPS
    next parts    Begin  PART_CONTINUES  ...      PART_STOPS
    last part     Begin  PART_CONTINUES  ...      Commit
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import NoReturn

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.postgres.books import SCHEMA
from bowline_worker.model import Position, Row, TableName

PART_CONTINUES = b"\x00c"
PART_STOPS = b"\x00s"

BEGIN, COMMIT, INSERT, UPDATE, DELETE, TRUNCATE = b"BCIUDT"
RELATION, TYPE, ORIGIN, LOGICAL_MESSAGE, PART = b"RYOM\x00"
_FULL_IDENTITY = ord("f")

#: PostgreSQL counts microseconds from the year 2000.
EPOCH_MICROSECONDS = 946_684_800_000_000

SIGNAL_TABLE = TableName(SCHEMA, "signal")
HEARTBEAT_TABLE = TableName(SCHEMA, "heartbeat")

u16 = struct.Struct(">H").unpack_from
u32 = struct.Struct(">I").unpack_from
_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
_TYPE_AND_MODIFIER = struct.Struct(">Ii")
pack_length = struct.Struct(">I").pack


def position_at(order: int) -> Position:
    """Make the position of an LSN given as a number."""
    return Position(order, f"{order >> 32:X}/{order & 0xFFFFFFFF:X}")


def position_from(text: str) -> Position:
    """Make the position of an LSN given as the server prints it."""
    high, _, low = text.partition("/")
    return position_at((int(high, 16) << 32) | int(low, 16))


def frame(message: bytes) -> bytes:
    return pack_length(len(message)) + message


@dataclass(frozen=True, slots=True)
class Begin:
    commit: Position  #: where the commit record starts
    committed_at: float

    @classmethod
    def read(cls, message: bytes, at: int = 0) -> Begin:
        order, microseconds, _xid = _BEGIN.unpack_from(message, at + 1)
        return cls(position_at(order), (microseconds + EPOCH_MICROSECONDS) / 1e6)


BEGIN_BYTES = 1 + _BEGIN.size
COMMIT_BYTES = 1 + _COMMIT.size


def read_commit(message: bytes, at: int = 0) -> tuple[int, int]:
    """The LSNs where the commit record starts, and where it ends."""
    _flags, start, end, _at = _COMMIT.unpack_from(message, at + 1)
    return start, end


@dataclass(frozen=True, slots=True)
class Relation:
    """A table's shape, as the stream told it last."""

    oid: int
    table: TableName
    columns: tuple[str, ...]
    types: tuple[int, ...]
    key: tuple[int, ...]  #: places of the key columns; empty with full identity
    key_of: Callable[[Row], Row]
    place: dict[str, int]
    is_own: bool  #: one of Bowline's: its rows are signals

    @classmethod
    def read(cls, message: bytes) -> Relation:
        """Parse a whole Relation message."""
        (oid,) = u32(message, 1)
        schema, at = _string(message, 5)
        name, at = _string(message, at)
        full = message[at] == _FULL_IDENTITY
        (count,) = u16(message, at + 1)
        at += 3
        columns, types, key = [], [], []
        for place in range(count):
            in_key = message[at] & 1
            column, at = _string(message, at + 1)
            type_oid, _modifier = _TYPE_AND_MODIFIER.unpack_from(message, at)
            at += _TYPE_AND_MODIFIER.size
            columns.append(column)
            types.append(type_oid)
            if in_key and not full:
                key.append(place)
        if at != len(message):
            unreadable(f"{len(message) - at} bytes follow the description of {schema}.{name}")
        # An empty name stands for pg_catalog.
        table = TableName(schema or "pg_catalog", name)
        return cls(
            oid=oid,
            table=table,
            columns=tuple(columns),
            types=tuple(types),
            key=tuple(key),
            key_of=_key_of(key),
            place={column: place for place, column in enumerate(columns)},
            is_own=table in (SIGNAL_TABLE, HEARTBEAT_TABLE),
        )


def _key_of(key: list[int]) -> Callable[[Row], Row]:
    if not key:
        return lambda row: ()
    if len(key) == 1:
        (place,) = key
        return lambda row: (row[place],)
    return itemgetter(*key)


def _string(message: bytes, at: int) -> tuple[str, int]:
    end = message.index(0, at)
    return message[at:end].decode(), end + 1


def unreadable(what: str, *, at: int | None = None, cause: Exception | None = None) -> NoReturn:
    """Refuse a payload: what it says is not known, and a guess could lose a row."""
    where = "" if at is None else f" at byte {at}"
    raise Unsafe(
        f"the change stream can't be read{where}: {what}",
        reason="UnreadableStream",
        hint="the journal is damaged, or the server speaks a newer protocol; keep both for a look",
    ) from cause
