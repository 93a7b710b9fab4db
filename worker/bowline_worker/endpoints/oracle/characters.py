"""Oracle's text and bytes. '' never comes out of VARCHAR2, CHAR, RAW and LONG: Oracle stores NULL for it."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from bowline_worker.endpoints.oracle.kinds import (
    Bind,
    FromRedo,
    OracleColumn,
    OracleType,
    PostgresType,
)
from bowline_worker.endpoints.oracle.policy import EMPTY_RAW, Strange, Terms
from bowline_worker.endpoints.oracle.redo import Hex, Mark

#: Longer values need MAX_STRING_SIZE = EXTENDED and are stored, and logged, as LOBs.
INLINE_TEXT_BYTES, INLINE_RAW_BYTES = 4000, 2000

TEXT = PostgresType("text", "text")
BYTEA = PostgresType("bytea", "bytea")

#: Where a constraint says IS JSON, the driver would parse the text unless an output type handler names a type.
FETCH_HINT = "set fetch_lobs to False, and handle output by the bind type where a column IS JSON"

_ROWID = re.compile(r"[A-Za-z0-9+/]{18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(OracleType):
    """VARCHAR2, NVARCHAR2 and LONG; with `padded_to`, CHAR and NCHAR."""

    limit: int | None = None  #: characters that the other side takes; None: any number
    padded_to: int = 0  #: characters that the other side pads to with blanks; 0: it does not
    is_national: bool = False

    def _from_redo(self, value: object) -> FromRedo:
        # Run as SQL, an empty string would store NULL.
        if value is Mark.EMPTY_STRING:
            return None
        if not isinstance(value, str):
            self.refuse_unknown(value)
        return self._text(value)

    def _from_driver(self, value: object) -> bytes | None:
        return self._text(self.fetched_text(value, FETCH_HINT))

    def _text(self, text: str) -> bytes | None:
        if not text:
            return None
        shown = without_nul(self, text)
        if shown is None:
            return None
        if self.limit is not None and len(shown) > self.limit:
            self.refuse(text, f"is longer than the {self.limit} characters of its column")
        return encode(self, shown.ljust(self.padded_to))

    def _to_oracle(self, text: bytes) -> Bind:
        value = text.decode()
        if self.padded_to:
            # Oracle pads again. Of blanks alone one must be left, else it would be NULL.
            value = value.rstrip(" ") or value[:1]
        if not value:
            return self._filled(self.answer(Strange.EMPTY, value, self.terms.policy.empty_text))
        if self._fits(value):
            return value
        kept = self.answer(Strange.TOO_LONG, value, self._cut(value))
        if kept == "":
            self.refuse(value, "is longer than the column, which can't even take its beginning")
        return kept

    def _filled(self, text: str | None) -> str | None:
        if text is not None and not self._fits(text):
            self.refuse(text, "stands for '' by the policy, and is longer than the column")
        return text

    def _fits(self, value: str) -> bool:
        """Tell whether the column takes it: bytes are limited whatever the length was declared in."""
        column, size = self.column, stored_size(self, value, is_national=self.is_national)
        if self.limit is None:
            return True
        if self.is_national:
            return size <= column.char_length
        in_characters = len(value) if column.char_used == "C" else 0
        return in_characters <= column.char_length and size <= column.data_length

    def _cut(self, value: str) -> str:
        """As much of the beginning as fits."""
        lengths = range(len(value) + 1)
        return value[: bisect_right(lengths, False, key=lambda n: not self._fits(value[:n])) - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clob(OracleType):
    """CLOB and NCLOB, which know '' from NULL."""

    is_national: bool = False

    def _from_redo(self, value: object) -> FromRedo:
        self.refuse_unknown(value)

    def _from_driver(self, value: object) -> bytes | None:
        shown = without_nul(self, self.fetched_text(value, FETCH_HINT))
        return None if shown is None else encode(self, shown)

    def _to_oracle(self, text: bytes) -> Bind:
        value = text.decode()
        stored_size(self, value, is_national=self.is_national)
        return value or Mark.EMPTY_CLOB


def stored_size(kind: OracleType, text: str, *, is_national: bool) -> int:
    """Bytes in the database's character set, units of UTF-16 in the national one; refuse what the former lacks."""
    if is_national:
        return len(text.encode("utf-16-be")) // 2
    try:
        return kind.terms.bytes_of(text)
    except UnicodeEncodeError:
        charset = kind.terms.charset
        kind.refuse(text, f"has a character that oracle's character set {charset} lacks")


def without_nul(kind: OracleType, text: str) -> str | None:
    """Answer by the policy for U+0000, which PostgreSQL's text can't hold."""
    if "\0" not in text:
        return text
    return kind.answer(Strange.NUL, text, text.replace("\0", kind.terms.policy.nul_text))


