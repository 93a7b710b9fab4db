"""PostgreSQL, and YugabyteDB's SQL side: one endpoint, whose flavour is found from version()."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from bowline_worker.bookkeeping import MadeObject, StreamId
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
    emptying,
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
    """Delegates to one module per concern; each of their functions takes the `Site`."""

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
        return assess.found(self.site)

    def tables(self) -> tuple[Table, ...]:
        return catalog.tables(self.site)

    def fingerprint(self, *, own: bool = False) -> str:
        return catalog.fingerprint(self.site, own=own)

    def shapes(self) -> Mapping[TableName, Sequence[Column]]:
        return catalog.shapes(self.site)

    def unstreamed(self) -> list[str]:
        return publication.unstreamed(self.site)

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
        return emptying.empty(self.site)

    def cleanup(self, *, keep_fence: bool) -> list[str]:
        return prepare.cleanup(self.site, keep_fence=keep_fence)

    def arm(self, stream: StreamId) -> None:
        replication.arm(self.site, stream)

    def disarm(self, below: int) -> None:
        replication.disarm(self.site, below)

    def slots(self) -> list[int]:
        return replication.slots(self.site)

    def hold(self, stream: StreamId) -> Hold:
        return snapshot.hold(self.site, stream)

    def reader(self, stream: StreamId) -> Reader:
        return snapshot.reader(self.site, stream)

    def capture(
        self, stream: StreamId, after: Position | None, seen: Lineage | None = None
    ) -> Capture:
        return replication.capture(self.site, stream, after, seen)

    def retention(self, stream: StreamId) -> Retention:
        return replication.retention(self.site, stream)

    def beat(self) -> int:
        return lineage.beat(self.site)

    def decoder(self) -> Decoder:
        return pgoutput.PgoutputDecoder(self.site.migration)

    def lane(self, stream: StreamId) -> LaneSession:
        return lane.PostgresLane(self.site, stream)

    def ledger(self) -> Ledger:
        return snapshot.PostgresLedger(self.site)

    def snapshot_positions(self) -> Mapping[TableName, Position]:
        return snapshot.positions(self.site)

    def snapshot_progress(self) -> SnapshotReport:
        return snapshot.progress(self.site)

    def export_schema(self, work_dir: str) -> list[Statement]:
        return schema.export(self.site, work_dir)

    def store_schema(self, statements: Sequence[Statement]) -> None:
        schema.store(self.site, statements)

    def run_schema(self, section: str, parallelism: int) -> Sequence[str]:
        return schema.run(self.site, section, parallelism)

    def digests(self, table: Table, buckets: int) -> Mapping[int, BucketDigest]:
        return digest.digests(self.site, table, buckets)

    def bucket_rows(self, table: Table, buckets: int, bucket: int) -> Mapping[str, Sequence[str]]:
        return digest.bucket_rows(self.site, table, buckets, bucket)
