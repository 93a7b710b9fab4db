"""Values of columns and binds: from a kind and bytes to what an engine understands, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from oracle.standin.backend import Kind, Moment, Months, OraError, Span, Value
from oracle.standin.wire.buffers import Reader, Writer
from oracle.standin.wire.codes import NATIONAL
from oracle.standin.wire.lobs import Lobs
from oracle.standin.wire.numbers import (
    decode_binary,
    decode_number,
    encode_double,
    encode_float,
    encode_number,
)
from oracle.standin.wire.rowids import rowid_parts
from oracle.standin.wire.temporals import (
    decode_moment,
    decode_months,
    decode_span,
    encode_date,
    encode_months,
    encode_span,
    encode_timestamp,
    encode_timestamp_tz,
    shifted,
)

# Types that the driver tells apart and an engine need not: BINARY_INTEGER and UROWID.
_ALIASES = {3: Kind.NUMBER, 208: Kind.ROWID}

_TEXTS = (Kind.VARCHAR2, Kind.CHAR, Kind.LONG)
_MOMENTS = (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_TZ, Kind.TIMESTAMP_LTZ)
_LONGS = (Kind.LONG, Kind.LONG_RAW)
LOB_KINDS = (Kind.CLOB, Kind.BLOB)

#: The part of a LOB that the driver is told to read and write at once, in bytes.
LOB_CHUNK_BYTES = 8060

_ROWID_BYTES = 13


@dataclass(frozen=True, slots=True)
class Shape:
    """The type of a variable, as the client describes it."""

    code: int  #: the type's number, which need not be of a Kind
    size: int = 0  #: the buffer's, in bytes
    form: int = 0  #: of characters: the database's or the national ones
    is_array: bool = False

    @property
    def kind(self) -> Kind:
        try:
            return _ALIASES.get(self.code) or Kind(self.code)
        except ValueError:
            raise OraError(3115, f"unsupported network datatype {self.code}") from None

    @property
    def is_national(self) -> bool:
        return self.form == NATIONAL


def encoding(is_national: bool) -> str:
    """Name the encoding of text on the wire."""
    return "utf-16-be" if is_national else "utf-8"


WriteValue: TypeAlias = Callable[[Writer, Value], None]


class Codec:
    """Turns values into bytes and back, for one session."""

    def __init__(self, zone: int | None) -> None:
        """The session's time zone is so many minutes east of UTC; None: it is a region, which isn't known here."""
        self.zone = zone
        self.lobs = Lobs()

    def read(self, reader: Reader, shape: Shape) -> Value:
        """Read the value of a bind."""
        kind = shape.kind
        if kind in LOB_KINDS:
            locator = reader.sized()
            return None if locator is None else self.lobs.find(locator).value
        raw = reader.varbytes()
        if raw is None:
            return None
        if kind in _TEXTS:
            return raw.decode(encoding(shape.is_national))
        if kind is Kind.TIMESTAMP_LTZ:
            return shifted(decode_moment(raw, kind), -self._zone_minutes())
        if kind in _MOMENTS:
            return decode_moment(raw, kind)
        return _DECODERS.get(kind, bytes)(raw)

    def column_writer(self, kind: Kind, is_national: bool) -> WriteValue:
        """Make what writes a column's values in the form that the client has asked for."""
        if kind in LOB_KINDS:
            return self._lob_writer(kind, is_national)
        if kind is Kind.ROWID:
            return _write_rowid
        encode = self._encoder(kind, is_national)
        write = _write_long if kind in _LONGS else _write_bytes
        return lambda writer, value: write(writer, None if value is None else encode(value))

    def bind_writer(self, shape: Shape) -> WriteValue:
        """Make what writes the values of a bind that goes back to the client, each with its indicator."""
        if shape.kind in LOB_KINDS:
            write = self._lob_writer(shape.kind, shape.is_national)
        else:
            encode = self._encoder(shape.kind, shape.is_national)

            def write(writer: Writer, value: Value) -> None:
                writer.varbytes(None if value is None else encode(value))

        def write_with_indicator(writer: Writer, value: Value) -> None:
            write(writer, value)
            writer.varint(0)

        return write_with_indicator

    def _lob_writer(self, kind: Kind, is_national: bool) -> WriteValue:
        def write(writer: Writer, value: Value) -> None:
            if value is None:
                writer.varint(0)
                return
            if not isinstance(value, bytes if kind is Kind.BLOB else str):
                raise _unfit(kind, value)
            lob = self.lobs.keep(kind, value, is_national=is_national)
            writer.varint(len(lob.locator), lob.size, LOB_CHUNK_BYTES).varbytes(lob.locator)

        return write

    def _encoder(self, kind: Kind, is_national: bool) -> Callable[[Value], bytes]:
        """Make what turns a value into bytes; a value of another type than the kind's is the engine's mistake."""
        if kind in _TEXTS or kind is Kind.ROWID:
            form = encoding(is_national)
            return lambda value: _text(kind, value).encode(form)
        expected, encode = _ENCODERS[kind]
        if kind is Kind.TIMESTAMP_LTZ:
            encode = self._encode_local

        def encode_checked(value: Value) -> bytes:
            if not isinstance(value, expected):
                raise _unfit(kind, value)
            return encode(value)

        return encode_checked

    def _encode_local(self, moment: Moment) -> bytes:
        """Turn UTC into the session's clock, by which a TIMESTAMP WITH LOCAL TIME ZONE travels."""
        return encode_timestamp(shifted(moment, self._zone_minutes()))

    def _zone_minutes(self) -> int:
        if self.zone is None:
            raise OraError(3001, "unimplemented feature: local timestamps in the zone of a region")
        return self.zone


