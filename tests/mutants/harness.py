"""Break the product in one place at a time; each break must be caught by its named test: `make mutants`.

A mutant is a small patch of the product and the test that guards the promise. The test must pass without the patch
and fail with it; a test that passes with it is asleep, and a patch that does not apply any more is out of date.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]

#: pytest's own exit codes: some test failed. Anything else (a broken import, no such test) proves nothing.
TESTS_FAILED = 1
#: A mutant may also make its test wait for ever for what no longer comes.
TIMED_OUT = -1
SECONDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    name: str
    invariant: int  #: of docs/invariants.md
    breaks: str
    file: str
    old: str  #: stands in the file exactly once
    new: str
    test: str


def copy_of_the_checkout(place: Path) -> None:
    """Copy what git knows, and what it does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)


def run_test(place: Path, tests: list[str]) -> tuple[int, str]:
    """Run tests against the copy: its folders come before those of the installed project."""
    path = os.pathsep.join(str(place / folder) for folder in ("worker", "operator", "tests", ""))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "--no-header",
        "--timeout=120",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    try:
        ended = subprocess.run(
            command,
            cwd=place,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TIMED_OUT, f"not done within {SECONDS} s"
    return ended.returncode, ended.stdout + ended.stderr


def try_mutant(mutant: Mutant) -> str:
    """Return what is wrong with it; empty: its test caught it."""
    with tempfile.TemporaryDirectory(prefix="bowline-mutant-") as name:
        place = Path(name)
        copy_of_the_checkout(place)
        file = place / mutant.file
        text = file.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            return f"the patch does not apply: its text stands {text.count(mutant.old)} times in {mutant.file}"
        file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        code, output = run_test(place, [mutant.test])
    if code in (TESTS_FAILED, TIMED_OUT):
        return ""
    tail = "\n".join(output.splitlines()[-15:])
    return f"{mutant.test} ended with {code}: it does not notice\n{tail}"


def check(mutants: list[Mutant], workers: int) -> int:
    """Run the tests without any patch, then each mutant; say what was caught."""
    tests = sorted({mutant.test for mutant in mutants})
    click.echo(f"without a patch: {len(tests)} tests")
    with tempfile.TemporaryDirectory(prefix="bowline-mutant-") as name:
        copy_of_the_checkout(Path(name))
        code, output = run_test(Path(name), tests)
    if code:
        click.echo(output[-4000:])
        click.echo("the tests must pass without a patch")
        return 1

    def one(mutant: Mutant) -> str:
        began = time.monotonic()
        wrong = try_mutant(mutant)
        took = time.monotonic() - began
        click.echo(
            f"invariant {mutant.invariant:2} {mutant.name:28} {'NOT CAUGHT' if wrong else 'caught'}"
            f" ({took:.0f} s): {mutant.breaks}"
        )
        return wrong

    with ThreadPoolExecutor(workers) as pool:
        wrongs = list(pool.map(one, mutants))
    for mutant, wrong in zip(mutants, wrongs, strict=True):
        if wrong:
            click.echo(f"\n{mutant.name}: {wrong}")
    caught = sum(not wrong for wrong in wrongs)
    click.echo(f"{caught} passed, {len(mutants) - caught} failed")
    return int(caught < len(mutants))


@click.command()
@click.argument("names", nargs=-1)
@click.option("--workers", default=2, show_default=True, help="mutants at a time")
def main(names: tuple[str, ...], workers: int) -> None:
    """Run all mutants, or those that are named."""
    from mutants.table import MUTANTS

    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        raise click.UsageError(f"no such mutant: {', '.join(sorted(unknown))}")
    sys.exit(check([mutant for mutant in MUTANTS if not names or mutant.name in names], workers))


if __name__ == "__main__":
    main()
