"""`bowline run`: the control plane without a cluster. Observe, plan, act; workers are child processes.

Everything that must survive is in the state directory before it is acted upon, so this process may be killed at any
instant: the kernel ends its workers with it, and the next run goes on.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bowline_operator.api import DatabaseMigration
from bowline_operator.children import Children
from bowline_operator.manifest import Manifest
from bowline_operator.observed import Event, Observed, Plan, StartJob, StopJob
from bowline_operator.plan import plan
from bowline_operator.stamps import doubted
from bowline_operator.state import StateDir
from bowline_operator.status import Mode, Phase, Status
from bowline_operator.watch import Watch, why_not
from bowline_worker.contract import BadConfig

#: Between two passes when nothing happens; the files are looked at as often.
CALM = timedelta(milliseconds=500)
#: So long a worker may take to stop cleanly when the runner is asked to end.
FAREWELL = timedelta(seconds=30)

INTERRUPTED = 130

Tell = Callable[[Status, Status, Sequence[Event]], None]
Reached = Callable[[Status], bool]


def default_state_dir(manifest: Manifest) -> Path:
    return manifest.path.parent / ".bowline" / manifest.resource.metadata.name


def run(
    watch: Watch, state_dir: Path, *, tell: Tell, say: Callable[[str], None], until: Reached
) -> int:
    """Run until Completed (0), `until` holds (0), SIGTERM (0) or Ctrl-C (130)."""
    state = StateDir(state_dir)
    with state.lock(watch.manifest.resource.metadata.name):
        return asyncio.run(_Runner(watch, state, tell=tell, say=say, until=until).run())


@dataclass(slots=True, kw_only=True)
class _Runner:
    watch: Watch = field(kw_only=False)
    state: StateDir = field(kw_only=False)
    tell: Tell
    say: Callable[[str], None]
    until: Reached
    resource: DatabaseMigration = field(init=False)
    children: Children = field(init=False)
    status: Status = field(init=False)
    stop_code: int | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        self.children = Children(self.state)
        # What an earlier run knew of its workers says nothing about now.
        self.status = doubted(self.state.read_status() or Status(), "bowline run has just started")
        self._take_up()
        self.state.write_status(self.status)
        self.state.announce(self.resource.metadata.name)
        self.state.journal.mkdir(exist_ok=True, mode=0o700)
        self.children.find()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, 0)
        loop.add_signal_handler(signal.SIGINT, self._stop, INTERRUPTED)
        try:
            while self.stop_code is None:
                pause = await self._one_pass()
                if self._has_ended():
                    self._let_go()
                    break
                await self._sleep(min(pause, CALM))
        finally:
            await self._farewell()
        return self.stop_code or 0

    def _stop(self, code: int) -> None:
        if self.stop_code is not None:  # asked again: no more patience
            self.children.kill()
        self.stop_code = code
        self.woken.set()

    async def _sleep(self, pause: timedelta) -> None:
        try:
            await asyncio.wait_for(self.woken.wait(), pause.total_seconds())
        except TimeoutError:
            return

    def _take_up(self) -> None:
        """Compare the files with what was accepted in an earlier run."""
        manifest = self.watch.manifest
        kept = self.state.read_resource()
        if kept is None:
            self._accept(manifest, self.status.observed_generation + 1)
            return
        why = why_not(kept, manifest.resource, self.status)
        if why:
            raise BadConfig(
                why, reason="ManifestInvalid", hint=f"{self.state.path} belongs to {kept.key}"
            )
        self._accept(manifest, _generation(kept, manifest))

    def _accept(self, manifest: Manifest, generation: int) -> None:
        metadata = manifest.resource.metadata.model_copy(update={"generation": generation})
        self.resource = manifest.resource.model_copy(update={"metadata": metadata})
        self.state.write_secrets(manifest.credentials())
        self.state.write_resource(self.resource)

    def _look_at_files(self) -> None:
        manifest = self.watch.poll()
        if manifest is None:
            return
        why = why_not(self.resource, manifest.resource, self.status)
        if why:
            self.watch.problem = why
            return
        self.watch.accept(manifest)
        self._accept(manifest, _generation(self.resource, manifest))

    async def _one_pass(self) -> timedelta:
        self._look_at_files()
        self.children.reap()
        await self.children.pull()
        decided = plan(self._observed())
        if decided.status != self.status:
            self.state.write_status(decided.status)
        before, self.status = self.status, decided.status
        self._act(decided)
        self.tell(before, self.status, decided.events)
        self.state.beat()
        return decided.recheck_after

    def _observed(self) -> Observed:
        return Observed(
            name=self.resource.metadata.name,
            spec=self.resource.spec,
            generation=self.resource.metadata.generation,
            now=datetime.now(UTC),
            status=self.status,
            jobs=self.children.jobs(),
            reports=self.children.reports(),
            credentials=self.watch.manifest.fingerprint(),
            problem=self.watch.problem,
        )

    def _act(self, decided: Plan) -> None:
        for action in decided.actions:
            match action:
                case StartJob(job):
                    self.children.start(job, self.resource)
                case StopJob(name, grace):
                    self.children.stop(name, grace)

    def _has_ended(self) -> bool:
        if self.children.running():
            return self.until(self.status)
        return self.status.phase is Phase.COMPLETED or self.until(self.status)

    def _let_go(self) -> None:
        """Leave no rows of the databases on disk when all is done; a cluster drops the journal's volume then."""
        if self.status.phase is Phase.COMPLETED and not self.children.running():
            self.state.drop_rows()

    async def _farewell(self) -> None:
        """Stop all workers cleanly, and by force who takes too long."""
        for child in self.children.running():
            self.children.stop(child.record.name, FAREWELL)
        while self.children.running():
            self.children.reap()
            self.state.beat()
            await asyncio.sleep(0.05)
        switch = self.status.cutover
        if switch.mode is not Mode.IDLE:
            self.say(
                f"attempt {switch.attempt} is under way and not ended: while the fence stands nobody "
                "can write; run this again, and it is finished or taken back"
            )


def _generation(old: DatabaseMigration, new: Manifest) -> int:
    """Count a changed spec, as an API server does."""
    return old.metadata.generation + (old.spec != new.resource.spec)
