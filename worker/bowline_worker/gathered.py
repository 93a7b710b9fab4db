"""What a decoder may do beside decoding: fold a span of ordinary changes while it reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from bowline_worker.endpoints.base import TableBatch
from bowline_worker.fold import Shape
from bowline_worker.lanes import Spread
from bowline_worker.model import Position, TableName, Transaction


@dataclass(slots=True)
class Ready:
    """One lane's part of a span, folded."""

    batches: list[TableBatch] = field(default_factory=list)
    events: int = 0  #: changes that were folded


@dataclass(frozen=True, slots=True)
class Gathered:
    """A span of whole transactions."""

    signals: list[Transaction]  #: those that hold signals, without their changes
    position: Position  #: of the last one
    commits: list[float]  #: commit times at the origin
    lanes: list[Ready]


class Rules(Protocol):
    """By what the changes of a stream are chosen: see sift.Sieve."""

    @property
    def shapes(self) -> Mapping[TableName, Shape]: ...
    @property
    def positions(self) -> Mapping[TableName, Position] | None: ...


@runtime_checkable
class Gatherer(Protocol):
    """A decoder that can fold what is ordinary without making a change of each."""

    def gather(self, payload: bytes, rules: Rules, spread: Spread) -> Gathered | None:
        """The same as to decode, sift, assign and fold; None: it is not ordinary, and must go that way."""
        ...
