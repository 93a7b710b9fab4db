"""What a switch checks on both sides before it goes on, and what it forgets when it is over."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path

from bowline_worker.comparing import compare
from bowline_worker.contract import Side, TryAgain, VerifyReport
from bowline_worker.endpoints.base import Endpoint
from bowline_worker.journal import shapes

NAMED = 5  #: tables named in a message: the report holds them all


def shapes_difference(one: Endpoint, other: Endpoint) -> str:
    """Say which selected tables have another shape on the other side; empty: none."""
    if one.fingerprint() == other.fingerprint():
        return ""
    here, there = (shapes.describe(side.shapes(), side.tables()) for side in (one, other))
    tables = sorted(
        name for name in here.keys() | there.keys() if here.get(name) != there.get(name)
    )
    where = ", ".join(tables[:NAMED]) or "the parents of partitions"
    return f"table shapes differ between {one.side} and {other.side}: {where}"


def schema_difference(loser: Endpoint, winner: Endpoint) -> str:
    """Say what of the selected tables no stream could carry over; empty: nothing."""
    if difference := shapes_difference(loser, winner):
        return difference
    lone = loser.unstreamed()
    return f"not in the stream from the {loser.side}: {', '.join(lone[:NAMED])}" if lone else ""


def compare_behind_fence(
    source: Endpoint, target: Endpoint, *, parallelism: int, stop: threading.Event
) -> VerifyReport:
    """Compare all rows once: nothing moves, so one look is exact. TryAgain where `stop` ended it."""
    found = compare(source, target, parallelism=parallelism, stop=stop, looks=1)
    if found.equal is None:
        raise TryAgain("the comparison was stopped", reason="Stopped")
    return found.model_copy(update={"behind_fence": True})


def rows_difference(found: VerifyReport) -> str:
    """Say which tables' rows differ; empty: none."""
    unequal = [table for table in found.tables if not table.equal]
    return "; ".join(f"{table.name}: {table.detail}" for table in unequal[:NAMED])


def forget_journals(journal: str, origin: Side, below: int) -> None:
    """Remove the journals of streams from that side whose number is lower; what can't be removed stays."""
    directory = Path(journal)
    if not journal or not directory.is_dir():
        return
    for each in directory.iterdir():
        found = re.fullmatch(rf"{origin}-(\d+)", each.name)
        if found and int(found[1]) < below and each.is_dir():
            shutil.rmtree(each, ignore_errors=True)
