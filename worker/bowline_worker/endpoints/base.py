"""What the roles may ask of a database engine; all knowledge of an engine stays behind these protocols.

An `Endpoint` is one side of one migration. It opens its own connections when they are needed, from credentials read
afresh each time, and keeps nothing in memory that a restart would miss. Errors are those of `contract`: a lost
connection is TryAgain, a missing privilege NotPermitted, a value or type that can't be carried Unsupported.

`tests/endpoints/` is one suite that every implementation passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from bowline_worker.bookkeeping import Backend, LaneRow, MadeObject, StreamId, SwitchRow
from bowline_worker.contract import Finding, FoundSide, Role, Side, SnapshotReport, Unsafe
from bowline_worker.model import (
    Change,
    Column,
    Position,
    Row,
    SignalKind,
    Table,
    TableName,
    Transaction,
)

# --- bookkeeping and the switch ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SequenceState:
    last: int  #: newest value that may have been given out
    increment: int


class Books(Protocol):
    """One transaction in one database: commits when its block ends, rolls back on any exception.

    After an error around the commit the caller reads back: it may have succeeded and its reply been lost.
    """

    def switch(self, *, lock: bool = True) -> SwitchRow: ...
    def put_switch(self, row: SwitchRow) -> None: ...

    def lanes(self, origin: Side, *, lock: bool = True) -> tuple[LaneRow, ...]:
        """Lane rows of the stream that comes from `origin` into this database; () where there is none."""
        ...

    def put_lanes(self, origin: Side, rows: Sequence[LaneRow]) -> None:
        """Replace all lane rows of that stream."""
        ...

    def signal(self, kind: SignalKind, attempt: int) -> None:
        """Add the row of that kind and attempt, once: it travels with the stream that starts here."""
        ...

    def own_backend(self) -> Backend:
        """The session of this transaction."""
        ...

    def end_backends(self, backends: Iterable[Backend], timeout: float = 5.0) -> None:
        """End those sessions if they are still the same ones, and wait until they are gone."""
        ...

    def end_sessions(self, role: Role, timeout: float = 5.0) -> None:
        """End this migration's other sessions here of that role, recorded or not, and wait until they are gone."""
        ...

    def raise_fence(self, grace: float) -> None:
        """Refuse application writes to all selected tables, every way, once this transaction commits.

        Waits `grace` seconds for open writers, then ends them. When it returns, no transaction that wrote before
        the fence is left, and none that writes can start.
        """
        ...

    def lower_fence(self) -> None: ...

    def fence_gaps(self) -> list[str]:
        """Selected tables or partitions, read from the catalogue now, that a raised fence would not cover."""
        ...

    def sequences(self) -> Mapping[TableName, SequenceState]: ...

    def raise_sequences(self, states: Mapping[TableName, SequenceState]) -> None:
        """Move each sequence to that value if it is behind it (in its own direction); never back."""
        ...

    def restore(self) -> None:
        """Enable again whatever of the application's (triggers, constraints) was disabled for the stream."""
        ...


# --- streams: the origin -------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Piece:
    """A whole transaction as the engine's own frames, a part of a huge one, or (empty payload) an idle position."""

    payload: bytes
    position: Position  #: where a capture may start again once this is durable (of a part: of its transaction)
    starts: bool = True
    ends: bool = True
    changes: int = 0
    committed_at: float = 0.0
    relations: frozenset[int] = frozenset()  #: what `describe` must explain for this payload
    redefines: bool = False  #: a relation changed its shape in here: it starts a new block
    announces: bool = False  #: a relation's shape is told, anew or for the first time: it may not be the known one


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What an origin's log is, and how far it was seen: kept beside the journal, to notice an origin that went back."""

    log: str  #: as the engine tells one log, and one line of its history, from another
    beat: int = 0  #: a heartbeat that is durable there


def went_back(side: Side, what: str) -> Unsafe:
    """The error for an origin that does not have any more what was read from it."""
    return Unsafe(
        f"{side}: {what}",
        reason="OriginWentBack",
        hint="the server was restored, or a standby that was behind took over: start the migration anew",
    )


class Capture(Protocol):
    """Read one origin's changes. One thread. Answers keepalives inside `read`, with the acknowledged position."""

    lineage: Lineage  #: of the log that it reads, to be kept before anything is read

    def read(self, timeout: float) -> list[Piece]:
        """What has come, oldest first; [] after `timeout` seconds without any."""
        ...

    def describe(self, relations: Iterable[int]) -> bytes:
        """Frames that make a block readable by itself: put before the first payload that names them."""
        ...

    def acknowledge(self, position: Position) -> None:
        """Let the origin forget everything up to this position. The caller has made it durable."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    retained_bytes: int
    acknowledged: Position
    at_risk: str = ""  #: why the origin may drop what it keeps


class Decoder(Protocol):
    """Turn blocks back into changes; needs no connection. Made anew for any starting block."""

    def decode(self, payload: bytes) -> Iterator[Transaction]: ...


class Hold(Protocol):
    """Keeps one consistent view of the origin's tables readable until closed."""

    position: Position  #: what committed at or after it is in the stream, what committed before in the view

    def check(self) -> None:
        """Raise TryAgain when the view is lost."""
        ...

    def close(self) -> None: ...


