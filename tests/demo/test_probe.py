"""What the demo measures and claims, from what it has seen."""

from __future__ import annotations

import io
import json

import pytest
from demo.checker import Verdict
from demo.control import documents
from demo.probe import Sample, delays, quantile
from demo.record import Operation, Outcome, Record
from demo.report import Window

from demo import claims, remains
from servers import APPLICATION, Database


def test_a_delay_is_the_age_of_the_oldest_transaction_that_is_not_shown() -> None:
    record = Record(
        {
            (1, n): Operation(1, n, "op", "source", n - 0.1, outcome, float(n))
            for n, outcome in ((1, Outcome.OK), (2, Outcome.FAILED), (3, Outcome.OK))
        }
    )

    found = delays([Sample(2.5, {1: 1}), Sample(3.5, {1: 1}), Sample(4.0, {1: 3})], record)
    assert found == [0.0, 0.5, 0.0]


def test_a_quantile_of_nothing_is_unknown() -> None:
    assert quantile([], 0.99) is None
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3.0


def test_a_slow_phase_is_named() -> None:
    windows = [Window("fast", 0, 2, 1200), Window("slow", 0, 2, 600)]

    assert claims.fast_enough(windows, 500).wrong == ["slow: 300"]


def test_only_the_fence_and_contention_explain_a_failure() -> None:
    record = Record(
        {
            (1, n): Operation(1, n, "op", "source", 0, Outcome.FAILED, 1, sqlstate)
            for n, sqlstate in enumerate(("25006", "40P01", "", "23505"))
        }
    )

    assert claims.no_surprises(record).wrong == ["op: 23505"]


def test_a_statement_is_ended_at_a_fence_and_nowhere_else() -> None:
    told = [
        (1, "source", Outcome.OK, 100.0, ""),
        (2, "source", Outcome.FAILED, 103.0, "57014"),
        (3, "target", Outcome.OK, 104.0, ""),
    ]
    record = Record(
        {(1, n): Operation(1, n, "op", side, 0, *rest) for n, side, *rest in told}  # type: ignore[arg-type]
    )
    assert claims.no_surprises(record).held

    record.operations[1, 4] = Operation(1, 4, "op", "target", 0, Outcome.FAILED, 200.0, "57014")
    assert claims.no_surprises(record).wrong == ["op: 57014"]


def test_indented_documents_are_taken_apart() -> None:
    wanted = [{"status": {"phase": "Pending"}}, {"status": {"phase": "Streaming", "list": [{}]}}]
    stream = io.StringIO("".join(json.dumps(each, indent=2) + "\n" for each in wanted))

    assert list(documents(stream)) == wanted


def test_an_accepted_stray_write_breaks_the_claim(database: Database) -> None:
    database.run(
        "create table public.page_views (path text, at timestamp)",
        f"grant insert on public.page_views to {APPLICATION}",
    )
    password = database.server.password
    verdict = Verdict("refused")
    claims.is_refused(verdict, "target", database.server.dsn(database.name, APPLICATION, password))

    assert not verdict.held
    assert database.value("select count(*) from public.page_views") == 0


@pytest.mark.parametrize(
    ("left", "what"),
    [
        ("create schema bowline", "schema bowline"),
        ("create publication bowline_1", "publication bowline_1"),
        ("select pg_create_logical_replication_slot('bowline_1', 'pgoutput')", "slot bowline_1"),
        ("alter table public.t replica identity full", "replica identity f of t"),
    ],
)
def test_whatever_is_left_behind_is_found(database: Database, left: str, what: str) -> None:
    database.run("create table public.t (n int)")
    before = remains.remains(database.server, database.name)
    database.run(left)

    assert before == []
    assert remains.remains(database.server, database.name) == [what]
