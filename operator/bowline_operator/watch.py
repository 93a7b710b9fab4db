"""Watch the manifest's files: take over what is whole, valid and allowed; keep the last good spec otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bowline_operator.api import DatabaseMigration
from bowline_operator.manifest import Manifest, ManifestInvalid, parse, read_contents
from bowline_operator.status import Phase, Status
from bowline_operator.validation import IMMUTABLE, immutable_changes

NOT_YET_REPLICATING = frozenset({Phase.PENDING, Phase.ASSESSING, Phase.MIGRATING_SCHEMA})


@dataclass(slots=True)
class Watch:
    """Polls the files. What has changed is taken over by the next poll, if it has not changed again.

    It may be half-written, and half a manifest can be a valid one that says something else.
    """

    paths: Sequence[Path]
    manifest: Manifest
    contents: Mapping[Path, bytes]
    problem: str = ""
    _settling: Mapping[Path, bytes] | str | None = None

    @classmethod
    def start(cls, paths: Sequence[Path]) -> Watch:
        """Read the files for the first time; whatever is wrong is raised."""
        contents = read_contents(paths)
        return cls(paths, parse(contents), contents)

    def poll(self) -> Manifest | None:
        """Return the manifest when a new one has settled; a settled problem is kept in `problem`."""
        try:
            contents: Mapping[Path, bytes] | str = read_contents(self.paths)
        except ManifestInvalid as error:
            contents = str(error)
        if contents == self.contents:
            self.problem, self._settling = "", None
            return None
        if contents != self._settling:
            self._settling = contents
            return None
        if isinstance(contents, str):
            self.problem = contents
            return None
        try:
            manifest = parse(contents)
        except ManifestInvalid as error:
            self.problem = str(error)
            return None
        return manifest

    def accept(self, manifest: Manifest) -> None:
        """Take over what `poll` has returned."""
        self.manifest, self.problem = manifest, ""
        if isinstance(self._settling, Mapping):
            self.contents = self._settling
        self._settling = None


def why_not(old: DatabaseMigration, new: DatabaseMigration, status: Status) -> str:
    """Say why a spec can't replace the one before; empty: it can."""
    if old.key != new.key:
        return f"the files are about migration {new.key} now, this is {old.key}"
    changes = immutable_changes(old, new)
    if changes and status.phase not in NOT_YET_REPLICATING:
        names = ", ".join(changes)
        return f"{names} {IMMUTABLE}"
    return ""
