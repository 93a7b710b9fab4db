"""Every type, shape and change goes over and comes back: one walk, and a test for each case of it.

`make conformance ENDPOINT=postgresql` prints the table of them; `make docs-carried` writes it to docs/postgresql.md.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bowline_worker.contract import Severity, Side
from bowline_worker.endpoints.postgres import PostgresEndpoint
from endpoints.carried import Case, How
from endpoints.cases.every import CARRIED, CASES, REFUSED
from endpoints.page import PAGES, lines, written
from endpoints.walk import LEGS, SETTINGS, Sides, Walked, make

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

#: What may be refused; anything else must be carried.
REFUSABLE = {"LargeObjects", "Unlogged", "Temporary", "Inheritance"}


def titles(case: Case) -> str:
    return f"{case.kind}: {case.name}"


@pytest.mark.parametrize("case", CARRIED, ids=titles)
def test_it_goes_over_and_comes_back(
    case: Case, walked: Walked, record_property: Callable[[str, object], None]
) -> None:
    record_property("case", case.name)

    assert walked.failed.get(case.name) is None
    for leg in LEGS:
        found = walked.found.get((leg, case.name))
        assert found is not None, f"the walk broke before {leg}: {walked.broken}"
        for query, rows in found.source.items():
            assert rows == found.target[query], leg
            assert rows, f"{leg}: nothing to compare"
    assert set(walked.unequal).isdisjoint(case.tables)


@pytest.mark.parametrize("case", REFUSED, ids=titles)
def test_it_is_refused_by_name(
    case: Case, sides: Sides, record_property: Callable[[str, object], None]
) -> None:
    record_property("case", case.name)
    with sides() as pair:
        make(pair.source, case)
        endpoints = {side: PostgresEndpoint(pair.config(**SETTINGS), side) for side in Side}
        findings = endpoints[Side.SOURCE].assess(other=endpoints[Side.TARGET])

    assert case.reason in REFUSABLE
    blocking = [each for each in findings if each.severity is Severity.ERROR]
    said = [each.message for each in blocking if each.reason == case.reason]
    for name in case.tables:
        assert any(name.replace('"', "") in message for message in said), findings


def test_the_comparison_agrees_with_the_contents(walked: Walked) -> None:
    assert walked.broken == ""
    assert walked.unequal == []


def test_no_two_cases_have_one_name_or_one_table() -> None:
    names = [case.name for case in CASES]
    tables = [table for case in CASES if case.how is not How.REFUSED for table in case.tables]

    assert len(set(names)) == len(names)
    assert len(set(tables)) == len(tables)


@pytest.mark.parametrize("engine", PAGES)
def test_the_page_says_what_is_carried(engine: str) -> None:
    assert written(PAGES[engine]) == lines(CASES)
