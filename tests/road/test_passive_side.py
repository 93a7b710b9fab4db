"""Nobody but Bowline writes to the passive side, in any way; and who writes while a switch begins is not lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from bowline_worker.contract import Side
from road.by_hand import wait_until
from road.switch_rig import SwitchRoad, told
from servers import APPLICATION

pytestmark = pytest.mark.slow

Connection = psycopg.Connection[Any]


def copy(connection: Connection) -> None:
    with connection.cursor().copy("copy public.item (name) from stdin") as writer:
        writer.write_row(["stray"])


def run(statement: str) -> Callable[[Connection], None]:
    def write(connection: Connection) -> None:
        connection.execute(statement.encode())

    return write


MERGE = """
merge into public.item i using (values ('n7'), ('stray')) v (name) on i.name = v.name
when matched then update set note = 'stray' when not matched then insert (name) values (v.name)"""

#: Every way that passes a trigger somewhere: the parent or the partition, in bulk or not, from within or as a replica.
WAYS: dict[str, Callable[[Connection], None]] = {
    "INSERT": run("insert into public.item (name) values ('stray')"),
    "UPDATE": run("update public.item set note = 'stray'"),
    "UPDATE of no row": run("update public.item set note = 'stray' where false"),
    "DELETE": run("delete from public.item"),
    "COPY": copy,
    "TRUNCATE": run("truncate public.event"),
    "MERGE": run(MERGE),
    "upsert": run("insert into public.item (name) values ('n7') on conflict (name) do nothing"),
    "parent": run("insert into public.hit values ('2026-01-01', 999)"),
    "partition": run("insert into public.hit_new values ('2026-01-01', 999)"),
    "TRUNCATE of a partition": run("truncate public.hit_new"),
    "common table expression": run(
        "with gone as (delete from public.event returning what) select count(*) from gone"
    ),
    "DO block": run("do $$ begin insert into public.event values ('stray'); end $$"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("passive", [Side.TARGET, Side.SOURCE])
def test_a_stray_writer_is_told_why_and_where_to_go(
    road: SwitchRoad, passive: Side, way: str
) -> None:
    """On the target while it is streamed to; on the source after the cutover."""
    road.stand(passive.other)
    database, primary = road.database(passive), road.database(passive.other)
    before = road.content(passive)

    with (
        database.connect(APPLICATION, database.server.password) as connection,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as refusal,
    ):
        WAYS[way](connection)

    said = refusal.value.diag
    assert "does not accept writes" in str(said.message_primary)
    assert road.pair.migration in str(said.message_primary)
    assert f"127.0.0.1:{primary.server.port}/{primary.name}" in str(said.message_hint)
    assert road.content(passive) == before
    road.is_whole = True


@pytest.mark.parametrize("passive", [Side.TARGET, Side.SOURCE])
def test_a_superuser_in_replica_role_is_a_stray_writer_too(road: SwitchRoad, passive: Side) -> None:
    road.stand(passive.other)
    before = road.content(passive)

    with road.database(passive).connect() as connection:
        connection.execute("set session_replication_role = replica")
        for way in WAYS.values():
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                way(connection)

    assert road.content(passive) == before
    road.is_whole = True


# --- who writes while the fence is raised --------------------------------------------------------


def begin(road: SwitchRoad, name: str) -> Connection:
    """Write, and leave the transaction open."""
    database = road.database(road.primary)
    writer = database.connect(APPLICATION, database.server.password, autocommit=False)
    writer.execute("insert into public.item (name) values (%s)", [name])
    writer.execute("update public.hit set day = '2024-07-07' where n = 9")
    return writer


def fence_waits(road: SwitchRoad) -> bool:
    query = "select from pg_locks where not granted and mode = 'ShareRowExclusiveLock'"
    return bool(road.look(road.primary, query))


@pytest.mark.parametrize("loser", list(Side))
def test_a_transaction_that_is_open_at_the_fence_is_waited_for(
    road: SwitchRoad, loser: Side
) -> None:
    road.stand(loser)
    road.attempt += 1
    # After ArmReverse: to make a slot, a server waits for all that is open.
    cutover = road.cutover(writer_grace=timedelta(seconds=60))
    wait_until("the way back is armed", lambda: armed(road))
    writer = begin(road, f"open-{loser}")
    wait_until("the fence waits for the writer", lambda: following(road, fence_waits(road)))

    writer.commit()

    road.follow(cutover)
    road.switched(told(cutover))
    writer.close()
    assert road.has(loser.other, f"open-{loser}")
    road.check_switched()
    road.is_whole = True


@pytest.mark.parametrize("loser", list(Side))
def test_a_transaction_that_stays_open_is_ended_and_is_on_neither_side(
    road: SwitchRoad, loser: Side
) -> None:
    road.stand(loser)
    road.attempt += 1
    cutover = road.cutover(writer_grace=timedelta(seconds=1))
    wait_until("the way back is armed", lambda: armed(road))
    writer = begin(road, f"stays-{loser}")

    road.follow(cutover)
    road.switched(told(cutover))

    with pytest.raises(psycopg.OperationalError):
        writer.commit()
    writer.close()
    for side in Side:
        assert not road.has(side, f"stays-{loser}")
    road.check_switched()
    road.is_whole = True


def armed(road: SwitchRoad) -> bool:
    return bool(road.back) or following(road, road.attempt in road.slots(road.primary.other))


def following(road: SwitchRoad, claim: bool) -> bool:
    road.start_back()
    return claim
