"""One client's session: requests are read, done by the backend, and answered, until one side ends it."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
from typing import Protocol, runtime_checkable

from oracle.standin.backend import OraError, SessionDead
from oracle.standin.wire.buffers import Reader
from oracle.standin.wire.codes import Function, Message
from oracle.standin.wire.execution import Executions
from oracle.standin.wire.faults import Call, When
from oracle.standin.wire.handshake import agree_on_service
from oracle.standin.wire.lob_calls import answer_lob_call, free_lobs, read_lob_call
from oracle.standin.wire.logon import Admitted, Logon
from oracle.standin.wire.packets import Abandoned, Channel, Closed, Interrupts
from oracle.standin.wire.replies import NO_DATA_FOUND, Outcome, Reply, cancelled
from oracle.standin.wire.requests import (
    read_end_to_end,
    read_function,
)
from oracle.standin.wire.settings import Settings
from oracle.standin.wire.values import Codec
from oracle.standin.wire.zones import zone_minutes

_log = logging.getLogger(__name__)


@runtime_checkable
class Interruptible(Protocol):
    """A backend that wants to know when its statement should end: the session sets this before the first call.

    It is to be asked in the session's own thread, while a statement waits or works long: `is_set` costs a system call,
    `wait` sleeps as well. Then the statement ends by raising OraError 1013; rows and arrays are looked after here.
    """

    interrupted: Interrupts


class Session:
    """From the first packet to the last, in a thread of its own."""

    def __init__(
        self,
        connection: socket.socket,
        settings: Settings,
        tls: ssl.SSLContext | None,
        session_id: int,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._tls = tls
        self._id = session_id
        self._channel: Channel | None = None
        self._hung_up = False

    def run(self) -> None:
        """Serve the client, and leave nothing behind."""
        try:
            self._connection = self._wrapped()
            self._channel = Channel(self._connection)
            if not self._hung_up:
                self._negotiate_tls()
                self._serve(self._channel)
        except (Closed, Abandoned, SessionDead, OSError):
            pass  # each of them is an end; the client sees it, or has caused it
        finally:
            self._connection.close()

    def hang_up(self) -> None:
        """End the session from another thread; a statement that looks for interrupts ends with it."""
        self._hung_up = True
        if self._channel is not None:
            self._channel.hang_up()

    def _wrapped(self) -> socket.socket:
        """Speak TLS on the connection, if the server does; the handshake comes when it can be interrupted."""
        if self._tls is None:
            return self._connection
        return self._tls.wrap_socket(
            self._connection, server_side=True, do_handshake_on_connect=False
        )

    def _negotiate_tls(self) -> None:
        if isinstance(self._connection, ssl.SSLSocket):
            self._connection.do_handshake()

    def _serve(self, channel: Channel) -> None:
        reader = Reader(lambda: channel.receive(is_new=not reader.has_begun))
        try:
            service = agree_on_service(channel, self._settings)
            logon = Logon(channel, reader, self._settings, service)
            admitted = logon.run()
        except (struct.error, ValueError, IndexError) as error:
            # Whoever this is does not speak the protocol: there is no form in which to tell it.
            raise Closed from error
        backend = admitted.backend
        try:
            backend.identify(**admitted.attributes)
            calls = Calls(channel, reader, admitted, self._settings)
            logon.welcome(admitted, self._id)
            while calls.serve_one():
                pass
        finally:
            backend.close()


class Calls:
    """What a client that has logged on may call."""

    def __init__(
        self,
        channel: Channel,
        reader: Reader,
        admitted: Admitted,
        settings: Settings,
    ) -> None:
        self._channel = channel
        self._reader = reader
        self._backend = backend = admitted.backend
        self._faults = settings.faults
        self._field_version = admitted.field_version
        self._codec = Codec(zone_minutes(admitted.attributes.get("time_zone") or "UTC"))
        self._reply_is_lost = False
        interrupts = Interrupts(channel)
        if isinstance(backend, Interruptible):
            backend.interrupted = interrupts
        self._executions = Executions(
            backend,
            self._codec,
            interrupts,
            self._begin,
            field_version=admitted.field_version,
            max_string=settings.max_string,
        )

    def serve_one(self) -> bool:
        """Read a request, do it and answer; tell whether there may be another."""
        self._reader.begin()
        reply = Reply(self._field_version)
        goes_on = True
        try:
            function = self._read_notices()
            outcome = self._call(function, reply)
            goes_on = function != Function.LOGOFF
        except OraError as error:
            reply, outcome = Reply(self._field_version), Outcome(error=error)
        except Abandoned:
            self._answer_abandoned()
            return True
        except (Closed, SessionDead):
            raise
        except Exception as error:
            # A fault of the engine, or of this layer. A client takes ORA-00600 and a dropped connection for something
            # that passes, and tries again for ever.
            _log.exception("a call failed")
            told = OraError(604, f"error occurred at recursive SQL level 1: {error!r}")
            reply, outcome = Reply(self._field_version), Outcome(error=told)
        self._answer(reply, outcome)
        return goes_on

    def _answer(self, reply: Reply, outcome: Outcome | None) -> None:
        """End the reply and send it, unless it is to be lost."""
        in_transaction = self._backend.in_transaction
        if self._reply_is_lost:
            raise Closed
        if outcome is None:
            self._channel.send(bytes(reply.status(in_transaction=in_transaction).data))
            return
        payload = bytes(reply.outcome(outcome, in_transaction=in_transaction).data)
        if outcome.error is None or outcome.error.code == NO_DATA_FOUND:
            self._channel.send(payload)
        else:
            self._channel.send_error(payload)

    def _answer_abandoned(self) -> None:
        in_transaction = self._backend.in_transaction
        reply = Reply(self._field_version)
        reply.outcome(Outcome(error=cancelled()), in_transaction=in_transaction)
        self._channel.answer_reset(bytes(reply.data))

    def _begin(self, call: Call, text: str = "") -> None:
        """Note that a call begins, and suffer the fault that is planned for it."""
        fault = self._faults.due(call, text)
        if fault is None:
            return
        fault.happened.set()
        if fault.when is When.BEFORE:
            raise Closed
        self._reply_is_lost = True

    def _read_notices(self) -> int:
        """Take in the notices in front of a call; return the call's function."""
        while True:
            message = self._reader.u8()
            if message not in (Message.FUNCTION, Message.PIGGYBACK):
                raise OraError(3106, f"fatal two-task protocol error: message {message}")
            function = read_function(self._reader, self._field_version)
            if message == Message.FUNCTION:
                return function
            self._notice(function)

    def _notice(self, function: int) -> None:
        reader = self._reader
        match function:
            case Function.CLOSE_CURSORS:
                reader.u8()
                for _ in range(reader.varint()):
                    self._executions.close(reader.varint())
            case Function.SET_SCHEMA:
                reader.u8()
                self._backend.identify(schema=(reader.sized() or b"").decode())
            case Function.END_TO_END:
                self._backend.identify(**read_end_to_end(reader))
            case Function.LOB:
                free_lobs(reader, self._codec.lobs)
            case unknown:
                raise OraError(3106, f"fatal two-task protocol error: notice {unknown}")

    def _call(self, function: int, reply: Reply) -> Outcome | None:
        """Do what a function asks for; None: its reply ends with a status."""
        match function:
            case Function.EXECUTE:
                return self._executions.execute(self._reader, reply)
            case Function.REEXECUTE | Function.REEXECUTE_AND_FETCH:
                fetch = function == Function.REEXECUTE_AND_FETCH
                return self._executions.reexecute(self._reader, reply, fetch=fetch)
            case Function.FETCH:
                return self._executions.fetch(self._reader, reply)
            case Function.LOB:
                call = read_lob_call(self._reader)
                self._begin(Call.LOB)
                answer_lob_call(call, self._codec.lobs, reply)
            case Function.COMMIT:
                self._begin(Call.COMMIT)
                self._backend.commit()
            case Function.ROLLBACK:
                self._begin(Call.ROLLBACK)
                self._backend.rollback()
            case Function.PING:
                self._begin(Call.PING)
            case Function.LOGOFF:
                self._begin(Call.LOGOFF)
            case unknown:
                raise OraError(3106, f"fatal two-task protocol error: function {unknown}")
        return None
