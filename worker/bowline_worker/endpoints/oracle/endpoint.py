"""Oracle as an endpoint: captured from by LogMiner, read by flashback, applied to by array DML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn

from bowline_worker.bookkeeping import MadeObject, StreamId
from bowline_worker.contract import Config, Finding, FoundSide, Side, SnapshotReport, Unsupported
from bowline_worker.endpoints.base import (
    Books,
    BucketDigest,
    Capture,
    Decoder,
    Endpoint,
    Hold,
    LaneSession,
    Ledger,
    Lineage,
    Reader,
    Retention,
    Statement,
)
from bowline_worker.endpoints.oracle import (
    assess,
    books,
    capture,
    catalog,
    digest,
    found,
    frames,
    heartbeat,
    lane,
    leave,
    prepare,
    slots,
    supplemental,
    view,
)
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Column, Position, Table, TableName


class OracleEndpoint:
    """Delegates to one module per concern; each of their functions takes the `Site`.

    It is a source, and takes the changes of the new database back. A snapshot or a schema is never written into it.
    """

    def __init__(self, config: Config, side: Side) -> None:
        self.side = side
        self.site = Site(config, side)

    @property
    def description(self) -> str:
        return f"{self.site.connection.engine} at {self.site.place}"

    def close(self) -> None:
        """Nothing is kept open between calls."""

    def assess(self, *, other: Endpoint | None) -> list[Finding]:
        return assess.assess(self.site, other)

    def found(self) -> FoundSide:
        return found.found(self.site)

    def tables(self) -> tuple[Table, ...]:
        return tuple(one.table for one in catalog.tables(self.site))

    def fingerprint(self, *, own: bool = False) -> str:
        return catalog.fingerprint(catalog.tables(self.site), own=own)

    def shapes(self) -> Mapping[TableName, Sequence[Column]]:
        return catalog.shapes(catalog.tables(self.site))

    def unstreamed(self) -> list[str]:
        return supplemental.unstreamed(self.site)

    def install(self) -> None:
        books.install(self.site)

    def books(self) -> AbstractContextManager[Books]:
        return books.transaction(self.site)

    def made(self) -> list[MadeObject]:
        return books.made(self.site)

    def prepare_origin(self) -> None:
        prepare.prepare_origin(self.site)

    def prepare_receiver(self, *, fenced: bool) -> None:
        prepare.prepare_receiver(self.site, fenced=fenced)

    def empty(self) -> list[str]:
        self._refuse("an emptying of its tables")

    def cleanup(self, *, keep_fence: bool) -> list[str]:
        return leave.cleanup(self.site, keep_fence=keep_fence)

    def arm(self, stream: StreamId) -> None:
        slots.arm(self.site, stream)

    def disarm(self, below: int) -> None:
        slots.disarm(self.site, below)

    def slots(self) -> list[int]:
        return slots.slots(self.site)

    def hold(self, stream: StreamId) -> Hold:
        return view.hold(self.site, stream)

    def reader(self, stream: StreamId) -> Reader:
        return view.reader(self.site, stream)

    def capture(
        self, stream: StreamId, after: Position | None, seen: Lineage | None = None
    ) -> Capture:
        return capture.capture(self.site, stream, after, seen)

    def retention(self, stream: StreamId) -> Retention:
        return slots.retention(self.site, stream)

    def beat(self) -> int:
        return heartbeat.beat(self.site)

    def decoder(self) -> Decoder:
        return frames.OracleDecoder(self.site.migration)

    def lane(self, stream: StreamId) -> LaneSession:
        return lane.OracleLane(self.site, stream)

    def ledger(self) -> Ledger:
        self._refuse("a snapshot")

    def snapshot_positions(self) -> Mapping[TableName, Position]:
        """No table here was copied from elsewhere: the stream applies all that it brings."""
        return {}

    def snapshot_progress(self) -> SnapshotReport:
        return SnapshotReport()

    def export_schema(self, work_dir: str) -> list[Statement]:
        raise Unsupported(
            f"the schema of {self.description} is not converted by this version",
            reason="SchemaNotConverted",
            hint="make the tables on the target by hand (docs/oracle-types.md tells the types), and set"
            " spec.schema.mode: Existing",
        )

    def store_schema(self, statements: Sequence[Statement]) -> None:
        self._refuse("a schema")

    def run_schema(self, section: str, parallelism: int) -> Sequence[str]:
        self._refuse("a schema")

    def digests(self, table: Table, buckets: int) -> Mapping[int, BucketDigest]:
        return digest.digests(self.site, table, buckets)

    def bucket_rows(self, table: Table, buckets: int, bucket: int) -> Mapping[str, Sequence[str]]:
        return digest.bucket_rows(self.site, table, buckets, bucket)

    def _refuse(self, what: str) -> NoReturn:
        raise Unsupported(
            f"{self.side}: {what} can't be written into Oracle: it is a source only",
            reason="OracleTarget",
            hint="use PostgreSQL or YugabyteDB as the target",
        )
