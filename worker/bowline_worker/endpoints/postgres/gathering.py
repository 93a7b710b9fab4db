"""Fold ordinary pgoutput frames without making a change of each: most rows of a hot table are never looked at.

Ordinary are inserts, updates that leave the key alone, and deletes by key, of tables whose columns stand as the
receiver has them, with the key first. Anything else, down to a single unlogged value, and the whole span goes the
general way (pgoutput.py, sift.py, lanes.py, fold.py), which this must equal: tests/postgres/test_gathering.py compares.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from bowline_worker.endpoints.base import TableBatch
from bowline_worker.endpoints.postgres.frames import (
    BEGIN,
    COMMIT,
    DELETE,
    EPOCH_MICROSECONDS,
    INSERT,
    LOGICAL_MESSAGE,
    ORIGIN,
    RELATION,
    TYPE,
    UPDATE,
    Relation,
    position_at,
    u32,
)
from bowline_worker.fold import Shape
from bowline_worker.gathered import Gathered, Ready, Rules
from bowline_worker.lanes import Spread, key_mark
from bowline_worker.model import Row, TableName, Transaction, Value

_TEXT, _NULL, _NEW, _KEY = b"tnNK"
_begin = struct.Struct(">Qq").unpack_from
_u16 = struct.Struct(">H").unpack_from

#: A row's state: had the key a row before the first change; where its newest image is (0: no row); how many changes.
State = tuple[bool, int, int]


class NotOrdinaryError(Exception):
    """The span goes the general way."""


@dataclass(slots=True)
class _Table:
    shape: Shape
    name: bytes  #: what the marks of its keys begin with
    columns: int
    keys: int
    copied: int  #: what committed before is in the snapshot
    is_whole: bool  #: one lane's
    rows: dict[bytes, State] = field(default_factory=dict)
    added: list[int] = field(default_factory=list)  #: where there is no key


class Gathering:
    """One span."""

    def __init__(
        self,
        relations: dict[int, Relation],
        rules: Rules,
        spread: Spread,
        signal: Callable[[Transaction, bytes, int, int, Relation], None],
    ) -> None:
        self._relations, self._signal = relations, signal
        self._shapes, self._positions, self._spread = rules.shapes, rules.positions, spread
        self._tables: dict[TableName, _Table] = {}
        self._by_oid: dict[bytes, _Table | None] = {}
        self._signals: list[Transaction] = []

    def gather(self, payload: bytes) -> Gathered | None:
        """None: not ordinary, or not readable; the general way tells what is wrong."""
        try:
            commits, commit_end = self._read(payload)
            lanes = self._ready(payload)
        except (NotOrdinaryError, IndexError, KeyError, struct.error, ValueError):
            return None
        if not commits:
            return None
        return Gathered(self._signals, position_at(commit_end), commits, lanes)

    def _read(self, payload: bytes) -> tuple[list[float], int]:  # noqa: PLR0912, PLR0915  (one loop: calls cost most)
        commits: list[float] = []
        tables, length = self._by_oid, u32
        at, end = 0, len(payload)
        commit, is_open, newest = 0, False, 0
        while at < end:
            start = at + 4
            at = start + length(payload, at)[0]
            kind = payload[start]
            if kind in (UPDATE, INSERT):
                if payload[start + 5] != _NEW or not is_open:
                    raise NotOrdinaryError
                oid = payload[start + 1 : start + 5]
                table = tables[oid] if oid in tables else self._table(oid)
                if table is None:
                    self._own(payload, start, at, commit, commits[-1])
                    continue
                if commit < table.copied:
                    continue
                if not table.keys:
                    if kind == UPDATE:
                        raise NotOrdinaryError
                    table.added.append(start)
                    continue
                key_end = start + 8
                for _ in range(table.keys):
                    if payload[key_end] != _TEXT:
                        raise NotOrdinaryError
                    key_end += 5 + length(payload, key_end + 1)[0]
                rows, key = table.rows, payload[start + 8 : key_end]
                held = rows.get(key)
                if kind == UPDATE:
                    if held is None:
                        rows[key] = (True, start, 1)
                    elif held[1]:
                        rows[key] = (held[0], start, held[2] + 1)
                    else:
                        raise NotOrdinaryError
                elif held is None:
                    rows[key] = (False, start, 1)
                elif held[1]:
                    raise NotOrdinaryError
                else:
                    rows[key] = (held[0], start, held[2] + 1)
            elif kind == COMMIT:
                if not is_open:
                    raise NotOrdinaryError
                is_open = False
            elif kind == BEGIN:
                if is_open:
                    raise NotOrdinaryError
                commit, micros = _begin(payload, start + 1)
                commits.append((micros + EPOCH_MICROSECONDS) / 1e6)
                newest, is_open = commit, True
            elif kind == DELETE:
                self._delete(payload, start, commit, is_open=is_open)
            elif kind == RELATION:
                relation = Relation.read(payload[start:at])
                self._relations[relation.oid] = relation
                self._by_oid.pop(payload[start + 1 : start + 5], None)
            elif kind not in (TYPE, ORIGIN, LOGICAL_MESSAGE):
                raise NotOrdinaryError
        if is_open or at != end:
            raise NotOrdinaryError
        return commits, newest

    def _delete(self, payload: bytes, start: int, commit: int, *, is_open: bool) -> None:
        table = self._table(payload[start + 1 : start + 5])
        if table is None or not table.keys or payload[start + 5] != _KEY or not is_open:
            raise NotOrdinaryError
        if commit < table.copied:
            return
        key_end = start + 8
        for _ in range(table.keys):
            if payload[key_end] != _TEXT:
                raise NotOrdinaryError
            key_end += 5 + u32(payload, key_end + 1)[0]
        key = payload[start + 8 : key_end]
        existed, image, count = table.rows.get(key, (True, 1, 0))
        if not image:
            raise NotOrdinaryError
        table.rows[key] = (existed, 0, count + 1)

    def _table(self, oid: bytes) -> _Table | None:
        """None: one of our own."""
        if oid in self._by_oid:
            return self._by_oid[oid]
        relation = self._relations[int.from_bytes(oid, "big")]
        if relation.is_own:
            self._by_oid[oid] = None
            return None
        name = relation.table
        shape = self._shapes[name]
        key = shape.table.key
        copied = 0 if self._positions is None else self._positions[name].order
        is_fit = (
            relation.columns == shape.names
            and relation.columns[: len(key)] == tuple(key)
            and (not key or {relation.columns[place] for place in relation.key} == set(key))
        )
        if not is_fit:
            raise NotOrdinaryError
        made = self._tables.get(name)
        if made is None:
            is_whole = name in self._spread.whole
            made = _Table(shape, key_mark(name, ()), len(shape.names), len(key), copied, is_whole)
            self._tables[name] = made
        self._by_oid[oid] = made
        return made

    def _own(self, payload: bytes, start: int, end: int, commit: int, at: float) -> None:
        relation = self._relations[u32(payload, start + 1)[0]]
        signals = self._signals
        if not signals or signals[-1].position.order != commit:
            signals.append(Transaction(position=position_at(commit), committed_at=at))
        self._signal(signals[-1], payload, start, end, relation)

    # --- what is left of it ---

    def _ready(self, payload: bytes) -> list[Ready]:
        lanes = [Ready() for _ in range(self._spread.lanes)]
        for table in self._tables.values():
            if table.added:
                self._add_keyless(payload, table, lanes)
            elif table.rows:
                self._add(payload, table, lanes)
        return lanes

    def _lane(self, crc: int) -> int:
        return crc % self._spread.lanes

    def _add_keyless(self, payload: bytes, table: _Table, lanes: list[Ready]) -> None:
        lane = lanes[self._lane(zlib.crc32(table.name))]
        rows = [_row(payload, start, table.columns) for start in table.added]
        lane.batches.append(TableBatch(table=table.shape.table, inserts=rows))
        lane.events += len(rows)

    def _add(self, payload: bytes, table: _Table, lanes: list[Ready]) -> None:
        batches = [TableBatch(table=table.shape.table) for _ in lanes]
        names = table.shape.names[table.keys :]
        updates: list[list[Row]] = [[] for _ in lanes]
        begin, keys, columns, is_one = (
            zlib.crc32(table.name),
            table.keys,
            table.columns,
            len(lanes) == 1,
        )
        whole = self._lane(begin)
        for key, (existed, start, count) in table.rows.items():
            if is_one or table.is_whole:
                lane = whole
            elif keys == 1:
                lane = self._lane(zlib.crc32(key[1:], begin))
            else:
                lane = self._lane(_crc(key, begin))
            lanes[lane].events += count
            if not start:
                if existed:
                    batches[lane].deletes.append(_values(key, 0, keys)[0])
            elif existed:
                updates[lane].append(_row(payload, start, columns))
            else:
                batches[lane].inserts.append(_row(payload, start, columns))
        for ready, batch, changed in zip(lanes, batches, updates, strict=True):
            if changed:
                batch.updates[names] = changed
            if changed or batch.deletes or batch.inserts:
                ready.batches.append(batch)


def _crc(key: bytes, crc: int) -> int:
    at = 0
    while at < len(key):
        end = at + 5 + u32(key, at + 1)[0]
        crc = zlib.crc32(key[at + 1 : end], crc)
        at = end
    return crc


def _row(payload: bytes, start: int, columns: int) -> Row:
    """A whole row; it must end where its message does."""
    if _u16(payload, start + 6)[0] != columns:
        raise NotOrdinaryError
    row, at = _values(payload, start + 8, columns)
    if at != start + u32(payload, start - 4)[0]:
        raise NotOrdinaryError
    return row


def _values(payload: bytes, at: int, count: int) -> tuple[Row, int]:
    values: list[Value] = []
    append, length = values.append, u32
    for _ in range(count):
        kind = payload[at]
        if kind == _TEXT:
            begin = at + 5
            at = begin + length(payload, at + 1)[0]
            append(payload[begin:at])
        elif kind == _NULL:
            append(None)
            at += 1
        else:
            raise NotOrdinaryError
    return tuple(values), at
