"""The capture role on a real journal; the database is a list of pieces that answers as an endpoint does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bowline_worker import capturing
from bowline_worker.bookkeeping import LaneRow
from bowline_worker.contract import (
    Config,
    Connection,
    Engine,
    FoundSide,
    Role,
    Side,
    TryAgain,
    Unsafe,
    Unsupported,
)
from bowline_worker.endpoints.base import Lineage, Piece, Retention
from bowline_worker.journal import last_mark, lineage, write_applied
from bowline_worker.model import Column, Position, TableName
from bowline_worker.reporter import Reporter
from bowline_worker.roles import Context, capture
from bowline_worker.watch import Duty, Watch
from journal_rig import MIGRATION, STREAM, at, draft, everything, reader, writer

LONG = 20.0


def piece(order: int, payload: bytes = b"", **more: Any) -> Piece:
    payload = payload or b"<%d>" % order
    return Piece(payload=payload, position=at(order), changes=1, committed_at=1000.0, **more)


class Origin:
    """Both sides at once, and the one capture of its one slot."""

    side = Side.SOURCE

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.batches: list[list[Piece]] = []
        self.acknowledged: list[int] = []
        self.started: list[Position | None] = []
        self.complete = True
        self.held: list[str] = []
        self.lanes: list[LaneRow] = []
        self.print = "1"
        self.columns = ["id"]
        self.lone: list[str] = []
        known = lineage.remembered(directory)
        self.beats = known.beat if known else 0
        self.log = "here/1"
        self.seen: list[Lineage | None] = []
        self.on_read: Callable[[], None] = lambda: None
        self.on_capture: Callable[[], None] = lambda: None
        self.is_drained = threading.Event()

    # the endpoint
    def fingerprint(self, *, own: bool) -> str:
        return self.print

    def unstreamed(self) -> list[str]:
        return self.lone

    def shapes(self) -> dict[TableName, list[Column]]:
        found = [
            Column(name=name, type_schema="pg_catalog", type_name="int4", type_text="integer")
            for name in self.columns
        ]
        return {TableName("public", "orders"): found}

    def tables(self) -> tuple[()]:
        return ()

    def found(self) -> FoundSide:
        return FoundSide(snapshot_complete=self.complete)

    @contextmanager
    def books(self) -> Iterator[Any]:
        yield SimpleNamespace(lanes=lambda origin, lock: tuple(self.lanes))

    def hold(self, stream: object) -> Origin:
        self.held.append(f"made with {len(self.started)} captures")
        return self

    def check(self) -> None:
        self.held.append("checked")

    def beat(self) -> int:
        self.beats += 1
        return self.beats

    def retention(self, stream: object) -> Retention:
        return Retention(retained_bytes=77, acknowledged=at(0), at_risk="wal_status is unreserved")

    def capture(self, stream: object, after: Position | None, seen: Lineage | None) -> Capturing:
        self.on_capture()
        self.started.append(after)
        self.seen.append(seen)
        return Capturing(self)

    def close(self) -> None:
        self.held.append("closed")


class Capturing:
    """Refuses what would lose data: to acknowledge a position that a journal opened now does not have."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self.lineage = Lineage(log=origin.log)

    def read(self, timeout: float) -> list[Piece]:
        self._origin.on_read()
        if self._origin.batches:
            return self._origin.batches.pop(0)
        self._origin.is_drained.set()
        time.sleep(min(timeout, 0.01))
        return []

    def describe(self, relations: Iterable[int]) -> bytes:
        return b""

    def acknowledge(self, position: Position) -> None:
        durable = last_mark(self._origin.directory, migration=MIGRATION, stream=STREAM).position

        assert durable is not None
        assert position <= durable
        self._origin.acknowledged.append(position.order)

    def close(self) -> None: ...


