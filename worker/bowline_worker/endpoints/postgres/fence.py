"""The fence: statement triggers by which a passive database refuses application writes.

They stand, disabled or not, on every selected table, every partition, and every parent through which one is written;
raised means ENABLE ALWAYS, so that sessions in replica role meet them too. Who they let pass is told by session_user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import errors, sql

from bowline_worker.bookkeeping import MadeObject
from bowline_worker.contract import Side, Unsupported
from bowline_worker.endpoints.postgres import gate, made
from bowline_worker.endpoints.postgres.catalog import Db, Relation, records, select
from bowline_worker.endpoints.postgres.connection import connect, quote
from bowline_worker.endpoints.postgres.flavour import flavour_of
from bowline_worker.endpoints.postgres.locks import keep_writers_out
from bowline_worker.endpoints.postgres.names import FENCE_TRIGGER
from bowline_worker.endpoints.site import Site

TRUNCATE_TRIGGER = f"{FENCE_TRIGGER}_truncate"
#: tgtype of BEFORE ... FOR EACH STATEMENT triggers.
EVENTS = {
    FENCE_TRIGGER: ("insert or update or delete", 2 | 4 | 8 | 16),
    TRUNCATE_TRIGGER: ("truncate", 2 | 32),
}
#: An abort ends who still stands in the way of opening: no writer can be among them.
LOWER_GRACE_SECONDS = 2.0

#: Arguments: the migration, where the other side is, and the users whom it lets pass. It reads no table, so that no
#: missing privilege of a writer changes its answer; it knows nothing of the writer's search_path.
BODY = f"""
begin
    if session_user::text = any (tg_argv[2:]) then
        return null;
    end if;
{gate.REFUSE}end
"""
FUNCTION = f"""
create or replace function bowline.fence() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $bowline${BODY}$bowline$"""

TRIGGERS = """
select t.tgrelid::int8 as oid, n.nspname::text as schema, c.relname::text as name,
       t.tgname::text as trigger, t.tgenabled::text as enabled, t.tgtype::int as type,
       t.tgargs as arguments, t.tgqual is null as always
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where t.tgfoid = to_regprocedure('bowline.fence()') and not t.tgisinternal
  and (%(tables)s::oid[] is null or t.tgrelid = any (%(tables)s::oid[]))
order by n.nspname, c.relname"""

SUBSCRIPTIONS = """
select distinct s.subname::text as name
from pg_subscription s join pg_subscription_rel r on r.srsubid = s.oid
where s.subenabled and r.srrelid = any (%(tables)s::oid[])
  and s.subdbid = (select oid from pg_database where datname = current_database())
order by 1"""


@dataclass(slots=True, kw_only=True)
class Standing:
    """The fence as it stands on one table."""

    oid: int
    schema: str
    name: str
    migration: str
    arguments: tuple[str, ...]
    enabled: dict[str, str] = field(default_factory=dict)  #: tgenabled, by trigger
    intact: bool = True

    @property
    def quoted(self) -> str:
        return quote(self.schema, self.name)

    @property
    def is_whole(self) -> bool:
        return self.intact and self.enabled.keys() == EVENTS.keys()

    @property
    def is_raised(self) -> bool:
        return self.is_whole and set(self.enabled.values()) == {"A"}

    @property
    def is_lowered(self) -> bool:
        return set(self.enabled.values()) == {"D"}


def raise_fence(site: Site, connection: Db, grace: float) -> list[Callable[[], None]]:
    """Refuse application writes to all that is selected now, once this transaction commits (see base.Books).

    Returns what takes back what does not wait for the commit.
    """
    refuse_bypasses(site, connection)
    if not flavour_of(connection).locks_tables:
        with connect(site) as own:
            make_function(own)
            make(site, own, _fenced(site, own))
        return [gate.raise_gate(site, connection, grace)]
    make_function(connection)
    locked: set[str] = set()
    # Again, because a partition may have come while we waited; none does once its parent is locked.
    while wanted := [r.quoted for r in _fenced(site, connection) if r.quoted not in locked]:
        keep_writers_out(site, connection, wanted, grace)
        locked.update(wanted)
    make(site, connection, _fenced(site, connection))
    for here in of_migration(site, connection):
        if not here.is_raised:
            _set_triggers(connection, here.quoted, "enable always")
    return []


def lower_fence(site: Site, connection: Db) -> None:
    """Accept application writes again, wherever this migration's triggers stand, once this transaction commits."""
    if not flavour_of(connection).locks_tables:
        gate.lower_gate(site, connection)
        return
    raised = [s for s in of_migration(site, connection) if not s.is_lowered]
    keep_writers_out(
        site, connection, [s.quoted for s in raised], LOWER_GRACE_SECONDS, patient=True
    )
    for here in raised:
        for trigger in here.enabled:
            connection.execute(_alter(here.quoted, "disable", trigger))


