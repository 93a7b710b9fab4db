"""The soak from a server that stands in for Oracle to PostgreSQL: its databases, application, and what is judged."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import oracledb
import psycopg
from demo.checker import Verdict, check_record, check_single_writer
from demo.control import Control
from demo.record import Outcome, Record
from demo.servers import Server
from demo.workload import FENCED, SIDES
from psycopg import sql

from oracle.standin.process import DROP, StandInProcess
from oracle.standin.redolog.adversities import NAMES, Chance
from oracle.standin.whole import SERVICE
from oracle.world import APP, BOWLINE
from soak import oracle_shape as shape
from soak.judge import NAMED, only_the_fence
from soak.places import Place, PostgresPlace
from soak.postgres import drop_role, keep
from soak.writers import STRAY_WRITER, Shared, Stray, Writer

MANIFEST = """\
apiVersion: bowline.dev/v1alpha1
kind: DatabaseMigration
metadata: {{name: soak}}
spec:
  phase: Assess
  source: {{engine: Oracle, host: 127.0.0.1, port: {source}, serviceName: {service},
    credentialsSecretRef: {{name: soak-source}}}}
  target: {{engine: PostgreSQL, host: 127.0.0.1, port: {target}, database: {database},
    credentialsSecretRef: {{name: soak-target}}, tls: {{mode: disable}}}}
  tables: {{include: ["shop.*"], exclude: ["shop.junk*"]}}
  schema: {{mode: Existing}}
  snapshot: {{parallelism: {parallelism}, chunkRows: 100}}
  stream: {{lanes: {lanes}}}
  completion: {{losingSide: Released}}
  verification: {{request: 0}}
  cutover: {{budget: {budget}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: soak-source}}
stringData: {{username: {bowline[0]}, password: "{bowline[1]}"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: soak-target}}
stringData: {{username: {user}, password: "{password}"}}
"""
#: Per event, per transaction, per switch, whatever each one strikes at.
CHANCE = 0.05
#: Of those that seldom find what they strike at.
OFTEN: Mapping[str, Chance] = {
    "lossy_binary": "always",
    "recycle_bin": "always",
    "overwrite": 0.02,
    "quote_split": 0.5,
    "joined_text": 0.3,
    "switch": 0.004,  # more would be more logs than any server makes
}
#: What ends a migration by design where it meets a log that is not mined yet: only while none is to be mined.
FATAL = ("purged_archive", "missing_file")
KEPT_ARCHIVES = 8
#: Each of these must strike at least once.
FIRES = (*NAMES, "drop_before_commit", "drop_after_commit")
DROPPED = 0.004  #: of the commits, each way
#: How Oracle says that a transaction met another one, or a lock of the fence, and that its session is over.
CONTENTION = ("ORA-00060", "ORA-00028", "ORA-00054")
FENCE = "ORA-20999"
SESSIONS = """
select s.sid, s.serial#, s.inst_id, s.client_identifier from gv$session s
where s.username = 'BOWLINE' and s.client_identifier is not null order by 1, 2"""
#: What a migration must leave as it was.
DICTIONARY = (
    "select 'table ' || owner || '.' || table_name from all_tables where owner in ('SHOP', 'BOWLINE')"
    " and table_name not like 'JUNK%' and table_name not like 'BIN$%'",
    "select 'constraint ' || table_name || ' ' || constraint_type || ' ' || status || ' ' || validated"
    " from all_constraints where owner = 'SHOP' and table_name not like 'JUNK%' and table_name not like 'BIN$%'",
    "select 'trigger ' || table_name || ' ' || trigger_name || ' ' || status from all_triggers"
    " where table_owner = 'SHOP'",
    "select 'log group ' || table_name || ' ' || log_group_type from all_log_groups where owner = 'SHOP'",
    "select 'sequence ' || sequence_owner || '.' || sequence_name from all_sequences"
    " where sequence_owner in ('SHOP', 'BOWLINE')",
)


class OraclePlace:
    """The stand-in. It keeps everything in memory, so it can't crash."""

    can_crash = False

    def __init__(self, port: int) -> None:
        self._dsn = f"127.0.0.1:{port}/{SERVICE}"

    def connect(self) -> oracledb.Connection:
        return oracledb.connect(user=APP[0], password=APP[1], dsn=self._dsn)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            connection.outputtypehandler = _whole_lobs
            return [tuple(row) for row in cursor.execute(query) or ()]

    def run(self, *statements: str) -> None:
        """In one transaction, as far as they are no DDL. It may be dropped, or done twice."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            connection.commit()

    def refusal(self) -> str:
        try:
            with closing(self.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("insert into ledger values (0, 0, 'asked')")
                connection.rollback()
        except oracledb.Error as error:
            return code_of(error)
        return ""

    def ledger(self) -> Mapping[tuple[int, int], int]:
        query = "select writer, n, count(*) from mark group by writer, n"
        return {(writer, n): times for writer, n, times in self.rows(query)}

    def end_session(self, chance: random.Random) -> str:
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            found = list(cursor.execute(SESSIONS) or ())
            if not found:
                return ""
            sid, serial, instance, name = chance.choice(found)
            try:
                cursor.execute(f"alter system kill session '{sid},{serial},@{instance}' immediate")
            except oracledb.Error as error:
                if code_of(error) != "ORA-00030":  # it has ended meanwhile
                    raise
                return ""
        return f"{sid},{serial} ({name})"

    def crash(self) -> None:
        raise NotImplementedError

    def remains(self) -> list[str]:
        """What is left is seen in the schema."""
        return []

    def schema(self) -> list[str]:
        return [line for query in DICTIONARY for (line,) in sorted(self.rows(query))]


def code_of(error: oracledb.Error) -> str:
    """Oracle's code or the driver's; that of a fence as PostgreSQL's has it."""
    said = error.args[0]
    code = str(getattr(said, "full_code", said))
    return FENCED if code == FENCE and "bowline: " in str(error) else code


