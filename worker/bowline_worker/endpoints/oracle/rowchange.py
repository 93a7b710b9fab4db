"""A captured change as it waits for its commit: its SQL is read when the transaction is given out, not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from bowline_worker.endpoints.oracle.logrow import PLACEHOLDER_ROW_ID, Address, Code
from bowline_worker.model import TableName

#: What a change takes in memory beside its SQL.
OVERHEAD_BYTES: Final = 400


class Parsed(Protocol):
    """What is needed here of a statement that was read (redo.py)."""

    @property
    def set(self) -> Mapping[str, object]: ...
    @property
    def where(self) -> Mapping[str, object]: ...


Parse = Callable[[str], Parsed]


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row was inserted, updated or deleted, or a table truncated (Code.DDL).

    With `reselect` it is a *touch*: these columns of the row that `sql` finds (an UPDATE that sets them to
    `Unsupported`) were written in pieces which are not assembled. Their values are to be read AS OF the commit's SCN,
    by the key that the row has then: a later change in the same transaction may have moved it. No row there means that
    the transaction itself deleted it, or took its insert back.
    """

    code: int
    table: TableName
    object_id: int
    row_id: str
    sql: str
    scn: int
    address: Address
    reselect: tuple[str, ...] = ()
    is_undone: bool = (
        False  #: a touch that was taken back: to read the row again is right all the same
    )

    @property
    def is_touch(self) -> bool:
        return bool(self.reselect)

    @property
    def has_placeholder(self) -> bool:
        """Its ROW_ID tells nothing."""
        return self.row_id in ("", PLACEHOLDER_ROW_ID)

    @property
    def is_truncate(self) -> bool:
        return self.code == Code.DDL

    @property
    def size(self) -> int:
        return len(self.sql) + OVERHEAD_BYTES
