"""Positions as they were written down in another engine's database: each is read as its origin's."""

from __future__ import annotations

from typing import assert_never

from bowline_worker.contract import Engine, Unsafe
from bowline_worker.model import Position


def position(engine: Engine, text: str) -> Position:
    """Make the position of an LSN or SCN that an origin of that engine gave. Unsafe where it is none."""
    try:
        match engine:
            case Engine.POSTGRESQL | Engine.YUGABYTEDB:
                from bowline_worker.endpoints.postgres.frames import position_from

                return position_from(text)
            case Engine.ORACLE:
                from bowline_worker.endpoints.oracle.position import at_scn

                return at_scn(int(text))
            case _:
                assert_never(engine)
    except ValueError as error:
        raise Unsafe(
            f"the position {text!r} is none of {engine}",
            reason="PositionDamaged",
            hint="it is another migration's, or of another engine; start the migration anew",
        ) from error
