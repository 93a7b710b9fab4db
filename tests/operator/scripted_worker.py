"""A worker without databases, for the local runner: serves real reports, and does what `script/ROLE` says.

The directory `script` lies beside the state directory. A file named after a role holds the exit code that the role
shall end with; `wait-ROLE` makes it run until the file is gone; `deaf-ROLE` makes it ignore SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from bowline_worker.contract import (
    BowlineError,
    Config,
    Exit,
    FencedOut,
    FoundSide,
    Lag,
    NotPermitted,
    Role,
    Side,
    SnapshotReport,
    StreamReport,
    SwitchReport,
    TableProgress,
    TryAgain,
    Unsupported,
    Verdict,
)
from bowline_worker.main import read_config
from bowline_worker.reporter import Reporter

MOMENT = 0.05
ERRORS: dict[int, type[BowlineError]] = {
    75: TryAgain,
    65: Unsupported,
    78: NotPermitted,
    86: FencedOut,
}


def main() -> int:
    config = read_config(sys.argv[3], Role(sys.argv[1]))
    state = Path(config.journal).parent
    script = state.parent / "script"
    stop = threading.Event()
    if not (script / f"deaf-{config.role}").exists():
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    reporter = Reporter(config)
    reporter.serve()
    code = play(config, reporter, script, stop)
    reporter.leave()
    return code


def play(config: Config, reporter: Reporter, script: Path, stop: threading.Event) -> int:
    told = script / str(config.role)
    if told.exists():
        code = int(told.read_text())
        reporter.fail(ERRORS[code]("as the script says", reason="Scripted", hint="change it"))
        return code
    armed = SwitchReport(attempt=config.attempt, loser=config.loser, verdict=Verdict.ARMED)
    while True:
        if config.role in (Role.CAPTURE, Role.APPLY):
            reporter.update(stream=stream(config))
        elif config.role is Role.CUTOVER:
            reporter.update(switch=armed.model_copy(update={"step": "ArmReverse"}))
        waits = (script / f"wait-{config.role}").exists()
        if config.role not in (Role.CAPTURE, Role.APPLY) and not waits:
            break
        if stop.wait(MOMENT):
            reporter.fail(TryAgain("stopped by a signal", reason="Stopped"))
            return Exit.TRY_AGAIN
    finish(config, reporter)
    return Exit.DONE


def finish(config: Config, reporter: Reporter) -> None:
    now = reporter.now().started_at
    match config.role:
        case Role.ASSESS:
            reporter.update(found={side: FoundSide() for side in Side})
        case Role.SNAPSHOT:
            tables = [TableProgress(name="public.a", rows=3, chunks=1, chunks_done=1, done=True)]
            reporter.update(snapshot=SnapshotReport(tables=tables, complete=True, post_data=True))
        case Role.CUTOVER | Role.ABORT:
            commits = config.role is Role.CUTOVER
            reporter.update(
                switch=SwitchReport(
                    attempt=config.attempt,
                    loser=config.loser,
                    step="Finish",
                    done=["Gate", "ArmReverse", "Fence", "Verify", "Commit", "Open"],
                    verdict=Verdict.COMMITTED if commits else Verdict.ABORTED,
                    opened=commits,
                    committed_at=now if commits else None,
                    opened_at=now if commits else None,
                )
            )


def stream(config: Config) -> StreamReport:
    return StreamReport(
        origin=config.origin,
        number=config.number,
        epoch=config.epoch,
        remaining=0,
        lag=Lag(current=0.1),
        marker=True,
        canary=config.number,
    )


if __name__ == "__main__":
    sys.exit(main())
