"""The stand-in's listener: takes in clients, each into a session and a thread of its own."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from itertools import count
from types import TracebackType
from typing import Self

from oracle.standin.backend import Account
from oracle.standin.wire.faults import Faults
from oracle.standin.wire.session import Session
from oracle.standin.wire.settings import Settings

# A session that is being ended only has to close its backend.
_END_SECONDS = 10


class Server:
    """A server that python-oracledb's thin mode connects to. A context manager starts and stops it."""

    def __init__(
        self,
        accounts: Sequence[Account],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        field_version: int = 12,
        max_string: int = 4000,
        faults: Faults | None = None,
        release: tuple[int, int, int, int, int] = (19, 3, 0, 0, 0),
        find: Callable[[str, str], Account | None] = lambda user, service: None,
    ) -> None:
        """Bind the port, 0 for a free one; clients that come before `start` wait. With `tls` it speaks only TCPS."""
        self.faults = Faults() if faults is None else faults
        self._settings = Settings(
            accounts=accounts,
            field_version=field_version,
            max_string=max_string,
            release=release,
            find=find,
            faults=self.faults,
        )
        self._tls = tls
        self._socket = socket.create_server((host, port))
        self.port: int = self._socket.getsockname()[1]
        self._ids = count(1)
        self._lock = threading.Lock()
        self._sessions: dict[Session, threading.Thread] = {}
        self._is_stopped = False
        self._listener = threading.Thread(target=self._listen, name="listener", daemon=True)

    def start(self) -> None:
        self._listener.start()

    def stop(self) -> None:
        """End all sessions and wait until their backends are closed."""
        with self._lock:
            self._is_stopped = True
            sessions = dict(self._sessions)
        # A shutdown wakes the listener, which close alone would not.
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        finally:
            self._socket.close()
        for session in sessions:
            session.hang_up()
        threads = [self._listener, *sessions.values()]
        for thread in threads:
            if thread.is_alive():
                thread.join(_END_SECONDS)
        stuck = [thread.name for thread in threads if thread.is_alive()]
        if stuck:
            raise TimeoutError(f"{', '.join(stuck)} did not end: a statement ignores interrupts")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def sessions(self) -> int:
        """How many clients are connected."""
        with self._lock:
            return len(self._sessions)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # stopped
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._take_in(connection)

    def _take_in(self, connection: socket.socket) -> None:
        number = next(self._ids)
        session = Session(connection, self._settings, self._tls, number)
        thread = threading.Thread(
            target=self._run, args=[session], name=f"session {number}", daemon=True
        )
        with self._lock:
            if self._is_stopped:
                connection.close()
                return
            self._sessions[session] = thread
            thread.start()

    def _run(self, session: Session) -> None:
        try:
            session.run()
        finally:
            with self._lock:
                del self._sessions[session]
