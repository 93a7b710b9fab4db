"""Read a slot's changes as the server's own frames, through libpq: psycopg has no high-level API for replication.

The connection is here; pieces.py puts the frames together, pgoutput.py decodes them, slots.py keeps the slots.
"""

from __future__ import annotations

import select
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import psycopg
from psycopg import errors, pq

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import BowlineError, TryAgain, Unsafe
from bowline_worker.endpoints.base import Lineage, Piece
from bowline_worker.endpoints.postgres import lineage, names
from bowline_worker.endpoints.postgres.connection import (
    connect,
    connect_replication,
    connection_error,
    one_line,
    quote,
    translated,
)
from bowline_worker.endpoints.postgres.frames import EPOCH_MICROSECONDS, unreadable
from bowline_worker.endpoints.postgres.libpq import execute, result
from bowline_worker.endpoints.postgres.pieces import PieceMaker
from bowline_worker.endpoints.postgres.slots import (
    arm,
    disarm,
    end_consumer,
    lost,
    require,
    retention,
    slots,
    start_of,
)
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Position

__all__ = ["PostgresCapture", "arm", "capture", "disarm", "retention", "slots"]

#: One call returns about so much at most, so that its caller can make it durable.
READ_BYTES = 2 << 20
#: A sixth of the server's default wal_sender_timeout: several may be lost.
STATUS_SECONDS = 10.0

_XLOG_DATA, _KEEPALIVE = b"wk"
_HEADER = 25  # of XLogData: type, two positions, a clock
_u64 = struct.Struct(">Q").unpack_from
_status = struct.Struct(">cQQQqB").pack


def capture(
    site: Site, stream: StreamId, after: Position | None, seen: Lineage | None = None
) -> PostgresCapture:
    """Stream what committed after that position (None: from the slot's start); see base.Endpoint."""
    with translated(site, "could not read the slot"), connect(site) as connection:
        slot = require(connection, site, stream.number)
        if slot.confirmed is None:
            raise TryAgain(f"{site.side}: slot {slot.name} is still being made", reason="SlotBusy")
        start = after or start_of(connection, site, stream.number)
        if start is not None and slot.confirmed > start:
            there = f"the journal ends at {after}" if after else "there is no journal"
            raise Unsafe(
                f"{site.side}: slot {slot.name} is at {slot.confirmed}, {there}",
                reason="JournalBehindSlot",
                hint="changes in between are lost; bring the right journal back, or start the migration anew",
            )
        # First: the server may have no WAL sender for two.
        end_consumer(connection, site, slot.name)
        pgconn = connect_replication(site)
        try:
            found = lineage.read(pgconn)
            if after is not None:
                lineage.check(site, connection, pgconn, found, after, seen)
            _start(site, pgconn, slot.name, after)
            return PostgresCapture(site, slot.name, pgconn, found, after, slot.confirmed)
        except BaseException:
            pgconn.finish()
            raise


def _start(site: Site, pgconn: pq.abc.PGconn, slot: str, after: Position | None) -> None:
    publication = names.publication(site.migration)
    command = (
        f"START_REPLICATION SLOT {quote(slot)} LOGICAL {after or '0/0'} "
        f"(proto_version '1', publication_names '{quote(publication)}')"
    )
    try:
        execute(pgconn, command, pq.ExecStatus.COPY_BOTH)
    except psycopg.Error as error:
        raise _stream_error(site, slot, error) from error


def _stream_error(site: Site, slot: str, error: psycopg.Error) -> BowlineError:
    """Tell what ended a stream: a slot or a publication that is lost, or something that may pass."""
    message, where = one_line(error), f"{site.side}: slot {slot}"
    match error.sqlstate:
        case errors.UndefinedFile.sqlstate:
            return lost(site, slot, f"can't be read ({message})")
        case errors.ObjectNotInPrerequisiteState.sqlstate if "slot" in message:
            return lost(site, slot, f"can't be read ({message})")
        case errors.UndefinedObject.sqlstate if "publication" in message:
            return Unsafe(
                f"{where}: {message}: what was written without it is not in the stream",
                reason="PublicationLost",
                hint="start the migration anew",
            )
        case errors.UndefinedObject.sqlstate if "slot" in message:
            return lost(site, slot, "is not there")
        case None:
            return connection_error(site, message)
    return TryAgain(f"{where}: {message}", reason="StreamEnded")


