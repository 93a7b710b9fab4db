"""The nodes of a server, where sessions are known and can be ended: PostgreSQL is one, YugabyteDB has several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bowline_worker.endpoints.postgres.catalog import Db, records
from bowline_worker.endpoints.postgres.connection import connect, translated
from bowline_worker.endpoints.postgres.flavour import flavour_of
from bowline_worker.endpoints.site import Site

# https://docs.yugabyte.com/stable/api/ysql/exprs/func_yb_servers/
SERVERS = "select s.host::text as host, s.port::int as port from yb_servers() s order by 1, 2"


@dataclass(frozen=True, slots=True)
class Node:
    place: str  #: as people read it; "" where there is one alone
    db: Db


@contextmanager
def nodes(site: Site, connection: Db) -> Iterator[list[Node]]:
    """Sessions at all nodes: the given one where there is one node; TryAgain where a node can't be reached.

    A node that is away may have sessions that still write: nothing is claimed of it.
    """
    if not flavour_of(connection).has_nodes:
        yield [Node("", connection)]
        return
    with ExitStack() as stack:
        found = []
        for row in records(connection, SERVERS):
            host, port = row["host"], row["port"]
            with translated(site, f"node {host}:{port}"):
                session = stack.enter_context(connect(site, at=(host, port)))
            found.append(Node(f"{host}:{port}", session))
        yield found
