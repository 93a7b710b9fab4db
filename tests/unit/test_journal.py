"""The journal between one writer and its readers: durable, ordered, whole transactions, bounded."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import FencedOut, Side, TryAgain, Unsafe
from bowline_worker.journal import (
    JournalFull,
    Mark,
    Reader,
    Writer,
    last_mark,
    read_applied,
    write_applied,
)
from bowline_worker.journal.current import Segment
from bowline_worker.journal.sealing import scan_last
from bowline_worker.journal.store import DirectoryStore
from journal_rig import MIGRATION, STREAM, at, draft, everything, numbers, reader, writer


def test_a_block_is_read_as_it_was_written(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(draft(10, b"abc"))
    source = reader(tmp_path)
    (block,) = source.read(0)

    assert block.load() == b"abc"
    assert (block.number, block.first, block.last, block.changes) == (1, at(10), at(10), 3)
    assert (block.transactions, block.total, block.committed_at) == (1, 3, 1010.0)
    assert block.last.text == "0/A"


def test_readers_follow_the_writer_live(tmp_path: Path) -> None:
    source = reader(tmp_path)

    assert source.read(0) == []

    journal = writer(tmp_path, segment_bytes=300)
    seen: list[bytes] = []
    for order in range(1, 30):
        journal.append(draft(order))
        blocks = source.read(len(seen), timeout=1)
        seen += [block.load() for block in blocks]

    assert seen == [b"transaction %d;" % order for order in range(1, 30)]
    assert len(list(tmp_path.glob("*.seg"))) > 3
    assert source.end().block == 29
    assert source.end().total == 87
    assert source.total_at(7) == 21


def test_a_read_keeps_its_limits_and_ends_where_a_transaction_ends(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    for order in range(1, 8):
        journal.append(draft(order))
    source = reader(tmp_path)

    assert numbers(source.read(0, max_changes=7)) == [1, 2]
    assert numbers(source.read(2, max_changes=1)) == [3]
    assert numbers(source.read(3, max_bytes=250)) == [4, 5]
    assert numbers(source.read(5)) == [6, 7]


def test_a_huge_transaction_is_given_alone_and_only_when_it_is_complete(tmp_path: Path) -> None:
    journal = writer(tmp_path, segment_bytes=200)
    journal.append(draft(1))
    journal.append(draft(9, b"a", ends=False))
    source = reader(tmp_path)

    assert numbers(source.read(0)) == [1]
    assert source.read(1) == []
    assert source.end().block == 1

    journal.append(draft(9, b"b", starts=False, ends=False))
    journal.append(draft(9, b"c", starts=False))
    journal.append(draft(10))

    assert numbers(source.read(0)) == [1]
    assert [block.load() for block in source.read(1, max_changes=1)] == [b"a", b"b", b"c"]
    assert numbers(source.read(4)) == [5]


def test_a_restart_goes_on_behind_the_last_whole_transaction(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(draft(1))
    journal.append(draft(9, b"half", ends=False))
    journal.close()

    assert last_mark(tmp_path, migration=MIGRATION, stream=STREAM).position == at(1)

    again = writer(tmp_path)

    assert again.mark.position == at(1)
    assert again.mark.total == 3
    again.append(draft(9, b"whole"))
    assert everything(tmp_path) == [b"transaction 1;", b"whole"]
    assert reader(tmp_path).end().total == 6


def test_restarts_leave_no_empty_segments_behind(tmp_path: Path) -> None:
    writer(tmp_path).append(draft(1))
    for _ in range(5):
        writer(tmp_path).close()

    assert len(list(tmp_path.glob("*.seg"))) == 2
    assert len(list(tmp_path.glob("tail-*"))) == 1
    assert writer(tmp_path).mark.block == 1


def test_a_replaced_writer_is_fenced_out_and_nobody_reads_what_it_appends(tmp_path: Path) -> None:
    zombie = writer(tmp_path)
    zombie.append(draft(1))
    source = reader(tmp_path)
    source.read(0)
    heir = writer(tmp_path)

    with pytest.raises(FencedOut):
        zombie.append(draft(2, b"zombie"))
    assert source.read(1) == []
    assert source.end().block == 1

    heir.append(draft(2, b"heir"))

    assert [block.load() for block in source.read(1)] == [b"heir"]
    assert everything(tmp_path) == [b"transaction 1;", b"heir"]


def test_a_reader_never_follows_a_writer_that_is_being_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old writer appends while the new one scans: no reader may be given what the scan did not see."""
    zombie = writer(tmp_path)
    zombie.append(draft(1))
    source = reader(tmp_path)
    source.read(0)
    seen: list[list[int]] = []

    def interrupted(files: DirectoryStore, last: Segment) -> tuple[int, Mark]:
        found = scan_last(files, last)
        with pytest.raises(FencedOut):
            zombie.append(draft(2, b"zombie"))
        seen.append(numbers(source.read(1)))
        return found

    monkeypatch.setattr("bowline_worker.journal.writer.scan_last", interrupted)
    heir = writer(tmp_path)
    heir.append(draft(2, b"heir"))

    assert seen == [[]]
    assert [block.load() for block in source.read(1)] == [b"heir"]


