"""What the control plane and the workers say to each other: config in, report out, exit codes.

The only module of the worker that the operator imports. Both sides ignore unknown keys, because an upgraded
operator meets old workers in the middle of a migration.

Errors, as a tree (the exit code follows from the class; a control plane restarts only TryAgain):

    BowlineError
    ├── TryAgain        75  the world may be better in a moment
    │   └── Conflict    75  the database undid the transaction: run it again at once
    ├── BadConfig       64  the configuration or the spec is wrong
    ├── Unsupported     65  the schema or the data can't be migrated as asked
    ├── NotPermitted    78  a privilege or a server setting is missing
    └── Unsafe          86  going on could lose or double data: a human decides
        └── FencedOut   86  a newer generation or attempt took over
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel

CONTRACT = 1


class Exit(IntEnum):
    """Exit codes of a role. 0: its goal is reached and recorded; 75 may be retried by a machine; the rest never."""

    DONE = 0
    BAD_CONFIG = 64
    UNSUPPORTED = 65
    TRY_AGAIN = 75
    NOT_PERMITTED = 78
    UNSAFE = 86


class BowlineError(Exception):
    """The root of all errors that are told to a user: a reason, a message, and what to do next.

    The message is lower case, says names and numbers, and never holds a password, a DSN or a row's values.
    """

    exit_code: ClassVar[Exit] = Exit.TRY_AGAIN

    def __init__(self, message: str, *, reason: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason or type(self).__name__
        self.hint = hint


class TryAgain(BowlineError):
    """The world may be better in a moment: a server restarts, a lock is held, a peer is not up yet."""


class Conflict(TryAgain):
    """The database undid a transaction for another one's sake (40001, 40P01): the same again may pass."""


class BadConfig(BowlineError):
    """The configuration or the spec is wrong; the message names the field."""

    exit_code = Exit.BAD_CONFIG


class Unsupported(BowlineError):
    """The schema or the data can't be migrated as asked; the message names the object."""

    exit_code = Exit.UNSUPPORTED


class NotPermitted(BowlineError):
    """A privilege or a server setting is missing; the hint is what to run."""

    exit_code = Exit.NOT_PERMITTED


class Unsafe(BowlineError):
    """Going on could lose or double data. Never retried by a machine."""

    exit_code = Exit.UNSAFE


class FencedOut(Unsafe):
    """A newer generation or attempt took over; this process must not write again."""


class Role(StrEnum):
    ASSESS = "assess"
    SCHEMA = "schema"
    PREPARE = "prepare"
    SNAPSHOT = "snapshot"
    CAPTURE = "capture"
    APPLY = "apply"
    VERIFY = "verify"
    CUTOVER = "cutover"
    ABORT = "abort"
    CLEANUP = "cleanup"


class Side(StrEnum):
    """Fixed by the spec for ever; who is primary is another matter."""

    SOURCE = "source"
    TARGET = "target"

    @property
    def other(self) -> Side:
        return Side.TARGET if self is Side.SOURCE else Side.SOURCE


class Engine(StrEnum):
    ORACLE = "Oracle"
    POSTGRESQL = "PostgreSQL"
    YUGABYTEDB = "YugabyteDB"


class Message(BaseModel):
    """Anything that crosses the border: camelCase outside, unknown keys ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )


# --- config in -----------------------------------------------------------------------------------


class TlsMode(StrEnum):
    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class Connection(Message):
    """How to reach one side. Credentials are files, so that they can rotate without a restart."""

    engine: Engine
    host: str
    port: int
    database: str  #: for Oracle whichever of the three below was given, to be shown
    service_name: str = ""  #: Oracle
    sid: str = ""  #: Oracle
    tns_alias: str = ""  #: Oracle: of the tnsnames.ora beside the credentials
    schema_name: str = "public"  #: only for engines where one schema is migrated
    tls_mode: TlsMode = TlsMode.PREFER
    #: directory with files `username`, `password` and, with TLS, `ca.crt`, `tls.crt`, `tls.key`; for Oracle also
    #: `tnsnames.ora`, and `ewallet.pem` with `wallet_password`
    credentials: str


class Credentials(BaseModel):
    username: str
    password: SecretStr


class LosingSide(StrEnum):
    FENCED = "Fenced"
    RELEASED = "Released"


class ValueAnswer(StrEnum):
    """What to do with a value that Oracle can't hold. Not `Null`, which is nothing in YAML: it would be left out."""

    ERROR = "Error"
    NULL = "StoreNull"
    REPLACEMENT = "Replacement"


class NullAnswer(StrEnum):
    """The same, where nothing could stand for the value."""

    ERROR = "Error"
    NULL = "StoreNull"


