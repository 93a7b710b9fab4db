"""The resource: kind DatabaseMigration of bowline.dev/v1alpha1. The CRD is made from these classes.

Read leniently here (an older operator meets newer fields); `validation.read_resource` reads people's files strictly.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_camel

from bowline_operator.durations import Duration, Quantity
from bowline_operator.status import Status
from bowline_worker.contract import Engine, LosingSide, TargetNotEmpty, TlsMode, Values

GROUP = "bowline.dev"
VERSION = "v1alpha1"
KIND = "DatabaseMigration"

#: Annotation of a resource that must go although its databases can't be cleaned up: `true`.
FORCE_DELETE = f"{GROUP}/force-delete"
#: Annotation whose value changes when somebody has mended what a worker ended for: credentials, a grant.
RETRY = f"{GROUP}/retry"

#: `schema.table`, both up to 63 bytes, that may be quoted.
Pattern: TypeAlias = Annotated[str, Field(max_length=260)]

_PORTS = {Engine.POSTGRESQL: 5432, Engine.YUGABYTEDB: 5433, Engine.ORACLE: 1521}


class Part(BaseModel):
    """A block of the resource: camelCase outside."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )


class Request(StrEnum):
    """What `spec.phase` may ask for. A goal: earlier steps are done on the way."""

    ASSESS = "Assess"
    SCHEMA = "Schema"
    REPLICATE = "Replicate"
    CUTOVER = "Cutover"
    SWITCHOVER = "Switchover"
    COMPLETE = "Complete"


class ObjectRef(Part):
    name: str = Field(min_length=1, max_length=253)
    """Name of an object in the migration's own namespace."""


class Tls(Part):
    mode: TlsMode = TlsMode.PREFER
    """How the connection is encrypted; `ca.crt`, `tls.crt` and `tls.key` come from the credentials Secret."""


def rules(*pairs: tuple[str, str]) -> ConfigDict:
    """CEL rules of the CRD, each with its message: the API server's form of the validator beside them."""
    found: list[JsonValue] = [{"rule": rule, "message": message} for rule, message in pairs]
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": found})


class Database(Part):
    """One side. Immutable once replication began."""

    model_config = rules(
        (
            "self.engine != 'Oracle' || !has(self.database) &&"
            " [has(self.serviceName), has(self.sid), has(self.tnsAlias)].filter(given, given).size() == 1",
            "needs exactly one of serviceName, sid and tnsAlias",
        ),
        (
            "self.engine == 'Oracle' || !has(self.serviceName) && !has(self.sid) && !has(self.tnsAlias)",
            "serviceName, sid and tnsAlias: only for engine Oracle, use database",
        ),
        ("self.engine != 'PostgreSQL' || has(self.database)", "database is required"),
    )

    engine: Engine
    """Oracle, PostgreSQL or YugabyteDB."""
    host: str = Field(min_length=1, max_length=253)
    """Name or address of the server. PostgreSQL: several with commas (the primary is used), or a socket's directory."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """TCP port; by default the engine's own: 5432, 5433 (YugabyteDB), 1521 (Oracle)."""
    database: str | None = Field(default=None, min_length=1, max_length=128)
    """Database to connect to; YugabyteDB's default is `yugabyte`."""
    service_name: str | None = Field(default=None, min_length=1, max_length=128)
    """Oracle only: service to connect to."""
    sid: str | None = Field(default=None, min_length=1, max_length=64)
    """Oracle only: SID to connect to."""
    tns_alias: str | None = Field(default=None, min_length=1, max_length=253)
    """Oracle only: alias in the credentials' tnsnames.ora."""
    schema_name: str = Field(default="public", alias="schema", min_length=1, max_length=128)
    """Schema that is migrated where `tables.include` is not given."""
    credentials_secret_ref: ObjectRef
    """Secret with keys `username` and `password`."""
    tls: Tls = Field(default_factory=Tls)
    """Encryption of the connections to this side."""

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        given = {
            "database": self.database,
            "serviceName": self.service_name,
            "sid": self.sid,
            "tnsAlias": self.tns_alias,
        }
        named = [field for field, value in given.items() if value is not None]
        if self.engine is Engine.ORACLE:
            if len(named) != 1 or named == ["database"]:
                raise ValueError("needs exactly one of serviceName, sid and tnsAlias")
        elif named not in (["database"], []):
            wrong = ", ".join(field for field in named if field != "database")
            raise ValueError(f"{wrong}: only for engine Oracle, use database")
        elif not named and self.engine is Engine.POSTGRESQL:
            raise ValueError("database is required")
        return self

    @property
    def resolved_port(self) -> int:
        return self.port or _PORTS[self.engine]

    @property
    def resolved_database(self) -> str:
        if self.engine is Engine.YUGABYTEDB:
            return self.database or "yugabyte"
        return self.database or self.service_name or self.sid or self.tns_alias or ""


class Tables(Part):
    """Which tables move. Immutable once replication began."""

    include: list[Pattern] = Field(default_factory=list, max_length=1000)
    """Patterns `schema.table` with `*` and `?`; none: all tables of the source's schema."""
    exclude: list[Pattern] = Field(default_factory=list, max_length=1000)
    """Patterns of tables that stay out although they are included."""


