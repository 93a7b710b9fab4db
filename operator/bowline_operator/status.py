"""What a DatabaseMigration's `status` says. Others script against it: fields are added, never renamed or removed.

It is a view for people and the plan's own memory; losing it loses no data (rebuild.py).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from bowline_worker.contract import (
    ChangedValues,
    Finding,
    Flow,
    Lag,
    Message,
    Role,
    Side,
    SnapshotReport,
    TableVerdict,
    Verdict,
)


class Phase(StrEnum):
    """Where the migration stands. A closed list; which way, and how often, is in `primary` and `epoch`."""

    PENDING = "Pending"
    ASSESSING = "Assessing"
    MIGRATING_SCHEMA = "MigratingSchema"
    SNAPSHOTTING = "Snapshotting"
    STREAMING = "Streaming"
    CUTTING_OVER = "CuttingOver"
    CUT_OVER = "CutOver"
    FALLBACK_STREAMING = "FallbackStreaming"
    SWITCHING_OVER = "SwitchingOver"
    SWITCHED_BACK = "SwitchedBack"
    COMPLETING = "Completing"
    COMPLETED = "Completed"


class Stage(StrEnum):
    """The last step of the way to Streaming that is done for good."""

    NONE = ""
    ASSESSED = "Assessed"
    SCHEMA_READY = "SchemaReady"
    PREPARED = "Prepared"
    SNAPSHOT_COMPLETE = "SnapshotComplete"


class Primary(StrEnum):
    """A side as the resource writes it; inside the product it is a `Side`."""

    SOURCE = "Source"
    TARGET = "Target"

    @property
    def side(self) -> Side:
        return Side.SOURCE if self is Primary.SOURCE else Side.TARGET

    @property
    def other(self) -> Primary:
        return Primary.TARGET if self is Primary.SOURCE else Primary.SOURCE

    @classmethod
    def of(cls, side: Side) -> Primary:
        return cls.SOURCE if side is Side.SOURCE else cls.TARGET


class Direction(StrEnum):
    FORWARD = "Forward"
    REVERSE = "Reverse"


class ConditionType(StrEnum):
    """Ready is always there; Reconciling and Stalled only while True (kstatus); the others always."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    SCHEMA_READY = "SchemaReady"
    SNAPSHOT_COMPLETE = "SnapshotComplete"
    CAUGHT_UP = "CaughtUp"
    VERIFIED = "Verified"
    CUTOVER_READY = "CutoverReady"
    FALLBACK_READY = "FallbackReady"
    SOURCE_AT_RISK = "SourceAtRisk"
    REQUEST_REFUSED = "RequestRefused"
    PAUSED = "Paused"


class Truth(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Message):
    type: ConditionType
    """What is judged."""
    status: Truth = Truth.UNKNOWN
    """True, False or Unknown. Never True on stale, missing or foreign evidence."""
    reason: str = "NotSeenYet"
    """Why: one CamelCase word, stable."""
    message: str = ""
    """Why, for people."""
    observed_generation: int = 0
    """The generation of the spec that was judged."""
    last_transition_time: datetime | None = None
    """When `status` changed last."""


class Mode(StrEnum):
    IDLE = "Idle"
    CUTOVER = "Cutover"  #: an attempt is under way: forward
    ABORT = "Abort"  #: an attempt is being taken back


class StreamRef(Message):
    """A stream: named by its origin, and the attempt that made its slot; the first is Source 0."""

    origin: Primary
    """The side whose changes it carries."""
    number: int
    """The attempt that made its slot; the first stream has 0."""

    @property
    def key(self) -> str:
        return f"{self.origin.side}-{self.number}"


class LastAttempt(Message):
    """How the newest attempt that has ended did end."""

    number: int
    """The attempt's number."""
    verdict: Verdict
    """Committed or Aborted."""
    loser: Primary
    """The side that was to stop being primary."""
    reason: str = ""
    """Why it was aborted: one CamelCase word."""
    message: str = ""
    """Why it was aborted, for people."""
    ended_at: datetime
    """When its end was seen."""
    generation: int
    """Generation of the spec; the same spec never starts another attempt after an abort."""


class CutoverStatus(Message):
    """The switch of primary: under way, or the last one."""

    mode: Mode = Mode.IDLE
    """Idle, Cutover (an attempt goes forward) or Abort (it is taken back)."""
    attempt: int = 0
    """Number of the newest attempt; numbers are never used twice."""
    loser: Primary | None = None
    """The side that is to stop being primary."""
    fallback: bool = True
    """Whether this attempt arms the way back."""
    reverse_armed: bool = False
    """ArmReverse was reached: capture and apply of the way back run."""
    armed_at: datetime | None = None
    """When ArmReverse was seen to be done: from then on they find their slot."""
    burn: bool = False
    """An abort of a number that an unknown past may have used."""
    generation: int = 0
    """Generation of the spec when the attempt began or was taken back."""
    step: str = ""
    """The step of the switch that is under way."""
    done: list[str] = Field(default_factory=list)
    """The steps behind it."""
    verdict: Verdict = Verdict.NONE
    """What the losing database says of the attempt: Armed, Committed or Aborted."""
    verified: bool = False
    """All rows were compared equal behind the fence."""
    reason: str = ""
    """Why it is taken back: one CamelCase word."""
    message: str = ""
    """Why it is taken back, for people."""
    blockers: list[str] = Field(default_factory=list)
    """What keeps the next switch from starting."""
    fenced_at: datetime | None = None
    """When the losing side stopped to accept writes."""
    committed_at: datetime | None = None
    """When the switch was decided; from then on it only goes forward."""
    opened_at: datetime | None = None
    """When the winning side began to accept writes."""
    last_attempt: LastAttempt | None = None
    """How the newest attempt that has ended did end."""


