"""What a switch checks on both sides before it goes on, and what it forgets when it is over."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from bowline_worker.comparing import compare
from bowline_worker.contract import Side, TryAgain, Unsupported, VerifyReport
from bowline_worker.endpoints.base import Endpoint

NAMED = 5  #: tables, or columns, named in a message: the report holds them all

Shape: TypeAlias = dict[str, str]


def shapes_difference(one: Endpoint, other: Endpoint) -> str:
    """Say which selected tables have another shape on the other side, and which columns it is; empty: none."""
    if one.fingerprint() == other.fingerprint():
        return ""
    here, there = (_shapes(side) for side in (one, other))
    found = [
        f"{table}: {difference}"
        for table in sorted(here.keys() | there.keys())
        for difference in _differences((one.side, here.get(table)), (other.side, there.get(table)))
    ]
    more = f", and {len(found) - NAMED} more" if len(found) > NAMED else ""
    where = "; ".join(found[:NAMED]) or "the parents of partitions"
    return f"table shapes differ between {one.side} and {other.side}: {where}{more}"


def _shapes(side: Endpoint) -> dict[str, Shape]:
    """What a fingerprint is made of: per table its columns in order, and the table that it is a partition of."""
    found = {
        str(table): {
            f"column {column.name}": column.whole_type + " generated" * column.generated
            for column in columns
        }
        for table, columns in side.shapes().items()
    }
    for table in side.tables():
        if table.parent is not None and str(table.name) in found:
            found[str(table.name)]["the table"] = f"a partition of {table.parent}"
    return found


def _differences(one: tuple[Side, Shape | None], other: tuple[Side, Shape | None]) -> Iterator[str]:
    (here, mine), (there, theirs) = one, other
    if mine is None or theirs is None:
        yield f"is not on the {here if mine is None else there}"
        return
    for what in [*mine, *(each for each in theirs if each not in mine)]:
        if what not in theirs:
            yield f"{what} is {mine[what]} on the {here} alone"
        elif what not in mine:
            yield f"{what} is {theirs[what]} on the {there} alone"
        elif mine[what] != theirs[what]:
            yield f"{what} is {mine[what]} on the {here}, and {theirs[what]} on the {there}"
    if mine == theirs and list(mine) != list(theirs):
        yield f"the columns are in another order on the {there}"


def require_equal_shapes(one: Endpoint, other: Endpoint) -> None:
    """Unsupported (SchemaDiffers) where a selected table has another shape on the other side."""
    if difference := shapes_difference(one, other):
        raise Unsupported(
            difference, reason="SchemaDiffers", hint="give both sides the same columns and types"
        )


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
