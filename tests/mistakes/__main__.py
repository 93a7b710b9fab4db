"""`make mistakes`: what people get wrong, what they are told, and that it goes on when it is mended."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from demo.servers import Server

from mistakes.cases import CASES
from mistakes.walk import Case, Told, Wrong, walk

#: Most of a case is waiting for the next look.
AT_ONCE = 4


@contextmanager
def servers_for(case: Case, shared: Mapping[str, Server]) -> Iterator[Mapping[str, Server]]:
    """The shared ones, or some of the case's own where it would disturb others."""
    with ExitStack() as stack:
        own = dict(shared)
        if case.settings is not None:
            own["source"] = stack.enter_context(Server(settings=case.settings))
        if case.own_target:
            own["target"] = stack.enter_context(Server())
        yield own


def tried(case: Case, shared: Mapping[str, Server]) -> Told | Wrong:
    with tempfile.TemporaryDirectory(prefix="bowline-mistake-") as directory:
        try:
            with servers_for(case, shared) as servers:
                return walk(case, servers, Path(directory))
        except Wrong as wrong:
            return wrong


def chosen(name: str) -> Sequence[Case]:
    return [case for case in CASES if name in case.name]


def main() -> int:
    options = argparse.ArgumentParser(prog="make mistakes", description=__doc__)
    options.add_argument("--case", default="", help="only those whose name has these words")
    cases = chosen(options.parse_args().case)
    if not cases:
        print("no such case; there are: " + "; ".join(case.name for case in CASES))
        return 2
    wrong = 0
    with Server() as source, Server() as target, ThreadPoolExecutor(AT_ONCE) as pool:
        shared = {"source": source, "target": target}
        for case, outcome in zip(cases, pool.map(lambda c: tried(c, shared), cases), strict=True):
            is_wrong = isinstance(outcome, Wrong)
            wrong += is_wrong
            shown = (
                str(outcome)
                if isinstance(outcome, Wrong)
                else f"{outcome.reason}: {outcome.message}"
            )
            print(f"{'WRONG' if is_wrong else 'ok   '} {case.name}: {shown}", flush=True)
    print(f"{len(cases) - wrong} of {len(cases)} as they must be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
