"""Names of what Bowline makes in PostgreSQL: made of hashes, because slots are named per server, in 63 bytes."""

from __future__ import annotations

import hashlib
import re

FENCE_TRIGGER = "bowline_fence"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def publication(migration: str) -> str:
    return f"bowline_{_hash(migration)}"


def slot(migration: str, database: str, number: int) -> str:
    """Name the slot that attempt `number` made in this database."""
    return f"bowline_{_hash(f'{migration}/{database}')}_{number}"


def slot_number(migration: str, database: str, name: str) -> int | None:
    """Tell the number of one of this migration's slots; None: it is not one of them."""
    found = re.fullmatch(re.escape(slot(migration, database, 0)[:-1]) + r"(\d+)", name)
    return int(found[1]) if found else None
