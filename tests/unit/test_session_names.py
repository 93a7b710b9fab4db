"""By their names sessions are ended: those of one migration, and of no other one."""

from __future__ import annotations

from bowline_worker.contract import Config, Connection, Engine, Role, Side
from bowline_worker.endpoints.site import Site

LIMIT = 63


def site(migration: str) -> Site:
    there = Connection(engine=Engine.POSTGRESQL, host="h", port=1, database="d", credentials="/c")
    config = Config(
        migration=migration, job="j", job_uid="u", role=Role.APPLY, source=there, target=there
    )
    return Site(config, Side.SOURCE)


def test_a_short_name_is_said_as_it_is() -> None:
    assert site("shop.orders").session_name(Role.APPLY, LIMIT) == "bowline apply shop.orders"


def test_migrations_whose_names_begin_alike_do_not_end_each_others_sessions() -> None:
    names = [f"a-namespace-with-a-long-name.{'a-long-name-' * 3}{tail}" for tail in ("one", "two")]

    one, other = (site(name).session_name(Role.CUTOVER, LIMIT) for name in names)

    assert one != other
    assert {len(one), len(other)} == {LIMIT}
    assert one.startswith("bowline cutover a-namespace")
