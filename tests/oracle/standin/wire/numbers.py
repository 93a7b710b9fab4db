"""NUMBER and the binary floats, as they travel: the same bytes that DUMP shows of a stored value."""

from __future__ import annotations

import struct
from decimal import Decimal

from oracle.standin.backend import OraError

# A mantissa has at most 20 digits of base 100; the first of them counts for 100 ** (first byte - 193).
_PAIRS = 20
_BIAS = 193
_ZERO = b"\x80"
_NEGATIVE_END = 102


def encode_number(value: Decimal) -> bytes:
    """Encode exactly: what has more than 20 pairs of digits is for the engine to round, and an error here."""
    sign, decimals, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise OraError(1722, f"invalid number: {value} is no NUMBER")
    if not any(decimals):
        return _ZERO
    digits = list(decimals)
    point = len(digits) + exponent
    if point % 2:
        digits.insert(0, 0)
        point += 1
    if len(digits) % 2:
        digits.append(0)
    pairs = [ten * 10 + one for ten, one in zip(digits[::2], digits[1::2], strict=True)]
    first = point // 2 + _BIAS - 1
    while not pairs[-1]:
        pairs.pop()
    if not 128 <= first <= 255:
        raise OraError(1426, f"numeric overflow: {value} is not within a NUMBER's range")
    if len(pairs) > _PAIRS:
        raise OraError(1426, f"numeric overflow: {value} has more digits than a NUMBER")
    if sign:
        end = bytes([_NEGATIVE_END]) if len(pairs) < _PAIRS else b""
        return bytes([first ^ 0xFF, *(101 - pair for pair in pairs)]) + end
    return bytes([first, *(pair + 1 for pair in pairs)])


def decode_number(raw: bytes) -> Decimal:
    """Decode to the shortest Decimal that is exactly it; whole numbers have no exponent."""
    if raw == _ZERO:
        return Decimal(0)
    if raw[0] & 0x80:
        sign, first = "", raw[0]
        pairs = [byte - 1 for byte in raw[1:]]
    else:
        sign, first = "-", raw[0] ^ 0xFF
        body = raw[1:-1] if raw[-1] == _NEGATIVE_END else raw[1:]
        pairs = [101 - byte for byte in body]
    digits = "".join(f"{pair:02d}" for pair in pairs)
    exponent = 2 * (first - _BIAS + 1 - len(pairs))
    if exponent >= 0:
        return Decimal(sign + digits + "0" * exponent)
    significant = digits.rstrip("0")
    return Decimal(f"{sign}{significant}E{exponent + len(digits) - len(significant)}")


def encode_float(value: float) -> bytes:
    """Encode a BINARY_FLOAT; what is beyond its range becomes an infinity."""
    try:
        return _ordered(struct.pack(">f", value))
    except OverflowError:
        return _ordered(struct.pack(">f", float("inf") if value > 0 else float("-inf")))


def encode_double(value: float) -> bytes:
    return _ordered(struct.pack(">d", value))


def decode_binary(raw: bytes) -> float:
    """Decode a BINARY_FLOAT (4 bytes) or a BINARY_DOUBLE (8)."""
    plain = bytes([raw[0] & 0x7F]) + raw[1:] if raw[0] & 0x80 else _inverted(raw)
    value: float = struct.unpack(">f" if len(raw) == 4 else ">d", plain)[0]
    return value


def _ordered(raw: bytes) -> bytes:
    """Turn an IEEE number into bytes that sort as the numbers do."""
    return _inverted(raw) if raw[0] & 0x80 else bytes([raw[0] | 0x80]) + raw[1:]


def _inverted(raw: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in raw)
