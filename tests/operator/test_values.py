"""What the spec says of values that Oracle can't hold reaches the workers, and what was changed is told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from bowline_operator.api import Spec
from bowline_operator.figures import REMEMBERED_CHANGES, copy_figures
from bowline_operator.jobs import JobSpec, Places, config_for, family, settings_digest
from bowline_operator.news import news
from bowline_operator.observed import Job, Observed
from bowline_operator.render import table
from bowline_operator.status import JobState, JobStatus, Primary, Status, StreamStatus
from bowline_operator.validation import read_resource
from bowline_worker.contract import (
    ChangedValues,
    Exit,
    Flow,
    NullAnswer,
    Report,
    Role,
    Side,
    StreamReport,
    ValueAnswer,
)
from plan_world import World, a_resource, a_spec

NOW = datetime(2030, 1, 1, tzinfo=UTC)
FAMILY = family(Role.APPLY, origin=Side.TARGET, number=1)
FORWARD = family(Role.APPLY, origin=Side.SOURCE, number=0)
ORACLE = {
    "engine": "Oracle",
    "host": "ora",
    "serviceName": "SHOP",
    "credentialsSecretRef": {"name": "ora"},
}


def from_oracle(**values: str) -> Spec:
    return a_spec(source=ORACLE, schema={"mode": "Existing"}, values=values)


def errors(source: object, values: dict[str, Any]) -> list[str]:
    spec = a_spec().model_dump(mode="json", by_alias=True, exclude_unset=True)
    spec |= {"values": values} | ({"source": source} if source else {})
    raw = {
        "apiVersion": "bowline.dev/v1alpha1",
        "kind": "DatabaseMigration",
        "metadata": {"name": "shop"},
        "spec": spec,
    }
    return [str(each) for each in read_resource(raw)[1]]


def changed(values: int, column: str = "NAME", kind: str = "empty") -> ChangedValues:
    return ChangedValues(table="SHOP.ITEM", column=column, kind=kind, values=values)


def told(status: Status, *found: ChangedValues) -> Status:
    """What becomes of the status when the applier reports these."""
    report = Report(
        job="shop-apply",
        job_uid="u",
        role=Role.APPLY,
        started_at=NOW,
        observed_at=NOW,
        stream=StreamReport(
            origin=Side.TARGET,
            number=1,
            imported=Flow(),
            changed_values=list(found),
            changed_total=sum(each.values for each in found),
        ),
    )
    job = Job(
        name="shop-apply",
        family=FAMILY,
        role=Role.APPLY,
        try_=1,
        uid="u",
        state=JobState.RUNNING,
    )
    after = status.model_copy(deep=True)
    after.jobs = [JobStatus(name=job.name, family=FAMILY, role=Role.APPLY)]
    seen = Observed(
        name="shop",
        spec=from_oracle(),
        generation=1,
        now=NOW,
        status=after,
        jobs={job.name: job},
        reports={job.name: report},
    )
    copy_figures(seen, after)
    return after


def test_nothing_is_changed_unless_the_spec_says_so() -> None:
    values = from_oracle().values

    assert {values.empty_text, values.infinite_time, values.outside_calendar} == {ValueAnswer.ERROR}
    assert {values.not_a_number, values.infinite_number} == {NullAnswer.ERROR}


def test_a_policy_reaches_the_worker() -> None:
    spec = from_oracle(emptyText="Replacement", emptyTextReplacement="-", notANumber="StoreNull")
    job = JobSpec(name="shop-apply", family=FAMILY, role=Role.APPLY, try_=1)
    places = Places(source_credentials="s", target_credentials="t", journal="j", work_dir="w")

    config = config_for(job, a_resource(spec), uid="u", places=places)

    assert type(config).model_validate_json(config.model_dump_json(by_alias=True)) == config
    assert config.values == spec.values
    assert config.values.empty_text_replacement == "-"


@pytest.mark.parametrize(
    ("values", "told_of"),
    [
        ({"emptyText": "StoreNul"}, "did you mean StoreNull?"),
        ({"emptyText": None}, "spec.values.emptyText: must be one of Error"),
        ({"notANumber": "Replacement"}, "spec.values.notANumber: must be one of Error, StoreNull"),
        ({"emptyTextReplacement": ""}, "spec.values.emptyTextReplacement: "),
        ({"emptyTextReplacement": "a\0"}, "spec.values.emptyTextReplacement: "),
        ({"emptyTexts": "Error"}, "unknown field, did you mean emptyText?"),
    ],
)
def test_a_wrong_policy_is_refused_with_its_field(values: dict[str, Any], told_of: str) -> None:
    (found,) = errors(ORACLE, values)

    assert told_of in found


def test_where_no_side_is_oracle_a_policy_is_refused_and_not_ignored() -> None:
    assert errors(ORACLE, {"emptyText": "StoreNull"}) == []
    (found,) = errors(None, {"emptyText": "StoreNull"})
    assert "values: only where a side is Oracle" in found


def test_the_applier_is_started_again_when_the_policy_changes_and_nobody_else_is() -> None:
    before, after = from_oracle(), from_oracle(emptyText="StoreNull")

    replaced = {
        role for role in Role if settings_digest(role, before) != settings_digest(role, after)
    }
    assert replaced == {Role.APPLY}


def test_counts_are_told_and_a_restart_of_the_applier_takes_none_back() -> None:
    first = told(Status(), changed(7), changed(2, "DAY", "infinite-time"))
    later = told(first, changed(3), changed(1, "NOTE"))

    (stream,) = later.streams
    assert [(each.column, each.values) for each in stream.changed_values] == [
        ("NAME", 7),
        ("DAY", 2),
        ("NOTE", 1),
    ]
    assert stream.changed_total == 9


def test_a_thousand_columns_do_not_fill_the_resource() -> None:
    half = [changed(n + 1, f"C{n}") for n in range(REMEMBERED_CHANGES)]
    others = [changed(n + 1, f"D{n}") for n in range(REMEMBERED_CHANGES)]
    (stream,) = told(told(Status(), *half), *others).streams

    assert len(stream.changed_values) == REMEMBERED_CHANGES
    assert min(each.values for each in stream.changed_values) > REMEMBERED_CHANGES // 2
    assert stream.changed_total == sum(each.values for each in half)


def test_the_first_value_of_a_kind_is_an_event_and_the_next_ones_are_not() -> None:
    none, one = Status(), told(Status(), changed(1))
    more = told(one, changed(5), changed(1, "NOTE"))
    other = told(more, changed(1, "DAY", "infinite-time"))

    def events(old: Status, new: Status) -> list[str]:
        return [each.message for each in news(old, new) if each.reason == "ValuesChanged"]

    assert events(none, one) == ["SHOP.ITEM.NAME: empty: at least 1 changed by spec.values"]
    assert events(one, more) == []
    assert events(more, other) == [
        "SHOP.ITEM.DAY: infinite-time: at least 1 changed by spec.values"
    ]


def test_people_see_how_many_values_were_changed_and_where() -> None:
    stream = StreamStatus(
        origin=Primary.TARGET, number=1, changed_values=[changed(1200)], changed_total=1200
    )
    console = Console(width=120, record=True, quiet=True)
    drawn = table("shop", Status(streams=[stream]), alive=True, liveness="alive", now=NOW)
    with console.capture() as shown:
        console.quiet = False
        console.print(drawn)

    assert "on the way to the source: at least 1,200 values" in shown.get()
    assert "SHOP.ITEM.NAME: empty, at least 1,200" in shown.get()


def test_an_applier_that_a_value_has_stopped_goes_on_once_the_spec_says_what_to_do() -> None:
    world = World(spec=from_oracle())
    world.until_phase("Streaming")
    world.end(f"shop-{FORWARD}-1", Exit.UNSUPPORTED, reason="ValueRefused")
    for _ in range(20):
        world.step()
    assert FORWARD not in world.alive_families()

    world.ask("Replicate", values={"emptyText": "StoreNull"})
    world.until(lambda now: FORWARD in now.alive_families())
