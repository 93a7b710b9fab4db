"""Notice an origin whose log is not the one that was read: restored, or taken over by a standby that was behind.

The server sends nothing that commits below the position which a stream asks for. On a server that lost what it had
sent, new transactions get those positions again: they would be skipped without a word.

- A promotion, or a recovery to a point in time, starts a new timeline; its history tells where it left the old one.
- A storage snapshot that was put back has the same timeline: its log ends earlier, until the application has written as
  much again; and its heartbeat counts on from an older number.
"""

from __future__ import annotations

from psycopg import pq

from bowline_worker.endpoints.base import Lineage, went_back
from bowline_worker.endpoints.postgres import books
from bowline_worker.endpoints.postgres.catalog import Db, records
from bowline_worker.endpoints.postgres.connection import translated
from bowline_worker.endpoints.postgres.flavour import flavour_of, of_pgconn
from bowline_worker.endpoints.postgres.frames import position_from
from bowline_worker.endpoints.postgres.libpq import query
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Position

#: The log of a server that does not tell one from another.
NO_LOG = "none/0"

BEAT = """
insert into bowline.heartbeat as h (migration, beat) values (%(migration)s, 1)
on conflict (migration) do update set beat = h.beat + 1, at = clock_timestamp()
returning h.beat"""
STATE_OF_YUGABYTEDB = """
select coalesce((select beat from bowline.heartbeat where migration = %(migration)s), 0) as beat"""
STATE = """
select pg_current_wal_lsn()::text as log_end,
       coalesce((select beat from bowline.heartbeat where migration = %(migration)s), 0) as beat"""


def beat(site: Site) -> int:
    """Write a heartbeat row, durably; tell its number. A connection each time: nothing to go stale."""
    with translated(site, "could not write a heartbeat"), books.durably(site) as connection:
        (row,) = records(connection, BEAT, {"migration": site.migration})
        return int(row["beat"])


def read(stream: pq.abc.PGconn) -> Lineage:
    """What the server at the other end of a replication connection is.

    YugabyteDB tells of none: a restore of it asks for new slots, and the heartbeat tells one that went back.
    https://docs.yugabyte.com/stable/additional-features/change-data-capture/using-logical-replication/#cdc-with-point-in-time-recovery
    """
    if not of_pgconn(stream).has_one_log:
        return Lineage(log=NO_LOG)
    system, timeline, *_ = query(stream, "IDENTIFY_SYSTEM")
    return Lineage(log=f"{system}/{timeline}")


def check(
    site: Site,
    connection: Db,
    stream: pq.abc.PGconn,
    found: Lineage,
    after: Position,
    seen: Lineage | None,
) -> None:
    """Unsafe where the server does not have what was read from it up to `after`."""
    if not flavour_of(connection).has_one_log:
        (now,) = records(connection, STATE_OF_YUGABYTEDB, {"migration": site.migration})
        _check_beat(site, now["beat"], seen)
        return
    (now,) = records(connection, STATE, {"migration": site.migration})
    if after > (end := position_from(now["log_end"])):
        raise went_back(site.side, f"the server's log ends at {end}, and the journal at {after}")
    if seen is None:
        return
    old_system, old = seen.log.split("/")
    system, timeline = found.log.split("/")
    if system != old_system:
        raise went_back(site.side, f"it was the server {old_system}, and is the server {system}")
    if timeline != old:
        left = _left(stream, old, timeline)
        if left is None or after > left:
            where = (
                f"left timeline {old} at {left}" if left else f"does not come from timeline {old}"
            )
            raise went_back(
                site.side, f"timeline {timeline} {where}, and the journal ends at {after}"
            )
    _check_beat(site, now["beat"], seen)


def _check_beat(site: Site, newest: int, seen: Lineage | None) -> None:
    if seen is not None and newest < seen.beat:
        raise went_back(site.side, f"heartbeat {seen.beat} was written, and {newest} is the newest")


def _left(stream: pq.abc.PGconn, old: str, timeline: str) -> Position | None:
    """Where the old timeline ends in the history of the new one; None: it is not in it."""
    if int(timeline) < int(old):
        return None  # and the first one has no history to ask for
    _, history = query(stream, f"TIMELINE_HISTORY {timeline}")
    for line in history.splitlines():
        match line.split():
            case [number, at, *_] if number == old:
                return position_from(at)
    return None