def gaps(site: Site, connection: Db) -> list[str]:
    """Say where a write would pass: read from the catalogue now, not from what was made."""
    found = standing(connection)
    problems = [] if _function_is_ours(connection) else ["bowline.fence() is not the product's"]
    for relation in _fenced(site, connection):
        here = found.get(relation.oid)
        if here is None or not here.is_whole:
            problems.append(f"{relation.table} has no fence trigger")
        elif not here.is_raised:
            problems.append(f"{relation.table} has its fence trigger disabled")
    return problems


def make_function(connection: Db) -> None:
    if not _function_is_ours(connection):
        function = FUNCTION if flavour_of(connection).locks_tables else gate.FUNCTION
        connection.execute(function.encode())


def make(site: Site, connection: Db, relations: Sequence[Relation]) -> None:
    """Make these tables' triggers where they are not as they must be: disabled, unless they were raised."""
    # Of these alone: it is called for one table after the other, of thousands.
    found = standing(connection, [relation.oid for relation in relations])
    wanted = _arguments(site, connection)
    for relation in relations:
        here = found.get(relation.oid)
        if here and here.migration != site.migration:
            _take_over(site, connection, here)
        elif here and here.is_whole and here.arguments == wanted:
            continue
        made.record(connection, site, MadeObject(kind="trigger", name=relation.quoted))
        if here:
            drop_triggers(connection, here)
        for trigger in EVENTS:
            _make_trigger(connection, relation.quoted, trigger, wanted)
        was_raised = here and here.is_raised and here.migration == site.migration
        # Where a flag decides, the triggers themselves always stand.
        was_raised = was_raised or not flavour_of(connection).locks_tables
        _set_triggers(connection, relation.quoted, "enable always" if was_raised else "disable")


def make_on(site: Site, relation: Relation, connection: Db) -> None:
    """Make one table's triggers, as `make` does."""
    make(site, connection, [relation])


def missing(site: Site, connection: Db) -> list[Relation]:
    """The selected tables whose triggers `make` would make."""
    found = standing(connection)
    wanted = _arguments(site, connection)
    return [
        relation
        for relation in _fenced(site, connection)
        if not (here := found.get(relation.oid)) or not here.is_whole or here.arguments != wanted
    ]


def drop(site: Site, here: Standing, connection: Db) -> None:
    """Drop one table's triggers; then their note."""
    drop_triggers(connection, here)
    made.forget(connection, site, "trigger", here.quoted)


def drop_triggers(connection: Db, here: Standing) -> None:
    for trigger in here.enabled:
        connection.execute(f"drop trigger if exists {quote(trigger)} on {here.quoted}".encode())