class Reader(Protocol):
    """One worker's transaction inside a held view. Keeps the view alive by itself, should the holder die."""

    position: Position
    rows: int  #: in the chunk that was read to its end last, as the origin counted them

    def chunks(self, table: Table, rows: int) -> list[str]:
        """Split a table in chunks of about that many rows; each a text that only this engine reads."""
        ...

    def read(self, table: Table, chunk: str, *, binary: bool) -> Iterator[bytes]:
        """The chunk's rows as COPY data of the written columns, in buffers of any size."""
        ...

    def close(self) -> None: ...


# --- streams: the receiver -----------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class TableBatch:
    """The folded changes of one table: at most one row per key, none in two of the sets.

    `inserts` are full rows of `table.written`. `updates` maps a set of column names to rows of (key..., values...)
    and changes no key. `deletes` are keys. The order in which they are applied is deletes, updates, inserts.
    """

    table: Table
    inserts: list[Row] = field(default_factory=list)
    updates: dict[tuple[str, ...], list[Row]] = field(default_factory=dict)
    deletes: list[Row] = field(default_factory=list)


class RowMissing(Exception):
    """A row that must be there was not, or one that must not be there was: the set form did not fit."""


#: How many values a policy changed, by the receiver's table, its column, and the kind of value.
ChangedCounts: TypeAlias = Counter[tuple[str, str, str]]


class LaneSession(Protocol):
    """One lane's session in the receiver: application triggers and foreign keys don't fire in it.

    Every method but `begin` runs inside the transaction that `begin` opened. An error leaves it to be rolled back.
    """

    backend: Backend
    #: What a policy changed in all that this session has committed; another object when it grows.
    changed: ChangedCounts

    def begin(self) -> None: ...

    def write(self, batch: TableBatch) -> None:
        """Apply as sets. Raises RowMissing where a count differs, RowConflict where a constraint refuses."""
        ...

    def replace(self, batch: TableBatch) -> None:
        """The form that always fits: delete the touched rows, insert final images (unlogged values kept)."""
        ...

    def one(self, change: Change, table: Table) -> None:
        """Apply a single change; RowMissing if it does not touch exactly one row. TRUNCATE: of that table only."""
        ...

    def advance(self, origin: Side, row: LaneRow, *, since: int) -> None:
        """Record `row` if this lane stands at block `since` in `row.generation`; else raise FencedOut.

        Called first, so that an older generation stops before it meets rows that are not as it expects; a row that
        stands still (`row.block == since`) is compared and locked.
        """
        ...

    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def close(self) -> None: ...


class RowConflict(Exception):
    """A constraint of the receiver refused a set; another form or order may fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    table: TableName
    ordinal: int
    text: str


class Ledger(Protocol):
    """The snapshot's chunk ledger, in the receiver. One worker's connection. Chunks are done with their rows."""

    def plan(self, table: Table, position: Position, chunks: Sequence[str]) -> bool:
        """Enter a table's chunks. A finished table, or one entered at this position, stays: False.

        One that stands unfinished at an older position is emptied and starts again, in the same transaction.
        """
        ...

    def copy(
        self, reader: Reader, tables: Mapping[TableName, Table], *, binary: frozenset[TableName]
    ) -> Chunk | None:
        """Take a chunk at the reader's position that nobody has, copy it, and commit it as done; None: none left.

        Dying at any instant leaves the chunk's rows and its mark both there or both not there.
        """
        ...

    def unfinished(self) -> list[TableName]: ...
    def finish(self) -> None:
        """Record that the snapshot is complete: all tables were entered, all chunks are done."""
        ...

    def finish_post_data(self) -> None:
        """Record that indexes, constraints and triggers are there too."""
        ...

    def close(self) -> None: ...


# --- the schema ----------------------------------------------------------------------------------


class Section:
    PRE_DATA = "pre-data"  #: schemas, types, functions, tables
    POST_DATA = "post-data"  #: indexes, constraints, triggers, rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One object of an exported schema, in the order of the export."""

    section: str
    ordinal: int
    kind: str  #: TABLE, INDEX, CONSTRAINT, FK CONSTRAINT, TRIGGER...
    name: str
    sql: str


