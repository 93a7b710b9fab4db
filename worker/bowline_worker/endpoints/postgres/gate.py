"""The fence of a server whose table locks and DDL are no part of a transaction: a flag that every trigger reads.

The triggers stand enabled from Prepare on. What refuses a write is the flag's row, `bowline.gate`: it is raised in a
transaction of its own, so that it is seen before anybody is waited for; transactions that began before it are then
waited for, and ended at all nodes. It falls in the caller's transaction.

A raise whose step fails falls again, unless the switch row says that the side is fenced: asked under that row's lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bowline_worker.conflicts import through_conflicts
from bowline_worker.contract import NotPermitted, TryAgain
from bowline_worker.endpoints.postgres.catalog import Db, Records, records
from bowline_worker.endpoints.postgres.connection import connect, translated
from bowline_worker.endpoints.postgres.nodes import Node, nodes
from bowline_worker.endpoints.site import Site

#: How a fence of either kind ends.
REFUSE = """\
    raise exception using
        errcode = 'read_only_sql_transaction',
        message = format('bowline: %s.%s does not accept writes: migration %s has fenced this database',
                         tg_table_schema, tg_table_name, tg_argv[0]),
        hint = format('the primary is now, or will soon be, %s: connect there', tg_argv[1]);
"""
#: Without its row, as after Complete, the fence stands. SECURITY DEFINER, for writers may not read it; session_user is
#: the writer all the same. TRUNCATE is in no stream from YugabyteDB, so that it is refused as long as there are
#: triggers: https://github.com/yugabyte/yugabyte-db/issues/29674
BODY = f"""
begin
    if session_user::text = any (tg_argv[2:]) then
        return null;
    end if;
    if tg_op = 'TRUNCATE' then
        raise exception using
            errcode = 'read_only_sql_transaction',
            message = format('bowline: TRUNCATE of %s.%s would not be streamed by migration %s',
                             tg_table_schema, tg_table_name, tg_argv[0]),
            hint = 'use DELETE';
    end if;
    if to_regclass('bowline.gate') is not null then
        if exists (select from bowline.gate g where g.migration = tg_argv[0] and not g.raised) then
            return null;
        end if;
    end if;
{REFUSE}end
"""
FUNCTION = f"""
create or replace function bowline.fence() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $bowline${BODY}$bowline$"""

RAISE = """
insert into bowline.gate (migration, raised) values (%(migration)s, true)
on conflict (migration) do update set raised = true"""
LOWER = """
insert into bowline.gate (migration, raised) values (%(migration)s, false)
on conflict (migration) do update set raised = false"""
STANDS = "select raised from bowline.gate where migration = %(migration)s"
FENCED = "select fenced from bowline.switch where migration = %(migration)s for update"
LOWERED = "select migration from bowline.gate where not raised"

#: Whoever may have read the flag before it was raised. Others' states are hidden from users without the right to see.
OLDER = """
select a.pid, a.backend_start::text as started, a.xact_start::text as began, a.state is null as is_hidden
from pg_stat_activity a
where a.datname = current_database() and a.usename <> session_user
  and coalesce(a.backend_type, 'client backend') = 'client backend'
  and (a.xact_start is not null or a.state is null)"""
END = "select pg_terminate_backend(pid) from unnest(%s::int[]) pid"

POLL_SECONDS = 0.03
#: From the end of the grace: sessions that we end need a moment to roll back.
ENDING_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Older:
    """A transaction that began before the flag was raised."""

    pid: int
    started: str
    began: str


def raise_gate(site: Site, step: Db, grace: float) -> Callable[[], None]:
    """Refuse writes at once, and wait until nobody is left who may not have heard. Returns what takes it back.

    `step` is the caller's transaction, which must not be idle for long.
    """
    through_conflicts(lambda: _set(site, RAISE))
    try:
        with (
            translated(site, "could not end the writers that hold up the fence"),
            connect(site) as connection,
            nodes(site, connection) as there,
        ):
            _outlive(site, step, there, grace)
    except BaseException:
        take_back(site)
        raise
    return lambda: take_back(site)


def lower_gate(site: Site, connection: Db) -> None:
    """Accept writes again, once this transaction commits."""
    connection.execute(LOWER.encode(), {"migration": site.migration})


def take_back(site: Site) -> None:
    """Lower the flag unless the switch row says that this side is fenced."""
    through_conflicts(lambda: _take_back_once(site))


def stands(site: Site, connection: Db) -> bool:
    """Tell whether the flag is raised."""
    rows = records(connection, STANDS, {"migration": site.migration})
    return not rows or bool(rows[0]["raised"])


def lowered(connection: Db) -> frozenset[str]:
    """The migrations whose flag lets writes pass."""
    if connection.execute(b"select to_regclass('bowline.gate')").fetchone() == (None,):
        return frozenset()
    return frozenset(row["migration"] for row in records(connection, LOWERED))


def _set(site: Site, statement: str) -> None:
    with translated(site, "could not raise the fence"), connect(site) as connection:
        connection.execute(statement.encode(), {"migration": site.migration})


def _take_back_once(site: Site) -> None:
    with (
        translated(site, "could not take the fence back"),
        connect(site) as connection,
        connection.transaction(),
    ):
        rows = records(connection, FENCED, {"migration": site.migration})
        if rows and not rows[0]["fenced"]:
            lower_gate(site, connection)


def _outlive(site: Site, step: Db, there: list[Node], grace: float) -> None:
    """Wait until the transactions of now are over, at all nodes; end what is left after the grace."""
    waited = {node.place: _older(site, node) for node in there}
    deadline = time.monotonic() + grace
    while True:
        left = {node.place: waited[node.place] & _older(site, node) for node in there}
        if not any(left.values()):
            return
        over = time.monotonic() - deadline
        if over > ENDING_SECONDS:
            raise TryAgain(
                f"{site.side}: {sum(map(len, left.values()))} transactions still run after {grace:g} s"
                f" and {ENDING_SECONDS:g} s to end them",
                reason="FenceBlocked",
                hint="end those sessions",
            )
        if over >= 0:
            for node in there:
                node.db.execute(END.encode(), ([each.pid for each in left[node.place]],))
        step.execute(b"select")
        time.sleep(POLL_SECONDS)


def _older(site: Site, node: Node) -> set[Older]:
    found = through_conflicts(lambda: _look(site, node))
    if any(row["is_hidden"] for row in found):
        raise NotPermitted(
            f"{site.side}: sessions of other users are hidden: the fence can't tell who writes",
            hint="run the SQL of `bowline grants`",
        )
    return {Older(row["pid"], row["started"], row["began"]) for row in found}


def _look(site: Site, node: Node) -> Records:
    with translated(site, f"could not see the sessions of node {node.place}"):
        return records(node.db, OLDER)
