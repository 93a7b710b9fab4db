"""Whatever instant a writer dies at: what was durable is read back, nothing else, and nothing twice."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.base import Piece
from bowline_worker.journal import Writer
from bowline_worker.journal.block import encode
from bowline_worker.journal.grouping import Grouper
from journal_rig import at, draft, everything, writer

# Hundreds of journals are made here, and each block of them is synced: in memory where there is such a place.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

#: Transactions as the number of their parts (1: whole), in lives of a writer that end by a kill.
LIVES = st.lists(
    st.lists(st.integers(min_value=1, max_value=4), max_size=6), min_size=1, max_size=4
)


@dataclass
class Written:
    blocks: list[bytes]  #: payloads of whole transactions, in order
    order: int = 0


def live(directory: Path, transactions: list[int], written: Written) -> Writer:
    """Open the journal, append transactions; the last one of several parts is left without its end."""
    journal = writer(directory, segment_bytes=400)
    for number, parts in enumerate(transactions):
        written.order += 1
        is_cut = parts > 1 and number == len(transactions) - 1
        payloads = [b"%d.%d" % (written.order, part) for part in range(parts)]
        for part in range(parts - 1 if is_cut else parts):
            ends = part == parts - 1
            journal.append(draft(written.order, payloads[part], starts=part == 0, ends=ends))
        if is_cut:
            written.order -= 1
        else:
            written.blocks += payloads
    return journal


@settings(max_examples=60, deadline=None)
@given(
    lives=LIVES,
    in_flight=st.integers(min_value=0, max_value=400),
    flips=st.lists(st.integers(min_value=0, max_value=399), max_size=3),
    garbage=st.binary(max_size=40),
)
def test_a_torn_tail_is_cut(
    lives: list[list[int]], in_flight: int, flips: list[int], garbage: bytes
) -> None:
    """The next block, of which some bytes came to the disk, right or wrong ones, is as if it never was."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        directory, written = Path(name), Written([])
        for transactions in lives:
            journal = live(directory, transactions, written)
            journal.close()
            assert everything(directory) == written.blocks
            torn = bytearray(
                encode(
                    draft(written.order + 1, b"torn" * 50, starts=not journal.is_unfinished),
                    number=journal.mark.block + 1,
                    total=0,
                    committed_at=0.0,
                )[:-1][:in_flight]
            )
            for flip in flips:
                if flip < len(torn):
                    torn[flip] ^= 0x55
            with max(directory.glob("*.seg")).open("ab") as segment:
                segment.write(torn + garbage)
            again = writer(directory)
            again.close()

            assert everything(directory) == written.blocks
            assert (again.mark.position or at(0)) == at(written.order)


@settings(max_examples=60, deadline=None)
@given(transactions=st.lists(st.integers(1, 4), min_size=1, max_size=8), data=st.data())
def test_a_file_that_lost_its_end_gives_the_whole_transactions_before_it(
    transactions: list[int], data: st.DataObject
) -> None:
    """The machine died: of the tail nothing came to the disk, of the segment some bytes."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        directory, written = Path(name), Written([])
        live(directory, transactions, written).close()
        segments = sorted(directory.glob("*.seg"))
        last = segments[-1]
        before = everything(directory)
        cut = data.draw(st.integers(0, last.stat().st_size))
        with last.open("r+b") as file:
            file.truncate(cut)
        next(iter(directory.glob("tail-*"))).unlink()
        again = writer(directory)
        again.close()
        found = everything(directory)

        assert found == before[: len(found)]
        assert again.mark.block == len(found)


@settings(max_examples=60, deadline=None)
@given(transactions=st.lists(st.integers(1, 3), min_size=1, max_size=6), data=st.data())
def test_a_damaged_byte_is_never_read_as_data(transactions: list[int], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        directory, written = Path(name), Written([])
        live(directory, [*transactions, 1], written).close()
        segments = [each for each in sorted(directory.glob("*.seg")) if each.stat().st_size]
        segment = data.draw(st.sampled_from(segments))
        offset = data.draw(st.integers(0, segment.stat().st_size - 1))
        content = bytearray(segment.read_bytes())
        content[offset] ^= 1 << data.draw(st.integers(0, 7))
        segment.write_bytes(content)
        with pytest.raises(Unsafe, match=rf"{segment.name} is damaged at offset \d+"):
            everything(directory)


def test_a_damaged_block_that_was_durable_is_not_cut_as_torn(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(draft(1))
    journal.close()
    (segment,) = tmp_path.glob("*.seg")
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    segment.write_bytes(content)

    with pytest.raises(Unsafe, match=rf"damaged at offset 0: {len(content)} bytes were durable"):
        writer(tmp_path)


def test_a_damaged_block_before_a_sound_one_is_not_cut_as_torn(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(draft(1))
    journal.append(draft(2))
    journal.close()
    (segment,) = tmp_path.glob("*.seg")
    (tmp_path / "tail-1").unlink()
    content = bytearray(segment.read_bytes())
    content[20] ^= 1
    segment.write_bytes(content)

    with pytest.raises(Unsafe, match="damaged at offset 0: and block 2 follows it"):
        writer(tmp_path)


def test_a_crash_while_a_journal_is_opened_leaves_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = writer(tmp_path)
    journal.append(draft(1))
    journal.append(draft(2, b"half", ends=False))
    for step in ("scan_last", "DirectoryStore.open_tail", "DirectoryStore.new_segment"):
        with monkeypatch.context() as patch:
            patch.setattr(f"bowline_worker.journal.writer.{step}", _die)
            with pytest.raises(KeyboardInterrupt):
                writer(tmp_path)
    again = writer(tmp_path)
    again.append(draft(2))

    assert everything(tmp_path) == [b"transaction 1;", b"transaction 2;"]


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def pieces(count: int, parts: list[int]) -> list[list[Piece]]:
    """Transactions at positions 10, 20...; of several parts where told, whose own position is the commit's start.

    That is where the transaction before ended, as it happens with commits that follow each other.
    """
    found = []
    for number in range(1, count + 1):
        size = parts[number % len(parts)] if parts else 1
        found.append(
            [
                Piece(
                    payload=b"<%d.%d>" % (number, part),
                    position=at(number * 10 if part == size - 1 else (number - 1) * 10),
                    starts=part == 0,
                    ends=part == size - 1,
                    changes=900,
                    committed_at=float(number),
                )
                for part in range(size)
            ]
        )
    return found


@settings(max_examples=80, deadline=None)
@given(
    count=st.integers(1, 12),
    parts=st.lists(st.integers(1, 5), max_size=4),
    kills=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=4),
)
def test_what_is_sent_again_is_journalled_once(
    count: int, parts: list[int], kills: list[tuple[int, int]]
) -> None:
    """Each life gets the stream from somewhere before its end again, and is killed after some pieces."""
    transactions = pieces(count, parts)
    expected = b"".join(piece.payload for each in transactions for piece in each)
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        directory = Path(name)
        for length, back in [*kills, (1000, 3)]:
            journal = writer(directory, segment_bytes=300)
            position = journal.mark.position
            grouper = Grouper(position, lambda _: b"")
            first = max(0, (position.order // 10 if position else 0) - back)
            sent = [piece for each in transactions[first:] for piece in each][:length]
            for piece in sent:
                for block in grouper.add(piece):
                    journal.append(block)
            if length == 1000:
                for block in grouper.flush():
                    journal.append(block)
            journal.close()

        assert b"".join(everything(directory)) == expected
        assert writer(directory).mark.total == 900 * sum(map(len, transactions))
