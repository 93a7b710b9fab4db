"""A small world of two databases in which the product's own decisions of a switch are interpreted.

One move is one database transaction or one durable local act, and a crash may lie between any two: what a process
keeps in memory is what its restart forgets. A lost reply is a move after which the role takes the same step again.
Every decision is the product's (`Decisions`); this module only carries effects out, and says what harm is:

S1  the two sides never both accept application writes
S2  an open side has every acknowledged write, its triggers and its sequences; the other side gets every write
S3  nothing is applied twice, looped back, or applied while the application's triggers are on
S4  until Commit the losing database alone is enough to abort
S6  Verified and FallbackReady are claimed only while true
S7  from every state a settled one is reached without a further fault or request (S5: so Committed gets to open)
S8  what was reported as aborted never commits

Left out: contents of rows, snapshots, a database that loses what it committed, three copies of one role at once.
The probes before the fence arrive at once. A lane row's block is counted from the oldest
block that not all lanes have applied, and a generation is 1 (the running apply's), 0 (never ran) or -1 (ended).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bowline_worker import saga, saga_acts, takeover
from bowline_worker.bookkeeping import Backend, LaneRow, StreamId, SwitchRow
from bowline_worker.contract import BowlineError, Side, Verdict
from bowline_worker.model import SignalKind
from bowline_worker.saga_acts import StepName

BOTH = SOURCE, TARGET = 0, 1
SIDES = (Side.SOURCE, Side.TARGET)
KEYS = ("a", "b")
Lanes = tuple[LaneRow, ...]
Entries = tuple[
    tuple[str, int], ...
]  # a3: the third write to key a; barrier2, marker2: of attempt 2
PROBED = {StepName.RETURN, StepName.CATCH_UP}
NEXT, WAIT, EXIT = "next", "wait", "exits"


class Db(NamedTuple):
    up: bool = True
    fenced: bool = False
    triggers: bool = True  # the application's own triggers and constraints are enabled
    rows: tuple[int, int] = (0, 0)  # per key, how many of the acknowledged writes are in effect
    sequence: int = 0
    switch: int = 0  # the switch row, as a number of `Rows`
    signals: frozenset[tuple[str, int]] = frozenset()


class Stream(NamedTuple):  # slots in the origin, journal, lane rows in the receiver
    slot: int = -1  # the newest, named by the attempt that made it; -1: there is none
    strays: tuple[int, ...] = ()  # older ones that a late role made
    log: Entries = ()  # what the slot retains
    journal: tuple[Entries, ...] = ()  # durable blocks that not all lanes have applied
    lanes: int = 0  # the lane rows, as a number of `Rows`
    quiet: bool = False  # the running apply has disabled the application's triggers


class Role(NamedTuple):
    kind: str
    attempt: int
    loser: int
    step: int = 0


class Limits(NamedTuple):
    """How much may happen: all orders of it are explored."""

    writes: int
    asks: int = 0
    reverts: int = 0
    faults: int = 0
    lanes: int = 1
    long: bool = False  # an application's transaction may stay open
    fallback: bool = True


class World(NamedTuple):
    dbs: tuple[Db, Db]
    streams: tuple[Stream, Stream]  # by origin
    left: Limits
    acked: tuple[int, int] = (0, 0)
    begun: tuple[int, int] | None = None  # an open transaction that wrote to (side, key)
    mode: str = (
        "Idle"  # this and the next two are what the control plane knows, from the roles' reports
    )
    attempt: int = 0
    loser: int = SOURCE  # when idle, the primary
    cutover: Role | None = None
    abort: Role | None = None
    zombie: Role | None = None  # an older copy that stalled and may wake at any time
    bad: str = ""

    def but(self, **change: Any) -> World:
        return self._replace(**change)

    def put(self, d: int, **change: Any) -> World:
        return self._replace(dbs=swap(self.dbs, d, self.dbs[d]._replace(**change)))

    def stream(self, o: int, **change: Any) -> World:
        return self._replace(streams=swap(self.streams, o, self.streams[o]._replace(**change)))

    def spend(self, kind: str) -> World:
        return self._replace(left=self.left._replace(**{kind: getattr(self.left, kind) - 1}))

    def emit(self, o: int, kind: str, n: int) -> World:  # whoever writes a row: capture can't tell
        s = self.streams[o]
        return self.stream(o, log=(*s.log, (kind, n))) if s.slot >= 0 else self


Move = tuple[str, World]


def swap(pair: Any, i: int, value: Any) -> Any:
    return (value, pair[1]) if i == 0 else (pair[0], value)


def show(entries: Entries) -> str:
    return " ".join(f"{kind}{n}" for kind, n in entries) or "nothing"


def take_lanes(
    stream: StreamId, rows: Lanes, receiver: SwitchRow, origin: SwitchRow
) -> Lanes | None:
    """The apply role's own decision; None: it may not start."""
    try:
        takeover.check(stream, rows, receiver, lambda: origin)
    except BowlineError:
        return None
    return takeover.next_rows(rows, [Backend(pid=1, started="")] * len(rows), len(rows))


