"""The commands that need no runner, and how they fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bowline_operator.cli import main
from bowline_operator.state import StateDir
from bowline_operator.status import (
    Condition,
    ConditionType,
    Phase,
    Status,
    Truth,
)
from bowline_operator.waiting import awaited
from bowline_worker.contract import BadConfig

MANIFEST = """\
apiVersion: bowline.dev/v1alpha1
kind: DatabaseMigration
metadata: {name: shop}
spec:
  source: {engine: PostgreSQL, host: a, database: shop, credentialsSecretRef: {name: s}}
  target: {engine: PostgreSQL, host: b, database: shop, credentialsSecretRef: {name: s}}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {username: bowline, password: one}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "m.yaml"
    path.write_text(MANIFEST)
    return path


def bowline(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_help_documents_the_exit_codes() -> None:
    told = bowline("--help").output

    assert "Exit codes: 0 done" in told
    assert "130" in told


def test_validate_accepts_the_short_manifest(manifest: Path) -> None:
    done = bowline("validate", manifest)

    assert done.exit_code == 0
    assert "migration shop is valid" in done.output


def test_validate_names_every_wrong_field(manifest: Path) -> None:
    manifest.write_text(MANIFEST.replace("spec:", "spec:\n  suspnd: true\n  phase: Cut"))
    done = bowline("validate", manifest)

    assert done.exit_code == 1
    assert "spec.suspnd: unknown field, did you mean suspend?" in done.output
    assert "spec.phase: must be one of" in done.output


def test_validate_names_what_this_version_cannot_do(manifest: Path) -> None:
    manifest.write_text(MANIFEST.replace("spec:", "spec:\n  cutover: {rehearsal: true}"))
    done = bowline("validate", manifest)

    assert done.exit_code == 1
    assert "spec.cutover.rehearsal: not supported by this version" in done.output


def test_run_with_a_bad_file_ends_with_64_and_without_a_trace(manifest: Path) -> None:
    manifest.write_text("nothing: here\n")
    done = bowline("run", manifest)

    assert done.exit_code == 64
    assert "0 documents of kind DatabaseMigration" in done.output


def test_phase_takes_any_case_and_tells_what_changed(manifest: Path) -> None:
    done = bowline("phase", manifest, "cutover")

    assert done.exit_code == 0
    assert done.output.endswith("spec.phase Replicate -> Cutover\n")
    assert "\n  phase: Cutover\n  source:" in manifest.read_text()


def test_an_unknown_phase_is_wrong_usage(manifest: Path) -> None:
    assert bowline("phase", manifest, "Backwards").exit_code == 2


def test_status_of_a_migration_that_never_ran_says_so(manifest: Path) -> None:
    done = bowline("status", manifest)

    assert done.exit_code == 0
    assert "bowline run was never started here" in done.output
    assert "Pending" in done.output


def test_status_while_no_runner_is_alive_calls_nothing_caught_up(manifest: Path) -> None:
    state = StateDir(manifest.parent / ".bowline" / "shop")
    with state.lock("shop"):
        pass
    conditions = [
        Condition(type=ConditionType.CAUGHT_UP, status=Truth.TRUE, reason="LagMeasured"),
        Condition(type=ConditionType.SCHEMA_READY, status=Truth.TRUE, reason="SchemaReady"),
    ]
    state.write_status(Status(phase=Phase.STREAMING, conditions=conditions))
    rows = {
        line.split()[0]: line for line in bowline("status", manifest).output.splitlines() if line
    }

    assert "Unknown" in rows["CaughtUp"]
    assert "True" in rows["SchemaReady"]


def test_status_without_a_file_needs_exactly_one_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = bowline("status")

    assert done.exit_code == 64
    assert "0 migrations have state" in done.output


def test_wait_ends_with_1_and_says_how_it_stands(manifest: Path) -> None:
    done = bowline("wait", manifest, "--for=phase=Streaming", "--timeout=300ms")

    assert done.exit_code == 1
    assert "timed out waiting for phase=Streaming: phase is Pending" in done.output
    assert "never started" in done.output


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("phase=streaming", "phase=Streaming"),
        ("condition=caughtup", "condition=CaughtUp=True"),
        ("condition=Stalled=false", "condition=Stalled=False"),
    ],
)
def test_what_is_waited_for_may_be_written_in_any_case(text: str, shown: str) -> None:
    assert str(awaited(text)) == shown


@pytest.mark.parametrize("text", ["phase", "phase=Streeming", "condition=CaughtDown", "jsonpath=x"])
def test_what_cannot_come_is_not_waited_for(text: str) -> None:
    with pytest.raises(BadConfig):
        awaited(text)


def test_a_condition_of_an_older_spec_does_not_count() -> None:
    condition = Condition(
        type=ConditionType.CAUGHT_UP, status=Truth.TRUE, reason="x", observed_generation=3
    )
    status = Status(conditions=[condition])

    assert awaited("condition=CaughtUp").holds(status, generation=3)
    assert not awaited("condition=CaughtUp").holds(status, generation=4)


def test_an_absent_stall_counts_as_false() -> None:
    ready = Condition(type=ConditionType.READY, status=Truth.TRUE, reason="x")
    status = Status(observed_generation=1, conditions=[ready])

    assert awaited("condition=Stalled=False").holds(status, generation=1)
    assert not awaited("condition=Stalled=False").holds(Status(), generation=1)


def test_grants_are_printed_for_one_side_and_taken_back() -> None:
    words = ("grants", "--engine", "postgresql", "--side", "source", "--user", "mover")
    given, taken = bowline(*words), bowline(*words, "--revoke")

    assert given.exit_code == 0
    assert "mover" in given.output
    assert given.output != taken.output
    assert "drop role" in taken.output.lower()


def test_grants_for_oracle_are_for_its_clients() -> None:
    words = ("grants", "--engine", "oracle", "--side", "source", "--user", "mover")
    given, on_rds = bowline(*words), bowline(*words, "--rds")

    assert given.exit_code == on_rds.exit_code == 0
    assert 'create user "MOVER"' in given.output
    assert "rdsadmin" not in given.output
    assert "rdsadmin.rdsadmin_util" in on_rds.output
    assert "account lock" in bowline(*words, "--revoke").output


def test_grants_for_an_oracle_target_are_refused() -> None:
    done = bowline("grants", "--engine", "oracle", "--side", "target")

    assert done.exit_code == 64
    assert "can't be the target" in done.output


def test_rds_is_for_oracle_alone() -> None:
    done = bowline("grants", "--engine", "postgresql", "--side", "source", "--rds")

    assert done.exit_code == 2
