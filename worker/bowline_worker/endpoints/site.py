"""One side of one migration, as the modules of an engine's package pass it around, and who it is there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bowline_worker.contract import BadConfig, Config, Connection, Credentials, Role, Side


@dataclass(frozen=True, slots=True)
class Site:
    """One side of one migration, as an engine sees it."""

    config: Config
    side: Side

    @property
    def connection(self) -> Connection:
        return self.config.source if self.side is Side.SOURCE else self.config.target

    @property
    def migration(self) -> str:
        return self.config.migration

    @property
    def place(self) -> str:
        """Where this side is, as people read it; no user, no password."""
        return f"{self.connection.host}:{self.connection.port}/{self.connection.database}"

    def session_name(self, role: Role, limit: int) -> str:
        """Name the sessions of one role of this migration, by which they are found when they must be ended.

        In at most `limit` characters, and never that of another migration whose name begins alike.
        """
        text = f"bowline {role} {self.migration}"
        if len(text) <= limit:
            return text
        mark = hashlib.sha256(self.migration.encode()).hexdigest()[:8]
        return f"{text[: limit - len(mark) - 1]}-{mark}"


def read_credentials(connection: Connection) -> Credentials:
    """Read the files afresh: they may have been rotated. A newline at the end is the editor's, not the secret's."""
    directory = Path(connection.credentials)
    values = {}
    for name in ("username", "password"):
        try:
            text = (directory / name).read_text(encoding="utf-8")
        except OSError as error:
            raise BadConfig(
                f"could not read credentials {directory / name}: {error.strerror}"
            ) from None
        values[name] = text.removesuffix("\n").removesuffix("\r")
        if not values[name]:
            raise BadConfig(f"the {name} in credentials {directory} is empty")
    return Credentials.model_validate(values)
