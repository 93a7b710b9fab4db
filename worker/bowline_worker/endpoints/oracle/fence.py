"""The fence: statement triggers by which a passive database refuses application writes, and the flag that they read.

The triggers (triggers.py) stand on every selected table, disabled while nobody needs them; a table's covers all its
partitions. DDL commits, so what a step decides is the flag alone, BOWLINE_SWITCH.RAISED, in the transaction of that
step: a trigger that is enabled while the flag is down lets everybody pass. Who they let pass in any case is told by
SESSION_USER.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set
from contextlib import closing
from functools import partial
from typing import Final

import oracledb

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import TryAgain, Unsupported
from bowline_worker.endpoints.oracle import made
from bowline_worker.endpoints.oracle.altering import GENTLE_SECONDS, Altering
from bowline_worker.endpoints.oracle.catalog import OracleTable, read_tables
from bowline_worker.endpoints.oracle.connection import quote, translated
from bowline_worker.endpoints.oracle.tables import durably, missing
from bowline_worker.endpoints.oracle.triggers import (
    Standing,
    Wanted,
    own_user,
    standing,
    wanted_on,
)
from bowline_worker.endpoints.oracle.writers import Writers, refuse_in_doubt
from bowline_worker.endpoints.site import Site

KIND: Final = "trigger"
#: The note of a fence that a completed migration left behind for good: its triggers are whoever's comes.
LEFT: Final = "fence-left"
#: To disable what lets everybody pass is not worth more: meanwhile the switch row is held.
LOWERING_SECONDS: Final = 10.0

READ_FLAG: Final = "select s.raised, s.attempt from bowline_switch s where s.migration = :migration"
LOCK_FLAG: Final = f"{READ_FLAG} for update wait 5"
SET_FLAG: Final = """
update bowline_switch set raised = :raised, raised_at = case :raised when 1 then sysdate end
where migration = :migration"""
IS_LIVE: Final = f"""
select 1 from bowline_switch s where s.migration = :migration
and not exists (select 1 from bowline_made m where m.migration = s.migration and m.kind = '{LEFT}')"""
IS_KEPT: Final = f"""
select 1 from bowline_switch s where s.migration = :migration and s.raised = 1
and exists (select 1 from bowline_made m where m.migration = s.migration and m.kind = '{LEFT}')"""
FORGET: Final = (
    "delete from bowline_made where migration = :migration and kind = :kind and name = :name"
)
#: There is no such trigger.
GONE: Final = frozenset(("ORA-04080",))


def raise_fence(site: Site, connection: oracledb.Connection, grace: float) -> None:
    """Refuse application writes to all that is selected now, once this transaction commits (see base.Books).

    If it does not, the triggers stay enabled and let everybody pass, until this side is prepared, or lowered, again.
    """
    refuse_in_doubt(site, connection)
    with (
        translated(site, "could not raise the fence"),
        Altering(site) as ddl,
        Writers(site, connection, ddl.connection, grace) as writers,
    ):
        writers.shut_gate()
        locked: dict[int, str] = {}
        # Again, because a table may have come while we waited for another one's writers.
        while wanted := _unlocked(site, connection, locked):
            writers.expect(wanted)
            try:
                ddl.limit(writers.seconds_left + 1)
                _complete(
                    site,
                    ddl,
                    raised=True,
                    skip=locked,
                    seconds=writers.seconds_left,
                    meanwhile=writers.raise_error,
                )
            except TryAgain:
                writers.raise_error()  # says more: who is in the way, and why they stay
                raise
            writers.lock(wanted)
            locked.update(wanted)
        _set_flag(site, connection, raised=True)


def lower_fence(site: Site, connection: oracledb.Connection) -> Callable[[], None]:
    """Accept application writes again once this transaction commits; what is returned is to be done after that.

    It disables the triggers, which let everybody pass by then.
    """
    _set_flag(site, connection, raised=False)
    return partial(disable_lowered, site)


def disable_lowered(site: Site) -> None:
    """Disable this migration's triggers, if its fence is down: they let everybody pass, and are not for nothing."""
    with (
        translated(site, "could not disable the fence's triggers"),
        closing(durably(site)) as connection,
    ):
        # Nobody raises it while we have the row.
        found = made.rows(connection, LOCK_FLAG, migration=site.migration)
        enabled = [here for here in of_migration(site, connection) if here.enabled]
        if not found or found[0]["raised"] or not enabled:
            return
        end = time.monotonic() + LOWERING_SECONDS
        with Altering(site, under=connection) as ddl:
            ddl.limit(LOWERING_SECONDS)
            for here in enabled:
                left = max(0.0, end - time.monotonic())
                ddl.run(*_altering(here, "disable"), seconds=left, done=GONE)


