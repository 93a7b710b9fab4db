"""All cases, of all modules beside this one that have `CASES`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from endpoints.carried import Case, How, Kind


def _found() -> Sequence[Case]:
    modules = sorted(path.stem for path in Path(__file__).parent.glob("*.py"))
    cases: list[Case] = []
    for name in modules:
        if name != Path(__file__).stem:
            cases += importlib.import_module(f"endpoints.cases.{name}").CASES
    return sorted(cases, key=lambda case: list(Kind).index(case.kind))


CASES = _found()
CARRIED = [case for case in CASES if case.how is not How.REFUSED]
REFUSED = [case for case in CASES if case.how is How.REFUSED]
