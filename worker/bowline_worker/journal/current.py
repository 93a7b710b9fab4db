"""CURRENT: the one file that says which segments a journal has, whose it is, and which generation may write."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Unsafe
from bowline_worker.journal.block import Mark
from bowline_worker.model import Position

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    sequence: int
    generation: int  #: of its writer
    base: Mark  #: the stream before this segment's first block
    length: int | None = (
        None  #: None: its writer is at work, and its tail says how far; else this rules
    )

    @property
    def name(self) -> str:
        return f"{self.sequence:08d}-g{self.generation}.seg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    migration: str
    stream: str
    generation: int = 0
    segments: tuple[Segment, ...] = ()

    def belongs_to(self, migration: str, stream: StreamId) -> None:
        """Refuse the journal of another migration or stream."""
        if (self.migration, self.stream) != (migration, str(stream)):
            raise Unsafe(
                f"the journal belongs to stream {self.stream} of migration {self.migration},"
                f" wanted {stream} of {migration}",
                reason="ForeignJournal",
                hint="give each migration a journal volume or directory of its own",
            )

    @property
    def mark(self) -> Mark:
        """The stream before the last segment."""
        return self.segments[-1].base if self.segments else Mark()


def encode_current(current: Current) -> bytes:
    segments = [
        {
            "name": each.name,
            "sequence": each.sequence,
            "generation": each.generation,
            "length": each.length,
            "first_block": each.base.block + 1,
            "before": {
                "position": [each.base.position.order, each.base.position.text]
                if each.base.position
                else None,
                "total": each.base.total,
                "committed_at": each.base.committed_at,
            },
        }
        for each in current.segments
    ]
    return json.dumps(
        {
            "format": FORMAT,
            "migration": current.migration,
            "stream": current.stream,
            "generation": current.generation,
            "segments": segments,
        },
        indent=1,
    ).encode()


def parse_current(data: bytes) -> Current:
    """Read the file. It is replaced whole, so anything unreadable in it is damage: Unsafe."""
    try:
        content: dict[str, Any] = json.loads(data)
        if content["format"] != FORMAT:
            raise Unsafe(
                f"journal format {content['format']} is not known, wanted {FORMAT}",
                hint="run the version of Bowline that wrote this journal",
            )
        return Current(
            migration=content["migration"],
            stream=content["stream"],
            generation=content["generation"],
            segments=tuple(_parse_segment(each) for each in content["segments"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Unsafe(
            f"the journal's file CURRENT is damaged: {type(error).__name__}",
            reason="JournalDamaged",
            hint="check the volume; without this file the stream can't be continued",
        ) from error


def _parse_segment(each: dict[str, Any]) -> Segment:
    before = each["before"]
    position = before["position"]
    return Segment(
        sequence=each["sequence"],
        generation=each["generation"],
        length=each["length"],
        base=Mark(
            block=each["first_block"] - 1,
            position=Position(position[0], position[1]) if position else None,
            total=before["total"],
            committed_at=before["committed_at"],
        ),
    )
