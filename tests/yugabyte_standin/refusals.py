"""The one file of what YugabyteDB refuses: by which statement it is known, what it answers, and where that is said.

The conformance suite leaves out what stands in LEFT_OUT, and nothing else. A fact for which no source was found is not
here: docs/yugabytedb.md lists it as open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DOCS = "https://docs.yugabyte.com/stable"
LOGICAL = f"{DOCS}/additional-features/change-data-capture/using-logical-replication"
ISSUES = "https://github.com/yugabyte/yugabyte-db/issues"

NOT_SUPPORTED = "0A000"
RETRY = "40001"
#: https://docs.yugabyte.com/stable/develop/learn/transactions/transactions-errorcodes-ysql/
RETRY_MESSAGE = (
    "could not serialize access due to concurrent update (yb_max_query_layer_retries set to 0)"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A statement that YugabyteDB refuses. Messages are its own where the source quotes one."""

    what: str
    statement: re.Pattern[str]
    message: str
    source: str
    sqlstate: str = NOT_SUPPORTED


def _refusal(what: str, pattern: str, message: str, source: str) -> Refusal:
    return Refusal(what, re.compile(pattern, re.IGNORECASE | re.DOTALL), message, source)


REFUSALS = (
    _refusal(
        "system column ctid",
        r"\bctid\b",
        'System column "ctid" is not supported yet',
        f"{ISSUES}/24843",
    ),
    _refusal(
        "system columns xmin, xmax, cmin, cmax",
        r"\b(?:xmin|xmax|cmin|cmax)\b",
        "System column is not supported yet",
        f"{ISSUES}/24843",
    ),
    _refusal(
        "LOCK TABLE but in ACCESS SHARE mode",
        r"^\s*lock\s+(?:table\s+)?(?!.*\bin\s+access\s+share\s+mode)",
        "lock mode not supported yet",
        f"{DOCS}/api/ysql/the-sql-language/statements/txn_lock/",
    ),
    # They came with v2025.1, behind a flag: a server may have none.
    _refusal(
        "advisory locks",
        r"\bpg_(?:try_)?advisory_\w+\s*\(",
        "advisory locks are not yet implemented",
        f"{ISSUES}/3642",
    ),
    _refusal(
        "positions in a write-ahead log of the server",
        r"\b(?:pg_current_wal_lsn|pg_wal_lsn_diff|txid_current)\s*\(",
        "function is not supported by YugabyteDB",
        f"{LOGICAL}/#limitations",
    ),
    _refusal(
        "IDENTIFY_SYSTEM, and with it TIMELINE_HISTORY",
        r"^\s*(?:identify_system|timeline_history)\b",
        "IDENTIFY_SYSTEM is not supported by YugabyteDB",
        f"{LOGICAL}/#limitations",
    ),
    _refusal(
        "temporary replication slots",
        r"^\s*create_replication_slot\s+\S+\s+temporary\b",
        "temporary replication slot is not yet supported",
        f"{ISSUES}/19263",
    ),
    _refusal(
        "changes that are pulled by a function",
        r"\bpg_logical_slot_(?:get|peek)_\w*changes\s*\(",
        "function is not supported by YugabyteDB",
        f"{LOGICAL}/#limitations",
    ),
    _refusal(
        "REPLICA IDENTITY USING INDEX",
        r"\breplica\s+identity\s+using\s+index\b",
        "REPLICA IDENTITY INDEX is not supported",
        f"{LOGICAL}/key-concepts/#replica-identity",
    ),
    _refusal(
        "table inheritance",
        r"^\s*create\s+.*\binherits\s*\(",
        "INHERITS not supported yet",
        f"{ISSUES}/5956",
    ),
    _refusal(
        "exclusion constraints",
        r"^\s*(?:create|alter)\s+.*\bexclude\s+using\b",
        "EXCLUDE constraint not supported yet",
        f"{ISSUES}/3944",
    ),
    _refusal(
        "GiST indexes",
        r"^\s*create\s+.*\busing\s+gist\b",
        'index method "gist" not supported yet',
        f"{ISSUES}/1337",
    ),
    _refusal(
        "LISTEN and NOTIFY",
        r"^\s*(?:listen|notify|unlisten)\b",
        "LISTEN/NOTIFY not supported yet",
        f"{ISSUES}/1872",
    ),
    _refusal(
        "two-phase transactions",
        r"^\s*(?:prepare\s+transaction|(?:commit|rollback)\s+prepared)\b",
        "PREPARE TRANSACTION not supported yet",
        f"{ISSUES}/11084",
    ),
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the suite does not ask of YugabyteDB, for the reason that the source gives."""

    what: str
    source: str


#: A stream from YugabyteDB has no rows of tables without a primary key.
KEYLESS = LeftOut(
    "a stream of tables without a primary key",
    "https://striim.com/docs/en/yugabytedb-operational-considerations.html",
)
LEFT_OUT = (KEYLESS,)


def refused(statement: str) -> Refusal | None:
    """Tell why YugabyteDB would not run this statement; what is quoted in it says nothing."""
    bare = _unquoted(statement)
    return next((each for each in REFUSALS if each.statement.search(bare)), None)


_QUOTED = re.compile(r"\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*", re.DOTALL)


def _unquoted(statement: str) -> str:
    return _QUOTED.sub("''", statement)
