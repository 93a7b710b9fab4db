"""What the journal's tests share: small drafts whose payloads say which transactions they hold."""

from __future__ import annotations

from pathlib import Path

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Side
from bowline_worker.journal import Block, Draft, Limits, Reader, Writer
from bowline_worker.model import Position

MIGRATION = "test.shop"
STREAM = StreamId(Side.SOURCE, 0)


def at(order: int) -> Position:
    return Position(order, f"0/{order:X}")


def draft(order: int, payload: bytes = b"", *, starts: bool = True, ends: bool = True) -> Draft:
    return Draft(
        payload=payload or b"transaction %d;" % order,
        first=at(order),
        last=at(order),
        changes=3,
        transactions=int(ends),
        committed_at=1000.0 + order,
        starts=starts,
        ends=ends,
    )


def writer(
    directory: Path, *, segment_bytes: int = 1 << 20, max_bytes: int = 1 << 30, reserve: int = 0
) -> Writer:
    limits = Limits(max_bytes=max_bytes, segment_bytes=segment_bytes, reserve_bytes=reserve)
    return Writer(directory, migration=MIGRATION, stream=STREAM, limits=limits)


def reader(directory: Path) -> Reader:
    return Reader(directory, migration=MIGRATION, stream=STREAM)


def everything(directory: Path, after: int = 0) -> list[bytes]:
    """Payloads of all blocks behind `after`, as a reader gets them."""
    found: list[bytes] = []
    source = reader(directory)
    while blocks := source.read(after, max_changes=10):
        assert blocks[0].starts
        assert blocks[-1].ends
        found += [block.load() for block in blocks]
        after = blocks[-1].number
    source.close()
    return found


def numbers(blocks: list[Block]) -> list[int]:
    return [block.number for block in blocks]
