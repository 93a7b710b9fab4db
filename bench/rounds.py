"""Rounds: every contender does the same work once a round, one after the other, never two at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.arena import Arena
from bench.figures import Result

Contender = Callable[[], float | None]  #: None: this one has nothing to compare


@dataclass(kw_only=True)
class Setting:
    """What all measures share."""

    arena: Arena
    rounds: int
    size: float  #: of the work: 1.0 is what the defaults are made for
    deadline: float  #: of the whole bench, of time.monotonic()
    tell: Callable[[str], None]
    publish: Callable[[], None] = lambda: None  #: writes what there is so far
    only: frozenset[str] = frozenset()  #: `measure` or `measure:part`; empty: all
    results: list[Result] = field(default_factory=list)
    tables: list[Extra] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return self.arena.directory

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.deadline

    def wants(self, measure: str, part: str = "") -> bool:
        """Tell whether it was asked for, and there is time: a measure that has none left has failed."""
        if not self._is_asked(measure, part):
            return False
        if self.is_over:
            name = f"{measure}: {part}" if part else measure
            self.results.append(Result(name=name, unit="", failure="time was up before it began"))
            return False
        return True

    def _is_asked(self, measure: str, part: str) -> bool:
        if not self.only or measure in self.only:
            return True
        if part:
            return f"{measure}:{part}" in self.only
        return any(each.startswith(f"{measure}:") for each in self.only)

    @contextmanager
    def part(self, result: Result) -> Iterator[Result]:
        """A measure's part: what goes wrong in it is its own failure, and the next one goes on."""
        self.results.append(result)
        try:
            yield result
        except Exception as error:  # whatever it is, it is told
            result.failure = f"{type(error).__name__}: {error}"
            self.tell(f"  {result.name}: {result.failure}")
        self.publish()

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Work that is not compared: only its failure makes a result."""
        result = Result(name=name, unit="")
        with self.part(result):
            yield
        if not result.failure:
            self.results.remove(result)


@dataclass(kw_only=True)
class Extra:
    """A table that is printed and has no floor."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compete(setting: Setting, result: Result, contenders: Mapping[str, Contender]) -> None:
    """Let each have its turn in each round; the order turns too, so that none always follows the same one."""
    names = list(contenders)
    for number in range(setting.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            value = contenders[name]()
            if value is None:
                continue
            result.add(name, value)
            setting.tell(f"  {result.name}: round {number + 1}, {name}: {value:,.4g} {result.unit}")
        setting.publish()
        if setting.is_over and number + 1 < setting.rounds:
            result.failure = f"time was up after {number + 1} of {setting.rounds} rounds"
            return
