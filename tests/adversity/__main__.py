"""`make adversity`: what Oracle does to naive readers and appliers, and does not do to Bowline.

One line for each adversity, struck alone, and one for all together. A history is told by its adversity and its seed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adversity.table import CASES, Case, Outcome

HEAD = f"{'adversity':20} {'fired':>6}  {'naive':>7}  {'bowline':>7}  the naive reader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a case came to over all seeds."""

    case: Case
    seeds: int
    fired: int
    naively_wrong: int  #: seeds
    wrong: dict[int, list[str]]  #: Bowline's, by seed
    stopped: int  #: seeds in which Bowline stopped as it should
    slept: tuple[str, ...] = ()  #: readings that the adversity never met

    @property
    def failures(self) -> list[str]:
        """Tell what is not as claimed."""
        found = [f"it never struck while {reader} read" for reader in self.slept]
        if self.case.read_naively is not None and not self.naively_wrong:
            found.append("the naive reader lost nothing")
        if self.case.stops and not self.stopped:
            found.append(f"bowline never stopped with {self.case.stops}")
        return found + [f"bowline, seed {seed}: {wrong[0]}" for seed, wrong in self.wrong.items()]

    def line(self) -> str:
        """Write it as a line of the table."""
        naive = f"{self.naively_wrong}/{self.seeds}" if self.case.read_naively else "-"
        told = self.case.naive or "-"
        if self.case.stops:
            told += f" (bowline stops: {self.case.stops}, {self.stopped}/{self.seeds})"
        bowline = f"{len(self.wrong)}/{self.seeds}"
        return f"{self.case.adversity:20} {self.fired:6}  {naive:>7}  {bowline:>7}  {told}"


def judge(case: Case, seeds: Sequence[int]) -> Verdict:
    """Read each history naively and by Bowline."""
    naive = {seed: case.read_naively(seed) for seed in seeds} if case.read_naively else {}
    mined = {seed: case.read(seed) for seed in seeds}
    return Verdict(
        case=case,
        seeds=len(seeds),
        fired=_fired(naive.values()) + _fired(mined.values()),
        naively_wrong=sum(bool(outcome.wrong) for outcome in naive.values()),
        wrong={seed: outcome.wrong for seed, outcome in mined.items() if outcome.wrong},
        stopped=sum(bool(outcome.stopped) for outcome in mined.values()),
        slept=tuple(
            reader
            for reader, outcomes in (("the naive reader", naive), ("bowline", mined))
            if outcomes and not _fired(outcomes.values())
        ),
    )


def _fired(outcomes: Iterable[Outcome]) -> int:
    return sum(outcome.fired for outcome in outcomes)


def replay(case: Case, seed: int) -> bool:
    """Print one history in full; true if Bowline got it right."""
    print(f"{case.adversity}, seed {seed}")
    if case.read_naively is not None:
        _print(f"the naive reader, which {case.naive}", case.read_naively(seed))
    mined = case.read(seed)
    _print("bowline", mined)
    return not mined.wrong


def _print(reader: str, outcome: Outcome) -> None:
    print(f"  {reader}: struck {outcome.fired} times, {len(outcome.wrong)} wrong")
    for wrong in outcome.wrong:
        print(f"    {wrong}")
    if outcome.stopped:
        print(f"    stopped: {outcome.stopped}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="read histories 1 to this")
    parser.add_argument("--seed", type=int, help="read this one only, and tell all that is wrong")
    names = sorted({case.adversity for case in CASES})
    parser.add_argument("--adversity", choices=names, help="only this one")
    options = parser.parse_args()
    cases = [case for case in CASES if options.adversity in (None, case.adversity)]
    if options.seed is not None:
        right = [replay(case, options.seed) for case in cases]
        sys.exit(0 if all(right) else 1)
    if options.seeds < 1:
        parser.error("--seeds must be 1 or more")
    sys.exit(0 if tell(cases, range(1, options.seeds + 1)) else 1)


def tell(cases: Sequence[Case], seeds: Sequence[int]) -> bool:
    """Print the table; true if everything is as claimed."""
    began = time.monotonic()
    failures = 0
    print(HEAD, flush=True)
    for case in cases:
        verdict = judge(case, seeds)
        print(verdict.line(), flush=True)
        for failure in verdict.failures:
            print(f"  NOT as claimed: {failure}", flush=True)
        for seed in verdict.wrong:
            print(f"  replay: make adversity ADVERSITY={case.adversity} SEED={seed}", flush=True)
        failures += bool(verdict.failures)
    took = time.monotonic() - began
    print(f"{len(seeds)} seeds, {took:.0f} s, {failures} of {len(cases)} not as claimed")
    return not failures


if __name__ == "__main__":
    main()
