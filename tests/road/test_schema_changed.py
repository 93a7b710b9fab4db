"""DDL on a migrated table stops the stream, or takes the switch back, with a reason that names the table."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from bowline_worker.contract import Exit, Failure, Role, Side, Verdict
from road.by_hand import Ended, Worker, wait_until
from road.faulty import BLIND, SHAPES_PACE, Fault, Harm, Place
from road.switch_rig import SwitchRoad, told, wake

pytestmark = pytest.mark.slow

#: The promise, for a table that nobody writes to.
NOTICED_SECONDS = 60.0


@dataclass(frozen=True)
class Ddl:
    """A change of the schema, what takes it back, and whose name must be told."""

    do: str
    undo: str
    named: str


DDL = {
    "ADD COLUMN": Ddl(
        "alter table public.spare add c int", "alter table public.spare drop c", "public.spare.c"
    ),
    "ADD COLUMN with a default": Ddl(
        "alter table public.spare add c int not null default 7",
        "alter table public.spare drop c",
        "public.spare.c",
    ),
    "RENAME COLUMN": Ddl(
        "alter table public.spare rename b to z",
        "alter table public.spare rename z to b",
        "public.spare.z",
    ),
    "RENAME TABLE": Ddl(
        "alter table public.spare rename to other",
        "alter table public.other rename to spare",
        "public.other",
    ),
    "TYPE": Ddl(
        "alter table public.spare alter b type varchar(9)",
        "alter table public.spare alter b type text",
        "public.spare.b",
    ),
    "ATTACH PARTITION": Ddl(
        "create table public.hit_next partition of public.hit"
        " for values from ('2030-01-01') to ('2035-01-01')",
        "drop table public.hit_next",
        "public.hit_next",
    ),
    "ATTACH of a table that was there": Ddl(
        "alter table public.hit attach partition public.loose"
        " for values from ('2035-01-01') to ('2040-01-01')",
        "alter table public.hit detach partition public.loose",
        "public.loose",
    ),
    "DETACH PARTITION": Ddl(
        "alter table public.hit detach partition public.hit_old",
        "alter table public.hit attach partition public.hit_old"
        " for values from ('2020-01-01') to ('2025-01-01')",
        "public.hit_old",
    ),
}


@pytest.fixture
def watchful(road: SwitchRoad) -> SwitchRoad:
    """A road from the source whose capture looks at the schema often."""
    road.stand(Side.SOURCE)
    capture, apply = road.out
    capture.kill()
    road.out = [start_capture(road, 0.2), apply]
    return road


def start_capture(road: SwitchRoad, pace: float, *, blind: bool = False) -> Worker:
    number = road.look(road.primary, "select opened from bowline.switch")[0][0]
    env = {SHAPES_PACE: str(pace)} if pace else {}
    env |= {BLIND: "yes"} if blind else {}
    return road.start(Role.CAPTURE, env=env, origin=road.primary, number=number)


def stopped_by(road: SwitchRoad, seconds: float = NOTICED_SECONDS) -> Failure:
    """Wait until capture or apply has stopped, and give what it says."""
    wait_until(
        "capture or apply stops",
        lambda: any(worker.process.poll() is not None for worker in road.out),
        seconds,
    )
    for worker in road.out:
        if worker.process.poll() is not None:
            report = worker.report()
            assert report is not None, worker.log()
            assert report.failure is not None, worker.log()
            return report.failure
    raise Ended("none has stopped")


def check_named(failure: Failure, named: str) -> None:
    assert (failure.exit_code, failure.reason) == (Exit.UNSUPPORTED, "SchemaChanged")
    assert named in failure.message


@pytest.mark.parametrize("what", DDL)
def test_ddl_while_nothing_is_written_stops_the_stream(watchful: SwitchRoad, what: str) -> None:
    road, ddl = watchful, DDL[what]
    road.database(Side.SOURCE).run(ddl.do)

    failure = stopped_by(road)

    check_named(failure, ddl.named)
    road.database(Side.SOURCE).run(ddl.undo)
    road.out[0].wait(code=Exit.UNSUPPORTED)
    road.out[0] = start_capture(road, 0)
    road.check_streaming()
    road.is_whole = True


def test_a_column_that_was_dropped_and_made_again_is_not_taken_for_the_old_one(
    watchful: SwitchRoad,
) -> None:
    """Its values are gone on the one side, and are there on the other: no stream will tell."""
    road, source = watchful, watchful.database(Side.SOURCE)
    source.run("alter table public.spare drop b")
    check_named(stopped_by(road), "public.spare.b")
    source.run("alter table public.spare add b text")
    road.out[0].wait(code=Exit.UNSUPPORTED)

    road.out[0] = start_capture(road, 0)

    check_named(stopped_by(road), "public.spare.b")


def test_the_product_looks_often_enough(road: SwitchRoad) -> None:
    road.stand(Side.SOURCE)
    ddl = DDL["TYPE"]
    began = time.monotonic()
    road.database(Side.SOURCE).run(ddl.do)

    check_named(stopped_by(road), ddl.named)

    assert time.monotonic() - began < NOTICED_SECONDS
    road.database(Side.SOURCE).run(ddl.undo)
    road.out[0] = start_capture(road, 0)
    road.check_streaming()
    road.is_whole = True


# --- with rows in the new form: the road is not used again ---------------------------------------

ROWS = {
    "ADD COLUMN with a default": ("public.spare", "insert into public.spare (id) values (1)"),
    "RENAME COLUMN": ("public.spare", "insert into public.spare (id) values (1)"),
}


@pytest.mark.parametrize("what", ROWS)
def test_a_row_in_a_new_form_is_never_half_applied(road: SwitchRoad, what: str) -> None:
    """The capture does not look here: the first row of a new form reaches the apply, which must not guess."""
    road.stand(Side.SOURCE)
    capture, _ = road.out
    capture.kill()
    road.out[0] = start_capture(road, 0, blind=True)
    road.check_streaming()
    table, row = ROWS[what]

    road.database(Side.SOURCE).run(DDL[what].do, row)

    check_named(stopped_by(road), table)
    assert road.look(Side.TARGET, f"select from {table}") == []


@pytest.mark.parametrize("restarted", [False, True])
def test_a_row_of_a_wider_type_is_not_rounded_silently(road: SwitchRoad, restarted: bool) -> None:
    """Its value fits the other side's type all too well. The stream tells the new shape with the first such row."""
    road.stand(Side.SOURCE)
    road.out[0].kill()
    road.out[0] = start_capture(road, 3600.0)
    road.check_streaming()
    source = road.database(Side.SOURCE)
    if not restarted:
        # The shape that the stream knows is another one than that of the first row which it tells.
        source.run("insert into public.spare (id, n) values (1, 1.25)")
        road.check_streaming()

    source.run(
        "alter table public.spare alter n type numeric(9, 4)",
        "insert into public.spare (id, n) values (2, 1.2567)",
    )

    check_named(stopped_by(road), "public.spare.n")
    assert road.look(Side.TARGET, "select from public.spare where id = 2") == []


