"""From the edit of a manifest to the application's next row: a cutover that is taken back, through `bowline run`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
from demo.servers import Server

from road.by_hand import Ended, wait_until
from road.switch_rig import PROMISED_SECONDS, frozen
from servers import APPLICATION, MIGRATOR, Database
from soak.prey import Prey

pytestmark = pytest.mark.slow

MANIFEST = """\
apiVersion: bowline.dev/v1alpha1
kind: DatabaseMigration
metadata: {{name: shop}}
spec:
  phase: Replicate
  source: {{engine: PostgreSQL, host: 127.0.0.1, port: {source.server.port}, database: {source.name},
    credentialsSecretRef: {{name: source}}, tls: {{mode: disable}}}}
  target: {{engine: PostgreSQL, host: 127.0.0.1, port: {target.server.port}, database: {target.name},
    credentialsSecretRef: {{name: target}}, tls: {{mode: disable}}}}
  tables: {{include: ["public.*"]}}
---
apiVersion: v1
kind: Secret
metadata: {{name: source}}
stringData: {{username: {user}, password: "{source.server.password}"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: target}}
stringData: {{username: {user}, password: "{target.server.password}"}}
"""
#: The step behind the fence waits when it writes its barrier.
WAITING = (
    "create function bowline.wait() returns trigger language plpgsql as"
    " 'begin perform pg_advisory_xact_lock(1); return new; end'",
    "create trigger wait before insert on bowline.signal for each row when (new.kind = 'barrier')"
    " execute function bowline.wait()",
)
INSERT = "insert into public.item default values"


class Running:
    """A migration that `bowline run` has brought to Streaming."""

    def __init__(self, source: Database, target: Database, directory: Path) -> None:
        self.source, self.target = source, target
        source.run(
            "create table public.item (id bigint generated always as identity primary key)",
            f"grant all on all tables in schema public to {APPLICATION}",
        )
        manifest = directory / "shop.yaml"
        manifest.write_text(MANIFEST.format(source=source, target=target, user=MIGRATOR))
        self.prey = Prey(manifest, directory / "state", directory / "log", print)
        self.prey.start()

    def status(self) -> dict[str, Any]:
        return self.prey.status()

    def is_streaming(self) -> bool:
        conditions = {each["type"]: each["status"] for each in self.status().get("conditions", ())}
        return (
            self.status().get("phase") == "Streaming"
            and conditions.get("CaughtUp") == "True"
            and not self.prey.alive("abort")
            and not self.prey.alive("cutover")
        )

    def accepts(self, connection: psycopg.Connection[Any]) -> bool:
        """Tell whether the application's row is taken by the source."""
        try:
            connection.execute(INSERT.encode())
        except psycopg.errors.ReadOnlySqlTransaction:
            return False
        return True

    def application(self) -> psycopg.Connection[Any]:
        return self.source.connect(APPLICATION, self.source.server.password)


@pytest.fixture
def running(pg: Server, other_pg: Server, database: Database, tmp_path: Path) -> Iterator[Running]:
    with other_pg.database("target") as name:
        running = Running(database, Database(other_pg, name), tmp_path)
        try:
            yield running
        finally:
            running.prey.end()


@pytest.mark.parametrize("what", ["nothing", "the new side's server", "the cutover role"])
def test_the_application_writes_again_within_ten_seconds_of_the_edit(
    running: Running, other_pg: Server, what: str
) -> None:
    prey = running.prey
    wait_until("the stream has caught up", running.is_streaming)
    with running.application() as application, ExitStack() as stack:
        running.source.run(*WAITING)
        blocker = stack.enter_context(running.source.connect())
        blocker.execute("select pg_advisory_lock(1)")
        prey.phase("Cutover")
        wait_until("the fence stands", lambda: not running.accepts(application))
        (cutover,) = prey.alive("cutover")
        stack.enter_context(frozen(other_pg) if what.startswith("the new") else nullcontext())
        if what == "the cutover role":
            os.kill(cutover.pid, signal.SIGSTOP)

        prey.phase("Replicate")
        asked = time.monotonic()
        while not running.accepts(application):
            if time.monotonic() - asked > PROMISED_SECONDS:
                raise Ended(f"no row within {PROMISED_SECONDS:g} s: {running.status()}")
            time.sleep(0.02)

        if what == "the cutover role":
            os.kill(cutover.pid, signal.SIGCONT)
    wait_until("it streams again", running.is_streaming)
    assert running.status()["primary"] == "Source"
    last = running.status()["cutover"]["lastAttempt"]
    assert (last["verdict"], last["reason"]) == ("Aborted", "Requested")
