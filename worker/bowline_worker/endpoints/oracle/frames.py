"""What the journal holds of an Oracle stream: frames of the neutral model, made at capture. No I/O.

LogMiner's statements do not hold all values (LOBs, binary floats), and what they lack can be read only while the source
still has it: so they are turned into changes before they are journalled, not after.

A payload is a row of frames: a length (four bytes, big-endian), the format's version, a kind, and a body in
MessagePack, in which all texts are raw bytes.

    RELATION      [number, schema, name, [column...], [place of a key column...]]
    TRANSACTION   [commit SCN, commit time, starts and ends, [[kind of signal, attempt]...], [change...]]

A change begins with its operation and the relation's number. INSERT and UPDATE have the new row next; an UPDATE has the
old one behind it, where its key changed or there is none; a DELETE has the old row. An old row of a table with a key is
that key alone. UNCHANGED is an extension type of no bytes. A transaction of a huge one is a part of it.

Relations have the numbers that one process gave them. They are told again in each block that names them, so a decoder
takes the blocks of several processes one after the other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, NoReturn

import msgpack  # type: ignore[import-untyped]

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.position import at_scn
from bowline_worker.model import (
    UNCHANGED,
    Change,
    Op,
    Row,
    Signal,
    SignalKind,
    TableName,
    Transaction,
    Value,
)

FORMAT: Final = 1
_RELATION, _TRANSACTION = b"RT"
_STARTS, _ENDS = 1, 2
_INSERT, _UPDATE, _DELETE, _TRUNCATE = b"IUDT"

_HEADER = struct.Struct(">IBB")
_UNCHANGED_TYPE: Final = 0
_UNCHANGED: Final = msgpack.ExtType(_UNCHANGED_TYPE, b"")
#: What a value of a row may be, by type.
_VALUES: Final[frozenset[type]] = frozenset((bytes, type(None), type(UNCHANGED)))
_KNOWN: Final[frozenset[type]] = frozenset((bytes, type(None)))


def encode_relation(
    number: int, table: TableName, columns: Sequence[str], key: Sequence[str]
) -> bytes:
    """The frame that explains changes of that number."""
    names = tuple(columns)
    places = [names.index(name) for name in key]
    return _frame(_RELATION, [number, table.schema, table.name, names, places])


def encode(
    scn: int,
    committed_at: float,
    signals: Iterable[Signal],
    changes: Sequence[list[Any]],
    *,
    starts: bool = True,
    ends: bool = True,
) -> bytes:
    """The frame of a transaction, or of a part of a huge one. `changes` are those that `change` made."""
    told = [(signal.kind.value, signal.attempt) for signal in signals]
    flags = (_STARTS if starts else 0) | (_ENDS if ends else 0)
    return _frame(_TRANSACTION, [scn, committed_at, flags, told, changes])


def change(number: int, each: Change, key: Sequence[int]) -> list[Any]:
    """What `encode` takes for a change of the relation of that number; `key` are the places of its key's columns."""
    match each.op:
        case Op.INSERT:
            return [_INSERT, number, each.after]
        case Op.UPDATE if each.before is None:
            return [_UPDATE, number, each.after]
        case Op.UPDATE:
            return [_UPDATE, number, each.after, _old(each, key)]
        case Op.DELETE:
            return [_DELETE, number, _old(each, key)]
        case _:
            return [_TRUNCATE, number]


def _old(each: Change, key: Sequence[int]) -> Row:
    if each.before is None:
        raise AssertionError(f"a change of {each.table} has no row before it")
    return tuple(each.before[place] for place in key) if key else each.before


def _frame(kind: int, content: list[Any]) -> bytes:
    body: bytes = msgpack.packb(content, use_bin_type=False, default=_as_extension)
    return _HEADER.pack(len(body) + 2, FORMAT, kind) + body


def _as_extension(value: object) -> object:
    if value is UNCHANGED:
        return _UNCHANGED
    raise TypeError(f"a frame can't hold a {type(value).__name__}")


def _from_extension(code: int, content: bytes) -> Value:
    if code != _UNCHANGED_TYPE or content:
        raise ValueError(f"the extension {code} of {len(content)} bytes is not known")
    return UNCHANGED


@dataclass(frozen=True, slots=True)
class _Relation:
    table: TableName
    columns: tuple[str, ...]
    key: tuple[int, ...]
    key_of: Callable[[Row], Row]


