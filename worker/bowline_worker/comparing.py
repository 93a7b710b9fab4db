"""Compares all rows of both sides: digests of buckets first, then the rows of the buckets that differ.

Behind a fence one look is exact. While changes are on their way the two sides are seen at slightly different instants:
a bucket that was equal in one of several looks is equal, and what never is, is taken apart to keys, which are looked
at again. A key that changed at every look can be called neither equal nor different; it is counted as `moving`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

from bowline_worker.contract import TableVerdict, VerifyReport
from bowline_worker.endpoints.base import BucketDigest, Endpoint
from bowline_worker.model import Table

#: Rows in flight spoil a hundred buckets or so at a time: few of these.
BUCKETS = 1024
#: Looks at what differs, and the pause between them.
LOOKS = 5
PAUSE_SECONDS = 1.0
#: Buckets of one table that are taken apart: each costs a scan, and more would tell nothing new.
BUCKETS_TAKEN_APART = 8
#: Keys named in a verdict.
KEYS_NAMED = 10

MOVING = "changing too fast to be compared"

Rows = Mapping[str, Sequence[str]]


@dataclass
class _Pool:
    """Both sides at once, some tables at once."""

    source: Endpoint
    target: Endpoint
    threads: ThreadPoolExecutor
    stop: threading.Event
    looks: int
    settle: Callable[[], bool]

    def is_stopped(self, look: int) -> bool:
        """Before a look; before any but the first, wait until it can tell more than the one before it."""
        if look == 0:
            return self.stop.is_set()
        return self.stop.wait(PAUSE_SECONDS) or self.settle()

    def digests(
        self, table: Table
    ) -> tuple[Mapping[int, BucketDigest], Mapping[int, BucketDigest]]:
        # The source's description of the table serves both: one order of columns, one key.
        other = self.threads.submit(self.target.digests, table, BUCKETS)
        mine = self.source.digests(table, BUCKETS)
        return mine, other.result()

    def rows(self, table: Table, bucket: int) -> tuple[Rows, Rows]:
        other = self.threads.submit(self.target.bucket_rows, table, BUCKETS, bucket)
        mine = self.source.bucket_rows(table, BUCKETS, bucket)
        return mine, other.result()


@dataclass
class _Difference:
    """What is known of the keys of one table that differ."""

    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    moving: int = 0

    @property
    def keys(self) -> int:
        return len(self.missing) + len(self.extra) + len(self.different)


def compare(
    source: Endpoint,
    target: Endpoint,
    *,
    parallelism: int,
    stop: threading.Event,
    looks: int = LOOKS,
    settle: Callable[[], bool] = lambda: False,
    progress: Callable[[VerifyReport], None] | None = None,
) -> VerifyReport:
    """Compare all rows of all selected tables, so many tables at a time; `equal` stays None if `stop` is set.

    `settle` is called between looks: it waits until one side has what the other had, and tells whether to stop.
    """
    here = {table.name: table for table in source.tables()}
    there = {table.name for table in target.tables()}
    lone = [
        TableVerdict(
            name=str(name),
            source_rows=0,
            target_rows=0,
            equal=False,
            detail=f"the table is only on the {'source' if name in here else 'target'}",
        )
        for name in sorted(here.keys() ^ there, key=str)
    ]
    # The largest first: the last one to finish should be a small one.
    tables = sorted(
        (table for name, table in here.items() if name in there),
        key=lambda table: -table.estimated_bytes,
    )
    done = list(lone)
    lock = threading.Lock()
    workers = max(1, min(parallelism, len(tables)))
    with (
        ThreadPoolExecutor(workers, "other-side") as threads,
        ThreadPoolExecutor(workers, "verify") as pool,
    ):
        both = _Pool(source, target, threads, stop, looks, settle)

        def one(table: Table) -> None:
            verdict = _compare_table(both, table)
            if verdict is None:
                return
            with lock:
                done.append(verdict)
                if progress is not None:
                    progress(_report(done, equal=None))

        for future in [pool.submit(one, table) for table in tables]:
            future.result()
    if len(done) < len(lone) + len(tables) or stop.is_set():
        return _report(done, equal=None)
    return _report(done, equal=all(verdict.equal for verdict in done))


def _report(verdicts: Iterable[TableVerdict], *, equal: bool | None) -> VerifyReport:
    return VerifyReport(tables=sorted(verdicts, key=lambda each: each.name), equal=equal)


def _compare_table(both: _Pool, table: Table) -> TableVerdict | None:
    """Look until no bucket is left that was never equal, or the looks are used up; None: stopped."""
    unsettled: set[int] | None = None
    for look in range(both.looks):
        if both.is_stopped(look):
            return None
        here, there = both.digests(table)
        unequal = unequal_buckets(here, there)
        unsettled = unequal if unsettled is None else unsettled & unequal
        if not unsettled:
            break
    source_rows = sum(bucket.rows for bucket in here.values())
    target_rows = sum(bucket.rows for bucket in there.values())
    detail = ""
    if unsettled:
        difference = _take_apart(both, table, sorted(unsettled)[:BUCKETS_TAKEN_APART])
        if difference is None:
            return None
        more = max(0, len(unsettled) - BUCKETS_TAKEN_APART)
        detail = describe(difference, more)
    return TableVerdict(
        name=str(table.name),
        source_rows=source_rows,
        target_rows=target_rows,
        equal=not detail,
        detail=detail,
    )


def unequal_buckets(
    here: Mapping[int, BucketDigest], there: Mapping[int, BucketDigest]
) -> set[int]:
    return {
        bucket for bucket in here.keys() | there.keys() if here.get(bucket) != there.get(bucket)
    }


def unequal_keys(here: Rows, there: Rows) -> set[str]:
    return {key for key in here.keys() | there.keys() if here.get(key) != there.get(key)}


def _take_apart(both: _Pool, table: Table, buckets: Sequence[int]) -> _Difference | None:
    """Find the keys that stay different, and those of them that never stood still."""
    found = _Difference()
    for bucket in buckets:
        seen: list[tuple[Rows, Rows]] = []
        keys: set[str] = set()
        for look in range(both.looks):
            if both.is_stopped(look):
                return None
            here, there = both.rows(table, bucket)
            seen.append((here, there))
            keys = unequal_keys(here, there) if look == 0 else keys & unequal_keys(here, there)
            if not keys:
                break
        _sort_out(found, keys, seen)
    return found


def _sort_out(found: _Difference, keys: Iterable[str], seen: Sequence[tuple[Rows, Rows]]) -> None:
    here, there = seen[-1]
    for key in sorted(keys):
        if len(seen) > 1 and all(
            before[0].get(key) != after[0].get(key) or before[1].get(key) != after[1].get(key)
            for before, after in pairwise(seen)
        ):
            found.moving += 1
        elif key not in there:
            found.missing.append(key)
        elif key not in here:
            found.extra.append(key)
        else:
            found.different.append(key)


def describe(difference: _Difference, more_buckets: int) -> str:
    """Say which keys differ, at most ten by name; empty: none does, after all."""
    parts = []
    left = KEYS_NAMED
    for word, keys in (
        ("missing on the target", difference.missing),
        ("extra on the target", difference.extra),
        ("different", difference.different),
    ):
        if keys:
            named = keys[:left]
            left -= len(named)
            dots = ", ..." if len(keys) > len(named) else ""
            parts.append(f"{len(keys)} {word}: {', '.join(named)}{dots}")
    if difference.moving:
        parts.append(f"{difference.moving} {MOVING}")
    if more_buckets:
        parts.append(f"and about {more_buckets} more")
    return "; ".join(parts)
