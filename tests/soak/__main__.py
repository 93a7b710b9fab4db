"""`make soak`: migrations under kill -9, one a seed. Prints each kill and each verdict; a seed is its own replay."""

from __future__ import annotations

import argparse
import functools
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import oracledb
import psycopg
from demo.control import RoadBlocked
from demo.record import Outcome, read
from demo.servers import Server

from soak import shape
from soak.hunt import Stuck
from soak.postgres import PostgresSetting
from soak.road import LEAST_KILLS, Road, Setting

SETTINGS = {"max_connections": "150", "log_lock_waits": "on", "deadlock_timeout": "1s"}


def soak(
    seed: int,
    setting: Callable[[random.Random], Setting],
    directory: Path,
    tell: Callable[[str], None],
    *,
    short: bool = False,
    replay: str = "make soak",
) -> bool:
    """Run one seed and print its verdict; what is needed to find a cause stays where it failed."""
    tell(f"seed {seed}: files in {directory}")
    began = time.monotonic()
    road = Road(seed, setting, directory, tell, short=short)
    reasons = []
    try:
        try:
            road.go()
        finally:
            road.end()
    except (Stuck, RoadBlocked, RuntimeError, psycopg.Error, oracledb.Error) as error:
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
        _keep(road)
        tell(f"  kept: {directory}; replay: {replay} SEED={seed}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
    road.setting.clean()
    return not reasons


def _keep(road: Road) -> None:
    """Keep what the databases hold and said: they are gone soon."""
    (road.directory / "history").write_text("\n".join(road.history.lines), encoding="utf-8")
    (road.directory / "blows").write_text("\n".join(map(str, road.prey.blows)), encoding="utf-8")
    road.setting.keep(road.directory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="run seeds 1 to this")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument(
        "--source",
        choices=("postgresql", "oracle"),
        default="postgresql",
        help="what is migrated; oracle: a server that stands in for it",
    )
    options = parser.parse_args()
    seeds = [options.seed] if options.seed else range(options.first, options.seeds + 1)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(1)
    )  # what was started is ended on the way out
    root = Path(tempfile.mkdtemp(prefix="bowline-soak-"))
    walk = from_oracle if options.source == "oracle" else from_postgresql
    passed, is_complete = walk(seeds, root)
    failed = len(seeds) - passed
    if not failed:
        shutil.rmtree(root, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if not failed and (is_complete or options.seed) else 1)


def from_postgresql(seeds: Sequence[int], root: Path) -> tuple[int, bool]:
    """Run the seeds; how many passed, and that nothing was left untried."""
    passed = 0
    with Server(settings=SETTINGS) as source, Server(settings=SETTINGS) as target:
        servers = {"source": source, "target": target}
        for server in servers.values():
            shape.make_roles(server)
        for seed in seeds:
            setting = functools.partial(PostgresSetting, seed, servers)
            passed += soak(seed, setting, _directory(root, seed), _tell)
    return passed, True


def from_oracle(seeds: Sequence[int], root: Path) -> tuple[int, bool]:
    """Run the seeds, and print how often each adversity struck; whether each of them did."""
    from soak.oracle import FIRES, OracleSetting

    passed = 0
    fired: Counter[str] = Counter()

    def begin(seed: int, chance: random.Random) -> OracleSetting:
        return OracleSetting(seed, target, chance, fired)

    _tell("no Oracle is here: a server that speaks its protocol stands in for it")
    with Server(settings=SETTINGS) as target:
        for seed in seeds:
            setting = functools.partial(begin, seed)
            directory = _directory(root, seed)
            passed += soak(seed, setting, directory, _tell, replay="make soak SOURCE=oracle")
    for name in sorted({*FIRES, *fired}):
        _tell(f"  {name:22} {fired[name]:8} times")
    never = [name for name in FIRES if not fired[name]]
    if never:
        _tell(f"never: {', '.join(never)}")
    return passed, not never


def _directory(root: Path, seed: int) -> Path:
    directory = root / f"seed-{seed}"
    directory.mkdir()
    return directory


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