@dataclass(frozen=True)
class Decisions:
    """The product's decisions; a mutation replaces one."""

    steps: tuple[saga.Step, ...] = saga.SAGA
    abort: Callable[[saga.View], saga_acts.Act] = saga.abort
    take: Callable[[StreamId, Lanes, SwitchRow, SwitchRow], Lanes | None] = take_lanes
    disable: Callable[[SwitchRow], bool] = saga.may_disable_triggers
    dead: Callable[[SwitchRow, SwitchRow, Iterable[int]], tuple[int, ...]] = saga.dead_slots
    generation_checked: bool = True  #: in the lanes' compare-and-set

    def but(self, name: StepName, decide: Callable[[saga.View], saga_acts.Act]) -> Decisions:
        """Replace one step's decision."""
        steps = [replace(s, decide=decide) if s.name is name else s for s in self.steps]
        return replace(self, steps=tuple(steps))

    def moved(self, name: StepName, *, before: StepName) -> Decisions:
        """Take one step earlier or later."""
        moving = next(s for s in self.steps if s.name is name)
        rest = [s for s in self.steps if s is not moving]
        at = next(i for i, s in enumerate(rest) if s.name is before)
        return replace(self, steps=(*rest[:at], moving, *rest[at:]))


@dataclass
class Rows:
    """Numbers for rows: worlds that hold numbers are hashed and compared fast."""

    found: list[Any] = field(default_factory=list)
    numbers: dict[Any, int] = field(default_factory=dict)

    def number(self, row: Any) -> int:
        at = self.numbers.setdefault(row, len(self.found))
        if at == len(self.found):
            self.found.append(row)
        return at


