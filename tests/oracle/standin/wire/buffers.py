"""Reading and writing the parts that messages are made of.

varint: a byte that says how many follow, then those, big-endian; 0 is that one byte. Its high bit means a minus.
varbytes: a byte with the length up to 252, then the bytes. 254: chunks follow, each a varint with its length and the
bytes, until one of length 0. 0 and 255 are null.
sized: the length as a varint, and unless it is 0 the bytes as varbytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

_SHORT = 252
_CHUNKS = 254
_NULL = 255
_CHUNK_BYTES = 32767


class Reader:
    """Reads a request, which may span packets at any byte; `more` waits for the next packet's payload."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._more = more
        self._data = b""
        self._at = 0

    def begin(self) -> None:
        """Go to the next request; what is left of the last packet is padding."""
        self._data, self._at = b"", 0

    @property
    def has_begun(self) -> bool:
        return bool(self._data)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end <= len(self._data):
            taken = self._data[self._at : end]
            self._at = end
            return taken
        parts = [self._data[self._at :]]
        missing = count - len(parts[0])
        while missing:
            self._data = self._more()
            self._at = min(missing, len(self._data))
            parts.append(self._data[: self._at])
            missing -= self._at
        return b"".join(parts)

    def u8(self) -> int:
        at = self._at
        if at < len(self._data):
            self._at = at + 1
            return self._data[at]
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2))

    def u16le(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def varint(self) -> int:
        size = self.u8()
        if not size:
            return 0
        value = int.from_bytes(self.take(size & 0x7F))
        return -value if size & 0x80 else value

    def varbytes(self) -> bytes | None:
        size = self.u8()
        if size in (0, _NULL):
            return None
        if size != _CHUNKS:
            return self.take(size)
        chunks = []
        while size := self.varint():
            chunks.append(self.take(size))
        return b"".join(chunks)

    def sized(self) -> bytes | None:
        return self.varbytes() if self.varint() else None

    def terminated(self) -> bytes:
        """Read up to a zero byte, which is not part of it."""
        read = bytearray()
        while byte := self.u8():
            read.append(byte)
        return bytes(read)


class Writer:
    """Builds a message. The methods return the writer, so that a message's parts stand in one line."""

    def __init__(self) -> None:
        self.data = bytearray()

    def raw(self, data: bytes) -> Self:
        self.data += data
        return self

    def u8(self, *values: int) -> Self:
        self.data += bytes(values)
        return self

    def u16(self, value: int) -> Self:
        self.data += value.to_bytes(2)
        return self

    def u16le(self, value: int) -> Self:
        self.data += value.to_bytes(2, "little")
        return self

    def varint(self, *values: int) -> Self:
        for value in values:
            if value:
                size = (abs(value).bit_length() + 7) // 8
                self.data.append(size | (0x80 if value < 0 else 0))
                self.data += abs(value).to_bytes(size)
            else:
                self.data.append(0)
        return self

    def varbytes(self, data: bytes | None) -> Self:
        if not data:
            self.data.append(0)
        elif len(data) <= _SHORT:
            self.data.append(len(data))
            self.data += data
        else:
            self.data.append(_CHUNKS)
            for at in range(0, len(data), _CHUNK_BYTES):
                chunk = data[at : at + _CHUNK_BYTES]
                self.varint(len(chunk)).raw(chunk)
            self.data.append(0)
        return self

    def sized(self, data: bytes | None) -> Self:
        if not data:
            return self.varint(0)
        return self.varint(len(data)).varbytes(data)
