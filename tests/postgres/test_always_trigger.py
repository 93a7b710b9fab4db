"""A trigger that fires for streamed rows too writes its own rows a second time: assess says so before it is copied."""

from __future__ import annotations

import pytest

from bowline_worker.contract import Role, Severity, Side, Unsupported
from bowline_worker.endpoints import open_endpoint
from bowline_worker.reporter import Reporter
from bowline_worker.roles import Context, assess
from servers import Pair

DOUBLING = (
    "create table public.item (id int primary key)",
    "create table public.audit (id int)",
    "create function public.f() returns trigger language plpgsql as"
    " 'begin insert into public.audit values (new.id); return new; end'",
    "create trigger t after insert on public.item for each row execute function public.f()",
    "alter table public.item enable always trigger t",
)


def test_a_trigger_that_would_double_streamed_rows_is_named_without_a_way_back_too(
    pair: Pair,
) -> None:
    pair.source.run(*DOUBLING)
    for change, expected in (
        ({"fallback": True}, True),
        ({"fallback": False}, True),  # it goes to the target with the schema
        ({"fallback": False, "existing_schema": True}, False),
    ):
        config = pair.config(Role.ASSESS, **change)
        found = open_endpoint(config, Side.SOURCE).assess(other=open_endpoint(config, Side.TARGET))
        assert ("FiresForReplicatedRows" in {each.reason for each in found}) is expected, change


@pytest.mark.parametrize("accepted", [False, True])
def test_it_blocks_the_migration_until_somebody_has_accepted_it(pair: Pair, accepted: bool) -> None:
    pair.source.run(*DOUBLING)
    issues = ["FiresForReplicatedRows"] if accepted else []
    config = pair.config(Role.ASSESS, accepted_issues=issues)
    context = Context(config=config, report=Reporter(config))

    if accepted:
        assess.run(context)
    else:
        with pytest.raises(Unsupported, match=r"trigger t of public\.item fires") as refused:
            assess.run(context)
        assert "add FiresForReplicatedRows to spec.schema.acceptedIssues" in refused.value.hint

    (found,) = (
        each for each in context.report.now().findings if each.reason == "FiresForReplicatedRows"
    )
    assert found.severity is (Severity.WARNING if accepted else Severity.ERROR)
