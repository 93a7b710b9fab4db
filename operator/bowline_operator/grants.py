"""The SQL that makes, and removes, a migration's database user: what it needs and nothing more.

A test runs a migration's steps as a user that was made by this very text.
"""

from __future__ import annotations

from bowline_worker.contract import Engine, Side

#: Stands for what was not said, so that the text fails where it is run unread.
UNKNOWN_OWNER = "OWNER-OF-THE-TABLES"
UNKNOWN_DATABASE = "THE-DATABASE"


def grants_sql(
    engine: Engine,
    side: Side,
    *,
    user: str = "bowline",
    owner: str | None = None,
    database: str | None = None,
    revoke: bool = False,
) -> str:
    """Write the SQL for one side, to be run with psql by a superuser in the migrated database.

    Both sides need the same: each is the origin of one stream and the receiver of the other.
    """
    names = _quote(user), _quote(owner or UNKNOWN_OWNER), _quote(database or UNKNOWN_DATABASE)
    head = f"-- {engine}, the {side}: run as a superuser, in database {names[2]}"
    body = _revoke(*names) if revoke else _grant(engine, *names)
    return f"{head}\n\n{body}"


def _grant(engine: Engine, user: str, owner: str, database: str) -> str:
    # YugabyteDB has a role for what only superusers may do elsewhere; and its fence has to see who writes.
    replica = (
        f"grant yb_db_admin, pg_read_all_stats to {user};"
        if engine is Engine.YUGABYTEDB
        else f"""do $$ begin
    if current_setting('server_version_num')::int >= 150000 then
        execute 'grant set on parameter session_replication_role to {_literal(user)}';
    else -- before version 15 only superusers may set it
        execute 'alter role {_literal(user)} superuser';
    end if;
end $$;"""
    )
    return f"""\
-- The user is the migration's alone: the fence lets it pass.
create role {user} login replication;
-- Then, in psql: \\password {user}

-- Publications; the schema `bowline`.
grant connect, create on database {database} to {user};

-- Publications, replica identities, the fence's triggers: only owners may. Repeat it for each owner of tables.
grant {owner} to {user};

-- The application's triggers and foreign keys must not fire for rows that are streamed.
{replica}

-- Sessions that hold up a fence longer than the grace are ended. Superusers' can't be.
grant pg_signal_backend to {user};
"""


def _revoke(user: str, owner: str, database: str) -> str:
    return f"""\
-- After the migration is Complete. A fence that stays, on the losing side, becomes its new owner's.
reassign owned by {user} to {owner};
drop owned by {user};
drop role {user};
"""


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """Write text inside quotes."""
    return text.replace("'", "''")
