"""What a DatabaseMigration's `status` says. Others script against it: fields are added, never renamed or removed.

It is a view for people and the plan's own memory; losing it loses no data (rebuild.py).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from bowline_worker.contract import (
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
    status: Truth = Truth.UNKNOWN
    reason: str = "NotSeenYet"  #: one CamelCase word, stable
    message: str = ""
    observed_generation: int = 0
    last_transition_time: datetime | None = None  #: when `status` changed last


class Mode(StrEnum):
    IDLE = "Idle"
    CUTOVER = "Cutover"  #: an attempt is under way: forward
    ABORT = "Abort"  #: an attempt is being taken back


class StreamRef(Message):
    """A stream: named by its origin, and the attempt that made its slot; the first is Source 0."""

    origin: Primary
    number: int

    @property
    def key(self) -> str:
        return f"{self.origin.side}-{self.number}"


class LastAttempt(Message):
    """How the newest attempt that has ended did end."""

    number: int
    verdict: Verdict
    loser: Primary
    reason: str = ""
    message: str = ""
    ended_at: datetime
    generation: int  #: of the spec; the same spec never starts another attempt after an abort


class CutoverStatus(Message):
    """The switch of primary: under way, or the last one."""

    mode: Mode = Mode.IDLE
    attempt: int = 0  #: numbers are never used twice
    loser: Primary | None = None
    fallback: bool = True  #: whether this attempt arms the way back
    reverse_armed: bool = False  #: ArmReverse was reached: its capture and apply run
    armed_at: datetime | None = (
        None  #: ArmReverse was seen to be done: from then on they find their slot
    )
    burn: bool = False  #: an abort of a number that an unknown past may have used
    generation: int = 0  #: of the spec, when the attempt began or was taken back
    step: str = ""  #: the step of the saga that is under way,
    done: list[str] = Field(default_factory=list)  #: and those behind it
    verdict: Verdict = Verdict.NONE
    verified: bool = False  #: the step Verify has found the sides equal, behind the fence
    reason: str = ""  #: why it is taken back
    message: str = ""
    blockers: list[str] = Field(default_factory=list)  #: what keeps the next switch from starting
    fenced_at: datetime | None = None
    committed_at: datetime | None = None
    opened_at: datetime | None = None
    last_attempt: LastAttempt | None = None


class StreamStatus(Message):
    """The newest figures of one stream, and of an ended one its last."""

    origin: Primary
    number: int
    direction: Direction = Direction.FORWARD
    epoch: int = 1
    active: bool = False
    exported: Flow | None = None  #: into the journal
    imported: Flow | None = None  #: into the receiving database
    remaining: int | None = None  #: changes in the journal that are not applied
    eta_seconds: float | None = None
    lag: Lag = Field(default_factory=Lag)
    journal_bytes: int = 0
    retained_bytes: int | None = None
    at_risk: str = ""
    exported_block: int = 0
    imported_block: int = 0
    lanes: int = 0
    marker: bool = False
    canary: int = 0
    exported_at: datetime | None = None  #: when capture said so
    imported_at: datetime | None = None  #: when apply said so


class VerificationStatus(Message):
    """The newest comparison that came to an end."""

    equal: bool
    behind_fence: bool = False
    attempt: int = 0  #: of the switch that it was part of; 0: asked for by spec.verification
    request: int = 0  #: the spec.verification.request that it answers
    epoch: int = 1
    tables: list[TableVerdict] = Field(default_factory=list)
    at: datetime | None = None


class JobState(StrEnum):
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"  #: only in what `bowline status` shows while no runner is alive


class JobStatus(Message):
    """The newest try of a role (per stream, or per attempt)."""

    name: str
    family: str  #: the name without migration and try
    role: Role
    try_: int = Field(default=1, validation_alias="try", serialization_alias="try")
    state: JobState = JobState.RUNNING
    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    hint: str = ""
    started_at: datetime | None = None  #: when it was asked for
    finished_at: datetime | None = None
    failures: int = 0  #: in a row, without two healthy minutes in between
    generation: int = 0  #: of the spec that it was started for
    credentials: str = ""  #: fingerprint of the credentials that it was started with


class Status(Message):
    observed_generation: int = 0
    phase: Phase = Phase.PENDING
    stage: Stage = Stage.NONE
    primary: Primary = Primary.SOURCE
    direction: Direction = Direction.FORWARD
    epoch: int = 1
    active_stream: StreamRef | None = None  #: carries the primary's changes to the other side
    message: str = ""
    cutover: CutoverStatus = Field(default_factory=CutoverStatus)
    conditions: list[Condition] = Field(default_factory=list)
    findings: list[Finding] = Field(default_factory=list)  #: of the newest assessment
    snapshot: SnapshotReport | None = None
    streams: list[StreamStatus] = Field(default_factory=list)
    verification: VerificationStatus | None = None
    left_behind: list[str] = Field(default_factory=list)  #: what Complete left, on purpose
    jobs: list[JobStatus] = Field(default_factory=list)

    def condition(self, kind: ConditionType) -> Condition | None:
        return next((each for each in self.conditions if each.type is kind), None)

    def job(self, family: str) -> JobStatus | None:
        return next((each for each in self.jobs if each.family == family), None)

    def has(self, stage: Stage) -> bool:
        """Tell whether that stage is done."""
        order = list(Stage)
        return order.index(self.stage) >= order.index(stage)
