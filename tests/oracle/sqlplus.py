"""What SQL*Plus makes of a text, for tests that run what `bowline grants` prints."""

from __future__ import annotations

from collections.abc import Iterator

#: Commands of SQL*Plus, which no server sees.
CLIENT = ("whenever ", "accept ", "--")
PASSWORD = "&bowline_password"


def statements(script: str) -> Iterator[str]:
    """Read a text as SQL*Plus does: statements end with a semicolon, blocks with a slash."""
    held: list[str] = []
    for line in script.splitlines():
        if not held and (not line.strip() or line.startswith(CLIENT)):
            continue
        if line.startswith("exec "):
            yield f"begin {line.removeprefix('exec ')}; end;"
            continue
        in_block = bool(held) and held[0].split()[0] in ("begin", "declare")
        if line == "/" and in_block:
            yield "\n".join(held)
            held = []
        elif line.endswith(";") and not in_block and line.split()[0] not in ("begin", "declare"):
            yield "\n".join([*held, line.removesuffix(";")])
            held = []
        elif not line.startswith("--"):
            held.append(line)
    assert held == []