class Values(Message):
    """What becomes of values that Oracle can't hold, on their way to it. In a key each of them is an error."""

    empty_text: ValueAnswer = ValueAnswer.ERROR
    """'' in VARCHAR2, NVARCHAR2 and LONG, and no bytes in RAW: Oracle stores NULL for both."""
    empty_text_replacement: str = Field(
        default=" ", min_length=1, max_length=100, pattern=r"^[^\x00]*$"
    )
    """Written for '' where emptyText is Replacement; for no bytes one zero byte is."""
    not_a_number: NullAnswer = NullAnswer.ERROR
    """NaN in NUMBER and FLOAT."""
    infinite_number: NullAnswer = NullAnswer.ERROR
    """Infinities in NUMBER and FLOAT."""
    infinite_time: ValueAnswer = ValueAnswer.ERROR
    """`infinity` and `-infinity` in DATE and TIMESTAMP. Replacement: 9999-12-31 23:59:59, 4712-01-01 BC."""
    outside_calendar: ValueAnswer = ValueAnswer.ERROR
    """Times after 9999 and before 4712 BC. Replacement: the nearer of the ends above."""


class Config(Message):
    """All that a role may know. One JSON file; its hash is part of the Job, so a change is a new Job."""

    contract: int = CONTRACT
    migration: str  #: `namespace.name`: the key of every bookkeeping row
    job: str  #: name of the Job, and
    job_uid: str  #: what tells its reports from those of an earlier Job of that name
    role: Role
    source: Connection
    target: Connection
    include: list[str] = Field(
        default_factory=lambda: ["public.*"]
    )  #: `schema.table` with `*` and `?`
    exclude: list[str] = Field(default_factory=list)

    # streams: a stream is named by its origin and the attempt that made its slot
    origin: Side = Side.SOURCE
    number: int = 0
    epoch: int = 1

    # cutover and abort
    attempt: int = 0
    loser: Side = Side.SOURCE
    fallback: bool = (
        True  #: whether `back` is armed: fall-back for a cutover, re-arming for a switchover
    )
    budget: timedelta = timedelta(
        seconds=60
    )  #: from the fence to the commit point; then the role aborts
    writer_grace: timedelta = timedelta(
        seconds=5
    )  #: so long an open transaction may hold up the fence
    verify: bool = True  #: compare all rows behind the fence; a difference aborts

    # completion
    losing_side: LosingSide = LosingSide.FENCED
    primary: Side = Side.SOURCE

    # data path
    existing_schema: bool = False  #: spec.schema.mode: Existing
    accepted_issues: list[str] = Field(
        default_factory=list
    )  #: reasons of findings that don't block
    parallelism: int = 2  #: snapshot and index workers
    chunk_rows: int = 200_000  #: rows, as estimated, in a snapshot chunk
    lanes: int = 2
    values: Values = Field(default_factory=Values)  #: what Oracle can't hold, on its way there
    journal: str = ""  #: directory; each stream has its own below it
    journal_max_bytes: int = 8 << 30  #: capture stops before the journal is larger
    work_dir: str = ""  #: scratch space of this Job (dumps)

    # reporting
    listen: str = "127.0.0.1:0"  #: /status and /metrics
    address_file: str = ""  #: where the address really listened on is written, if not empty
    termination_file: str = ""  #: where the last report is written at exit, at most 4096 bytes


# --- report out ----------------------------------------------------------------------------------


class Severity(StrEnum):
    ERROR = "Error"  #: blocks the migration
    WARNING = "Warning"
    NOTE = "Note"

    @property
    def weight(self) -> int:
        """Its place among them: 0 is the gravest."""
        return list(Severity).index(self)


class Finding(Message):
    """One result of assess: what is wrong where, and how to mend it."""

    severity: Severity
    """Error blocks the migration; Warning and Note do not."""
    reason: str
    """What kind of finding it is: one CamelCase word, stable."""
    side: Side
    """The database that it is about: source or target."""
    object: str = ""
    """The table, setting or object; empty: the database as a whole."""
    message: str
    """What is wrong."""
    remedy: str = ""
    """How to mend it."""


class TableProgress(Message):
    name: str
    """Schema and table."""
    rows: int = 0
    """Rows that are copied and committed."""
    rows_estimated: int = 0
    """Rows in all, as the source estimates them."""
    bytes: int = 0
    """Bytes that were copied, in the form they were sent in."""
    bytes_estimated: int = 0
    """Size of the table at the source."""
    chunks: int = 0
    """Parts that it is copied in."""
    chunks_done: int = 0
    """Parts that are committed."""
    done: bool = False
    """Every part is committed."""


class SnapshotReport(Message):
    tables: list[TableProgress] = Field(default_factory=list)
    """Tables: in a status at most 500, those that are not finished first."""
    tables_total: int = 0
    """How many there are; written by the control plane."""
    tables_done: int = 0
    """How many of them are finished; written by the control plane."""
    rows_per_second: float = 0.0
    """Rows a second over the last half minute."""
    bytes_per_second: float = 0.0
    """Bytes a second over the last half minute."""
    eta_seconds: float | None = None
    """Seconds until all rows are copied at this rate; absent: not known."""
    complete: bool = False
    """Every chunk's rows are committed."""
    post_data: bool = False
    """Indexes, constraints and triggers are there too."""


