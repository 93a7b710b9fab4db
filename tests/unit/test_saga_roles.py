"""The cutover and abort roles, killed, stalled and cheated of replies at each of their transactions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from bowline_worker.contract import Role, Side, SwitchReport, TryAgain, Unsafe, Verdict
from bowline_worker.model import TableName
from bowline_worker.roles import abort, cutover
from endpoints.memory_database import MemoryBooks, Refused
from unit.switch_pair import Killed, Pair, no_fault

SOURCE, TARGET = Side.SOURCE, Side.TARGET


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cutover, abort):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(cutover, "IDLE_POLL_SECONDS", 0.001)
    monkeypatch.setattr(abort, "RETRY_SECONDS", 0.001)


def streaming(*, fallback: bool = True, budget: timedelta = timedelta(seconds=20)) -> Pair:
    """A pair that streams forward, with two rows."""
    pair = Pair(fallback=fallback, budget=budget)
    pair.write(SOURCE, b"1")
    pair.write(SOURCE, b"2")
    return pair


def transactions() -> int:
    """How many transactions an undisturbed cutover has."""
    pair = streaming()
    assert pair.run_cutover(1, SOURCE).verdict is Verdict.COMMITTED
    return pair.points


COUNT = transactions()
POINTS = [(number, after) for number in range(1, COUNT + 1) for after in (False, True)]


def point(value: tuple[int, bool]) -> str:
    return f"{'after' if value[1] else 'before'}-{value[0]}"


def at(where: tuple[int, bool], do: Callable[[], None], pair: Pair) -> None:
    """Let something happen once, before or after that transaction."""

    def fault(number: int, committed: bool) -> None:
        if (number, committed) == where:
            pair.fault = no_fault
            do()

    pair.fault = fault


def die() -> None:
    raise Killed


def lose_reply() -> None:
    raise TryAgain("the connection is lost")


def check_whole(pair: Pair, verdict: Verdict) -> None:
    """One side is open, takes writes which reach the other one, and nothing was lost or applied twice."""
    primary = TARGET if verdict is Verdict.COMMITTED else SOURCE
    assert pair.open_sides() == [primary]
    pair.write(primary, b"3")
    with pytest.raises(Refused):
        pair.write(primary.other, b"4")
    pair.pump()
    pair.pump()
    assert pair.keys(SOURCE) == pair.keys(TARGET) == ["b'1'", "b'2'", "b'3'"]
    assert len(pair.applied) == len(set(pair.applied)) == 3


def test_a_cutover_moves_the_primary_and_tells_each_step() -> None:
    pair = streaming()

    report = pair.run_cutover(1, SOURCE)

    assert report.verdict is Verdict.COMMITTED
    assert report.opened
    assert report.done[0] == "Gate"
    assert report.done[-1] == "Finish"
    assert None not in (report.fenced_at, report.committed_at, report.opened_at)
    assert pair.stations[SOURCE].slots() == []
    assert pair.stations[TARGET].slots() == [1]
    check_whole(pair, Verdict.COMMITTED)


def test_what_is_left_of_an_apply_does_not_hold_up_the_opening(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped while it holds the winner's row, it would keep both sides closed behind the commit point."""
    pair = streaming()
    opened: list[int] = []

    def end_sessions(books: MemoryBooks, role: Role, timeout: float = 5.0) -> None:
        if role is Role.APPLY:
            opened.append(books.switch().opened)

    monkeypatch.setattr(MemoryBooks, "end_sessions", end_sessions)
    pair.run_cutover(1, SOURCE)

    assert opened == [0]


def test_sides_are_switched_again_and_again() -> None:
    pair, keys = streaming(), [b"1", b"2"]
    for attempt in range(1, 7):
        loser = SOURCE if attempt % 2 else TARGET
        assert pair.run_cutover(attempt, loser).opened
        keys.append(b"n%d" % attempt)
        pair.write(loser.other, keys[-1])

    pair.pump()
    pair.pump()

    assert pair.keys(SOURCE) == pair.keys(TARGET) == sorted(map(repr, keys))
    assert pair.stations[SOURCE].slots() == [6]
    assert pair.stations[TARGET].slots() == []


def test_without_a_way_back_nothing_of_it_is_made() -> None:
    pair = streaming(fallback=False)

    report = pair.run_cutover(1, SOURCE)

    assert report.opened
    assert not {"ArmReverse", "Canary", "Arrival"} & set(report.done)
    assert pair.stations[TARGET].slots() == []
    assert not pair.stations[SOURCE].db.lanes


def test_sequences_of_the_winner_rise_to_the_losers() -> None:
    pair, name = streaming(), TableName("public", "item_id_seq")
    pair.stations[SOURCE].db.sequences[name] = 40
    pair.stations[TARGET].db.sequences[name] = 7

    pair.run_cutover(1, SOURCE)

    assert pair.stations[TARGET].db.sequences[name] == 40


@pytest.mark.parametrize("where", POINTS, ids=point)
def test_a_cutover_killed_anywhere_is_carried_on_by_the_next(where: tuple[int, bool]) -> None:
    pair = streaming()
    at(where, die, pair)
    with pytest.raises(Killed):
        pair.run_cutover(1, SOURCE)

    report = pair.run_cutover(1, SOURCE)

    assert report.verdict is Verdict.COMMITTED
    check_whole(pair, Verdict.COMMITTED)


@pytest.mark.parametrize("where", POINTS, ids=point)
def test_a_lost_reply_is_read_back(where: tuple[int, bool]) -> None:
    pair = streaming()
    at(where, lose_reply, pair)

    report = pair.run_cutover(1, SOURCE)

    assert report.verdict is Verdict.COMMITTED
    check_whole(pair, Verdict.COMMITTED)


