"""`make differential`: random transactions at the stand-in for Oracle, and what its stream makes of them elsewhere.

For each seed an application works through the real driver while a capture reads the redo, is stopped and begins again
where its journal ended. At the end the rows that the decoded changes have made must be those that the source has.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import oracledb

from bowline_worker.bookkeeping import StreamId
from bowline_worker.contract import Side, TryAgain
from bowline_worker.endpoints.base import Capture, Endpoint
from bowline_worker.endpoints.oracle.endpoint import OracleEndpoint
from bowline_worker.model import Position, SignalKind
from differential.receiver import Receiver, Wrong
from differential.work import SESSIONS, TABLES, Client
from oracle.standin.redolog.adversities import Adversities, Chance
from oracle.world import APP, INSIDE, World, world

STREAM = StreamId(Side.SOURCE, 0)
ACTS = 120
#: What stops a capture for good is shown elsewhere.
CALM: dict[str, Chance] = {"purged_archive": "never", "missing_file": "never", "switch": 0.02}
BARRIER = 1
#: One seed of so many is mined inside a pluggable database.
EVERY = 3
#: Steps that mine again and again, before the stream is called stuck.
PATIENCE = 400


class Stream:
    """What capture and apply do: journal whole transactions, apply them, acknowledge; and begin again."""

    def __init__(self, endpoint: Endpoint, draw: Random) -> None:
        self._endpoint, self._draw = endpoint, draw
        self.receiver = Receiver()
        self.done = False  #: the barrier was applied
        self.restarts = 0
        self._end: Position | None = None
        self._part: list[bytes] = []
        self._capture: Capture = self._begin()

    def _begin(self) -> Capture:
        return self._endpoint.capture(STREAM, self._end)

    def read(self, timeout: float = 0.0) -> None:
        """Take what has come; now and then all that was not applied is forgotten, and the capture begins again."""
        try:
            pieces = self._capture.read(timeout)
        except TryAgain:
            self._again()
            return
        for piece in pieces:
            if self._draw.random() < 0.04:
                self._again()
                return
            if piece.payload:
                self._part.append(self._capture.describe(piece.relations) + piece.payload)
            if not piece.ends:
                continue
            self._apply()
            self._end = piece.position
            if self._draw.random() < 0.5:
                self._capture.acknowledge(piece.position)

    def _apply(self) -> None:
        decoder = self._endpoint.decoder()
        for block in self._part:
            for transaction in decoder.decode(block):
                self.receiver.take(transaction)
                self.done |= any(
                    signal.kind is SignalKind.BARRIER and signal.attempt == BARRIER
                    for signal in transaction.signals
                )
        self._part.clear()

    def _again(self) -> None:
        self.restarts += 1
        self._part.clear()
        self._capture.close()
        self._capture = self._begin()

    def close(self) -> None:
        self._capture.close()


def differential(seed: int, fired: Counter[str]) -> list[str]:
    """Run one seed; say what is wrong."""
    draw = Random(seed)
    adversities = Adversities.all(seed, draw.choice((0.05, 0.2)), **CALM)
    log: dict[str, Any] = {
        "threads": draw.choice((1, 1, 2)),
        "file_bytes": 40_000,
        "csf_bytes": draw.choice((90, 4000)),
        "strand_records": 12,
        "kept_archives": 10_000,
        **(INSIDE if seed % EVERY == 0 else {}),
    }
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        one = stack.enter_context(world(World, place, adversities, **log))
        one.run("alter database add supplemental log data", *TABLES)
        endpoint = OracleEndpoint(one.site.config, Side.SOURCE)
        endpoint.install()
        endpoint.prepare_origin()
        endpoint.arm(STREAM)
        stream = stack.enter_context(closing(Stream(endpoint, draw)))
        clients = [_client(stack, one, tag, draw) for tag in range(SESSIONS)]
        try:
            _work(clients, stream, draw)
            with endpoint.books() as books:
                books.signal(SignalKind.BARRIER, BARRIER)
            for _ in range(PATIENCE):
                if stream.done:
                    return _differences(one, stream.receiver)
                stream.read(0.01)
        except Wrong as wrong:
            return [str(wrong)]
        finally:
            fired.update(adversities.fired)
    return ["the barrier never came"]


def _client(stack: ExitStack, one: World, tag: int, draw: Random) -> Client:
    dsn = one.app.dsn
    connection = oracledb.connect(user=APP[0], password=APP[1], dsn=dsn)
    return stack.enter_context(closing(Client(connection, tag, draw)))


def _work(clients: list[Client], stream: Stream, draw: Random) -> None:
    for _ in range(ACTS):
        draw.choice(clients).act()
        if draw.random() < 0.08:
            stream.read()
    for client in clients:
        client.commit()


def _differences(one: World, receiver: Receiver) -> list[str]:
    """Compare with the source's rows, as the driver gives them."""
    found = []
    for table in ("plain", "noted"):
        there = {row["id"]: row for row in _rows(one, table)}
        have = {int(row["id"] or 0): row for row in receiver.rows[table].values()}
        for number in sorted(there.keys() | have.keys()):
            one_row, other = there.get(number), have.get(number)
            native = None if other is None else {n: _native(n, v) for n, v in other.items()}
            if one_row != native:
                found.append(f"{table} {number} is {native} instead of {one_row}")
    events = Counter(
        tuple(sorted((name, value) for name, value in row.items())) for row in _rows(one, "event")
    )
    have_events = Counter[tuple[tuple[str, object], ...]]()
    for row, count in receiver.counted["event"].items():
        have_events[tuple((name, _native(name, value)) for name, value in row)] += count
    if +events != +have_events:
        found.append(f"event: {+have_events} instead of {+events}")
    return found


def _rows(one: World, table: str) -> list[dict[str, Any]]:
    with one.app.cursor() as cursor:
        cursor.execute(f"select t.* from {table} t")
        names = [column.name.lower() for column in cursor.description]
        return [
            {name: _read(name, value) for name, value in zip(names, row, strict=True)}
            for row in cursor
        ]


def _read(name: str, value: object) -> object:
    if isinstance(value, oracledb.LOB):
        content = value.read()
        return content if content is not None else (b"" if name == "raw_" else "")
    if name == "price" and value is not None:
        return float(str(value))
    return value


def _native(name: str, value: bytes | None) -> object:
    if value is None:
        return None
    text = value.decode()
    match name:
        case "id" | "tag":
            return int(text)
        case "price" | "ratio":
            return float(text)
        case "made":
            return datetime.fromisoformat(text)
        case "raw_":
            return bytes.fromhex(text.removeprefix("\\x"))
        case _:
            return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="run seeds 1 to this")
    parser.add_argument("--seed", type=int, help="run this one only")
    options = parser.parse_args()
    seeds = [options.seed] if options.seed is not None else range(1, options.seeds + 1)
    began, failed = time.monotonic(), 0
    fired: Counter[str] = Counter()
    for number, seed in enumerate(seeds, 1):
        wrong = differential(seed, fired)
        failed += bool(wrong)
        for line in wrong[:3]:
            print(f"seed {seed}: {line}", flush=True)
        if wrong:
            print(f"  replay: make differential SEED={seed}", flush=True)
        if number % 100 == 0:
            print(f"{number} seeds, {failed} failed", flush=True)
    for name, count in sorted(fired.items()):
        print(f"  {name}: {count} times")
    print(f"{len(seeds)} seeds, {time.monotonic() - began:.0f} s, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