# --- all of it -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketDigest:
    rows: int
    digest: str  #: of all rows' text forms, in any order


class Endpoint(Protocol):
    """One side of one migration."""

    side: Side

    @property
    def description(self) -> str:
        """Engine and place, as people read it."""
        ...

    def close(self) -> None: ...

    # looking
    def assess(self, *, other: Endpoint | None) -> list[Finding]:
        """All that stands in the way on this side (and between the two); changes nothing."""
        ...

    def found(self) -> FoundSide:
        """What an earlier life of this migration left here; changes nothing."""
        ...

    def tables(self) -> tuple[Table, ...]:
        """The selected tables (leaves, see model.Table), by name."""
        ...

    def fingerprint(self, *, own: bool = False) -> str:
        """A digest of the selected tables' shapes, partitions included: it changes when DDL changes them.

        With `own` it tells also a table or a column from another one of the same name and type, and can't be compared
        with the other side's.
        """
        ...

    def shapes(self) -> Mapping[TableName, Sequence[Column]]:
        """What the fingerprint is made of, to say what changed."""
        ...

    def unstreamed(self) -> list[str]:
        """Selected tables whose changes are in no stream from here, though name and shape are right."""
        ...

    # bookkeeping
    def install(self) -> None:
        """Make the bookkeeping tables and this migration's switch row, if they are not there."""
        ...

    def books(self) -> AbstractContextManager[Books]: ...
    def made(self) -> list[MadeObject]: ...

    # preparing and leaving
    def prepare_origin(self) -> None:
        """Make whatever a stream from here needs but slots: replica identities, publication, fence (lowered)."""
        ...

    def prepare_receiver(self, *, fenced: bool) -> None:
        """Make the fence here, raised or not; refuse if it can't be raised."""
        ...

    def empty(self) -> list[str]:
        """Delete all rows of the selected tables, once in this migration's life, behind the fence; name the tables.

        Refuses where others have a share in them: writers, foreign keys of other tables, another migration.
        """
        ...

    def cleanup(self, *, keep_fence: bool) -> list[str]:
        """Remove everything that Bowline made here; say what is left on purpose. Can be run again."""
        ...

    # origin
    def arm(self, stream: StreamId) -> None:
        """Make the stream's slot if it is not there, and drop this migration's slots of lower numbers here."""
        ...

    def disarm(self, below: int) -> None:
        """Drop this migration's slots here whose number is lower, ending whoever reads them."""
        ...

    def slots(self) -> list[int]: ...
    def hold(self, stream: StreamId) -> Hold:
        """Make the stream's slot and a view that fits it; where the slot is there, join or renew the view."""
        ...

    def reader(self, stream: StreamId) -> Reader:
        """Join the newest view held for the stream. TryAgain while there is none."""
        ...

    def capture(
        self, stream: StreamId, after: Position | None, seen: Lineage | None = None
    ) -> Capture:
        """Stream what committed after that position (None: from the slot's start).

        Ends any older consumer of the slot first. Unsafe where the slot is gone, was invalidated, or has been
        acknowledged beyond `after`: the journal can't be continued. Unsafe as well where what was `seen` up to `after`
        is not in the past of this log: the origin was restored, or a standby that was behind took over.
        """
        ...

    def retention(self, stream: StreamId) -> Retention: ...
    def beat(self) -> int:
        """Write a heartbeat row, durably; tell its number, one more than the last one's."""
        ...

    def decoder(self) -> Decoder: ...

    # receiver
    def lane(self, stream: StreamId) -> LaneSession: ...
    def ledger(self) -> Ledger: ...
    def snapshot_positions(self) -> Mapping[TableName, Position]:
        """Per table: the stream applies to it only what committed at or after this."""
        ...

    def snapshot_progress(self) -> SnapshotReport: ...

    # schema
    def export_schema(self, work_dir: str) -> list[Statement]: ...
    def store_schema(self, statements: Sequence[Statement]) -> None:
        """Keep the statements in the bookkeeping here, once: a later export does not replace them."""
        ...

    def run_schema(self, section: str, parallelism: int) -> Sequence[str] | None:
        """Run the section's statements that have not run: each in one transaction with its mark.

        Says what was left out on purpose (owners and rights of roles that are not there), if anything.
        """
        ...

    # verification
    def digests(self, table: Table, buckets: int) -> Mapping[int, BucketDigest]:
        """Digest all rows, split in buckets by a hash of their key (of all columns, without one)."""
        ...

    def bucket_rows(self, table: Table, buckets: int, bucket: int) -> Mapping[str, Sequence[str]]:
        """Per key (as text), digests of the rows that have it."""
        ...
