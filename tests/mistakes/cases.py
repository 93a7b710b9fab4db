"""The mistakes that people make, each with what the status must call it and how it is mended."""

from __future__ import annotations

import signal

from mistakes.setting import Setting, Spec
from mistakes.walk import Case, Do, nothing

#: Nothing listens there: port 1 is nobody's on a machine that runs databases.
CLOSED_PORT = 1


def spec(side: str, **fields: object) -> Do:
    return lambda here: here.edit(lambda spec: spec[side].update(fields))


def right(side: str) -> Do:
    def mend(here: Setting) -> None:
        fields = {"host": "127.0.0.1", "port": here.servers[side].port, "database": here.database}
        here.edit(lambda spec: spec[side].update(fields))

    return mend


def secret(**fields: str) -> Do:
    return lambda here: here.edit(lambda spec: spec.update(_secret=fields))


def right_secret(here: Setting) -> None:
    here.edit(lambda spec: spec.pop("_secret"))


def run(side: str, *statements: str) -> Do:
    def do(here: Setting) -> None:
        here.sql(side, *(one.format(user=here.user, owner=here.owner) for one in statements))

    return do


def existing(*statements: str) -> Do:
    """The target's schema is made by the user, and not as the source's."""

    def make(here: Setting) -> None:
        here.edit(_existing)
        here.sql("target", f"set role {here.owner}; {CUSTOMER}; {ITEM}; {'; '.join(statements)}")

    return make


def _existing(spec: Spec) -> None:
    spec["schema"] = {"mode": "Existing"}


def both(*steps: Do) -> Do:
    def do(here: Setting) -> None:
        for step in steps:
            step(here)

    return do


def stop(side: str) -> Do:
    return lambda here: here.servers[side].stop(signal.SIGINT)


def start(side: str) -> Do:
    def do(here: Setting) -> None:
        here.servers[side].start()

    return do


def same_database(here: Setting) -> None:
    here.edit(lambda spec: spec["target"].update(port=here.servers["source"].port))


def logical(here: Setting) -> None:
    server = here.servers["source"]
    server.change(wal_level="logical")
    server.restart()


def senders(here: Setting) -> None:
    server = here.servers["source"]
    server.change(max_wal_senders="10")
    server.restart()


CUSTOMER = "create table customer (id int primary key, name text not null, city varchar(40))"
ITEM = (
    "create table item (id bigint primary key, customer int references customer,"
    " price numeric(10, 2) not null)"
)

CASES = (
    Case(name="wrong source host", reason="Unreachable", says="127.0.0.9",
         make=spec("source", host="127.0.0.9"), mend=right("source")),
    Case(name="wrong target port", reason="Unreachable", says="target",
         make=spec("target", port=CLOSED_PORT), mend=right("target")),
    Case(name="wrong password", reason="ConnectionRefused", says="password authentication failed",
         make=secret(password="wrong"), mend=right_secret),
    Case(name="wrong user", reason="ConnectionRefused", says="nobody_of_that_name",
         make=secret(username="nobody_of_that_name"), mend=right_secret),
    Case(name="wrong source database", reason="ConnectionRefused", says="does not exist",
         make=spec("source", database="no_such_database"), mend=right("source")),
    Case(name="wrong target database", reason="ConnectionRefused", says="does not exist",
         make=spec("target", database="no_such_database"), mend=right("target")),
    Case(name="source and target are one database", reason="SameDatabase", says="one database",
         make=same_database, mend=right("target")),
    Case(name="a privilege is missing", reason="NotPermitted", says="",
         make=run("source", "alter role {user} noreplication"),
         mend=run("source", "alter role {user} replication")),
    Case(name="tables are not its user's", reason="NotOwner", says="",
         make=run("source", "revoke {owner} from {user}"),
         mend=run("source", "grant {owner} to {user}")),
    Case(name="no table is selected", reason="NoTables", says="",
         make=lambda here: here.edit(lambda s: s.update(tables={"include": ["shop.*"]})),
         mend=lambda here: here.edit(lambda s: s.update(tables={"include": ["public.*"]}))),
    Case(name="the target has rows", reason="TargetNotEmpty", says="",
         make=existing("insert into customer values (1, 'somebody', 'else')"),
         mend=run("target", "delete from customer")),
    Case(name="the target's table is missing", reason="TableMissing", says="public.item",
         make=existing("drop table item"), mend=run("target", f"set role {{owner}}; {ITEM}")),
    Case(name="the target has the tables already", reason="TargetNotEmpty", says="",
         make=run("target", f"set role {{owner}}; {CUSTOMER}"), mend=run("target", "drop table customer")),
    Case(name="a column of the target has another type", reason="SchemaDiffers", says="column city",
         make=existing("alter table customer alter city type bytea using null"),
         mend=run("target", "alter table customer alter city type varchar(40) using null")),
    Case(name="a column of the target is narrower", reason="SchemaDiffers", says="column city",
         make=existing("alter table customer alter city type varchar(4)"),
         mend=run("target", "alter table customer alter city type varchar(40)")),
    Case(name="a column of the target is missing", reason="ColumnMissing", says="city",
         make=existing("alter table customer drop city"),
         mend=run("target", "alter table customer add city varchar(40)")),
    Case(name="the target has a column more that must have a value", reason="SchemaDiffers", says="more",
         make=existing("alter table customer add more int not null"),
         mend=run("target", "alter table customer drop more")),
    Case(name="timeouts of the role", reason="", says="",
         make=both(*(run(side, "alter role {user} set statement_timeout = '50ms'",
                         "alter role {user} set lock_timeout = '50ms'",
                         "alter role {user} set idle_in_transaction_session_timeout = '50ms'")
                     for side in ("source", "target"))),
         mend=nothing),
    Case(name="wal_level is replica", reason="LogicalReplicationOff", says="wal_level",
         settings={"wal_level": "replica"}, make=nothing, mend=logical),
    Case(name="no slot is free", reason="NoFreeSlot", says="",
         settings={"max_replication_slots": "2"},
         make=run("source", "select pg_create_physical_replication_slot('taken')"),
         mend=run("source", "select pg_drop_replication_slot('taken')")),
    Case(name="no sender is free", reason="NoFreeSender", says="max_wal_senders",
         settings={"max_wal_senders": "1"}, make=nothing, mend=senders),
    Case(name="who connects to the target is read only at first", reason="", says="",
         make=lambda here: here.sql("target", f"alter database {here.database} set default_transaction_read_only = on"),
         mend=nothing),
    Case(name="the target stops while it streams", reason="Unreachable", says="target",
         since="Streaming", own_target=True, leaves_nothing=False,
         make=stop("target"), mend=start("target")),
    Case(name="the source stops while it streams", reason="Unreachable", says="source",
         since="Streaming", settings={}, leaves_nothing=False,
         make=stop("source"), mend=start("source")),
    Case(name="the target is away from the beginning", reason="Unreachable", says="target",
         own_target=True, leaves_nothing=False, make=stop("target"), mend=start("target")),
)  # fmt: skip