class SchemaMode(StrEnum):
    MIGRATE = "Migrate"
    EXISTING = "Existing"


class SchemaOptions(Part):
    mode: SchemaMode = SchemaMode.MIGRATE
    """Migrate: the schema is exported and imported. Existing: the target has it already."""
    overrides: ObjectRef | None = None
    """ConfigMap with SQL that replaces exported objects."""
    accepted_issues: list[Annotated[str, Field(max_length=63)]] = Field(
        default_factory=list, max_length=1000
    )
    """Reasons of findings that were looked at and don't block: those whose remedy offers it."""
    defer_indexes: bool = True
    """Make secondary indexes and constraints after the load, which is faster."""


class Snapshot(Part):
    parallelism: int = Field(default=2, ge=1, le=64)
    """Tables' chunks copied, and indexes built, at once."""
    chunk_rows: int = Field(default=200_000, ge=100, le=100_000_000)
    """Rows, as estimated, in one chunk."""
    pods: int = Field(default=1, ge=1, le=64)
    """In a cluster: pods that copy side by side, each `parallelism` chunks at once."""
    target_not_empty: TargetNotEmpty = TargetNotEmpty.REFUSE
    """With schema.mode Existing: rows found on the target. Truncate deletes them, once, before the copy."""


class Stream(Part):
    lanes: int = Field(default=2, ge=1, le=64)
    """Parallel appliers; with 1, readers of the receiving side see only states that the other side had."""


class AccessMode(StrEnum):
    """Who can mount the journal's volume at once."""

    ONE_NODE = "ReadWriteOnce"
    MANY_NODES = "ReadWriteMany"


class Volume(Part):
    size: Quantity = "10Gi"
    """Size of the journal's volume; capture stops at 80 % of it, before it is full."""
    storage_class_name: str | None = Field(default=None, max_length=253)
    """Storage class; none: the cluster's default."""
    access_mode: AccessMode = AccessMode.ONE_NODE
    """ReadWriteOnce keeps capture and apply on one node; ReadWriteMany lets them run anywhere."""


class ObjectStore(Part):
    url: str = Field(min_length=1, max_length=1024)
    """Bucket and prefix, such as s3://bucket/prefix."""
    credentials_secret_ref: ObjectRef | None = None
    """Secret with the store's keys."""


class Retention(StrEnum):
    DELETE = "Delete"
    ARCHIVE = "Archive"


class Journal(Part):
    volume: Volume = Field(default_factory=Volume)
    """Where changes are kept between capture and apply."""
    object_store: ObjectStore | None = None
    """Keep the journal in an object store instead."""
    retention: Retention = Retention.DELETE
    """What becomes of segments that were applied."""


class VerifyMode(StrEnum):
    REQUIRED = "Required"
    OFF = "Off"


class Window(Part):
    """When a switch may start; one that has begun is not stopped by it."""

    not_before: datetime | None = None
    """First moment, with a time zone."""
    not_after: datetime | None = None
    """Last moment, with a time zone."""

    @model_validator(mode="after")
    def _zoned(self) -> Self:
        for name, at in (("notBefore", self.not_before), ("notAfter", self.not_after)):
            if at is not None and at.tzinfo is None:
                raise ValueError(f"{name} needs a time zone, such as 2030-01-31T22:00:00Z")
        return self


class Cutover(Part):
    fallback: bool = True
    """Stream the target's changes back to the source from the cutover on."""
    max_lag: Duration = Field(default="10s", validate_default=True)
    """A switch starts only while the lag is at most this."""
    verify: VerifyMode = VerifyMode.REQUIRED
    """Compare all rows behind the fence; a difference aborts the switch."""
    budget: Duration = Field(default="60s", validate_default=True)
    """Longest time from the fence to the commit point; then the switch is aborted."""
    writer_grace: Duration = Field(default="5s", validate_default=True)
    """So long an open transaction may hold up the fence; then it is ended."""
    window: Window | None = None
    """When a switch may start; none: at any time."""
    abort: bool = False
    """Take a switch back that has not reached its commit point, and start none while this is set."""
    rehearsal: bool = False
    """Go up to the commit point, then abort on purpose."""


class Fallback(Part):
    rearm: bool = True
    """At a Switchover, stream forward again from the moment the source opens, so that Cutover may be asked again."""


class Completion(Part):
    losing_side: LosingSide = LosingSide.FENCED
    """Whether Complete leaves the passive side fenced."""


class Verification(Part):
    request: int = Field(default=0, ge=0)
    """Raise it to have all rows compared once more while streaming."""


class DeletionPolicy(StrEnum):
    RETAIN = "Retain"
    CLEANUP = "Cleanup"