# --- at Barrier ----------------------------------------------------------------------------------

NEW = {
    "table": Ddl("create table public.late (id int)", "drop table public.late", "public.late"),
    "partition": DDL["ATTACH PARTITION"],
    "column": DDL["ADD COLUMN"],
    "partition that is detached": DDL["DETACH PARTITION"],
}


@pytest.mark.parametrize("what", NEW)
@pytest.mark.parametrize("loser", list(Side))
def test_ddl_just_before_the_fence_takes_the_switch_back(
    road: SwitchRoad, loser: Side, what: str
) -> None:
    """The capture does not look here, which would end the stream too: the change comes between two of its looks."""
    road.stand(loser)
    road.out[0].kill()
    road.out[0] = start_capture(road, 0, blind=True)
    road.check_streaming()
    road.attempt += 1
    cutover = road.cutover(Fault("Fence", Place.BEFORE, Harm.STOP))
    road.follow(cutover)
    road.database(loser).run(NEW[what].do)

    wake(cutover)
    report = told(cutover)

    assert (report.verdict, report.reason) == (Verdict.ABORTED, "SchemaChanged")
    assert NEW[what].named.removesuffix(".c") in report.message
    assert "Barrier" not in report.done
    road.insert(loser)
    road.database(loser).run(NEW[what].undo)
    road.aborted()
    road.check_aborted()
    road.switch_over()
    road.check_switched()
    road.is_whole = True
