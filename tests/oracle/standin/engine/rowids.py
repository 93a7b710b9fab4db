"""Extended rowids: 18 characters of base 64 for object, file, block and row."""

from __future__ import annotations

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
#: The one data file of all tables; rows per block and blocks per extent are small, so that tests see several.
FILE = 4
ROWS_PER_BLOCK = 16
BLOCKS_PER_EXTENT = 8
#: The first block of a segment's first extent.
FIRST_BLOCK = 131


def _digits(value: int, count: int) -> str:
    return "".join(DIGITS[value >> 6 * place & 63] for place in reversed(range(count)))


def rowid_text(data_object: int, file: int, block: int, row: int) -> str:
    return _digits(data_object, 6) + _digits(file, 3) + _digits(block, 6) + _digits(row, 3)


def nth_rowid(data_object: int, number: int) -> str:
    """The rowid of a segment's row by its number from 0."""
    block, row = divmod(number, ROWS_PER_BLOCK)
    return rowid_text(data_object, FILE, FIRST_BLOCK + block, row)