def encode(kind: OracleType, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        kind.refuse(text, "holds half of a surrogate pair, which is no character")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowId(OracleType):
    """ROWID as a column's value: the text that ROWIDTOCHAR gives. It names no row of the other side."""

    def _from_redo(self, value: object) -> FromRedo:
        return self._text(value)

    def _from_driver(self, value: object) -> bytes | None:
        return self._text(value)

    def _text(self, value: object) -> bytes:
        if not isinstance(value, str) or not _ROWID.fullmatch(value):
            self.refuse_unknown(value)
        return value.encode()

    def _to_oracle(self, text: bytes) -> Bind:
        return self._text(text.decode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw(OracleType):
    """RAW, and with `is_lob` BLOB, which knows no bytes from NULL."""

    is_lob: bool = False

    def _from_redo(self, value: object) -> FromRedo:
        if value is Mark.EMPTY_STRING:
            return None
        if not isinstance(value, Hex):
            self.refuse_unknown(value)
        return self._text(value.data)

    def _from_driver(self, value: object) -> bytes | None:
        if not isinstance(value, bytes):
            self.refuse(value, "was not fetched as bytes", FETCH_HINT)
        return self._text(value)

    def _text(self, data: bytes) -> bytes | None:
        if not data and not self.is_lob:
            return None
        if not self.is_lob and len(data) > self.column.data_length:
            self.refuse(data, f"is longer than the {self.column.data_length} bytes of its column")
        return b"\\x" + data.hex().encode()

    def _to_oracle(self, text: bytes) -> Bind:
        data = self._bytes(text)
        if self.is_lob:
            return data or Mark.EMPTY_BLOB
        size = self.column.data_length
        if not data:
            return self.answer(Strange.EMPTY, data, EMPTY_RAW)
        if len(data) <= size:
            return data
        return self.answer(Strange.TOO_LONG, data, data[:size])

    def _bytes(self, text: bytes) -> bytes:
        if not text.startswith(b"\\x"):
            self.refuse_unknown(text)
        try:
            return bytes.fromhex(text[2:].decode())
        except ValueError:
            self.refuse_unknown(text)


def varchar(column: OracleColumn, terms: Terms, _: list[int]) -> OracleType:
    is_national = column.data_type.startswith("N")
    is_long = column.data_length > INLINE_TEXT_BYTES
    length = column.char_length
    return Text(
        column=column,
        terms=terms,
        postgres=PostgresType("varchar", f"character varying({length})"),
        bind_type="DB_TYPE_NVARCHAR" if is_national else "DB_TYPE_VARCHAR",
        needs_reselect=is_long,
        can_be_key=not is_long,
        empty_is_null=True,
        limit=length,
        is_national=is_national,
    )


def char(column: OracleColumn, terms: Terms, _: list[int]) -> OracleType:
    is_national = column.data_type.startswith("N")
    length = column.char_length
    return Text(
        column=column,
        terms=terms,
        postgres=PostgresType("bpchar", f"character({length})"),
        # Bound as VARCHAR2, a key would not be found: its blanks would count.
        bind_type="DB_TYPE_NCHAR" if is_national else "DB_TYPE_CHAR",
        empty_is_null=True,
        limit=length,
        padded_to=length,
        is_national=is_national,
    )


def long(column: OracleColumn, terms: Terms, _: list[int]) -> OracleType:
    return Text(
        column=column,
        terms=terms,
        postgres=TEXT,
        bind_type="DB_TYPE_LONG",
        needs_reselect=True,
        can_be_key=False,
        empty_is_null=True,
    )


def clob(column: OracleColumn, terms: Terms, _: list[int]) -> OracleType:
    is_national = column.data_type == "NCLOB"
    return Clob(
        column=column,
        terms=terms,
        postgres=TEXT,
        # As LONG a value of any length goes in one round trip; as a CLOB it takes a temporary LOB.
        bind_type="DB_TYPE_LONG_NVARCHAR" if is_national else "DB_TYPE_LONG",
        needs_reselect=True,
        can_be_key=False,
        is_national=is_national,
    )


def raw(column: OracleColumn, terms: Terms, _: list[int]) -> OracleType:
    is_lob = column.data_type == "BLOB"
    needs_reselect = is_lob or column.data_length > INLINE_RAW_BYTES
    return Raw(
        column=column,
        terms=terms,
        postgres=BYTEA,
        bind_type="DB_TYPE_LONG_RAW" if is_lob else "DB_TYPE_RAW",
        needs_reselect=needs_reselect,
        can_be_key=not needs_reselect,
        empty_is_null=not is_lob,
        is_lob=is_lob,
    )


def rowid(column: OracleColumn, terms: Terms, _: list[int]) -> OracleType:
    return RowId(
        column=column,
        terms=terms,
        postgres=TEXT,
        bind_type="DB_TYPE_VARCHAR",
        select_form="ROWIDTOCHAR({})",
        bind_form="CHARTOROWID({})",
        loss="the text is kept; it names no row of the other side",
    )