def test_a_reader_that_is_behind_goes_on_while_a_writer_is_being_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A capture is restarted while the apply has a backlog: nothing is damaged."""
    older = writer(tmp_path)
    for order in (1, 2, 3):
        older.append(draft(order))
    source = reader(tmp_path)
    assert numbers(source.read(0, max_changes=1)) == [1]
    seen: list[object] = []

    def interrupted(files: DirectoryStore, last: Segment) -> tuple[int, Mark]:
        seen.extend((numbers(source.read(1)), source.total_at(2)))
        return scan_last(files, last)

    monkeypatch.setattr("bowline_worker.journal.writer.scan_last", interrupted)
    writer(tmp_path).append(draft(4))

    assert seen == [[2, 3], source.total_at(2)]
    assert numbers(source.read(3)) == [4]


def test_a_replaced_writer_can_not_roll_or_delete(tmp_path: Path) -> None:
    zombie = writer(tmp_path, segment_bytes=1)
    zombie.append(draft(1))
    zombie.append(draft(2))
    writer(tmp_path)
    before = sorted(tmp_path.glob("*.seg"))

    with pytest.raises(FencedOut):
        zombie.append(draft(3))
    assert sorted(tmp_path.glob("*.seg")) == before


def test_a_replaced_writer_can_not_delete_segments(tmp_path: Path) -> None:
    zombie = writer(tmp_path, segment_bytes=1)
    for order in (1, 2, 3):
        zombie.append(draft(order))
    writer(tmp_path)

    with pytest.raises(FencedOut):
        zombie.retain(3)
    assert len(everything(tmp_path)) == 3


def test_a_held_lock_names_its_holder(tmp_path: Path) -> None:
    held = DirectoryStore(tmp_path)
    other = DirectoryStore(tmp_path)

    with (
        held.locked("capture shop-capture-1"),
        pytest.raises(TryAgain, match="locked by capture shop-capture-1, pid"),
        other.locked("another", timeout=0.0),
    ):
        pass


def test_a_journal_of_another_migration_or_stream_is_refused(tmp_path: Path) -> None:
    writer(tmp_path).append(draft(1))

    with pytest.raises(Unsafe, match=r"belongs to stream source-0 of migration test\.shop"):
        Reader(tmp_path, migration="test.other", stream=STREAM).read(0)
    with pytest.raises(Unsafe, match="wanted target-1"):
        last_mark(tmp_path, migration=MIGRATION, stream=StreamId(Side.TARGET, 1))


def test_a_missing_journal_is_refused_once_blocks_were_applied(tmp_path: Path) -> None:
    with pytest.raises(Unsafe, match="missing, and block 7 was applied"):
        reader(tmp_path / "source-0").read(7)

    writer(tmp_path).append(draft(1))

    with pytest.raises(Unsafe, match="ends at block 1, and block 7 was applied"):
        reader(tmp_path).read(7)


def test_a_journal_that_begins_while_it_is_looked_at_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An apply that is started with its capture would end for good."""
    listed = DirectoryStore.segments

    def begin(store: DirectoryStore) -> list[str]:
        monkeypatch.undo()
        writer(tmp_path).append(draft(1))
        return listed(store)

    monkeypatch.setattr(DirectoryStore, "segments", begin)

    assert [block.number for block in reader(tmp_path).read(0)] == [1]


def test_a_journal_without_its_list_of_segments_is_refused(tmp_path: Path) -> None:
    writer(tmp_path).append(draft(1))
    (tmp_path / "CURRENT").unlink()

    with pytest.raises(Unsafe, match="no file CURRENT"):
        writer(tmp_path)


def test_a_lost_segment_is_refused(tmp_path: Path) -> None:
    journal = writer(tmp_path, segment_bytes=1)
    journal.append(draft(1))
    journal.append(draft(2))
    min(tmp_path.glob("*.seg")).unlink()

    with pytest.raises(Unsafe, match=r"00000001-g1\.seg is damaged"):
        writer(tmp_path)


