"""Checks of an Oracle server, its database and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from bowline_worker.contract import Finding
from bowline_worker.endpoints.oracle.assess_rights import CAPTURE_VIEWS, MINING, refused
from bowline_worker.endpoints.oracle.logminer import connect_to_mine, mines_inside
from bowline_worker.endpoints.oracle.looking import GRANTS, Look
from bowline_worker.endpoints.oracle.policy import CHARSETS

OLDEST: Final = (12, 1)
#: Of newer ones nothing is known.
NEWEST: Final = 23
NATIONAL_CHARSET: Final = "AL16UTF16"
#: A capture that was away for a night finds what it needs.
ARCHIVE_HOURS: Final = 24
ROOT: Final = "CDB$ROOT"

CHARACTER_SETS: Final = """
select n.parameter, n.value from nls_database_parameters n
where n.parameter in ('NLS_CHARACTERSET', 'NLS_NCHAR_CHARACTERSET')"""
DESTINATIONS: Final = """
select count(*) from v$archive_dest_status s where s.status = 'VALID' and s.type = 'LOCAL'"""
IS_RDS: Final = "select count(*) from all_users u where u.username = 'RDSADMIN'"
RDS_HOURS: Final = """
select r.value from rdsadmin.rds_configuration r where r.name = 'archivelog retention hours'"""
DELETION_POLICY: Final = """
select r.value from v$rman_configuration r where r.name = 'ARCHIVELOG DELETION POLICY'"""
IS_COMMON: Final = "select count(*) from user_users u where u.common = 'YES'"
CONTAINERS: Final = "select count(*) from v$containers c where c.name = :name"
OTHER_SESSIONS: Final = """
select count(*) from gv$session s
where s.username = user and s.type = 'USER' and (s.module is null or s.module <> 'bowline')"""
ONLINE_LOGS: Final = "select count(*) from v$log"
IN_DOUBT: Final = "select count(*) from dba_2pc_pending p"


def version(look: Look) -> Iterator[Finding]:
    found = _version(look)
    if found < OLDEST:
        yield look.error(
            "VersionTooOld",
            f"the server is version {look.db.version}, and 12.1 is the oldest supported",
            "upgrade the server first",
        )
    if found[0] > NEWEST:
        yield look.warning(
            "VersionUnknown",
            f"the server is version {look.db.version}, and nothing newer than {NEWEST}ai is known",
            "try the migration with a copy of the database first",
        )


def side(look: Look) -> Iterator[Finding]:
    if not look.is_source:
        yield look.error(
            "OracleTarget",
            "Oracle can't be the target: rows and a schema are not copied into it",
            "name it as spec.source, with PostgreSQL or YugabyteDB as the target",
        )
    elif not look.site.config.existing_schema:
        yield look.error(
            "SchemaNotConverted",
            "the schema of Oracle is not converted by this version",
            "make the tables on the target by hand (docs/oracle-types.md tells the types), and set"
            " spec.schema.mode: Existing",
        )


def database(look: Look) -> Iterator[Finding]:
    here = look.database
    if here["DATABASE_ROLE"] != "PRIMARY" or here["OPEN_MODE"] != "READ WRITE":
        yield look.error(
            "Standby",
            f"the database takes no writes: its role is {here['DATABASE_ROLE']}, and it is open"
            f" {here['OPEN_MODE']}",
            "name the primary database, open read write",
        )


def redo(look: Look) -> Iterator[Finding]:
    """Of a container database it is the root's, and looked at there."""
    if look.is_origin and not look.is_plugged:
        yield from _redo(look, look)


def _redo(look: Look, there: Look) -> Iterator[Finding]:
    yield from _logging(look, there)
    yield from _destinations(look, there)


def _logging(look: Look, there: Look) -> Iterator[Finding]:
    here = there.database
    if here["LOG_MODE"] != "ARCHIVELOG":
        yield look.error(
            "NotArchiving",
            f"the log mode is {here['LOG_MODE']}: redo is overwritten before it is read",
            "startup mount, alter database archivelog, alter database open; on RDS: turn backups on",
        )
    if here["SUPPLEMENTAL_LOG_DATA_MIN"] not in ("YES", "IMPLICIT"):
        yield look.error(
            "SupplementalLoggingOff",
            "the database has no minimal supplemental logging: rows can't be told from the redo",
            "alter database add supplemental log data; on RDS:"
            " rdsadmin.rdsadmin_util.alter_supplemental_logging('ADD')",
        )
    if here["FORCE_LOGGING"] != "YES":
        yield look.warning(
            "NotForceLogging",
            "the database does not force logging: rows that are loaded as unrecoverable, or with nologging,"
            " are in no redo, and would be missing on the other side",
            "alter database force logging; on RDS: rdsadmin.rdsadmin_util.force_logging(true)",
        )


def _destinations(look: Look, there: Look) -> Iterator[Finding]:
    if not there.value(DESTINATIONS):
        yield look.error(
            "NoArchiveDestination",
            "no archive destination is local and valid: logs that were switched can't be mined",
            "let one of log_archive_dest_n be LOCATION=...",
        )