def standing(connection: Db, tables: Sequence[int] | None = None) -> Mapping[int, Standing]:
    """The fence triggers of these tables, or of the whole database, of any migration, by table."""
    found: dict[int, Standing] = {}
    is_flag = not flavour_of(connection).locks_tables
    lowered = gate.lowered(connection) if is_flag else frozenset()
    for row in records(connection, TRIGGERS, {"tables": None if tables is None else list(tables)}):
        arguments = tuple(
            text.decode(errors="replace") for text in bytes(row["arguments"]).split(b"\0")[:-1]
        )
        here = found.setdefault(
            row["oid"],
            Standing(
                oid=row["oid"],
                schema=row["schema"],
                name=row["name"],
                migration=arguments[0] if arguments else "",
                arguments=arguments,
            ),
        )
        here.enabled[row["trigger"]] = "D" if here.migration in lowered else row["enabled"]
        _, type_ = EVENTS.get(row["trigger"], ("", 0))
        if row["type"] != type_ or not row["always"] or arguments != here.arguments:
            here.intact = False
    return found


def of_migration(site: Site, connection: Db) -> list[Standing]:
    return [s for s in standing(connection).values() if s.migration == site.migration]


def refuse_bypasses(site: Site, connection: Db) -> None:
    """Refuse what writes without firing statement triggers, or holds its locks without a session."""
    found = records(
        connection, "select gid from pg_prepared_xacts where database = current_database()"
    )
    if found:
        raise Unsupported(
            f"the {site.side} has {len(found)} prepared transactions: a fence can't end them",
            reason="FenceImpossible",
            hint="commit or roll back what pg_prepared_xacts shows",
        )
    if names := subscriptions(connection, [r.oid for r in _fenced(site, connection)]):
        raise Unsupported(
            f"subscriptions write to selected tables of the {site.side}: {', '.join(names)}",
            reason="FenceImpossible",
            hint="disable or drop them: no trigger of a statement fires for what they write",
        )


def subscriptions(connection: Db, tables: Sequence[int]) -> list[str]:
    """Enabled subscriptions into these tables; where the catalogue is closed to us, none."""
    try:
        with connection.transaction():
            found = records(connection, SUBSCRIPTIONS, {"tables": list(tables)})
    except errors.InsufficientPrivilege:
        return []
    return [row["name"] for row in found]


def _fenced(site: Site, connection: Db) -> list[Relation]:
    return select(connection, site.config).fenced


def _function_is_ours(connection: Db) -> bool:
    found = records(
        connection,
        "select prosrc from pg_proc where oid = to_regprocedure('bowline.fence()')",
    )
    body = BODY if flavour_of(connection).locks_tables else gate.BODY
    return bool(found) and found[0]["prosrc"] == body


def _arguments(site: Site, connection: Db) -> tuple[str, ...]:
    there = site.config.target if site.side is Side.SOURCE else site.config.source
    (user,) = records(connection, "select session_user::text as name")
    return site.migration, f"{there.host}:{there.port}/{there.database}", user["name"]


def _take_over(site: Site, connection: Db, here: Standing) -> None:
    """Refuse tables of a migration that is under way; one that is Complete left its fence to whoever comes."""
    known = connection.execute(
        b"select count(*) from bowline.switch where migration = %s", (here.migration,)
    ).fetchone()
    if known != (0,):
        raise Unsupported(
            f"{here.schema}.{here.name} on the {site.side} belongs to migration {here.migration}",
            reason="TableTaken",
            hint="complete that migration first, or exclude the table from this one",
        )
    connection.execute(
        b"delete from bowline.made where migration = %s and kind = 'trigger' and name = %s",
        (here.migration, here.quoted),
    )


def _make_trigger(connection: Db, table: str, trigger: str, arguments: Sequence[str]) -> None:
    event, _ = EVENTS[trigger]
    listed = ", ".join(sql.Literal(argument).as_string(connection) for argument in arguments)
    connection.execute(
        f"create trigger {quote(trigger)} before {event} on {table} for each statement"
        f" execute function bowline.fence({listed})".encode()
    )


def _set_triggers(connection: Db, table: str, state: str) -> None:
    for trigger in EVENTS:
        connection.execute(_alter(table, state, trigger))


def _alter(table: str, state: str, trigger: str) -> bytes:
    return f"alter table only {table} {state} trigger {quote(trigger)}".encode()
