"""An origin that lost what it had sent: its disk was restored, or a standby that was behind took over."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from demo.servers import Server

from bowline_worker.contract import Unsafe
from bowline_worker.endpoints.postgres import replication
from postgres.origin import STREAM, Reading, prepare
from servers import Database, MakePair, prepare_roles


def copy(of: Path, to: Path) -> None:
    """Copy a stopped server's directory with its owner, who is not us."""
    shutil.copytree(of, to)
    owner = of.stat()
    for directory, _, files in os.walk(to):
        for path in (directory, *(str(Path(directory, name)) for name in files)):
            os.chown(path, owner.st_uid, owner.st_gid)


def test_rows_written_after_an_origin_went_back_are_not_skipped_silently(
    make_pair: MakePair,
) -> None:
    """The server skips what commits below the position that is asked for: nobody would have those rows."""
    with Server() as server:
        prepare_roles(server)
        with server.database() as one:
            source = Database(server, one)
            source.run("create table public.item (id int primary key, name text)")
            site, _ = prepare(make_pair(source, source), "item")
            replication.arm(site, STREAM)
            server.stop(signal.SIGINT)
            copy(server.data, server.directory / "copy")
            server.start()
            reading = Reading(site, source, replication.capture(site, STREAM, None))
            source.run("insert into public.item select i, 'lost' from generate_series(1, 5000) i")
            reading.rest()
            reading.capture.close()
            assert reading.end is not None
            replication.capture(site, STREAM, reading.end).close()

            server.stop(signal.SIGINT)
            shutil.rmtree(server.data)
            copy(server.directory / "copy", server.data)
            server.start()
            source.run("insert into public.item values (1, 'written afterwards')")

            with pytest.raises(Unsafe) as refused:
                replication.capture(site, STREAM, reading.end)
            assert refused.value.reason == "OriginWentBack"
