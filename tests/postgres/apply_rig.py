"""A stream for tests of the apply role: real changes of a real source, in a journal that a test fills step by step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bowline_worker.bookkeeping import LaneRow, StreamId
from bowline_worker.contract import Report, Role, Side
from bowline_worker.endpoints.postgres import books, names
from bowline_worker.endpoints.postgres.connection import quote
from bowline_worker.endpoints.postgres.replication import arm, capture
from bowline_worker.journal import Draft, Limits, Writer
from bowline_worker.model import SignalKind
from bowline_worker.reporter import Reporter
from bowline_worker.roles import Context, apply
from servers import Pair

SHOP = (
    "create table public.item (id int primary key, name text, note text)",
    "create table public.event (what text, at timestamptz)",
    "create table public.account (id bigint generated always as identity primary key, email text)",
    "create unique index account_email on public.account (email)",
)

#: On the receiver: every row that is written, how often, and by which transaction.
AUDIT = (
    "create table bowline.audit (id bigserial, op text, key text, tx xid8 default pg_current_xact_id())",
    """create function bowline.audit() returns trigger language plpgsql security definer as $$ begin
       insert into bowline.audit (op, key)
       values (left(tg_op, 1), case tg_op when 'DELETE' then old.id else new.id end);
       return null; end $$""",
    "create trigger audit after insert or update or delete on public.item"
    " for each row execute function bowline.audit()",
    "alter table public.item enable always trigger audit",
)


class StopAt(threading.Event):
    """The role's stop signal, set by a claim about the world that it asks for after every step."""

    def __init__(self, claim: Callable[[], bool]) -> None:
        super().__init__()
        self._claim = claim

    def is_set(self) -> bool:
        if not super().is_set() and self._claim():
            self.set()
        return super().is_set()


class Stream:
    """A source whose changes go to the journal of stream `source-1` when the test says so."""

    def __init__(self, pair: Pair, *, passed: bool = True, lanes: int = 2, number: int = 1) -> None:
        self.pair, self.lanes = pair, lanes
        self.id = StreamId(Side.SOURCE, number)
        for database in (pair.source, pair.target):
            database.run(*SHOP)
        self.source, self.target = (pair.site(side) for side in Side)
        for site in (self.source, self.target):
            books.install(site)
        pair.source.run("alter table public.event replica identity full")
        pair.target.run(*AUDIT)
        tables = "public.item, public.event, public.account, bowline.signal, bowline.heartbeat"
        pair.source.run(
            f"create publication {quote(names.publication(pair.migration))} for table {tables}"
        )
        arm(self.source, self.id)
        self._capture = capture(self.source, self.id, None)
        self.put_rows(
            [
                LaneRow(lane=lane, number=number, generation=0, passed=passed)
                for lane in range(lanes)
            ]
        )
        self.directory = pair.journal / str(self.id)
        self._writer = Writer(
            self.directory,
            migration=pair.migration,
            stream=self.id,
            limits=Limits(max_bytes=1 << 30, reserve_bytes=0),
        )
        self._barrier = 0

    def close(self) -> None:
        self._capture.close()
        self._writer.close()

    # --- the origin ---

    def write(self, *statements: str) -> int:
        """Run one transaction at the source, journal it; return the newest block."""
        with self.pair.source.connect() as connection, connection.transaction():
            for statement in statements:
                connection.execute(statement.encode())
        return self.journal()

    def journal(self) -> int:
        """Journal all that is committed, each transaction (or part of one) a block."""
        self._barrier += 1
        self.signal(SignalKind.BARRIER, self._barrier)
        marker = f"{self._barrier}".encode()
        for _ in range(300):
            for piece in self._capture.read(0.1):
                if not piece.payload:
                    continue
                payload = self._capture.describe(piece.relations) + piece.payload
                self._writer.append(
                    Draft(
                        payload=payload,
                        first=piece.position,
                        last=piece.position,
                        transactions=int(piece.ends),
                        changes=piece.changes,
                        committed_at=piece.committed_at,
                        starts=piece.starts,
                        ends=piece.ends,
                    )
                )
                if b"barrier" in payload and marker in payload and piece.changes <= 1:
                    return self.newest
        raise AssertionError("the barrier did not come")

    def signal(self, kind: SignalKind, attempt: int) -> None:
        with books.transaction(self.source) as transaction:
            transaction.signal(kind, attempt)

    @property
    def newest(self) -> int:
        return self._writer.mark.block

    # --- the receiver ---

    def rows(self) -> tuple[LaneRow, ...]:
        with books.transaction(self.target) as transaction:
            return transaction.lanes(Side.SOURCE, lock=False)

    def put_rows(self, rows: list[LaneRow]) -> None:
        with books.transaction(self.target) as transaction:
            transaction.put_lanes(Side.SOURCE, rows)

    def change_rows(self, **change: Any) -> None:
        self.put_rows([replace(row, **change) for row in self.rows()])

    def end_generation(self, retired: int = 0) -> None:
        """What Retire and Abort do to lane rows."""
        self.put_rows(
            [
                replace(row, generation=-abs(row.generation), retired=max(retired, row.retired))
                for row in self.rows()
            ]
        )

    def blocks(self) -> list[int]:
        return [row.block for row in self.rows()]

    def context(self, stop: Callable[[], bool], **config: Any) -> Context:
        settings: dict[str, Any] = {"lanes": self.lanes, "number": self.id.number, **config}
        made = self.pair.config(Role.APPLY, **settings)
        return Context(config=made, report=Reporter(made), stop=StopAt(stop))

    def apply(self, *, until: Callable[[], bool] | None = None, **config: Any) -> Report:
        """Run the role in this thread until every lane has the newest block, or until the claim is true."""
        newest = self.newest

        def applied() -> bool:
            return all(block >= newest for block in self.blocks())

        context = self.context(until or applied, **config)
        apply.run(context)
        return context.report.now()

    def resize(self, lanes: int) -> None:
        """Run the role until it has taken that many lanes."""
        self.apply(lanes=lanes, until=lambda: len(self.rows()) == lanes)

    def differences(self) -> list[str]:
        """Tables whose rows differ between the sides, as text, compared without the product's help."""
        differ = []
        for table in ("item", "event", "account"):
            query = f"select t::text from public.{table} t order by 1"
            if self.pair.source.rows(query) != self.pair.target.rows(query):
                differ.append(table)
        return differ

    def audit(self) -> list[tuple[str, str]]:
        """What was done to rows of `item`, in any order."""
        return sorted(self.pair.target.rows("select op, key from bowline.audit"))
