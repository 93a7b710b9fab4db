"""One row travels each way, by every way to connect: out by LogMiner, in by a lane."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.contract import Connection, Side, TlsMode
from bowline_worker.endpoints.base import TableBatch
from bowline_worker.endpoints.oracle.connection import connect
from bowline_worker.endpoints.oracle.endpoint import OracleEndpoint
from bowline_worker.endpoints.site import Site
from bowline_worker.model import SignalKind, Transaction
from oracle.standin.whole import SERVICE, SID, StandIn
from oracle.wire_rig import certificate
from oracle.world import APP, BOWLINE, INSIDE, a_secret, a_site

OUT, BACK = StreamId(Side.SOURCE, 0), StreamId(Side.TARGET, 1)
COMMON = ("C##BOWLINE", "secret")
TABLE = (
    "alter database add supplemental log data",
    "create table item (id number(9) primary key, name varchar2(40))",
)


@dataclass(frozen=True)
class Way:
    """How to get there."""

    place: Callable[[int], dict[str, Any]]  #: fields of the contract's Connection, by the port
    user: tuple[str, str] = BOWLINE
    is_encrypted: bool = False
    server: Mapping[str, Any] = field(default_factory=dict)


WAYS = {
    "service name": Way(lambda port: {"service_name": SERVICE}),
    "SID": Way(lambda port: {"sid": SID}),
    "TNS alias": Way(lambda port: {"tns_alias": "shop", "port": 1}),
    "easy connect": Way(lambda port: {"tns_alias": f"//127.0.0.1:{port}/{SERVICE}", "port": 1}),
    "TCPS with a wallet": Way(
        lambda port: {"service_name": SERVICE, "tls_mode": TlsMode.VERIFY_FULL}, is_encrypted=True
    ),
    "a pluggable database": Way(
        lambda port: {"service_name": SERVICE},
        user=COMMON,
        server={"containers": INSIDE["containers"]},
    ),
    "inside a pluggable database": Way(lambda port: {"service_name": SERVICE}, server=INSIDE),
}


@dataclass
class Ends:
    """The migration's endpoint, and the application's site of the same server."""

    endpoint: OracleEndpoint
    app: Site

    def as_application(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, and commit; gives the rows of the last one, if it is a query."""
        with closing(connect(self.app)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
        return rows


@pytest.fixture(params=WAYS)
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ends]:
    way = WAYS[request.param]
    with ExitStack() as stack:
        places = [tmp_path / name for name in ("bowline", "app")]
        for place in places:
            place.mkdir()
        secrets = [
            a_secret(place, *user) for place, user in zip(places, (way.user, APP), strict=True)
        ]
        tls = certificate(secrets[0]) if way.is_encrypted else None
        if tls is not None:
            shutil.copy(secrets[0] / "ewallet.pem", secrets[1])
        stand_in = stack.enter_context(StandIn([APP, way.user], tls=tls, **way.server))
        address = f"(ADDRESS=(PROTOCOL=tcp)(HOST=127.0.0.1)(PORT={stand_in.port}))"
        alias = f"shop = (DESCRIPTION={address}(CONNECT_DATA=(SERVICE_NAME={SERVICE})))\n"
        sites = []
        for secret in secrets:
            (secret / "tnsnames.ora").write_text(alias)
            sites.append(a_site(secret, **{"port": stand_in.port, **way.place(stand_in.port)}))
        found = Ends(OracleEndpoint(_both(sites[0].config.source, sites[0]), Side.SOURCE), sites[1])
        found.as_application(*TABLE)
        found.endpoint.install()
        found.endpoint.prepare_origin()
        yield found


def _both(source: Connection, site: Site) -> Any:
    return site.config.model_copy(update={"source": source, "target": source})


def test_one_row_travels_each_way(ends: Ends) -> None:
    endpoint = ends.endpoint
    endpoint.arm(OUT)
    ends.as_application("insert into item values (1, 'out')")

    rows = [change.after for each in _captured(endpoint) for change in each.changes]

    assert rows == [(b"1", b"out")]
    _apply(endpoint)
    assert ends.as_application("select id, name from item order by id") == [(1, "out"), (2, "back")]


def _captured(endpoint: OracleEndpoint) -> list[Transaction]:
    """All transactions before a barrier."""
    with endpoint.books() as books:
        books.signal(SignalKind.BARRIER, 1)
    found: list[Transaction] = []
    with closing(endpoint.capture(OUT, None)) as capture:
        for _ in range(200):
            for piece in capture.read(0.1):
                payload = capture.describe(piece.relations) + piece.payload
                for transaction in endpoint.decoder().decode(payload) if piece.payload else ():
                    if transaction.signals:
                        return found
                    found.append(transaction)
    raise AssertionError("the barrier did not come")


def _apply(endpoint: OracleEndpoint) -> None:
    (table,) = endpoint.tables()
    row = LaneRow(lane=0, number=BACK.number, generation=1, passed=True)
    with endpoint.books() as books:
        books.put_lanes(BACK.origin, [row])
    with closing(endpoint.lane(BACK)) as lane:
        lane.begin()
        lane.advance(BACK.origin, replace(row, block=1), since=0)
        lane.write(TableBatch(table=table, inserts=[(b"2", b"back")]))
        lane.commit()
