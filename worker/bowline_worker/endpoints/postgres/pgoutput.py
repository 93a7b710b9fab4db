"""Turn pgoutput's frames, as the journal keeps them, back into changes; frames.py tells their form."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from bowline_worker.endpoints.postgres.frames import (
    BEGIN,
    BEGIN_BYTES,
    COMMIT,
    COMMIT_BYTES,
    DELETE,
    HEARTBEAT_TABLE,
    INSERT,
    LOGICAL_MESSAGE,
    ORIGIN,
    PART,
    PART_CONTINUES,
    PART_STOPS,
    RELATION,
    TRUNCATE,
    TYPE,
    UPDATE,
    Begin,
    Relation,
    read_commit,
    u16,
    u32,
    unreadable,
)
from bowline_worker.endpoints.postgres.gathering import Gathering
from bowline_worker.gathered import Gathered, Rules
from bowline_worker.lanes import Spread
from bowline_worker.model import UNCHANGED, Change, Op, Row, Signal, SignalKind, Transaction, Value

_TEXT, _NULL, _UNCHANGED, _NEW, _KEY, _OLD = b"tnuNKO"


class PgoutputDecoder:
    """Decode the blocks of one stream, in their order. Anything it does not know is an error, never a guess."""

    def __init__(self, migration: str) -> None:
        self._migration = migration
        self._relations: dict[int, Relation] = {}
        self._open: Transaction | None = None
        self._readers: dict[int, Callable[[bytes, int, int], Transaction | None]] = {
            INSERT: self._change,
            UPDATE: self._change,
            DELETE: self._change,
            TRUNCATE: self._truncate,
            BEGIN: self._begin,
            COMMIT: self._commit,
            PART: self._part,
            RELATION: self._relation,
            # Relations name types by oid, origins filter nothing here, messages are other people's.
            TYPE: _nothing,
            ORIGIN: _nothing,
            LOGICAL_MESSAGE: _nothing,
        }

    def decode(self, payload: bytes) -> Iterator[Transaction]:
        """Yield the transactions, and the parts of a huge one, that the payload holds."""
        self._open = None
        try:
            yield from self._decode(payload)
        except (IndexError, struct.error, ValueError) as error:
            # Whatever was cut or overwritten shows as one of these, if not as a frame of the wrong length.
            what = f"{type(error).__name__} in a payload of {len(payload)} bytes"
            unreadable(what, cause=error)

    def gather(self, payload: bytes, rules: Rules, spread: Spread) -> Gathered | None:
        """See gathered.Gatherer; the payload may be of several blocks."""
        return Gathering(self._relations, rules, spread, self._own_row).gather(payload)

    def _own_row(
        self, now: Transaction, payload: bytes, start: int, end: int, relation: Relation
    ) -> None:
        change = _READ_CHANGE[payload[start]](payload, start, end, relation)
        self._signal(now, change, relation)

    def _decode(self, payload: bytes) -> Iterator[Transaction]:
        readers = self._readers
        at, end = 0, len(payload)
        while at < end:
            start = at + 4
            at = start + u32(payload, at)[0]
            if at > end or at == start:
                unreadable(f"a frame of {at - start} bytes where {end - start} are left", at=start)
            reader = readers.get(payload[start])
            if reader is None:
                unreadable(f"a message of the unknown type {payload[start]:#04x}", at=start)
            done = reader(payload, start, at)
            if done is not None:
                yield done
        if self._open is not None:
            unreadable("a transaction without its end", at=at)

    def _begin(self, payload: bytes, start: int, end: int) -> None:
        if self._open is not None or end - start != BEGIN_BYTES:
            unreadable("a transaction begins within another", at=start)
        begin = Begin.read(payload, start)
        self._open = Transaction(position=begin.commit, committed_at=begin.committed_at)

    def _commit(self, payload: bytes, start: int, end: int) -> Transaction:
        done = self._now(start)
        if end - start != COMMIT_BYTES or read_commit(payload, start)[0] != done.position.order:
            unreadable("a commit of another transaction", at=start)
        self._open = None
        return done

    def _part(self, payload: bytes, start: int, end: int) -> Transaction | None:
        part, now = payload[start:end], self._now(start)
        if part == PART_CONTINUES:
            now.starts = False
            return None
        if part == PART_STOPS:
            now.ends = False
            self._open = None
            return now
        return unreadable("a part of an unknown form", at=start)

    def _relation(self, payload: bytes, start: int, end: int) -> None:
        relation = Relation.read(payload[start:end])
        self._relations[relation.oid] = relation

    def _change(self, payload: bytes, start: int, end: int) -> None:
        now = self._now(start)
        relation = self._described(payload, start, start + 1)
        change = _READ_CHANGE[payload[start]](payload, start, end, relation)
        if relation.is_own:
            self._signal(now, change, relation)
        else:
            now.changes.append(change)

    def _truncate(self, payload: bytes, start: int, end: int) -> None:
        now = self._now(start)
        (count,) = u32(payload, start + 1)
        if end - start != 6 + 4 * count:
            unreadable(f"a TRUNCATE of {count} relations in {end - start} bytes", at=start)
        for place in range(count):
            relation = self._described(payload, start, start + 6 + 4 * place)
            if not relation.is_own:
                now.changes.append(Change(Op.TRUNCATE, relation.table, relation.columns))

    def _now(self, start: int) -> Transaction:
        if self._open is None:
            unreadable("a message outside of a transaction", at=start)
        return self._open

    def _described(self, payload: bytes, start: int, at: int) -> Relation:
        (oid,) = u32(payload, at)
        relation = self._relations.get(oid)
        if relation is None:
            unreadable(f"a change of relation {oid}, which was not described", at=start)
        return relation

    def _signal(self, transaction: Transaction, change: Change, relation: Relation) -> None:
        """Keep what concerns this migration: others may have rows in the same tables and publications."""
        row = change.after
        if row is None or row[relation.place["migration"]] != self._migration.encode():
            return
        kind: Value
        if relation.table == HEARTBEAT_TABLE:
            kind, number = SignalKind.HEARTBEAT.encode(), row[relation.place["beat"]]
        elif change.op is Op.INSERT:
            kind, number = (row[relation.place[name]] for name in ("kind", "attempt"))
        else:
            return
        if not isinstance(kind, bytes) or not isinstance(number, bytes):
            unreadable("a signal without a kind or a number")
        transaction.signals.append(Signal(SignalKind(kind.decode()), int(number), self._migration))


def _nothing(payload: bytes, start: int, end: int) -> None:
    """Pass over a message that says nothing of rows."""


def _insert(payload: bytes, start: int, end: int, relation: Relation) -> Change:
    if payload[start + 5] != _NEW:
        unreadable("an INSERT without its row", at=start)
    row, at = _row(payload, start + 6, relation)
    if at != end:
        unreadable(f"an INSERT into {relation.table} of the wrong length", at=start)
    return Change(Op.INSERT, relation.table, relation.columns, (), None, row)


def _update(payload: bytes, start: int, end: int, relation: Relation) -> Change:
    at = start + 5
    before: Row | None = None
    known: tuple[int, ...] = ()
    if (form := payload[at]) != _NEW:
        if form not in (_KEY, _OLD):
            unreadable(f"an UPDATE of the unknown form {form:#04x}", at=start)
        before, at = _row(payload, at + 1, relation)
        known = relation.key if form == _KEY else tuple(range(len(before)))
        if payload[at] != _NEW:
            unreadable("an UPDATE without its new row", at=start)
    after, at = _row(payload, at + 1, relation)
    if at != end:
        unreadable(f"an UPDATE of {relation.table} of the wrong length", at=start)
    if before is not None and UNCHANGED in after:
        # The old row, or its key, is logged in full: what did not change is known from there.
        full = list(after)
        for place in known:
            if full[place] is UNCHANGED:
                full[place] = before[place]
        after = tuple(full)
    key = relation.key_of(after if before is None else before)
    if (before is None and not key) or UNCHANGED in key:
        unreadable(f"an UPDATE of {relation.table} that does not say of which row", at=start)
    return Change(Op.UPDATE, relation.table, relation.columns, key, before, after)


def _delete(payload: bytes, start: int, end: int, relation: Relation) -> Change:
    if (form := payload[start + 5]) not in (_KEY, _OLD):
        unreadable(f"a DELETE of the unknown form {form:#04x}", at=start)
    before, at = _row(payload, start + 6, relation)
    if at != end:
        unreadable(f"a DELETE from {relation.table} of the wrong length", at=start)
    key = relation.key_of(before)
    if UNCHANGED in key or (form == _KEY and not key):
        unreadable(f"a DELETE from {relation.table} that does not say which row", at=start)
    return Change(Op.DELETE, relation.table, relation.columns, key, before, None)


_READ_CHANGE = {INSERT: _insert, UPDATE: _update, DELETE: _delete}


def _row(payload: bytes, at: int, relation: Relation) -> tuple[Row, int]:
    """Read a tuple; the caller checks that it ends where its message does, which catches every bad length."""
    (count,) = u16(payload, at)
    if count != len(relation.columns):
        unreadable(f"{count} values for {len(relation.columns)} columns of {relation.table}", at=at)
    at += 2
    values: list[Value] = []
    append = values.append
    for _ in range(count):
        kind = payload[at]
        if kind == _TEXT:
            begin = at + 5
            at = begin + u32(payload, at + 1)[0]
            append(payload[begin:at])
        elif kind == _NULL:
            append(None)
            at += 1
        elif kind == _UNCHANGED:
            append(UNCHANGED)
            at += 1
        else:
            unreadable(f"a value of the unknown kind {kind:#04x} in {relation.table}", at=at)
    return tuple(values), at
