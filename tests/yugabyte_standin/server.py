"""The stand-in's own process: nodes, each a port of its own, in front of one PostgreSQL server."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable

import psycopg

from yugabyte_standin.chance import Chance
from yugabyte_standin.session import Session
from yugabyte_standin.wire import (
    CANCEL_REQUEST,
    GSS_REQUEST,
    SSL_REQUEST,
    Closed,
    Peer,
    startup_bytes,
    strings,
)

KEY = """
select a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
where i.indrelid = %s and i.indisprimary"""


class Node:
    """One port: knows its own sessions, and can end no others."""

    def __init__(self, standin: Standin) -> None:
        self._standin = standin
        self.chance = standin.chance
        self.pids: set[int] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="standin-node", daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def session_pids(self) -> list[int]:
        return sorted(self.pids.copy())

    def ports(self) -> list[int]:
        return [node.port for node in self._standin.nodes]

    def take_lost_reply(self) -> bool:
        return self._standin.take_lost_reply()

    def keys_of(self, database: str) -> Callable[[int], frozenset[str]]:
        return lambda oid: self._standin.key(database, oid)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(
                target=self._serve, args=(Peer(sock),), name="standin-session", daemon=True
            ).start()

    def _serve(self, client: Peer) -> None:
        with contextlib.suppress(Closed, OSError):
            body = client.startup()
            while int.from_bytes(body[:4]) in (SSL_REQUEST, GSS_REQUEST):
                client.send(b"N")
                body = client.startup()
            upstream = Peer(socket.create_connection(("127.0.0.1", self._standin.upstream)))
            upstream.send(startup_bytes(body))
            if int.from_bytes(body[:4]) == CANCEL_REQUEST:
                upstream.close()
                client.close()
                return
            listed = strings(body, 4)
            parameters = dict(zip(listed[::2], listed[1::2], strict=False))
            Session(
                self,
                client,
                upstream,
                replication=parameters.get("replication") == "database",
                database=parameters.get("database", ""),
            ).run()


class Standin:
    """Two nodes in front of a server. `chance` counts what it made fail."""

    def __init__(self, upstream: int, dsn: str, seed: int) -> None:
        self.upstream, self._dsn = upstream, dsn
        self.chance = Chance(seed)
        self.nodes: list[Node] = []
        self.nodes += [Node(self), Node(self)]
        self._lost_replies = 0
        self._lock = threading.Lock()

    def lose_next_reply(self) -> None:
        with self._lock:
            self._lost_replies += 1

    def keep_replies(self) -> None:
        with self._lock:
            self._lost_replies = 0

    def take_lost_reply(self) -> bool:
        with self._lock:
            is_lost = self._lost_replies > 0
            self._lost_replies -= is_lost
        return is_lost

    def key(self, database: str, oid: int) -> frozenset[str]:
        with psycopg.connect(self._dsn, dbname=database) as connection:
            return frozenset(row[0] for row in connection.execute(KEY, (oid,)).fetchall())


def main() -> None:
    """Serve until the standard input ends. Each line of it is a question or an order; each answer is a line."""
    upstream, dsn, seed = json.loads(sys.stdin.readline())
    standin = Standin(upstream, dsn, seed)
    answers: dict[str, Callable[[], object]] = {
        "ports": lambda: [node.port for node in standin.nodes],
        "counts": lambda: [standin.chance.failed, standin.chance.transactions],
        "lose": standin.lose_next_reply,
        "keep": standin.keep_replies,
    }
    for line in sys.stdin:
        print(json.dumps(answers[line.strip()]()), flush=True)
    for node in standin.nodes:
        node.close()