def _whole_lobs(cursor: oracledb.Cursor, metadata: oracledb.FetchInfo) -> oracledb.Var | None:
    kinds = {
        oracledb.DB_TYPE_CLOB: oracledb.DB_TYPE_LONG,
        oracledb.DB_TYPE_BLOB: oracledb.DB_TYPE_LONG_RAW,
    }
    kind = kinds.get(metadata.type_code)
    return cursor.var(kind, arraysize=cursor.arraysize) if kind else None


class TargetPlace(PostgresPlace):
    """Its tables are in the schema shop."""

    def ledger(self) -> Mapping[tuple[int, int], int]:
        query = "select writer, n, count(*) from shop.mark group by 1, 2"
        return {(writer, n): times for writer, n, times in self.rows(query)}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.server.connect(self.database) as connection:
            return connection.execute(query.encode()).fetchall()


class Client:
    """One connection of the application, to the side it believes in."""

    def __init__(self, oracle: OraclePlace, target: PostgresPlace) -> None:
        self._oracle, self._target = oracle, target
        self._connection: oracledb.Connection | psycopg.Connection[Any] | None = None
        self.side = SIDES[0]

    def do(self, kind: shape.Kind, values: Mapping[str, Any]) -> tuple[Outcome, str]:
        """Do one transaction; its outcome, and the error's code where the server gave one."""
        dialect = shape.ORACLE if self.side == "source" else shape.TARGET
        try:
            if self._connection is None:
                self._connection = self._connected()
        except (psycopg.OperationalError, oracledb.Error):
            self._turn()
            return Outcome.FAILED, ""
        connection = self._connection
        try:
            cursor = connection.cursor()
            for statement in shape.statements(kind, dialect, values):
                if isinstance(statement, str):
                    cursor.execute(statement)
                else:
                    cursor.executemany(*statement)
            if kind.rolls_back:
                connection.rollback()
                return Outcome.ROLLED_BACK, ""
            connection.commit()
        except (psycopg.Error, oracledb.Error) as error:
            return self._failed(error)
        return Outcome.OK, ""

    def _connected(self) -> oracledb.Connection | psycopg.Connection[Any]:
        if self.side == "source":
            return self._oracle.connect()
        return psycopg.connect(self._target.application)

    def _failed(self, error: psycopg.Error | oracledb.Error) -> tuple[Outcome, str]:
        code = error.sqlstate if isinstance(error, psycopg.Error) else code_of(error)
        connection = self._connection
        assert connection is not None
        is_dead = (
            connection.closed
            if isinstance(connection, psycopg.Connection)
            else not connection.is_healthy()
        )
        if is_dead or not code:
            # The transaction may be committed, and its reply lost. Nobody can tell by now.
            self._turn()
            return Outcome.UNKNOWN, code or ""
        connection.rollback()
        if code == FENCED:
            self._turn()
        return Outcome.FAILED, code

    def _turn(self) -> None:
        self.disconnect()
        self.side = SIDES[1 - SIDES.index(self.side)]

    def disconnect(self) -> None:
        if self._connection is not None:
            with suppress(oracledb.Error):
                self._connection.close()
            self._connection = None


