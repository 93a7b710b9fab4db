"""The last page: what moved, how fast, how long nobody could write, and whether all of it held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.checker import Counts, Verdict
from demo.probe import quantile
from demo.record import Outcome, Record, Switch


@dataclass
class Window:
    """A streaming phase under load."""

    name: str
    start: float
    end: float
    transactions: int = 0
    delays: Sequence[float] = ()  #: seconds, measured from outside
    p50: float | None = None
    p99: float | None = None

    @property
    def rate(self) -> float:
        return self.transactions / (self.end - self.start)


@dataclass
class Report:
    """All that is told at the end."""

    seconds: float = 0.0
    types: int = 0
    copied: int = 0
    copy_seconds: float = 0.0
    counts: list[Counts] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    streams: list[Mapping[str, Any]] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    verifications: list[str] = field(default_factory=list)
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)
    revoke: str = ""
    failure: str = ""

    @property
    def held(self) -> bool:
        return not self.failure and bool(self.verdicts) and all(v.held for v in self.verdicts)


def outcomes(record: Record) -> dict[Outcome, int]:
    return {outcome: len(record.of(outcome)) for outcome in Outcome}


def show(console: Console, report: Report) -> None:
    """Print it."""

    def say(text: str = "", style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    say()
    say("What moved", "bold")
    rows = sum(each.source for each in report.counts)
    say(
        f"  {report.copied} rows copied in {report.copy_seconds:.1f} s; {rows} rows in "
        f"{len(report.counts)} tables at the end, {report.types} column types"
    )
    console.print(_streams(report.streams))
    say("Under load", "bold")
    console.print(_windows(report.windows))
    told = ", ".join(f"{number} {outcome}" for outcome, number in report.outcomes.items())
    say(f"  transactions: {told}")
    say()
    say(
        "How long nobody could write (last acknowledged on the old side to first on the new)",
        "bold",
    )
    for switch in report.switches:
        say(f"  {switch.old} -> {switch.new}: {switch.seconds:.2f} s")
    say()
    say("What Bowline verified", "bold")
    for line in report.verifications:
        say(f"  {line}")
    say()
    say("What was checked here, with other code", "bold")
    for verdict in report.verdicts:
        mark = "[green]held [/green]" if verdict.held else "[bold red]BROKE[/bold red]"
        console.print(f"  {mark}", end="")
        say(f"  {verdict.claim}" + (f" ({verdict.seen})" if verdict.seen else ""))
        for wrong in verdict.wrong:
            say(f"           {wrong}", "red")
    say()
    say("What is left behind", "bold")
    if report.failure:
        say("  all that there was when the road ended: it was not completed")
    for line in report.left_behind:
        say(f"  {line}")
    if report.revoke:
        say("  the migration users; this removes them:")
        say("    " + report.revoke.strip().replace("\n", "\n    "), "dim")
    say()
    if report.failure:
        say(report.failure, "red")
    word, style = (
        ("All of it held", "bold green") if report.held else ("It did not hold", "bold red")
    )
    say(f"{word}, in {report.seconds:.0f} s.", style)


def _streams(streams: Iterable[Mapping[str, Any]]) -> Table:
    table = _table("stream", "epoch", "changes exported", "imported")
    for each in streams:
        table.add_row(
            f"{each.get('direction')} ({each.get('origin')} {each.get('number')})",
            str(each.get("epoch")),
            str((each.get("exported") or {}).get("total", "?")),
            str((each.get("imported") or {}).get("total", "?")),
        )
    return table


def _windows(windows: Iterable[Window]) -> Table:
    table = _table(
        "phase", "seconds", "transactions", "per second", "lag p50", "lag p99", "own p50", "own p99"
    )
    for each in windows:
        table.add_row(
            each.name,
            f"{each.end - each.start:.1f}",
            str(each.transactions),
            f"{each.rate:.0f}",
            *map(milliseconds, (quantile(each.delays, 0.5), quantile(each.delays, 0.99))),
            *map(milliseconds, (each.p50, each.p99)),
        )
    table.caption = (
        "lag: measured from outside, within 100 ms; own: what Bowline says of the last minute"
    )
    table.caption_justify = "left"
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2), title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", header_style="dim")
    return table


def milliseconds(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds * 1000:.0f} ms"
