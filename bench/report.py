"""bench/results.md: written anew whenever there is more to tell."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import OURS, Result
from bench.rounds import Extra, Setting


@dataclass
class Book:
    setting: Setting
    file: Path
    settings: Sequence[tuple[str, str]]
    versions: Sequence[str]
    quick: bool = False

    def write(self) -> None:
        if not self.file.parent.is_dir() or self.file.is_char_device():
            return  # /dev/null: nothing is to be kept
        part = self.file.with_suffix(".part")
        part.write_text(self.text(), encoding="utf-8")
        part.replace(self.file)

    def text(self) -> str:
        lines = [
            "# What `make bench` measured",
            "",
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {' '.join(sys.argv[1:]) or 'defaults'}; "
            f"{self.setting.rounds} rounds, in turns. {machine()}.",
            f"Peers: {'; '.join(self.versions)}.",
            "Both servers: "
            + ", ".join(f"`{name} = {value}`" for name, value in self.settings)
            + ".",
            "",
        ]
        if self.quick:
            lines += ["A quick run: it shows that the bench works, and nothing else.", ""]
        lines += summary(self.setting.results)
        for result in self.setting.results:
            lines += rounds(result)
        for extra in self.setting.tables:
            if extra.rows:
                lines += table(extra)
        return "\n".join(lines) + "\n"


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}; source, target and workers share the machine"
    )


def summary(results: Sequence[Result]) -> list[str]:
    lines = [
        "| what | Bowline | best peer | ratio | floor | goal | |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        series, ratio = result.series, result.ratio
        ours = f"{series[OURS].median:,.4g} {result.unit}" if OURS in series else "-"
        peer = "-"
        if result.peers:
            peer = f"{series[result.best_peer].median:,.4g} ({result.best_peer})"
        floor = goal = ""
        if result.bar:
            bound = "at most " if result.bar.less_is_better else ""
            floor, goal = f"{bound}{result.bar.floor:g}x", f"{bound}{result.bar.goal:g}x"
        shown = f"**{ratio:.2f}x**" if ratio is not None else "-"
        lines.append(
            f"| {result.name} | {ours} | {peer} | {shown} | {floor} | {goal} | {result.verdict} |"
        )
    return [*lines, ""]


def rounds(result: Result) -> list[str]:
    lines = [f"### {result.name} ({result.unit})", ""]
    if result.failure:
        lines += [f"Failed: {' '.join(result.failure.split())[:1000]}", ""]
    if result.series:
        lines += ["| | median | spread | rounds |", "|---|---|---|---|"]
    for name, series in result.series.items():
        values = ", ".join(f"{value:,.4g}" for value in series.values)
        lines.append(f"| {name} | {series.median:,.4g} | ±{series.spread:.0%} | {values} |")
    return [*lines, "", *(f"{note}" for note in result.notes), *([""] if result.notes else [])]


def table(extra: Extra) -> list[str]:
    lines = [f"### {extra.title}", "", f"| {' | '.join(extra.columns)} |"]
    lines.append("|" + "---|" * len(extra.columns))
    lines += [f"| {' | '.join(row)} |" for row in extra.rows]
    return [*lines, "", *extra.notes, *([""] if extra.notes else [])]
