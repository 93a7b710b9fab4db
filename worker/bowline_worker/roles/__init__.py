"""The roles: what each process of the data plane does. Each is restartable at any instant."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

from bowline_worker.contract import Config, Role, Side
from bowline_worker.endpoints import open_endpoint
from bowline_worker.endpoints.base import Endpoint
from bowline_worker.reporter import Reporter


@dataclass
class Context:
    """What a role gets: its configuration, both sides (connected on first use), its report, and the stop signal.

    A role returns when its goal is reached, returns early after `stop` is set (SIGTERM) with its work at a safe
    point, and raises a BowlineError for everything else.
    """

    config: Config
    report: Reporter
    stop: threading.Event = field(default_factory=threading.Event)

    @cached_property
    def source(self) -> Endpoint:
        return open_endpoint(self.config, Side.SOURCE)

    @cached_property
    def target(self) -> Endpoint:
        return open_endpoint(self.config, Side.TARGET)

    def side(self, side: Side) -> Endpoint:
        return self.source if side is Side.SOURCE else self.target


def role_function(role: Role) -> Callable[[Context], None]:
    """Find the role's `run`: module `roles.<role>`."""
    module = importlib.import_module(f"bowline_worker.roles.{role}")
    return cast("Callable[[Context], None]", module.run)  # every role module has it: a test says so
