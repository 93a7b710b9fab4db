"""`make soak`: migrations under kill -9, one a seed. Prints each kill and each verdict; a seed is its own replay."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg
from demo.control import RoadBlocked
from demo.record import Outcome, read
from demo.servers import Server

from soak import shape
from soak.hunt import Stuck
from soak.road import LEAST_KILLS, Road

SETTINGS = {"max_connections": "150", "log_lock_waits": "on", "deadlock_timeout": "1s"}


def soak(
    seed: int,
    servers: Mapping[str, Server],
    directory: Path,
    tell: Callable[[str], None],
    *,
    short: bool = False,
) -> bool:
    """Run one seed and print its verdict; what is needed to find a cause stays where it failed."""
    tell(f"seed {seed}: files in {directory}")
    began = time.monotonic()
    logs = {side: server.log.stat().st_size for side, server in servers.items()}
    road = Road(seed, servers, directory, tell, short=short)
    reasons = []
    try:
        try:
            road.go()
        finally:
            road.end()
    except (Stuck, RoadBlocked, RuntimeError, psycopg.Error) as error:
        reasons.append(str(error).strip() or type(error).__name__)
        (directory / "error").write_text(traceback.format_exc(), encoding="utf-8")
    reasons += [
        f"{verdict.claim}: {'; '.join(verdict.wrong)}"
        for verdict in road.verdicts
        if not verdict.held
    ]
    if not short and road.prey.kills < LEAST_KILLS:
        reasons.append(f"{road.prey.kills} kills, at least {LEAST_KILLS} are asked for")
    for verdict in road.verdicts:
        tell(f"  {'ok ' if verdict.held else 'NOT'} {verdict.claim} ({verdict.seen})")
    record = read(road.record_file)
    fences = ", ".join(f"{switch.seconds:.1f} s" for switch in record.switches())
    tell(f"  nobody could write for {fences or 'no time'} at the switches")
    done = f"{road.prey.kills} kills, {time.monotonic() - began:.0f} s, {len(record.of(Outcome.OK))} transactions"
    tell(f"seed {seed}: {'FAIL' if reasons else 'PASS'} ({'; '.join([done, *reasons])})")
    if reasons:
        _keep(road, servers, logs)
        tell(f"  kept: {directory}; replay: make soak SEED={seed}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    for server in servers.values():
        server.drop_database(road.database)
        _drop_role(server, road.user)
    return not reasons


def _keep(road: Road, servers: Mapping[str, Server], logs: Mapping[str, int]) -> None:
    """Keep what the databases hold and said: they are gone soon."""
    (road.directory / "history").write_text("\n".join(road.history.lines), encoding="utf-8")
    (road.directory / "blows").write_text("\n".join(map(str, road.prey.blows)), encoding="utf-8")
    for side, server in servers.items():
        with server.log.open("rb") as log:
            log.seek(logs[side])
            (road.directory / f"{side}.log").write_bytes(log.read())
        with server.connect(road.database) as connection:
            for schema in ("bowline", "soak", "public"):
                names = connection.execute(
                    "select relname from pg_class c where relnamespace = to_regnamespace(%s) and relkind = 'r'",
                    [schema],
                ).fetchall()
                for (name,) in names:
                    with (
                        connection.cursor().copy(
                            f'copy {schema}."{name}" to stdout'.encode()
                        ) as copy,
                        (road.directory / f"{side}.{schema}.{name}").open("wb") as file,
                    ):
                        for row in copy:
                            file.write(row)


def _drop_role(server: Server, role: str) -> None:
    with server.connect() as connection:
        if connection.execute("select from pg_roles where rolname = %s", [role]).fetchone():
            connection.execute(f'drop owned by "{role}"; drop role "{role}"'.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="run seeds 1 to this")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    options = parser.parse_args()
    seeds = [options.seed] if options.seed else range(options.first, options.seeds + 1)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(1)
    )  # what was started is ended on the way out
    root = Path(tempfile.mkdtemp(prefix="bowline-soak-"))
    passed = 0
    with Server(settings=SETTINGS) as source, Server(settings=SETTINGS) as target:
        servers = {"source": source, "target": target}
        for server in servers.values():
            shape.make_roles(server)
        for seed in seeds:
            directory = root / f"seed-{seed}"
            directory.mkdir()
            passed += soak(seed, servers, directory, lambda line: print(line, flush=True))
    failed = len(seeds) - passed
    if not failed:
        shutil.rmtree(root, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
