"""Change `spec.phase` in a manifest, and not another character: comments, layout and quotes stay."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from bowline_operator.api import KIND, Request
from bowline_operator.manifest import ManifestInvalid, files_of

_SCALAR = re.compile(r""""[^"\n]*"|'[^'\n]*'|[^\s,#}\]]+""")


def set_phase(paths: Sequence[Path], phase: Request) -> tuple[Path, str]:
    """Write the phase into the file that has the DatabaseMigration; return the file and the phase before."""
    found = [(path, before) for path in files_of(paths) for before in [_rewrite(path, phase)]]
    edited = [(path, before) for path, before in found if before is not None]
    if len(edited) != 1:
        names = ", ".join(str(path) for path in files_of(paths))
        raise ManifestInvalid([f"{len(edited)} documents of kind {KIND} in {names}, one is needed"])
    return edited[0]


def _rewrite(path: Path, phase: Request) -> str | None:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read()
    except OSError as error:
        raise ManifestInvalid([f"could not read {path}: {error.strerror}"]) from None
    changed = edited(text, phase, str(path))
    if changed is None:
        return None
    new, before = changed
    if new != text:
        _replace(path.resolve(), new)
    return before


def edited(text: str, phase: Request, where: str) -> tuple[str, str] | None:
    """Return the text with that phase, and the one before; None: it has no DatabaseMigration."""
    documents = _load(text, where)
    mine = [doc for doc in documents if isinstance(doc, dict) and doc.get("kind") == KIND]
    if not mine:
        return None
    spec = mine[0].get("spec")
    if len(mine) > 1 or not isinstance(spec, CommentedMap) or not spec:
        raise ManifestInvalid([f"{where}: needs exactly one {KIND} with a spec"])
    before = str(spec.get("phase", Request.REPLICATE))
    new = _replaced(text, spec, phase) if "phase" in spec else _inserted(text, spec, phase)
    # Proof instead of trust in positions: nothing but the phase may read differently.
    spec["phase"] = str(phase)
    if _plain(_load(new, where)) != _plain(documents):
        raise ManifestInvalid(
            [f"{where}: could not change spec.phase without touching the rest"],
            hint=f"write phase: {phase} into the spec by hand",
        )
    return new, before


def _replaced(text: str, spec: CommentedMap, phase: Request) -> str:
    line, column = spec.lc.value("phase")
    start = _offset(text, line, column)
    old = _SCALAR.match(text, start)
    if old is None:
        return text
    quote = old[0][0] if old[0][0] in "\"'" else ""
    return text[:start] + f"{quote}{phase}{quote}" + text[old.end() :]


def _inserted(text: str, spec: CommentedMap, phase: Request) -> str:
    line, column = spec.lc.key(next(iter(spec)))
    start = _offset(text, line, column)
    if not spec.fa.flow_style():
        newline = "\r\n" if "\r\n" in text else "\n"
        return text[:start] + f"phase: {phase}{newline}{' ' * column}" + text[start:]
    entry = f'"phase": "{phase}", ' if text[start] == '"' else f"phase: {phase}, "
    return text[:start] + entry + text[start:]


def _offset(text: str, line: int, column: int) -> int:
    return sum(len(each) for each in text.splitlines(keepends=True)[:line]) + column


def _load(text: str, where: str) -> list[Any]:
    try:
        return list(YAML(typ="rt", pure=True).load_all(text))
    except YAMLError as error:
        raise ManifestInvalid([f"{where}: {' '.join(str(error).split())[:200]}"]) from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, str) else value


def _replace(path: Path, text: str) -> None:
    """Replace the file so that a reader sees the old or the new one, with the same permissions."""
    mode = path.stat().st_mode & 0o7777
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise ManifestInvalid([f"could not write {path}: {error.strerror}"]) from None