def make(site: Site) -> None:
    """Make the triggers where they are not as they must be, each noted first: disabled, unless the fence is raised.

    One short lock of one table at a time; running it again makes what is missing.
    """
    with translated(site, "could not make the fence"), Altering(site) as ddl:
        flag = made.rows(ddl.connection, READ_FLAG, migration=site.migration)
        if not flag:
            raise missing(site)
        # An older life of this migration may have left its own.
        ddl.forget(LEFT, LEFT)
        _complete(site, ddl, raised=bool(flag[0]["raised"]))


def unmade(site: Site, connection: oracledb.Connection) -> list[OracleTable]:
    """The selected tables whose triggers `make` would make."""
    found = {here.quoted: here for here in standing(connection)}
    return [
        wanted.table
        for wanted in wanted_triggers(site, connection)
        if (here := found.get(wanted.quoted)) is None or not here.fits(wanted)
    ]


def drop(site: Site) -> None:
    """Drop this migration's triggers, wherever they stand, each note after its trigger."""
    with translated(site, "could not drop the fence"), Altering(site) as ddl:
        noted = {thing.name for thing in made.read(ddl.connection, site) if thing.kind == KIND}
        for here in _droppable(site, ddl.connection, noted):
            what = f"could not drop the fence of {here.table_owner}.{here.table_name}"
            ddl.run(f"drop trigger {here.quoted}", what, done=GONE)
        for name in noted:
            ddl.forget(KIND, name)


def _droppable(site: Site, connection: oracledb.Connection, noted: Set[str]) -> list[Standing]:
    """This migration's triggers; one whose text somebody replaced is told by its note."""
    ours = {here.quoted for here in of_migration(site, connection)}
    user = own_user(connection)
    return [
        here
        for here in standing(connection)
        if here.quoted in ours
        or (here.owner == user and here.quoted in noted and not here.migration)
    ]


def of_migration(site: Site, connection: oracledb.Connection) -> list[Standing]:
    """This migration's triggers, in its user's schema."""
    user = own_user(connection)
    return [
        here
        for here in standing(connection)
        if here.owner == user and here.migration == site.migration
    ]


def is_raised(site: Site, connection: oracledb.Connection) -> bool:
    found = made.rows(connection, READ_FLAG, migration=site.migration)
    return bool(found and found[0]["raised"])


