"""A transaction that is larger than memory: neither capture nor apply holds it as a whole.

`ROWS=1000000 pytest tests/road/test_huge_transaction.py -s` prints the figures of a million rows.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from road.by_hand import Road, Worker
from servers import Pair

ROWS = int(os.environ.get("ROWS", "200000"))
#: What a worker's smallest memory limit bears. The rows below are 200 MiB a million in the stream.
MOST_MIB = 300


def peak_mib(worker: Worker) -> float:
    """The most that a process has held in memory so far."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_does_not_grow_with_a_transaction(pair: Pair) -> None:
    pair.source.run(
        "create table public.item (id int primary key, name text, price numeric)",
        "insert into public.item select i, repeat('x', 100), i from generate_series(1, 1000) i",
    )
    road = Road(pair)
    try:
        capture, apply = road.to_streaming()
        # Small changes first: what remains is what the size of a transaction adds.
        pair.source.run("update public.item set price = price + 1")
        road.caught_up(apply)
        before = {worker.name: peak_mib(worker) for worker in (capture, apply)}
        pair.source.run(
            "begin;"
            f" insert into public.item select i, repeat('x', 150), i from generate_series(1001, {ROWS}) i;"
            " update public.item set price = price + 1 where id % 3 = 0;"
            " delete from public.item where id % 10 = 0; commit"
        )
        road.caught_up(apply)
        after = {worker.name: peak_mib(worker) for worker in (capture, apply)}
    finally:
        road.close()

    for name, mib in after.items():
        print(f"{name}: {before[name]:.0f} MiB, {mib:.0f} MiB with {ROWS:,} rows in a transaction")
    assert max(after.values()) < MOST_MIB
    query = "select count(*), sum(id), sum(price) from public.item"
    assert pair.source.rows(query) == pair.target.rows(query)
