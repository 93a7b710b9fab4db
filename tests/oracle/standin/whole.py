"""The whole stand-in: the wire in front, the engine behind it, and under that the redo log."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from oracle.standin.backend import Account, Backend, OraError
from oracle.standin.engine.database import Database
from oracle.standin.engine.rights import User
from oracle.standin.redolog.adversities import Adversities
from oracle.standin.redolog.glue import attach
from oracle.standin.redolog.redolog import RedoLog
from oracle.standin.wire.faults import Faults
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
        faults: Faults | None = None,
        release: tuple[int, int, int, int, int] = (19, 3, 0, 0, 0),
        sys: str = "",
        **log: Any,
    ) -> None:
        """`log` goes to RedoLog: how many threads, how large a log is, how many archives are kept.

        `users` are DBAs. `sys`: the password of SYS, who may make others.
        """
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
        if sys:
            accounts.append(Account("SYS", sys, [SERVICE, SID], self._open("SYS"), is_sysdba=True))
        self.server = Server(accounts, tls=tls, faults=faults, release=release, find=self._made)
        self._undo = ExitStack()
        self._sessions = itertools.count()

    def _open(self, user: str) -> Callable[[str], Backend]:
        """Sessions are given out to the instances in turn: each instance has a redo thread of its own."""
        return lambda service: self.database.session(
            user, service, thread=1 + next(self._sessions) % len(self.log.threads)
        )

    def _made(self, user: str, service: str) -> Account | None:
        """A user that was made by SQL."""
        known = self.database.users.get(user)
        if known is None or known.password is None or service not in (SERVICE, SID):
            return None
        return Account(user, known.password, [service], self._admit(known))

    def _admit(self, user: User) -> Callable[[str], Backend]:
        def connect(service: str) -> Backend:
            if user.locked:
                raise OraError(28000, "The account is locked.")
            if not user.has("CREATE SESSION"):
                raise OraError(
                    1045, f"Login denied. User {user.name} lacks CREATE SESSION privilege."
                )
            return self._open(user.name)(service)

        return connect

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
