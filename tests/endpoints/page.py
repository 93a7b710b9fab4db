"""The table of what is carried: printed after a run of the suite, and kept in a page of the docs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from endpoints.carried import Case, How

DOCS = Path(__file__).parents[2] / "docs"
#: By engine, the page that has its table.
PAGES = {"postgresql": DOCS / "postgresql.md"}
BEGIN = "<!-- carried: written by `make docs-carried` from a run of the suite -->"
END = "<!-- carried: end -->"


def lines(cases: Iterable[Case]) -> list[str]:
    """The table, as Markdown."""
    head = ["| | what | how | |", "|---|---|---|---|"]
    return head + [
        f"| {case.kind} | {case.name} | {case.how} | {case.note} |".replace("|  |", "| |")
        for case in cases
    ]


def written(page: Path) -> list[str]:
    """The table that the page holds now."""
    return _parts(page)[1].strip().splitlines()


def write(page: Path, table: Sequence[str]) -> None:
    before, _, after = _parts(page)
    text = "\n".join(table)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def _parts(page: Path) -> tuple[str, str, str]:
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    table, _, after = rest.partition(END)
    return before, table, after


def printed(results: Iterable[tuple[Case, str]]) -> list[str]:
    """The table as a terminal shows it; a case that did not pass is neither carried nor refused."""
    found = [
        (case.kind, case.name, str(case.how) if outcome == "passed" else outcome.upper(), case.note)
        for case, outcome in results
    ]
    widths = [max(len(row[at]) for row in found) for at in range(3)] if found else []
    counts = {how: sum(row[2] == how for row in found) for how in How}
    total = ", ".join(f"{count} {how}" for how, count in counts.items())
    rows = [
        "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]])
        for row in found
    ]
    return [*(row.rstrip() for row in rows), f"{len(found)} cases: {total}"]
