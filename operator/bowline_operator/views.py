"""What can be seen of a locally run migration from outside, by its files and its state directory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bowline_operator.api import DatabaseMigration
from bowline_operator.local import default_state_dir
from bowline_operator.manifest import ManifestInvalid, read_manifest
from bowline_operator.stamps import aged
from bowline_operator.state import Liveness, StateDir
from bowline_operator.status import Status
from bowline_worker.contract import BadConfig


@dataclass(frozen=True, slots=True)
class View:
    """What can be seen of a migration from outside."""

    resource: DatabaseMigration
    liveness: Liveness
    is_taken_over: bool  #: the runner works by the spec that stands in the files

    @property
    def status(self) -> Status:
        return self.resource.status


@dataclass(frozen=True, slots=True)
class Place:
    files: tuple[Path, ...]
    state: StateDir

    @classmethod
    def find(cls, files: tuple[Path, ...], state_dir: Path | None) -> Place:
        if state_dir is not None:
            return cls(files, StateDir(state_dir))
        if files:
            try:
                return cls(files, StateDir(default_state_dir(read_manifest(files))))
            except ManifestInvalid:
                # The state can be shown even while the files can't be read, if it is clear which.
                beside = files[0] if files[0].is_dir() else files[0].parent
                known = _known_states(beside)
                if len(known) != 1:
                    raise
                return cls(files, StateDir(known[0]))
        known = _known_states(Path())
        if len(known) == 1:
            return cls(files, StateDir(known[0]))
        names = ", ".join(path.name for path in known)
        raise BadConfig(
            f"{len(known)} migrations have state below .bowline here"
            + (f": {names}" * bool(known)),
            hint="name the manifest, or --state-dir",
        )

    def look(self) -> View:
        now = datetime.now(UTC)
        liveness = self.state.liveness(now)
        accepted = self.state.read_resource()
        written = self._written()
        resource = accepted or written
        if resource is None:
            read_manifest(self.files)  # raises with what is wrong
            raise BadConfig(f"{self.state.path} has no state of a migration")
        status = self.state.read_status() or Status()
        if not liveness.alive:
            status = aged(status, str(liveness))
        taken = accepted is not None and (written is None or written.spec == accepted.spec)
        return View(resource.model_copy(update={"status": status}), liveness, taken)

    def _written(self) -> DatabaseMigration | None:
        if not self.files:
            return None
        try:
            return read_manifest(self.files).resource
        except ManifestInvalid:
            return None


def _known_states(beside: Path) -> list[Path]:
    return sorted(path.parent for path in (beside / ".bowline").glob("*/resource.json"))