@pytest.mark.parametrize("where", POINTS, ids=point)
def test_a_stalled_copy_wakes_after_another_has_finished(where: tuple[int, bool]) -> None:
    pair = streaming()
    at(where, lambda: check_committed(pair.run_cutover(1, SOURCE)), pair)

    report = pair.run_cutover(1, SOURCE)

    assert report.verdict is Verdict.COMMITTED
    check_whole(pair, Verdict.COMMITTED)


@pytest.mark.parametrize("where", POINTS, ids=point)
def test_a_stalled_copy_wakes_after_the_next_epoch(where: tuple[int, bool]) -> None:
    pair = streaming()

    def meanwhile() -> None:
        check_committed(pair.run_cutover(1, SOURCE))
        check_committed(pair.run_cutover(2, TARGET))

    at(where, meanwhile, pair)

    pair.run_cutover(1, SOURCE)

    check_whole(pair, Verdict.ABORTED)  # the source is primary again


def check_committed(report: SwitchReport) -> None:
    assert report.verdict is Verdict.COMMITTED


@pytest.mark.parametrize("where", POINTS, ids=point)
def test_an_abort_anywhere_ends_in_one_of_two_states(where: tuple[int, bool]) -> None:
    pair, reported = streaming(), []
    at(where, lambda: reported.append(pair.run_abort(1, SOURCE)), pair)

    report = pair.run_cutover(1, SOURCE)

    assert report.verdict is reported[0].verdict
    assert report.opened == (report.verdict is Verdict.COMMITTED)
    check_whole(pair, report.verdict)


@pytest.mark.parametrize("where", POINTS, ids=point)
def test_a_killed_cutover_is_aborted_with_the_winner_down(where: tuple[int, bool]) -> None:
    pair = streaming()
    at(where, die, pair)
    with pytest.raises(Killed):
        pair.run_cutover(1, SOURCE)
    pair.down = {TARGET}

    report = pair.run_abort(1, SOURCE)

    pair.down = set()
    if report.verdict is Verdict.COMMITTED:
        pair.run_cutover(1, SOURCE)
    check_whole(pair, report.verdict)


@pytest.mark.parametrize(
    "where", [(n, after) for n in (1, 2) for after in (False, True)], ids=point
)
def test_an_abort_killed_or_cheated_of_its_reply_is_read_back(where: tuple[int, bool]) -> None:
    for harm in (die, lose_reply):
        pair = streaming()
        at((10, True), die, pair)
        with pytest.raises(Killed):
            pair.run_cutover(1, SOURCE)
        at((pair.points + where[0], where[1]), harm, pair)
        if harm is die:
            with pytest.raises(Killed):
                pair.run_abort(1, SOURCE)

        report = pair.run_abort(1, SOURCE)

        assert report.verdict is Verdict.ABORTED
        check_whole(pair, Verdict.ABORTED)


def test_after_an_abort_the_next_attempt_succeeds() -> None:
    pair = streaming()
    pair.run_abort(1, SOURCE)
    assert pair.run_cutover(1, SOURCE).verdict is Verdict.ABORTED

    report = pair.run_cutover(2, SOURCE)

    assert report.verdict is Verdict.COMMITTED
    check_whole(pair, Verdict.COMMITTED)


def test_the_budget_aborts_while_the_winner_is_away() -> None:
    pair = streaming(budget=timedelta(seconds=0.2))

    def winner_leaves_after_the_fence(number: int, committed: bool) -> None:
        if pair.switch(SOURCE).fenced:
            pair.down = {TARGET}

    pair.fault = winner_leaves_after_the_fence

    report = pair.run_cutover(1, SOURCE)

    assert report.verdict is Verdict.ABORTED
    assert report.reason == "BudgetExceeded"
    pair.down, pair.fault = set(), no_fault
    check_whole(pair, Verdict.ABORTED)


def test_the_budget_of_a_killed_process_goes_on_in_the_next() -> None:
    pair = streaming(budget=timedelta(0))

    def kill_behind_the_fence(number: int, committed: bool) -> None:
        if pair.switch(SOURCE).fenced and committed:
            raise Killed

    pair.budget = timedelta(hours=1)
    pair.fault = kill_behind_the_fence
    with pytest.raises(Killed):
        pair.run_cutover(1, SOURCE)
    pair.fault, pair.budget = no_fault, timedelta(0)

    report = pair.run_cutover(1, SOURCE)

    assert report.reason == "BudgetExceeded"
    check_whole(pair, Verdict.ABORTED)


def test_a_row_that_differs_aborts_and_is_named() -> None:
    pair = streaming()
    pair.pump()
    row = next(iter(pair.stations[TARGET].db.rows.values()))
    row.subtract([(b"1", b"x", None)])
    row[(b"1", b"y", None)] += 1

    report = pair.run_cutover(1, SOURCE)

    assert report.verdict is Verdict.ABORTED
    assert report.reason == "RowsDiffer"
    assert "public.item" in report.message
    assert pair.open_sides() == [SOURCE]


def test_a_passive_side_can_be_neither_left_nor_opened() -> None:
    pair = streaming()

    with pytest.raises(Unsafe, match="not the primary"):
        pair.run_cutover(1, TARGET)
    with pytest.raises(Unsafe, match="not the primary"):
        pair.run_abort(1, TARGET)
    assert pair.open_sides() == [SOURCE]


def test_a_late_abort_of_an_older_attempt_changes_nothing() -> None:
    pair = streaming()
    pair.run_abort(1, SOURCE)
    pair.run_cutover(2, SOURCE)

    assert pair.run_abort(1, SOURCE).verdict is Verdict.ABORTED
    check_whole(pair, Verdict.COMMITTED)
