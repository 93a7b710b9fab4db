"""`make bench`: Bowline beside its peers on the same data, in the same run; exit 1 below a floor."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from bench import apply, capture, growth, lag, migration, peers, report, snapshot
from bench.arena import Arena
from bench.rounds import Setting

MEASURES: dict[str, Callable[[Setting], None]] = {
    "capture": capture.measure,
    "apply": apply.measure,
    "snapshot": snapshot.measure,
    "lag": lag.measure,
    "migration": migration.measure,
    "growth": growth.measure,
}

NEED_PGCOPYDB = ("snapshot", "migration")

RESULTS = Path(__file__).parent / "results.md"
QUICK = 0.01


@click.command()
@click.option(
    "--only", default="", help=f"Of {', '.join(MEASURES)}, with commas between; or apply:tpcb."
)
@click.option("--rounds", default=5, show_default=True)
@click.option("--size", default=1.0, show_default=True, help="Of the work.")
@click.option("--quick", is_flag=True, help="Some seconds, to see that it works: no verdicts.")
@click.option("--minutes", default=30.0, show_default=True, help="No round begins after these.")
@click.option("--results", default=str(RESULTS), show_default=True, type=click.Path(path_type=Path))
@click.option("--directory", default=None, type=click.Path(path_type=Path), help="Of the servers.")
def main(
    only: str,
    rounds: int,
    size: float,
    quick: bool,
    minutes: float,
    results: Path,
    directory: Path | None,
) -> None:
    """Measure, write the results, and exit 1 where a floor is missed or a measure failed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wanted = frozenset(name for name in only.split(",") if name)
    if unknown := [name for name in wanted if name.split(":")[0] not in MEASURES]:
        raise click.UsageError(f"there is no measure {unknown[0]}: {', '.join(MEASURES)}")
    copies = not wanted or any(name.split(":")[0] in NEED_PGCOPYDB for name in wanted)
    if absent := peers.missing(pgcopydb=copies):
        raise click.UsageError(f"install first: apt-get install {' '.join(absent)}")
    began = time.monotonic()
    arena = Arena.make(directory)
    try:
        setting = Setting(
            arena=arena,
            only=wanted,
            rounds=1 if quick else rounds,
            size=QUICK if quick else size,
            deadline=began + minutes * 60,
            tell=lambda text: click.echo(f"{time.monotonic() - began:7.1f}  {text}"),
        )
        book = report.Book(setting, results, arena.settings(), peers.versions(), quick=quick)
        setting.publish = book.write
        for name, value in book.settings:
            click.echo(f"         {name} = {value}")
        for name, measure in MEASURES.items():
            if setting.wants(name):
                setting.tell(name)
                measure(setting)
            book.write()
    finally:
        arena.close()
    click.echo(book.text())
    sys.exit(0 if quick or all(result.is_held for result in setting.results) else 1)


if __name__ == "__main__":
    main()
