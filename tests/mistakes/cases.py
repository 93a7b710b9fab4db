"""The mistakes that people make, each with what the status must call it and how it is mended."""

from __future__ import annotations

import signal
import time

from bowline_worker.endpoints.postgres import names
from mistakes.setting import Setting, Spec
from mistakes.walk import Case, Do, Wrong, nothing

#: Nothing listens there: port 1 is nobody's on a machine that runs databases.
CLOSED_PORT = 1
GATE_SECONDS = 90
WAITS = """
select exists (select from pg_locks where locktype = 'advisory' and not granted
               and database = (select oid from pg_database where datname = current_database()))"""


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


def crash(side: str) -> Do:
    return lambda here: here.servers[side].stop(signal.SIGQUIT)


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


def standby(side: str) -> Do:
    return lambda here: here.edit(lambda spec: spec[side].update(port=here.standby(side).port))


def foreign_slot(here: Setting) -> None:
    """One that another program made by this name, for a plugin of its own."""
    name = names.slot("default.shop", here.database, 0)
    here.sql("source", f"select pg_create_logical_replication_slot('{name}', 'test_decoding')")


def foreign_slot_goes(here: Setting) -> None:
    here.sql(
        "source",
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
        " where database = current_database()",
    )


def policy(value: str) -> Do:
    return lambda here: here.edit(lambda spec: spec.update(snapshot={"targetNotEmpty": value}))


def wait_for(here: Setting, side: str, query: str) -> None:
    """Wait until the query answers true: a worker stands where the case needs it."""
    until = time.monotonic() + GATE_SECONDS
    with here.servers[side].connect(here.database) as connection:
        while connection.execute(query.encode()).fetchone() != (True,):
            if time.monotonic() > until:
                raise Wrong(f"no worker comes to the gate: {query}")
            time.sleep(0.05)


def copying(here: Setting) -> None:
    """The target's tables are the user's, and the first row waits at a gate."""
    with_gate(here)
    here.gate("target", "select pg_advisory_lock(7)")


def at_the_gate(here: Setting) -> None:
    wait_for(here, "target", WAITS)


def opened(here: Setting) -> None:
    here.open_gates()


def making_schema(here: Setting) -> None:
    """The first thing that is made on the target waits at a gate."""
    here.sql(
        "target",
        "create function wait_here() returns event_trigger language plpgsql as"
        " 'begin perform pg_advisory_xact_lock(7); end'",
        "create event trigger wait_here on ddl_command_start execute function wait_here()",
    )
    here.gate("target", "select pg_advisory_lock(7)")


def caught_up(here: Setting) -> None:
    here.control.wait("condition=CaughtUp", GATE_SECONDS)


def ask(phase: str) -> Do:
    return lambda here: here.ask(phase)


def open_transaction(side: str) -> Do:
    """A slot is not made there before it ends."""
    return lambda here: here.gate(side, "select pg_current_xact_id()")


def slot_is_waited_for(side: str) -> Do:
    query = """select exists (select from pg_replication_slots
        where confirmed_flush_lsn is null and database = current_database())"""
    return lambda here: wait_for(here, side, query)


def behind_fence(here: Setting) -> None:
    """The fence is up, and what must be applied before the other side may open waits at a gate.

    Not earlier: the way back needs a slot, which is not made while a transaction waits there.
    """
    here.gate("source", "update customer set city = 'elsewhere'")
    here.ask("Cutover")
    wait_for(here, "source", "select exists (select from pg_locks where not granted)")
    here.gate("target", "select pg_advisory_lock(7)")
    here.gates.pop(0).commit()
    wait_for(here, "source", "select exists (select from bowline.switch where fenced)")


def patient(here: Setting) -> None:
    cutover = {"budget": "10m", "maxLag": "1h", "writerGrace": "5m"}
    here.edit(lambda spec: spec.update(cutover=cutover))


def with_gate(here: Setting) -> None:
    """The target's tables are the user's, with a gate that nobody keeps shut yet."""
    existing(
        "create function wait_here() returns trigger language plpgsql as"
        " 'begin perform pg_advisory_xact_lock(7); return null; end'",
        "create trigger wait_here before insert or update or delete on customer"
        " execute function wait_here()",
        "alter table customer enable always trigger wait_here",
    )(here)
    here.edit(lambda spec: spec["schema"].update(acceptedIssues=["FiresForReplicatedRows"]))


def small_disk(here: Setting) -> None:
    here.move_to_small_disk("target", 32)


