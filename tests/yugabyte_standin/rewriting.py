"""What the relay changes in statements that PostgreSQL does not know, or would answer otherwise than YugabyteDB."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

#: As the real one's, but for what follows the build.
SERVER_VERSION = "15.12-YB-2025.2.2.2-b11"
VERSION = f"PostgreSQL {SERVER_VERSION} behind a relay that stands in for it"

_REPLIDENT = re.compile(r"(?<![\w'])((?:\w+\.)?)relreplident\b", re.IGNORECASE)
_PLUGIN = re.compile(r"\b(\w+\.)plugin\b", re.IGNORECASE)
_ACTIVITY = re.compile(
    r"\bpg_stat_activity\b(\s+(?!where\b|on\b|join\b|order\b)\w+)?", re.IGNORECASE
)
_SLOTS = re.compile(
    r"\bpg_replication_slots\b(\s+(?!where\b|on\b|join\b|order\b)\w+)?", re.IGNORECASE
)
_HASH_CODE = re.compile(r"\byb_hash_code\s*\(([^()]*)\)", re.IGNORECASE)
_TERMINATE = re.compile(r"\bpg_terminate_backend\s*\(\s*([^()]*?)\s*\)", re.IGNORECASE)

#: Below, a table of YugabyteDB with identity CHANGE is one with FULL: the relay needs the old row to tell what changed.
_IDENTITY = "(case {0}relreplident when 'f' then 'c'::\"char\" else {0}relreplident end)"


def rewrite(statement: str, pids: Callable[[], Sequence[int]], nodes: Sequence[int]) -> str:
    """Make of YugabyteDB's statement one of PostgreSQL's; `pids` are the sessions of this node."""
    text = re.sub(r"\bversion\(\)", f"'{VERSION}'::text", statement)
    text = _REPLIDENT.sub(lambda found: _IDENTITY.format(found[1]), text)
    text = re.sub(r"replica identity change\b", "replica identity full", text, flags=re.IGNORECASE)
    text = re.sub(r"\bybctid\b", "ctid", text)
    text = _PLUGIN.sub(r"replace(\1plugin::text, 'pgoutput', 'yboutput')", text)
    text = text.replace("yboutput'::plugin", "pgoutput'").replace(" yboutput ", " pgoutput ")
    text = re.sub(r"'yboutput'(?=\s*\)\s*$)", "'pgoutput'", text)
    # Bits of a hash that PostgreSQL knows: any number from 0 to 65535 that the key alone decides would do.
    text = _HASH_CODE.sub(r"(hash_record_extended(row(\1), 0) & 65535)::int", text)
    if "yb_servers()" in text:
        listed = ", ".join(f"('127.0.0.1'::text, {port}::int8)" for port in nodes)
        text = text.replace(
            "yb_servers()", f"(select * from (values {listed}) listed (host, port))"
        )
    if _TERMINATE.search(text):
        # Only a session of one's own node can be ended.
        own = _array(pids())
        text = _TERMINATE.sub(
            rf"(case when \1 = any ({own}) then pg_catalog.pg_terminate_backend(\1) else false end)",
            text,
        )
    if "pg_stat_activity" in text:
        own = _array(pids())
        text = _ACTIVITY.sub(
            lambda found: (
                f"(select * from pg_catalog.pg_stat_activity where pid = any ({own}))"
                f" {found[1] or 'pg_stat_activity'}"
            ),
            text,
        )
    return _SLOTS.sub(
        lambda found: (
            "(select r.*, md5(r.slot_name) as yb_stream_id from pg_catalog.pg_replication_slots r)"
            f" {found[1] or 'pg_replication_slots'}"
        ),
        text,
    )


def _array(pids: Sequence[int]) -> str:
    return "'{" + ",".join(map(str, pids)) + "}'::int[]"
