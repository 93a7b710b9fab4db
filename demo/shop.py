"""The shop: a small database with much of what real ones have, and about a million rows."""

from __future__ import annotations

from pathlib import Path

from psycopg import sql

from demo.servers import Server

OWNER = "shop"  #: owns all of it, never logs in
APPLICATION = "shop_app"  #: what the writers are
DATABASE = "shop"

HERE = Path(__file__).parent


def make_roles(server: Server, password: str) -> None:
    """Make the shop's roles: they belong to a server, so whoever runs the target makes them there too."""
    with server.connect() as connection:
        connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(OWNER)))
        connection.execute(
            sql.SQL("create role {} login password {}").format(
                sql.Identifier(APPLICATION), password
            )
        )


def make_shop(server: Server, database: str, *, scale: float) -> None:
    """Make its objects and its rows; keys come last, as in any sensible load."""
    with server.connect(database) as connection:
        connection.execute(
            sql.SQL("grant create on schema public to {}").format(sql.Identifier(OWNER))
        )
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(OWNER)))
        connection.execute("set maintenance_work_mem = '256MB'")
        for name in ("shop.sql", "rows.sql", "keys.sql"):
            text = (HERE / name).read_text(encoding="utf-8").replace(":scale", f"{scale:g}")
            connection.execute(text.encode())
        connection.execute("reset role")
        connection.execute("analyze")
