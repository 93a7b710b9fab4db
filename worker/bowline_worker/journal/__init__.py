"""The durable change log of one stream: one writer (capture), readers in other processes (apply).

What holds, whenever a process is killed or the machine goes down:

* a block is durable before its position is acknowledged, and only durable blocks are read;
* readers see whole transactions; a restart cuts an unfinished one, and the origin sends it again;
* a writer that was replaced can't add anything that a reader sees, even if it wakes up much later;
* damage anywhere but in a torn last block is an error that names segment and offset.

The directory: `CURRENT` (segments, whose journal it is, generation), `*.seg`, `tail-<generation>` (how far its writer
is durable), `lock` (held for moments), `applied` (from the apply role), `fingerprint` (the tables' shapes).
"""

from bowline_worker.journal.applied import read_applied, write_applied
from bowline_worker.journal.block import Draft, Mark
from bowline_worker.journal.reader import Block, Reader
from bowline_worker.journal.sealing import last_mark
from bowline_worker.journal.store import JournalFull
from bowline_worker.journal.writer import Limits, Writer

__all__ = [
    "Block",
    "Draft",
    "JournalFull",
    "Limits",
    "Mark",
    "Reader",
    "Writer",
    "last_mark",
    "read_applied",
    "write_applied",
]
