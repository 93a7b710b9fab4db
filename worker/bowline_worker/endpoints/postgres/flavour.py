"""What this server can: PostgreSQL, or YugabyteDB, which speaks the same protocol and can't do all of the same.

The only module that knows one from the other; beside each difference stands where it is said. What no source was found
for is not relied on (docs/yugabytedb.md lists it). In the addresses

    LOGICAL  https://docs.yugabyte.com/stable/additional-features/change-data-capture/using-logical-replication
    ISSUES   https://github.com/yugabyte/yugabyte-db/issues
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from psycopg import pq

from bowline_worker.endpoints.postgres.catalog import Db


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """What the modules beside this one ask before they speak."""

    name: str
    #: The output plugin of our slots, as far as it sends what pgoutput does.
    plugin: str
    #: A system column that tells one row from its equals while a statement runs.
    row_place: str
    #: Tables are read by ranges of their pages.
    has_pages: bool
    #: LOCK TABLE keeps writers out, and so does DDL, until the transaction ends.
    locks_tables: bool
    has_advisory_locks: bool
    #: Positions are those of one log of the server: the current one is told, and all slots mean the same.
    has_one_log: bool
    has_temporary_slots: bool
    #: Tables without a primary key are in streams.
    streams_keyless: bool
    #: Identities (relreplident) by which a keyed table's changes can be applied.
    identities: str
    #: A session is known, and can be ended, at its own node only.
    has_nodes: bool


POSTGRESQL: Final = Flavour(
    name="PostgreSQL",
    plugin="pgoutput",
    row_place="ctid",
    has_pages=True,
    locks_tables=True,
    has_advisory_locks=True,
    has_one_log=True,
    has_temporary_slots=True,
    streams_keyless=True,
    identities="df",
    has_nodes=False,
)

YUGABYTEDB: Final = Flavour(
    name="YugabyteDB",
    # pgoutput does not know identity CHANGE, which is that of every table unless somebody changed it:
    # LOGICAL/key-concepts/#output-plugin
    plugin="yboutput",
    # ISSUES/24843 (no ctid), ISSUES/1284 (ybctid in statements)
    row_place="ybctid",
    # There is no ctid; ranges of yb_hash_code() of a hash-sharded key go to the tablets that have them:
    # https://docs.yugabyte.com/stable/api/ysql/exprs/func_yb_hash_code/
    has_pages=False,
    # Only ACCESS SHARE: https://docs.yugabyte.com/stable/api/ysql/the-sql-language/statements/txn_lock/
    # and DDL is no part of the transaction around it; with the flag that makes it one, there are no streams:
    # LOGICAL/#limitations ("CDC currently doesn't support Transactional DDL")
    locks_tables=False,
    # ISSUES/3642: none before v2025.1.
    has_advisory_locks=False,
    # LOGICAL/#limitations: no pg_current_wal_lsn, no pg_wal_lsn_diff, no IDENTIFY_SYSTEM;
    # LOGICAL/key-concepts/#lsn: a position means something to its own slot alone.
    has_one_log=False,
    # ISSUES/19263
    has_temporary_slots=False,
    # https://striim.com/docs/en/yugabytedb-operational-considerations.html
    streams_keyless=False,
    # CHANGE: the new values of what changed, and the key: LOGICAL/key-concepts/#replica-identity
    # The identity at the slot's creation holds for the slot, so it is set before (same place).
    identities="cdf",
    # pg_stat_activity shows the processes of the node that is asked; yb_servers() lists the nodes:
    # https://docs.yugabyte.com/stable/explore/observability/pg-stat-activity/
    has_nodes=True,
)

_YUGABYTEDB = re.compile(r"-YB-")


def flavour_of(connection: Db) -> Flavour:
    """What the server of a connection can. It has said its version when it let us in, as version() does."""
    return of_pgconn(connection.pgconn)


def of_pgconn(pgconn: pq.abc.PGconn) -> Flavour:
    """What the server of libpq's connection can; also where it is a replication connection, which runs no version()."""
    said = (pgconn.parameter_status(b"server_version") or b"").decode()
    return YUGABYTEDB if _YUGABYTEDB.search(said) else POSTGRESQL