class OracleSetting:
    """A stand-in of this seed's own, and a database of the target's server. How often each adversity fired is kept."""

    pause = 0.08

    def __init__(
        self, seed: int, target: Server, chance: random.Random, fired: Counter[str] | None = None
    ) -> None:
        self._fired = Counter() if fired is None else fired
        self._seed, self._server, self._chance = seed, target, chance
        self._stand_in = StandInProcess(
            [APP, BOWLINE], seed=seed, threads=2, file_bytes=200_000, kept_archives=KEPT_ARCHIVES
        )
        self._stand_in.__enter__()
        self.database = f"soak_{seed}_{secrets.token_hex(2)}"
        self.user = f"bowline_{self.database}"
        self._application = f"shop_{self.database}"
        self._password = secrets.token_urlsafe(12)
        self._log = target.log.stat().st_size
        self._oracle = OraclePlace(self._stand_in.port)
        self._target = TargetPlace(target, self.database, self._application)
        self.places: Mapping[str, Place] = {"source": self._oracle, "target": self._target}

    def manifest(self, *, budget: str) -> str:
        return MANIFEST.format(
            source=self._stand_in.port,
            service=SERVICE,
            target=self._server.port,
            database=self.database,
            bowline=BOWLINE,
            user=self.user,
            password=self._password,
            lanes=self._chance.choice((1, 2, 3)),
            parallelism=self._chance.choice((1, 2)),
            budget=budget,
        )

    def prepare(self, control: Control) -> None:
        self._oracle.run(*shape.ORACLE_TABLES, *shape.ROWS)
        with self._server.connect() as connection:
            connection.execute(
                sql.SQL("create role {} nologin password {}").format(
                    sql.Identifier(self._application), self._server.password
                )
            )
        self._server.create_database(self.database, owner=self._application)
        grants = control.grants("target", *self._grant_options)
        with self._server.connect(self.database) as connection:
            for statement in shape.TARGET_TABLES:
                connection.execute(statement.format(application=self._application).encode())
            connection.execute(grants.encode())
            connection.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(self.user), self._password
                )
            )
            connection.execute(
                sql.SQL("alter role {} set search_path = shop").format(
                    sql.Identifier(self._application)
                )
            )

    def schemas(self) -> Mapping[str, list[str]]:
        return {side: place.schema() for side, place in self.places.items()}

    @property
    def _grant_options(self) -> tuple[str, ...]:
        return ("--user", self.user, "--owner", self._application, "--database", self.database)

    def writer(self, shared: Shared, number: int) -> Writer[shape.Kind]:
        chance = random.Random(f"{self._seed}/{number}")
        return Writer(shared, number, chance, self._client(), shape.KINDS)

    def stray(self, shared: Shared) -> Stray[shape.Kind]:
        chance = random.Random(f"{self._seed}/stray")
        return Stray(shared, STRAY_WRITER, chance, self._client(), [shape.STRAY])

    def _client(self) -> Client:
        return Client(self._oracle, self._target)

    def came_to(self, stage: str) -> None:
        """Let the redo log misbehave from before the first change on; drop a table now and then, not a migrated one."""
        calm = dict.fromkeys(FATAL, 0.0)
        match stage:
            case "SchemaReady":
                self._stand_in.set(dict.fromkeys(NAMES, CHANCE) | dict(OFTEN) | calm)
            case "Prepared":  # the target is fenced by now
                with self._server.connect() as connection:
                    role = sql.Identifier(self._application)
                    connection.execute(sql.SQL("alter role {} login").format(role))
                self._stand_in.set({DROP: DROPPED})
            case "FallbackStreaming":
                self._stand_in.set(dict.fromkeys(FATAL, 0.5))
            case "Switchover":
                self._stand_in.set(calm)
            case _:
                self._drop_a_table(f"junk_{stage}")
        if stage == "Complete":
            self._stand_in.set({DROP: 0})

    def _drop_a_table(self, name: str) -> None:
        self._stand_in.set({DROP: 0})
        self._oracle.run(
            f"create table {name} (n number(9))",
            f"insert into {name} values (1)",
            f"drop table {name}",
        )
        self._stand_in.set({DROP: DROPPED})

    def judge(self, record: Record, expected: list[str], *, servers_crashed: bool) -> list[Verdict]:
        self._stand_in.set({DROP: 0})
        ledgers = {side: place.ledger() for side, place in self.places.items()}
        return [
            self.same_rows(),
            *check_record(record, ledgers),
            check_single_writer(record, expected),
            self._balances(record),
            only_the_fence(record, servers_crashed=servers_crashed, contention=CONTENTION),
            self._sequence(expected[-1]),
        ]

    def fired(self) -> Mapping[str, int]:
        """How often each adversity has struck."""
        return self._stand_in.fired()

    def types(self) -> int:
        """How many types the source's columns have."""
        query = "select count(distinct data_type) from all_tab_cols where owner = 'SHOP'"
        return int(self._oracle.rows(query)[0][0])

    def row_counts(self) -> Mapping[str, tuple[int, int]]:
        """How many rows each table has, on both sides."""
        query = "select count(*) from {}{}"
        return {
            name: (
                int(self._oracle.rows(query.format("", name))[0][0]),
                int(self._target.rows(query.format("shop.", name))[0][0]),
            )
            for name in shape.WORDS
        }

    def same_rows(self) -> Verdict:
        verdict = Verdict("both sides have the same rows")
        source, target = shape.told(shape.ORACLE_WORDS), shape.told(shape.TARGET_WORDS)
        counts = []
        for name, query in source.items():
            one, other = self._oracle.rows(query), self._target.rows(target[name])
            different = sorted(set(map(repr, one)) ^ set(map(repr, other)))
            if one != other:
                verdict.wrong.append(
                    f"{name}: {len(one)} and {len(other)} rows: {different[:NAMED]}"
                )
            counts.append(f"{name} {len(one)}")
        verdict.seen = ", ".join(counts)
        return verdict

    def _balances(self, record: Record) -> Verdict:
        """See that each payment is in the sum once, on both sides."""
        least, most = (
            sum(shape.BY_NAME[each.op].delta for each in record.of(*outcomes))
            for outcomes in ((Outcome.OK,), (Outcome.OK, Outcome.UNKNOWN))
        )
        query = "select sum(balance) from {}account"
        sums = [
            int(self._oracle.rows(query.format(""))[0][0]),
            int(self._target.rows(query.format("shop."))[0][0]),
        ]
        wrong = [f"{found} is paid" for found in sums if not least <= found <= most]
        return Verdict("each payment was applied once", f"{sums}, {least} acknowledged", wrong)

    def _sequence(self, side: str) -> Verdict:
        asked: Mapping[str, tuple[OraclePlace | TargetPlace, str, str]] = {
            "source": (self._oracle, "select account_id.nextval from dual", "account"),
            "target": (self._target, "select nextval('shop.account_id')", "shop.account"),
        }
        place, following, table = asked[side]
        value = int(place.rows(following)[0][0])
        highest = int(place.rows(f"select max(id) from {table}")[0][0])
        wrong = [] if value > highest else [f"it gives {value}, and {highest} is in use"]
        return Verdict("the next value of the sequence is free", f"{value}", wrong)

    def revoke(self, control: Control) -> None:
        revoke = control.grants("target", *self._grant_options, "--revoke")
        with self._server.connect(self.database) as connection:
            connection.execute(revoke.encode())

    def keep(self, directory: Path) -> None:
        keep(self._server, self.database, directory / "target", self._log)
        for name, query in shape.told(shape.ORACLE_WORDS).items():
            lines = "\n".join(map(repr, self._oracle.rows(query)))
            (directory / f"source.{name}").write_text(lines, encoding="utf-8")

    def clean(self) -> None:
        self._fired.update(self._stand_in.fired())
        self._stand_in.__exit__(None, None, None)
        self._server.drop_database(self.database)
        for role in (self.user, self._application):
            drop_role(self._server, role)
