"""Digests of rows that two engines compute alike, and the text of a row that they are made of.

Where both sides are PostgreSQL's, its own hash is quickest. Oracle has neither that hash nor PostgreSQL's text of a
row: with it on one side, both take the first 64 bits of SHA-256 of the text that PostgreSQL prints for a record.
Sums of them make the order of rows not matter, and count duplicates. They are exact: Python's integers have no end,
and PostgreSQL sums bigint as numeric.

A value's text is the model's. What PostgreSQL may print in several ways for one value of Oracle has one form in such a
record: a numeric without a scale has no trailing zeros, an interval no time of a day or more, a float no negative zero.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final, TypeAlias

from bowline_worker.contract import Config, Engine
from bowline_worker.endpoints.base import BucketDigest
from bowline_worker.model import Table

#: Another seed than the buckets': rows of one bucket would have alike digests otherwise.
ROW_SEED: Final = 0
KEY_SEED: Final = 7
#: What buckets are chosen by: without a sign.
BUCKET_BITS: Final = (1 << 31) - 1
HASH_BYTES: Final = 8

#: A row's values in the order of its record.
Values: TypeAlias = tuple[bytes | None, ...]

#: PostgreSQL puts a value with one of these in quotes, and an empty one. White space is that of C's locale.
_needs_quotes: Final = re.compile(rb'["\\(), \t\n\v\f\r]').search


def crosses_engines(config: Config) -> bool:
    """Tell whether both sides have to use the digests of this module."""
    return Engine.ORACLE in (config.source.engine, config.target.engine)


def record_columns(table: Table) -> list[str]:
    """The columns of a row's record: by name, the same on both sides whatever order their tables have."""
    return sorted(column.name for column in table.written)


def record(values: Sequence[bytes | None]) -> bytes:
    """As PostgreSQL prints row(...)::text: NULL is nothing between the commas, an empty value is two quotes."""
    parts = []
    for value in values:
        if value is None:
            parts.append(b"")
        elif value and not _needs_quotes(value):
            parts.append(value)
        else:
            parts.append(b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'""'))
    return b"(%b)" % b",".join(parts)


def seeded(seed: int, text: bytes) -> int:
    """A signed hash of 64 bits."""
    found = hashlib.sha256(b"%d%b" % (seed, text), usedforsecurity=False).digest()
    return int.from_bytes(found[:HASH_BYTES], "big", signed=True)


def bucket_of(text: bytes, buckets: int) -> int:
    """The bucket of a key's record, or of a whole row's where there is no key."""
    return (seeded(KEY_SEED, text) & BUCKET_BITS) % buckets


def summed(
    rows: Iterable[Values], places: Sequence[int], buckets: int
) -> Mapping[int, BucketDigest]:
    """Digest rows by bucket; `places` are those of the key in a row, in the key's order. Keeps no row."""
    counts, sums = [0] * buckets, [0] * buckets
    for key, text in _records(rows, places):
        bucket = bucket_of(key, buckets)
        counts[bucket] += 1
        sums[bucket] += seeded(ROW_SEED, text)
    return {
        bucket: BucketDigest(rows=count, digest=str(sums[bucket]))
        for bucket, count in enumerate(counts)
        if count
    }


def rows_of_bucket(
    rows: Iterable[Values], places: Sequence[int], buckets: int, bucket: int
) -> Mapping[str, Sequence[str]]:
    """Per key, digests of the rows that have it. Without a key, a row's digest is its key: no value is told."""
    found: dict[str, list[str]] = {}
    for key, text in _records(rows, places):
        if bucket_of(key, buckets) == bucket:
            digest = str(seeded(ROW_SEED, text))
            found.setdefault(key.decode() if places else digest, []).append(digest)
    return {name: sorted(digests) for name, digests in found.items()}


def _records(rows: Iterable[Values], places: Sequence[int]) -> Iterator[tuple[bytes, bytes]]:
    """Per row the record that its bucket is told by, and its own."""
    if not places:
        for row in rows:
            text = record(row)
            yield text, text
        return
    key_of = _picked(places)
    for row in rows:
        yield record(key_of(row)), record(row)


def _picked(places: Sequence[int]) -> Callable[[Values], Values]:
    if len(places) > 1:
        return itemgetter(*places)
    (place,) = places
    return lambda row: (row[place],)