def _complete(
    site: Site,
    ddl: Altering,
    *,
    raised: bool,
    skip: dict[int, str] | None = None,
    seconds: float = GENTLE_SECONDS,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Make what is missing on selected tables, and have it enabled if the fence is raised, or about to be.

    `skip`: tables that are locked by the transaction on whose behalf this is done: DDL would wait for it.
    """
    end = time.monotonic() + seconds

    def run(statement: str, what: str, *, done: frozenset[str] = frozenset()) -> None:
        left = max(0.0, end - time.monotonic())
        ddl.run(statement, what, seconds=left, done=done, meanwhile=meanwhile)

    found = standing(ddl.connection)
    by_name = {here.quoted: here for here in found}
    for wanted in wanted_triggers(site, ddl.connection):
        if int(wanted.table.table.identity) in (skip or {}):
            continue
        _refuse_taken(site, ddl.connection, wanted, found)
        here = by_name.get(wanted.quoted)
        if here is None or not here.fits(wanted):
            here = _make(site, ddl, wanted, here, run)
        if raised and not here.enabled:
            run(*_altering(here, "enable"), done=GONE)


def _make(
    site: Site,
    ddl: Altering,
    wanted: Wanted,
    here: Standing | None,
    run: Callable[[str, str], None],
) -> Standing:
    """Make one trigger, or make it anew: enabled if it was this migration's and was, so that no write slips through.

    A new one is looked at before it is enabled: Oracle makes those too that don't compile, and then nobody writes.
    """
    is_ours = here is not None and here.migration == site.migration
    was_enabled = here is not None and is_ours and here.enabled
    ddl.note(MadeObject(kind=KIND, name=wanted.quoted))
    what = f"could not make the fence of {wanted.table.table.name}"
    run(wanted.create(enabled=was_enabled), what)
    found = next((one for one in standing(ddl.connection) if one.quoted == wanted.quoted), None)
    if found is None or not found.fits(wanted):
        raise Unsupported(
            f"{site.side}: {what}: trigger {wanted.quoted} is not as it was written, or does not compile",
            reason="FenceImpossible",
            hint=f"select text from all_errors where name = '{wanted.name}'",
        )
    if here is not None and here.migration not in ("", site.migration):
        _forget_others(ddl.connection, here)
    return found


def _refuse_taken(
    site: Site, connection: oracledb.Connection, wanted: Wanted, found: Sequence[Standing]
) -> None:
    """Refuse tables of a migration that is under way; one that is Complete left its fence to whoever comes.

    Of another user's migration nothing more is known than its trigger.
    """
    for here in found:
        if (here.table_owner, here.table_name) != (wanted.table.owner, wanted.table.name):
            continue
        is_ours = here.owner == wanted.owner
        if not here.migration or (is_ours and here.migration == site.migration):
            continue
        if is_ours and not made.rows(connection, IS_LIVE, migration=here.migration):
            continue
        raise Unsupported(
            f"{wanted.table.table.name} on the {site.side} belongs to migration {here.migration}",
            reason="TableTaken",
            hint="complete that migration first, or exclude the table from this one;"
            f" if it is gone, drop trigger {here.quoted}",
        )


def _forget_others(connection: oracledb.Connection, here: Standing) -> None:
    """Remove the note of a trigger that a completed migration left, and that is ours now."""
    with connection.cursor() as cursor:
        binds = {"migration": here.migration, "kind": KIND, "name": here.quoted}
        cursor.execute(FORGET, binds)
    connection.commit()


def _altering(here: Standing, how: str) -> tuple[str, str]:
    """The statement, and what could not be done where it fails."""
    what = f"could not {how} the fence of {here.table_owner}.{here.table_name}"
    return f"alter trigger {here.quoted} {how}", what


def wanted_triggers(site: Site, connection: oracledb.Connection) -> list[Wanted]:
    """The triggers that the selected tables must have, as the dictionary is now."""
    tables = read_tables(connection, site.config.include, site.config.exclude)
    return wanted_on(site, own_user(connection), tables)


def _unlocked(
    site: Site, connection: oracledb.Connection, locked: dict[int, str]
) -> dict[int, str]:
    tables = read_tables(connection, site.config.include, site.config.exclude)
    found = {int(one.table.identity): quote(one.owner, one.name) for one in tables}
    return {number: table for number, table in found.items() if number not in locked}


def _set_flag(site: Site, connection: oracledb.Connection, *, raised: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute(SET_FLAG, {"raised": int(raised), "migration": site.migration})
        if cursor.rowcount != 1:
            raise missing(site)
