"""The journal's bytes: a block with its header, and the record by which a writer publishes its durable end."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from bowline_worker.contract import Unsupported
from bowline_worker.model import Position

MAGIC = b"BWJ1"  # the last character is the format's version

#: magic, crc, number, payload length, first and last order, transactions, changes, total, committed_at,
#: lengths of the two texts, flags. The CRC covers all that follows it: header, texts and payload.
_HEADER = struct.Struct("<4sIQQQQQQQdHHB3x")
_CHECKED_FROM = 8

_STARTS, _ENDS = 1, 2

# A position's text is an LSN or an SCN: this bound lets one read fetch any header whole.
TEXT_BYTES = 256
HEADER_BYTES = _HEADER.size + 2 * TEXT_BYTES

_TAIL = struct.Struct("<4sIQQQQQQdQH6x")
TAIL_BYTES = _TAIL.size + TEXT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a stream amounts to at the end of a whole transaction: what a restart goes on from."""

    block: int = 0
    position: Position | None = None  #: None: nothing was journalled yet
    total: int = 0  #: changes of the stream so far
    committed_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A block that is not written yet: whole transactions, or a part of a huge one, or an idle position."""

    payload: bytes
    first: Position
    last: Position
    transactions: int = 1  #: that end in it; 0: a part, or an idle position
    changes: int = 0
    committed_at: float = 0.0
    starts: bool = True
    ends: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    number: int
    first: Position
    last: Position
    transactions: int
    changes: int
    total: int  #: changes of the stream up to and including this block
    committed_at: float
    starts: bool
    ends: bool
    payload_from: int  #: offset of the payload in the block
    size: int  #: of the whole block
    crc: int

    @property
    def mark(self) -> Mark:
        return Mark(
            block=self.number, position=self.last, total=self.total, committed_at=self.committed_at
        )


def _text(position: Position) -> bytes:
    text = position.text.encode()
    if len(text) > TEXT_BYTES:
        raise Unsupported(f"a position of {len(text)} bytes does not fit in the journal")
    return text


def encode(draft: Draft, *, number: int, total: int, committed_at: float) -> bytes:
    """Make a block's bytes."""
    first, last = _text(draft.first), _text(draft.last)
    header = _HEADER.pack(
        MAGIC,
        0,
        number,
        len(draft.payload),
        draft.first.order,
        draft.last.order,
        draft.transactions,
        draft.changes,
        total,
        committed_at,
        len(first),
        len(last),
        (_STARTS if draft.starts else 0) | (_ENDS if draft.ends else 0),
    )
    checked = b"".join((header[_CHECKED_FROM:], first, last))
    crc = zlib.crc32(draft.payload, zlib.crc32(checked))
    return b"".join((MAGIC, crc.to_bytes(4, "little"), checked, draft.payload))


def parse(head: bytes) -> Header | None:
    """Read the header of a block from its first HEADER_BYTES or fewer; None: these bytes are none.

    The checksum is not looked at: `is_sound` does, once the whole block is read.
    """
    if len(head) < _HEADER.size:
        return None
    (
        magic,
        crc,
        number,
        length,
        first,
        last,
        transactions,
        changes,
        total,
        committed_at,
        first_length,
        last_length,
        flags,
    ) = _HEADER.unpack_from(head)
    texts = _HEADER.size + first_length + last_length
    if magic != MAGIC or max(first_length, last_length) > TEXT_BYTES or len(head) < texts:
        return None
    try:
        first_text = head[_HEADER.size : _HEADER.size + first_length].decode()
        last_text = head[_HEADER.size + first_length : texts].decode()
    except UnicodeDecodeError:
        return None
    return Header(
        number=number,
        first=Position(first, first_text),
        last=Position(last, last_text),
        transactions=transactions,
        changes=changes,
        total=total,
        committed_at=committed_at,
        starts=bool(flags & _STARTS),
        ends=bool(flags & _ENDS),
        payload_from=texts,
        size=texts + length,
        crc=crc,
    )


def is_sound(header: Header, block: bytes) -> bool:
    """Tell whether a block's bytes are those that were written."""
    return len(block) == header.size and zlib.crc32(memoryview(block)[_CHECKED_FROM:]) == header.crc


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """How far a writer's last segment is durable, and how far readers may go in it.

    Written after the fdatasync of what it tells: even one that is read back after a crash never promises too much.
    """

    segment: int  #: its sequence number
    durable: int  #: offset behind the newest durable block
    block: int  #: number of that block
    whole: int  #: offset behind the newest block that ends a transaction
    mark: Mark  #: of that block


def encode_tail(tail: Tail) -> bytes:
    """Make a record of TAIL_BYTES."""
    position = tail.mark.position
    text = _text(position) if position else b""
    body = _TAIL.pack(
        MAGIC,
        0,
        tail.segment,
        tail.durable,
        tail.block,
        tail.whole,
        tail.mark.block,
        tail.mark.total,
        tail.mark.committed_at,
        position.order if position else 0,
        len(text) if position else 0xFFFF,
    )
    body = body[_CHECKED_FROM:] + text.ljust(TEXT_BYTES, b"\0")
    return MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


def parse_tail(record: bytes) -> Tail | None:
    """Read a record; None: it is torn, or was never written."""
    if len(record) != TAIL_BYTES:
        return None
    magic, crc, segment, durable, block, whole, mark, total, at, order, length = _TAIL.unpack_from(
        record
    )
    if magic != MAGIC or zlib.crc32(record[_CHECKED_FROM:]) != crc:
        return None
    position = None
    if length != 0xFFFF:
        position = Position(order, record[_TAIL.size : _TAIL.size + length].decode())
    return Tail(
        segment=segment,
        durable=durable,
        block=block,
        whole=whole,
        mark=Mark(block=mark, position=position, total=total, committed_at=at),
    )
