"""A termination message always fits, and what is cut is never what decides."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowline_worker.contract import (
    ChangedValues,
    Exit,
    Failure,
    Finding,
    FoundSide,
    Report,
    Role,
    Severity,
    Side,
    SnapshotReport,
    StreamReport,
    TableProgress,
    TableVerdict,
    VerifyReport,
)
from bowline_worker.last_word import last_word

LIMIT = 4096
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def report(**change: object) -> Report:
    fixed = Report(
        job="shop-assess-1", job_uid="1" * 36, role=Role.ASSESS, started_at=NOW, observed_at=NOW
    )
    return fixed.model_copy(update=change)


def finding(severity: Severity, number: int) -> Finding:
    return Finding(
        severity=severity,
        reason="NoKey",
        side=Side.SOURCE,
        object=f"public.table_{number}",
        message="a table without a key is one lane's",
        remedy="give it one",
    )


def read(text: str) -> Report:
    assert len(text.encode()) <= LIMIT
    return Report.model_validate_json(text)


def test_what_fits_is_left_as_it_is() -> None:
    whole = report(findings=[finding(Severity.NOTE, 1)], message="assessed")

    assert read(last_word(whole, LIMIT)) == whole


def test_without_a_limit_nothing_is_cut() -> None:
    whole = report(findings=[finding(Severity.NOTE, number) for number in range(500)])

    assert Report.model_validate_json(last_word(whole, None)) == whole


@given(
    st.lists(st.sampled_from(list(Severity)), max_size=400),
    st.integers(0, 300),
)
def test_a_blocking_finding_is_never_lost(severities: list[Severity], tables: int) -> None:
    """An assessment whose errors were cut away would be taken for one without any."""
    whole = report(
        findings=[finding(severity, number) for number, severity in enumerate(severities)],
        found={side: FoundSide() for side in Side},
        left_behind=[f"target: something that stays, number {number}" for number in range(tables)],
        snapshot=SnapshotReport(tables=[TableProgress(name=f"public.t{n}") for n in range(tables)]),
    )

    kept = read(last_word(whole, LIMIT))

    assert set(kept.found) == set(Side)
    gravest = {each.severity for each in kept.findings}
    assert (Severity.ERROR in gravest) == (Severity.ERROR in severities)
    if len(kept.findings) < len(severities):
        assert kept.findings[-1].reason == "MoreFindings"


def test_the_tables_that_differ_are_kept_first() -> None:
    tables = [
        TableVerdict(name=f"public.table_{n}", source_rows=n, target_rows=n, equal=n != 250)
        for n in range(300)
    ]
    whole = report(verify=VerifyReport(tables=tables, equal=False))

    kept = read(last_word(whole, LIMIT))

    assert kept.verify is not None
    assert kept.verify.equal is False
    assert kept.verify.tables[0].name == "public.table_250"


@pytest.mark.parametrize("length", [10, 3000, 20_000])
def test_a_failure_is_told_however_long_it_is(length: int) -> None:
    failure = Failure(
        exit_code=Exit.UNSAFE, reason="RowMissing", message="x" * length, hint="y" * length
    )

    kept = read(last_word(report(failure=failure, message="x" * length), LIMIT))

    assert kept.failure is not None
    assert (kept.failure.reason, kept.failure.exit_code) == ("RowMissing", Exit.UNSAFE)
    assert kept.failure.message.startswith("x" * 10)


def test_many_changed_values_do_not_cut_why_the_applier_ended() -> None:
    changed = [
        ChangedValues(table="SHOP.ITEM", column=f"COLUMN_{n}", kind="empty", values=n)
        for n in range(100)
    ]
    stream = StreamReport(origin=Side.TARGET, number=1, changed_values=changed, changed_total=4950)
    failure = Failure(exit_code=Exit.UNSUPPORTED, reason="ValueRefused", message="m" * 500)

    short = read(last_word(report(stream=stream, failure=failure), LIMIT))

    assert short.failure == failure
    assert short.stream is not None
    assert short.stream.changed_total == 4950
