"""The bookkeeping tables of PostgreSQL and YugabyteDB, as they are made."""

from __future__ import annotations

#: One row per migration and side that this database is. `cutover_*`: the session of the cutover role here.
SWITCH = """
create table if not exists bowline.switch (
    migration text primary key,
    attempt int not null default 0,
    verdict text not null default '' check (verdict in ('', 'Armed', 'Committed', 'Aborted')),
    aborted int[] not null default '{}',
    opened int not null default 0,
    fenced bool not null default false,
    fenced_at timestamptz,
    committed_at timestamptz,
    opened_at timestamptz,
    reason text not null default '',
    cutover_pid int,
    cutover_started text
)"""

#: Lane rows of the stream from `origin` into this database.
LANE = """
create table if not exists bowline.lane (
    migration text not null,
    origin text not null check (origin in ('source', 'target')),
    lane int not null,
    number int not null,
    generation bigint not null,
    block bigint not null default 0,
    passed bool not null default false,
    retired int not null default 0,
    barrier int not null default 0,
    probe int not null default 0,
    canary int not null default 0,
    beat bigint not null default 0,
    events bigint not null default 0,
    discarded bigint not null default 0,
    position text not null default '',
    backend_pid int,
    backend_started text,
    primary key (migration, origin, lane)
) with (fillfactor = 50)"""

#: Published: rows that travel with the stream that starts in this database. Inserted once, never changed.
SIGNAL = """
create table if not exists bowline.signal (
    migration text not null,
    kind text not null,
    attempt int not null,
    at timestamptz not null default clock_timestamp(),
    primary key (migration, kind, attempt)
)"""

#: Published. Updated every second by capture.
HEARTBEAT = """
create table if not exists bowline.heartbeat (
    migration text primary key,
    beat bigint not null default 0,
    at timestamptz not null default clock_timestamp()
)"""

#: Everything made in this database, recorded before it is made.
MADE = """
create table if not exists bowline.made (
    migration text not null,
    kind text not null,
    name text not null,
    before text not null default '',
    at timestamptz not null default clock_timestamp(),
    primary key (migration, kind, name)
)"""

#: Whether this migration's fence stands, where triggers read it (gate.py). Without a row it does.
GATE = """
create table if not exists bowline.gate (
    migration text primary key,
    raised bool not null
)"""

#: Snapshots that are readable in this database (the origin). A row is tried, and skipped where it is dead.
HELD = """
create table if not exists bowline.held (
    migration text not null,
    snapshot text not null,
    number int not null,
    position text not null,
    pid int not null,
    at timestamptz not null default clock_timestamp(),
    primary key (migration, snapshot)
)"""

#: The snapshot's ledger (the receiver): per table the position that its rows show, per chunk whether it is done.
COPIED = """
create table if not exists bowline.copied (
    migration text not null,
    table_schema text not null,
    table_name text not null,
    position text not null,
    rows_estimated bigint not null default 0,
    bytes_estimated bigint not null default 0,
    finished bool not null default false,
    primary key (migration, table_schema, table_name)
)"""
CHUNK = """
create table if not exists bowline.chunk (
    migration text not null,
    table_schema text not null,
    table_name text not null,
    ordinal int not null,
    range text not null,
    done bool not null default false,
    rows bigint not null default 0,
    bytes bigint not null default 0,
    done_at timestamptz,
    primary key (migration, table_schema, table_name, ordinal)
)"""

#: Progress marks of the migration as a whole (the receiver): 'snapshot', 'post-data'.
MARK = """
create table if not exists bowline.mark (
    migration text not null,
    mark text not null,
    at timestamptz not null default clock_timestamp(),
    primary key (migration, mark)
)"""

#: The exported schema (the receiver): each statement's transaction sets its own `done`.
STATEMENT = """
create table if not exists bowline.statement (
    migration text not null,
    section text not null,
    ordinal int not null,
    kind text not null,
    name text not null,
    sql text not null,
    done bool not null default false,
    primary key (migration, section, ordinal)
)"""

#: MADE first: it tells that the schema is ours, even where DDL is no transaction and somebody died in the middle.
TABLES = (MADE, SWITCH, LANE, SIGNAL, HEARTBEAT, GATE, HELD, COPIED, CHUNK, MARK, STATEMENT)
