"""The whole stand-in: the wire in front, the engine behind it, and under that the redo log."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from oracle.standin.backend import Account, Backend
from oracle.standin.engine.database import Database
from oracle.standin.redolog.adversities import Adversities
from oracle.standin.redolog.glue import attach
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.wire.server import Server

SERVICE, SID = "SHOP", "OLDSHOP"
FIRST_SCN = 2_000_000


class StandIn:
    """A server on a port of 127.0.0.1 while it is entered. `users` with their passwords may do everything."""

    def __init__(
        self,
        users: Sequence[tuple[str, str]],
        *,
        adversities: Adversities | None = None,
        containers: Sequence[str] = ("CDB$ROOT",),
        tls: ssl.SSLContext | None = None,
        **log: Any,
    ) -> None:
        """`log` goes to RedoLog: how many threads, how large a log is, how many archives are kept."""
        now = datetime.now(UTC)
        self.log = RedoLog(adversities, at=now, scn=FIRST_SCN, **log)
        self.database = Database(
            self.log,
            containers=containers,
            services=dict.fromkeys((SERVICE, SID), containers[-1]),
            first_scn=FIRST_SCN,
        )
        attach(self.log, self.database)
        accounts = [
            Account(user, password, [SERVICE, SID], self._open(user)) for user, password in users
        ]
        self.server = Server(accounts, tls=tls)
        self._undo = ExitStack()
        self._sessions = itertools.count()

    def _open(self, user: str) -> Callable[[str], Backend]:
        """Sessions are given out to the instances in turn: each instance has a redo thread of its own."""
        return lambda service: self.database.session(
            user, service, thread=1 + next(self._sessions) % len(self.log.threads)
        )

    @property
    def port(self) -> int:
        return self.server.port

    def __enter__(self) -> Self:
        self._undo.enter_context(self.server)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()
