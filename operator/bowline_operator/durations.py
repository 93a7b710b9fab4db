"""Durations and sizes as people write them in manifests: `90s`, `1h30m`, `10Gi`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
DURATION = r"^(\d+(\.\d+)?(ms|s|m|h))+$"

_SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
}
QUANTITY = r"^\d+(k|M|G|T|Ki|Mi|Gi|Ti)?$"


def parse_duration(value: object) -> object:
    """Read `5m` or `1h30m`; a number without a unit is refused, since nobody could tell which one."""
    if not isinstance(value, str):
        if isinstance(value, timedelta):
            return value
        raise ValueError("must be a duration such as 10s, 5m or 1h30m")
    if not re.fullmatch(DURATION, value):
        raise ValueError(f"{value!r} is not a duration such as 10s, 5m or 1h30m")
    return timedelta(seconds=sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(value)))


def format_duration(value: timedelta) -> str:
    """Write `90s` as `1m30s`; what is read again is the same."""
    left = round(value.total_seconds() * 1000)
    text = ""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        if count:
            text += f"{count}{unit}"
    return text or "0s"


def quantity_bytes(value: str) -> int:
    """Read a size: `10Gi` is 10 * 2**30 bytes."""
    match = re.fullmatch(r"(\d+)([A-Za-z]*)", value)
    if match is None or match[2] not in _SIZES:
        raise ValueError(f"{value!r} is not a size such as 500Mi or 10Gi")
    return int(match[1]) * _SIZES[match[2]]


def _checked(value: str) -> str:
    quantity_bytes(value)
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION, "maxLength": 32}),
]
Quantity = Annotated[
    str,
    AfterValidator(_checked),
    WithJsonSchema({"type": "string", "pattern": QUANTITY, "maxLength": 32}),
]
