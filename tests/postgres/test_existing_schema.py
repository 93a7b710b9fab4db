"""A target's table may be narrower than the rows that come: found before the first one is copied."""

from __future__ import annotations

from contextlib import closing

import pytest

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Role, Side, Unsupported
from bowline_worker.reporter import Reporter
from bowline_worker.roles import Context, prepare, schema, snapshot
from servers import Pair

ITEM = "create table public.item (id int primary key, price numeric(12,{}))"


def context(pair: Pair, role: Role, *, by_hand: bool) -> Context:
    config = pair.config(role, existing_schema=by_hand)
    return Context(config=config, report=Reporter(config))


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_narrower_numeric_does_not_round_rows_silently(pair: Pair, by_hand: bool) -> None:
    """Made so by hand, or left behind by DDL between the copy of the schema and that of the rows."""
    pair.source.run(ITEM.format(2), "insert into public.item values (1, 1.25)")
    if by_hand:
        pair.target.run(ITEM.format(2))
    schema.run(context(pair, Role.SCHEMA, by_hand=by_hand))
    pair.source.run("alter table public.item alter price type numeric(12,4)")
    prepare.run(context(pair, Role.PREPARE, by_hand=by_hand))
    copying = context(pair, Role.SNAPSHOT, by_hand=by_hand)

    with (
        closing(copying.source.hold(StreamId(Side.SOURCE, 0))),
        pytest.raises(
            Unsupported,
            match=r"table shapes differ .*: public\.item: column price is numeric\(12,4\) on the source, and numeric",
        ),
    ):
        snapshot.run(copying)

    assert pair.target.rows("select from public.item") == []
