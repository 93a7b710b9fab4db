"""What is made of samples: medians, spread, ratios, and whether a floor is met. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OURS = "bowline"


@dataclass(frozen=True, slots=True)
class Bar:
    """What a measure must reach (floor), and what it should (goal), as a ratio to the best peer."""

    floor: float
    goal: float
    less_is_better: bool = False

    def met(self, ratio: float, bound: float) -> bool:
        return ratio <= bound if self.less_is_better else ratio >= bound


@dataclass(frozen=True, slots=True)
class Series:
    """One contender's samples, a round each."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """The distance of the farthest sample from the median, in parts of it."""
        middle = self.median
        return max(abs(value - middle) for value in self.values) / middle if middle else math.nan


@dataclass(kw_only=True)
class Result:
    """One comparison: the same work by each contender, in rounds."""

    name: str
    unit: str
    bar: Bar | None = None
    samples: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    aside: frozenset[str] = frozenset()  #: contenders that are shown, and decide nothing
    failure: str = ""  #: why there is no verdict, or none to trust

    def add(self, contender: str, value: float) -> None:
        self.samples.setdefault(contender, []).append(value)

    @property
    def series(self) -> Mapping[str, Series]:
        return {name: Series(tuple(values)) for name, values in self.samples.items() if values}

    @property
    def peers(self) -> Sequence[str]:
        return [name for name in self.series if name != OURS and name not in self.aside]

    @property
    def best_peer(self) -> str:
        """The peer that is hardest to beat."""
        pick = min if self.bar and self.bar.less_is_better else max
        return pick(self.peers, key=lambda name: self.series[name].median)

    @property
    def ratio(self) -> float | None:
        """Ours to the best peer's: of medians, so that one disturbed round decides nothing."""
        if OURS not in self.series or not self.peers:
            return None
        theirs = self.series[self.best_peer].median
        return self.series[OURS].median / theirs if theirs else None

    @property
    def verdict(self) -> str:
        if self.failure:
            return "FAILED"
        if self.bar is None or self.ratio is None:
            return ""
        if not self.bar.met(self.ratio, self.bar.floor):
            return "BELOW FLOOR"
        return "goal met" if self.bar.met(self.ratio, self.bar.goal) else "floor met"

    @property
    def is_held(self) -> bool:
        return self.verdict not in ("FAILED", "BELOW FLOOR")


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest value that `part` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