class StreamStatus(Message):
    """The newest figures of one stream, and of an ended one its last."""

    origin: Primary
    """The side whose changes it carries."""
    number: int
    """The attempt that made its slot; the first stream has 0."""
    direction: Direction = Direction.FORWARD
    """Forward: source to target. Reverse: back."""
    epoch: int = 1
    """The epoch in which it carries changes."""
    active: bool = False
    """It carries the primary's changes now."""
    exported: Flow | None = None
    """Changes into the journal."""
    imported: Flow | None = None
    """Changes into the receiving database."""
    remaining: int | None = None
    """Changes in the journal that are not applied."""
    eta_seconds: float | None = None
    """Seconds to catch up; absent: never at this rate, or not known."""
    lag: Lag = Field(default_factory=Lag)
    """Seconds from a commit at the origin to its commit at the receiver."""
    journal_bytes: int = 0
    """Size of the journal."""
    retained_bytes: int | None = None
    """Log that the origin keeps for this stream."""
    at_risk: str = ""
    """Why the origin may drop what it keeps; empty: it will not."""
    exported_block: int = 0
    """Newest block that is durable in the journal."""
    imported_block: int = 0
    """Newest block that all lanes have applied."""
    lanes: int = 0
    """Parallel appliers."""
    marker: bool = False
    """The marker of this stream has passed: table rows are applied."""
    canary: int = 0
    """Newest canary, written behind the fence, that made the trip."""
    changed_values: list[ChangedValues] = Field(default_factory=list)
    """Values that the policy of spec.values changed, by column and kind; at most 100 of these."""
    changed_total: int = 0
    """How many they are in all, at least: those of the run of apply that changed most."""
    exported_at: datetime | None = None
    """When capture said so."""
    imported_at: datetime | None = None
    """When apply said so."""


class VerificationStatus(Message):
    """The newest comparison that came to an end."""

    equal: bool
    """All rows were the same on both sides."""
    behind_fence: bool = False
    """Nobody could write meanwhile."""
    attempt: int = 0
    """The switch that it was part of; 0: asked for by spec.verification."""
    request: int = 0
    """The spec.verification.request that it answers."""
    epoch: int = 1
    """The epoch in which it was made."""
    tables: list[TableVerdict] = Field(default_factory=list)
    """Each table."""
    at: datetime | None = None
    """When it ended."""


class JobState(StrEnum):
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"  #: only in what `bowline status` shows while no runner is alive


class JobStatus(Message):
    """The newest try of a role (per stream, or per attempt)."""

    name: str
    """Name of the Job."""
    family: str
    """The name without migration and try."""
    role: Role
    """What it does."""
    try_: int = Field(default=1, validation_alias="try", serialization_alias="try")
    """Which try this is."""
    state: JobState = JobState.RUNNING
    """Running, Succeeded or Failed; Unknown only where nobody keeps the status up to date."""
    exit_code: int | None = None
    """How it ended, or while it runs how the one before it did: 0 done, 75 tried again, 86 never.

    64, 65 and 78 are looked at again by themselves, ever later."""
    reason: str = ""
    """Why it failed: one CamelCase word."""
    message: str = ""
    """Why it failed, for people."""
    hint: str = ""
    """What to do about it."""
    started_at: datetime | None = None
    """When it was asked for."""
    finished_at: datetime | None = None
    """When it ended."""
    failures: int = 0
    """Failures in a row, without two healthy minutes in between."""
    generation: int = 0
    """Generation of the spec that it was started for."""
    credentials: str = ""
    """Fingerprint of the credentials, or of the retry annotation, that it was started with."""


class Status(Message):
    observed_generation: int = 0
    """The generation of the spec that all of this is about."""
    phase: Phase = Phase.PENDING
    """Where the migration stands."""
    stage: Stage = Stage.NONE
    """The last step of the way to Streaming that is done for good."""
    primary: Primary = Primary.SOURCE
    """The side that applications write to: Source or Target."""
    direction: Direction = Direction.FORWARD
    """Which way changes flow: Forward or Reverse."""
    epoch: int = 1
    """Counts the switches of primary, from 1."""
    active_stream: StreamRef | None = None
    """Carries the primary's changes to the other side."""
    message: str = ""
    """What happens, or what is waited for, in one line."""
    cutover: CutoverStatus = Field(default_factory=CutoverStatus)
    """The switch of primary: under way, or the last one."""
    conditions: list[Condition] = Field(default_factory=list)
    """What is true, with its evidence: Ready, Reconciling, Stalled (kstatus), and the rest."""
    findings: list[Finding] = Field(default_factory=list)
    """Of the newest assessment; the gravest first."""
    snapshot: SnapshotReport | None = None
    """The first copy of all rows."""
    streams: list[StreamStatus] = Field(default_factory=list)
    """The newest figures of each stream, and of ended ones their last."""
    verification: VerificationStatus | None = None
    """The newest comparison that came to an end."""
    left_behind: list[str] = Field(default_factory=list)
    """What Complete left, on purpose."""
    jobs: list[JobStatus] = Field(default_factory=list)
    """The newest try of each role."""

    def condition(self, kind: ConditionType) -> Condition | None:
        return next((each for each in self.conditions if each.type is kind), None)

    def job(self, family: str) -> JobStatus | None:
        return next((each for each in self.jobs if each.family == family), None)

    def has(self, stage: Stage) -> bool:
        """Tell whether that stage is done."""
        order = list(Stage)
        return order.index(self.stage) >= order.index(stage)
