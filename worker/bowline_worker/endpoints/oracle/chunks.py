"""A table in chunks for its snapshot: ranges of its key, or of its blocks, as snapshot.py found them.

Ranges are half open, and the first and the last of a table have no end, so that together they take every row, also one
that was not there when they were made. A chunk's text is JSON that only this module reads; its bounds are bound, never
written into a statement.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import groupby, pairwise
from typing import Any, Final, NamedTuple, TypeAlias, assert_never

from bowline_worker.contract import Unsafe

#: Guessed for a table with blocks that was never analysed.
ROWS_PER_BLOCK: Final = 64

Binds: TypeAlias = dict[str, int | Decimal]


class Block(NamedTuple):
    """A block of a data file, as a ROWID names it: ten bits of a file's relative number, and 22 of a block's."""

    file: int
    number: int


#: Before any block, and behind any: Oracle's files go to 1022, or are one of fewer than 2**32 blocks.
FIRST_BLOCK: Final = Block(0, 0)
END_BLOCK: Final = Block(1023, (1 << 22) - 1)


class Extent(NamedTuple):
    """Blocks in a row that belong to one segment; `segment` is its DATA_OBJECT_ID, which its ROWIDs begin with."""

    segment: int
    start: Block
    blocks: int


@dataclass(frozen=True, slots=True)
class Whole:
    """The whole table."""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Rows whose first key column is at or above `start` and below `end`; None: there is no bound."""

    start: Decimal | None
    end: Decimal | None


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Rows of a segment from one block up to, and without, another; None: there is no bound."""

    segment: int
    start: Block | None
    end: Block | None


Chunk: TypeAlias = Whole | KeyRange | BlockRange


def condition(chunk: Chunk, key: str) -> tuple[str, Binds]:
    """The chunk's rows as a condition in SQL, empty for all, with its binds; `key` is the quoted key column."""
    wanted: list[str] = []
    binds: Binds = {}
    match chunk:
        case Whole():
            pass
        case KeyRange(start, end):
            for sign, name, number in ((">=", "low", start), ("<", "high", end)):
                if number is not None:
                    wanted.append(f"{key} {sign} :{name}")
                    binds[name] = number
        case BlockRange(segment, first, stop):
            # ROWIDs are ordered by segment, file, block and row.
            for sign, name, block in ((">=", "low", first), ("<", "high", stop)):
                if block is not None:
                    place = f":{name}_segment, :{name}_file, :{name}_block"
                    wanted.append(f"rowid {sign} dbms_rowid.rowid_create(1, {place}, 0)")
                    binds[f"{name}_segment"] = segment
                    binds[f"{name}_file"], binds[f"{name}_block"] = block
        case _:
            assert_never(chunk)
    return " and ".join(wanted), binds


def key_ranges(starts: Iterable[Decimal]) -> list[Chunk]:
    """One range before the first of these, and one from each; they are in ascending order, and may repeat."""
    bounds = [None, *dict.fromkeys(starts), None]
    return [KeyRange(start, end) for start, end in pairwise(bounds)]


def block_ranges(extents: Sequence[Extent], estimated_rows: int, rows: int) -> list[Chunk]:
    """Ranges of about so many rows. Of a table in several segments each range stays within one of them."""
    segments = [
        (segment, list(found)) for segment, found in groupby(sorted(extents), lambda e: e.segment)
    ]
    if not segments:
        return [Whole()]
    blocks = sum(extent.blocks for extent in extents)
    step = max(1, math.ceil(rows / (estimated_rows / blocks or ROWS_PER_BLOCK)))
    is_one = len(segments) == 1
    first, last = (None, None) if is_one else (FIRST_BLOCK, END_BLOCK)
    found: list[Chunk] = []
    for segment, of_segment in segments:
        _, *starts = _starts(of_segment, step)
        found += (BlockRange(segment, *each) for each in pairwise([first, *starts, last]))
    return found


def _starts(extents: Iterable[Extent], step: int) -> Iterator[Block]:
    """Every `step`th block of those extents, from the first on."""
    passed = 0
    for _, start, blocks in extents:
        for offset in range(-passed % step, blocks, step):
            yield Block(start.file, start.number + offset)
        passed += blocks


def to_text(chunk: Chunk) -> str:
    match chunk:
        case Whole():
            return "{}"
        case KeyRange(start, end):
            return json.dumps({"key": [_shown(start), _shown(end)]})
        case BlockRange(segment, start_block, end_block):
            return json.dumps({"segment": segment, "blocks": [start_block, end_block]})


def from_text(text: str) -> Chunk:
    """Read what `to_text` made. Unsafe where it is something else."""
    try:
        return _read(json.loads(text))
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise Unsafe(
            f"the chunk {text[:80]!r} can't be read: {type(error).__name__}",
            reason="ChunkDamaged",
            hint="start the snapshot anew",
        ) from error


def _read(content: Any) -> Chunk:
    match content:
        case {"key": [start, end]}:
            return KeyRange(_number(start), _number(end))
        case {"segment": int(segment), "blocks": [start, end]}:
            return BlockRange(segment, _block(start), _block(end))
        case dict() if not content:
            return Whole()
    raise ValueError("no kind of chunk has these parts")


def _shown(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def _number(shown: str | None) -> Decimal | None:
    if shown is None:
        return None
    number = Decimal(shown)
    if not number.is_finite():
        raise ValueError("a bound is a finite number")
    return number


def _block(shown: list[int] | None) -> Block | None:
    if shown is None:
        return None
    file, number = shown
    return Block(int(file), int(number))
