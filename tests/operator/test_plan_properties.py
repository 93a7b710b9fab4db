"""What holds for the plan whatever happens: random walks through requests, deaths, silence and lost passes."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

import pytest

from bowline_operator.api import Request
from bowline_operator.observed import StartJob
from bowline_operator.plan import plan
from bowline_operator.status import Mode, Status
from bowline_worker.contract import Exit, Role
from plan_world import World

CODES = (Exit.TRY_AGAIN, Exit.TRY_AGAIN, Exit.UNSAFE, Exit.NOT_PERMITTED, -9)


def disturb(world: World, chance: random.Random) -> None:
    """Do one thing that users, kernels and networks do."""
    match chance.randrange(12):
        case 0 | 1:
            world.ask(chance.choice(list(Request)))
        case 2 | 3 if world.alive():
            world.end(chance.choice(world.alive()), chance.choice(CODES), reason="Chance")
        case 4:
            world.silent ^= {chance.choice([Role.CAPTURE, Role.APPLY, Role.CUTOVER])}
        case 5:
            world.stuck ^= {chance.choice(list(Role))}
        case 6:
            world.now += timedelta(seconds=chance.randrange(40))
        case 7:
            world.ask(world.spec.phase, suspend=chance.random() < 0.3)
        case 8:
            world.ask(world.spec.phase, cutover={"abort": chance.random() < 0.2})
        case 9 if world.alive():
            del world.jobs[chance.choice(world.alive())]  # somebody deletes a Job


@pytest.mark.parametrize("seed", range(20))
def test_no_walk_breaks_what_must_hold(seed: int) -> None:
    chance = random.Random(seed)
    world = World()
    epoch, attempt = 1, 0
    armed: set[str] = set()
    for _ in range(120):
        if chance.random() < 0.3:
            disturb(world, chance)
        seen = world.observed()
        decided = plan(seen)

        assert plan(seen) == decided

        started = [a.job for a in decided.actions if isinstance(a, StartJob)]
        for job in started:
            if job.role is Role.CUTOVER:
                # The number was read back before it was given away, and it is nobody else's.
                assert seen.status.cutover.attempt == job.attempt
                armed.add(f"{job.attempt}-{job.loser}")
        before = world.status
        world.act(decided)
        again = plan(world.observed())

        assert not [a for a in again.actions if isinstance(a, StartJob) and a.job in started]

        alive = Counter(job.family for job in world.jobs.values() if job.name in world.alive())
        assert not [name for name, count in alive.items() if count > 1]
        assert world.status.epoch >= epoch
        assert world.status.cutover.attempt >= attempt
        if world.status.cutover.attempt > before.cutover.attempt:
            assert before.cutover.mode is Mode.IDLE
        epoch, attempt = world.status.epoch, world.status.cutover.attempt
        world.now += timedelta(milliseconds=chance.choice([100, 500, 3000]))
        world.live()

    assert len({each.split("-")[0] for each in armed}) == len(armed)


@pytest.mark.parametrize("seed", range(6))
def test_a_pass_whose_status_is_lost_gives_no_number_away(seed: int) -> None:
    """A shell that can't write the status does nothing; the next pass decides the same again."""
    chance = random.Random(seed)
    world = World()
    world.ask(Request.CUTOVER)
    given: dict[int, str] = {}
    for _ in range(120):
        decided = plan(world.observed())
        if chance.random() < 0.4:  # the write fails, so nothing is done
            world.now += timedelta(milliseconds=200)
            world.live()
            continue
        for action in decided.actions:
            if isinstance(action, StartJob) and action.job.role is Role.CUTOVER:
                assert given.setdefault(action.job.attempt, action.job.family) == action.job.family
        world.act(decided)
        world.now += timedelta(milliseconds=200)
        world.live()

    assert given == {1: "cutover-1"}


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_created_once_the_resource_is_being_deleted(seed: int) -> None:
    chance = random.Random(seed)
    world = World()
    world.ask(Request.CUTOVER)
    for _ in range(chance.randrange(40)):
        world.step()
    started = list(world.started)
    world.deleting = True
    for _ in range(60):
        disturb(world, chance)
        world.step()

    assert world.started == started


@pytest.mark.parametrize("seed", range(6))
def test_when_the_disturbance_ends_the_goal_is_reached(seed: int) -> None:
    chance = random.Random(seed)
    world = World()
    for _ in range(100):
        if chance.random() < 0.2 and world.alive():
            world.end(chance.choice(world.alive()), Exit.TRY_AGAIN, reason="Chance")
        if chance.random() < 0.1:
            world.ask(chance.choice([Request.REPLICATE, Request.CUTOVER, Request.SWITCHOVER]))
        world.step()
    world.ask(Request.REPLICATE)
    world.until(lambda w: w.status.cutover.mode is Mode.IDLE)
    world.ask(Request.CUTOVER)
    world.until(lambda w: str(w.status.primary) == "Target", passes=600)


def test_the_status_survives_being_written_and_read() -> None:
    world = World()
    world.ask(Request.CUTOVER)
    for _ in range(60):
        decided = plan(world.observed())
        text = decided.status.model_dump_json(by_alias=True, exclude_none=True)

        assert Status.model_validate_json(text) == decided.status

        world.act(decided)
        world.now += timedelta(milliseconds=200)
        world.live()
