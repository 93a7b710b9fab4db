"""Put a stream's messages together to pieces: whole transactions, and parts of huge ones."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from bowline_worker.endpoints.base import Piece
from bowline_worker.endpoints.postgres.frames import (
    BEGIN,
    BEGIN_BYTES,
    COMMIT,
    DELETE,
    INSERT,
    LOGICAL_MESSAGE,
    ORIGIN,
    PART_CONTINUES,
    PART_STOPS,
    RELATION,
    TRUNCATE,
    TYPE,
    UPDATE,
    Begin,
    Relation,
    frame,
    pack_length,
    position_at,
    read_commit,
    u32,
    unreadable,
)
from bowline_worker.model import Position

#: A huge transaction is cut where either is reached: what apply must hold in memory at once stays small.
PART_BYTES = 1 << 20
PART_CHANGES = 8_000


@dataclass(slots=True)
class _Draft:
    """The piece that is being put together."""

    begin: bytes
    at: Begin
    is_skipped: bool
    frames: list[bytes | memoryview] = field(default_factory=list)
    size: int = 0
    messages: int = 0
    changes: int = 0
    starts: bool = True
    relations: set[int] = field(default_factory=set)
    redefined: dict[int, bytes] = field(default_factory=dict)
    announces: bool = False

    def add(self, message: bytes | memoryview) -> None:
        self.frames += (pack_length(len(message)), message)
        self.size += 4 + len(message)
        self.messages += 1

    def piece(self, position: Position, *, ends: bool) -> Piece:
        return Piece(
            payload=b"".join(self.frames),
            position=position,
            starts=self.starts,
            ends=ends,
            changes=self.changes,
            committed_at=self.at.committed_at,
            relations=frozenset(self.relations),
            redefines=bool(self.redefined),
            announces=self.announces,
        )


def _draft(begin: bytes, at: Begin, *, is_skipped: bool = False, continues: bool = False) -> _Draft:
    draft = _Draft(begin, at, is_skipped, starts=not continues)
    draft.add(begin)
    if continues:
        draft.add(PART_CONTINUES)
    draft.messages = 0
    return draft


class PieceMaker:
    """Puts pieces together from the messages of one stream; needs no connection.

    `describe` answers with the shapes that held before the last piece that redefines one: the reader stops after such
    a piece, makes use of it, and calls `turn` before it goes on.
    """

    def __init__(self, after: int, last: int) -> None:
        #: What committed before is in the journal already. The server does not send it: this drops what it should not.
        self._after = after
        self._last = last
        self._draft: _Draft | None = None
        self._shapes: dict[int, bytes] = {}
        self._types: dict[int, bytes] = {}
        self._own: set[int] = set()
        self._next_shapes: dict[int, bytes] = {}

    def turn(self) -> None:
        """From here on, the shapes of the pieces that were made hold."""
        self._shapes.update(self._next_shapes)
        self._next_shapes.clear()

    def idle(self, position: int) -> Piece | None:
        """The server has read up to here and has nothing for us; no piece while a transaction is open.

        Its commit could lie behind that position: who starts there again would skip it.
        """
        if self._draft is not None or position <= self._last:
            return None
        self._last = position
        return Piece(payload=b"", position=position_at(position))

    def take(self, message: memoryview) -> Piece | None:
        """Add a message; a piece comes with the last message of a transaction, or of a part of a huge one."""
        kind, draft = message[0], self._draft
        if draft is None:
            if kind != BEGIN or len(message) != BEGIN_BYTES:
                unreadable(f"a message of type {kind:#04x} where a transaction should begin")
            begin = bytes(message)
            at = Begin.read(begin)
            self._draft = _draft(begin, at, is_skipped=at.commit.order < self._after)
            return None
        if kind in (INSERT, UPDATE, DELETE):
            (relation,) = u32(message, 1)
            draft.add(message)
            draft.relations.add(relation)
            if relation not in self._own:
                draft.changes += 1
            if draft.size >= PART_BYTES or draft.changes >= PART_CHANGES:
                return self._cut(draft)
        elif kind == COMMIT:
            return self._commit(draft, bytes(message))
        elif kind == RELATION:
            self._shape(draft, bytes(message))
            draft.add(message)
        elif kind == TRUNCATE:
            (count,) = u32(message, 1)
            relations = struct.unpack_from(f">{count}I", message, 6)
            draft.add(message)
            draft.relations.update(relations)
            draft.changes += len(set(relations) - self._own)
        elif kind == TYPE:
            self._types[u32(message, 1)[0]] = bytes(message)
            draft.add(message)
        elif kind not in (ORIGIN, LOGICAL_MESSAGE):
            # Where a row came from, and other people's messages, change nothing: they are left out.
            unreadable(f"a message of the unknown type {kind:#04x}")
        return None

    def describe(self, relations: Iterable[int]) -> bytes:
        """Frames that explain those relations. One that is not known yet is explained within its piece."""
        found: list[bytes] = []
        for oid in sorted(relations):
            if (shape := self._shapes.get(oid)) is not None:
                types = dict.fromkeys(Relation.read(shape).types)
                found += (frame(self._types[each]) for each in types if each in self._types)
                found.append(frame(shape))
        return b"".join(found)

    def _shape(self, draft: _Draft, message: bytes) -> None:
        relation = Relation.read(message)
        if relation.is_own:
            self._own.add(relation.oid)
        known = draft.redefined.get(relation.oid) or self._shapes.get(relation.oid)
        draft.announces = draft.announces or (known != message and not relation.is_own)
        if known is None:
            # No piece named it before, so telling it early misleads none.
            self._shapes[relation.oid] = message
        elif known != message:
            draft.redefined[relation.oid] = message

    def _cut(self, draft: _Draft) -> Piece | None:
        self._draft = _draft(draft.begin, draft.at, is_skipped=draft.is_skipped, continues=True)
        if draft.is_skipped:
            self._shapes.update(draft.redefined)
            return None
        draft.add(PART_STOPS)
        self._next_shapes.update(draft.redefined)
        return draft.piece(draft.at.commit, ends=False)

    def _commit(self, draft: _Draft, message: bytes) -> Piece | None:
        start, end = read_commit(message)
        if start != draft.at.commit.order:
            unreadable(
                f"a commit at {position_at(start)} ends the transaction of {draft.at.commit}"
            )
        self._draft = None
        self._last = max(self._last, end)
        if draft.is_skipped:
            self._shapes.update(draft.redefined)
            return None
        if draft.starts and not draft.messages:
            # Older servers send transactions that touched no published table: only their end matters.
            return Piece(payload=b"", position=position_at(end))
        draft.add(message)
        self._next_shapes.update(draft.redefined)
        return draft.piece(position_at(end), ends=True)
