"""A session's LOBs: what the locators that the client holds stand for.

Text is counted in UTF-16 units, as Oracle counts it in a database of AL32UTF8, and travels in UTF-16.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from itertools import count

from oracle.standin.backend import Kind, OraError
from oracle.standin.wire.codes import AL16UTF16, AL32UTF8

LOCATOR_BYTES = 40

# Fetched LOBs stay readable until so many later ones were fetched: locators are never given back unless temporary.
_KEPT = 100_000

# Within a locator: its sort and flags, and the place that is ours.
_BLOB, _CLOB = 0x01, 0x02
_INITIALISED = 0x08
_UTF16 = 0x80
_TEMPORARY = 0x01
_NUMBER = slice(16, 24)

_TEXT_ENCODING = "utf-16-be"


@dataclass(slots=True)
class Lob:
    """One LOB. `data` is its content as it travels, once somebody has asked for that."""

    locator: bytes
    kind: Kind
    is_national: bool
    is_temporary: bool
    value: str | bytes
    is_open: bool = False
    _data: bytearray | None = field(default=None)

    @property
    def unit(self) -> int:
        """Bytes of one character."""
        return 1 if self.kind is Kind.BLOB else 2

    @property
    def size(self) -> int:
        """How many characters, or bytes."""
        if self._data is None and (isinstance(self.value, bytes) or self.value.isascii()):
            return len(self.value)
        return len(self.data) // self.unit

    @property
    def charset(self) -> int:
        return AL16UTF16 if self.is_national else AL32UTF8

    @property
    def data(self) -> bytearray:
        if self._data is None:
            value = self.value
            raw = value if isinstance(value, bytes) else value.encode(_TEXT_ENCODING)
            self._data = bytearray(raw)
        return self._data

    def read(self, offset: int, amount: int) -> bytes:
        """Read so much from an offset, the first is 1; less, or nothing, at the end."""
        start = (offset - 1) * self.unit
        return bytes(self.data[start : start + amount * self.unit])

    def write(self, offset: int, raw: bytes) -> None:
        """Overwrite and append; a gap before it is filled as Oracle does, with spaces or zeros."""
        start = (offset - 1) * self.unit
        gap = start - len(self._writable())
        if gap > 0:
            self.data.extend((b"\0" if self.kind is Kind.BLOB else b"\0 ") * (gap // self.unit))
        self.data[start : start + len(raw)] = raw
        self._take_over()

    def trim(self, size: int) -> None:
        del self._writable()[size * self.unit :]
        self._take_over()

    def _writable(self) -> bytearray:
        if not self.is_temporary:
            # A table's LOB is written by statements: the engine has no other way in.
            raise OraError(22920, "row containing the LOB value is not locked")
        return self.data

    def _take_over(self) -> None:
        raw = bytes(self.data)
        self.value = raw if self.kind is Kind.BLOB else raw.decode(_TEXT_ENCODING, "surrogatepass")


class Lobs:
    """Those of one session."""

    def __init__(self) -> None:
        # A locator of another session must not be taken for one of this.
        self._numbers = count(secrets.randbits(62))
        self._temporary: dict[int, Lob] = {}
        self._fetched: dict[int, Lob] = {}

    def keep(
        self, kind: Kind, value: str | bytes, *, is_national: bool, is_temporary: bool = False
    ) -> Lob:
        """Make a LOB that the client can ask for by its locator."""
        number = next(self._numbers)
        lob = Lob(_locator(number, kind, is_temporary), kind, is_national, is_temporary, value)
        if is_temporary:
            self._temporary[number] = lob
            return lob
        self._fetched[number] = lob
        if len(self._fetched) > _KEPT:
            del self._fetched[next(iter(self._fetched))]
        return lob

    def find(self, locator: bytes) -> Lob:
        number = int.from_bytes(locator[_NUMBER])
        lob = self._temporary.get(number) or self._fetched.get(number)
        if lob is None:
            raise OraError(22922, "nonexistent LOB value")
        return lob

    def free(self, locator: bytes) -> None:
        self._temporary.pop(int.from_bytes(locator[_NUMBER]), None)

    @property
    def temporary(self) -> int:
        """How many temporary ones there are."""
        return len(self._temporary)


def _locator(number: int, kind: Kind, is_temporary: bool) -> bytes:
    locator = bytearray(LOCATOR_BYTES)
    locator[0:2] = (LOCATOR_BYTES - 2).to_bytes(2)
    locator[4] = _BLOB if kind is Kind.BLOB else _CLOB
    locator[5] = _INITIALISED
    locator[6] = 0 if kind is Kind.BLOB else _UTF16
    locator[7] = _TEMPORARY if is_temporary else 0
    locator[_NUMBER] = number.to_bytes(8)
    return bytes(locator)