def archives(look: Look) -> Iterator[Finding]:
    if not look.is_origin:
        return
    if look.value(IS_RDS) and not any(refused(look, ("rdsadmin.rds_configuration",))):
        yield from _rds_archives(look)
        return
    policy = look.value(DELETION_POLICY) or "not set"
    yield look.note(
        "ArchiveRetention",
        "how long archived logs stay is not told by the database (RMAN's archivelog deletion policy:"
        f" {policy}): what is deleted before it was mined ends the migration",
        f"keep archived logs for {ARCHIVE_HOURS} hours or more while the migration lasts",
    )


def _rds_archives(look: Look) -> Iterator[Finding]:
    told = str(look.value(RDS_HOURS) or "0").strip()
    hours = int(told) if told.isdecimal() else 0
    if hours < ARCHIVE_HOURS:
        yield look.warning(
            "ArchiveRetention",
            f"archived logs stay for {hours} hours: a capture that is away for longer ends the migration",
            f"rdsadmin.rdsadmin_util.set_configuration('archivelog retention hours', '{ARCHIVE_HOURS}')",
        )


def character_sets(look: Look) -> Iterator[Finding]:
    found = {row["PARAMETER"]: row["VALUE"] for row in look.rows(CHARACTER_SETS)}
    charset, national = found.get("NLS_CHARACTERSET"), found.get("NLS_NCHAR_CHARACTERSET")
    if look.is_receiver and charset not in CHARSETS:
        yield look.error(
            "UnsupportedCharacterSet",
            f"on the way back it must be known what text fits, and it is not for character set {charset}",
            f"set spec.cutover.fallback: false; known are {', '.join(CHARSETS)}",
        )
    if national != NATIONAL_CHARSET:
        yield look.error(
            "UnsupportedCharacterSet",
            f"the national character set is {national}, and only {NATIONAL_CHARSET} is supported",
        )


def container(look: Look) -> Iterator[Finding]:
    """Redo is the container database's: a common user mines it in the root, another one inside, where that is known."""
    if not look.is_origin or not look.is_plugged:
        return
    if not look.value(IS_COMMON) and mines_inside(look.db):
        yield from _inside(look)
    elif not look.value(IS_COMMON):
        yield look.error(
            "CommonUserNeeded",
            f"user {look.user} is of a pluggable database alone, and before 19.10 LogMiner reads logs in {ROOT} alone:"
            f" this is {look.db.version}",
            "give the migration a common user: `bowline grants --engine oracle --user C##BOWLINE`",
        )
    elif "SET CONTAINER" not in look.privileges:
        yield look.error(
            "NotPermitted", f"user {look.user} lacks SET CONTAINER, to mine in {ROOT}", GRANTS
        )
    else:
        root, where = connect_to_mine(look.site)
        with closing(root):
            there = Look(look.site, root)
            yield from _redo(look, there)
            yield from _root(look, there, where.pluggable or "")


def _inside(look: Look) -> Iterator[Finding]:
    """What can be seen of the redo from inside: the server finds the logs, and the views must tell which there are."""
    yield from _logging(look, look)
    if not any(refused(look, ("V$LOG",))) and not look.value(ONLINE_LOGS):
        yield look.error(
            "LogsHidden",
            "V$LOG shows no online log: which redo there is can't be told from inside this pluggable database",
            "Bowline can't capture from a database that hides its logs",
        )


def _root(look: Look, there: Look, pluggable: str) -> Iterator[Finding]:
    """What a common user needs in the root: the same privileges, and to see the pluggable database's rows there."""
    for right in MINING:
        if right.privilege not in there.privileges:
            yield look.error(
                "NotPermitted",
                f"user {look.user} lacks {right.privilege} in {ROOT}, to {right.purpose}",
                GRANTS,
            )
    for view in refused(there, CAPTURE_VIEWS):
        yield look.error("NotPermitted", f"user {look.user} may not read {view} in {ROOT}", GRANTS)
    if not any(refused(there, ("V$CONTAINERS",))) and not there.value(CONTAINERS, name=pluggable):
        yield look.error(
            "ContainerHidden",
            f"in {ROOT} user {look.user} does not see what is of {pluggable}: open transactions and redo"
            " would be missed",
            f"alter user {look.user} set container_data = all container = current (in {ROOT})",
        )


def shared_user(look: Look) -> Iterator[Finding]:
    if count := look.value(OTHER_SESSIONS):
        yield look.warning(
            "SharedUser",
            f"{count} sessions that are not the migration's use its user {look.user}:"
            " the fence lets that user pass",
            "give the migration a user of its own",
        )


def in_doubt(look: Look) -> Iterator[Finding]:
    if count := look.value(IN_DOUBT):
        yield look.warning(
            "InDoubtTransactions",
            f"{count} distributed transactions are in doubt: those that hold locks can't be ended by a fence",
            "commit force or rollback force what DBA_2PC_PENDING shows",
        )


def _version(look: Look) -> tuple[int, int]:
    major, minor = look.db.version.split(".")[:2]
    return int(major), int(minor)


CHECKS = (
    version,
    side,
    database,
    redo,
    archives,
    character_sets,
    container,
    shared_user,
    in_doubt,
)
