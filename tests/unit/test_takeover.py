"""Who may apply a stream, and in which generation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bowline_worker.bookkeeping import Backend, LaneRow, StreamId, SwitchRow
from bowline_worker.contract import BowlineError, FencedOut, Side, TryAgain, Verdict
from bowline_worker.takeover import check, next_rows

STREAM = StreamId(Side.SOURCE, 2)
ROW = LaneRow(lane=0, number=2, generation=3, block=7, events=10, passed=True)
ENDED = replace(ROW, generation=-3)
RETIRED = replace(ENDED, retired=5)
NEVER = replace(ROW, generation=0)


@pytest.mark.parametrize(
    ("row", "receiver", "origin", "expected"),
    [
        (ROW, SwitchRow(), None, None),
        (NEVER, SwitchRow(), None, None),
        (None, SwitchRow(), None, TryAgain),
        (replace(ROW, number=1), SwitchRow(), None, TryAgain),
        (replace(ROW, number=3), SwitchRow(), None, FencedOut),
        (ENDED, SwitchRow(), SwitchRow(aborted=frozenset({2})), FencedOut),
        (NEVER, SwitchRow(attempt=2, aborted=frozenset({2})), None, FencedOut),
        (RETIRED, SwitchRow(), SwitchRow(attempt=5, verdict=Verdict.ARMED), FencedOut),
        (RETIRED, SwitchRow(), SwitchRow(attempt=5, verdict=Verdict.COMMITTED), FencedOut),
        (RETIRED, SwitchRow(), SwitchRow(attempt=4, aborted=frozenset({4})), FencedOut),
        (RETIRED, SwitchRow(), SwitchRow(attempt=6, aborted=frozenset({5, 6})), None),
    ],
    ids=[
        "live",
        "never ran",
        "no lanes",
        "older stream",
        "newer stream",
        "ended by its abort",
        "aborted before it ran",
        "retired, armed",
        "retired, committed",
        "retired, another one aborted",
        "retired, aborted",
    ],
)
def test_a_stream_may_run(
    row: LaneRow | None,
    receiver: SwitchRow,
    origin: SwitchRow | None,
    expected: type[BowlineError] | None,
) -> None:
    def read() -> SwitchRow:
        assert origin is not None, "the origin is asked only where it decides"
        return origin

    def ask() -> None:
        check(STREAM, [row] if row else [], receiver, read)

    if expected is None:
        ask()
    else:
        with pytest.raises(expected):
            ask()


def test_a_new_generation_is_above_every_one_that_was() -> None:
    rows = [replace(ROW, generation=-9), replace(ROW, lane=1, generation=4)]

    taken = next_rows(rows, [Backend(pid=1, started="a"), Backend(pid=2, started="b")], 2)

    assert [row.generation for row in taken] == [10, 10]
    assert [row.backend.pid for row in taken if row.backend] == [1, 2]


@pytest.mark.parametrize("wanted", [1, 3])
def test_another_number_of_lanes_keeps_place_and_counts(wanted: int) -> None:
    rows = [ROW, replace(ROW, lane=1, events=5, discarded=2)]
    backends = [Backend(pid=pid, started="") for pid in range(wanted)]

    taken = next_rows(rows, backends, wanted)

    assert [row.lane for row in taken] == list(range(wanted))
    assert {row.block for row in taken} == {7}
    assert sum(row.events for row in taken) == 15
    assert sum(row.discarded for row in taken) == 2


def test_lanes_that_stand_apart_keep_their_number() -> None:
    rows = [ROW, replace(ROW, lane=1, block=9)]

    with pytest.raises(TryAgain, match="not at one"):
        next_rows(rows, [Backend(pid=1, started="")], 1)
