"""Replies: messages as the client expects them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from oracle.standin.backend import Column, Kind, Moment, OraError
from oracle.standin.wire.buffers import Writer
from oracle.standin.wire.codes import (
    AL16UTF16,
    AL32UTF8,
    IMPLICIT,
    IN_TRANSACTION,
    NATIONAL,
    Message,
)
from oracle.standin.wire.temporals import encode_date

# Parts of the protocol that came with a version of its fields.
_COLUMN_IDS = 8
_CHECKSUMS = 14
_DOMAINS = 17
_ANNOTATIONS = 20
_VECTORS = 24

NO_DATA_FOUND = 1403
CANCELLED = 1013
_ARRAY_ERRORS = 24381

#: Buffers of the kinds whose columns have no length of their own, in bytes.
_SIZES = {
    Kind.NUMBER: 22,
    Kind.LONG: 2**31 - 1,
    Kind.ROWID: 18,
    Kind.DATE: 7,
    Kind.LONG_RAW: 2**31 - 1,
    Kind.BINARY_FLOAT: 4,
    Kind.BINARY_DOUBLE: 8,
    Kind.CLOB: 4000,
    Kind.BLOB: 4000,
    Kind.TIMESTAMP: 11,
    Kind.TIMESTAMP_TZ: 13,
    Kind.TIMESTAMP_LTZ: 11,
    Kind.INTERVAL_YM: 5,
    Kind.INTERVAL_DS: 11,
}
_TEXTS = (Kind.VARCHAR2, Kind.CHAR, Kind.LONG, Kind.CLOB)
_FRACTIONS = (Kind.TIMESTAMP, Kind.TIMESTAMP_TZ, Kind.TIMESTAMP_LTZ, Kind.INTERVAL_DS)

# What a Column has where it was told no scale: a NUMBER means none by it, and these six digits.
_NO_SCALE = -127
_DEFAULT_FRACTION = 6
_DEFAULT_LEADING_DIGITS = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended, for the message that ends its reply."""

    cursor: int = 0
    rowcount: int = 0
    error: OraError | None = None
    failed_rows: Sequence[tuple[int, OraError]] = ()  #: of an array, by place


class Reply(Writer):
    """One reply in the making."""

    def __init__(self, field_version: int) -> None:
        super().__init__()
        self._field_version = field_version

    def status(self, *, in_transaction: bool) -> Self:
        return self.u8(Message.STATUS).varint(IN_TRANSACTION if in_transaction else 0, 0)

    def outcome(self, outcome: Outcome, *, in_transaction: bool) -> Self:
        """End the reply to an execution or a fetch, be it an error or not."""
        code, text, offset = _told(outcome)
        self.u8(Message.ERROR).varint(IN_TRANSACTION if in_transaction else 0, 0)
        self.varint(outcome.rowcount & 0xFFFFFFFF, code if code < 0x10000 else 0, 0, 0)
        self.varint(outcome.cursor, offset)
        self.raw(bytes(6))
        self.varint(0, 0).u8(0).varint(0, 0)  # the last row's ROWID
        self.varint(0).u8(0, 0).varint(0, 0).sized(None)
        self._failed_rows(outcome.failed_rows)
        self.varint(code, outcome.rowcount)
        if self._field_version >= _CHECKSUMS:
            self.varint(0, 0)
        if code:
            self.varbytes(text.encode())
        return self

    def _failed_rows(self, failed: Sequence[tuple[int, OraError]]) -> None:
        """Write codes, places and messages, each as an array with a size that the client does not need."""
        count = len(failed)
        self.varint(count)
        if count:
            self.u8(0).varint(*(error.code for _, error in failed))
        self.varint(count)
        if count:
            self.u8(0).varint(*(place for place, _ in failed))
        self.varint(count)
        if count:
            self.u8(0)
            for _, error in failed:
                text = str(error).encode()
                self.varint(len(text)).varbytes(text).raw(bytes(2))

    def described(self, columns: Sequence[Column]) -> Self:
        """Describe a query's columns."""
        sizes = [_buffer_bytes(column) for column in columns]
        self.u8(Message.DESCRIBE, 0).varint(min(sum(sizes), 0xFFFFFF), len(columns))
        if columns:
            self.u8(1)
        for place, column in enumerate(columns, 1):
            self._column(column, place)
        now = datetime.now(UTC)
        self.sized(encode_date(Moment(now.year, now.month, now.day, now.hour, now.minute)))
        return self.varint(0, 0, 0, 0).sized(None)

    def _column(self, column: Column, place: int) -> None:
        form, charset, characters = _text_form(column)
        name = column.name.encode()
        precision, scale = _digits(column)
        self.u8(column.kind, 0, precision & 0xFF, scale & 0xFF)
        self.varint(_buffer_bytes(column), 0, 0).sized(None).varint(0, charset)
        self.u8(form).varint(characters)
        if self._field_version >= _COLUMN_IDS:
            self.varint(0)
        self.u8(int(column.nullable), len(name) & 0xFF).sized(name).sized(None).sized(None)
        self.varint(place, 0)
        if self._field_version >= _DOMAINS:
            self.sized(None).sized(None)
        if self._field_version >= _ANNOTATIONS:
            self.varint(0)
        if self._field_version >= _VECTORS:
            self.varint(0).u8(0, 0)

    def row_header(self, rows: int) -> Self:
        return self.u8(Message.ROW_HEADER, 0).varint(0, 0, rows, 0, 0).sized(None)

    def directions(self, binds: int) -> Self:
        """Tell that all binds of a block go in and out: so the client sends each one's value each time."""
        in_out = 48
        self.u8(Message.IO_VECTOR, 0).varint(binds % 256, binds // 256, 1, 0, 0, 0)
        return self.u8(*[in_out] * binds)

    def row_counts(self, counts: Sequence[int]) -> Self:
        return self.u8(Message.PARAMETER).varint(0, 0, 0, 0, len(counts), *counts)


def cancelled() -> OraError:
    """Make the error of a call that the client has interrupted."""
    return OraError(CANCELLED, "user requested cancel of current operation")


def _told(outcome: Outcome) -> tuple[int, str, int]:
    """Give the code, the text, and the place in the statement or the array."""
    if outcome.error is not None:
        return outcome.error.code, str(outcome.error), outcome.error.offset
    if outcome.failed_rows:
        return _ARRAY_ERRORS, f"ORA-{_ARRAY_ERRORS}: error(s) in array DML", 0
    return 0, "", 0


def _digits(column: Column) -> tuple[int, int]:
    if column.kind in _FRACTIONS:
        is_interval = column.kind is Kind.INTERVAL_DS
        scale = _DEFAULT_FRACTION if column.scale == _NO_SCALE else column.scale
        return column.precision or (_DEFAULT_LEADING_DIGITS if is_interval else 0), scale
    if column.kind is Kind.INTERVAL_YM:
        return column.precision or _DEFAULT_LEADING_DIGITS, 0
    if column.kind is Kind.NUMBER:
        return column.precision, column.scale
    return 0, 0


def _buffer_bytes(column: Column) -> int:
    """Tell how long a value may be. It is never 0: the client would take the column for always null."""
    if fixed := _SIZES.get(column.kind):
        return fixed
    return max(column.size * (2 if column.national else 1), 1)


def _text_form(column: Column) -> tuple[int, int, int]:
    """Give the form of characters, their set, and how many there may be."""
    if column.kind not in _TEXTS:
        return 0, 0, 0
    if column.national:
        return NATIONAL, AL16UTF16, max(column.size, 1)
    return IMPLICIT, AL32UTF8, max(column.size, 1)
