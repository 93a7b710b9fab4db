"""Walk a segment whose writer may have died, or may still be at it, and find where what it promised ends."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bowline_worker.contract import Unsafe
from bowline_worker.journal.block import HEADER_BYTES, MAGIC, Header, Mark, is_sound, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    length: int  #: offset behind the last whole transaction
    mark: Mark  #: of it
    sound: (
        int  #: offset behind the last sound block: beyond `length` if a transaction is unfinished
    )


def damaged(name: str, offset: int, what: str) -> Unsafe:
    return Unsafe(
        f"journal segment {name} is damaged at offset {offset}: {what}",
        reason="JournalDamaged",
        hint="restore the segment from a copy of the volume, or start the migration again",
    )


def scan(descriptor: int, *, name: str, base: Mark, durable: int) -> Scanned:
    """Read all blocks and check them; a torn last one ends the walk, any other damage is Unsafe.

    `durable` is what the writer's tail has told before this walk began: less than that is damage too.
    """
    mark, length, offset, number = base, 0, 0, base.block + 1
    while True:
        header = sound_block(descriptor, offset, number)
        if header is None:
            if offset < durable:
                raise damaged(name, offset, f"{durable} bytes were durable")
            # Each block is durable before the next is written: a sound one behind a bad one means that the bad
            # one was sound once. Unless its writer, alive, has finished it just now: so look at it again.
            follows = _sound_block_behind(descriptor, offset, number)
            header = sound_block(descriptor, offset, number)
            if header is None:
                if follows is not None:
                    raise damaged(name, offset, f"and block {follows} follows it")
                return Scanned(length=length, mark=mark, sound=offset)
        offset += header.size
        number += 1
        if header.ends:
            length, mark = offset, header.mark


def sound_block(descriptor: int, offset: int, number: int) -> Header | None:
    """Read and check the block of that number at that offset; None: it is not there, or not whole."""
    header = parse(os.pread(descriptor, HEADER_BYTES, offset))
    if header is None or header.number != number:
        return None
    if header.size > os.fstat(descriptor).st_size - offset:
        return None  # before anything of a torn header's size is allocated
    return header if is_sound(header, read_exactly(descriptor, header.size, offset)) else None


def read_exactly(descriptor: int, size: int, offset: int) -> bytes:
    """Read so many bytes, or fewer where the file ends: one pread gives 2 GiB at most."""
    parts = []
    while size > 0 and (part := os.pread(descriptor, size, offset)):
        parts.append(part)
        size -= len(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _sound_block_behind(descriptor: int, offset: int, number: int) -> int | None:
    """Look for a sound block of a higher number anywhere behind the bad one's first byte."""
    window = 1 << 20
    size = os.fstat(descriptor).st_size
    start = offset + 1
    while start < size:
        found = os.pread(descriptor, window, start)
        at = found.find(MAGIC)
        while at >= 0:
            header = parse(os.pread(descriptor, HEADER_BYTES, start + at))
            if (
                header is not None
                and header.number > number
                and sound_block(descriptor, start + at, header.number) is not None
            ):
                return header.number
            at = found.find(MAGIC, at + 1)
        start += max(len(found) - len(MAGIC) + 1, 1)
    return None
