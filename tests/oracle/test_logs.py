"""The files of a step: each sequence once, no gap, no thread forgotten."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.oracle.logs import Choice, LogFile, LogMissing, choose


def online(thread: int, sequence: int) -> LogFile:
    """Log n holds the SCNs from 100n on."""
    return LogFile(thread, sequence, 100 * sequence, f"/redo{thread}_{sequence}")


def archive(thread: int, sequence: int) -> LogFile:
    return LogFile(thread, sequence, 100 * sequence, f"/arch{thread}_{sequence}", archived=True)


def names(choice: Choice) -> list[str]:
    return [file.name for file in choice.files]


@pytest.mark.parametrize(
    ("sequences", "scn", "wanted"),
    [
        ({1: 5}, 0, ["/arch1_5", "/redo1_6", "/redo1_7"]),  # by the cursor, whatever the SCN
        ({1: 7}, 0, ["/redo1_7"]),
        ({}, 550, ["/arch1_5", "/redo1_6", "/redo1_7"]),  # by the SCN, where nothing was read yet
        ({}, 600, ["/redo1_6", "/redo1_7"]),
        ({}, 400, ["/arch1_4", "/arch1_5", "/redo1_6", "/redo1_7"]),
    ],
)
def test_an_archive_is_preferred_and_each_sequence_comes_once(
    sequences: Mapping[int, int], scn: int, wanted: list[str]
) -> None:
    files = [online(1, 5), online(1, 6), online(1, 7), archive(1, 5), archive(1, 4)]

    assert names(choose(files, sequences=sequences, scn=scn)) == wanted


@pytest.mark.parametrize(
    ("threads", "limit", "first", "end", "beyond"),
    [
        ({1: range(5, 8)}, 8, 500, None, None),
        ({1: range(5, 8)}, 1, 500, 600, 600),
        ({1: range(5, 8), 2: range(4, 9)}, 2, 400, 600, 700),
        # All of the first thread's was chosen: no SCN is beyond it.
        ({1: range(5, 7), 2: range(4, 9)}, 2, 400, 600, None),
    ],
)
def test_the_range_of_a_choice_holds_all_of_its_files(
    threads: Mapping[int, range], limit: int, first: int, end: int | None, beyond: int | None
) -> None:
    files = [archive(thread, n) for thread, numbers in threads.items() for n in numbers]
    sequences = {thread: numbers[0] for thread, numbers in threads.items()}

    choice = choose(files, sequences=sequences, scn=0, limit=limit)

    assert (choice.first, choice.end, choice.beyond) == (first, end, beyond)
    assert {thread: found[0] for thread, found in choice.sequences.items()} == sequences


def test_copies_at_two_destinations_are_one_file() -> None:
    files = [archive(1, 5), archive(1, 5), online(1, 6)]

    assert names(choose(files, sequences={1: 5}, scn=0)) == ["/arch1_5", "/redo1_6"]


@pytest.mark.parametrize("missing", [4, 5, 6])
def test_a_gap_is_named_and_nothing_is_mined(missing: int) -> None:
    files = [archive(1, n) for n in (4, 5, 6) if n != missing] + [online(1, 7)]

    with pytest.raises(LogMissing, match=f"log sequence {missing} of redo thread 1") as caught:
        choose(files, sequences={1: 4}, scn=0)
    error = caught.value.for_good()
    assert isinstance(error, Unsafe)
    assert error.reason == "PositionLost"


def test_a_thread_that_was_read_and_has_no_logs_any_more_is_missed() -> None:
    with pytest.raises(LogMissing, match="log sequence 9 of redo thread 2"):
        choose([online(1, 7)], sequences={1: 7, 2: 9}, scn=0)


def test_logs_that_are_older_than_the_cursor_are_no_answer() -> None:
    """A database that was restored has lower sequences again."""
    with pytest.raises(LogMissing, match="log sequence 9"):
        choose([online(1, 7)], sequences={1: 9}, scn=0)


def test_a_thread_that_opens_later_is_read_too() -> None:
    files = [online(1, 7), online(2, 1), online(2, 2)]

    assert names(choose(files, sequences={1: 7}, scn=50)) == ["/redo1_7", "/redo2_1", "/redo2_2"]


def test_a_thread_whose_logs_are_all_younger_than_the_start_has_lost_one() -> None:
    """The start of the stream was passed over in silence, with whatever committed between it and the oldest log."""
    with pytest.raises(LogMissing, match="log sequence 6 of redo thread 1"):
        choose([online(1, 7)], sequences={}, scn=650)


def test_a_step_takes_no_more_files_than_it_may_and_ends_where_the_rest_begins() -> None:
    files = [archive(1, n) for n in range(1, 10)] + [online(2, 3)]

    choice = choose(files, sequences={1: 1}, scn=300, limit=4)

    assert names(choice) == ["/arch1_1", "/arch1_2", "/arch1_3", "/arch1_4", "/redo2_3"]
    assert choice.end == 500
    assert choose(files, sequences={1: 6}, scn=300, limit=4).end is None


@given(st.sets(st.integers(1, 30), min_size=1), st.integers(1, 30), st.integers(1, 5))
def test_a_choice_never_passes_over_a_log(there: set[int], first: int, limit: int) -> None:
    files = [archive(1, number) for number in there]
    last = max(there)
    wanted = range(first, last + 1)
    if not wanted or not there.issuperset(wanted):
        with pytest.raises(LogMissing):
            choose(files, sequences={1: first}, scn=0, limit=limit)
        return

    choice = choose(files, sequences={1: first}, scn=0, limit=limit)

    assert [file.sequence for file in choice.files] == list(wanted)[:limit]
