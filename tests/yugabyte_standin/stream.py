"""yboutput made of pgoutput: of a table with identity CHANGE, only the changed columns and the key are sent.

Below, the table has identity FULL, so that the old row tells what changed. An unchanged value has the mark that
pgoutput has for one that was not logged; no old values are sent; a DELETE has the key's values alone; a change of the
key is a DELETE and an INSERT; nothing tells of TRUNCATE.
https://docs.yugabyte.com/stable/additional-features/change-data-capture/using-logical-replication/key-concepts/#replica-identity
https://github.com/yugabyte/yugabyte-db/issues/29674 (TRUNCATE)
https://striim.com/docs/en/yugabytedb-operational-considerations.html (the key)
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from yugabyte_standin.wire import Message

_HEADER = 25  # of XLogData
_U16, _U32 = struct.Struct(">H"), struct.Struct(">I")
_CHANGE = b"c"

Values = list[bytes]  #: each with its kind and length, as it is sent


@dataclass(frozen=True, slots=True)
class Known:
    key: frozenset[int]  #: places of the columns


class StreamTranslator:
    """One session's stream. `keys_of` tells the names of a table's primary key."""

    def __init__(self, keys_of: Callable[[int], frozenset[str]]) -> None:
        self._keys_of = keys_of
        self._changes: dict[int, Known] = {}

    def translate(self, message: Message) -> list[Message]:
        body = message.body
        if body[:1] != b"w":
            return [message]
        head, inner = body[:_HEADER], body[_HEADER:]
        return [Message(b"d", head + each) for each in self._inner(inner)]

    def _inner(self, inner: bytes) -> list[bytes]:
        kind = inner[:1]
        if kind == b"R":
            return [self._relation(inner)]
        if kind == b"T":
            return []
        if kind not in b"UD":
            return [inner]
        (oid,) = _U32.unpack_from(inner, 1)
        known = self._changes.get(oid)
        if known is None:
            return [inner]
        if inner[5:6] != b"O":
            raise AssertionError("a table with identity CHANGE has FULL below the stand-in")
        old, at = _read(inner, 6)
        only_key = [each if at in known.key else b"n" for at, each in enumerate(old)]
        delete = b"D" + inner[1:5] + b"K" + _write(only_key)
        if kind == b"D":
            return [delete]
        new, _ = _read(inner, at + 1)
        full = [o if n == b"u" else n for o, n in zip(old, new, strict=True)]
        if any(full[place] != old[place] for place in known.key):
            return [delete, b"I" + inner[1:5] + b"N" + _write(full)]
        changed = [
            n if place in known.key or n != o else b"u"
            for place, (o, n) in enumerate(zip(old, full, strict=True))
        ]
        return [b"U" + inner[1:5] + b"N" + _write(changed)]

    def _relation(self, inner: bytes) -> bytes:
        (oid,) = _U32.unpack_from(inner, 1)
        at = inner.index(b"\0", inner.index(b"\0", 5) + 1) + 1
        if inner[at : at + 1] != b"f":
            return inner
        names = self._keys_of(oid)
        out = bytearray(inner[:at] + _CHANGE + inner[at + 1 : at + 3])
        (count,) = _U16.unpack_from(inner, at + 1)
        at += 3
        key = set()
        for place in range(count):
            end = inner.index(b"\0", at + 1)
            is_key = inner[at + 1 : end].decode() in names
            if is_key:
                key.add(place)
            out += bytes([is_key]) + inner[at + 1 : end + 9]
            at = end + 9
        self._changes[oid] = Known(frozenset(key))
        return bytes(out)


def _read(data: bytes, at: int) -> tuple[Values, int]:
    (count,) = _U16.unpack_from(data, at)
    at += 2
    values = []
    for _ in range(count):
        size = 1
        if data[at : at + 1] == b"t":
            size = 5 + _U32.unpack_from(data, at + 1)[0]
        values.append(data[at : at + size])
        at += size
    return values, at


def _write(values: Values) -> bytes:
    return _U16.pack(len(values)) + b"".join(values)
