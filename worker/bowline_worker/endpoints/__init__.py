"""One folder or module per engine, all behind the protocols of `base`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bowline_worker.contract import BadConfig, Config, Engine, Side

if TYPE_CHECKING:
    from bowline_worker.endpoints.base import Endpoint


def open_endpoint(config: Config, side: Side) -> Endpoint:
    """Make the endpoint of one side. Connects only when it is used."""
    connection = config.source if side is Side.SOURCE else config.target
    match connection.engine:
        case Engine.POSTGRESQL | Engine.YUGABYTEDB:
            from bowline_worker.endpoints.postgres import PostgresEndpoint

            return PostgresEndpoint(config, side)
        case Engine.ORACLE:
            if side is Side.TARGET:
                raise BadConfig(
                    "spec.target.engine: Oracle is a source only",
                    hint="use PostgreSQL or YugabyteDB",
                )
            from bowline_worker.endpoints.oracle.endpoint import OracleEndpoint

            return OracleEndpoint(config, side)