class Flow(Message):
    """Counted changes through one end of a stream; `total` survives restarts, `run` is this process's."""

    total: int = 0
    """Changes since the stream began; survives restarts."""
    run: int = 0
    """Changes of this process's run."""
    per_second_3m: float = 0.0
    """Changes a second over the last 3 minutes."""
    per_second_10m: float = 0.0
    """Changes a second over the last 10 minutes."""
    seconds: float = 0.0
    """Age of this run."""
    last_at: datetime | None = None
    """Commit time, at the origin, of the newest change."""


class Lag(Message):
    """End to end, in seconds: from the commit at the origin to the commit at the receiver."""

    current: float | None = None
    """Of the last transaction or heartbeat."""
    p50: float | None = None
    """Median of the last minute."""
    p99: float | None = None
    """What 99 of 100 stayed below in the last minute."""


class ChangedValues(Message):
    """Values of one column that the policy of spec.values changed, of one kind."""

    table: str
    """Oracle's schema and table."""
    column: str
    """Oracle's column."""
    kind: str
    """Why Oracle could not hold them: empty, not-a-number, infinite-time..."""
    values: int
    """At least so many: those of the longest run of apply."""


class StreamReport(Message):
    """What capture (`exported`) or apply (`imported`) knows of its stream."""

    origin: Side
    number: int
    epoch: int = 1
    exported: Flow | None = None
    imported: Flow | None = None
    block: int = 0  #: newest durable block (capture), newest applied by all lanes (apply)
    position: str = ""
    journal_bytes: int = 0
    retained_bytes: int | None = None  #: redo that the origin keeps for us
    at_risk: str = ""  #: why the origin may drop what it keeps; empty: it won't
    remaining: int | None = None  #: changes in the journal that are not applied
    eta_seconds: float | None = None  #: to catch up; None: never at this rate, or not known
    lag: Lag = Field(default_factory=Lag)
    lanes: int = 0
    marker: bool = False  #: the marker of this stream has passed: table rows are applied
    probe: int = 0  #: newest canary before the fence that made the trip,
    canary: int = 0  #: and behind it
    changed_values: list[ChangedValues] = Field(
        default_factory=list
    )  #: those of this run of apply that a policy changed, the most frequent first
    changed_total: int = 0  #: all of them, listed or not


class Verdict(StrEnum):
    """What the losing side's switch row says of its newest attempt."""

    NONE = ""
    ARMED = "Armed"
    COMMITTED = "Committed"
    ABORTED = "Aborted"


class SwitchReport(Message):
    """What cutover or abort has seen in the databases."""

    attempt: int
    loser: Side
    step: str = ""  #: the step that is under way
    done: list[str] = Field(default_factory=list)
    verdict: Verdict = Verdict.NONE
    opened: bool = False  #: the winner accepts writes
    reason: str = ""  #: why it was aborted, CamelCase
    message: str = ""
    fenced_at: datetime | None = None
    committed_at: datetime | None = None
    opened_at: datetime | None = None


class TableVerdict(Message):
    name: str
    """Schema and table."""
    source_rows: int
    """Rows at the source."""
    target_rows: int
    """Rows at the target."""
    equal: bool
    """All rows are the same on both sides."""
    detail: str = ""
    """The first keys that differ."""


class VerifyReport(Message):
    tables: list[TableVerdict] = Field(default_factory=list)
    equal: bool | None = None  #: None: not finished
    behind_fence: bool = False


class FoundSide(Message):
    """What an earlier life of this migration left in one database; how a lost status is rebuilt."""

    installed: bool = False
    attempt: int = 0
    verdict: Verdict = Verdict.NONE
    opened: int = 0
    fenced: bool = False
    snapshot_complete: bool = False
    slots: list[int] = Field(default_factory=list)


class Failure(Message):
    exit_code: Exit
    reason: str
    message: str
    hint: str = ""


class Report(Message):
    """What a worker serves at /status, and leaves behind as its termination message (without the long lists)."""

    contract: int = CONTRACT
    job: str
    job_uid: str
    role: Role
    started_at: datetime
    observed_at: datetime
    message: str = ""
    findings: list[Finding] = Field(default_factory=list)
    found: dict[Side, FoundSide] = Field(default_factory=dict)
    snapshot: SnapshotReport | None = None
    stream: StreamReport | None = None
    switch: SwitchReport | None = None
    verify: VerifyReport | None = None
    left_behind: list[str] = Field(default_factory=list)  #: what cleanup leaves on purpose
    failure: Failure | None = None