def test_applied_segments_are_deleted_and_no_others(tmp_path: Path) -> None:
    journal = writer(tmp_path, segment_bytes=1)
    for order in range(1, 6):
        journal.append(draft(order))
    before = journal.journal_bytes()
    write_applied(tmp_path, 3)
    freed = journal.retain(read_applied(tmp_path))

    assert freed > 0
    assert journal.journal_bytes() == before - freed
    assert everything(tmp_path, after=3) == [b"transaction 4;", b"transaction 5;"]
    with pytest.raises(Unsafe, match="begins at block 4, wanted 2"):
        reader(tmp_path).read(1)
    assert journal.retain(3) == 0


def test_the_place_in_the_stream_survives_the_deletion_of_all_that_was_applied(
    tmp_path: Path,
) -> None:
    journal = writer(tmp_path)
    for order in range(1, 6):
        journal.append(draft(order))
    again = writer(tmp_path)
    again.retain(5)
    third = writer(tmp_path)

    assert (third.mark.block, third.mark.position, third.mark.total) == (5, at(5), 15)
    assert third.journal_bytes() == 0
    assert reader(tmp_path).read(5) == []
    assert reader(tmp_path).end().total == 15


def test_nothing_is_deleted_while_nothing_is_known_to_be_applied(tmp_path: Path) -> None:
    assert read_applied(tmp_path) == 0

    (tmp_path / "applied").write_bytes(b"12")

    assert read_applied(tmp_path) == 0


def fill(journal: Writer) -> int:
    """Append until it is full; tell how many blocks that were."""
    with suppress(JournalFull):
        for order in range(1, 100):
            journal.append(draft(order, b"x" * 100))
    return journal.mark.block


def test_a_journal_at_its_limit_is_full_and_goes_on_when_segments_are_deleted(
    tmp_path: Path,
) -> None:
    journal = writer(tmp_path, segment_bytes=1, max_bytes=2500)
    whole = fill(journal)

    assert len(everything(tmp_path)) == whole
    with pytest.raises(JournalFull, match="of 2500 bytes"):
        journal.append(draft(whole + 1, b"x" * 100))

    journal.retain(2)
    journal.append(draft(whole + 1))

    assert len(everything(tmp_path, after=2)) == whole - 1


def test_a_full_journal_of_one_applied_segment_frees_itself(tmp_path: Path) -> None:
    journal = writer(tmp_path, max_bytes=2500)
    last = fill(journal)

    assert journal.retain(last) == 0
    assert journal.retain(last - 1, roll=True) == 0
    assert journal.retain(last, roll=True) > 0

    journal.append(draft(100))

    assert everything(tmp_path, after=last) == [b"transaction 100;"]


def test_a_volume_that_is_nearly_full_stops_the_writer_before_harm(tmp_path: Path) -> None:
    journal = writer(tmp_path, reserve=1 << 60)

    with pytest.raises(JournalFull, match="bytes are free"):
        journal.append(draft(1))
    assert everything(tmp_path) == []


def test_a_write_that_meets_a_full_volume_is_cut_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = writer(tmp_path)
    journal.append(draft(1))
    (segment,) = tmp_path.glob("*.seg")
    size = segment.stat().st_size
    real = os.pwrite

    def full(descriptor: int, block: bytes, offset: int) -> int:
        if offset > size:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, block[:50], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(JournalFull, match="no space left"):
            journal.append(draft(2))

    assert segment.stat().st_size == size

    journal.append(draft(2))

    assert everything(tmp_path) == [b"transaction 1;", b"transaction 2;"]


def test_a_failed_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = writer(tmp_path)
    journal.append(draft(1))

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        with pytest.raises(Unsafe, match=r"could not make 00000001-g1\.seg durable"):
            journal.append(draft(2))

    assert everything(tmp_path) == [b"transaction 1;"]
    with pytest.raises(Unsafe, match="failed before"):
        journal.append(draft(2))


def test_nothing_is_published_before_it_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = writer(tmp_path)
    seen = []
    real = os.fdatasync

    def watched(descriptor: int) -> None:
        seen.append(everything(tmp_path))
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", watched)
    journal.append(draft(1))

    assert seen == [[]]
    assert everything(tmp_path) == [b"transaction 1;"]


def test_a_stream_that_goes_back_is_refused(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(draft(5))

    with pytest.raises(Unsafe, match="went back to 0/4"):
        journal.append(draft(4))


def test_parts_of_a_transaction_that_the_journal_has_are_taken_back(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(draft(5))
    journal.append(draft(5, b"again", ends=False))
    journal.append(draft(5, b"again", starts=False))
    journal.append(draft(6))

    assert everything(tmp_path) == [b"transaction 5;", b"transaction 6;"]
    assert journal.mark.total == 6


def test_a_removed_journal_stops_its_writer(tmp_path: Path) -> None:
    journal: Writer = writer(tmp_path)
    for each in tmp_path.iterdir():
        each.unlink()

    with pytest.raises(Unsafe, match="was removed"):
        journal.append(draft(1))
