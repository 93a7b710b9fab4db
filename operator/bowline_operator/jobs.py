"""From what the plan wants to run to what a worker is told: names, fingerprints and configurations. No I/O."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta

from bowline_operator.api import Database, DatabaseMigration, SchemaMode, Spec, VerifyMode
from bowline_operator.durations import quantity_bytes
from bowline_worker.contract import Config, Connection, Role, Side, Values

#: Kubernetes cuts a Job's pod names behind 63 characters; the pod's own suffix needs eleven.
NAME_LIMIT = 52

#: Roles that read a stream's journal or write it.
STREAM_ROLES = frozenset({Role.CAPTURE, Role.APPLY})

#: Capture stops here, so that the volume never is quite full.
JOURNAL_SHARE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One try of one role, and all that distinguishes it from other Jobs of the same migration."""

    name: str
    family: str
    role: Role
    try_: int
    origin: Side = Side.SOURCE
    number: int = 0
    epoch: int = 1
    attempt: int = 0
    loser: Side = Side.SOURCE
    fallback: bool = True
    primary: Side = Side.SOURCE
    digest: str = ""  #: of the settings that a running Job would have to be replaced for


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a shell puts what a worker reads and writes."""

    source_credentials: str
    target_credentials: str
    journal: str
    work_dir: str
    listen: str = "127.0.0.1:0"
    address_file: str = ""
    termination_file: str = ""


def family(role: Role, *, origin: Side = Side.SOURCE, number: int = 0) -> str:
    """Name what at most one Job may do at a time: a role, of a stream or of an attempt where it has one."""
    if role in STREAM_ROLES:
        return f"{role}-{origin}-{number}"
    if role in (Role.CUTOVER, Role.ABORT, Role.VERIFY):
        return f"{role}-{number}"
    return str(role)


def job_name(migration: str, of_family: str, try_: int) -> str:
    """Name a try: the same for the same try, so that creating it twice creates it once."""
    tail = f"-{of_family}-{try_}"
    if len(migration) + len(tail) > NAME_LIMIT:
        short = hashlib.sha256(migration.encode()).hexdigest()[:6]
        migration = f"{migration[: NAME_LIMIT - len(tail) - 7].rstrip('-')}-{short}"
    return migration + tail


def settings_digest(role: Role, spec: Spec) -> str:
    """Fingerprint the settings for whose change a running Job of that role is replaced."""
    # Where it runs, and with which credentials.
    settings: dict[str, object] = {
        "worker": spec.worker.model_dump(mode="json"),
        "secrets": [side.credentials_secret_ref.name for side in (spec.source, spec.target)],
    }
    if role is Role.APPLY:
        settings["lanes"] = spec.stream.lanes
        # Only where one is set: an apply of an older version goes on as it is.
        if spec.values != Values():
            settings["values"] = spec.values.model_dump(mode="json")
    if role is Role.CAPTURE:
        settings["size"] = spec.journal.volume.size
    if role is Role.SNAPSHOT:
        settings |= {
            "parallelism": spec.snapshot.parallelism,
            "chunkRows": spec.snapshot.chunk_rows,
            "pods": spec.snapshot.pods,
        }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def config_for(job: JobSpec, resource: DatabaseMigration, *, uid: str, places: Places) -> Config:
    """Write down all that this try of the role may know."""
    spec = resource.spec
    return Config(
        migration=resource.key,
        job=job.name,
        job_uid=uid,
        role=job.role,
        source=_connection(spec.source, places.source_credentials),
        target=_connection(spec.target, places.target_credentials),
        include=spec.tables.include or [f"{spec.source.schema_name}.*"],
        exclude=spec.tables.exclude,
        origin=job.origin,
        number=job.number,
        epoch=job.epoch,
        attempt=job.attempt,
        loser=job.loser,
        fallback=job.fallback,
        budget=_whole(spec.cutover.budget),
        writer_grace=_whole(spec.cutover.writer_grace),
        verify=spec.cutover.verify is VerifyMode.REQUIRED,
        losing_side=spec.completion.losing_side,
        primary=job.primary,
        existing_schema=spec.schema_.mode is SchemaMode.EXISTING,
        target_not_empty=spec.snapshot.target_not_empty,
        accepted_issues=spec.schema_.accepted_issues,
        parallelism=spec.snapshot.parallelism,
        chunk_rows=spec.snapshot.chunk_rows,
        lanes=spec.stream.lanes,
        values=spec.values,
        journal=places.journal,
        journal_max_bytes=int(quantity_bytes(spec.journal.volume.size) * JOURNAL_SHARE),
        work_dir=places.work_dir,
        listen=places.listen,
        address_file=places.address_file,
        termination_file=places.termination_file,
    )


def _connection(database: Database, credentials: str) -> Connection:
    return Connection(
        engine=database.engine,
        host=database.host,
        port=database.resolved_port,
        database=database.resolved_database,
        service_name=database.service_name or "",
        sid=database.sid or "",
        tns_alias=database.tns_alias or "",
        schema_name=database.schema_name,
        tls_mode=database.tls.mode,
        credentials=credentials,
    )


def _whole(value: timedelta) -> timedelta:
    """Keep a zero out: a budget of nothing would abort every switch."""
    return max(value, timedelta(seconds=1))
