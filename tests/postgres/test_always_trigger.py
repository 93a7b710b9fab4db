"""A trigger that fires for streamed rows too writes its own rows a second time: assess says so before it is copied."""

from __future__ import annotations

from bowline_worker.contract import Role, Side
from bowline_worker.endpoints import open_endpoint
from servers import Pair


def test_a_trigger_that_would_double_streamed_rows_is_named_without_a_way_back_too(
    pair: Pair,
) -> None:
    pair.source.run(
        "create table public.item (id int primary key)",
        "create table public.audit (id int)",
        "create function public.f() returns trigger language plpgsql as"
        " 'begin insert into public.audit values (new.id); return new; end'",
        "create trigger t after insert on public.item for each row execute function public.f()",
        "alter table public.item enable always trigger t",
    )
    for change, expected in (
        ({"fallback": True}, True),
        ({"fallback": False}, True),  # it goes to the target with the schema
        ({"fallback": False, "existing_schema": True}, False),
    ):
        config = pair.config(Role.ASSESS, **change)
        found = open_endpoint(config, Side.SOURCE).assess(other=open_endpoint(config, Side.TARGET))
        assert ("FiresForReplicatedRows" in {each.reason for each in found}) is expected, change