class Worker(Part):
    """How workers run in a cluster; `bowline run` has no use for it."""

    image: str = Field(default="", max_length=512)
    """Image of the workers; empty: the operator's own."""
    resources: dict[str, Any] = Field(default_factory=dict)
    """Requests and limits, as in a container."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of the nodes to run on."""
    tolerations: list[dict[str, Any]] = Field(default_factory=list, max_length=100)
    """Taints that are tolerated, as in a pod."""
    affinity: dict[str, Any] = Field(default_factory=dict)
    """Affinity, as in a pod."""


class Spec(Part):
    phase: Request = Request.REPLICATE
    """The goal: Assess, Schema, Replicate, Cutover, Switchover or Complete."""
    source: Database
    """Where the data is. Immutable once replication began."""
    target: Database
    """Where the data goes. Immutable once replication began."""
    tables: Tables = Field(default_factory=Tables)
    """Which tables move. Immutable once replication began."""
    schema_: SchemaOptions = Field(default_factory=SchemaOptions, alias="schema")
    """How the target gets its tables."""
    snapshot: Snapshot = Field(default_factory=Snapshot)
    """The first copy of all rows."""
    stream: Stream = Field(default_factory=Stream)
    """The changes after it."""
    values: Values = Field(default_factory=Values)
    """What becomes of values that Oracle can't hold on the way back to it: an error, unless said otherwise."""
    journal: Journal = Field(default_factory=Journal)
    """The durable log of changes between capture and apply."""
    cutover: Cutover = Field(default_factory=Cutover)
    """How the primary is switched."""
    fallback: Fallback = Field(default_factory=Fallback)
    """What happens after a switch back."""
    completion: Completion = Field(default_factory=Completion)
    """What Complete leaves."""
    verification: Verification = Field(default_factory=Verification)
    """Comparisons while streaming."""
    suspend: bool = False
    """Stop all workers; a switch that is under way is ended first. Logs pile up at the primary meanwhile."""
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    """What deleting the resource does: leave everything in the databases, or clean up."""
    worker: Worker = Field(default_factory=Worker)
    """Where and with what workers run in a cluster."""

    @model_validator(mode="after")
    def _values_are_for_oracle(self) -> Self:
        engines = (self.source.engine, self.target.engine)
        if self.values != Values() and Engine.ORACLE not in engines:
            raise ValueError(
                "values: only where a side is Oracle: PostgreSQL and YugabyteDB hold each other's values"
            )
        return self

    @model_validator(mode="after")
    def _only_what_is_there_can_be_emptied(self) -> Self:
        is_asked = self.snapshot.target_not_empty is not TargetNotEmpty.REFUSE
        if is_asked and self.schema_.mode is not SchemaMode.EXISTING:
            raise ValueError(
                "snapshot.targetNotEmpty: only with schema.mode Existing: Migrate makes the tables, and they are empty"
            )
        return self

    @model_validator(mode="after")
    def _one_node_is_enough(self) -> Self:
        # Those who share the volume are placed beside each other, the first of them anywhere. A scheduler lets a
        # first one through only where it fulfils all its terms itself, which another's can't be.
        own = self.worker.affinity.get("podAffinity") or {}
        if own.get("requiredDuringSchedulingIgnoredDuringExecution") and (
            self.journal.volume.access_mode is AccessMode.ONE_NODE
        ):
            raise ValueError(
                "worker.affinity.podAffinity can't be required with journal.volume.accessMode ReadWriteOnce: no node"
                " might ever fit; use nodeSelector, nodeAffinity, a preferred podAffinity, or ReadWriteMany"
            )
        return self


class Metadata(BaseModel):
    """The part of an object's metadata that Bowline reads; everything else is kept as it is."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="allow",
    )

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$")
    namespace: str = "default"
    generation: int = 1


class DatabaseMigration(Part):
    api_version: Literal["bowline.dev/v1alpha1"]
    kind: Literal["DatabaseMigration"]
    metadata: Metadata
    spec: Spec
    status: Status = Field(default_factory=Status)

    @property
    def key(self) -> str:
        """The name that all bookkeeping rows of the migration carry."""
        return f"{self.metadata.namespace}.{self.metadata.name}"


def unsupported(spec: Spec) -> list[str]:
    """Name what the spec asks for and this version can't do yet; doing less in silence would be worse."""
    asked = {
        "spec.schema.mode: Migrate (source Oracle: make the tables by hand, mode Existing)": (
            spec.source.engine is Engine.ORACLE and spec.schema_.mode is SchemaMode.MIGRATE
        ),
        "spec.target.engine: Oracle": spec.target.engine is Engine.ORACLE,
        "spec.snapshot.targetNotEmpty: AppendIfEqual (empty the tables, or use Truncate)": (
            spec.snapshot.target_not_empty is TargetNotEmpty.APPEND_IF_EQUAL
        ),
        "spec.schema.overrides": spec.schema_.overrides is not None,
        "spec.schema.deferIndexes: false": not spec.schema_.defer_indexes,
        "spec.journal.objectStore": spec.journal.object_store is not None,
        "spec.journal.retention: Archive": spec.journal.retention is Retention.ARCHIVE,
        "spec.cutover.rehearsal": spec.cutover.rehearsal,
    }
    return [name for name, is_asked in asked.items() if is_asked]
