"""A schema that was made by hand may be narrower than the rows that come: found before the first one is copied."""

from __future__ import annotations

import pytest

from bowline_worker.contract import Role, Unsupported
from bowline_worker.reporter import Reporter
from bowline_worker.roles import Context, prepare, snapshot
from servers import Pair


def test_a_narrower_numeric_does_not_round_rows_silently(pair: Pair) -> None:
    pair.source.run("create table public.item (id int primary key, price numeric(12,4))")
    pair.target.run("create table public.item (id int primary key, price numeric(12,2))")
    for role in (Role.PREPARE, Role.SNAPSHOT):
        config = pair.config(role, existing_schema=True)
        context = Context(config=config, report=Reporter(config))
        if role is Role.PREPARE:
            prepare.run(context)
            continue
        with pytest.raises(Unsupported, match=r"table shapes differ .*: public\.item"):
            snapshot.run(context)