def disk_fills(here: Setting) -> None:
    here.fill()
    here.sql(
        "source",
        "insert into customer select n, repeat(md5(n::text), 30) from generate_series(1000, 3000) n",
    )


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
    Case(name="rows of the target may be deleted", reason="TargetNotEmpty", says="has rows",
         make=existing("insert into customer values (1, 'somebody', 'else')"), mend=policy("Truncate")),
    Case(name="a foreign key keeps the target's rows", reason="ReferencedByOthers", says="public.customer",
         make=both(existing("insert into customer values (1, 'somebody', 'else')", "create schema other",
                            "create table other.bill (customer int references customer)"), policy("Truncate")),
         mend=run("target", "drop schema other cascade")),
    Case(name="rows of the target are to be compared", reason="NotSupported", says="AppendIfEqual",
         make=both(existing(), policy("AppendIfEqual")), mend=policy("Refuse")),
    Case(name="a slot of our name is another's", reason="ForeignSlot", says="test_decoding",
         make=foreign_slot, mend=foreign_slot_goes, leaves_nothing=False),
    Case(name="the source is a standby", reason="Standby", says="standby",
         make=standby("source"), mend=right("source")),
    Case(name="the target is a standby", reason="Standby", says="standby",
         make=standby("target"), mend=right("target")),
    Case(name="what is unique on the target is equal to more", reason="CollationDiffers", says="public.customer.name",
         make=existing("create schema other",
                       "create collation other.loose (provider = icu, locale = 'und-u-ks-level2',"
                       " deterministic = false)",
                       "alter table customer alter name type text collate other.loose",
                       "create unique index customer_name on customer (name)"),
         mend=run("target", "drop index customer_name",
                  'alter table customer alter name type text collate "default"', "drop schema other cascade")),
    Case(name="the source is away from the beginning", reason="Unreachable", says="source",
         settings={}, leaves_nothing=False, make=stop("source"), mend=start("source")),
    Case(name="the target stops while the schema is made", reason="Unreachable", says="target",
         before=making_schema, since="MigratingSchema", own_target=True, leaves_nothing=False,
         make=both(at_the_gate, stop("target")), mend=start("target")),
    Case(name="the source stops while the schema is made", reason="Unreachable", says="source",
         before=making_schema, since="MigratingSchema", settings={}, leaves_nothing=False,
         make=both(at_the_gate, stop("source"), opened), mend=start("source")),
    Case(name="the target stops while rows are copied", reason="Unreachable", says="target",
         before=copying, since="Snapshotting", own_target=True, leaves_nothing=False,
         make=both(at_the_gate, stop("target")), mend=start("target")),
    Case(name="the source stops while rows are copied", reason="Unreachable", says="source",
         before=copying, since="Snapshotting", settings={}, leaves_nothing=False,
         make=both(at_the_gate, stop("source"), opened), mend=start("source")),
    Case(name="the target stops before the fence", reason="Unreachable", says="target",
         before=patient, since="Streaming", own_target=True, leaves_nothing=False, ends="phase=FallbackStreaming",
         make=both(caught_up, open_transaction("target"), ask("Cutover"), slot_is_waited_for("target"), stop("target")),
         mend=start("target")),
    Case(name="the source stops before the fence", reason="Unreachable", says="source",
         before=patient, since="Streaming", own_target=True, settings={}, leaves_nothing=False,
         ends="phase=FallbackStreaming",
         make=both(caught_up, open_transaction("target"), ask("Cutover"), slot_is_waited_for("target"),
                   stop("source"), opened),
         mend=start("source")),
    Case(name="the target stops behind the fence", reason="Unreachable", says="target",
         before=both(patient, with_gate), since="Streaming", own_target=True, leaves_nothing=False,
         ends="phase=FallbackStreaming",
         make=both(caught_up, behind_fence, crash("target")), mend=start("target")),
    Case(name="the source stops behind the fence", reason="Unreachable", says="source",
         before=both(patient, with_gate), since="Streaming", settings={}, leaves_nothing=False,
         ends="phase=FallbackStreaming",
         make=both(caught_up, behind_fence, crash("source"), opened), mend=start("source")),
    Case(name="the target stops after the cutover", reason="Unreachable", says="target",
         road=("Cutover",), own_target=True, leaves_nothing=False, make=stop("target"), mend=start("target")),
    Case(name="the source stops after the cutover", reason="Unreachable", says="source",
         road=("Cutover",), settings={}, leaves_nothing=False, make=stop("source"), mend=start("source")),
    Case(name="the source stops while it is switched back", reason="Unreachable", says="source",
         before=patient, road=("Cutover",), settings={}, leaves_nothing=False, ends="phase=SwitchedBack",
         make=both(caught_up, open_transaction("source"), ask("Switchover"), slot_is_waited_for("source"),
                   stop("source")),
         mend=start("source")),
    Case(name="the target is away when all is removed", reason="Unreachable", says="target",
         since="Streaming", own_target=True, leaves_nothing=False, ends="",
         make=both(caught_up, stop("target"), ask("Complete")), mend=start("target")),
    Case(name="the source is away when all is removed", reason="Unreachable", says="source",
         since="Streaming", settings={}, leaves_nothing=False, ends="",
         make=both(caught_up, stop("source"), ask("Complete")), mend=start("source")),
    Case(name="the target's disk is full at the beginning", reason="DiskFull", says="No space left",
         own_target=True, before=small_disk, leaves_nothing=False,
         make=lambda here: here.fill(), mend=lambda here: here.make_room()),
    Case(name="the target's disk fills while it streams", reason="DiskFull", says="No space left",
         own_target=True, before=small_disk, since="Streaming", leaves_nothing=False,
         make=both(caught_up, disk_fills), mend=lambda here: here.make_room()),
)  # fmt: skip
