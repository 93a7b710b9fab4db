"""One relayed session: statements are looked at on their way to the server, and what it answers on its way back.

A statement that must fail is sent as one that the server can't run, and the server's error is replaced: so the
transaction is in the state that it would be in.
"""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING

from yugabyte_standin import refusals
from yugabyte_standin.chance import Fate, kind_of
from yugabyte_standin.rewriting import SERVER_VERSION, rewrite
from yugabyte_standin.stream import StreamTranslator
from yugabyte_standin.wire import Closed, Message, Peer, error

if TYPE_CHECKING:
    from yugabyte_standin.server import Node

#: A statement that no server runs.
GARBAGE = "standin"
NO_STATEMENT = b"standin: no such statement"
_ADMIN_SHUTDOWN = b"C57P01\0"
_TRUNCATED_NAME = 63


class Session:
    """Relays between a client and the server, in two threads, until either is gone."""

    def __init__(self, node: Node, client: Peer, server: Peer, *, replication: bool, database: str):
        self._node, self._client, self._server = node, client, server
        self._replication = replication
        self._texts: dict[str, str] = {}  #: of prepared statements
        self._status = b"I"
        self._fate = Fate()
        self._replacement: Message | None = None  #: of the next error
        self._fails_commit = False
        self._loses_reply = False
        self._pid = 0
        self._stream: StreamTranslator | None = None
        self._database = database

    def run(self) -> None:
        back = threading.Thread(target=self._relay_back, name="standin-back", daemon=True)
        back.start()
        try:
            while True:
                self._forward(self._client.message())
        except Closed:
            pass
        finally:
            self._close()
            back.join()

    def _close(self) -> None:
        self._client.close()
        self._server.close()
        if self._pid:
            self._node.pids.discard(self._pid)

    # --- from the client ---

    def _forward(self, message: Message) -> None:
        match message.kind:
            case b"Q":
                message = self._query(message)
            case b"P":
                message = self._parse(message)
            case b"B":
                message = self._bind(message)
            case b"C":
                if message.body[:1] == b"S":
                    self._texts.pop(message.body[1:-1].decode(), None)
        self._server.send(message.bytes())

    def _query(self, message: Message) -> Message:
        text = message.body[:-1].decode()
        if refusal := refusals.refused(text):
            return self._poison(error(refusal.sqlstate, refusal.message))
        if self._replication:
            return self._replication_command(text)
        kind = kind_of(text)
        if self._must_fail(kind):
            if kind == "commit":
                # The server's answer to COMMIT of a transaction that it gives up, but for its word.
                self._fails_commit = True
                return Message(b"Q", b"rollback\0")
            return self._poison(error(refusals.RETRY, refusals.RETRY_MESSAGE))
        if kind == "commit" and self._node.take_lost_reply():
            self._loses_reply = True
        return Message(b"Q", self._rewritten(text).encode() + b"\0")

    def _parse(self, message: Message) -> Message:
        name, text, rest = _cut(message.body)
        if self._replacement is not None:
            return message
        if refusal := refusals.refused(text):
            self._replacement = error(refusal.sqlstate, refusal.message)
            text = GARBAGE
        else:
            self._texts[name] = text
            text = self._rewritten(text)
        return Message(b"P", name.encode() + b"\0" + text.encode() + b"\0" + rest)

    def _bind(self, message: Message) -> Message:
        portal, name, rest = _cut(message.body)
        text = self._texts.get(name, "")
        if self._replacement is None and self._must_fail(kind_of(text)):
            self._replacement = error(refusals.RETRY, refusals.RETRY_MESSAGE)
            return Message(b"B", portal.encode() + b"\0" + NO_STATEMENT + b"\0" + rest)
        if "pg_create_logical_replication_slot" in text:
            rest = rest.replace(b"yboutput", b"pgoutput")
        return Message(b"B", portal.encode() + b"\0" + name.encode() + b"\0" + rest)

    def _poison(self, answer: Message) -> Message:
        self._replacement = answer
        return Message(b"Q", GARBAGE.encode() + b"\0")

    def _rewritten(self, text: str) -> str:
        return rewrite(text, self._node.session_pids, self._node.ports())

    def _replication_command(self, text: str) -> Message:
        upper = text.lstrip().upper()
        if upper.startswith("CREATE_REPLICATION_SLOT"):
            text = text.replace(" yboutput ", " pgoutput ")
        elif upper.startswith("START_REPLICATION"):
            self._stream = StreamTranslator(self._node.keys_of(self._database))
        return Message(b"Q", text.encode() + b"\0")

    def _must_fail(self, kind: str) -> bool:
        """Follow the transaction, and tell whether its fate is here."""
        fate, chance = self._fate, self._node.chance
        if self._status == b"I" and kind in ("begin", "work"):
            self._fate = fate = Fate()
        if self._status == b"E":
            return False
        if kind == "view":
            fate.is_view = True
        if fate.is_view:
            return False
        if kind == "work":
            if not fate.has_worked:
                fate.has_worked, fate.fails_at = True, chance.doom()
            fate.statements += 1
            if fate.fails_at is not None and (
                self._status == b"I" or fate.statements >= fate.fails_at
            ):
                fate.fails_at = None
                return True
        elif kind == "commit" and fate.fails_at is not None:
            fate.fails_at = None
            return True
        elif kind == "rollback" and fate.fails_at is not None:
            fate.fails_at = None
            chance.spared()
        return False

    # --- from the server ---

    def _relay_back(self) -> None:
        try:
            while True:
                message = self._server.message()
                for each in self._back(message):
                    self._client.send(each.bytes())
        except Closed:
            pass
        finally:
            self._client.close()
            self._server.close()

    def _back(self, message: Message) -> list[Message]:
        match message.kind:
            case b"S" if message.body.startswith(b"server_version\0"):
                return [Message(b"S", b"server_version\0" + SERVER_VERSION.encode() + b"\0")]
            case b"K":
                (self._pid,) = struct.unpack_from(">I", message.body)
                self._node.pids.add(self._pid)
            case b"Z":
                self._status = message.body
                self._replacement = None
            case b"E" if self._replacement is not None and _ADMIN_SHUTDOWN not in message.body:
                return [self._replacement]
            case b"C" if self._fails_commit:
                self._fails_commit = False
                return [error(refusals.RETRY, refusals.RETRY_MESSAGE)]
            case b"C" if self._loses_reply and message.body == b"COMMIT\0":
                raise Closed
            case b"d" if self._stream is not None:
                return self._stream.translate(message)
        return [message]


def _cut(body: bytes) -> tuple[str, str, bytes]:
    first, _, rest = body.partition(b"\0")
    second, _, rest = rest.partition(b"\0")
    return first.decode(), second.decode(), rest
