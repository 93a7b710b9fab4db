"""What a manifest may say, and how a wrong one is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bowline_operator.api import DatabaseMigration, Part, Spec, unsupported
from bowline_operator.durations import format_duration, parse_duration, quantity_bytes
from bowline_operator.jobs import JobSpec, Places, config_for, family, job_name
from bowline_operator.validation import immutable_changes, read_resource
from bowline_worker.contract import Engine, Role, Side
from plan_world import a_resource, a_spec


def a_manifest(**spec: Any) -> dict[str, Any]:
    raw = a_spec().model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {
        "apiVersion": "bowline.dev/v1alpha1",
        "kind": "DatabaseMigration",
        "metadata": {"name": "shop"},
        "spec": raw | spec,
    }


def errors(**spec: Any) -> list[str]:
    return [str(error) for error in read_resource(a_manifest(**spec))[1]]


def test_the_short_manifest_is_enough_and_everything_else_has_a_default() -> None:
    resource, wrong = read_resource(a_manifest())

    assert wrong == ()
    assert resource is not None
    assert resource.spec.cutover.max_lag == timedelta(seconds=10)
    assert resource.spec.cutover.budget == timedelta(minutes=1)
    assert resource.spec.phase == "Replicate"


def test_a_misspelt_field_is_named_with_its_path_and_the_right_word() -> None:
    assert errors(cutover={"falback": False}) == [
        "spec.cutover.falback: unknown field, did you mean fallback?"
    ]


def test_a_misspelt_phase_is_told_with_the_right_one() -> None:
    assert errors(phase="cutover") == [
        "spec.phase: must be one of Assess, Schema, Replicate, Cutover, Switchover, Complete, "
        "did you mean Cutover?"
    ]


def test_all_errors_are_told_at_once() -> None:
    found = errors(stream={"lanes": 0}, source={"engine": "PostgreSQL", "host": "h"}, suspend="yes")

    assert [line.split(":")[0] for line in found] == [
        "spec.source.credentialsSecretRef",
        "spec.stream.lanes",
        "spec.suspend",
    ]


@pytest.mark.parametrize(
    ("database", "message"),
    [
        ({"engine": "PostgreSQL"}, "database is required"),
        ({"engine": "PostgreSQL", "sid": "X", "database": "d"}, "sid: only for engine Oracle"),
        ({"engine": "Oracle"}, "needs exactly one of serviceName, sid and tnsAlias"),
        ({"engine": "Oracle", "sid": "A", "serviceName": "B"}, "needs exactly one of"),
    ],
)
def test_each_engine_is_named_its_own_way(database: dict[str, str], message: str) -> None:
    found = errors(source={"host": "h", "credentialsSecretRef": {"name": "s"}} | database)

    assert len(found) == 1
    assert found[0].startswith(f"spec.source: {message}")


def test_yugabytedb_has_its_own_defaults() -> None:
    resource, _ = read_resource(
        a_manifest(
            target={"engine": "YugabyteDB", "host": "y", "credentialsSecretRef": {"name": "s"}}
        )
    )

    assert resource is not None
    assert resource.spec.target.resolved_port == 5433
    assert resource.spec.target.resolved_database == "yugabyte"


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25)]
)
def test_durations_are_read_and_written_back_the_same(text: str, seconds: float) -> None:
    value = parse_duration(text)

    assert value == timedelta(seconds=seconds)
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == value


@pytest.mark.parametrize("text", ["10", "s", "", "10 s", "-5s", 10, None])
def test_a_duration_without_a_unit_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_sizes_are_binary_or_decimal_as_written() -> None:
    assert quantity_bytes("10Gi") == 10 << 30
    assert quantity_bytes("10G") == 10**10


def test_what_this_version_cannot_do_is_named() -> None:
    spec = a_spec(journal={"retention": "Archive"}, cutover={"rehearsal": True})

    assert unsupported(spec) == ["spec.journal.retention: Archive", "spec.cutover.rehearsal"]


def test_rows_of_a_target_are_deleted_only_where_its_tables_are_the_users() -> None:
    truncate = {"targetNotEmpty": "Truncate"}
    assert unsupported(a_spec(snapshot=truncate, schema={"mode": "Existing"})) == []
    with pytest.raises(ValueError, match=r"only with schema\.mode Existing"):
        a_spec(snapshot=truncate)

    (refused,) = unsupported(
        a_spec(snapshot={"targetNotEmpty": "AppendIfEqual"}, schema={"mode": "Existing"})
    )
    assert refused.startswith("spec.snapshot.targetNotEmpty: AppendIfEqual")


def test_oracle_is_a_source_whose_schema_is_there() -> None:
    """Its schema is not converted, and no snapshot is written into it."""
    place = {"engine": "Oracle", "host": "ora", "serviceName": "SHOP"}
    oracle = {**place, "credentialsSecretRef": {"name": "ora"}}

    assert unsupported(a_spec(source=oracle, schema={"mode": "Existing"})) == []
    assert len(unsupported(a_spec(source=oracle))) == 1
    assert "spec.schema.mode: Migrate" in unsupported(a_spec(source=oracle))[0]
    assert unsupported(a_spec(target=oracle)) == ["spec.target.engine: Oracle"]


def test_another_host_is_another_migration_and_more_lanes_are_not() -> None:
    old = a_resource(a_spec())
    moved = a_spec().model_dump(by_alias=True)["source"] | {"host": "elsewhere"}

    assert immutable_changes(old, a_resource(a_spec(source=moved))) == ["spec.source"]
    assert immutable_changes(old, a_resource(a_spec(stream={"lanes": 9}))) == []


def test_every_field_has_a_description() -> None:
    def walk(model: type[Part]) -> list[str]:
        missing = []
        for name, field in model.model_fields.items():
            if not field.description:
                missing.append(f"{model.__name__}.{name}")
            if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
                missing += walk(field.annotation)
        return missing

    assert walk(Spec) == []


def test_a_newer_field_does_not_crash_an_older_operator() -> None:
    raw = a_manifest(newField=1)

    assert DatabaseMigration.model_validate(raw).spec.phase == "Replicate"


# --- jobs ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (family(Role.ASSESS), "shop-assess-1"),
        (family(Role.APPLY, origin=Side.TARGET, number=3), "shop-apply-target-3-1"),
        (family(Role.CUTOVER, number=2), "shop-cutover-2-1"),
    ],
)
def test_a_job_is_named_after_what_it_is_for(name: str, expected: str) -> None:
    assert job_name("shop", name, 1) == expected


def test_a_long_name_is_cut_and_stays_its_own() -> None:
    first, second = (job_name("a" * 50 + end, "capture-source-0", 12) for end in "xy")

    assert len(first) <= 52
    assert first != second


def test_a_config_says_what_the_spec_says() -> None:
    job = JobSpec(
        name="shop-cutover-2-1",
        family="cutover-2",
        role=Role.CUTOVER,
        try_=1,
        attempt=2,
        loser=Side.TARGET,
        fallback=False,
    )
    places = Places(source_credentials="/s", target_credentials="/t", journal="/j", work_dir="/w")
    resource = a_resource(
        a_spec(cutover={"verify": "Off", "budget": "90s"}, journal={"volume": {"size": "10Gi"}})
    )
    config = config_for(job, resource, uid="u", places=places)

    assert (config.migration, config.attempt, config.loser) == ("default.shop", 2, Side.TARGET)
    assert (config.verify, config.fallback, config.budget) == (False, False, timedelta(seconds=90))
    assert config.include == ["public.*"]
    assert config.journal_max_bytes == 8 << 30
    assert config.source.engine is Engine.POSTGRESQL
    assert config.source.port == 5432


@pytest.mark.parametrize(
    ("affinity", "mode", "fits"),
    [
        ({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}, "ReadWriteOnce", False),
        ({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}, "ReadWriteMany", True),
        ({"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{}]}}, "ReadWriteOnce", True),
        ({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}, "ReadWriteOnce", True),
        ({"podAffinity": None}, "ReadWriteOnce", True),
    ],
)  # fmt: skip
def test_workers_that_no_node_might_ever_fit_are_refused_before_they_wait_for_one(
    affinity: dict[str, Any], mode: str, fits: bool
) -> None:
    found = errors(worker={"affinity": affinity}, journal={"volume": {"accessMode": mode}})

    assert (found == []) is fits, found
    assert fits or "can't be required with journal.volume.accessMode ReadWriteOnce" in found[0]
