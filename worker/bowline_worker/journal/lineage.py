"""Which log a journal was read from, kept beside it: what follows must come from the same one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.base import Lineage
from bowline_worker.journal.store import DirectoryStore

LINEAGE = "lineage"


def remember(directory: Path, lineage: Lineage) -> None:
    """Store it durably, in place of what was there. What is there already needs no room on a full volume."""
    store, content = DirectoryStore(directory), json.dumps(asdict(lineage)).encode()
    if store.read_small(LINEAGE) != content:
        store.replace(LINEAGE, content, durable=True)


def remembered(directory: Path) -> Lineage | None:
    """Read what was stored; None: nothing was read yet."""
    content = DirectoryStore(directory).read_small(LINEAGE)
    if content is None:
        return None
    try:
        return Lineage(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise Unsafe(
            f"{directory / LINEAGE} is damaged: {type(error).__name__}", reason="JournalDamaged"
        ) from error