class OracleDecoder:
    """Decode the blocks of one stream, in their order. Anything it does not know is Unsafe, never a guess."""

    def __init__(self, migration: str) -> None:
        self._migration = migration
        self._relations: dict[int, _Relation] = {}

    def decode(self, payload: bytes) -> Iterator[Transaction]:
        """Yield the transactions, and the parts of a huge one, that the payload holds."""
        at, end = 0, len(payload)
        while at < end:
            start = at + _HEADER.size
            if start > end:
                unreadable(f"{end - at} bytes at its end are no frame", at=at)
            length, version, kind = _HEADER.unpack_from(payload, at)
            if version != FORMAT:
                unreadable(f"a frame of format {version}, wanted {FORMAT}", at=at)
            at = start + length - 2
            if length < 2 or at > end:
                unreadable(f"a frame of {length} bytes where {end - start + 2} are left", at=start)
            body = _unpack(memoryview(payload)[start:at], start)
            # What is not of the right form shows as one of these.
            try:
                if kind == _RELATION:
                    self._relation(body)
                    continue
                if kind != _TRANSACTION:
                    unreadable(f"a frame of the unknown kind {kind:#04x}", at=start)
                found = self._transaction(body)
            except (ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
                unreadable(f"{type(error).__name__} in a frame", at=start, cause=error)
            yield found

    def _relation(self, body: tuple[Any, ...]) -> None:
        number, schema, name, columns, key = body
        names = tuple(_text(column) for column in columns)
        places = tuple(_number(place, below=len(names)) for place in key)
        if len(set(names)) != len(names) or len(set(places)) != len(places):
            raise ValueError("a column is named twice")
        self._relations[_number(number)] = _Relation(
            TableName(_text(schema), _text(name)), names, places, _key_of(places)
        )

    def _transaction(self, body: tuple[Any, ...]) -> Transaction:
        scn, committed_at, flags, signals, changes = body
        if type(committed_at) is not float:
            raise TypeError("a commit time is a number")
        flags = _number(flags, below=4)
        return Transaction(
            position=at_scn(_number(scn)),
            committed_at=committed_at,
            changes=[self._change(*each) for each in changes],
            signals=[
                Signal(SignalKind(_text(kind)), _number(attempt), self._migration)
                for kind, attempt in signals
            ],
            starts=bool(flags & _STARTS),
            ends=bool(flags & _ENDS),
        )

    def _change(self, op: int, number: int, *rows: tuple[Any, ...]) -> Change:
        relation = self._relations.get(number)
        if relation is None:
            unreadable(f"a change of relation {number}, which was not described")
        table, columns = relation.table, relation.columns
        match op, rows:
            case (0x49, (new,)):  # I
                return Change(Op.INSERT, table, columns, (), None, _row(new, columns, _KNOWN))
            case (0x55, (new,)):  # U
                after = _row(new, columns, _VALUES)
                key = _known_key(relation, after)
                return Change(Op.UPDATE, table, columns, key, None, after)
            case (0x55, (new, old)):
                before = _before(relation, old)
                after = _row(new, columns, _VALUES)
                return Change(Op.UPDATE, table, columns, relation.key_of(before), before, after)
            case (0x44, (old,)):  # D
                before = _before(relation, old)
                return Change(Op.DELETE, table, columns, relation.key_of(before), before, None)
            case (0x54, ()):  # T
                return Change(Op.TRUNCATE, table, columns)
        raise ValueError("a change of an unknown form")


def _unpack(body: memoryview, at: int) -> tuple[Any, ...]:
    try:
        found = msgpack.unpackb(
            body, raw=True, use_list=False, ext_hook=_from_extension, strict_map_key=True
        )
    # Its errors have several roots; none means anything but damage here.
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        unreadable(f"{type(error).__name__} in a frame", at=at, cause=error)
    if not isinstance(found, tuple):
        unreadable("a frame without a body", at=at)
    return found


def _row(found: Any, columns: Sequence[str], allowed: frozenset[type]) -> Row:
    if type(found) is not tuple or len(found) != len(columns):
        raise ValueError(f"no row of {len(columns)} values")
    if not allowed.issuperset(map(type, found)):
        raise TypeError("a value is of an unknown type")
    return found


def _before(relation: _Relation, found: Any) -> Row:
    """The old row: of a table with a key only its values there are known."""
    if not relation.key:
        return _row(found, relation.columns, _KNOWN)
    if type(found) is not tuple or len(found) != len(relation.key):
        raise ValueError(f"no key of {len(relation.key)} values")
    if set(map(type, found)) != {bytes}:
        raise TypeError("a key's value is not known")
    row: list[Value] = [None] * len(relation.columns)
    for place, value in zip(relation.key, found, strict=True):
        row[place] = value
    return tuple(row)


def _known_key(relation: _Relation, after: Row) -> Row:
    key = relation.key_of(after)
    if not key or set(map(type, key)) != {bytes}:
        raise ValueError("an UPDATE does not say of which row")
    return key


def _key_of(places: Sequence[int]) -> Callable[[Row], Row]:
    if not places:
        return lambda row: ()
    if len(places) == 1:
        (place,) = places
        return lambda row: (row[place],)
    return itemgetter(*places)


def _text(found: Any) -> str:
    if type(found) is not bytes:
        raise TypeError("a text is of another type")
    return found.decode()


def _number(found: Any, *, below: int | None = None) -> int:
    if type(found) is not int or found < 0 or (below is not None and found >= below):
        raise ValueError("a number is none, or out of its range")
    return found


def unreadable(what: str, *, at: int | None = None, cause: Exception | None = None) -> NoReturn:
    """Refuse a payload: what it says is not known, and a guess could lose a row."""
    where = "" if at is None else f" at byte {at}"
    raise Unsafe(
        f"the change stream can't be read{where}: {what}",
        reason="UnreadableStream",
        hint="the journal is damaged, or a newer version of Bowline wrote it; keep it for a look",
    ) from cause