class PostgresCapture:
    """Reads one slot. Never tells the server a position beyond what `acknowledge` was given.

    `describe` answers with the shapes that held before the last piece that `read` returned: a piece that changes one
    ends its list, and the new shape holds from the next `read` on.
    """

    def __init__(
        self,
        site: Site,
        slot: str,
        pgconn: pq.abc.PGconn,
        found: Lineage,
        after: Position | None,
        confirmed: Position,
    ) -> None:
        self._site, self._slot, self._pgconn = site, slot, pgconn
        self.lineage = found
        self._poll = select.poll()
        self._poll.register(pgconn.socket, select.POLLIN)
        self._acknowledged = after.order if after else 0
        # The server reads from further back than it sends: its keepalives tell older positions at first.
        self._pieces = PieceMaker(self._acknowledged, max(self._acknowledged, confirmed.order))
        self._status_due = 0.0

    def read(self, timeout: float) -> list[Piece]:
        """What has come, oldest first; [] after `timeout` seconds without any. See base.Capture."""
        self._pieces.turn()
        deadline = time.monotonic() + timeout
        found: list[Piece] = []
        size = 0
        with self._connected():
            self._send_status_if_due()
            while True:
                count, message = self._pgconn.get_copy_data(1)
                if count > 0:
                    piece = self._take(message)
                    if piece is None:
                        continue
                    if not piece.payload and found and not found[-1].payload:
                        found.pop()
                    found.append(piece)
                    size += len(piece.payload)
                    if piece.redefines or size >= READ_BYTES:
                        return found
                elif count < 0:
                    self._ended()
                elif self._poll.poll(0):
                    # More is here already: the fuller what is returned, the fewer fsyncs.
                    self._pgconn.consume_input()
                elif found or (wait := deadline - time.monotonic()) <= 0:
                    return found
                else:
                    self._wait(wait)

    def describe(self, relations: Iterable[int]) -> bytes:
        """Frames that explain those relations, as they were before the last piece that was read."""
        return self._pieces.describe(relations)

    def acknowledge(self, position: Position) -> None:
        """Let the server forget everything up to this position. The caller has made it durable."""
        self._acknowledged = max(self._acknowledged, position.order)
        with self._connected():
            self._send_status()

    def close(self) -> None:
        """End the connection. What was not acknowledged comes again."""
        self._pgconn.finish()

    def _take(self, message: memoryview) -> Piece | None:
        if message[0] == _XLOG_DATA:
            return self._pieces.take(message[_HEADER:])
        if message[0] != _KEEPALIVE:
            unreadable(f"a message of the unknown type {message[0]:#04x} around the stream")
        (end,) = _u64(message, 1)
        if message[17]:
            self._send_status()
        return self._pieces.idle(end)

    def _wait(self, seconds: float) -> None:
        until_status = max(0.0, self._status_due - time.monotonic())
        self._poll.poll(1 + 1000 * min(seconds, until_status))
        self._pgconn.consume_input()
        self._send_status_if_due()

    def _send_status_if_due(self) -> None:
        if time.monotonic() >= self._status_due:
            # The answer is a keepalive: an idle slot moves on even where the server has no reason to say so.
            self._send_status(answer=True)

    def _send_status(self, *, answer: bool = False) -> None:
        at, now = self._acknowledged, int(time.time() * 1e6) - EPOCH_MICROSECONDS
        self._pgconn.put_copy_data(_status(b"r", at, at, at, now, int(answer)))
        self._pgconn.flush()
        self._status_due = time.monotonic() + STATUS_SECONDS

    def _ended(self) -> NoReturn:
        end = result(self._pgconn)
        if end is not None and end.status == pq.ExecStatus.FATAL_ERROR:
            error = errors.error_from_result(end)
            raise _stream_error(self._site, self._slot, error) from error
        raise TryAgain(f"{self._site.side}: the server ended the stream", reason="StreamEnded")

    @contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except psycopg.OperationalError as error:
            raise connection_error(self._site, str(error)) from error
