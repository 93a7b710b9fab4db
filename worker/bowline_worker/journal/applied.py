"""What the apply role tells the capture role: the block up to which segments may be deleted."""

from __future__ import annotations

from pathlib import Path

from bowline_worker.journal.store import DirectoryStore

APPLIED = "applied"


def write_applied(directory: Path, block: int) -> None:
    """Tell that the receiver has committed all blocks up to this one, durably."""
    DirectoryStore(directory).replace(APPLIED, b"%d\n" % block, durable=False)


def read_applied(directory: Path) -> int:
    """Read it; 0 while nothing is known, which deletes nothing."""
    content = DirectoryStore(directory).read_small(APPLIED) or b""
    # A crash may have left it empty: it is not synced, because an older block is as safe.
    return int(content) if content.endswith(b"\n") and content.strip().isdigit() else 0
