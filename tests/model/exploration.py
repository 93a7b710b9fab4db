"""Visit every state of a world, nearest first, and find the shortest way to the first that breaks a promise."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from model.switch_world import Game


@dataclass(frozen=True)
class Explored:
    harm: str  #: the promise that breaks, by its name and how; empty: all hold
    states: int
    way: tuple[str, ...]  #: the moves that lead there

    def __str__(self) -> str:
        steps = "".join(f"\n  {i:3} {label}" for i, label in enumerate(self.way, 1))
        return f"{self.harm or 'all promises hold'} ({self.states} states){steps}"


def explore(game: Game, promise: str = "S") -> Explored:
    """Explore until a state breaks a promise whose name starts so."""
    worlds, number, came = [game.start], {game.start: 0}, [(0, "")]
    before: list[list[int]] = [[]]  # where a move that is no fault and no request comes from
    here = 0
    while here < len(worlds):
        then = worlds[here]
        for label, w in () if then.bad else game.moves(then):
            there = number.setdefault(w, len(worlds))
            if there == len(worlds):
                worlds.append(w)
                before.append([])
                came.append((here, sys.intern(label)))
                harm = game.harm(w)
                if harm and harm.startswith(promise):
                    return Explored(harm, len(worlds), _way(came, there))
            if w.left == then.left:
                before[there].append(here)
        here += 1
    if promise in ("S", "S7"):
        met, todo = bytearray(len(worlds)), [i for i, w in enumerate(worlds) if game.settled(w)]
        while todo:
            i = todo.pop()
            if not met[i]:
                met[i] = 1
                todo.extend(before[i])
        if 0 in met:
            harm = "S7 no settled state can be reached any more"
            return Explored(harm, len(worlds), _way(came, met.find(0)))
    return Explored("", len(worlds), ())


def _way(came: list[tuple[int, str]], at: int) -> tuple[str, ...]:
    labels = []
    while at:
        at, label = came[at]
        labels.append(label)
    return tuple(reversed(labels))
