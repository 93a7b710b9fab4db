"""An origin that lost what it had sent: its disk was restored, or a standby that was behind took over.

The server skips what commits below the position that is asked for: nobody would have those rows.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from demo.servers import Server

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.base import Lineage
from bowline_worker.endpoints.postgres import lineage, replication
from bowline_worker.model import Position
from postgres.origin import STREAM, Reading, prepare, rows_of
from servers import Database, MakePair, prepare_roles

MANY = "insert into public.item select i, '{}' from generate_series({}, {} + 4999) i"


def copy(of: Path, to: Path) -> None:
    """Copy a stopped server's directory with its owner, who is not us."""
    shutil.copytree(of, to)
    owner = of.stat()
    for directory, _, files in os.walk(to):
        for path in (directory, *(str(Path(directory, name)) for name in files)):
            os.chown(path, owner.st_uid, owner.st_gid)


class Origin:
    """A server of its own with a slot, whose disk can be copied and put back."""

    def __init__(self, server: Server, source: Database, make_pair: MakePair) -> None:
        self.server, self.source = server, source
        source.run("create table public.item (id int primary key, name text)")
        self.site, _ = prepare(make_pair(source, source), "item")
        replication.arm(self.site, STREAM)
        lineage.beat(self.site)

    def keep(self) -> None:
        """Copy the disk, as a standby or a storage snapshot has it."""
        self.server.stop(signal.SIGINT)
        copy(self.server.data, self.server.directory / "copy")
        self.server.start()

    def put_back(self, *, promoted: bool) -> None:
        """Go on with the copy: as it is, or as a standby that was promoted."""
        self.server.stop(signal.SIGINT)
        shutil.rmtree(self.server.data)
        copy(self.server.directory / "copy", self.server.data)
        if promoted:
            (self.server.data / "standby.signal").touch()
        self.server.start()
        if promoted:
            with self.server.connect() as connection:
                assert connection.execute("select pg_promote()").fetchone() == (True,)

    def read(self, after: Position | None = None, seen: Lineage | None = None) -> Reading:
        return Reading(self.site, self.source, replication.capture(self.site, STREAM, after, seen))


@pytest.fixture
def origin(make_pair: MakePair) -> Iterator[Origin]:
    with Server() as server:
        prepare_roles(server)
        with server.database() as one:
            yield Origin(server, Database(server, one), make_pair)


def journalled(origin: Origin) -> tuple[Position, Lineage]:
    """Read 5,000 rows, as capture does; say where the journal ends and what it was read from."""
    reading = origin.read()
    origin.source.run(MANY.format("sent", 1, 1))
    reading.rest()
    reading.capture.close()
    assert reading.end is not None
    return reading.end, replace(reading.capture.lineage, beat=lineage.beat(origin.site))


def test_rows_written_after_an_origin_went_back_are_not_skipped_silently(origin: Origin) -> None:
    origin.keep()
    end, _ = journalled(origin)
    origin.put_back(promoted=False)
    origin.source.run("insert into public.item values (1, 'written afterwards')")

    with pytest.raises(Unsafe, match="log ends at") as refused:
        replication.capture(origin.site, STREAM, end)

    assert refused.value.reason == "OriginWentBack"


@pytest.mark.parametrize(
    ("promoted", "why"),
    [
        (True, "timeline 2 left timeline 1 at"),
        (False, "heartbeat 2 was written, and 1 is the newest"),
    ],
    ids=["a promoted standby", "a storage snapshot"],
)
def test_rows_are_not_skipped_where_the_log_is_as_long_again(
    origin: Origin, promoted: bool, why: str
) -> None:
    origin.keep()
    end, seen = journalled(origin)
    origin.put_back(promoted=promoted)
    for _ in range(3):
        origin.source.run(MANY.format("other", 1, 1), "delete from public.item")

    with pytest.raises(Unsafe, match=why) as refused:
        replication.capture(origin.site, STREAM, end, seen)

    assert refused.value.reason == "OriginWentBack"


def test_a_stream_goes_on_from_a_promoted_standby_that_has_all(origin: Origin) -> None:
    end, seen = journalled(origin)
    origin.keep()
    origin.put_back(promoted=True)
    origin.source.run("insert into public.item values (9999, 'written afterwards')")

    reading = origin.read(end, seen)

    assert rows_of(reading.rest()) == [("I", (b"9999", b"written afterwards"))]
    assert reading.capture.lineage.log != seen.log
    reading.capture.close()


def test_a_server_on_an_older_timeline_is_refused_and_not_tried_for_ever(origin: Origin) -> None:
    end, seen = journalled(origin)

    with pytest.raises(Unsafe, match="timeline 1 does not come from timeline 2") as refused:
        replication.capture(origin.site, STREAM, end, replace(seen, log=seen.log[:-1] + "2"))

    assert refused.value.reason == "OriginWentBack"


def test_another_server_with_the_same_slot_is_refused(origin: Origin) -> None:
    end, seen = journalled(origin)

    with pytest.raises(Unsafe, match="it was the server 1, and is the server") as refused:
        replication.capture(origin.site, STREAM, end, replace(seen, log="1/1"))

    assert refused.value.reason == "OriginWentBack"
