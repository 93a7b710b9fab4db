"""Checks of a server, a database and the migration's user."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import errors

from bowline_worker.contract import Engine, Finding
from bowline_worker.endpoints.postgres import fence, slots
from bowline_worker.endpoints.postgres.connection import POOLER, no_pooler
from bowline_worker.endpoints.postgres.looking import Look

#: Older ones print floating-point numbers with other digits: equal rows would never compare equal.
OLDEST = 120000
GRANTS = "run the SQL of `bowline grants`"
#: The stream's own, and one for a new view of the tables should the first be lost.
SLOTS = 2

IDENTITY = """
select (select system_identifier from pg_control_system())::text as system,
       (select oid from pg_database where datname = current_database())::int8 as database"""
RIGHTS = """
select rolsuper or rolreplication
       or coalesce(pg_has_role(session_user, to_regrole('rds_replication'), 'member'), false)
           as replicates,
       has_database_privilege(current_database(), 'create') as creates,
       rolsuper or pg_has_role(session_user, 'pg_signal_backend', 'usage') as signals
from pg_roles where rolname = session_user"""
OTHER_SESSIONS = """
select count(*) from pg_stat_activity
where usename = session_user and datname = current_database() and pid <> pg_backend_pid()
  and application_name not like 'bowline %'"""
FREE = """
select current_setting('max_replication_slots')::int
           - (select count(*) from pg_replication_slots)::int as slots,
       current_setting('max_wal_senders')::int
           - (select count(*) from pg_stat_replication)::int as senders"""
LOCKS = """
select current_setting('max_locks_per_transaction')::int
       * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int)"""
ENCODING = """
select pg_encoding_to_char(encoding)::text from pg_database where datname = current_database()"""


def version(look: Look) -> Iterator[Finding]:
    found = look.db.info.server_version
    if found < OLDEST:
        yield look.error(
            "VersionTooOld",
            f"the server is version {found // 10000}, and {OLDEST // 10000} is the oldest supported",
            "upgrade the server first",
        )
    is_yugabyte = "-YB-" in str(look.value("select version()"))
    engine = Engine.YUGABYTEDB if is_yugabyte else Engine.POSTGRESQL
    if engine is not look.site.connection.engine:
        yield look.warning(
            "EngineDiffers",
            f"the server is {engine}, and the spec says {look.site.connection.engine}",
            f"set spec.{look.side}.engine to {engine}",
        )


def pooler(look: Look) -> Iterator[Finding]:
    """A pooler lets its clients in by itself, under a process id that it made up."""
    if look.value("select pg_backend_pid()") != look.db.info.backend_pid:
        yield look.error(
            POOLER,
            "a connection pooler is in front of the server: it takes the settings of our sessions away from them",
            no_pooler(look.site),
        )


def standby(look: Look) -> Iterator[Finding]:
    if look.value("select pg_is_in_recovery()"):
        yield look.error(
            "Standby", "the server is a standby: it takes no writes", "name the primary server"
        )


def replication(look: Look) -> Iterator[Finding]:
    if not look.is_origin:
        return
    if (level := look.value("select current_setting('wal_level')")) != "logical":
        yield look.error(
            "LogicalReplicationOff",
            f"wal_level is {level}",
            "set wal_level to logical and restart the server",
        )
    if look.has_begun:
        return
    (free,) = look.rows(FREE)
    for what, setting in (("slots", "max_replication_slots"), ("senders", "max_wal_senders")):
        if free[what] < SLOTS:
            yield look.error(
                "NoFreeSlot" if what == "slots" else "NoFreeSender",
                f"{setting} leaves {max(0, free[what])} free, and {SLOTS} are needed",
                f"raise {setting} and restart the server",
            )


def slots_taken(look: Look) -> Iterator[Finding]:
    """A slot is noted before it is made: where nothing was begun, none can be this migration's."""
    if look.has_begun or not look.is_origin:
        return
    for row in slots.of_name(look.db, look.site):
        what = (
            f"plugin {row['plugin']}, database {row['database']}" if row["plugin"] else "physical"
        )
        in_use = f", in use by session {row['pid']}" if row["pid"] else ""
        yield look.error(
            "ForeignSlot",
            f"slot {row['name']} is there and is not ours: {what}{in_use}",
            f"drop it if nobody needs it: select pg_drop_replication_slot('{row['name']}'); or give this"
            " migration another name",
            about=row["name"],
        )