class Game:
    """All moves from a world, and what is harm in it."""

    def __init__(self, limits: Limits, decisions: Decisions | None = None) -> None:
        self.limits, self.decide = limits, decisions or Decisions()
        self.saga = [s for s in self.decide.steps if limits.fallback or not s.reverse]
        self.at = {s.name: i for i, s in enumerate(self.saga)}
        self.switches, self.lanes = Rows(), Rows()
        self.known: dict[Any, tuple[saga_acts.Act, tuple[Any, ...]]] = {}
        self.takes: dict[tuple[int, ...], Any] = {}
        lanes = tuple(
            LaneRow(lane=i, number=0, generation=1, passed=True) for i in range(limits.lanes)
        )
        self.switches.number(SwitchRow())
        self.lanes.number(())
        passive = self.switches.number(SwitchRow(fenced=True))
        dbs = (Db(), Db(fenced=True, triggers=False, switch=passive))
        first = Stream(slot=0, lanes=self.lanes.number(lanes), quiet=True)
        self.start = World(dbs, (first, Stream()), limits)

    def row(self, w: World, d: int) -> SwitchRow:
        found: SwitchRow = self.switches.found[w.dbs[d].switch]
        return found

    def lane_rows(self, w: World, o: int) -> tuple[LaneRow, ...]:
        found: tuple[LaneRow, ...] = self.lanes.found[w.streams[o].lanes]
        return found

    def put_lanes(self, w: World, o: int, rows: Iterable[LaneRow], **change: Any) -> World:
        return w.stream(o, lanes=self.lanes.number(tuple(normal(row) for row in rows)), **change)

    def is_live(self, w: World, o: int) -> bool:
        rows = self.lane_rows(w, o)
        return bool(rows) and rows[0].generation > 0

    def moves(self, w: World) -> Iterator[Move]:
        yield from self.roles(w)
        for o in BOTH:
            yield from self.capture(w, o)
            yield from self.apply(w, o)
        yield from self.applications(w)
        yield from self.people_and_faults(w)

    # --- applications and streams ----------------------------------------------------------------

    def applications(self, w: World) -> Iterator[Move]:
        """Write wherever a fence lets them: every writer is a stray one that tries both sides."""
        more = sum(w.acked) < self.limits.writes
        if w.begun is not None:
            (d, k), over = w.begun, w.but(begun=None)
            yield f"application rolls {KEYS[k]} back on the {SIDES[d]}", over
            if more:
                yield f"application commits {KEYS[k]} on the {SIDES[d]}", self.write(over, d, k)
        for d in BOTH if more else ():
            if not w.dbs[d].up or w.dbs[d].fenced:
                continue
            for k in (0, 1) if w.acked[0] else (0,):  # by symmetry the first write goes to key a
                if w.begun != (d, k):
                    yield f"application writes {KEYS[k]} on the {SIDES[d]}", self.write(w, d, k)
                    if self.limits.long and w.begun is None:
                        begun = w.but(begun=(d, k))
                        yield f"application begins {KEYS[k]} on the {SIDES[d]}", begun

    def write(self, w: World, d: int, k: int) -> World:
        slot, n, wrong = w.streams[d].slot, w.acked[k] + 1, ""
        if not w.dbs[1 - d].fenced:
            wrong = f"S1 the {SIDES[d]} takes a write while the other side is open"
        elif w.dbs[d].sequence < sum(w.acked):
            wrong = f"S2 the {SIDES[d]} gives a sequence number twice"
        elif slot < 0 and (self.limits.fallback or d == SOURCE):
            wrong = f"S2 the {SIDES[d]} takes a write that no slot keeps"
        if wrong:
            return w.but(bad=wrong)
        w = w.put(d, rows=swap(w.dbs[d].rows, k, n), sequence=w.dbs[d].sequence + 1)
        return w.but(acked=swap(w.acked, k, n)).emit(d, KEYS[k], n)

    def capture(self, w: World, o: int) -> Iterator[Move]:
        s = w.streams[o]
        if s.log and w.dbs[o].up:
            journalled = w.stream(o, journal=(*s.journal, s.log), log=())
            yield f"capture of the {SIDES[o]} journals {show(s.log)}", journalled

    def apply(self, w: World, o: int) -> Iterator[Move]:
        """Keep nothing in memory: the lane rows tell after a restart or a lost reply, and stop an older generation."""
        s, d, name = w.streams[o], 1 - o, f"apply to the {SIDES[1 - o]}"
        rows = self.lane_rows(w, o)
        if not rows or not w.dbs[d].up or rows[0].number != s.slot:
            return
        live = self.is_live(w, o)
        if not live and w.dbs[o].up and (taken := self.taken(w, o)) is not None:
            yield f"{name} takes a new generation", w.stream(o, lanes=taken, quiet=False)
        if not s.journal or not (live or not self.decide.generation_checked):
            return
        block = s.journal[0]
        if not s.quiet and self.may_disable(w, d) and self.table_rows(block, rows[0]):
            disabled = w.stream(o, quiet=True).put(d, triggers=False)
            yield f"{name} disables triggers", disabled
            return
        for row in rows:
            if not row.block:
                part = tuple(
                    entry
                    for entry in self.table_rows(block, row)
                    if KEYS.index(entry[0]) % self.limits.lanes == row.lane
                )
                what = f"{name}, lane {row.lane}, commits {show(part)}"
                yield what, self.commit_part(w, o, row, part)

    def taken(self, w: World, o: int) -> int | None:
        """Decide, as the product does, whether an apply may start; remembered by what it reads."""
        s = w.streams[o]
        key = s.lanes, w.dbs[o].switch, w.dbs[1 - o].switch, s.slot
        if key not in self.takes:
            stream, here = StreamId(SIDES[o], s.slot), self.lane_rows(w, o)
            rows = self.decide.take(stream, here, self.row(w, 1 - o), self.row(w, o))
            self.takes[key] = rows and self.lanes.number(tuple(map(normal, rows)))
        found: int | None = self.takes[key]
        return found

    def may_disable(self, w: World, d: int) -> bool:
        # The row's `fenced` and the fence itself are one transaction everywhere but in a mutation.
        return w.dbs[d].fenced and self.decide.disable(self.row(w, d))

    def table_rows(self, block: Entries, row: LaneRow) -> Entries:
        """What is left of a block behind the marker that the lane still waits for."""
        marker, skipped = ("marker", row.number), 0
        if not row.passed:
            skipped = block.index(marker) + 1 if marker in block else len(block)
        return tuple(entry for entry in block[skipped:] if entry[0] in KEYS)

    def commit_part(self, w: World, o: int, row: LaneRow, part: Entries) -> World:
        """Receiver, one transaction: the lane's part of the block, and its row one block further."""
        d = 1 - o
        for key, n in part:
            k, wrong = KEYS.index(key), ""
            has = w.dbs[d].rows[k]
            if n > has + 1:
                wrong = f"S2 the {SIDES[d]} lacks {key}{n - 1}"
            elif n <= has:
                wrong = f"S3 {key}{n} is applied to the {SIDES[d]} again"
            elif w.dbs[d].triggers:
                wrong = f"S3 {key}{n} fires triggers on the {SIDES[d]}"
            if wrong:
                return w.but(bad=wrong)
            w = w.put(d, rows=swap(w.dbs[d].rows, k, n)).emit(d, key, n)
        s = w.streams[o]
        seen = dict(sorted(s.journal[0]))
        new = replace(
            row,
            block=1,
            passed=row.passed or ("marker", row.number) in s.journal[0],
            barrier=max(row.barrier, seen.get("barrier", 0)),
            canary=max(row.canary, seen.get("canary", 0)),
        )
        rows = [new if each.lane == row.lane else each for each in self.lane_rows(w, o)]
        if not all(each.block for each in rows):
            return self.put_lanes(w, o, rows)
        return self.put_lanes(w, o, (replace(r, block=0) for r in rows), journal=s.journal[1:])

    # --- the product's roles ---------------------------------------------------------------------

    def act(self, w: World, r: Role, step: saga.Step | None) -> tuple[saga_acts.Act, Any]:
        """Ask the product what this role does in this world; `step` None: its abort."""
        where = r.loser if step is None or step.where is saga.Where.LOSER else 1 - r.loser
        origin = 1 - r.loser if where == r.loser else r.loser
        s = w.streams[where]
        slots = (*s.strays, s.slot) if s.slot >= 0 else s.strays
        differ = w.dbs[0].rows != w.dbs[1].rows
        name = "abort" if step is None else step.name
        lanes = w.streams[origin].lanes
        key = (name, r.attempt, r.loser, w.dbs[where].switch, lanes, slots, differ)
        if key not in self.known:
            view = saga.View(
                attempt=r.attempt,
                loser=SIDES[r.loser],
                fallback=self.limits.fallback,
                lane_count=self.limits.lanes,
                switch=self.row(w, where),
                lanes=probed(self.lane_rows(w, origin))
                if name in PROBED
                else self.lane_rows(w, origin),
                slots=slots,
                difference="rows" if differ and name is StepName.VERIFY else "",
            )
            act = self.decide.abort(view) if step is None else step.decide(view)
            effects = act.effects if isinstance(act, saga_acts.Do) else ()
            self.known[key] = act, tuple(map(self.compact, effects))
        return self.known[key]

    def compact(self, effect: saga_acts.Effect) -> tuple[str, Any, Any]:
        match effect:
            case saga_acts.PutSwitch(row):
                return "switch", self.switches.number(row), row
            case saga_acts.PutLanes(origin, rows):
                number = self.lanes.number(tuple(map(normal, rows)))
                return "lanes", SIDES.index(origin), number
            case saga_acts.WriteSignal(kind, n):
                return "signal", str(kind), n
            case saga_acts.ArmSlot(n):
                return "arm", n, None
            case saga_acts.DropSlots(below):
                return "drop", below, None
        return type(effect).__name__, None, None

    def carry_out(self, w: World, r: Role, d: int, effects: tuple[Any, ...]) -> World:
        """Have the effects in database `d`, all in one transaction."""
        for kind, one, two in effects:
            db = w.dbs[d]
            if kind == "switch":
                if two.verdict is Verdict.COMMITTED and self.row(w, d).verdict is Verdict.ARMED:
                    w = self.commit_point(w, r)
                w = w.put(d, switch=one)
            elif kind == "lanes":
                w = w.stream(one, lanes=two)
            elif kind == "signal" and one != SignalKind.PROBE and (one, two) not in db.signals:
                w = w.put(d, signals=db.signals | {(one, two)}).emit(d, one, two)
            elif kind == "RaiseFence":
                w = w.put(d, fenced=True)
            elif kind == "LowerFence":
                w = w.put(d, fenced=False)
            elif kind == "RaiseSequences":
                w = w.put(d, sequence=max(db.sequence, w.dbs[1 - d].sequence))
            elif kind == "Restore":
                w = w.put(d, triggers=True)
            elif kind == "arm":
                w = self.arm(w, d, one)
            elif kind == "drop":
                w = drop(w, d, lambda k, below=one: k < below)  # type: ignore[misc]
        return w

    def arm(self, w: World, d: int, n: int) -> World:
        """Endpoint.arm: make slot n if it is not there, drop lower ones. A late one may come after a newer one's."""
        s = w.streams[d]
        w = drop(w, d, lambda k: k < n)
        if s.slot > n:
            strays = (*w.streams[d].strays, n)
            return w.stream(d, strays=tuple(sorted(set(strays))))
        return w if s.slot == n else w.stream(d, slot=n, log=(), journal=())

    def commit_point(self, w: World, r: Role) -> World:
        back = w.streams[1 - r.loser]
        passed = all(row.passed for row in self.lane_rows(w, 1 - r.loser))
        if w.mode == "Idle" or w.attempt != r.attempt:
            return w.but(bad=f"S8 attempt {r.attempt} commits, its abort was reported")
        if self.limits.fallback and (back.slot != r.attempt or not passed):
            return w.but(bad="S6 FallbackReady is claimed, and the reverse stream discards")
        return w

    def take_step(self, w: World, r: Role) -> tuple[World, str | int, Verdict]:
        """Do one step; return what is then, how the role goes on (a number: at that step), and what it has learned."""
        step = None if r.kind == "abort" else self.saga[r.step]
        d = r.loser if step is None or step.where is saga.Where.LOSER else 1 - r.loser
        if not w.dbs[d].up or (step is not None and step.both and not w.dbs[1 - d].up):
            return w, WAIT, Verdict.NONE
        act, effects = self.act(w, r, step)
        match act:
            case saga_acts.Do():
                if any(e[0] == "RaiseFence" for e in effects) and w.begun and w.begun[0] == d:
                    return w, WAIT, Verdict.NONE  # waits for older writers, and ends them by policy
                verdict = Verdict.ABORTED if step is None else Verdict.NONE
                return self.carry_out(w, r, d, effects), NEXT, verdict
            case saga_acts.Done():
                return w, NEXT, Verdict.NONE
            case saga_acts.Wait():
                return w, WAIT, Verdict.NONE
            case saga_acts.Exit(verdict):
                return w, EXIT, verdict
            case saga_acts.GoTo(name):
                return w, self.at[name], Verdict.NONE
            case saga_acts.Withdraw(reason):
                return w.but(bad=f"S2 drained, and found {reason}"), EXIT, Verdict.NONE

    def roles(self, w: World) -> Iterator[Move]:
        """Run both roles and a zombie. The control plane starts what is missing, with the attempt's number."""
        for place in ("cutover", "abort", "zombie"):
            r: Role | None = getattr(w, place)
            if r is None:
                if w.mode.lower() == place:
                    fresh = Role(place, w.attempt, w.loser)
                    yield f"{place} {w.attempt} is started", w.but(**{place: fresh})
                continue
            what = "Abort" if r.kind == "abort" else self.saga[r.step].name
            what = f"{'zombie ' * (place == 'zombie')}{r.kind} {r.attempt}: {what}"
            after, then, verdict = self.take_step(w, r)
            if then != WAIT:
                yield what + " (exits)" * (then == EXIT), self.go_on(after, place, r, then, verdict)
            yield from self.out_of_time(w, place, r)
            if w.left.faults and place != "zombie":
                if after.dbs != w.dbs or after.streams != w.streams:
                    yield f"{what}, its reply is lost", after.spend("faults")
                fresh = Role(r.kind, r.attempt, r.loser)
                new = w.spend("faults").but(**{place: fresh})
                yield f"{what}: stalls before it, a new one starts", new.but(zombie=r)
                if w.zombie != r:
                    yield f"{what}: dies before it, a new one starts", new

    def out_of_time(self, w: World, place: str, r: Role) -> Iterator[Move]:
        """A cutover's own clock: behind the fence it aborts by itself, be it the only copy or a late one."""
        if r.kind != "cutover" or not w.dbs[r.loser].up:
            return
        if not self.at[StepName.FENCE] < r.step <= self.at[StepName.COMMIT]:
            return
        if place != "zombie" and not w.left.faults:
            return
        w = w if place == "zombie" else w.spend("faults")
        after, then, verdict = self.take_step(w, Role("abort", r.attempt, r.loser))
        if then == NEXT or verdict is Verdict.ABORTED:
            what = f"{'zombie ' * (place == 'zombie')}cutover {r.attempt}: out of time, aborts"
            yield what, self.go_on(after, place, r, EXIT, Verdict.ABORTED)

    def go_on(self, w: World, place: str, r: Role, then: str | int, verdict: Verdict) -> World:
        """Move the role on; how it exits is what the control plane learns, unless it is a zombie's."""
        at = then if isinstance(then, int) else r.step + 1
        last = r.kind == "abort" or at == len(self.saga)
        if then != EXIT and not last:
            return w.but(**{place: r._replace(step=at)})
        w = w.but(**{place: None})
        if place == "zombie":
            return w
        if verdict is Verdict.ABORTED and (place == "abort" or w.mode == "Cutover"):
            # The Job of the cutover is deleted, which may leave a process behind.
            return w.but(mode="Idle", cutover=None, zombie=w.cutover or w.zombie)
        if place == "abort":
            return w.but(mode="Cutover")
        if then != EXIT and w.mode == "Cutover":
            return w.but(mode="Idle", loser=1 - r.loser)
        return w

    # --- people, faults, harm --------------------------------------------------------------------

    def people_and_faults(self, w: World) -> Iterator[Move]:
        """Ask, take back, lose a database for a while; drop slots whose attempt is over for good."""
        if w.mode == "Idle" and w.left.asks and (self.limits.fallback or w.loser == SOURCE):
            asked = w.but(mode="Cutover", attempt=w.attempt + 1).spend("asks")
            yield f"user asks to leave the {SIDES[w.loser]}", asked
        if w.mode == "Cutover" and w.left.reverts:
            yield "user takes the request back", w.but(mode="Abort").spend("reverts")
        for d in BOTH:
            s = w.streams[d]
            if w.dbs[d].up and w.dbs[1 - d].up and (s.slot >= 0 or s.strays):
                slots = (*s.strays, s.slot) if s.slot >= 0 else s.strays
                for k in self.decide.dead(self.row(w, d), self.row(w, 1 - d), slots):
                    cleaned = drop(w, d, lambda each, dead=k: each == dead)  # type: ignore[misc]
                    yield f"cleanup drops slot {k} of the {SIDES[d]}", cleaned
            if not w.dbs[d].up:
                yield f"the {SIDES[d]} is back", w.put(d, up=True)
            elif w.left.faults and w.dbs[1 - d].up:
                begun = None if w.begun is not None and w.begun[0] == d else w.begun
                down = w.put(d, up=False).but(begun=begun).spend("faults")
                yield f"the {SIDES[d]} goes down", down

    def harm(self, w: World) -> str:
        """Name the promise that this state breaks, if any."""
        if w.bad:
            return w.bad
        if not (w.dbs[0].fenced or w.dbs[1].fenced):
            return "S1 both sides are open"
        for db, side in zip(w.dbs, SIDES, strict=True):
            if not db.fenced and db.rows != w.acked:
                return f"S2 the {side} is open without what was written"
            if not db.fenced and not db.triggers:
                return f"S2 the {side} is open without its triggers"
        if saga.standing(self.row(w, w.loser), w.attempt) is not Verdict.ARMED:
            return ""
        verify = self.at[StepName.VERIFY]
        if w.cutover and w.cutover.step > verify and w.dbs[0].rows != w.dbs[1].rows:
            return "S6 Verified is claimed, and the sides differ"
        if not w.dbs[w.loser].up:
            return ""
        alone = w.put(1 - w.loser, up=False)
        after, then, _ = self.take_step(alone, Role("abort", w.attempt, w.loser))
        shut = then != NEXT or after.dbs[w.loser].fenced
        return "S4 the losing database alone can't abort" if shut else ""

    def settled(self, w: World) -> bool:
        """Tell whether nothing is under way, one side is open with all writes, and the other one has them too."""
        if w.mode != "Idle" or w.cutover or w.abort or w.begun:
            return False
        opened = w.dbs[w.loser].up and not w.dbs[w.loser].fenced and w.dbs[1 - w.loser].up
        if any(s.log or s.journal or s.strays for s in w.streams):
            return False
        if not self.limits.fallback and w.loser == TARGET:  # CutOver: there is no way back
            return opened and not any(s.slot >= 0 for s in w.streams)
        out = w.streams[w.loser]
        one = w.streams[1 - w.loser].slot < 0
        return (
            opened
            and one
            and w.dbs[0].rows == w.dbs[1].rows
            and out.slot >= 0
            and self.is_live(w, w.loser)
        )


def normal(row: LaneRow) -> LaneRow:
    """Keep of a generation only whether it runs, never ran, or ended."""
    sign = (row.generation > 0) - (row.generation < 0)
    same = row.generation == sign and row.backend is None
    return row if same else replace(row, generation=sign, backend=None)


def probed(rows: tuple[LaneRow, ...]) -> tuple[LaneRow, ...]:
    return tuple(replace(row, probe=99) for row in rows)


def drop(w: World, d: int, gone: Callable[[int], bool]) -> World:
    s = w.streams[d]
    strays = tuple(k for k in s.strays if not gone(k))
    if s.slot >= 0 and gone(s.slot):
        return w.stream(d, slot=-1, strays=strays, log=(), journal=())
    return w if strays == s.strays else w.stream(d, strays=strays)
