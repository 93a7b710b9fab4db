"""PostgreSQL, and YugabyteDB's SQL side: one endpoint, whose flavour is found from version()."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from bowline_worker.bookkeeping import MadeObject, StreamId
from bowline_worker.conflicts import again
from bowline_worker.contract import Config, Finding, FoundSide, Side, SnapshotReport
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
from bowline_worker.endpoints.postgres import (
    assess,
    books,
    catalog,
    digest,
    lane,
    lineage,
    pgoutput,
    prepare,
    publication,
    replication,
    schema,
    snapshot,
)
from bowline_worker.endpoints.site import Site
from bowline_worker.model import Column, Position, Table, TableName


class PostgresEndpoint:
    """Delegates to one module per concern; each of their functions takes the `Site`.

    What a conflict undoes is run again here: any of these may be run again at any instant.
    """

    def __init__(self, config: Config, side: Side) -> None:
        self.side = side
        self.site = Site(config, side)

    @property
    def description(self) -> str:
        return f"{self.site.connection.engine} at {self.site.place}"

    def close(self) -> None:
        """Nothing is kept open between calls."""

    @again
    def assess(self, *, other: Endpoint | None) -> list[Finding]:
        return assess.assess(self.site, other)

    @again
    def found(self) -> FoundSide:
        return assess.found(self.site)

    @again
    def tables(self) -> tuple[Table, ...]:
        return catalog.tables(self.site)

    @again
    def fingerprint(self, *, own: bool = False) -> str:
        return catalog.fingerprint(self.site, own=own)

    @again
    def shapes(self) -> Mapping[TableName, Sequence[Column]]:
        return catalog.shapes(self.site)

    @again
    def unstreamed(self) -> list[str]:
        return publication.unstreamed(self.site)

    @again
    def install(self) -> None:
        books.install(self.site)

    def books(self) -> AbstractContextManager[Books]:
        return books.transaction(self.site)

    @again
    def made(self) -> list[MadeObject]:
        return books.made(self.site)

    @again
    def prepare_origin(self) -> None:
        prepare.prepare_origin(self.site)

    @again
    def prepare_receiver(self, *, fenced: bool) -> None:
        prepare.prepare_receiver(self.site, fenced=fenced)

    @again
    def cleanup(self, *, keep_fence: bool) -> list[str]:
        return prepare.cleanup(self.site, keep_fence=keep_fence)

    @again
    def arm(self, stream: StreamId) -> None:
        replication.arm(self.site, stream)

    @again
    def disarm(self, below: int) -> None:
        replication.disarm(self.site, below)

    @again
    def slots(self) -> list[int]:
        return replication.slots(self.site)

    @again
    def hold(self, stream: StreamId) -> Hold:
        return snapshot.hold(self.site, stream)

    @again
    def reader(self, stream: StreamId) -> Reader:
        return snapshot.reader(self.site, stream)

    @again
    def capture(
        self, stream: StreamId, after: Position | None, seen: Lineage | None = None
    ) -> Capture:
        return replication.capture(self.site, stream, after, seen)

    @again
    def retention(self, stream: StreamId) -> Retention:
        return replication.retention(self.site, stream)

    @again
    def beat(self) -> int:
        return lineage.beat(self.site)

    def decoder(self) -> Decoder:
        return pgoutput.PgoutputDecoder(self.site.migration)

    @again
    def lane(self, stream: StreamId) -> LaneSession:
        return lane.PostgresLane(self.site, stream)

    @again
    def ledger(self) -> Ledger:
        return snapshot.PostgresLedger(self.site)

    @again
    def snapshot_positions(self) -> Mapping[TableName, Position]:
        return snapshot.positions(self.site)

    @again
    def snapshot_progress(self) -> SnapshotReport:
        return snapshot.progress(self.site)

    def export_schema(self, work_dir: str) -> list[Statement]:
        return schema.export(self.site, work_dir)

    @again
    def store_schema(self, statements: Sequence[Statement]) -> None:
        schema.store(self.site, statements)

    @again
    def run_schema(self, section: str, parallelism: int) -> Sequence[str]:
        return schema.run(self.site, section, parallelism)

    @again
    def digests(self, table: Table, buckets: int) -> Mapping[int, BucketDigest]:
        return digest.digests(self.site, table, buckets)

    @again
    def bucket_rows(self, table: Table, buckets: int, bucket: int) -> Mapping[str, Sequence[str]]:
        return digest.bucket_rows(self.site, table, buckets, bucket)
