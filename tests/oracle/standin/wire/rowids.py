"""ROWIDs: 18 characters for people, four numbers on the wire."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase, digits

from oracle.standin.backend import OraError

_DIGITS = {
    digit: value for value, digit in enumerate(ascii_uppercase + ascii_lowercase + digits + "+/")
}
#: Where object, file, block and row stand in the text.
_PARTS = (slice(0, 6), slice(6, 9), slice(9, 15), slice(15, 18))


def rowid_parts(text: str) -> tuple[int, int, int, int]:
    """Take a ROWID apart: number of the data object, of the file, the block, and the row in it."""
    if len(text) != 18 or not set(text) <= _DIGITS.keys():
        raise OraError(1410, f"invalid ROWID {text!r}")
    object_id, file, block, row = (_number(text[part]) for part in _PARTS)
    return object_id, file, block, row


def _number(text: str) -> int:
    value = 0
    for digit in text:
        value = value * 64 + _DIGITS[digit]
    return value