class Rig:
    def __init__(self, tmp_path: Path, **more: Any) -> None:
        side = Connection(
            engine=Engine.POSTGRESQL, host="", port=1, database="", credentials="none"
        )
        config = Config(
            migration=MIGRATION, job="shop-capture", job_uid="1", role=Role.CAPTURE,
            source=side, target=side, journal=str(tmp_path / "journal"), **more,
        )  # fmt: skip
        self.directory = tmp_path / "journal" / str(STREAM)
        self.origin = Origin(self.directory)
        self.context = Context(config=config, report=Reporter(config))
        self.context.__dict__.update(source=self.origin, target=self.origin)
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            capture.run(self.context)
        except BaseException as error:
            self.failure = error

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(LONG)

        assert not self._thread.is_alive()

    def drain(self) -> None:
        """Let it take all batches, then stop it as SIGTERM does."""
        assert self.origin.is_drained.wait(LONG)
        self.context.stop.set()
        self.join()
        if self.failure is not None:
            raise self.failure

    def run(self, *batches: list[Piece]) -> None:
        self.origin.batches = list(batches)
        self.start()
        self.drain()

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LONG
        while not holds():
            assert time.monotonic() < deadline
            assert self.failure is None, self.failure
            time.sleep(0.01)


def test_only_what_a_reopened_journal_has_is_acknowledged(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.run([piece(1), piece(2)], [piece(3)], [], [piece(4)])

    assert everything(rig.directory) == [b"<1><2><3>", b"<4>"]
    assert rig.origin.acknowledged == [3, 4]


def test_a_part_of_a_transaction_is_never_acknowledged(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    big = b"x" * (1 << 20)
    rig.run(
        [piece(1), piece(9, big, ends=False)],
        [],
        [piece(9, big, starts=False, ends=False)],
        [piece(9, b"end", starts=False)],
    )

    assert rig.origin.acknowledged == [1, 9]
    assert everything(rig.directory) == [b"<1>", big, big, b"end"]


def test_a_stop_keeps_what_was_read_and_leaves_an_unfinished_transaction(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.origin.batches = [[piece(1)], [piece(2), piece(9, b"half", ends=False)]]
    rig.origin.on_read = lambda: None if len(rig.origin.batches) > 1 else rig.context.stop.set()
    rig.start()
    rig.join()

    assert rig.failure is None
    assert rig.origin.acknowledged[-1] == 2
    assert everything(rig.directory) == [b"<1><2>"]


def test_a_restart_goes_on_behind_the_journal_and_drops_what_comes_again(tmp_path: Path) -> None:
    Rig(tmp_path).run([piece(1), piece(2)])
    again = Rig(tmp_path)
    again.run([piece(1), piece(2), piece(3)])

    assert again.origin.started == [at(2)]
    assert everything(again.directory) == [b"<1><2>", b"<3>"]
    assert again.context.report.now().stream is not None
    exported = again.context.report.now().stream.exported  # type: ignore[union-attr]
    assert exported is not None
    assert (exported.total, exported.run) == (3, 1)


def test_an_origin_is_asked_for_the_log_that_the_journal_was_read_from(tmp_path: Path) -> None:
    """What follows from another log would be skipped up to the journal's end, without a word."""
    first = Rig(tmp_path)
    kept = []
    first.origin.on_read = lambda: kept.append(lineage.remembered(first.directory))
    first.origin.batches = [[piece(1)]]
    first.start()
    first.until(lambda: lineage.remembered(first.directory) == Lineage(log="here/1", beat=1))
    first.drain()
    again = Rig(tmp_path)
    again.origin.log = "here/2"
    again.run([piece(2)])

    assert kept[0] is not None
    assert first.origin.seen == [None]
    assert again.origin.seen == [Lineage(log="here/1", beat=1)]
    kept_then = lineage.remembered(again.directory)
    assert kept_then is not None
    assert (kept_then.log, kept_then.beat >= 1) == ("here/2", True)


def test_an_origin_that_goes_back_under_a_running_capture_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is put back in a second, while the journal is full: the stream itself need not notice."""
    monkeypatch.setattr(capture, "BEAT_SECONDS", 0.01)
    rig = Rig(tmp_path)
    rig.start()
    rig.until(lambda: rig.origin.beats > 5)
    kept = lineage.remembered(rig.directory)

    rig.origin.beats = 0
    rig.join()

    assert isinstance(rig.failure, Unsafe)
    assert rig.failure.reason == "OriginWentBack"
    assert kept == lineage.remembered(rig.directory)


def test_the_report_tells_position_block_and_what_the_origin_keeps(tmp_path: Path) -> None:
    rig = Rig(tmp_path, epoch=3)
    rig.origin.batches = [[piece(0x1F)]]
    rig.start()
    rig.until(lambda: bool(getattr(rig.context.report.now().stream, "retained_bytes", None)))
    rig.drain()
    told = rig.context.report.now().stream

    assert told is not None
    assert (told.origin, told.number, told.epoch) == (Side.SOURCE, 0, 3)
    assert (told.block, told.position, told.retained_bytes) == (1, "0/1F", 77)
    assert told.at_risk == "wal_status is unreserved"
    assert told.journal_bytes > 0


def test_an_older_capture_that_was_still_at_work_is_continued_not_repeated(tmp_path: Path) -> None:
    """It journals between our first look and the end of its session."""
    rig = Rig(tmp_path)
    older = writer(rig.directory)
    older.append(draft(1))
    rig.origin.on_capture = lambda: (
        older.append(draft(2, b"<2>")) if not rig.origin.started else None
    )
    rig.run([piece(1), piece(2), piece(3)])

    assert rig.origin.started == [at(1), at(2)]
    assert everything(rig.directory) == [b"transaction 1;", b"<2>", b"<3>"]


def test_an_older_capture_that_acknowledges_meanwhile_is_replaced_all_the_same(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    older = writer(rig.directory)
    older.append(draft(1))

    def race() -> None:
        if older.mark.block == 1:
            older.append(draft(2, b"<2>"))
            raise Unsafe("slot is at 2, the journal ends at 1")

    rig.origin.on_capture = race
    rig.run([piece(3)])

    assert rig.origin.started == [at(2)]
    assert everything(rig.directory) == [b"transaction 1;", b"<2>", b"<3>"]


def test_a_slot_ahead_of_the_journal_stops_the_role(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    def ahead() -> None:
        raise Unsafe("slot is at 9, there is no journal")

    rig.origin.on_capture = ahead
    rig.context.stop.set()

    with pytest.raises(Unsafe, match="slot is at 9"):
        capture.run(rig.context)


def test_a_lost_journal_is_refused_where_the_receiver_has_applied_blocks(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.origin.lanes = [LaneRow(lane=0, number=0, generation=1, block=12)]

    with pytest.raises(Unsafe, match="ends at block 0, and the target has applied block 12"):
        capture.run(rig.context)
    assert rig.origin.started == []


def test_the_slot_is_made_before_it_is_read_and_its_view_held_until_the_snapshot_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "HOLD_SECONDS", 0.01)
    monkeypatch.setattr(capture, "SNAPSHOT_SECONDS", 0.0)
    rig = Rig(tmp_path)
    rig.origin.complete = False
    rig.start()
    rig.until(lambda: rig.origin.held.count("checked") > 2)

    assert rig.origin.held[0] == "made with 0 captures"
    assert "closed" not in rig.origin.held

    rig.origin.complete = True
    rig.until(lambda: "closed" in rig.origin.held)
    rig.drain()

    assert rig.origin.held.count("closed") == 1


def test_a_lost_view_ends_the_role(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.origin.complete = False

    def lost() -> None:
        raise TryAgain("the view is lost")

    rig.origin.check = lost  # type: ignore[method-assign]

    with pytest.raises(TryAgain, match="the view is lost"):
        capture.run(rig.context)


def test_a_row_that_comes_with_a_changed_shape_is_not_journalled(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    def alter() -> None:
        if len(rig.origin.batches) == 1:
            rig.origin.print, rig.origin.columns = "2", ["id", "wider"]

    rig.origin.on_read = alter
    rig.origin.batches = [[piece(1, announces=True)], [], [piece(2, announces=True)]]
    rig.start()
    rig.join()

    assert isinstance(rig.failure, Unsupported)
    assert rig.failure.reason == "SchemaChanged"
    assert everything(rig.directory) == [b"<1>"]


def test_ddl_on_a_migrated_table_stops_the_stream_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "SHAPES_SECONDS", 0.01)
    rig = Rig(tmp_path)
    rig.origin.batches = [[piece(1)]]
    rig.start()
    rig.until(rig.origin.is_drained.is_set)
    rig.origin.columns = ["id", "note"]
    rig.origin.print = "2"
    rig.join()

    assert isinstance(rig.failure, Unsupported)
    assert rig.failure.reason == "SchemaChanged"
    assert "public.orders.note is new" in str(rig.failure)
    assert rig.origin.acknowledged == [1]

    again = Rig(tmp_path)
    again.origin.print, again.origin.columns = "2", ["id", "note"]

    with pytest.raises(Unsupported, match="note is new"):
        capture.run(again.context)


def test_a_full_journal_stops_the_capture_and_it_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing, "FULL_SECONDS", 0.01)
    rig = Rig(tmp_path, journal_max_bytes=1 << 20)
    big = b"x" * (300 << 10)
    rig.origin.batches = [[piece(order, big)] for order in range(1, 9)]
    rig.start()
    rig.until(lambda: "waits for room" in rig.context.report.now().message)

    assert rig.origin.acknowledged == [1, 2, 3]

    source = reader(rig.directory)
    applied = 0
    while applied < 8:
        for block in source.read(applied, timeout=1.0):
            assert block.load() == big
            applied = block.number
        write_applied(rig.directory, applied)
    rig.drain()

    assert rig.origin.acknowledged == list(range(1, 9))
    assert rig.context.report.now().message == ""


def test_a_stop_while_the_journal_is_full_leaves_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read and did not fit is not in the journal: nothing behind it may be."""
    monkeypatch.setattr(capturing, "FULL_SECONDS", LONG)
    rig = Rig(tmp_path, journal_max_bytes=1 << 20)
    big = b"x" * (300 << 10)
    rig.origin.batches = [[piece(order, big) for order in range(1, 4)], [piece(4, big), piece(5)]]
    rig.start()
    rig.until(lambda: "waits for room" in rig.context.report.now().message)
    rig.context.stop.set()
    rig.join()

    assert isinstance(rig.failure, TryAgain)
    assert rig.origin.acknowledged == [1, 2, 3]
    assert everything(rig.directory) == [big] * 3


def test_heartbeats_are_written_and_their_failure_is_heard_of() -> None:
    now = [0.0]

    def fail() -> None:
        raise TryAgain("the source is away")

    watch = Watch([Duty("write heartbeats", fail, 0.001)], clock=lambda: now[0])
    watch.start()
    watch.check()
    now[0] = 32.0
    try:
        with pytest.raises(TryAgain, match="could not write heartbeats for 32 s"):
            watch.check()
    finally:
        watch.stop()


def test_a_replaced_capture_does_not_acknowledge(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.origin.batches = [[piece(1)], []]
    rig.start()
    rig.until(lambda: rig.origin.acknowledged == [1])
    writer(rig.directory)
    rig.origin.batches.append([piece(2)])
    rig.join()

    assert isinstance(rig.failure, Unsafe)
    assert "generation 2 writes the journal" in str(rig.failure)
    assert rig.origin.acknowledged == [1]
    assert everything(rig.directory) == [b"<1>"]
