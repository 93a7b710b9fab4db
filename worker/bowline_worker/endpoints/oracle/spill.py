"""Changes of large open transactions, put aside in a file.

The file has no name: it is gone when the process is, and a restart reads the redo again.
"""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

from bowline_worker.contract import TryAgain
from bowline_worker.endpoints.oracle.logrow import Address
from bowline_worker.endpoints.oracle.rowchange import RowChange
from bowline_worker.model import TableName


class SpillFile:
    """A stack of batches of changes, in an append-only file."""

    def __init__(self, directory: Path) -> None:
        try:
            descriptor, name = tempfile.mkstemp(prefix="spill-", dir=directory)
            os.unlink(name)
        except OSError as error:
            raise _failed(directory, error) from error
        self._directory, self._descriptor = directory, descriptor
        self._close = weakref.finalize(self, os.close, descriptor)
        self._batches: list[tuple[int, int, int]] = []  # offset, bytes, changes
        self._end = 0

    def __len__(self) -> int:
        return sum(count for _, _, count in self._batches)

    def push(self, changes: Sequence[RowChange]) -> None:
        """Add a batch at the end. TryAgain where the volume is full: nothing is lost by a restart."""
        payload = json.dumps([_flat(each) for each in changes]).encode()
        try:
            rest, at = memoryview(payload), self._end
            while rest:
                written = os.pwrite(self._descriptor, rest, at)
                rest, at = rest[written:], at + written
        except OSError as error:
            raise _failed(self._directory, error) from error
        self._batches.append((self._end, len(payload), len(changes)))
        self._end += len(payload)

    def pop(self) -> list[RowChange]:
        """Take the newest batch back; [] when none is left."""
        return self._read(*self._batches.pop()[:2]) if self._batches else []

    def __iter__(self) -> Iterator[RowChange]:
        for offset, length, _ in self._batches:
            yield from self._read(offset, length)

    def close(self) -> None:
        """Give the room back."""
        self._close()

    def _read(self, offset: int, length: int) -> list[RowChange]:
        payload = bytearray()
        while len(payload) < length:
            part = os.pread(self._descriptor, length - len(payload), offset + len(payload))
            if not part:
                raise TryAgain("a file of spilled changes has lost its end", reason="SpillFailed")
            payload += part
        tables: dict[tuple[str, str], TableName] = {}
        return [_round(each, tables) for each in json.loads(payload)]


def _failed(directory: Path, error: OSError) -> TryAgain:
    return TryAgain(
        f"could not put changes of a large transaction aside in {directory}: {error.strerror}",
        reason="SpillFailed",
        hint="give the volume room for the changes of the largest open transactions",
    )


_Flat = tuple[int, str, str, int, str, str, int, str, int, tuple[str, ...], bool]


def _flat(change: RowChange) -> _Flat:
    return (
        change.code,
        change.table.schema,
        change.table.name,
        change.object_id,
        change.row_id,
        change.sql,
        change.scn,
        change.address.rs_id,
        change.address.ssn,
        change.reselect,
        change.is_undone,
    )


def _round(flat: _Flat, tables: dict[tuple[str, str], TableName]) -> RowChange:
    code, schema, name, object_id, row_id, sql, scn, rs_id, ssn, reselect, is_undone = flat
    table = tables.setdefault((schema, name), TableName(schema, name))
    address = Address(rs_id, ssn)
    return RowChange(code, table, object_id, row_id, sql, scn, address, tuple(reselect), is_undone)