def rights(look: Look) -> Iterator[Finding]:
    (has,) = look.rows(RIGHTS)
    if look.is_origin and not has["replicates"]:
        yield look.error("NotPermitted", f"role {look.user} may not replicate", GRANTS)
    if not has["creates"]:
        yield look.error(
            "NotPermitted", f"role {look.user} may not create schemas in the database", GRANTS
        )
    if not has["signals"]:
        yield look.warning(
            "CannotEndSessions",
            f"role {look.user} may not end sessions: a writer that stays open can stop a cutover",
            GRANTS,
        )


def replica_role(look: Look) -> Iterator[Finding]:
    if not look.is_receiver:
        return
    try:
        with look.db.transaction(force_rollback=True):
            look.db.execute(b"set local session_replication_role = replica")
    except errors.InsufficientPrivilege:
        yield look.error(
            "NotPermitted", f"role {look.user} may not set session_replication_role", GRANTS
        )


def shared_user(look: Look) -> Iterator[Finding]:
    if count := look.value(OTHER_SESSIONS):
        yield look.warning(
            "SharedUser",
            f"{count} sessions that are not the migration's use its user {look.user}:"
            " the fence lets that user pass",
            "give the migration a user of its own",
        )


def fence_impossible(look: Look) -> Iterator[Finding]:
    tables = [relation.oid for relation in look.selection.fenced]
    for name in fence.subscriptions(look.db, tables):
        yield look.error(
            "FenceImpossible",
            f"subscription {name} writes to selected tables, and no fence stops it",
            "disable or drop it",
            about=name,
        )
    query = "select count(*) from pg_prepared_xacts where database = current_database()"
    if count := look.value(query):
        yield look.warning(
            "PreparedTransactions",
            f"{count} transactions are prepared: a cutover is refused while there are any",
            "commit or roll back what pg_prepared_xacts shows",
        )


def lock_table(look: Look) -> Iterator[Finding]:
    # A snapshot's readers and a fence lock them all, each with its indexes and its TOAST table.
    wanted = 4 * len(look.selection.fenced)
    if wanted > (size := look.value(LOCKS)):
        yield look.warning(
            "FewLocks",
            f"{len(look.selection.fenced)} tables may need more locks than the {size} that fit",
            "raise max_locks_per_transaction and restart the server",
        )


def same_database(look: Look) -> Iterator[Finding]:
    if look.other is None or look.is_source:
        return
    if _identity(look) == _identity(Look(look.site, look.other)):
        yield look.error(
            "SameDatabase", "source and target are one database", "name another target"
        )


def _identity(look: Look) -> tuple[object, ...]:
    try:
        with look.db.transaction():
            (found,) = look.rows(IDENTITY)
            return found["system"], found["database"]
    except errors.InsufficientPrivilege:
        info = look.db.info
        return info.hostaddr or info.host, info.port, info.dbname


def encoding(look: Look) -> Iterator[Finding]:
    if look.site.config.source.engine is Engine.ORACLE and not look.is_source:
        # Its text may hold any character, whatever its character set: national columns are UTF-16.
        if (here := look.value(ENCODING)) != "UTF8":
            yield look.error(
                "EncodingDiffers",
                f"text comes from Oracle as Unicode, and the target's encoding is {here}",
                "create the target database with encoding UTF8",
            )
        return
    if look.other is None or look.is_source:
        return
    there, here = Look(look.site, look.other).value(ENCODING), look.value(ENCODING)
    if there != here:
        yield look.error(
            "EncodingDiffers",
            f"the source's encoding is {there}, the target's {here}",
            f"create the target database with encoding {there}",
        )


CHECKS = (
    version,
    pooler,
    standby,
    replication,
    slots_taken,
    rights,
    replica_role,
    shared_user,
    fence_impossible,
    lock_table,
    same_database,
    encoding,
)