_DECODERS: dict[Kind, Callable[[bytes], Value]] = {
    Kind.NUMBER: decode_number,
    Kind.BINARY_FLOAT: decode_binary,
    Kind.BINARY_DOUBLE: decode_binary,
    Kind.INTERVAL_DS: decode_span,
    Kind.INTERVAL_YM: decode_months,
    Kind.ROWID: bytes.decode,
}


def _write_rowid(writer: Writer, value: Value) -> None:
    if value is None:
        writer.u8(0)
        return
    object_id, file, block, row = rowid_parts(str(value))
    writer.u8(_ROWID_BYTES).varint(object_id, file).u8(0).varint(block, row)


def _write_long(writer: Writer, encoded: bytes | None) -> None:
    writer.varbytes(encoded).varint(0 if encoded else -1, 0)


def _write_bytes(writer: Writer, encoded: bytes | None) -> None:
    writer.varbytes(encoded)


def _text(kind: Kind, value: Value) -> str:
    if not isinstance(value, str):
        raise _unfit(kind, value)
    return value


def _unfit(kind: Kind, value: Value) -> TypeError:
    return TypeError(f"a value of {kind.name} can't be a {type(value).__name__}")


# The checks above see to it that each encoder gets what it expects, which types can't tell.
_ENCODERS: dict[Kind, tuple[type, Callable[..., bytes]]] = {
    Kind.NUMBER: (Decimal, encode_number),
    Kind.BINARY_FLOAT: (float, encode_float),
    Kind.BINARY_DOUBLE: (float, encode_double),
    Kind.DATE: (Moment, encode_date),
    Kind.TIMESTAMP: (Moment, encode_timestamp),
    Kind.TIMESTAMP_LTZ: (Moment, encode_timestamp),
    Kind.TIMESTAMP_TZ: (Moment, encode_timestamp_tz),
    Kind.INTERVAL_DS: (Span, encode_span),
    Kind.INTERVAL_YM: (Months, encode_months),
    Kind.RAW: (bytes, bytes),
    Kind.LONG_RAW: (bytes, bytes),
}
