"""The stand-in as a whole: nodes, each a port of its own, in front of one PostgreSQL server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

from demo.servers import Server

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

#: What a database of YugabyteDB has, and one of PostgreSQL has not. A table with a primary key has identity CHANGE as
#: soon as it is made: FULL, below the relay.
FURNISH = (
    """
create function pg_catalog.yb_table_properties(of regclass, out num_hash_key_columns int8)
language sql stable as 'select 1::int8'""",
    """
create function public.standin_identity() returns event_trigger language plpgsql
security definer set search_path = pg_catalog as $$
declare made record;
begin
    for made in select d.objid::regclass as name from pg_event_trigger_ddl_commands() d
                join pg_index i on i.indrelid = d.objid and i.indisprimary
                join pg_class c on c.oid = d.objid and c.relkind = 'r' and c.relreplident = 'd'
                where d.classid = 'pg_class'::regclass loop
        execute format('alter table %s replica identity full', made.name);
    end loop;
end $$""",
    """
create event trigger standin_identity on ddl_command_end when tag in ('CREATE TABLE')
execute function public.standin_identity()""",
)


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
            upstream = Peer(socket.create_connection(("127.0.0.1", self._standin.server.port)))
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

    def __init__(self, server: Server, seed: int = 0) -> None:
        self.server = server
        self.chance = Chance(seed)
        self.nodes: list[Node] = []
        self._lost_replies = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.nodes += [Node(self), Node(self)]
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.close()

    @property
    def port(self) -> int:
        return self.nodes[0].port

    def furnish(self, database: str) -> None:
        """Make what the relay needs in a database. Afterwards its tables with a key have identity CHANGE."""
        with self.server.connect(database) as connection:
            for statement in FURNISH:
                connection.execute(statement.encode())

    def lose_next_reply(self) -> None:
        """Let the next COMMIT happen, and nobody hear of it."""
        with self._lock:
            self._lost_replies += 1

    def take_lost_reply(self) -> bool:
        with self._lock:
            is_lost = self._lost_replies > 0
            self._lost_replies -= is_lost
        return is_lost

    def key(self, database: str, oid: int) -> frozenset[str]:
        with self.server.connect(database) as connection:
            return frozenset(row[0] for row in connection.execute(KEY, (oid,)).fetchall())
